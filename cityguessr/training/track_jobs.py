"""The trainings behind VidTAG's tables, spread over processes, GPUs or machines as CityGuessr's are (`jobs`)."""

from collections.abc import Callable, Sequence
from pathlib import Path

from cityguessr.base.errors import CannotRun, InputError
from cityguessr.training import executors, track_experiments, track_runs
from cityguessr.training.execution import AUTO, Execution
from cityguessr.training.jobs import spread
from cityguessr.training.seeds import check_seed
from cityguessr.training.track_experiments import TrackExperiment, TrackScale
from cityguessr.training.track_runs import TrackPlan, TrackRun


def ensure_all(
    names: Sequence[str | TrackExperiment],
    profile: str | TrackScale = "mini",
    seeds: Sequence[int] = (0,),
    *,
    data_root: str | Path | None = None,
    allow_downloads: bool = False,
    execution: Execution = AUTO,
    cluster: str | None = None,
    processes: int | None = None,
    report: Callable[[str], None] = print,
) -> dict[str, tuple[TrackRun, ...] | CannotRun]:
    """The runs of several of VidTAG's experiments with several seeds: trained now, unless they are there already.

    Features of the frozen encoders are computed here, once, before any worker starts.

    Args:
        data_root, allow_downloads, execution: as in `track_runs.ensure`.
        cluster: address of a Dask scheduler whose workers train instead.
        processes: trainings at a time on this machine; by default one a GPU, or as many as the processors have threads
            for.
        report: gets one line per training as they finish.

    Returns name -> its runs in the order of `seeds`, or why it cannot be trained here.
    """
    scale = track_experiments.scale(profile)
    if processes is not None and processes < 1:
        raise InputError(f"processes is {processes}; it must be at least 1")
    wanted = {experiment.name: experiment for experiment in map(track_experiments.get, names)}
    plans: dict[tuple[str, int], TrackPlan] = {}
    missing: dict[str, CannotRun] = {}
    for name, experiment in wanted.items():
        try:
            options = {"data_root": data_root, "allow_downloads": allow_downloads, "execution": execution}
            first = track_runs.plan(experiment, scale, check_seed(seeds[0]), **options)
            mine = {(name, seed): first.with_seed(seed) for seed in dict.fromkeys(map(check_seed, seeds))}
            if not all(plan.done for plan in mine.values()):
                first = track_runs.ready(first, report)
                mine = {(name, seed): first.with_seed(seed) for _, seed in mine}
            plans |= mine
        except CannotRun as error:
            missing[name] = error
    plans = {(name, seed): plans[name, seed] for seed in seeds for name in wanted if name not in missing}
    count = processes or executors.at_a_time(scale.threads, execution.device)
    folders = spread(plans, missing, count, execution.device, cluster, report)
    return {name: missing.get(name) or tuple(TrackRun(folders[name, seed]) for seed in seeds) for name in wanted}
