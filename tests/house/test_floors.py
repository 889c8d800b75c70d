"""The package as a whole: what importing it costs, and which way its rooms may look."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = (
    "transformers",
    "pandas",
    "matplotlib",
    "cartopy",
    "decord",
    "open_clip",
    "torchvision",
)


def test_rooms_look_down_only() -> None:
    """The contract in pyproject.toml: no import from a floor above, and none between rooms of one floor."""
    linter = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_importing_the_core_loads_nothing_heavy() -> None:
    """Taxonomy, losses and evaluation need torch and numpy alone."""
    code = (
        "import sys, cityguessr\nfrom cityguessr import Taxonomy, losses, hierarchy\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_public_names_are_there() -> None:
    import cityguessr

    for name in cityguessr.__all__:
        assert getattr(cityguessr, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'citygesser'"):
        _ = cityguessr.citygesser
