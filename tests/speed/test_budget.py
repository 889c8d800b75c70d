"""What each training takes: the guide's table, and hours that follow from what a GPU measured."""

import json
from pathlib import Path

import pytest

from cityguessr.base.errors import InputError
from cityguessr.evaluation.columns import printed_rows
from cityguessr.speed import budget, records
from cityguessr.training import experiments

GUIDE = Path(__file__).parents[2] / "notebooks" / "guide" / "gpu.md"
RATE, TFLOPS = 500.0, 170.0


def content(gpu: str | None = "NVIDIA Test", date: str = "2026-01-02", **changes: object) -> dict[str, object]:
    """A file as `check` writes it, with made-up numbers."""
    row = {"state": "done", "label": records.FAST, "batch": 12, "clips_per_second": RATE, "tflops": TFLOPS}
    rows = [
        row,
        row | {"batch": 48, "clips_per_second": 2 * RATE},
        {"label": "plain path", "batch": 12, "state": "failed: x"},
    ]
    machine = {"gpu": gpu, "torch": "2.11.0+cu130", "date": date}
    return {"machine": machine, "smallest": False, "throughput": rows, "profile": []} | changes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    kept = {
        "b-2026-01-02": content(),
        "a-2026-01-03": content(gpu="NVIDIA Newer", date="2026-01-03"),
        "c-2026-01-04-partial": content(date="2026-01-04"),
        "cpu-2026-01-05-smallest": content(gpu=None, smallest=True),
    }
    for name, text in kept.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(text))
    return tmp_path


def test_the_guide_prints_the_table_of_recipes() -> None:
    """`python -c "from cityguessr.speed import budget; print(budget.markdown())"` prints what belongs there."""
    assert budget.markdown() in GUIDE.read_text(encoding="utf-8")


def test_every_number_of_the_papers_tables_has_its_training() -> None:
    frame = budget.table().set_index("experiment")
    wanted = {
        experiments.canonical(name, "msls" if table == "table6" else "cityguessr68k").name
        for table, rows in experiments.TABLES.items()
        for row, name in rows.items()
        if row in dict(printed_rows(table))
    }
    assert set(frame.index) == wanted
    assert frame.loc["cityguessr", ["tables", "paper"]].tolist() == ["3, 4, 5, S3", "69.6"]
    assert frame.loc["mae_random", ["tables", "paper"]].tolist() == ["2, 5", "55.8"]
    assert frame["hours"].isna().all()


def test_the_papers_training_is_what_its_section_5_says() -> None:
    """54,614 clips, 10 epochs, three times 57 G multiply-adds of ViT-S on 16 frames."""
    whole = budget.operations(experiments.get("cityguessr"))
    assert whole == pytest.approx(3 * 2 * 57e9 * 54614 * 10, rel=0.01)
    ours, theirs = budget.operations(experiments.get("cityguessr_msls")), whole * 9049 / 54614
    assert ours == pytest.approx(theirs)


def test_hours_are_measured_of_the_measured_model_and_computed_of_others(folder: Path) -> None:
    results = records.latest(folder)
    frame = budget.table(results).set_index("experiment")
    assert frame.loc["cityguessr", "hours"] == pytest.approx(546140 / RATE / 3600)
    assert sorted(frame.index[frame["measured"]]) == [
        "cityguessr",
        "cityguessr_msls",
        "tla_bert",
        "tla_clip",
        "tla_gpt2",
        "tla_opt",
    ]
    assert frame.loc["isns", "hours"] == pytest.approx(frame.loc["isns", "petaflops"] * 1e15 / (TFLOPS * 1e12) / 3600)
    lines = {line.split("|")[3].strip(" `").split()[-1]: line for line in budget.markdown(results).splitlines()[2:]}
    assert "| 0.30 |" in lines["cityguessr"]
    assert "| ~" in lines["isns"]


def test_the_newest_whole_file_of_a_gpu_counts(folder: Path) -> None:
    assert [result.gpu for result in records.load(folder)] == ["NVIDIA Test", "NVIDIA Newer"]
    newest = records.latest(folder)
    assert newest.machine == "NVIDIA Newer, torch 2.11.0, 2026-01-03"
    assert newest.batches["batch"].tolist() == [12, 48]
    assert newest.way(records.PLAIN) is None  # it failed
    assert records.latest(folder / "nothing") is None


def test_a_file_that_is_no_result_is_named(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("[1, 2]")
    with pytest.raises(InputError, match=r"other\.json: not a file that `make gpu-check` wrote"):
        records.load(tmp_path)
