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


def figures(profile: str = "mini") -> Path:
    """The folder of rendered figures and tables: `<root>/figures` for the default, `runs/figures/<profile>` for others.

    `figures/` is what the default run renders and what is in git, with the tables of the larger world in
    `figures/midi/`; a run at any other scale writes elsewhere. The
    environment variable `CITYGUESSR_FIGURES`, a folder relative to the root, takes its place: `make test` sets it, as
    it runs every notebook again with one seed.
    """
    if profile == "midi":
        return root() / "figures" / profile
    if profile != "mini":
        return runs() / "figures" / profile
    return root() / os.environ.get("CITYGUESSR_FIGURES", "figures")
