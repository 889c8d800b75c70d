"""The trainings that a table needs, experiments times seeds, spread over processes, GPUs or machines.

    python -m cityguessr.training table3 --profile cityguessr68k --seeds 0,1,2            # on this machine
    python -m cityguessr.training table3 --profile cityguessr68k --seeds 0,1,2 --list     # numbered, done or not
    python -m cityguessr.training table3 --profile cityguessr68k --seeds 0,1,2 --task 4   # one, as a job array asks
    python -m cityguessr.training table3 --profile cityguessr68k --cluster tcp://host:8786

What is there already is not trained again, however it came about: a notebook that comes after finds all of it.
"""

import argparse
import contextlib
import dataclasses
import functools
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from cityguessr.base import paths
from cityguessr.base.errors import CannotRun, InputError
from cityguessr.base.files import make_folder
from cityguessr.base.progress import duration
from cityguessr.config import ModelConfig
from cityguessr.data.clips import PreparedClips
from cityguessr.training import executors, runs
from cityguessr.training.datasets import prepared
from cityguessr.training.experiments import EXPERIMENTS, TABLES, Experiment, canonical
from cityguessr.training.experiments import get as get_experiment
from cityguessr.training.profiles import Profile
from cityguessr.training.profiles import get as get_profile
from cityguessr.training.runs import Plan, Run


def trainings(
    names: Iterable[str | Experiment], profile: str | Profile, seeds: Sequence[int]
) -> list[tuple[Experiment, int]]:
    """The trainings behind experiments, each once: all of the first seed, then all of the next.

    Experiments whose configurations are equal at the profile's scale are one. The order depends on the arguments alone,
    so that the N-th is the same one on every machine.
    """
    profile = get_profile(profile) if isinstance(profile, str) else profile
    every = [canonical(get_experiment(name) if isinstance(name, str) else name, profile) for name in names]
    unique: dict[str, Experiment] = {}
    for experiment in every:
        if unique.setdefault(experiment.name, experiment) != experiment:
            raise InputError(f"two experiments are called {experiment.name!r}; give each a name of its own")
    return [(experiment, seed) for seed in dict.fromkeys(seeds) for experiment in unique.values()]


def ensure_all(
    experiments: Sequence[str | Experiment],
    profile: str | Profile = "mini",
    seeds: Sequence[int] = (0,),
    *,
    data_root: str | Path | None = None,
    allow_downloads: bool = False,
    device: str = "auto",
    cluster: str | None = None,
    processes: int | None = None,
    report: Callable[[str], None] = print,
) -> dict[str, tuple[Run, ...] | CannotRun]:
    """The runs of several experiments with several seeds: trained now, side by side, unless they are there already.

    The result is that of `runs.ensure` one by one, bit for bit where the profile says how many threads a training has.
    Data is prepared here, once, before any worker starts.

    Args:
        experiments: their names, or experiments of your own.
        data_root, allow_downloads, device: as in `runs.ensure`.
        cluster: address of a Dask scheduler (`tcp://host:8786`) whose workers train instead, one training a worker;
            they must see data, runs and weights under the same paths and have this package.
        processes: trainings at a time on this machine; 1: in this process. By default one a GPU, or as many as the
            processors that this process may use give the profile's threads to.
        report: gets a line a finished training, as they finish. The lines of its epochs go to
            `runs/<profile>/<experiment>/seed<k>-<hash>.log` until then.

    Returns:
        name -> its runs in the order of `seeds`, or why it cannot be trained here.

    Raises:
        InputError: for bad input of any kind but missing weights, and where a worker was killed. Other trainings are
            stopped; they go on after their last whole epoch when called again, and finished runs are kept.
    """
    profile = get_profile(profile) if isinstance(profile, str) else profile
    if processes is not None and processes < 1:
        raise InputError(f"processes is {processes}; it must be at least 1")
    wanted = {e.name: e for e in (get_experiment(e) if isinstance(e, str) else e for e in experiments)}
    plans, missing = _plans(trainings(wanted.values(), profile, seeds), profile, data_root, allow_downloads, cluster)
    folders = {key: plan.folder for key, plan in plans.items() if plan.done}
    undone = [plan for plan in plans.values() if not plan.done]
    todo = {str(job): (plan, job) for plan, job in jobs_for(undone, allow_downloads, device)}
    count, log = 0, ""
    if not cluster and todo:
        count = min(processes or executors.at_a_time(profile, device), len(todo))
    if todo:
        where = f"on {cluster}" if cluster else f"{count} at a time"
        log = f"{os.path.relpath(paths.runs(), paths.root())}/{profile.name}/<experiment>/seed<k>-<hash>.log"
        report(f"{len(todo)} of {len(plans)} trainings to do, {where}; the epochs of each: {log}")
    kept = f"finished runs are kept, and this one goes on after its last epoch ({log})"
    tasks = (  # drawn one by one: an experiment whose weights turn out to be missing is left out from then on
        executors.Task(name, functools.partial(train, job, None if cluster or count > 1 else plan.clips), job.log)
        for name, (plan, job) in todo.items()
        if plan.experiment.name not in missing
    )
    if cluster and todo:
        trainer = executors.on_cluster(tasks, cluster, kept)
    elif count > 1:
        trainer = executors.in_processes(tasks, count, device, kept)
    else:
        trainer = executors.in_this_process(tasks)
    with contextlib.closing(trainer):
        for number, (task, outcome) in enumerate(trainer, start=1):
            plan = todo[task][0]
            name = plan.experiment.name
            if isinstance(outcome, CannotRun):
                if name not in missing:
                    report(f"{name} cannot be trained here: {outcome}")
                missing[name] = outcome
                continue
            folders[name, plan.seed] = Path(outcome.folder)
            said = f"trained {name} seed {plan.seed} in {duration(outcome.seconds)}"
            said = said if outcome.seconds else f"{name} seed {plan.seed} was trained by another process"
            report(f"{said} ({number} of {len(todo)})")
    found: dict[str, tuple[Run, ...] | CannotRun] = {}
    for name, experiment in wanted.items():
        known = canonical(experiment, profile).name
        found[name] = missing.get(known) or tuple(Run(folders[known, seed]) for seed in seeds)
    return found


