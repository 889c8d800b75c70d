"""The command line of all trainings, CityGuessr's and VidTAG's alike.

    python -m cityguessr.training table3 --profile cityguessr68k --seeds 0,1,2            # on this machine
    python -m cityguessr.training table3 --profile cityguessr68k --seeds 0,1,2 --list     # numbered, done or not
    python -m cityguessr.training table3 --profile cityguessr68k --seeds 0,1,2 --task 4   # one, as a job array asks
    python -m cityguessr.training table3 --profile cityguessr68k --cluster tcp://host:8786
    python -m cityguessr.training vidtag_msls alpha_001 --profile mini --seeds 0,1        # VidTAG's

An experiment's name says whose it is, for no two have the same. A table may have rows of both.
"""

import argparse
import contextlib
import dataclasses
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cityguessr.base import paths
from cityguessr.base.errors import CannotRun, InputError, one_of
from cityguessr.base.progress import STOPPED
from cityguessr.data.release.layout import Roots
from cityguessr.training import executors, experiments, jobs, profiles, runs, track_experiments, track_jobs, track_runs
from cityguessr.training.execution import AUTO, DEVICES, Execution
from cityguessr.training.jobs import Planned

ALL = "all"
"""The name of all experiments that a profile has data for."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """One of the two kinds of training.

    Attributes:
        whose: as an error says it.
        experiments: by name.
        tables: table -> the experiments of its rows.
        profiles: those that there are now and that it has data for, by name.
        fits: (table, profile) -> whether the profile has the table's data.
        offered: (experiment, profile) -> whether it is one of "all".
        trained: (experiment, profile) -> the one that is trained for it.
        jobs: the module that lists, plans and checks its trainings.
        planning: arguments of `jobs.plan_all` that only a training needs, and no list.
        ensure: trains one.
    """

    whose: str
    experiments: Mapping[str, Any]
    tables: Mapping[str, Iterable[str]]
    profiles: Callable[[], Mapping[str, Any]]
    fits: Callable[[str, str], bool]
    offered: Callable[[str, str], bool]
    trained: Callable[[str, str], str]
    jobs: Any
    planning: Callable[[str | None], dict[str, object]]
    ensure: Callable[..., Any]


CITYGUESSR = Kind(
    "CityGuessr",
    experiments.EXPERIMENTS,
    {table: tuple(dict.fromkeys(rows.values())) for table, rows in experiments.TABLES.items()},
    lambda: {name: profile for name, profile in profiles.PROFILES.items() if profile.datasets},  # GAMa is VidTAG's
    lambda table, profile: True,
    lambda name, profile: experiments.get(name).offered(profile),
    lambda name, profile: experiments.canonical(name, profile).name,
    jobs,
    lambda cluster: {"cluster": cluster},
    runs.ensure,
)
VIDTAG = Kind(
    "VidTAG",
    track_experiments.EXPERIMENTS,
    {
        table: tuple(dict.fromkeys(name for name, _ in rows.values()))
        for table, rows in track_experiments.TABLES.items()
    },
    lambda: track_experiments.SCALES,
    lambda table, profile: not track_experiments.unfit(table, track_experiments.scale(profile)),
    lambda name, profile: track_experiments.get(name).offered(track_experiments.scale(profile)),
    lambda name, profile: name,
    track_jobs,
    lambda cluster: {"features": True},
    track_runs.ensure,
)
KINDS = (CITYGUESSR, VIDTAG)


@dataclasses.dataclass(frozen=True)
class Asked:
    """Experiments of one kind at one profile, each with all of the seeds."""

    kind: Kind
    names: tuple[str, ...]
    profile: str
    seeds: tuple[int, ...]

    @property
    def trainings(self) -> list[tuple[Any, int]]:
        """(experiment, seed) of each training, once."""
        return self.kind.jobs.trainings(self.names, self.profile, self.seeds)


def chosen(names: Sequence[str], profile: str, seeds: Sequence[int], kinds: Sequence[Kind] = KINDS) -> list[Asked]:
    """The experiments of tables ("table3"), of all that the profile has data for ("all"), and by their own names.

    A table of which both kinds have rows means those that the profile has data for.

    Raises InputError for a name that there is not, and for a profile that a name has no data in.
    """
    known = [ALL, *(name for kind in kinds for name in (*kind.tables, *kind.experiments))]
    for name in names:
        if name not in known:
            raise one_of("table or experiment", name, dict.fromkeys(known), "cityguessr train --help")
    every = dict.fromkeys(name for kind in kinds for name in kind.profiles())
    if profile not in every:
        raise one_of("profile", profile, every)
    found: list[dict[str, None]] = [{} for _ in kinds]
    for name in names:
        owners = [kind for kind in kinds if name == ALL or name in kind.tables or name in kind.experiments]
        if not any(profile in kind.profiles() for kind in owners):
            with_data = ", ".join(owners[0].profiles())
            raise InputError(f"the profile {profile!r} has no data for {owners[0].whose}'s {name}; give {with_data}")
        for kind, mine in zip(kinds, found, strict=True):
            if kind in owners and profile in kind.profiles():
                mine |= dict.fromkeys(_experiments(kind, name, profile))
    return [Asked(kind, tuple(mine), profile, tuple(seeds)) for kind, mine in zip(kinds, found, strict=True) if mine]


def _experiments(kind: Kind, name: str, profile: str) -> Iterable[str]:
    if name == ALL:
        return [experiment for experiment in kind.experiments if kind.offered(experiment, profile)]
    if name in kind.tables:
        return kind.tables[name] if kind.fits(name, profile) else ()
    return (name,)


def ensure_all(
    asked: Sequence[Asked],
    *,
    data_root: Roots | None = None,
    allow_downloads: bool = False,
    execution: Execution = AUTO,
    cluster: str | None = None,
    processes: int | None = None,
    report: Callable[[str], None] = print,
) -> dict[str, tuple[Path, ...] | CannotRun]:
    """Train what is asked for, of both kinds and of any profiles, unless it is there already; all side by side.

    Arguments as in `jobs.ensure_all`; `execution` is CityGuessr's, and of VidTAG's trainings it says the device alone.

    Returns name -> the folders of its runs in the order of the seeds, or why it cannot be trained here. An experiment
    that is asked for at a second profile is called "name at profile" there, here and in what is reported.
    """
    each = [part.kind.profiles()[part.profile].threads for part in asked]
    count = executors.asked(processes, each, execution.device)
    plans: dict[tuple[str, int], Planned] = {}
    missing: dict[str, CannotRun] = {}
    answers: dict[str, tuple[tuple[str, int], ...]] = {}
    for part in asked:
        more = "" if part.profile == asked[0].profile else f" at {part.profile}"
        options = (data_root, allow_downloads, _execution(part.kind, execution))
        its, lacking = part.kind.jobs.plan_all(part.trainings, part.profile, *options, **part.kind.planning(cluster))
        plans |= {(name + more, seed): plan for (name, seed), plan in its.items()}
        missing |= {name + more: why for name, why in lacking.items()}
        for name in part.names:
            trained = part.kind.trained(name, part.profile) + more
            answers[name + more] = tuple((trained, seed) for seed in part.seeds)
    folders = jobs.spread(plans, missing, count, execution.device, cluster, report)
    return {name: missing.get(runs[0][0]) or tuple(folders[run] for run in runs) for name, runs in answers.items()}


def _execution(kind: Kind, execution: Execution) -> Execution:
    return execution if kind is CITYGUESSR else Execution(execution.device)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; see the module's docstring. Returns the exit code."""
    tables = ", ".join(dict.fromkeys(name for kind in KINDS for name in kind.tables))
    trained = ", ".join(name for kind in KINDS for name in kind.experiments)
    parser = argparse.ArgumentParser(
        prog="python -m cityguessr.training",
        description="Train what tables need, here or on many machines.",
        epilog=f"Tables: {tables}. Experiments: {trained}.",
    )
    names = "tables (table3, vidtag_msls), experiments (planet, vidtag), or all"
    parser.add_argument("names", nargs="+", metavar="NAME", help=names)
    parser.add_argument("--profile", default="mini", help="scale and data")
    parser.add_argument("--seeds", default="0", help="0,1,2: one training of each experiment per seed")
    parser.add_argument("--data-root", metavar="FOLDER", help="the real data set (commas between several folders)")
    parser.add_argument("--allow-downloads", action="store_true", help="fetch pretrained weights that are not here")
    parser.add_argument("--device", default="auto", choices=DEVICES)
    own = parser.add_argument_group("of CityGuessr's trainings alone")
    own.add_argument("--plain", action="store_true", help="the plain loop in float32, without the fast path")
    own.add_argument("--accumulate", type=int, default=1, metavar="K", help="work on a batch in K parts")
    own.add_argument("--recompute", action="store_true", help="compute layers again on the way back")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--list", action="store_true", help="one line per training, numbered from 0; trains nothing")
    only.add_argument("--task", type=int, metavar="N", help="train the N-th of that list alone")
    only.add_argument("--cluster", metavar="ADDRESS", help="a Dask scheduler, tcp://host:8786, to train on")
    parser.add_argument("--processes", type=int, metavar="K", help="trainings at a time on this machine")
    options = parser.parse_args(arguments)
    try:
        try:
            seeds = [int(seed) for seed in options.seeds.split(",")]
        except ValueError:
            raise InputError(f"--seeds {options.seeds}: give whole numbers, such as 0,1,2") from None
        asked = chosen(options.names, options.profile, seeds)
        execution = Execution(options.device, options.plain, options.accumulate, options.recompute)
        if execution != Execution(options.device) and all(part.kind is VIDTAG for part in asked):
            raise InputError("--plain, --accumulate and --recompute are of CityGuessr's trainings: leave them out")
        return _command(options, asked, execution)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\n{STOPPED}", file=sys.stderr)
        return 130


