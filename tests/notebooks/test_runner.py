"""The notebooks keep the house's form, and their runner is strict."""

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest
from nbformat import NotebookNode, v4

from cityguessr import notebooks
from cityguessr.base import paths
from cityguessr.base.errors import InputError
from cityguessr.notebooks import __main__ as command
from cityguessr.notebooks import parameters, runner
from cityguessr.training import command as training
from cityguessr.training import profiles, track_experiments

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "notebooks").glob("*.ipynb"))
MACHINE = re.compile(r"/(home|root|Users|tmp|mnt|opt|work|private)/\w")
REGISTRY = re.compile(r"pypi\.org|pythonhosted\.org|anaconda\.org|download\.pytorch\.org", re.IGNORECASE)
LONGEST_CELL = 20  # lines


def shown(cell: NotebookNode) -> str:
    """The text of a cell and of what it printed, without embedded images."""
    parts = [cell.source]
    for output in cell.get("outputs", []):
        parts.append(output.get("text", ""))
        parts += [str(data) for kind, data in output.get("data", {}).items() if not kind.startswith("image/")]
    return re.sub(r"base64,[A-Za-z0-9+/=\s]+", "", "\n".join(parts))


def is_check(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and ast.unparse(statement) == "notebooks.check_parameters(globals())"


def problems(path: Path) -> list[str]:
    """What in a notebook departs from the house's form, a sentence each."""
    page = nbformat.read(path, as_version=4)
    code = [cell for cell in page.cells if cell.cell_type == "code"]
    prose = [cell.source for cell in page.cells if cell.cell_type == "markdown"]
    departures = []

    def expect(holds: Any, problem: str) -> None:
        if not holds:
            departures.append(problem)

    expect(re.fullmatch(r"\d\d(_[a-z0-9]+)+\.ipynb", path.name), "its name is not NN_words.ipynb")
    expect(path.stat().st_size < 3_000_000, f"{path.stat().st_size / 1e6:.1f} MB; 3 at most")
    expect("papermill" not in page.metadata, "papermill's traces are in it: use make notebooks")
    expect(page.metadata.get("kernelspec", {}).get("name") == "python3", "its kernel is not python3")

    expect(code and "parameters" in code[0].metadata.get("tags", []), "the first code cell is not tagged parameters")
    try:
        known = parameters.declared(path)
        expect(all(line.comment for line in known.values()), "a parameter has no comment")
        expect("profile" in known and known["profile"].default == "mini", 'it does not declare profile: str = "mini"')
        choices = set(known["profile"].choices) if "profile" in known else set()
        expect(choices and choices <= set(profiles.PROFILES), "the comment of profile does not list profiles")
    except InputError as error:
        departures.append(str(error))
    trees = [ast.parse("\n".join(re.sub(r"^[%!].*", "", line) for line in cell.source.splitlines())) for cell in code]
    second = trees[1].body if len(trees) > 1 else []
    action = [statement for statement in second if not isinstance(statement, (ast.Import, ast.ImportFrom))]
    expect(action and is_check(action[0]), "the second code cell does not begin with the check of the parameters")

    counts = [cell.execution_count for cell in code]
    expect(counts == list(range(1, len(code) + 1)), f"execution counts are {counts}: run it from top to bottom")
    outputs = [output for cell in code for output in cell.outputs]
    expect(outputs, "its outputs have been stripped")
    expect(not any(output.get("name") == "stderr" for output in outputs), "something was written to standard error")
    expect(not any(output.output_type == "error" for output in outputs), "an error is among the outputs")

    for cell, tree in zip(code, trees, strict=True):
        lines = cell.source.count("\n") + 1
        expect(lines <= LONGEST_CELL, f"a cell of {lines} lines: {cell.source.splitlines()[0]!r}")
        expect(cell.source.strip(), "an empty code cell")
        defined = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
        # What a reader writes and has checked stays on the page.
        expect(
            not defined or "practice.check(" in cell.source,
            f"it defines {', '.join(node.name for node in defined)}: that belongs in the package",
        )
    expect(len(prose) >= len(code) - 1, f"{len(prose)} prose cells for {len(code)} of code")  # the check needs none

    expect(page.cells and page.cells[0].cell_type == "markdown", "it does not open with prose")
    expect(prose and prose[0].startswith("# ") and "?" in prose[0], "it does not open with a title and a question")
    saw = [index for index, text in enumerate(prose) if re.search(r"^#+ .*what we saw", text, re.I | re.M)]
    tasks = [index for index, text in enumerate(prose) if re.search(r"^#+ .*exercises", text, re.I | re.M)]
    expect(saw and tasks and saw[-1] <= tasks[-1], "it does not close with 'What we saw' and 'Exercises'")
    for cell in page.cells:
        for pattern, what in ((MACHINE, "a path of one machine"), (REGISTRY, "the address of a registry")):
            match = pattern.search(shown(cell))
            expect(not match, f"{what}: {match and shown(cell)[max(0, match.start() - 20) : match.end() + 20]!r}")
    return departures


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_notebook_keeps_the_form(path: Path) -> None:
    assert problems(path) == []


def test_numbers_are_given_once() -> None:
    numbers = [path.stem[:2] for path in PAGES]
    assert len(numbers) == len(set(numbers))


@pytest.mark.parametrize("path", sorted((ROOT / "env" / "profiles").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_profile_file_suits_every_notebook(path: Path) -> None:
    assert parameters.read_parameters(path) == {"profile": path.stem}
    assert profiles.get(path.stem).name == path.stem


# A page in the house's form, small enough to run in two seconds.

DECLARED = """profile: str = "mini"  # mini | world68k
seeds: list[int] = [0]  # one run each
rate: float = 1e-3  # step size
clip: str | None = None  # a video of yours"""
CHECK = "from cityguessr import notebooks\n\nnotebooks.check_parameters(globals())"
SHOW = """from cityguessr.base import files, paths

files.write_bytes(paths.figures(profile) / "fig9_made.csv", b"x")
print(profile, seeds, rate, clip)
len(seeds)"""


def page(*code: str, declared: str = DECLARED) -> NotebookNode:
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    cells = [v4.new_markdown_cell("# A page\nDoes it run?")]
    for number, source in enumerate([declared, CHECK, *code]):
        cells += [v4.new_code_cell(source, metadata={"tags": [] if number else ["parameters"]})]
        cells += [v4.new_markdown_cell("So it goes.")]
    cells += [v4.new_markdown_cell("## What we saw\nThat.\n\n## Exercises\n1. Try.\n2. Again.")]
    return v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's root with two small notebooks."""
    monkeypatch.setenv("CITYGUESSR_ROOT", str(tmp_path))
    shutil.copytree(ROOT / "env" / "profiles", tmp_path / "env" / "profiles")
    (tmp_path / "notebooks").mkdir()
    nbformat.write(page(SHOW), tmp_path / "notebooks" / "32_table4_small.ipynb")
    nbformat.write(
        page('name = "fig_s5_maps"', "1 / 0", declared=DECLARED.splitlines()[0]),
        tmp_path / "notebooks" / "40_world_maps.ipynb",
    )
    monkeypatch.setattr(training, "ensure_all", lambda *_, **__: {})  # these pages ask for no training
    return tmp_path


def test_runner_passes_typed_parameters_and_says_what_it_wrote(house: Path, capsys: pytest.CaptureFixture) -> None:
    arguments = ["run", "table4", "--profile", "world68k", "--seeds", "0,1", "-p", "rate", "1e-4", "-p", "clip", "null"]
    assert command.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "world68k [0, 1] 0.0001 None" in printed
    assert "runs/notebooks/world68k/32_table4_small.ipynb" in printed
    assert "    runs/figures/world68k/fig9_made.csv\n" in printed
    assert [path.name for path in house.glob("runs/notebooks/*/*")] == ["32_table4_small.ipynb"]


def test_a_failing_cell_is_shown_and_nothing_is_taken_for_whole(house: Path, capsys: pytest.CaptureFixture) -> None:
    assert command.main(["run", "40_world_maps"]) == 1
    printed = capsys.readouterr().out
    assert "ZeroDivisionError" in printed
    assert "1 / 0" in printed
    assert "40_world_maps.failed.ipynb" in printed
    assert not (house / "runs/notebooks/mini/40_world_maps.ipynb").exists()


SIDE_BY_SIDE = """
import sys
from cityguessr.notebooks import runner

if __name__ == "__main__":
    sys.exit(not runner.run_all([(path, {}) for path in runner.available()], side_by_side=True))
"""


def test_pages_side_by_side_run_to_the_end_and_leave_no_process_when_ended(house: Path) -> None:
    """One page is done and said to be, then SIGTERM comes while the other waits: its worker and its kernel end too."""
    pids = house / "pids"
    wait = f"import os, time\n\nopen({str(pids)!r}, 'w').write(f'{{os.getppid()}} {{os.getpid()}}')\ntime.sleep(300)"
    nbformat.write(page(wait, declared=DECLARED.splitlines()[0]), house / "notebooks" / "40_world_maps.ipynb")
    (house / "script.py").write_text(SIDE_BY_SIDE)
    process = subprocess.Popen(
        [sys.executable, house / "script.py"],
        env=os.environ | {"CITYGUESSR_ROOT": str(house), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert "32_table4_small" in process.stdout.readline()
    assert (house / "runs/notebooks/mini/32_table4_small.ipynb").exists()
    for _ in range(600):
        if pids.exists() and len(numbers := pids.read_text().split()) == 2:
            break
        time.sleep(0.1)
    process.terminate()
    assert process.wait(30) == -signal.SIGTERM
    for _ in range(300):
        left = [number for number in numbers if Path(f"/proc/{number}").exists()]
        if not left:
            break
        time.sleep(0.1)
    assert left == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("run table4 -p seedz 1", "no parameter 'seedz'. Did you mean seeds?"),
        ("run table4 -p seeds one", "seeds must be list[int], and 'one' is not"),
        ("run table4 -p rate fast", "rate must be float"),
        ("run 40 --seeds 0", "40_world_maps has no parameter 'seeds'"),
        ("run table4 --profile msls", "profile is 'msls'; it is one of mini, world68k"),
        ("run table4 --profile minni", "no profile 'minni'"),
        ("run table7", "no notebook 'table7'; it is one of 32_table4_small, 40_world_maps"),
        ("run table4 40 -p ratio 1", "no parameter 'ratio'. Did you mean rate?"),
    ],
)
def test_bad_parameters_stop_before_anything_runs(
    house: Path, capsys: pytest.CaptureFixture, arguments: str, message: str
) -> None:
    assert command.main(arguments.split()) == 1
    assert message in capsys.readouterr().err
    assert not (house / "runs").exists()


def test_a_parameter_file_is_as_strict(house: Path, capsys: pytest.CaptureFixture) -> None:
    (house / "mine.yaml").write_text("seeds: [0]\nrate: true\n")
    assert command.main(["run", "table4", "-f", str(house / "mine.yaml")]) == 1
    assert "rate must be float, and True is not" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"seedz": [1]}, "has no parameter 'seedz'"),
        ({"seeds": "0,1"}, "seeds must be list\\[int\\], and '0,1' is not"),
        ({"clip": "null"}, "-p clip None"),
    ],
)
def test_plain_papermill_is_as_strict(house: Path, given: dict[str, Any], message: str) -> None:
    with pytest.raises(papermill.PapermillExecutionError, match=message) as caught:
        papermill.execute_notebook(
            house / "notebooks" / "32_table4_small.ipynb", house / "out.ipynb", given, progress_bar=False
        )
    assert caught.value.exec_count == 3  # parameters, what papermill injected, the check
    assert not (house / "figures").exists()


