"""The trainings behind VidTAG's tables, spread over processes, GPUs or machines as CityGuessr's are (`jobs`)."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from cityguessr.base import weights
from cityguessr.base.errors import CannotRun
from cityguessr.training import executors, track_experiments, track_runs, track_starts
from cityguessr.training.execution import AUTO, Execution
from cityguessr.training.jobs import spread
from cityguessr.training.seeds import check_seed
from cityguessr.training.track_experiments import TrackExperiment, TrackScale
from cityguessr.training.track_runs import TrackPlan, TrackRun
from cityguessr.vidtag.encoders import ENCODERS


def trainings(
    names: Iterable[str | TrackExperiment], profile: str | TrackScale, seeds: Sequence[int]
) -> list[tuple[TrackExperiment, int]]:
    """The trainings of experiments, each once: all of the first seed, then all of the next."""
    track_experiments.scale(profile)
    unique = {experiment.name: experiment for experiment in map(track_experiments.get, names)}
    return [(experiment, seed) for seed in dict.fromkeys(map(check_seed, seeds)) for experiment in unique.values()]


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
    count = executors.asked(processes, [scale.threads], execution.device)
    wanted = {experiment.name: experiment for experiment in map(track_experiments.get, names)}
    plans, missing = plan_all(
        trainings(wanted.values(), scale, seeds), scale, data_root, allow_downloads, execution, features=True
    )
    folders = spread(plans, missing, count, execution.device, cluster, report)
    return {name: missing.get(name) or tuple(TrackRun(folders[name, seed]) for seed in seeds) for name in wanted}


def plan_all(
    todo: Sequence[tuple[TrackExperiment, int]],
    profile: str | TrackScale,
    data_root: str | Path | None = None,
    allow_downloads: bool = False,
    execution: Execution = AUTO,
    features: bool = False,
) -> tuple[dict[tuple[str, int], TrackPlan], dict[str, CannotRun]]:
    """(experiment, seed) -> its plan, in the order of `todo`; and experiments that need weights that are not here.

    Args:
        features: whether the features of the frozen encoders are computed, for trainings that are not done.
    """
    first: dict[str, TrackPlan] = {}
    plans: dict[tuple[str, int], TrackPlan] = {}
    missing: dict[str, CannotRun] = {}
    options = {"data_root": data_root, "allow_downloads": allow_downloads, "execution": execution}
    for experiment, seed in todo:
        name = experiment.name
        if name in missing:
            continue
        try:
            if name not in first:
                first[name] = track_runs.plan(experiment, profile, seed, **options)
            if features and not first[name].with_seed(seed).done:
                listed = first[name].identity["tracks"]
                first[name] = track_runs.ready(first[name])
                if first[name].identity["tracks"] != listed and plans:  # pictures are damaged: those before, anew
                    return plan_all(todo, profile, data_root, allow_downloads, execution, features)
            plans[name, seed] = first[name].with_seed(seed)
        except CannotRun as error:
            missing[name] = error
    return {key: plan for key, plan in plans.items() if key[0] not in missing}, missing


def check_weights(plan: TrackPlan, allow_downloads: bool) -> None:
    """Raise MissingWeights where a training needs weights that are not here and may not be fetched."""
    track_starts.check(plan.experiment, plan.scale)
    for name in plan.experiment.encoders_at(plan.scale):
        weights.check(ENCODERS[name].pretrained, allow_downloads)