def _command(options: argparse.Namespace, asked: Sequence[Asked], execution: Execution) -> int:
    common = {"data_root": options.data_root, "allow_downloads": options.allow_downloads}
    if options.list:
        for number, line in enumerate(line for part in asked for line in _listed(part, **common)):
            print(f"{number:>3}  {line}")
        return 0
    if options.task is not None:
        todo = [(part.kind, *training) for part in asked for training in part.trainings]
        if not 0 <= options.task < len(todo):
            raise InputError(f"--task {options.task}: the tasks are 0 to {len(todo) - 1} (see --list)")
        kind, experiment, seed = todo[options.task]
        run = kind.ensure(experiment, options.profile, seed, execution=_execution(kind, execution), **common)
        print(f"{experiment.name} seed {seed}: {os.path.relpath(run.folder, paths.root())}")
        return 0
    places = {"cluster": options.cluster, "processes": options.processes}
    done = ensure_all(asked, execution=execution, **common, **places)
    missing = {name: answer for name, answer in done.items() if isinstance(answer, CannotRun)}
    for name, why in missing.items():
        print(f"{name}: not trained: {why}")
    print(f"{len(done) - len(missing)} of {len(done)} experiments have all their runs, with seeds {options.seeds}")
    return 1 if missing else 0


def _listed(part: Asked, data_root: Roots | None, allow_downloads: bool) -> Iterable[str]:
    """One line per training: experiment, seed, and whether it is done, can be done, or why not."""
    todo = part.trainings
    with contextlib.redirect_stdout(sys.stderr):  # what preparation prints; the list has one line per training
        plans, missing = part.kind.jobs.plan_all(todo, part.profile, data_root, allow_downloads)
    for (name, _), plan in plans.items():  # a task that cannot find its weights would die in the queue
        try:
            if not plan.done:
                part.kind.jobs.check_weights(plan, allow_downloads)
        except CannotRun as error:
            missing[name] = error
    for experiment, seed in todo:
        plan = plans.get((experiment.name, seed))
        state = "done" if plan and plan.done else "-"
        if state == "-" and experiment.name in missing:
            state = f"not possible here: {missing[experiment.name]}"
        yield f"{experiment.name:<24} seed {seed}  {state}"
