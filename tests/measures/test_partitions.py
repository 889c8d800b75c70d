"""Recovered videos against true ones."""

import numpy as np
import pytest
import torch

from cityguessr.base.errors import InputError
from cityguessr.measures.metrics import bootstrap
from cityguessr.measures.partitions import adjusted_rand, detection, interval_over, reliability


def test_the_adjusted_rand_index_is_one_for_the_same_videos_and_zero_by_chance() -> None:
    rng = np.random.default_rng(0)
    assert adjusted_rand(list("aabbbc"), list("xxyyyz")) == 1
    assert adjusted_rand([0, 0, 1, 1], [0, 0, 1, 2]) == pytest.approx(4 / 7)  # by hand: (1 - 1/3) / (3/2 - 1/3)
    assert abs(adjusted_rand(rng.integers(0, 20, 3000), rng.integers(0, 20, 3000))) < 0.01
    with pytest.raises(InputError, match="the same clips"):
        adjusted_rand(["a", "b"], ["a", "b", "c"])


def test_precision_and_recall_are_of_what_was_said() -> None:
    said, true = np.array([1, 1, 1, 0, 0], bool), np.array([1, 1, 0, 1, 1], bool)
    assert detection(said, true) == {"precision": pytest.approx(200 / 3), "recall": 50}


def test_every_probability_is_counted_in_one_bin() -> None:
    p = np.array([0, 0.01, 0.3, 0.4, 0.97, 1])
    table = reliability(p, np.array([0, 0, 0, 1, 1, 1], bool))
    assert table["count"].sum() == len(p)
    middle = table[table["low"] == 0.05].iloc[0]
    assert (middle["count"], middle["stated"], middle["observed"]) == (2, pytest.approx(0.35), 0.5)
    assert (table["lower"] <= table["observed"] + 1e-12).all()
    assert (table["observed"] <= table["upper"] + 1e-12).all()


def test_an_interval_over_doubtful_videos_reaches_as_far_as_the_widest() -> None:
    clips = [f"c{i}" for i in range(60)]
    hits = torch.arange(60) < 30
    alone, tens = {c: c for c in clips}, {c: str(i // 10) for i, c in enumerate(clips)}
    one, both = interval_over(hits, clips, [alone]), interval_over(hits, clips, [alone, tens])
    assert one == bootstrap(hits, clips, 400)
    assert both[0] == 50
    assert both[1] < one[1] < one[2] < both[2]
    with pytest.raises(InputError, match="a video for each clip"):
        interval_over(hits, clips, [{"c0": "a"}])
