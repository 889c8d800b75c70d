"""Opening a trained run: by its folder, wherever that is, or by the name of its experiment. Nothing is trained here."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cityguessr.base import paths
from cityguessr.base.errors import CannotRun, InputError, nearest
from cityguessr.training import experiments, profiles
from cityguessr.training.finished import FILES, PROVENANCE, Run
from cityguessr.training.profiles import Profile
from cityguessr.training.provenance import run_codes

_SHOWN = 4  # runs of a folder, or experiments, that a message lists


def load(
    run: str | os.PathLike[str] = "cityguessr", *, profile: str | Profile = "mini", seed: int | None = None
) -> Run:
    """A trained run: its model, label tree, log, configuration and predictions. Nothing is trained or written.

    Args:
        run: the folder of a run, or the `model.safetensors` in it, anywhere on the disk: `~` is the home folder, and a
            relative path is looked for in the working directory and then in the project's root. Or the name of an
            experiment, such as "cityguessr" or "videomae", for a run of it in the `runs/` of this project: one of the
            present code comes first, then the lowest seed, then the newest.
        profile: for a name, the scale that it was trained at.
        seed: for a name, its seed; any of them by default.

    Raises InputError for a folder that is no run, a training that did not finish, and a run that was changed or is of
    another version of this package; CannotRun, with what trains one, where no run of that name is on this machine.

    Example:
        >>> import cityguessr
        >>> run = cityguessr.load("cityguessr")  # of this machine
        >>> run = cityguessr.load("~/from_a_colleague/seed0-1a2b3c4d")
        >>> run.folder, run.config.frames, run.log["val_city"].iloc[-1]
        >>> cityguessr.guess("my_walk.mp4", run)
    """
    if isinstance(run, str) and run in experiments.EXPERIMENTS:
        return _by_name(run, profiles.get(profile), seed)
    place = paths.found(run)
    if place.exists():
        return _at(place)
    raise InputError(_unknown(run))


def finished(experiment: str, profile: str | Profile = "mini") -> list[Run]:
    """The finished runs of an experiment in this project, in the order in which `load` prefers them.

    Those of clips of one's own come last. Folders that hold no whole record of a run are left out. Raises InputError
    for an unknown name.
    """
    profile = profiles.get(profile)

    def order(run: Run) -> tuple[bool, bool, int]:
        record = run.provenance
        own = not Path(record["data"].get("folder", "")).name.startswith(f"{profile.name}-")
        return own, is_older(run), record["seed"]

    runs = sorted(filter(_readable, map(Run, _folders(experiment, profile))), key=_written, reverse=True)
    return sorted(runs, key=order)


def is_older(run: Run) -> bool:
    """Whether a run was trained by code that has changed since."""
    return run.provenance["code"] not in run_codes()


def everything() -> Iterator[tuple[str, str, Run]]:
    """Profile, experiment and run of all that is trained in this project, by the order of profiles and names."""
    for profile in profiles.PROFILES:
        for experiment in experiments.EXPERIMENTS:
            for run in finished(experiment, profile) if _place(experiment, profile).is_dir() else ():
                yield profile, experiment, run


def _place(experiment: str, profile: str) -> Path:
    return paths.runs() / profile / experiment


def _folders(experiment: str, profile: Profile) -> list[Path]:
    """The folders of an experiment's runs that have a record."""
    trained = experiments.canonical(experiment, profile).name
    return [file.parent for file in _place(trained, profile.name).glob(f"seed*/{PROVENANCE}")]


def _readable(run: Run) -> bool:
    try:
        return "model" in run.provenance
    except InputError:
        return False


def _written(run: Run) -> str:
    return str(run.provenance.get("finished", ""))


def _by_name(name: str, profile: Profile, seed: int | None) -> Run:
    runs = [run for run in finished(name, profile) if seed is None or run.provenance["seed"] == seed]
    if runs:
        return _checked(runs[0])
    trained = experiments.canonical(name, profile).name
    wanted = f"{name} at the profile {profile.name}" + ("" if seed is None else f" with seed {seed}")
    how = f"python -m cityguessr.training {trained} --profile {profile.name}" + (
        "" if seed is None else f" --seeds {seed}"
    )
    time = ", which takes some minutes and renders the small world first" if profile.world == "mini" else ""
    elsewhere = [other for other in profiles.PROFILES if other != profile.name and finished(name, other)]
    there = f" (there are some at the profile {', '.join(elsewhere)})" if elsewhere else ""
    raise CannotRun(
        f"no trained run of {wanted} is on this machine{there}: nothing is in {_place(trained, profile.name)}; "
        f"`{how}` trains one{time}"
    )


def _at(place: Path) -> Run:
    """The run at a path that exists."""
    folder = place
    if not place.is_dir():
        if place.name not in (*FILES, PROVENANCE):
            raise InputError(
                f"{place}: not a run; give the folder of one, or open a checkpoint of the authors with "
                "cityguessr.load_released_checkpoint"
            )
        folder = place.parent
    if (folder / PROVENANCE).is_file():
        return _checked(Run(folder))
    if (folder / "config.json").is_file():
        raise InputError(f"{folder}: this training did not finish (no {PROVENANCE}){_how_to_go_on(folder)}")
    depths = ("", "*/", "*/*/", "*/*/*/")  # a folder of an experiment, of a profile, runs/, the project's
    inside = sorted(str(file.parent) for depth in depths for file in folder.glob(f"{depth}seed*/{PROVENANCE}"))
    if inside:
        more = ", ..." if len(inside) > _SHOWN else ""
        raise InputError(
            f"{folder}: this folder holds {len(inside)} runs; give one of them: {', '.join(inside[:_SHOWN])}{more}"
        )
    raise InputError(
        f"{folder}: no run is in this folder (it has no {PROVENANCE}); the folder of a run is called "
        "runs/<profile>/<experiment>/seed<k>-<hash>"
    )


def _checked(run: Run) -> Run:
    """A run whose record, configuration and label tree can be read. Its weights are checked when they are."""
    if "model" in run.provenance and "tracks" in run.provenance:
        raise InputError(
            f"{run.folder}: a run of VidTAG, which answers with coordinates; open it with "
            "cityguessr.training.track_runs.TrackRun, or ask it with cityguessr.guess_track"
        )
    if not (run.folder / "model.safetensors").is_file():
        raise InputError(f"{run.folder}: the model.safetensors of this run is missing; copy the whole folder again")
    _ = run.config, run.taxonomy
    return run


def _how_to_go_on(folder: Path) -> str:
    """The command that finishes a training that was stopped, for the end of a message."""
    try:
        content: Any = json.loads((folder / "config.json").read_bytes())
        name, profile, seed = (content[key] for key in ("experiment", "profile", "seed"))
    except (OSError, ValueError, KeyError, TypeError):
        return "; train the experiment again"
    return f"; `python -m cityguessr.training {name} --profile {profile} --seeds {seed}` goes on with it"


def _unknown(run: str | os.PathLike[str]) -> str:
    """What to say where neither a folder nor an experiment goes by what was given."""
    trained = list(dict.fromkeys(name for _, name, _ in everything()))
    near = [nearest(part, trained) for part in reversed(Path(os.fsdecode(run)).parts)]
    shown = trained if len(trained) <= _SHOWN else next(filter(None, near), [])
    names = f" that is trained here ({', '.join(shown)})" if shown else ""
    others = "" if len(shown) == len(trained) else f"; `cityguessr runs` lists all {len(trained)} that are trained here"
    return (
        f"{paths.nowhere(run)}: no such folder, and no experiment has this name; give the folder of a run, or an "
        f"experiment{names}{others}"
    )
