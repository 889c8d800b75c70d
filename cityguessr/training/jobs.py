"""The trainings that a table needs, experiments times seeds, spread over processes, GPUs or machines.

What is there already is not trained again, however it came about: a notebook that comes after finds all of it. The
command line is `command`'s.
"""

import contextlib
import functools
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from cityguessr.base import paths, weights
from cityguessr.base.errors import CannotRun, InputError
from cityguessr.base.files import make_folder
from cityguessr.base.progress import duration
from cityguessr.config import ClipFormat, ModelConfig
from cityguessr.data.clips import PreparedClips
from cityguessr.data.release.layout import Roots
from cityguessr.training import datasets, executors, experiments, live, profiles, runs, scene_labels
from cityguessr.training.execution import AUTO, Execution
from cityguessr.training.experiments import Experiment
from cityguessr.training.finished import Finished
from cityguessr.training.profiles import Profile
from cityguessr.training.runs import Plan, Run
from cityguessr.training.scene_labels import Scenes
from cityguessr.training.seeds import check_seed


def trainings(
    names: Iterable[str | Experiment], profile: str | Profile, seeds: Sequence[int]
) -> list[tuple[Experiment, int]]:
    """The trainings behind experiments, each once: all of the first seed, then all of the next.

    Experiments whose configurations are equal at the profile's scale are one. The order depends on the arguments alone,
    so that the N-th is the same one on every machine.
    """
    unique: dict[str, Experiment] = {}
    for experiment in (experiments.canonical(name, profile) for name in names):
        if unique.setdefault(experiment.name, experiment) != experiment:
            raise InputError(f"two experiments are called {experiment.name!r}; give each a name of its own")
    return [(experiment, seed) for seed in dict.fromkeys(map(check_seed, seeds)) for experiment in unique.values()]


def ensure_all(
    names: Sequence[str | Experiment],
    profile: str | Profile = "mini",
    seeds: Sequence[int] = (0,),
    *,
    data_root: Roots | None = None,
    allow_downloads: bool = False,
    execution: Execution = AUTO,
    cluster: str | None = None,
    processes: int | None = None,
    report: Callable[[str], None] = print,
) -> dict[str, tuple[Run, ...] | CannotRun]:
    """The runs of several experiments with several seeds: trained now, side by side, unless they are there already.

    The result is that of `runs.ensure` one by one, bit for bit where the profile says how many threads a training has.
    Data is prepared here, once, before any worker starts.

    Args:
        names: of experiments, or experiments of your own.
        data_root, allow_downloads, execution: as in `runs.ensure`.
        cluster: address of a Dask scheduler (`tcp://host:8786`) whose workers train instead, one training a worker;
            they must see data, runs and weights under the same paths and have this package.
        processes: trainings at a time on this machine; 1: in this process. By default one a GPU, or as many as the
            processors that this process may use give the profile's threads to.
        report: gets one line per training as they finish, and now and then where those that run are; where it prints to
            a terminal or an open page, that is shown in one place. All their lines go to `training.log` in the folder
            of each run, and stay there.

    Returns name -> its runs in the order of `seeds`, or why it cannot be trained here.
    Raises InputError for bad input of any kind but missing weights, and where a worker was killed. Other trainings are
    stopped; they go on from what they saved last when called again, and finished runs are kept.
    """
    profile = profiles.get(profile)
    count = executors.asked(processes, [profile.threads], execution.device)
    wanted = {experiment.name: experiment for experiment in map(experiments.get, names)}
    plans, missing = plan_all(
        trainings(wanted.values(), profile, seeds), profile, data_root, allow_downloads, execution, cluster
    )
    folders = spread(plans, missing, count, execution.device, cluster, report)
    answers: dict[str, tuple[Run, ...] | CannotRun] = {}
    for name, experiment in wanted.items():
        trained = experiments.canonical(experiment, profile).name
        answers[name] = missing.get(trained) or tuple(Run(folders[trained, seed]) for seed in seeds)
    return answers


class Planned(Protocol):
    """One training of any kind before it is run: `runs.Plan`, `track_runs.TrackPlan`."""

    seed: int

    @property
    def name(self) -> str:
        """Of its experiment."""

    @property
    def folder(self) -> Path:
        """Of its run, with its log."""

    @property
    def done(self) -> bool:
        """Whether the run is there, whole."""

    def carry_out(self, report: Callable[[str], None]) -> Finished:
        """Train, unless another process has done it meanwhile."""


