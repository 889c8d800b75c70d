"""The package as a whole: what importing it costs, and which way its rooms may look."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "cityguessr"
HEAVY = (
    "transformers",
    "pandas",
    "matplotlib",
    "cartopy",
    "decord",
    "open_clip",
    "torchvision",
    "accelerate",
    "datasets",
)

# DESIGN: a room imports only from floors below it.
FLOORS = (
    {"errors", "paths", "progress", "threads"},
    {"taxonomy", "sphere", "parameters", "statistics"},
    {"profiles", "paper", "video", "data"},
    {"backbones", "losses", "hierarchy", "measures", "model", "baselines", "released"},
    {
        "experiments",
        "preparation",
        "provenance",
        "batches",
        "training",
        "runs",
        "jobs",
        "workers",
        "cost",
        "results",
        "claims",
        "pictures",
        "examples",
        "confusions",
    },
    {
        "figures",
        "labels",
        "maps",
        "geography",
        "tables",
        "table_files",
        "table_layout",
        "plots",
        "distributions",
        "dataset_table",
        "sheets",
        "citymap",
        "architecture",
        "guess",
        "ledger",
        "notebooks",
    },
)


def imports(path: Path) -> set[str]:
    """The rooms of the package that a file imports anywhere."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "cityguessr":
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cityguessr."):
            names.add(node.module.split(".")[1])
    return names


def test_rooms_look_down_only() -> None:
    floor = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        for name in imports(path):
            assert floor[name] <= floor[room], f"{path.name} imports {name} from a floor above"


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
