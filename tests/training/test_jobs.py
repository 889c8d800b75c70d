"""Trainings spread over processes and machines: the same runs as one by one, each once, and clear words on trouble."""

import dataclasses
import math
import multiprocessing
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from support import make_release

from cityguessr.base.errors import InputError, MissingWeights
from cityguessr.data.clips import ClipDataset
from cityguessr.taxonomy import LEVELS
from cityguessr.training import command, executors, experiments, jobs, live, profiles, runs
from cityguessr.training.execution import Execution
from cityguessr.training.experiments import Experiment
from cityguessr.training.recipe import Recipe

SIZES = {"pretrained": None, "frames": 4, "size": 32, "width": 24, "depth": 1, "heads": 2, "epochs": 2}
SIZES |= {"text_encoder": "random"}
TINY = profiles.Profile("tiny", "a test", overrides=SIZES, recipe=Recipe(batch_size=4), loader_workers=0, threads=1)
TWO = ("cityguessr", "videomae")


class InWorker(Experiment):
    """An experiment that goes wrong in a worker, and only there, when it is asked for its name, which says how."""

    def __getattribute__(self, attribute: str) -> object:
        value = super().__getattribute__(attribute)
        if attribute == "name" and multiprocessing.parent_process() is not None:
            if value == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            raise {"bad": InputError, "bug": ZeroDivisionError}[value](f"a {value} thing")
        return value


BAD, BUG, KILLED = (InWorker(name, name, {"text_layers": 5}) for name in ("bad", "bug", "killed"))
PRETRAINED = Experiment("pretrained", "pretrained", {"pretrained": "MCG-NJU/videomae-small-finetuned-kinetics"})


@pytest.fixture(autouse=True)
def no_line_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is: lines on trainings that run are `test_live`'s."""
    monkeypatch.setattr(live, "SELDOM", math.inf)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_release(tmp_path_factory.mktemp("source") / "release", clips=3, frames=8)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CITYGUESSR_ROOT", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def one_by_one(release: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], runs.Run]:
    """Each run as `runs.ensure` trains it in this process, in another place."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CITYGUESSR_ROOT", str(tmp_path_factory.mktemp("one_by_one")))
        options = {"data_root": release, "execution": Execution("cpu"), "workers": 1, "report": lambda line: None}
        return {(name, seed): runs.ensure(name, TINY, seed, **options) for name in TWO for seed in (0, 1)}


def spread(release: Path, names: object = TWO, seeds: object = (0, 1), **options: object) -> tuple[dict, list[str]]:
    lines: list[str] = []
    defaults = {"data_root": release, "execution": Execution("cpu"), "report": lines.append}
    return jobs.ensure_all(names, options.pop("profile", TINY), seeds, **(defaults | options)), lines


def assert_equal(found: dict, known: dict[tuple[str, int], runs.Run], seeds: object = (0, 1)) -> None:
    for name, answer in found.items():
        for seed, run in zip(seeds, answer, strict=True):
            assert run.folder.name == known[name, seed].folder.name
            mine, its = run.predictions.logits, known[name, seed].predictions.logits
            assert all(torch.equal(mine[level], its[level]) for level in LEVELS)


def test_a_table_is_trained_side_by_side_to_the_last_bit_as_one_by_one(
    release: Path, root: Path, one_by_one: dict, capfd: pytest.CaptureFixture
) -> None:
    found, lines = spread(release, processes=2)
    assert_equal(found, one_by_one)
    assert lines[0].startswith("4 of 4 trainings to do, 2 at a time")
    assert len(lines) == 5  # and one a training, in the order in which they finish
    took = r"trained \w+ seed [01] in [\d.]+ (s|min \d\d s) \([1-4] of 4\)"
    assert all(re.fullmatch(took, line) for line in lines[1:])
    said = capfd.readouterr()
    assert "epoch" not in said.out  # two trainings would write over each other
    assert said.err == ""  # an error, on a notebook's page
    for run in (run for answer in found.values() for run in answer):
        assert re.search(r"^epoch  2/2 ", (run.folder / jobs.LOG).read_text(), re.M)  # where the first line says
    assert lines[0].endswith(f"their epochs: {found['cityguessr'][0].folder.relative_to(root) / jobs.LOG} and so on")
    again, silence = spread(release, processes=2)
    assert again == found
    assert silence == []


def test_in_this_process_where_frames_are_decoded_once(
    release: Path, root: Path, one_by_one: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, decoded = ClipDataset._decode_all, []
    monkeypatch.setattr(ClipDataset, "_decode_all", lambda clips: decoded.append(clips.name) or real(clips))
    found, lines = spread(release, seeds=[1], processes=1)
    assert decoded == ["train", "val"]
    assert_equal(found, one_by_one, seeds=[1])
    assert len(lines) == 3


@pytest.fixture
def dask(tmp_path: Path) -> Iterator[str]:
    """The address of a scheduler with two worker processes."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, local_directory=str(tmp_path / "dask")
    ) as cluster:
        yield cluster.scheduler_address


