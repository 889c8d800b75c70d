"""The ledger: every number of the paper has a producer, and a state that follows from what was written."""

import math
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from cityguessr import paper, tables
from cityguessr.base import paths
from cityguessr.notebooks.checking import difference
from cityguessr.notebooks.parameters import declared
from cityguessr.tables import claims, ledger
from cityguessr.tables.claims import CLAIMS

PAGE = "32_table4_hierarchical_evaluation.ipynb"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tables in git, whatever was made in this checkout."""
    monkeypatch.setenv("CITYGUESSR_FIGURES", "figures")


def notebook(stem: str) -> str:
    """The code of a notebook."""
    page = nbformat.read(ROOT / "notebooks" / f"{stem}.ipynb", as_version=4)
    return "\n".join(cell.source for cell in page.cells if cell.cell_type == "code")


@pytest.mark.parametrize("table", list(paper.TITLES))
def test_every_table_has_a_notebook_that_produces_it(table: str) -> None:
    code = notebook(ledger.PRODUCERS[table])
    assert (f'"{table}"' if table != "vidtag_unified_msls" else "vidtag") in code


@pytest.mark.parametrize("table", [table for table in paper.TITLES if table != "vidtag_unified_msls"])
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
    states = "tried on MiniWorld: (claims not checked|in no claim)|not tried, because .+"
    assert found["state"].str.fullmatch(states).all()


def test_every_number_of_the_data_set_is_in_the_ledger_once() -> None:
    printed, found = paper.dataset(), ledger.dataset()
    assert (
        found[["where", "dataset", "quantity"]].values.tolist()
        == printed[["where", "dataset", "quantity"]].values.tolist()
    )
    assert "ledger.dataset" in notebook(ledger.DATASET_PRODUCER)
    assert found["state"].str.fullmatch("agrees( by construction)?|differs|not tried, because .+").all()


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
        assert found.loc[key, "state"] == "agrees by construction"
    assert found.loc[("split", "cityguessr68k", "train"), "state"].startswith("not tried")


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
    within = "within spread of 3 seeds"
    assert states == {"city": "reproduced", "state": within, "country": "differs", "continent": "reproduced"}
    assert found.loc[("table3", "videomae", "city"), "state"].startswith("not tried, because 31_table3")


def test_before_any_table_is_made_the_ledger_says_which_notebook_to_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CITYGUESSR_ROOT", str(tmp_path))
    (tmp_path / "figures").mkdir()
    frame = ledger.results("mini")
    ours = frame[frame["row"] == "cityguessr"].set_index(["table", "metric", "level"])["state"]
    assert ours["table3", "top1", "city"] == "not tried, because 31_table3_scenes_and_text has not been run under mini"
    assert frame["measured"].isna().all()
    assert (frame["n_seeds"] == 0).all()


def test_a_synthetic_measurement_never_counts_as_reproduced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ledger.paths, "figures", lambda profile="mini": tmp_path)
    measured = {
        row: {("top1", "city"): [paper.value("table6", row, "top1", "city")]} for row in ("videomae", "cityguessr")
    }
    tables.Table(tables.beside_paper("table6", measured, "mini")).write(tmp_path / "tables")
    line = ledger.results("mini").set_index(["table", "row", "level"]).loc[("table6", "videomae", "city")]
    assert line["measured"] == line["paper"]
    assert line["state"] == "tried on MiniWorld: claims not checked"


def test_a_number_s_state_is_the_verdict_on_the_claims_that_compare_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The full model of Table 5 takes part in two claims at the city; at the state no claim compares it."""
    monkeypatch.setattr(ledger.paths, "figures", lambda profile="mini": tmp_path)
    rows = ("videomae", "cityguessr", "geodecoder", "isns", "planet")
    measured = {row: {("top1", "city"): [40.0], ("top1", "state"): [41.0]} for row in rows}
    beside = tables.beside_paper("table5", measured, "mini", {"timesformer": "no weights"})
    tables.Table(beside).write(tmp_path / "tables")
    (tmp_path / "tables" / "vidtag_cityguessr68k.csv").write_text(beside.to_csv(index=False))  # the same systems
    verdicts = {
        "The full model is better than GeoDecoder": "holds",
        "The full model is better than its backbone alone": "undecided",
        "Networks picked by the scene are better than one": "contradicted",
        "VideoMAE is better than TimeSformer": "not run",
        "GeoDecoder is better than ISNs": "not tested",
    }
    assert set(verdicts) <= {claim.text for claim in CLAIMS}
    conclusions = pd.DataFrame({"claim": verdicts.keys(), "verdict": verdicts.values()})
    states = ledger.results("mini", conclusions).set_index(["table", "row", "level"])["state"]
    for table in ("table5", "vidtag_cityguessr68k"):
        assert states[table, "cityguessr", "city"] == "tried on MiniWorld: same direction 1, undecided 1"
        assert states[table, "planet", "city"] == "tried on MiniWorld: opposite"
        assert states[table, "isns", "city"] == "tried on MiniWorld: opposite 1, not tested 1"
        assert states[table, "videomae", "city"] == "tried on MiniWorld: undecided"
        assert states[table, "cityguessr", "state"] == "tried on MiniWorld: in no claim"
    assert ledger.results("mini")["state"].str.contains("claims not checked").any()


