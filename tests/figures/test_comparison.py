"""The paper beside what was measured: what the plots draw is what was computed."""

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from cityguessr import paper
from cityguessr.base.errors import InputError
from cityguessr.figures import comparison
from cityguessr.figures.style import TEXT
from cityguessr.taxonomy import LEVELS


def _differences(*rows: str) -> pd.DataFrame:
    labels = dict(paper.rows("table5")) | {"own": "CityGuessr (soft scenes, TLA with all hierarchies)"}
    lines = [(row, labels[row], level, -2.0 - i, -4.0 - i, 1.0 - i) for row in rows for i, level in enumerate(LEVELS)]
    return pd.DataFrame(lines, columns=["row", "label", "level", "difference", "low", "high"])


def test_differences_show_the_measured_interval_and_the_papers_difference() -> None:
    frame = _differences("planet", "isns", "videomae", "own")
    frame.loc[frame["row"] == "isns", ["difference", "low", "high"]] = float("nan")
    fig = comparison.differences(frame, "table5", "cityguessr")
    assert [ax.get_title(loc="left") or ax.get_title() for ax in fig.axes] == [v.capitalize() for v in LEVELS]
    labels = [text.get_text().replace("\n", " ") for text in fig.axes[0].get_yticklabels()]
    assert labels[:2] + labels[-1:] == ["PlaNet", "ISNs", "CityGuessr (soft scenes, TLA with all hierarchies)"]
    assert len(labels) == 6  # the paper's six rows without the reference, and the own one
    for i, (ax, level) in enumerate(zip(fig.axes, LEVELS, strict=True)):
        dots = next(line for line in ax.lines if line.get_marker() == "o").get_xdata()
        assert [x for x in dots if x == x] == [-2.0 - i] * 3
        diamonds = ax.collections[-1].get_offsets()[:, 0]
        planet, ours = (paper.value("table5", row, "top1", level) for row in ("planet", "cityguessr"))
        assert diamonds[0] == pytest.approx(planet - ours)
        assert [text.get_text() for text in ax.texts] == ["no\ncomparison", "not run", "not run"]
    plt.close(fig)


def test_the_title_of_the_differences_counts_the_intervals_without_zero_at_the_city() -> None:
    frame = _differences("planet", "isns", "videomae")  # at the city: -2 (-4 to 1)
    frame.loc[(frame["row"] == "isns") & (frame["level"] == "city"), "high"] = -0.5
    frame.loc[frame["row"] == "videomae", ["difference", "low", "high"]] = float("nan")
    assert (
        comparison.differences(frame, "table5").get_suptitle().endswith(":\n1 of 2 intervals exclude zero at the city")
    )
    of_unseen = frame.assign(clips_of="unseen", high=-0.5)
    both = pd.concat([frame.assign(clips_of="seen"), of_unseen])
    assert (
        ":\n1 of 2 intervals exclude zero at the city, on seen videos"
        in comparison.differences(both, "table5").get_suptitle()
    )
    one = comparison.differences(frame[frame["row"] == "planet"], "table5").get_suptitle()
    assert one.endswith(":\nthe interval includes zero at the city")
    assert "\n" not in comparison.differences(frame[frame["row"] == "videomae"], "table5").get_suptitle()
    plt.close("all")


@pytest.mark.parametrize(
    ("measured", "words"),
    [
        ([1, 3, 2, 9], "2 of 2 pairs of rows are in the paper's order (city)"),
        ([1, 2, 3, 0], "1 of 2 pairs of rows are in the paper's order (city)"),
        ([float("nan"), 2, 3, 0], "the rows are not in the paper's order (city)"),
        ([float("nan"), 2, 2, 0], "both rows are equal (city)"),
        ([1, 3, float("nan"), 0], "the rows are in the paper's order (city)"),
        ([float("nan"), 2, float("nan"), 0], "the paper beside what was measured"),
    ],
)
def test_the_title_says_how_far_the_order_of_the_papers_rows_is_found(measured: list[float], words: str) -> None:
    """The first and the last but one are level in print, so that their order says nothing; the last is not printed."""
    lines = [("table5", row, row, "top1", "city", 10.0, 0.0) for row in "abcd"]
    frame = pd.DataFrame(lines, columns=["table", "row", "label", "metric", "level", "paper", "std"])
    frame = frame.assign(paper=[10.0, 20.0, 10.0, float("nan")], measured=measured)
    fig = comparison.compare(frame)
    assert fig.get_suptitle() == f"Top-1 accuracy (%): {words}"
    plt.close(fig)


@pytest.mark.parametrize(("table", "reference"), [("table_s1", "scenes_16"), ("table5", "cityguessr")])
def test_nothing_of_the_differences_is_cut_off_or_overlaps(table: str, reference: str) -> None:
    frame = _differences("planet", "isns", "own") if table == "table5" else _differences("own")
    with plt.rc_context():
        fig = comparison.differences(frame, table, reference)
        fig.canvas.draw()
        renderer = fig.canvas.get_renderer()
        legend = fig.legends[0].get_window_extent(renderer)
        for ax in fig.axes:
            box = ax.get_tightbbox(renderer)
            assert box.x0 >= 0
            assert box.x1 <= fig.bbox.width + 1
            assert box.y0 > legend.y1
            assert box.y1 < fig._suptitle.get_window_extent(renderer).y0
        texts = [text.get_window_extent(renderer) for text in fig.axes[0].get_yticklabels()]
        for upper, lower in pairwise(texts):
            assert upper.y0 > lower.y1
        plt.close(fig)


def test_words_stand_clear_of_the_line_at_zero_and_inside_their_panel() -> None:
    frame = _differences("isns", "own")
    frame.loc[frame["row"] == "isns", ["difference", "low", "high"]] = float("nan")
    fig = comparison.differences(frame, "table_s2", "tla_clip", {"tla_clip": "CLIP (text)"})
    fig.canvas.draw()
    for ax in fig.axes:
        zero, panel = ax.transData.transform((0, 0))[0], ax.get_window_extent()
        boxes = [text.get_window_extent() for text in ax.texts]
        assert boxes
        for box in boxes:
            assert box.x0 > zero or box.x1 < zero
            assert panel.x0 - 1 <= box.x0 <= box.x1 <= panel.x1 + 1
    plt.close(fig)


def test_differences_need_their_columns_and_a_known_reference() -> None:
    frame = _differences("planet")
    with pytest.raises(InputError, match="no row 'codependent'"):
        comparison.differences(frame, "table5", "codependent")
    with pytest.raises(InputError, match="has no high"):
        comparison.differences(frame.drop(columns="high"), "table5")


@pytest.mark.usefixtures("fresh_style")
def test_claims_are_drawn_where_they_were_measured() -> None:
    columns = ["claim", "section", "level", "paper", "measured", "low", "high", "verdict"]
    lines = [("A helps", "5.3", "city", 9.0, 4.0, 1.0, 7.0, "holds")]
    lines += [("B helps", "ours", "city", np.nan, -1.0, -4.0, 2.0, "undecided")]
    lines += [("C helps", "5.5", "city", 2.0, 2.0, 1.0, 3.0, "not tested")]
    (ax,) = comparison.claims(pd.DataFrame(lines, columns=columns)).axes
    white = [line for line in ax.lines if line.get_mfc() == "white"]
    points = {(line.get_marker(), line.get_mec()): line.get_xdata().tolist() for line in white}
    assert points == {
        ("o", TEXT): [-1.0],  # hollow: undecided
        ("o", "white"): [2.0],  # and the cross of what was not tested stands in place of its dot
        ("x", TEXT): [2.0],
    }
