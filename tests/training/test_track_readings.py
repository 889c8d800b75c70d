"""The table of readings says what runs, and the defaults are the paper's."""

import dataclasses

import pytest

from cityguessr.base.errors import InputError
from cityguessr.training import track_experiments, track_readings
from cityguessr.training.track_readings import READINGS, Reading
from cityguessr.vidtag.config import VidTAGConfig

MSLS = track_experiments.SCALES["msls"]


def test_at_full_size_the_defaults_are_the_paper_s_wherever_it_is_quoted() -> None:
    config = track_experiments.EXPERIMENTS["vidtag"].config(MSLS)
    table = track_readings.table(config, MSLS)
    quoted = table[(table["paper"] != "") & (table["paper"] != "fits both")]
    assert len(quoted) >= 9
    assert (quoted["runs here"] == quoted["paper"]).all()


def test_the_table_follows_the_configuration() -> None:
    table = track_readings.table(VidTAGConfig(level="video", queue=4096, mask_km=0.1, alpha=0.01), MSLS)["runs here"]
    assert table["what phase I compares"] == "video"
    assert table["coordinates of earlier batches"] == "4096"
    assert table["near pairs of a batch hidden (km)"] == "0.1"
    assert table["weight of unequal pairs, phase II"] == "0.01"
    assert track_readings.table(VidTAGConfig(), MSLS)["runs here"]["coordinates look for frames, too"] == "no"


@pytest.mark.parametrize("profile", track_experiments.SCALES)
def test_what_runs_is_known_of_every_point_and_sources_differ(profile: str) -> None:
    scale = track_experiments.SCALES[profile]
    table = track_readings.table(track_experiments.EXPERIMENTS["vidtag"].config(scale), scale)
    assert (table["runs here"] != "").all()
    assert table.index.is_unique
    for reading in READINGS:
        said = {reading.paper, reading.authors, reading.independent, reading.here} - {""}
        assert said, f"{reading.what}: nobody says anything"


def test_a_switch_that_is_not_there_is_an_error() -> None:
    wrong = dataclasses.replace(READINGS[0], switch="VidTAGConfig.nothing")
    with pytest.raises(InputError, match=r"VidTAGConfig\.nothing"):
        wrong.value(VidTAGConfig(), MSLS)
    assert Reading("x", "", "", "", "", "always").value(VidTAGConfig(), MSLS) == "always"
