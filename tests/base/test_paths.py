"""Where the project is, from any folder, and where a path leads that somebody typed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cityguessr.base import paths, versions

ROOT = Path(__file__).resolve().parents[2]


def clone(folder: Path) -> Path:
    """As much of a clone as is needed to know it by."""
    for part in ("notebooks", "cityguessr"):
        (folder / part).mkdir(parents=True)
    (folder / "cityguessr" / "__init__.py").touch()
    (folder / "pyproject.toml").touch()
    return folder


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CITYGUESSR_ROOT", raising=False)


def test_the_root_is_the_clone_that_one_works_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JupyterLab's kernels run in `notebooks/`."""
    monkeypatch.chdir(clone(tmp_path / "clone") / "notebooks")
    assert paths.root() == tmp_path / "clone"
    monkeypatch.setenv("CITYGUESSR_ROOT", str(tmp_path / "chosen"))
    assert paths.root() == tmp_path / "chosen"


def test_from_any_other_folder_it_is_the_clone_of_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project of one's own with notebooks and a pyproject.toml is another project."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert paths.root() == ROOT
    assert paths.clone() == ROOT


def test_a_wheel_has_no_clone_and_works_where_one_stands(tmp_path: Path) -> None:
    """As pip installs it: the package alone, in a folder without the project's other files."""
    shutil.copytree(ROOT / "cityguessr" / "base", tmp_path / "site" / "cityguessr" / "base")
    shutil.copy(ROOT / "cityguessr" / "__init__.py", tmp_path / "site" / "cityguessr")
    program = "import cityguessr; from cityguessr.base import paths; print(paths.root(), paths.clone())"
    (tmp_path / "work").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path / "work",
        env=os.environ | {"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [str(tmp_path / "work"), "None"]


def test_a_typed_path_is_looked_for_in_the_working_folder_and_then_in_the_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, home = clone(tmp_path / "clone"), tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(root / "notebooks")
    monkeypatch.setenv("HOME", str(home))
    assert paths.found("walk.mp4") == root / "notebooks" / "walk.mp4"  # nothing is anywhere: where one stands
    assert paths.nowhere("walk.mp4") == f"{root / 'notebooks' / 'walk.mp4'} and {root / 'walk.mp4'}"
    (root / "walk.mp4").touch()
    assert paths.found("walk.mp4") == root / "walk.mp4"
    (root / "notebooks" / "walk.mp4").touch()
    assert paths.found("walk.mp4") == root / "notebooks" / "walk.mp4"
    assert paths.found("~/walk.mp4") == home / "walk.mp4"
    assert paths.found("~nobody-of-this-name/walk.mp4") == root / "notebooks" / "~nobody-of-this-name" / "walk.mp4"
    assert paths.found(tmp_path / "walk.mp4") == tmp_path / "walk.mp4"


def test_the_version_is_the_one_in_pyproject() -> None:
    import cityguessr

    line = next(line for line in (ROOT / "pyproject.toml").read_text().splitlines() if line.startswith("version = "))
    assert line == f'version = "{cityguessr.__version__}"'
    assert versions.version() == cityguessr.__version__
