"""Where the project's folders are, whichever folder a notebook or a command runs in; and where a typed path leads."""

import contextlib
import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def root() -> Path:
    """The folder that holds `data/`, `runs/` and `figures/`.

    It is the first of these that there is:

    1. the environment variable `CITYGUESSR_ROOT`;
    2. the nearest folder at or above the working directory that is a clone of this project;
    3. the clone that this package is imported from, as an editable install does it;
    4. the working directory.

    So a notebook finds the same folders whichever folder it is run in, by JupyterLab, papermill or nbval.
    """
    if chosen := os.environ.get("CITYGUESSR_ROOT"):
        return Path(chosen).expanduser().resolve()
    working = Path.cwd().resolve()
    for folder in (working, *working.parents, _PACKAGE.parent):
        if _is_clone(folder):
            return folder
    return working


def _is_clone(folder: Path) -> bool:
    """Whether a folder is a clone of this project; other projects have a `pyproject.toml` and notebooks too."""
    return (
        (folder / "pyproject.toml").is_file()
        and (folder / "notebooks").is_dir()
        and (folder / _PACKAGE.name / "__init__.py").is_file()
    )


def clone() -> Path | None:
    """The clone that this package is imported from; None where it was installed as a wheel."""
    return _PACKAGE.parent if _is_clone(_PACKAGE.parent) else None


def candidates(path: str | os.PathLike[str]) -> list[Path]:
    """Where a path that somebody typed may lead, all absolute, the likeliest first.

    `~` is the home folder. A relative path is meant from the working directory or, where nothing is there, from the
    project's root: a notebook in JupyterLab runs in `notebooks/`, and the same page by `make` in the root.
    """
    given = Path(os.fsdecode(path))
    with contextlib.suppress(RuntimeError):  # nobody is called that: it may be the name of a file
        given = given.expanduser()
    if given.is_absolute():
        return [given]
    return list(dict.fromkeys((Path.cwd() / given, root() / given)))


def found(path: str | os.PathLike[str]) -> Path:
    """The first of the `candidates` at which something is, or the first of all where nothing is at any of them."""
    places = candidates(path)
    return next((place for place in places if os.path.lexists(place)), places[0])


def nowhere(path: str | os.PathLike[str]) -> str:
    """What to say of a path that leads nowhere: the absolute places that were looked at."""
    return " and ".join(map(str, candidates(path)))


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

    It is the project's own or, where its root is a folder for runs alone (`CITYGUESSR_ROOT`), that of the clone. There
    is none for other profiles: the folder is then missing.
    """
    kept = root() / KEPT
    if not kept.is_dir() and (home := clone()):
        kept = home / KEPT
    return kept if profile == "mini" else kept / profile


def rendered(name: str, profile: str = "mini") -> Path:
    """A file of `figures(profile)`, such as `tables/table3.csv`; the one in git where a reader has not made it anew."""
    own, kept = figures(profile) / name, kept_figures(profile) / name
    return own if own.is_file() or not kept.is_file() else kept