def spread(
    plans: Mapping[tuple[str, int], Planned],
    missing: dict[str, CannotRun],
    count: int,
    device: str,
    cluster: str | None,
    report: Callable[[str], None],
) -> dict[tuple[str, int], Path]:
    """Carry out what is planned and not there yet; (experiment, seed) -> the folder of its run.

    Args:
        plans: by what the experiment is called here, and the seed. Several seeds of what no seed changes are one run.
        missing: experiment -> why it cannot be trained here; those whose weights turn out to be missing are added.
        count: trainings at a time on this machine, 1 in this process.
        device, cluster, report: as in `ensure_all`.
    """
    first: dict[Path, tuple[str, int]] = {}
    for key, plan in plans.items():
        first.setdefault(plan.folder, key)
    named = {f"{name}, seed {seed}": (name, seed) for name, seed in first.values()}
    todo = {task: plans[key] for task, key in named.items() if not plans[key].done}
    if not todo:
        return {key: plan.folder for key, plan in plans.items()}
    for plan in todo.values():
        make_folder(plan.folder.parent)
    count = 0 if cluster else min(count, len(todo))
    logs = {name: log_of(plan) for name, plan in todo.items()}
    where = f"on {cluster}" if cluster else f"{count} at a time"
    log = os.path.relpath(next(iter(logs.values())), paths.root())
    more = "" if len(todo) == 1 else " and so on"
    report(f"{len(todo)} of {len(first)} trainings to do, {where}; their epochs: {log}{more}")
    kept = f"finished runs are kept, and this one goes on from what it saved last (see {LOG} in its folder)"
    shown = live.Live(logs, report)
    in_here = not cluster and count <= 1
    tasks = (  # drawn one by one: an experiment whose weights turn out to be missing is left out from then on
        executors.Task(task, functools.partial(train, plan, shown.tick if in_here else None), str(logs[task]))
        for task, plan in todo.items()
        if named[task][0] not in missing
    )
    if cluster:
        results = executors.on_cluster(tasks, cluster, kept, shown.tick)
    elif count > 1:
        results = executors.in_processes(tasks, count, device, kept, shown.tick)
    else:
        results = executors.in_this_process(tasks)
    with contextlib.closing(results), contextlib.closing(shown):
        for number, (task, outcome) in enumerate(results, start=1):
            shown.finished(task)
            name, seed = named[task]
            if isinstance(outcome, CannotRun):
                if name not in missing:
                    report(f"{name} cannot be trained here: {outcome}")
                missing[name] = outcome
                continue
            how = f"trained {name} seed {seed} in {duration(outcome)}"
            how = how if outcome else f"{name} seed {seed} was trained by another process"
            report(f"{how} ({number} of {len(todo)})")
    return {key: plan.folder for key, plan in plans.items() if key[0] not in missing or plan.done}


LOG = "training.log"
"""The file in a run's folder that a training's lines go to, one of those that run side by side."""


def log_of(plan: Planned) -> Path:
    """Where the lines of a training go."""
    return plan.folder / LOG


def train(plan: Planned, seen: Callable[[], None] | None = None) -> float | CannotRun:
    """Train in this process, the lines of the epochs going to the log; after each `seen` is called, if it is given.

    Returns how many seconds it took: 0 where another process had done it.
    """
    start, lines = time.perf_counter(), 0
    log = log_of(plan)

    def write(line: str) -> None:
        nonlocal lines
        lines += 1
        make_folder(log.parent)
        with open(log, "a", encoding="utf-8") as file:
            file.write(line + "\n")
        if seen is not None:
            seen()

    try:
        plan.carry_out(report=write)
    except CannotRun as error:
        with contextlib.suppress(OSError):  # of a training that cannot begin nothing stays
            log.unlink(missing_ok=True)
            log.parent.rmdir()
        return error
    return time.perf_counter() - start if lines else 0.0


def plan_all(
    todo: Sequence[tuple[Experiment, int]],
    profile: str | Profile,
    data_root: Roots | None = None,
    allow_downloads: bool = False,
    execution: Execution = AUTO,
    cluster: str | None = None,
) -> tuple[dict[tuple[str, int], Plan], dict[str, CannotRun]]:
    """(experiment, seed) -> its plan, each set of clips opened once; and experiments that need other weights."""
    profile = profiles.get(profile)
    clips: dict[tuple[str, ClipFormat, Scenes], PreparedClips] = {}
    first: dict[str, Plan] = {}
    plans, missing = {}, {}
    for experiment, seed in todo:
        name, config = experiment.name, experiment.config(profile)
        if name not in first and name not in missing:
            scenes = scene_labels.needed(config) or "clip"
            key = experiment.dataset, config.clip_format, scenes
            try:
                if key not in clips:
                    places = {"cluster": cluster, "dataset": experiment.dataset, "scenes": scenes}
                    clips[key] = datasets.prepared(profile, config.clip_format, data_root, **places)
                _check_labels(clips[key], config)
                options = {"allow_downloads": allow_downloads, "execution": execution, "clips": clips[key]}
                first[name] = runs.plan(experiment, profile, seed, **options)
            except CannotRun as error:
                missing[name] = error
        if name in first:
            plans[name, seed] = first[name].with_seed(seed)
    return plans, missing


def check_weights(plan: Plan, allow_downloads: bool) -> None:
    """Raise MissingWeights where a training starts from weights that are not here and may not be fetched."""
    weights.check(plan.config.pretrained, allow_downloads)


def _check_labels(clips: PreparedClips, config: ModelConfig) -> None:
    """Raise CannotRun where the clips lack what a system learns from, before others have been trained for hours."""
    if config.split == "video":
        try:
            clips.split("train", "video")
        except InputError as error:
            raise CannotRun(str(error)) from None
    if (config.scene_labels or config.system == "isns") and clips.split("train", config.split).frame_scenes(0) is None:
        raise CannotRun(
            f"the clips of {clips.name} have no scene labels: put resnet50_places365.pth.tar into "
            "data/weights/ (see notebooks/guide/real_data.md), and run again"
        )
