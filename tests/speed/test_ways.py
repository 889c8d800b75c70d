"""The three ways to train one model, timed on a tiny one: what is timed, not how fast it is."""

import dataclasses

import pytest
import torch
from test_loop import CONFIG

from cityguessr.speed import ways
from cityguessr.speed.records import FAST, PLAIN, RELEASED
from cityguessr.taxonomy import Taxonomy
from cityguessr.training import profiles

CPU = torch.device("cpu")
TREE = Taxonomy.cityguessr68k()


@pytest.fixture
def profile() -> profiles.Profile:
    return dataclasses.replace(profiles.MINI, recipe=profiles.MINI.recipe.replace(batch_size=3))


def test_the_three_ways_are_timed_at_the_profile_s_batch(profile: profiles.Profile) -> None:
    rows = ways.compare(CONFIG, TREE, profile, CPU, steps=1).set_index("label")
    assert list(rows.index) == [RELEASED, PLAIN, FAST]
    assert (rows["batch"] == 3).all()
    assert (rows["failed_step"] == 0).all()
    assert rows["clips_per_second"].to_numpy() == pytest.approx(3e3 / rows["ms_per_step"].to_numpy(), rel=1e-3)
    assert rows.loc[PLAIN, "switches"] == "none"
    assert (rows["tflops"] > 0).all()


def test_batch_sizes_are_those_asked_for(profile: profiles.Profile) -> None:
    rows = ways.at_batch_sizes(CONFIG, TREE, profile, CPU, [2, 5], steps=1)
    assert rows["batch"].tolist() == [2, 5]
    assert rows["minutes_for_the_papers_schedule"].isna().all()
