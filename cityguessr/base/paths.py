"""Where the project's folders are, whichever folder a notebook or a command runs in."""

import os
from pathlib import Path


def root() -> Path:
    """The folder that holds `data/`, `runs/` and `figures/`.

    It is the nearest folder at or above the working directory with a `notebooks/` folder beside a `pyproject.toml`,
    or the working directory itself when there is none; the environment variable `CITYGUESSR_ROOT` overrides both.
    papermill runs a notebook in the caller's folder and nbval in that of the notebook: both give the same root.
    """
    if chosen := os.environ.get("CITYGUESSR_ROOT"):
        return Path(chosen).resolve()
    working = Path.cwd().resolve()
    for folder in (working, *working.parents):
        if (folder / "pyproject.toml").is_file() and (folder / "notebooks").is_dir():
            return folder
    return working


def data() -> Path:
    """The default folder for data sets, generated or linked: `<root>/data`."""
    return root() / "data"


def runs() -> Path:
    """The folder of trained runs: `<root>/runs`."""
    return root() / "runs"


KEPT = "figures"  # of the figures and tables in git
KEPT_PROFILES = ("mini", "midi")  # of which they are


def figures(profile: str = "mini") -> Path:
    """The folder that figures and tables are written into: `runs/figures/<profile>`.

    What is kept in git (`kept_figures`) is written by `make notebooks` alone. It sets the environment variable
    `CITYGUESSR_FIGURES`, a folder relative to the root that takes the place of `runs/figures/mini`, and of which other
    profiles have a folder of their own: `figures`. `make test` sets it too, to `runs/figures/test`.
    """
    chosen = os.environ.get("CITYGUESSR_FIGURES")
    if not chosen or (chosen == KEPT and profile not in KEPT_PROFILES):
        return runs() / "figures" / profile
    folder = root() / chosen
    return folder if profile == "mini" else folder / profile


def keeping() -> bool:
    """Whether what is made now is kept in git, as `make notebooks` asks."""
    return os.environ.get("CITYGUESSR_FIGURES") == KEPT


def kept_figures(profile: str = "mini") -> Path:
    """The folder of the figures and tables in git: `figures` for the default, `figures/midi` for the larger world.

    There is none for other profiles: the folder is then missing.
    """
    return root() / KEPT if profile == "mini" else root() / KEPT / profile


def rendered(name: str, profile: str = "mini") -> Path:
    """A file of `figures(profile)`, such as `tables/table3.csv`; the one in git where a reader has not made it anew."""
    own, kept = figures(profile) / name, kept_figures(profile) / name
    return own if own.is_file() or not kept.is_file() else kept
