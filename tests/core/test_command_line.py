"""The command `cityguessr`: a guess as a table, a map and JSON, what is trained, and doors to the other commands."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from support import make_frames

import cityguessr
from cityguessr import __main__ as command
from cityguessr.base.errors import CannotRun, InputError
from cityguessr.taxonomy import LEVELS
from cityguessr.training import opening, runs
from cityguessr.training.runs import Run

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def here(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Somebody's folder, far from the project, with a clip in it."""
    make_frames(tmp_path / "walk", 8)
    monkeypatch.chdir(tmp_path)
    return tmp_path


TINY_RUN = ("--profile", "tiny")


def test_a_guess_is_a_table_and_a_map(here: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["guess", "walk", *TINY_RUN, "-k", "2"]) == 0
    printed = capsys.readouterr().out.splitlines()
    answer = cityguessr.guess("walk", run, 2)
    assert printed[0] == str(answer)
    assert printed[2].split() == ["rank", *LEVELS]
    for rank, line in enumerate(printed[3:5], 1):
        assert line.startswith(str(rank))
        assert all(cell in line for cell in answer.table().loc[rank])
    assert printed[-2:] == [f"run: {run.folder}", "map: walk-map.png"]
    with Image.open(here / "walk-map.png") as picture:
        assert picture.width > 1000


def test_a_picture_replaces_its_own_predecessor_and_no_other_file(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def maps(*arguments: str) -> str:
        assert command.main(["guess", *arguments, *TINY_RUN]) == 0
        return capsys.readouterr().out.splitlines()[-1]

    assert maps("walk") == maps("walk") == "map: walk-map.png"
    make_frames(here / "other" / "walk", 8)
    assert maps("other/walk") == "map: walk-map-2.png"  # another clip of that name
    (here / "walk-map.png").write_text("notes on the walk")
    assert maps("walk") == "map: walk-map-3.png"
    assert (here / "walk-map.png").read_text() == "notes on the walk"
    assert maps("walk", "--map", "mine.png") == "map: mine.png"
    assert command.main(["guess", "walk", *TINY_RUN, "--map", "walk-map.png"]) == 1
    assert "walk-map.png: this file is there already" in capsys.readouterr().err
    assert command.main(["guess", "walk", *TINY_RUN, "--map", "map.pdf"]) == 1
    assert "ends in .png" in capsys.readouterr().err
    assert sorted(path.name for path in here.glob("*.p*")) == [
        "mine.png",
        "walk-map-2.png",
        "walk-map-3.png",
        "walk-map.png",
    ]


def test_a_program_gets_a_line_of_json_per_video(here: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    make_frames(here / "drive", 8)
    assert command.main(["guess", "walk", "drive", *TINY_RUN, "-k", "2", "--json"]) == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert [first["video"], second["video"]] == [str(here / "walk"), str(here / "drive")]
    assert first["run"] == str(run.folder)
    assert first["synthetic"] is False
    assert first["answer"] == cityguessr.guess("walk", run).names
    assert [len(first["likeliest"][level]) for level in LEVELS] == [2, 2, 2, 2]
    assert first["pictures"] == {}
    assert not list(here.glob("*.png"))


def test_without_a_track_one_line_says_why(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["guess", "walk", *TINY_RUN, "--no-map", "--track"]) == 0
    assert "no track: VidTAG has no profile tiny" in capsys.readouterr().out


def test_a_run_may_be_given_by_its_folder(here: Path, run: Run) -> None:
    assert command.main(["guess", "walk", "--run", str(run.folder), "--no-map"]) == 0
    assert cityguessr.guess("walk", str(run.folder)).chain == cityguessr.guess("walk", run).chain


def test_bad_input_is_one_line(here: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in (
        (
            ["guess", "gone.mp4", *TINY_RUN],
            f"{here / 'gone.mp4'} and {run.folder.parents[3] / 'gone.mp4'}: no such file; give the path of a video",
        ),
        (["guess", str(here / "gone.mp4"), *TINY_RUN], f"{here / 'gone.mp4'}: no such file; give the path of a video"),
        (["guess", str(here), *TINY_RUN, "--train"], f"{here}: this is a folder, and no picture is in it; give"),
        (["guess", "gone.mp4", "--train"], "gone.mp4: no such file"),  # before it trains
        (["guess", "walk", *TINY_RUN, "-k", "0"], "k is 0"),
        (["guess", "walk", "walk", "--map", "x.png"], "--map names one picture"),
        (["pages"], "no notebooks are here"),
        (["guess", "walk", "--run", "nowhere"], "no experiment has this name"),
        (["guess", "walk"], "no trained run of cityguessr at the profile mini is on this machine"),
    ):
        assert command.main(arguments) == 1
        printed = capsys.readouterr()
        assert printed.err.startswith("error: ")
        assert message in printed.err
        assert printed.err.count("\n") == 1
        assert not printed.out
    with pytest.raises(InputError, match="run is a int; give a run"):
        cityguessr.guess("walk", 5)


def test_train_trains_where_no_run_is_there(
    here: Path, run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def trained(experiment: str, profile: str, seed: int, **options: object) -> Run:
        asked.append((experiment, profile, seed))
        options["report"]("epoch 1/2")
        return run

    monkeypatch.setattr(runs, "ensure", trained)
    assert command.main(["guess", "walk", *TINY_RUN, "--train", "--no-map"]) == 0
    assert asked == []  # one is there
    with pytest.raises(CannotRun, match="no trained run"):
        cityguessr.guess("walk")
    capsys.readouterr()
    assert command.main(["guess", "walk", "--train", "--json"]) == 0
    assert asked == [("cityguessr", "mini", 0)]
    printed = capsys.readouterr()
    assert "epoch 1/2" in printed.err
    assert json.loads(printed.out)["run"] == str(run.folder)


def test_runs_lists_what_is_trained(here: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["runs"]) == 0
    head, names, row = capsys.readouterr().out.splitlines()
    assert head == f"in {run.folder.parents[3]}:"
    assert names.split() == ["profile", "experiment", "seed", "code", "folder"]
    assert row.split() == ["tiny", "cityguessr", "0", "present", str(run.folder.relative_to(run.folder.parents[3]))]


def test_runs_says_which_are_of_older_code(
    here: Path, run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "run_codes", lambda: ("another",))
    assert command.main(["runs"]) == 0
    *_, row, note = capsys.readouterr().out.splitlines()
    assert row.split()[3] == "older"
    assert note.startswith("older: code that has changed since trained 1 of these 1 runs. They can be asked")
    assert "`cityguessr train cityguessr`" in note


@pytest.mark.parametrize("door", command.DOORS)
def test_doors_lead_to_the_other_commands(door: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        command.main([door, "--help"])
    assert end.value.code == 0
    assert "usage: " in capsys.readouterr().out


def test_help_and_version_cost_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([]) == 0
    assert "guess" in capsys.readouterr().out
    program = (
        "import sys; from cityguessr.__main__ import main\ntry: main(['--version'])\nexcept SystemExit: pass\n"
        "print(*{'torch', 'numpy', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == f"cityguessr {cityguessr.__version__}\n\n"


def test_no_module_takes_a_video_and_says_nothing() -> None:
    """`python -m cityguessr.guess walk.mp4` once ended without a word."""
    with pytest.raises(ImportError, match=r"No module named cityguessr\.guess"):
        runpy.run_module("cityguessr.guess", run_name="__main__")
    with pytest.warns(RuntimeWarning), pytest.raises(SystemExit, match="write: cityguessr guess"):
        runpy.run_module("cityguessr.guessing", run_name="__main__")