def test_going_back_to_the_top_in_a_live_kernel_is_no_error() -> None:
    """Names that later cells made are there when a reader runs the first cells again."""
    live = {"__annotations__": {"seeds": list[int]}, "seeds": [3], "rows": 7, "In": ["", "seeds: list[int] = [3]"]}
    notebooks.check_parameters(live)
    with pytest.raises(InputError, match="rows"):
        notebooks.check_parameters(live | {"In": ["", "# Parameters\nrows = 7\n"]})


def test_annotations_are_found_where_python_3_14_keeps_them() -> None:
    with pytest.raises(InputError, match="seeds must be"):
        notebooks.check_parameters({"__annotate__": lambda _: {"seeds": list[int]}, "seeds": 3})


def test_true_is_no_number_and_a_whole_number_is_a_float() -> None:
    assert not parameters.fits(True, int)
    assert not parameters.fits([True], list[int])
    assert parameters.fits(1, float)
    assert parameters.fits(None, str | None)
    assert parameters.from_text("none", str | None) == "none"  # the name of an evaluation mode


def test_the_whole_paper_leaves_out_pages_without_the_profile(house: Path, capsys: pytest.CaptureFixture) -> None:
    """Table 6 is about Mapillary, the others are not: `make paper PROFILE=msls` renders Table 6."""
    path = house / "notebooks" / "34_table6_small.ipynb"
    nbformat.write(page(SHOW, declared=DECLARED.replace("mini | world68k", "mini | msls")), path)
    assert command.main(["paper", "--profile", "msls"]) == 0
    printed = capsys.readouterr().out
    assert "32_table4_small: left out, for it has no profile msls" in printed
    assert "[1/1] 34_table6_small profile=msls" in printed


