"""Throughput drawn: what bars and lines stand for, and what is written beside them."""

import pandas as pd
import pytest

from cityguessr.figures import throughput

pytestmark = pytest.mark.usefixtures("fresh_style")

THREE = pd.DataFrame({"label": ["as released", "plain path", "fast path"], "clips_per_second": [50.0, 60.0, 1500.0]})
SIZES = pd.DataFrame({"batch": [12, 24, 48], "clips_per_second": [700.0, 800.0, 900.0]})
STEP = pd.DataFrame(
    {
        "path": ["fast"] * 3 + ["no graphs"] * 2,
        "group": ["attention", "products", "gaps", "attention", "gaps"],
        "ms_per_step": [6.0, 5.0, 0.5, 6.0, 9.0],
    }
)


def texts(ax: object) -> list[str]:
    return [text.get_text().strip() for text in ax.texts]


def test_each_way_has_its_rate_and_the_ratio_to_the_first() -> None:
    fig = throughput.ways({"here": THREE, "there": THREE.iloc[:2]})
    here, there = fig.axes
    assert [bar.get_width() for bar in here.patches] == [50, 60, 1500]
    assert texts(here) == ["50", "60  (x 1.2)", "1,500  (x 30)"]
    assert (here.get_title(loc="left"), len(there.patches)) == ("here", 2)
    assert here.get_xlabel() == "clips per second"


def test_each_batch_size_is_a_tick_and_a_point() -> None:
    (ax,) = throughput.batch_sizes({"a machine": SIZES}).axes
    assert [label.get_text() for label in ax.get_xticklabels()] == ["12", "24", "48"]
    assert ax.lines[0].get_ydata().tolist() == [700, 800, 900]
    assert ax.get_ylim()[0] == 0  # a ratio of heights is a ratio of rates


def test_the_bar_of_a_step_is_as_long_as_the_step() -> None:
    (ax,) = throughput.step_time(STEP, "A title").axes
    ends = {}
    for bar in ax.patches:
        ends[bar.get_y()] = max(ends.get(bar.get_y(), 0.0), bar.get_x() + bar.get_width())
    assert sorted(ends.values()) == [11.5, 15.0]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["attention", "products", "gaps"]
    assert "9.0" in texts(ax)


def test_memory_is_stacked_beside_the_cards_that_it_comes_near() -> None:
    frame = pd.DataFrame({part: [0.5, 2.0] for part in throughput.MEMORY_PARTS}, index=["small", "large"])
    (ax,) = throughput.memory(frame, (8, 12, 80)).axes
    assert texts(ax) == ["2.0 GB", "8.0 GB", "8 GB"]
    assert max(bar.get_x() + bar.get_width() for bar in ax.patches) == 8
    assert [text.get_text() for text in ax.get_legend().get_texts()] == list(throughput.MEMORY_PARTS)
