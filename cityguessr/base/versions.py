"""Which version of the package this is: `pyproject.toml` says it, and nothing else."""

import importlib.metadata
import tomllib

from cityguessr.base import paths


def version() -> str:
    """The version of the package that is running.

    In a clone it is read from `pyproject.toml`, which is newer than what an editable install noted once; a wheel has
    its own record. Where neither is there, as in a folder that was copied out of a clone, it is "unknown".
    """
    if clone := paths.clone():
        return str(tomllib.loads((clone / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])
    try:
        return importlib.metadata.version("cityguessr")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