def test_what_pages_ask_for_is_trained_ahead(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(training, "ensure_all", lambda parts, **given: asked.append((parts, given)))
    command.train_ahead([(house / "notebooks" / "32_table4_small.ipynb", {"seeds": [0, 1]})])
    (((part,), given),) = asked
    assert {"cityguessr", "videomae_msls", "two_layer_ffn_t"} <= set(part.names)
    assert (part.seeds, part.profile, given) == ((0, 1), "mini", {})


def test_the_pages_of_vidtag_have_its_tables_trained_in_the_same_go(
    house: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that show one run ask for its seed, and those that show none for nothing."""
    asked = []
    monkeypatch.setattr(training, "ensure_all", lambda parts, **given: asked.append(parts))
    one = """profile: str = "mini"  # mini | msls
seed: int = 3  # of the run that is shown"""
    nbformat.write(page(SHOW), house / "notebooks" / "51_tables_small.ipynb")
    nbformat.write(page("1", declared=one), house / "notebooks" / "52_tracks_small.ipynb")
    nbformat.write(page("1", declared=one.splitlines()[0]), house / "notebooks" / "53_words_small.ipynb")
    command.train_ahead([(path, {}) for path in runner.available()])
    ((ours, its, clips),) = asked
    assert (clips.profile, clips.seeds) == ("mini_clips", (0, 3))  # VidTAG on CityGuessr's own clips
    assert set(clips.names) == {"geoclip_zeroshot", "vidtag", "geoclip_finetuned"}
    assert (ours.kind.whose, ours.profile, ours.seeds) == ("CityGuessr", "mini", (0,))
    assert (its.kind.whose, its.profile, its.seeds) == ("VidTAG", "mini", (0, 3))
    wanted = {name for rows in track_experiments.TABLES.values() for name, _ in rows.values()}
    assert set(its.names) == wanted
    assert {"vidtag", "geoclip_finetuned"} <= wanted
    command.train_ahead([(house / "notebooks" / "53_words_small.ipynb", {})])
    assert len(asked) == 1


def test_names_of_tables_and_figures_find_their_notebook(house: Path) -> None:
    for name in ("32", "table4", "32_table4_small", "notebooks/32_table4_small.ipynb"):
        assert runner.find(name).stem == "32_table4_small"
    assert runner.find("fig_s5").stem == "40_world_maps"


def test_the_figures_of_the_paper_are_one_name(house: Path) -> None:
    """`make figures` runs the pages that save a numbered figure, and no other."""
    nbformat.write(page('print("fig_s12_of_the_house")'), house / "notebooks" / "41_small.ipynb")
    nbformat.write(page("print('no figure')"), house / "notebooks" / "33_table5_small.ipynb")
    drawn = [path.stem for path in runner.drawing()]
    assert "41_small" in drawn
    assert "33_table5_small" not in drawn
    assert runner.find("fig_s12").stem == "41_small"
    with pytest.raises(InputError, match=r"no figure .fig_s1.; it is one of fig9, fig_s5, fig_s12"):
        runner.find("fig_s1")  # S12 is another figure than S1


def test_every_table_and_the_ledger_have_one_notebook(house: Path) -> None:
    stems = ("30_table2_a", "31_table3_b", "33_table5_c", "35_table_s1_d", "36_table_s2_e", "90_paper_vs_measured")
    for stem in stems:
        nbformat.write(page(), house / "notebooks" / f"{stem}.ipynb")
    for name in ("table2", "table3", "table4", "table5", "table_s1", "table_s2", "ledger"):
        known = {"ledger": "90_paper_vs_measured"}.get(name, f"_{name}_")
        assert known in runner.find(name).stem
    assert runner.find("90").stem == "90_paper_vs_measured"


def test_refresh_keeps_outputs_of_five_seeds_and_leaves_no_trace_of_the_run(house: Path) -> None:
    (house / "notebooks" / "40_world_maps.ipynb").unlink()
    path = house / "notebooks" / "32_table4_small.ipynb"
    before = [cell.source for cell in nbformat.read(path, as_version=4).cells]
    assert problems(path) != []  # it has not been run
    assert command.main(["refresh", "-p", "rate", "0.5"]) == 0
    assert problems(path) == []
    kept = nbformat.read(path, as_version=4)
    assert [cell.source for cell in kept.cells] == before
    counts = {output.execution_count for cell in kept.cells for output in cell.get("outputs", []) if "data" in output}
    assert counts == {3}  # that of the last cell, which shows a value: as if nothing had been injected
    assert "mini [0, 1, 2, 3, 4] 0.5 None" in path.read_text()
    assert str(paths.root()) not in path.read_text()


def test_only_what_is_kept_on_purpose_is_written_into_figures(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader's runs go to `runs/`; `make notebooks` keeps in git, and `make test` has a folder of its own."""
    runs = house / "runs" / "figures"
    assert [paths.figures(name) for name in ("mini", "midi", "msls")] == [runs / "mini", runs / "midi", runs / "msls"]
    monkeypatch.setenv("CITYGUESSR_FIGURES", "figures")
    assert [paths.figures(name) for name in ("mini", "midi")] == [house / "figures", house / "figures" / "midi"]
    assert paths.figures("world68k") == runs / "world68k"  # of which nothing is kept
    monkeypatch.setenv("CITYGUESSR_FIGURES", "runs/figures/test")
    assert paths.figures() == runs / "test"
    assert paths.figures("world68k") == runs / "test" / "world68k"
    dry = subprocess.run(["make", "-n", "test"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    notebooks = [line for line in dry.splitlines() if "--nbval" in line]
    assert notebooks
    assert all(line.startswith("CITYGUESSR_FIGURES=runs/figures/test ") for line in notebooks)
    (made := runs / "test" / "fig9.csv").parent.mkdir(parents=True)
    made.write_text("x")
    assert runner.written_since(made.stat().st_mtime - 1) == [Path("runs/figures/test/fig9.csv")]


def test_a_table_is_the_reader_s_own_where_there_is_one_and_else_the_kept_one(house: Path) -> None:
    for folder in ("figures", "figures/midi"):
        (table := house / folder / "tables" / "table3.csv").parent.mkdir(parents=True)
        table.write_text("kept")
    assert paths.rendered("tables/table3.csv") == house / "figures" / "tables" / "table3.csv"
    assert paths.rendered("tables/table3.csv", "midi") == house / "figures" / "midi" / "tables" / "table3.csv"
    (own := house / "runs" / "figures" / "midi" / "tables" / "table3.csv").parent.mkdir(parents=True)
    own.write_text("own")
    assert paths.rendered("tables/table3.csv", "midi") == own
    assert paths.rendered("tables/table3.csv") != own
    assert paths.rendered("tables/table9.csv") == house / "runs" / "figures" / "mini" / "tables" / "table9.csv"


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("def helper():\n    pass", "it defines helper"),
        ("\n".join(f"x{line} = 1" for line in range(21)), "a cell of 21 lines"),
        ("import sys\n\nsys.stderr.write('careful')", "standard error"),
        ("print('/' + 'home/me/clip.mp4')", "a path of one machine"),
    ],
)
def test_the_form_is_really_checked(house: Path, code: str, problem: str) -> None:
    bad = page(code)
    for count, cell in enumerate((cell for cell in bad.cells if cell.cell_type == "code"), start=1):
        cell.execution_count = count
    last = bad.cells[-3]
    last.outputs = [v4.new_output("stream", name="stderr" if "stderr" in code else "stdout", text="/home/me/clip.mp4")]
    nbformat.write(bad, house / "notebooks" / "50_bad.ipynb")
    assert any(problem in departure for departure in problems(house / "notebooks" / "50_bad.ipynb"))