def _plans(
    todo: Sequence[tuple[Experiment, int]],
    profile: Profile,
    data_root: str | Path | None,
    allow_downloads: bool,
    cluster: str | None = None,
) -> tuple[dict[tuple[str, int], Plan], dict[str, CannotRun]]:
    """(experiment, seed) -> its plan, each set of clips opened once; and experiments that need other weights."""
    clips: dict[object, PreparedClips] = {}
    first: dict[str, Plan] = {}
    plans, missing = {}, {}
    for experiment, seed in todo:
        name, config = experiment.name, experiment.config(profile)
        if name not in first and name not in missing:
            key = (experiment.dataset, config.sampling, config.frames, config.size, config.scenes)
            try:
                if key not in clips:
                    clips[key] = prepared(profile, config, data_root, cluster=cluster, dataset=experiment.dataset)
                _check_labels(clips[key], config)
                first[name] = runs.plan(experiment, profile, seed, allow_downloads=allow_downloads, clips=clips[key])
            except CannotRun as error:
                missing[name] = error
        if name in first:
            plans[name, seed] = dataclasses.replace(first[name], seed=seed)
    return plans, missing


def _check_labels(clips: PreparedClips, config: ModelConfig) -> None:
    """Raise CannotRun where the clips lack what a system learns from, before others have been trained for hours."""
    if config.split == "video":
        try:
            clips.split("train", "video")
        except InputError as error:
            raise CannotRun(str(error)) from None
    if (config.scene_labels or config.system == "isns") and clips.split("train", config.split).frame_scenes(0) is None:
        raise CannotRun(
            f"the clips of {clips.name} have no scene labels: put resnet50_places365.pth.tar (see the README) into "
            f"data/weights/, delete {clips.folder}, and run again"
        )


@dataclasses.dataclass(frozen=True)
class Job:
    """One training, as it is handed to a worker: small, and the same on every machine that sees the same folders."""

    experiment: Experiment
    profile: Profile
    seed: int
    clips: str  # folder of the prepared clips
    log: str  # file that gets one line per epoch
    allow_downloads: bool
    device: str

    def __str__(self) -> str:
        return f"{self.experiment.name}, seed {self.seed}"


@dataclasses.dataclass(frozen=True)
class Done:
    """What a worker says of a training: the run's folder, and how long it took; 0 where it was there by then."""

    folder: str
    seconds: float


def jobs_for(plans: Iterable[Plan], allow_downloads: bool, device: str) -> Iterator[tuple[Plan, Job]]:
    """Each plan with the job that carries it out."""
    for plan in plans:
        log = plan.folder.with_name(f"{plan.folder.name}.log")
        make_folder(log.parent)
        clips = str(plan.clips.folder)
        yield plan, Job(plan.experiment, plan.profile, plan.seed, clips, str(log), allow_downloads, device)


