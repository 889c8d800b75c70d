"""Import what the project stands on, once, and print the versions: a broken install shows here, not in a notebook.

It also lets matplotlib build its font list, which it would otherwise announce on the first notebook's standard error.
"""

import importlib
import platform

import matplotlib.font_manager  # builds the font list  # noqa: F401
import torch

for name in (
    "torchvision",
    "transformers",
    "cartopy.crs",
    "seaborn",
    "papermill",
    "av",
    "cityguessr",
):
    importlib.import_module(name)
try:
    import decord  # after torch, with which it clashes otherwise  # noqa: F401
except ImportError as error:
    print(f"environment: no decord here ({error}): videos are read by PyAV alone")

device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
print(f"environment: Python {platform.python_version()}, torch {torch.__version__} on {device}")
