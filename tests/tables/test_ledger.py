"""The ledger: every number of the paper has a producer, and a state that follows from what was written."""

import math
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from cityguessr import paper, tables
from cityguessr.tables import ledger
from cityguessr.training import experiments

ROOT = Path(__file__).resolve().parents[2]


def notebook(stem: str) -> str:
    """The code of a notebook."""
    page = nbformat.read(ROOT / "notebooks" / f"{stem}.ipynb", as_version=4)
    return "\n".join(cell.source for cell in page.cells if cell.cell_type == "code")


@pytest.mark.parametrize("table", list(paper.TITLES))
def test_every_table_has_a_notebook_that_produces_it(table: str) -> None:
    code = notebook(ledger.PRODUCERS[table])
    own = table in experiments.TABLES and not table.startswith("vidtag")
    assert (f'"{table}"' if own else "ledger.results" if table != "vidtag_cityguessr68k" else '"table5"') in code


@pytest.mark.parametrize("table", [table for table in paper.TITLES if not table.startswith("vidtag")])
def test_the_producer_writes_every_number_or_why_there_is_none(table: str) -> None:
    written = pd.read_csv(ROOT / "figures" / "tables" / f"{table}.csv")
    printed = paper.results()
    keys = ["row", "metric", "level"]
    found = printed[printed["table"] == table].merge(written, on=keys, how="left", validate="one_to_one")
    assert (found["paper"] == found["value"]).all()
    assert ((found["measured"].notna()) | found["state"].str.startswith("not run, because ")).all()


def test_every_number_of_the_paper_is_in_the_ledger_once() -> None:
    printed = paper.results()
    found = ledger.results("mini")
    keys = ["table", "row", "metric", "level"]
    assert found[keys].values.tolist() == printed[keys].values.tolist()
    assert found["paper"].tolist() == printed["value"].tolist()
    assert found["producer"].notna().all()
    assert found["state"].str.fullmatch("reproduced|within spread|differs|not run, because .+").all()


def test_every_number_of_the_data_set_is_in_the_ledger_once() -> None:
    printed, found = paper.dataset(), ledger.dataset()
    assert (
        found[["where", "dataset", "quantity"]].values.tolist()
        == printed[["where", "dataset", "quantity"]].values.tolist()
    )
    assert "ledger.dataset" in notebook(ledger.DATASET_PRODUCER)
    assert found["state"].str.fullmatch("reproduced|differs|not run, because .+").all()


def test_the_label_trees_give_the_paper_s_counts() -> None:
    """166 / 157 / 91 / 6, MSLS's 30 / 29 / 24 / 6 of which 21 / 21 / 19 / 6 are shared, and 61 cities in Asia."""
    found = ledger.dataset().set_index(["where", "dataset", "quantity"])
    for key, value in {
        ("table1", "cityguessr68k", "states"): 157,
        ("table1", "msls", "countries"): 24,
        ("split", "msls_filtered", "countries"): 19,
        ("fig_s3", "Asia", "cities"): 61,
    }.items():
        assert found.loc[key, "found"] == value
        assert found.loc[key, "state"] == "reproduced"
    assert found.loc[("split", "cityguessr68k", "train"), "state"].startswith("not run")


def test_states_follow_from_the_table_that_was_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ledger.paths, "figures", lambda profile="mini": tmp_path)
    shifts = {"city": 0.0, "state": 0.5, "country": 5.0, "continent": 0.0}
    measured = {
        row: {("top1", level): [paper.value("table6", row, "top1", level) + shift + d for d in (-0.4, 0, 0.4)]
              for level, shift in shifts.items()}
        for row in ("videomae", "cityguessr")
    }  # fmt: skip
    tables.Table(tables.beside_paper("table6", measured, "msls")).write(tmp_path / "tables")
    found = ledger.results("cityguessr68k").set_index(["table", "row", "level"])
    states = {level: found.loc[("table6", "videomae", level), "state"] for level in shifts}
    assert states == {"city": "reproduced", "state": "within spread", "country": "differs", "continent": "reproduced"}
    assert found.loc[("table3", "videomae", "city"), "state"].startswith("not run, because 31_table3")


def test_a_synthetic_measurement_never_counts_as_reproduced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ledger.paths, "figures", lambda profile="mini": tmp_path)
    measured = {
        row: {("top1", "city"): [paper.value("table6", row, "top1", "city")]} for row in ("videomae", "cityguessr")
    }
    tables.Table(tables.beside_paper("table6", measured, "mini")).write(tmp_path / "tables")
    line = ledger.results("mini").set_index(["table", "row", "level"]).loc[("table6", "videomae", "city")]
    assert line["measured"] == line["paper"]
    assert line["state"] == "not run, because it takes the real data (profile msls); tried on MiniWorld"


def test_a_single_seed_has_no_spread() -> None:
    assert ledger.compare(70.0, math.nan, 69.6) == "differs"
    assert ledger.compare(69.64, math.nan, 69.6) == "reproduced"
    assert ledger.compare(70.0, 0.25, 69.6) == "within spread"


def test_vidtag_s_own_systems_are_not_ours() -> None:
    found = ledger.results("mini")
    assert isinstance(found, pd.DataFrame)
    foreign = found[(found["table"] == "vidtag_cityguessr68k") & (found["row"] == "geoclip")]
    assert foreign["state"].str.contains("not in the paper").all()