def test_the_interval_for_one_more_run_of_three_is_five_standard_deviations() -> None:
    """Student's 4.303 for two degrees of freedom, times the root of 1 + 1/3."""
    assert ledger.half_width(1.0, 3) == pytest.approx(4.303 * math.sqrt(4 / 3), abs=1e-3)
    assert ledger.compare(70.0, 0.1, 3, 69.6) == "within spread of 3 seeds"
    assert ledger.compare(70.0, 0.07, 3, 69.6) == "differs"


def test_a_single_seed_has_no_spread() -> None:
    assert ledger.compare(70.0, math.nan, 1, 69.6) == "differs; one seed, no spread"
    assert ledger.compare(69.64, math.nan, 1, 69.6) == "reproduced"
    assert ledger.compare(1.39, math.nan, 1, 1.35, digits=2) == "differs; one seed, no spread"  # km have two decimals
    assert ledger.compare(1.352, math.nan, 1, 1.35, digits=2) == "reproduced"
    assert math.isnan(ledger.half_width(math.nan, 1))


def test_every_number_of_vidtag_has_a_state_and_the_page_that_gives_it() -> None:
    found = ledger.results("mini")
    vidtag = found[found["table"].str.startswith("vidtag")]
    assert (vidtag["producer"] == "51_tables_vidtag").all()
    ran = vidtag[vidtag["n_seeds"] > 0]
    assert {"vidtag", "geoclip_finetuned"} <= set(ran.loc[ran["table"] == "vidtag_msls", "row"])
    assert (ran["state"] == "tried on MiniWorld: in no claim")[ran["level"] == "gps"].all()
    idle = vidtag[vidtag["n_seeds"] == 0].groupby(["table", "row"])["state"].first()
    assert idle["vidtag_unified_msls", "unified"] == "not tried, because " + ledger.UNIFIED
    assert "no rides from a dashboard" in idle["vidtag_gama", "vidtag"]
    assert "not public" in idle["vidtag_msls", "planet"]


def test_a_reader_s_own_tables_come_first_and_the_ledger_says_which_they_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("CITYGUESSR_ROOT", str(tmp_path))
    monkeypatch.delenv("CITYGUESSR_FIGURES")
    (tmp_path / "figures").mkdir()
    rows = ("none", "independent", "codependent")

    def made(city: float, seeds: int) -> tables.Table:
        return tables.Table(
            tables.beside_paper("table4", {r: {("top1", "city"): [city] * seeds} for r in rows}, "mini")
        )

    def measured() -> float:
        found = ledger.results("mini").set_index(["table", "row", "level"])
        return float(found.loc[("table4", "none", "city"), "measured"])

    made(61.0, 5).write(paths.kept_figures() / "tables")
    assert measured() == 61.0
    assert capsys.readouterr().out.strip() == (
        "Measured numbers are those of the kept tables (figures/tables): no table was made here."
    )
    made(62.0, 1).write()
    (paths.kept_figures() / "tables" / "table3.csv").write_text((paths.figures() / "tables" / "table4.csv").read_text())
    assert measured() == 62.0
    assert capsys.readouterr().out.strip() == (
        "Measured numbers of table4 are from your own tables (runs/figures/mini/tables); the others are the kept ones "
        "(figures/tables)."
    )
    monkeypatch.setenv("CITYGUESSR_FIGURES", "figures")  # while these are made nothing needs to be said
    assert measured() == 61.0
    assert capsys.readouterr().out == ""


def test_a_folder_for_runs_alone_has_the_tables_and_pages_of_the_clone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As in a class room: the clone belongs to the teacher, and `CITYGUESSR_ROOT` names a folder of one's own."""
    monkeypatch.setenv("CITYGUESSR_ROOT", str(tmp_path))
    monkeypatch.delenv("CITYGUESSR_FIGURES")
    assert paths.rendered("tables/table4.csv") == ROOT / "figures" / "tables" / "table4.csv"
    assert paths.figures() == tmp_path / "runs" / "figures" / "mini"
    values = {"profile": "mini", "seeds": [0]} | dict.fromkeys(("data_root", "cluster")) | {"allow_downloads": False}
    assert "You run it with seeds = [0]" in str(difference(values, declared(ROOT / "notebooks" / PAGE)))


def test_a_page_shows_claims_in_words_with_their_intervals() -> None:
    kept = pd.read_csv(ROOT / "figures" / "tables" / "claims.csv")
    shown = claims.printed(kept).data
    assert shown["claim"].tolist() == kept["claim"].tolist()
    assert not any("_" in name for name in shown)
    assert shown["measured [95 % interval]"].str.fullmatch(r"–|[+−]?\d+\.\d \[[+−]?\d+\.\d, [+−]?\d+\.\d\]").all()
    assert "0.000" not in set(shown["p (Holm)"])
    assert "paper" not in claims.printed(kept.assign(paper=math.nan)).data
