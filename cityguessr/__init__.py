"""CityGuessr: city-level video geo-localization on a global scale (ECCV 2024), as an importable core.

The names below are loaded when they are first used, so that `import cityguessr` itself costs nothing.
"""

import importlib
from typing import Any

_HOME = {
    "LEVELS": "taxonomy",
    "Taxonomy": "taxonomy",
    "InputError": "errors",
    "ModelConfig": "model",
    "CityGuessr": "model",
    "load_released_checkpoint": "released",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'cityguessr' has no attribute {name!r}")
    return getattr(importlib.import_module(f"cityguessr.{_HOME[name]}"), name)
