"""CityGuessr: city-level video geo-localization on a global scale (ECCV 2024), as an importable core.

    >>> import cityguessr
    >>> cityguessr.guess("my_walk.mp4")  # the likeliest places of a video, by a run that was trained on this machine
    >>> run = cityguessr.load("~/somebody/elses/run")  # a trained run: run.model(), run.taxonomy, run.log, ...

The files beside this one are the paper's method; each folder is another trade, and its first line says which. The names
below are loaded when they are first used, so that `import cityguessr` itself costs nothing.
"""

import importlib
from typing import Any

_HOME = {
    "LEVELS": "taxonomy",
    "Taxonomy": "taxonomy",
    "InputError": "base.errors",
    "ModelConfig": "config",
    "CityGuessr": "model",
    "load_released_checkpoint": "checkpoint",
    "load": "training.opening",
    "guess": "guessing",
    "guess_track": "guessing",
}
_MODULES = {
    "runs": "training.runs",
    "experiments": "training.experiments",
    "profiles": "training.profiles",
    "video": "data.video",
    "statistics": "measures.inequality",
}
__all__ = [*_HOME, "__version__"]


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, *_MODULES, "__version__"})


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.import_module("cityguessr.base.versions").version()
    if name in _HOME:
        return getattr(importlib.import_module(f"cityguessr.{_HOME[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"cityguessr.{_MODULES[name]}")
    raise AttributeError(f"module 'cityguessr' has no attribute {name!r}")
