"""The audit of a split, drawn: what dots, blocks and colours stand for."""

import numpy as np
import pandas as pd
import pytest

from cityguessr.base.errors import InputError
from cityguessr.figures import split_audit
from cityguessr.figures.style import SERIES

pytestmark = pytest.mark.usefixtures("fresh_style")
FRAME = np.zeros((9, 16, 3), np.uint8)


def test_every_junction_is_counted_by_how_sure_it_is() -> None:
    pairs = np.full((6, 2), 0.3)
    fig = split_audit.junction_plane(pairs, pairs, pairs, np.array([0.999, 0.97, 0.5, 0.04, 0.01, 0.02]))
    texts = [text.get_text() for text in fig.axes[1].get_legend().get_texts()]
    assert texts == ["one video runs on: 2", "a cut: 3", "in doubt: 1"]
    with pytest.raises(InputError, match="two distances"):
        split_audit.junction_plane(pairs[:, :1], pairs, pairs, np.ones(6))


def test_a_junction_is_shown_with_its_probability() -> None:
    fig = split_audit.junction_frames([(FRAME, FRAME)] * 4, [0.9999, 0.5, 0.0001, 0.02], list("abcd"))
    titles = [ax.get_title(loc="left") for ax in fig.axes[:4]]
    assert titles == ["a   > 99.9 %", "b   50.0 %", "c   < 0.1 %", "d   2.0 %"]
    with pytest.raises(InputError, match="no pairs"):
        split_audit.junction_frames([], [], [])


def test_a_recovered_video_is_a_block_as_long_as_its_clips() -> None:
    lyon = (["a", "a", "b"], ["a", "b", "b"], [0, 0.97, 0.5], ["train", "val", "train"])
    (ax,) = split_audit.recovered_strips({"Lyon": lyon}).axes
    assert [round(bar.get_width() + 0.12, 6) for bar in ax.patches] == [2, 1]
    marks = [line for line in ax.lines if line.get_marker() == "D"]
    assert [line.get_xdata()[0] for line in marks] == [2]  # in doubt, before the third clip


def test_colours_say_whether_the_own_drive_is_in_training() -> None:
    row = {"system": "x", "low": 1.0, "accuracy": 2.0, "high": 3.0}
    frame = pd.DataFrame([row | {"part": "a", "own_video": True}, row | {"part": "b", "own_video": False}])
    (ax,) = split_audit.accuracies(frame, "A title").axes
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    assert [line.get_color() for line in dots] == [SERIES[0], SERIES[2]]


def test_pairs_likeness_and_reliability_are_drawn() -> None:
    fig = split_audit.near_pairs([(FRAME, FRAME)] * 2, ["one", "two"], "A title")
    assert [ax.get_ylabel() for ax in (fig.axes[0], fig.axes[2])] == ["validation", "training"]
    (ax,) = split_audit.likeness(np.array([0.9, 0.95]), np.array([0.7, np.nan]), 0.93, 50.0).axes
    assert [text.get_text() for text in ax.texts] == ["50 % of clips have\na near-duplicate"]
    table = pd.DataFrame({"stated": [0.3], "observed": [0.4], "lower": [0.2], "upper": [0.6], "count": [1234]})
    (ax,) = split_audit.reliability(table).axes
    assert [text.get_text() for text in ax.texts] == ["1,234 junctions"]