def train(job: Job, clips: PreparedClips | None = None) -> Done | CannotRun:
    """Train in this process, the lines of the epochs going to the log, which is removed when all is well."""
    start, lines = time.perf_counter(), 0

    def write(line: str) -> None:
        nonlocal lines
        lines += 1
        with open(job.log, "a", encoding="utf-8") as file:
            file.write(line + "\n")

    outcome: Done | CannotRun
    try:
        run = runs.ensure(
            job.experiment,
            job.profile,
            job.seed,
            allow_downloads=job.allow_downloads,
            device=job.device,
            clips=clips or PreparedClips.load(job.clips),
            report=write,
        )
        outcome = Done(str(run.folder), time.perf_counter() - start if lines else 0.0)
    except CannotRun as error:
        outcome = error
    Path(job.log).unlink(missing_ok=True)
    return outcome


# --- the command line -------------------------------------------------------------------------------------------------


def chosen(names: Iterable[str], profile: Profile) -> list[str]:
    """The experiments of tables ("table3"), of all that the profile has data for ("all"), and by their own names."""
    found: dict[str, None] = {}
    for name in names:
        if name not in ("all", *TABLES, *EXPERIMENTS):
            known = ", ".join(["all", *TABLES, *EXPERIMENTS])
            raise InputError(f"{name!r} is neither a table nor an experiment; choose from {known}")
        every = EXPERIMENTS if name == "all" else TABLES[name].values() if name in TABLES else [name]
        if name == "all" and profile.source == "release":  # Mapillary's experiments have a profile of their own
            every = [experiment for experiment in every if EXPERIMENTS[experiment].dataset != "mapillary"]
        if name == "all" and profile.source == "mapillary":
            every = TABLES["table6"].values()
        found |= dict.fromkeys(every)
    return list(found)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; see the module's docstring. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m cityguessr.training", description="Train what tables need, here or on many machines."
    )
    parser.add_argument("names", nargs="+", metavar="NAME", help="tables (table3), experiments (planet), or all")
    parser.add_argument("--profile", default="mini", help="scale and data")
    parser.add_argument("--seeds", default="0", help="0,1,2: one training of each experiment a seed")
    parser.add_argument("--data-root", metavar="FOLDER", help="the real data set, for a profile that reads one")
    parser.add_argument("--allow-downloads", action="store_true", help="fetch pretrained weights that are not here")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu"))
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--list", action="store_true", help="a line a training, numbered from 0; trains nothing")
    only.add_argument("--task", type=int, metavar="N", help="train the N-th of that list alone")
    only.add_argument("--cluster", metavar="ADDRESS", help="a Dask scheduler, tcp://host:8786, to train on")
    parser.add_argument("--processes", type=int, metavar="K", help="trainings at a time on this machine")
    options = parser.parse_args(arguments)
    try:
        try:
            seeds = [int(seed) for seed in options.seeds.split(",")]
        except ValueError:
            raise InputError(f"--seeds {options.seeds}: give whole numbers, such as 0,1,2") from None
        profile = get_profile(options.profile)
        return _command(options, chosen(options.names, profile), profile, seeds)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _command(options: argparse.Namespace, names: Sequence[str], profile: Profile, seeds: Sequence[int]) -> int:
    common = {"data_root": options.data_root, "allow_downloads": options.allow_downloads}
    todo = trainings(names, profile, seeds)
    if options.list:
        with contextlib.redirect_stdout(sys.stderr):  # what preparation says; the list has a line a training
            plans, missing = _plans(todo, profile, **common)
        for number, (experiment, seed) in enumerate(todo):
            plan = plans.get((experiment.name, seed))
            state = f"not possible here: {missing[experiment.name]}" if plan is None else "done" if plan.done else "-"
            print(f"{number:>3}  {experiment.name:<24} seed {seed}  {state}")
        return 0
    if options.task is not None:
        if not 0 <= options.task < len(todo):
            raise InputError(f"--task {options.task}: the tasks are 0 to {len(todo) - 1} (see --list)")
        experiment, seed = todo[options.task]
        run = runs.ensure(experiment, profile, seed, device=options.device, **common)
        print(f"{experiment.name} seed {seed}: {os.path.relpath(run.folder, paths.root())}")
        return 0
    places = {"cluster": options.cluster, "processes": options.processes}
    done = ensure_all(names, profile, seeds, device=options.device, **common, **places)
    missing = {name: answer for name, answer in done.items() if isinstance(answer, CannotRun)}
    for name, why in missing.items():
        print(f"{name}: not trained: {why}")
    print(f"{len(done) - len(missing)} of {len(done)} experiments have all their runs, with seeds {options.seeds}")
    return 1 if missing else 0
