"""VidTAG's tables: rows of the paper and ours, with floors and ceiling that compete with none."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from cityguessr import paper
from cityguessr.evaluation import track_results
from cityguessr.evaluation.km_errors import KmErrors
from cityguessr.evaluation.track_results import TrackResults
from cityguessr.measures.tracks import KM_PER_DEGREE
from cityguessr.tables import track_table
from cityguessr.training import track_experiments
from cityguessr.training.track_experiments import SCALES, TABLES
from cityguessr.training.track_runs import TrackPredictions

FRAMES = 5


def run(north_km: float, refined_km: float | None = None) -> SimpleNamespace:
    """Answers of four tracks on the equator, so many km north of the truth, and refined ones."""
    lengths = np.full(4, FRAMES)
    true = np.stack([np.zeros(4 * FRAMES), np.arange(4 * FRAMES) / 1000], axis=1)

    def north(km: float) -> np.ndarray:
        return true + np.array([km / KM_PER_DEGREE, 0])

    return SimpleNamespace(
        predictions=TrackPredictions(
            tuple("abcd"), ("here",) * 4, lengths, true, north(north_km),
            None if refined_km is None else north(refined_km), north(0.1), north(2.0), np.array([45.0, 90.0]),
        )
    )  # fmt: skip


@pytest.fixture
def found() -> TrackResults:
    vidtag, alpha = (run(0.8, 0.9), run(0.7, 4.0)), (run(0.8, 0.4), run(0.7, 0.4))
    runs = {row: vidtag for row, (name, _) in TABLES["vidtag_msls"].items() if name == "vidtag"}
    runs |= {"alpha_001": alpha, "geoclip_finetuned": (run(3.0), run(30.0))}
    missing = {row: "it is not here" for row, _ in paper.rows("vidtag_msls") if row not in runs}
    missing["geoclip_zeroshot_100k"] = "it is not here"
    return TrackResults("vidtag_msls", SCALES["mini"], runs, missing)


def test_a_row_is_its_runs_answer(found: TrackResults) -> None:
    measured = found.measured()
    assert measured["retrieved"]["frame_median_km", "gps"] == pytest.approx([0.8, 0.7])
    assert measured["vidtag"]["frame_1km", "gps"] == [100, 0]  # the second seed's refiner spoils it
    assert measured["alpha_001"]["frame_0.5km", "gps"] == [100, 100]
    assert measured["centres"]["video_median_km", "gps"] == pytest.approx([2, 2])
    assert measured["best"]["frame_median_km", "gps"] == pytest.approx([0.1, 0.1])
    assert measured["mean"]["frame_25km", "gps"] == [0, 0]


def test_floors_and_ceiling_stand_in_the_table_and_not_among_the_differences(found: TrackResults) -> None:
    table = track_table.build(found)
    grid = table.layout.grids[0]
    lines = {line[0].text: line for line in grid.lines}
    at = grid.groups.index("Frames within 0.5 km (%)") + 1
    assert lines["ceiling: nearest point of the gallery"][at].text.startswith("100.0")
    assert not any(cell.bold for line in lines.values() for cell in line)  # only an interval makes a cell bold
    assert lines["PlaNet"][at].text == "not run"
    assert lines["PlaNet"][at - 1].text == f"{paper.value('vidtag_msls', 'planet', 'frame_0.5km', 'gps'):.1f}"
    assert not {row for grid in table.layout.grids[-1:] for row, *_ in grid.lines} & {"ceiling: nearest point"}
    assert any("not run, because it is not here." in note for note in table.layout.notes)
    assert "stand-in" in " ".join(table.layout.notes).lower()


def test_differences_are_paired_seed_by_seed(found: TrackResults) -> None:
    differences = found.differences("retrieved").set_index(["row", "metric"])
    line = differences.loc["vidtag", "frame_1km"]
    assert line["difference"] == pytest.approx(-50)
    assert line["n_seeds"] == 2
    assert differences.loc["alpha_001", "dfd"]["difference"] == pytest.approx(0.4 - 0.75)


def test_what_is_written_has_every_number_with_its_interval(found: TrackResults, tmp_path: Path) -> None:
    track_table.build(found).write(tmp_path)
    written = pd.read_csv(tmp_path / "vidtag_msls.csv").set_index(["row", "metric"])
    assert written.loc["vidtag", "frame_1km"]["paper"].item() == 41.0
    line = written.loc["alpha_001", "frame_1km"]
    assert (line["measured"].item(), line["low"].item(), line["high"].item()) == (100, 100, 100)
    assert {path.name for path in tmp_path.iterdir()} >= {"vidtag_msls.md", "vidtag_msls.tex"}


def test_a_distance_has_no_more_digits_than_its_uncertainty_leaves() -> None:
    assert track_table.number(3096.4, "dfd", 390.2) == "3,100 ± 390"
    assert track_table.number(2.743, "dfd_median", 0.402) == "2.74 ± 0.40"
    assert track_table.number(45.678, "frame_1km", 3.21) == "45.7 ± 3.2"
    lopsided = [track_table.of_interval(x, 2.91, 310.1, "dfd_median") for x in (4.43, 2.91, 310.1)]
    assert lopsided == ["4.4", "2.9", "310"]  # none is 0 km
    assert track_table.difference({"difference": -8.69, "low": -453, "high": 436}, "dfd") == "−10 [−450, +440]"
    assert track_table.difference({"difference": -0.04, "low": -1, "high": 1}, "frame_1km") == "0.0 [−1.0, +1.0]"


def test_the_number_of_seeds_is_said_once_where_all_rows_have_it(found: TrackResults) -> None:
    layout = track_table.build(found).layout
    assert "over 2 seeds" in layout.caption
    assert "Seeds" not in {cell.text for cell in layout.grids[0].columns}
    runs = found.runs | {"alpha_001": found.runs["alpha_001"][:1]}
    uneven = track_table.build(dataclasses.replace(found, runs=runs)).layout
    assert uneven.grids[0].columns[-1].text == "Seeds"


def test_errors_in_km_are_shown_in_words_with_every_interval() -> None:
    near = np.random.default_rng(0).uniform(0, 50, (2, 40))
    errors = KmErrors({"CityGuessr": near, "VidTAG": near + 3000}, np.arange(40), np.zeros(40, dtype=bool))
    shown = track_table.beside(errors.table((25.0,))).data
    assert shown["measure"].tolist() == ["within 25 km (%)", "median (km)"] * 2
    assert list(shown)[-1] == "minus CityGuessr [95 % interval]"
    assert shown.iloc[3, -1] == "+3,000 [+3,000, +3,000]"
    assert "-" not in shown.iloc[2, -1]


@pytest.mark.parametrize("table", TABLES)
def test_every_row_that_the_paper_prints_is_run_or_says_why_not(table: str) -> None:
    printed = {row for row, _ in paper.rows(table)}
    known = TABLES[table].keys() | track_results._NOT_PUBLIC.keys()
    elsewhere = {"planet", "isns", "geodecoder", "timesformer", "videomae", "cityguessr"}  # CityGuessr's own
    assert printed <= known | elsewhere | {"georeasoner", "qwen2_5_vl", "osv", "streetclip"}
    for name, kind in TABLES[table].values():
        assert name in track_experiments.EXPERIMENTS
        assert kind in track_experiments.ANSWERS


def test_another_data_set_s_table_says_so_and_trains_nothing() -> None:
    found = track_results.collect("vidtag_gama", "mini")
    assert not found.runs
    assert set(found.missing) == {row for row, _ in paper.rows("vidtag_gama")}
    assert "dashboard" in found.missing["vidtag"]
    assert "not public" in found.missing["planet"]
    assert "not run" in repr(track_table.build(found))


def test_a_page_s_measures_have_headings_in_words_and_the_tables_digits() -> None:
    frame = pd.DataFrame({"frame_1km": [36.84], "dfd": [3042.04], "dfd_median": [2.456], "jumps": [1.25]}, ["refined"])
    page = track_table.measures(frame).to_html()
    for text in ("Frames within 1 km (%)", "Fréchet distance, mean (km)", ">36.8<", ">3,042<", ">2.46<", ">1.2<"):
        assert text in page
    assert "frame_1km" not in page
