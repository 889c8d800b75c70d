"""Differences of the default world beside those of the larger one."""

from pathlib import Path

import pandas as pd
import pytest

from cityguessr.base.errors import InputError
from cityguessr.tables import scales

COLUMNS = ["row", "label", "clips_of", "level", "difference", "low", "high"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    there = [
        ("a", "A", "seen", "city", 2.0, 1.0, 3.0),
        ("b", "B", "seen", "city", -2.0, -3.0, -1.0),
        ("c", "C", "seen", "city", 0.5, -1.0, 2.0),
    ]
    pd.DataFrame(there, columns=COLUMNS).to_csv(tmp_path / "table3_differences.csv", index=False)
    return tmp_path


HERE = pd.DataFrame(
    [
        ("a", "A", "seen", "city", 3.0, 1.0, 5.0),
        ("a", "A", "seen", "state", 3.0, 1.0, 5.0),
        ("b", "B", "seen", "city", 3.0, 1.0, 5.0),
        ("c", "C", "seen", "city", 3.0, 1.0, 5.0),
        ("d", "D", "seen", "city", 3.0, 1.0, 5.0),
    ],
    columns=COLUMNS,
)


def test_two_worlds_agree_differ_or_leave_it_open(folder: Path) -> None:
    frame = scales.beside(HERE, "table3", folder=folder).set_index("row")
    assert frame["both"].to_dict() == {"a": "same direction", "b": "opposite", "c": "undecided", "d": "undecided"}
    assert frame.loc["b", "difference_midi"] == -2.0
    assert frame.loc["d", ["difference_midi", "low_midi", "high_midi"]].isna().all()  # a row that it lacks


def test_what_they_decide_apart_is_named(folder: Path) -> None:
    text = scales.disagreements(scales.beside(HERE, "table3", folder=folder))
    assert (
        text == "2 of 4 differences are decided on both worlds, 1 of them in opposite directions: B, seen videos, city."
    )
    alone = scales.beside(HERE[HERE["row"] == "a"], "table3", folder=folder)
    assert scales.disagreements(alone) == "1 of 1 differences are decided on both worlds, all in the same direction."
    assert "No difference" in scales.disagreements(alone.assign(both="undecided"))


def test_without_a_kept_table_the_message_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"table3_differences\.csv: not there; run the page with profile 'midi'"):
        scales.kept("table3", folder=tmp_path)
