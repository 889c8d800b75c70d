"""The package as a whole: its rooms, which way they may look, and what importing it costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import cityguessr

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "cityguessr"
FOLDERS = sorted({path.parent for path in PACKAGE.rglob("*.py")})
ROOMS = {path.name for path in FOLDERS if path.parent == PACKAGE}
HEAVY = ("transformers", "pandas", "matplotlib", "cartopy", "decord", "open_clip", "torchvision")
LONGEST_MODULE = 400  # lines


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_a_folder_says_in_its_first_line_what_belongs_there(folder: Path) -> None:
    assert (folder / "__init__.py").is_file()
    docstring = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))) or ""
    first = docstring.partition("\n")[0]
    assert first.endswith("."), f"the first line is no sentence: {first!r}"
    assert len(first) >= 30, f"the first line says too little: {first!r}"


def test_a_module_can_be_read_in_a_sitting() -> None:
    lines = {path: path.read_text(encoding="utf-8").count("\n") for path in PACKAGE.rglob("*.py")}
    assert {str(path.relative_to(ROOT)): n for path, n in lines.items() if n > LONGEST_MODULE} == {}


def test_tests_mirror_the_package() -> None:
    """One folder per room, `core` for the modules at the root, `house` and `mutations` for the project as a whole."""
    folders = {path.name for path in (ROOT / "tests").iterdir() if list(path.glob("test_*.py"))}
    assert folders - {"core", "house", "mutations"} <= ROOMS
    assert ROOMS - folders <= {"base"}  # what every other room's tests go through


def loaded_by(statement: str, names: tuple[str, ...]) -> list[str]:
    """Which of the packages are loaded after a statement, in a fresh interpreter."""
    code = f"import sys\n{statement}\nprint(*[name for name in {names!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return result.stdout.split()


@pytest.mark.parametrize(
    ("statement", "names"),
    [
        ("import cityguessr", ("torch", "numpy", *HEAVY)),
        ("from cityguessr import CityGuessr", HEAVY),
        # Taxonomy, losses and evaluation need torch and numpy alone.
        ("from cityguessr import Taxonomy, losses, hierarchy", HEAVY),
        ("import cityguessr.notebooks", ("torch", "nbformat", "papermill", *HEAVY)),
    ],
)
def test_importing_the_core_loads_nothing_heavy(statement: str, names: tuple[str, ...]) -> None:
    assert loaded_by(statement, names) == []


ABSENT = (
    "av", "decord", "cartopy", "papermill", "nbclient", "nbformat", "jupyter_client", "distributed", "dask",
    "open_clip", "seaborn", "simplejpeg", "yaml",
)  # fmt: skip
"""What a machine that renders and trains alone may lack: video, maps, notebooks, clusters."""

WITHOUT = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent!r}:
            raise ModuleNotFoundError(f"no module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
"""
"""The beginning of a program on a machine without some packages."""


def run_without(absent: tuple[str, ...], program: str) -> str:
    """What a program prints in a fresh interpreter that cannot import some packages."""
    code = WITHOUT.format(absent=absent) + program
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_blocker_of_packages_blocks() -> None:
    program = "try:\n    import av\nexcept ModuleNotFoundError as error:\n    print(error)"
    assert run_without(ABSENT, program) == "no module named 'av'\n"


def test_a_machine_with_a_gpu_and_little_else_can_render_prepare_and_train(tmp_path: Path) -> None:
    modules = ("miniworld", "training.datasets", "training.loop", "training.runs", "training.jobs", "data.prepare")
    program = "".join(f"import cityguessr.{name}\n" for name in modules)
    program += f"""
from cityguessr import Taxonomy
from cityguessr.config import ClipFormat
from cityguessr.miniworld import MiniWorld, MiniWorldConfig, write_prepared
config = MiniWorldConfig(clips_per_city=3, clips_min=3)
world = MiniWorld(config, Taxonomy.cityguessr68k().subset(["Lyon"]))
print(write_prepared(world, {str(tmp_path / "set")!r}, ClipFormat(1, 16), workers=1))
"""
    assert run_without(ABSENT, program).endswith("PreparedClips(set: 2 train, 1 val, 1 frames of 16 px)\n")


def test_public_names_are_there() -> None:
    for name in (*cityguessr.__all__, "runs", "experiments", "profiles", "video", "statistics"):
        assert getattr(cityguessr, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'citygesser'"):
        _ = cityguessr.citygesser
