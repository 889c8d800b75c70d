"""Differences of one world beside those of another."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from cityguessr import paper
from cityguessr.tables import Table, beside_paper, scales

COLUMNS = ["row", "label", "clips_of", "level", "difference", "low", "high"]
HERE = [
    ("planet", "PlaNet", "seen", "city", 3.0, 1.0, 5.0),
    ("planet", "PlaNet", "seen", "state", 3.0, 1.0, 5.0),
    ("isns", "ISNs", "seen", "city", 3.0, 1.0, 5.0),
    ("geodecoder", "GeoDecoder", "seen", "city", 3.0, 1.0, 5.0),
    ("timesformer", "TimeSformer", "seen", "city", 3.0, 1.0, 5.0),
]
THERE = [
    ("planet", "PlaNet", "seen", "city", 2.0, 1.0, 3.0),
    ("isns", "ISNs", "seen", "city", -2.0, -3.0, -1.0),
    ("geodecoder", "GeoDecoder", "seen", "city", 0.5, -1.0, 2.0),
]


@pytest.fixture
def table() -> Table:
    frame = beside_paper("table5", {}, "mini", dict.fromkeys([row for row, _ in paper.rows("table5")], "why not"))
    return Table(frame, "", pd.DataFrame(HERE, columns=COLUMNS))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pd.DataFrame(THERE, columns=COLUMNS).to_csv(tmp_path / "table5_differences.csv", index=False)
    return tmp_path


def test_two_worlds_agree_differ_or_leave_it_open(table: Table, folder: Path) -> None:
    frame = scales.beside(table, folder=folder).set_index("row")
    assert frame["both"].to_dict() == {
        "planet": "same direction",
        "isns": "opposite",
        "geodecoder": "undecided",
    }  # and nothing of a row that it lacks
    assert frame.loc["isns", "there"] == -2.0


def test_what_they_decide_apart_is_named(table: Table, folder: Path) -> None:
    text = scales.compared(table, folder=folder)
    assert text.startswith("2 of 3 differences are decided both here and on midi, ")
    assert text.endswith("1 of them in opposite directions: ISNs, seen videos, city.")
    kept = folder / "table5_differences.csv"
    pd.DataFrame(THERE[:1], columns=COLUMNS).to_csv(kept, index=False)
    assert scales.compared(table, folder=folder).startswith("1 of 1 differences are decided both here and on midi, all")
    pd.DataFrame(THERE[2:], columns=COLUMNS).to_csv(kept, index=False)
    assert scales.compared(table, folder=folder) == "Of these 1 differences none is decided both here and on midi."


def test_the_larger_world_is_held_against_the_default(table: Table, folder: Path) -> None:
    larger = replace(table, frame=table.frame.assign(profile="midi"))
    assert "both here and on mini" in scales.compared(larger, folder=folder)


def test_of_a_table_that_is_not_kept_nothing_is_said(table: Table, folder: Path) -> None:
    read_apart = replace(table, mode="none")
    assert "no such table is kept: table5_none" in scales.compared(read_apart, folder=folder)
    assert scales.beside(read_apart, folder=folder).empty


def test_verdicts_of_both_worlds_stand_side_by_side(tmp_path: Path) -> None:
    columns = ["claim", "level", "measured", "low", "high", "n_seeds", "verdict"]
    here = [
        ("scenes help", "city", 0.1, -0.3, 0.5, 5, "not tested"),
        ("more is better", "city", 3.0, 1.0, 5.0, 5, "holds"),
        ("CLIP helps", "city", None, None, None, 0, "not run"),
    ]
    there = [
        ("scenes help", "city", -0.2, -0.9, 0.5, 3, "undecided"),
        ("more is better", "country", 3.0, 1.0, 5.0, 3, "holds"),
        ("CLIP helps", "city", None, None, None, 0, "not run"),
    ]
    pd.DataFrame(there, columns=columns).to_csv(tmp_path / "claims.csv", index=False)
    conclusions = pd.DataFrame(here, columns=columns)
    (line,) = scales.claims_beside(conclusions, "mini", folder=tmp_path).to_dict("records")
    assert (line["verdict"], line["verdict_there"]) == ("not tested", "undecided")
    assert (line["measured"], line["measured_there"], line["n_seeds_there"]) == (0.1, -0.2, 3)
    assert scales.claims_beside(conclusions, "mini", "control_claims", tmp_path).empty


def test_the_other_world_s_table_is_the_reader_s_own_where_there_is_one(
    table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("CITYGUESSR_ROOT", str(tmp_path))
    for folder, there in (("figures/midi/tables", 2.0), ("runs/figures/midi/tables", 4.0)):
        (tmp_path / folder).mkdir(parents=True)
        lines = [("planet", "PlaNet", "seen", "city", there, 1.0, 5.0)]
        pd.DataFrame(lines, columns=COLUMNS).to_csv(tmp_path / folder / "table5_differences.csv", index=False)
        (frame,) = scales.beside(table).to_dict("records")
        assert frame["there"] == there
    own = "midi (your own table, runs/figures/midi/tables/table5_differences.csv)"
    assert (
        scales.compared(table) == f"1 of 1 differences are decided both here and on {own}, all in the same direction."
    )
    columns = ["claim", "level", "measured", "low", "high", "n_seeds", "verdict"]
    conclusions = pd.DataFrame([("more is better", "city", 3.0, 1.0, 5.0, 1, "holds")], columns=columns)
    conclusions.to_csv(tmp_path / "runs/figures/midi/tables/claims.csv", index=False)
    assert len(scales.claims_beside(conclusions, "mini")) == 1
    assert capsys.readouterr().out == "Beside them your own table of midi: runs/figures/midi/tables/claims.csv\n"


def test_a_page_shows_both_worlds_in_words(table: Table, folder: Path, tmp_path: Path) -> None:
    shown = scales.printed(scales.beside(table, folder=folder), "mini").data
    assert list(shown) == ["system", "videos", "on mini [95 % interval]", "on midi [95 % interval]", "both worlds"]
    assert shown.iloc[1].tolist() == ["ISNs", "seen", "+3.0 [+1.0, +5.0]", "−2.0 [−3.0, −1.0]", "opposite"]
    columns = ["claim", "level", "measured", "low", "high", "n_seeds", "verdict"]
    conclusions = pd.DataFrame([("more is better", "city", 3.0, 1.0, 5.0, 5, "holds")], columns=columns)
    conclusions.assign(measured=-0.04, low=None, n_seeds=1).to_csv(tmp_path / "claims.csv", index=False)
    both = scales.printed(scales.claims_beside(conclusions, "mini", folder=tmp_path), "mini").data
    assert both.iloc[0].tolist() == ["more is better", "city", "+3.0 [+1.0, +5.0]", "holds", "0.0", "holds"]
    assert not any("_" in name for name in (*shown, *both))