def test_on_a_dask_cluster_by_its_address(release: Path, root: Path, dask: str, one_by_one: dict) -> None:
    found, lines = spread(release, seeds=[0], cluster=dask)
    assert_equal(found, one_by_one, seeds=[0])
    assert lines[0].startswith(f"2 of 2 trainings to do, on {dask}")
    with_readers = dataclasses.replace(TINY, name="readers", loader_workers=1)  # processes of its own, below Dask's
    found, _ = spread(release, ["videomae", PRETRAINED], [0], cluster=dask, profile=with_readers)
    run = found["videomae"][0]
    assert torch.equal(run.predictions.logits["city"], one_by_one["videomae", 0].predictions.logits["city"])
    assert isinstance(found["pretrained"], MissingWeights)
    with pytest.raises(InputError, match="a bad thing"):
        spread(release, [BAD], [0], cluster=dask)


def test_no_cluster_at_that_address(release: Path, root: Path) -> None:
    dask = pytest.importorskip("dask")
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "0.5s"}),
        pytest.raises(InputError, match=r"no Dask scheduler at 'tcp://127.0.0.1:9'"),
    ):
        spread(release, cluster="tcp://127.0.0.1:9")


@pytest.mark.parametrize("processes", [1, 2])
def test_missing_weights_of_one_row_stop_no_other(release: Path, root: Path, processes: int) -> None:
    clip = Experiment("clip_text", "CLIP", {"text_encoder": "clip"})
    found, lines = spread(release, [PRETRAINED, clip, "videomae"], [0, 1], processes=processes)
    assert len(found["videomae"]) == 2
    assert "not on this machine" in str(found["pretrained"])
    assert "text encoder 'clip'" in str(found["clip_text"])
    assert sum(line.startswith("pretrained cannot be trained here: ") for line in lines) == 1


