"""What a command prints at its end: its own files, its tables as plain text, and how they differ from the kept ones."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from cityguessr import tables
from cityguessr.base import files, paths
from cityguessr.notebooks import summary

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CITYGUESSR_ROOT", str(tmp_path))
    (tmp_path / "figures").mkdir()
    return tmp_path


def table(city: float, seeds: int, profile: str = "mini") -> tables.Table:
    """Table 4 with one measured row, the same at all levels but the city."""
    measured = {"codependent": {("top1", level): [50.0] * seeds for level in ("state", "country", "continent")}}
    measured["codependent"]["top1", "city"] = [city] * seeds
    missing = dict.fromkeys(("none", "independent"), "it was left out | here")
    return tables.Table(tables.beside_paper("table4", measured, profile, missing), "A * in it")


def test_a_command_lists_its_own_files_and_no_other_s(house: Path) -> None:
    with summary.listing() as listed:
        written = table(40.0, 1).write()
        files.write_bytes(paths.figures() / "fig2_x.png", b"x")
        (other := paths.figures() / "fig3_of_another_command.png").write_bytes(b"x")
        files.write_bytes(paths.data() / "prepared" / "meta.json", b"{}")  # no figure
        found = summary.figures_in(listed)
    assert other not in found
    assert set(found) == {*written, paths.figures() / "fig2_x.png"}
    assert summary.grouped(found) == ["runs/figures/mini/fig2_x.png", "runs/figures/mini/tables/table4.{csv,md,tex}"]
    assert files.WRITTEN not in os.environ


def test_what_differs_from_the_kept_tables_is_said(house: Path) -> None:
    table(42.0, 5).write(paths.kept_figures() / "tables")
    files.write_bytes(paths.figures() / "tables" / "table1.csv", b"quantity,found\nclips,3\n")  # has no measured number
    files.write_bytes(paths.kept_figures() / "tables" / "table1.csv", b"quantity,found\nclips,3\n")
    mine = [*table(40.5, 1).write(), paths.figures() / "tables" / "table1.csv"]
    (line,) = summary.beside_kept(mine)
    assert line == (
        "table4: 1 of 4 numbers differ (1 seed here, 5 seeds there), top1 most for codependent at city: "
        "40.5 here, 42.0 there"
    )
    assert summary.beside_kept(table(42.0, 5).write()) == ["table4: the same 4 numbers"]
    assert summary.beside_kept(table(1.0, 1, "msls").write()) == []  # of which nothing is kept


def test_a_table_in_the_terminal_has_aligned_columns_and_the_paper_beside_the_measured(house: Path) -> None:
    text = summary.plain(repr(table(40.5, 1)))
    caption, _, block = text.partition("\n\n")
    assert caption.startswith("Table 4: hierarchical evaluation. A * in it. Paper beside measured")
    assert max(map(len, caption.splitlines())) <= summary.WIDTH
    groups, heads, rule, *rows = block.splitlines()
    assert groups.split() == ["City", "State", "Country", "Continent"]
    assert heads.split() == ["System", *["paper", "measured"] * 4, "Seeds"]
    assert set(rule) == {"-"}
    assert [row.split()[1:9] for row in rows if row.startswith("codependent")] == [
        ["69.6", "40.5", "70.2", "50.0", "74.8", "50.0", "83.8", "50.0"]
    ]
    ends = {row.index("69.6") + 4 for row in rows if row.startswith(("independent", "codependent"))}
    assert ends == {heads.index("paper") + 5}  # numbers end below the end of their heading
    assert "*" not in block


def test_tables_are_found_among_what_a_page_shows(house: Path) -> None:
    shown = [
        nbformat.v4.new_output("display_data", data={"text/plain": repr(table(40.5, 1))}),
        nbformat.v4.new_output("execute_result", data={"text/plain": "**bold.** words"}, execution_count=1),
        nbformat.v4.new_output("stream", text="printed"),
    ]
    page = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=shown)])
    nbformat.write(page, house / "page.ipynb")
    (text,) = summary.tables(house / "page.ipynb")
    assert text == summary.plain(repr(table(40.5, 1)))


def test_one_seed_is_no_plural() -> None:
    assert summary.count(1, "seed") == "1 seed"
    assert summary.count(1200, "file") == "1,200 files"


SLOW = """profile: str = "mini"  # mini | midi"""
WAIT = "import os, time\n\nopen({pids!r}, 'w').write(f'{{os.getpid()}}')\ntime.sleep(300)"


@pytest.mark.parametrize("command", [["run", "32"], ["paper"]])
def test_ctrl_c_ends_a_command_with_one_sentence_and_leaves_no_process(house: Path, command: list[str]) -> None:
    (house / "notebooks").mkdir()
    code = [SLOW, "from cityguessr import notebooks\n\nnotebooks.check_parameters(globals())"]
    code.append(WAIT.format(pids=str(house / "pids")))
    cells = [nbformat.v4.new_code_cell(source, metadata={"tags": []}) for source in code]
    cells[0].metadata.tags = ["parameters"]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    page = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(page, house / "notebooks" / "32_table4_slow.ipynb")
    process = subprocess.Popen(
        [sys.executable, "-m", "cityguessr.notebooks", *command],
        cwd=house,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background would not hear it
    )
    for _ in range(1200):
        if (house / "pids").exists() and (pid := (house / "pids").read_text()):
            break
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to all of the command's processes
    try:
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert err.strip() == "Stopped. Finished epochs are kept; the same command goes on from there."
    assert "Traceback" not in out
    assert "FAILED" not in out
    for _ in range(300):
        if not Path(f"/proc/{pid}").exists():
            break
        time.sleep(0.1)
    else:
        pytest.fail("the kernel is still there")


def test_a_reader_of_the_list_may_stop_early(house: Path) -> None:
    (house / "notebooks").mkdir()
    lines = "".join(f"p{number}: int = 1  # {'words ' * 40}\\n" for number in range(2000))
    page = f'{{"cells": [{{"metadata": {{"tags": ["parameters"]}}, "source": ["{lines}"]}}]}}'
    (house / "notebooks" / "32_long.ipynb").write_text(page)
    command = f"{sys.executable} -m cityguessr.notebooks list | head -n 1"
    done = subprocess.run(
        command, shell=True, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert (done.stdout, done.stderr) == ("32_long\n", "")
