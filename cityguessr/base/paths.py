"""Where the project's own folders are, whichever folder a notebook or a command runs in."""

import os
from pathlib import Path


def root() -> Path:
    """The folder that holds `data/`, `runs/` and `figures/`.

    It is the nearest folder at or above the working directory with a `notebooks/` folder beside a `pyproject.toml`,
    or the working directory itself when there is none; the environment variable `CITYGUESSR_ROOT` overrides both.
    papermill runs a notebook in the caller's folder and nbval in the notebook's own: both find the same place.
    """
    if chosen := os.environ.get("CITYGUESSR_ROOT"):
        return Path(chosen).resolve()
    here = Path.cwd().resolve()
    for folder in (here, *here.parents):
        if (folder / "pyproject.toml").is_file() and (folder / "notebooks").is_dir():
            return folder
    return here


def data() -> Path:
    """The default folder for data sets, generated or linked: `<root>/data`."""
    return root() / "data"


def runs() -> Path:
    """The folder of trained runs: `<root>/runs`."""
    return root() / "runs"


def figures(profile: str = "mini") -> Path:
    """The folder of rendered figures and tables: `<root>/figures` for the default, `runs/figures/<profile>` for others.

    `figures/` is what the default run renders and what is in git; a run at another scale leaves it alone, and so does
    one with the environment variable `CITYGUESSR_FIGURES`, a folder (relative to the root) in its place: the checks
    run every notebook once more, with one seed, and set it.
    """
    if profile != "mini":
        return runs() / "figures" / profile
    return root() / os.environ.get("CITYGUESSR_FIGURES", "figures")