@pytest.mark.parametrize(
    ("experiment", "error", "message"),
    [
        (BAD, InputError, "^a bad thing$"),
        (BUG, RuntimeError, r"training of bug, seed 0 stopped: ZeroDivisionError: a bug thing .*\.log"),
        (KILLED, InputError, r"killed, seed 0 was ended by force \(SIGKILL\), as it happens where memory runs out"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_any_other_error_stops_everything_with_one_message(
    release: Path, root: Path, experiment: Experiment, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        spread(release, [experiment, "cityguessr", "videomae"], [0, 1], processes=2)
    assert multiprocessing.active_children() == []
    assert len(list(root.glob("runs/tiny/*/*/provenance.json"))) < 4


def test_equal_experiments_are_trained_once(release: Path, root: Path) -> None:
    found, lines = spread(release, ["no_tla", "scenes_soft", "scenes_16"], [0], processes=1)
    assert {run.folder.parent.name for (run,) in found.values()} == {"scenes_soft"}
    assert len(lines) == 2
    listed = jobs.trainings(["no_tla", "cityguessr", "scenes_16"], TINY, [3, 4])
    assert [(e.name, seed) for e, seed in listed] == [
        ("scenes_soft", 3),
        ("cityguessr", 3),
        ("scenes_soft", 4),
        ("cityguessr", 4),
    ]


def test_how_many_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(6)), raising=False)
    assert executors.at_a_time(TINY.threads, "cpu") == 6
    assert executors.at_a_time(2, "cpu") == 3
    assert executors.at_a_time(None, "cpu") == 1
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert executors.gpus("auto") == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")  # what is left of a shared machine
    assert executors.gpus("auto") == ["5", "7"]
    assert executors.at_a_time(TINY.threads, "auto") == 2
    assert executors.gpus("cpu") == []


# --- as a job array runs it: processes that know nothing of each other ------------------------------------------------

PROGRAM = """
import sys
from cityguessr.training import command, profiles
from test_jobs import TINY

profiles.PROFILES["tiny"] = TINY
sys.exit(command.main(sys.argv[1:]))
"""


def start(root: Path, release: Path, *arguments: str) -> subprocess.Popen[str]:
    folders = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    common = ["table_s1", "cityguessr", "--profile", "tiny", "--seeds", "0,1", "--device", "cpu"]
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *common, "--data-root", str(release), *arguments],
        env=os.environ | {"CITYGUESSR_ROOT": str(root), "PYTHONPATH": os.pathsep.join(folders)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_tasks_of_a_job_array(release: Path, root: Path, one_by_one: dict) -> None:
    """Two processes, one training each, and a third that wants the same as the second: it waits, and finds it."""
    listed = start(root, release, "--list").communicate()[0].splitlines()
    assert [line.split() for line in listed][2] == ["2", "cityguessr", "seed", "0", "-"]
    assert len(listed) == 6  # two of Table S1 and the full model, with two seeds each: a line a task
    tasks = [start(root, release, "--task", number) for number in ("2", "5", "5")]
    said = [task.communicate() for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0, 0], said
    assert sum("epoch  2/2" in out for out, _ in said) == 2  # trained once, though two wanted it
    for seed in (0, 1):
        (folder,) = root.glob(f"runs/tiny/cityguessr/seed{seed}-*/")
        assert_equal({"cityguessr": [runs.Run(folder)]}, one_by_one, seeds=[seed])
    listed = start(root, release, "--list").communicate()[0].splitlines()
    assert [line.endswith("done") for line in listed] == [False, False, True, False, False, True]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("table3 --task 99", "the tasks are 0 to "),
        ("table3 --seeds one", "--seeds one: give whole numbers"),
        ("tabel3", "no table or experiment 'tabel3'"),
        ("table3 --profile huge", "no profile 'huge'"),
        ("table3 --processes 0", "processes is 0; it must be at least 1"),
    ],
)
def test_bad_arguments_of_the_command(root: Path, arguments: str, message: str, capsys: pytest.CaptureFixture) -> None:
    assert command.main(arguments.split()) == 1
    assert message in capsys.readouterr().err


def test_the_command_says_what_it_could_not_train(
    release: Path, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setitem(profiles.PROFILES, "tiny", TINY)
    monkeypatch.setitem(experiments.EXPERIMENTS, "pretrained", PRETRAINED)
    arguments = ["videomae", "pretrained", "--profile", "tiny", "--data-root", str(release), "--processes", "1"]
    assert command.main([*arguments, "--device", "cpu"]) == 1
    said = capsys.readouterr().out
    assert re.search(r"^pretrained: not trained: the weights .* are not on this machine", said, re.MULTILINE)
    assert "1 of 2 experiments have all their runs" in said
    assert command.main([*arguments[:6], "--list"]) == 0
    done, impossible = capsys.readouterr().out.splitlines()
    assert done.split() == ["0", "videomae", "seed", "0", "done"]
    assert "1  pretrained               seed 0  not possible here: the weights" in impossible
    assert "are not on this machine" in impossible
    assert command.main([*arguments[:6], "--list", "--allow-downloads"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["1", "pretrained", "seed", "0", "-"]
    assert command.main(["videomae", *arguments[2:6]]) == 0
