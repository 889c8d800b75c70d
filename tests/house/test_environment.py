"""One set of packages: pyproject.toml declares it, env/lock.txt pins it, environment.yml names it for conda."""

import ast
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
# Where conda-forge's name is not that of the package, but for - and _
CONDA_NAMES = {"pytorch": "torch", "py-opencv": "opencv-python-headless"}


def declared() -> dict[str, Requirement]:
    """What pyproject.toml asks for, with the packages of the checks and the build backend."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    lines = project["project"]["dependencies"] + extras["dev"] + extras["book"]
    lines += project["build-system"]["requires"]
    return {canonicalize_name(Requirement(line).name): Requirement(line) for line in lines}


def pins() -> list[Requirement]:
    """The lines of the lock; a package can stand there once for each range of Python."""
    lines = (ROOT / "env" / "lock.txt").read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.lstrip().startswith("#")]


def needed_by() -> dict[str, set[str]]:
    """For each package of the lock, who asks for it: the `# via` comments."""
    askers: dict[str, set[str]] = {}
    for line in (ROOT / "env" / "lock.txt").read_text().splitlines():
        if re.match(r"[a-z0-9]", line):
            name = canonicalize_name(Requirement(line).name)
            askers.setdefault(name, set())
        elif (asker := line.strip(" #").removeprefix("via").strip()) and askers:
            askers[name].add(asker.split()[0])
    return askers


def version_of(pin: Requirement) -> Version:
    (specifier,) = pin.specifier
    assert specifier.operator == "==", f"{pin} is not pinned to one version"
    return Version(specifier.version)


def test_every_declared_package_is_pinned_within_its_range() -> None:
    locked = {}
    for pin in pins():
        locked.setdefault(canonicalize_name(pin.name), []).append(pin)
    for name, requirement in declared().items():
        assert name in locked, f"{name} is declared in pyproject.toml and missing from env/lock.txt: make lock"
        for pin in locked[name]:
            assert version_of(pin) in requirement.specifier, f"{pin} does not satisfy {requirement}: make lock"


def test_every_package_that_the_code_imports_is_declared() -> None:
    files = [path for folder in ("cityguessr", "tests") for path in (ROOT / folder).rglob("*.py")]
    imported: dict[str, str] = {}
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            imported |= {name.partition(".")[0]: path.name for name in names}
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["retinaface"]
    known = {*declared(), *(canonicalize_name(Requirement(line).name) for line in extra)}
    ours = {"cityguessr", *(path.stem for path in (ROOT / "tests").rglob("*.py"))}
    owners = importlib.metadata.packages_distributions()
    for name in sorted(set(imported) - ours - set(sys.stdlib_module_names)):
        packages = {canonicalize_name(package) for package in owners.get(name, [name])}
        assert packages & known, f"{imported[name]} imports {name}: declare it in pyproject.toml"


def test_transformers_that_lose_videomae_biases_are_refused() -> None:
    refused = declared()["transformers"].specifier
    assert not any(Version(f"5.{minor}.0") in refused for minor in range(6, 17))


def test_nothing_in_the_lock_is_there_for_nobody() -> None:
    askers = needed_by()
    wanted = {name for name, who in askers.items() if "cityguessr" in who}
    assert wanted == set(declared()), "the lock was compiled from another list: make lock"
    while more := {name for name, who in askers.items() if who & wanted} - wanted:
        wanted |= more
    assert wanted == set(askers), f"nobody needs {sorted(set(askers) - wanted)}"


def test_no_registry_address_in_the_locks() -> None:
    for path in [*(ROOT / "env").glob("*.txt"), *(ROOT / "env" / "profiles").iterdir(), ROOT / "environment.yml"]:
        text = path.read_text()
        assert "://" not in text, f"{path.name} names an address"
        assert not re.search(r"^\s*(--|-[if] )(?!editable)", text, re.MULTILINE), f"{path.name} carries an option"


def test_conda_names_the_same_packages_in_the_same_versions() -> None:
    lines = [line for line in yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"] if line != "pip"]
    conda = dict(line.split("=") for line in lines if isinstance(line, str))
    beside = [line for line in lines[-1]["pip"] if not line.startswith("--")]  # what conda-forge may not have
    conda |= dict(line.removesuffix(".*").split("==") for line in beside)
    python = conda.pop("python")
    assert {CONDA_NAMES.get(name, canonicalize_name(name)) for name in conda} == set(declared())
    machine = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux"}
    machine |= {"platform_machine": "x86_64", "platform_system": "Linux", "os_name": "posix"}
    for name, version in conda.items():
        package = CONDA_NAMES.get(name, canonicalize_name(name))
        fitting = [pin for pin in pins() if pin.name == package and (not pin.marker or pin.marker.evaluate(machine))]
        assert [f"{version_of(pin).major}.{version_of(pin).minor}" for pin in fitting] == [version], (
            f"environment.yml has {name}={version}, env/lock.txt {', '.join(map(str, fitting))}"
        )


@pytest.mark.skipif(Path(sys.prefix) != ROOT / ".venv", reason="not run in the .venv that make builds")
def test_the_environment_is_the_locked_one() -> None:
    wanted = [pin for pin in pins() if not pin.marker or Marker(str(pin.marker)).evaluate()]
    wrong = {}
    for pin in wanted:
        installed = Version(importlib.metadata.version(pin.name)).public  # a CPU build is 2.15.0+cpu
        if installed != str(version_of(pin)):
            wrong[str(pin)] = installed
    assert not wrong


def bootstrap(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHON", "TORCH_INDEX")}
    command = ["sh", str(folder / "env" / "bootstrap.sh")]
    return subprocess.run(command, env=environment | variables, capture_output=True, text=True, check=False)


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """A folder whose .venv is stamped as built from the env/ beside it (with this Python in place of a real build)."""
    (tmp_path / "env").mkdir()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for name in ("bootstrap.sh", "uv.txt", "lock.txt", "ipython_kernel_config.py"):
        (tmp_path / "env" / name).write_text((ROOT / "env" / name).read_text())
    (tmp_path / ".venv" / "bin" / "python").symlink_to(sys.executable)
    parts = ["Python " + ".".join(map(str, sys.version_info[:3])), str(tmp_path.resolve()), ""]
    parts += [(ROOT / "env" / name).read_text() for name in ("uv.txt", "lock.txt")]
    (tmp_path / ".venv" / "whole").write_text("\n".join(parts[:3]) + "\n" + "".join(parts[3:]))
    return tmp_path


def test_a_whole_environment_is_left_alone(whole: Path) -> None:
    done = bootstrap(whole)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    settings = whole / ".venv" / "etc" / "ipython" / "ipython_kernel_config.py"
    assert settings.read_text() == (ROOT / "env" / settings.name).read_text()  # however old the environment is


def test_an_update_that_fails_is_not_taken_for_whole(whole: Path) -> None:
    (whole / "env" / "lock.txt").write_text("changed==1.0\n")
    done = bootstrap(whole)  # there is no installer in this .venv
    assert done.returncode != 0
    assert "the lock has changed" in done.stdout
    assert not (whole / ".venv" / "whole").exists()


def test_an_old_python_is_named_with_the_remedy(tmp_path: Path, whole: Path) -> None:
    old = tmp_path / "oldpython"
    old.write_text("#!/bin/sh\necho is Python 3.10.2\n")
    old.chmod(0o755)
    done = bootstrap(whole, PYTHON=str(old))
    assert done.returncode == 1
    assert "Python 3.11 or later is needed" in done.stderr
    assert "is Python 3.10.2" in done.stderr
    assert "make PYTHON=" in done.stderr


def test_make_knows_the_targets_that_readme_and_guide_name() -> None:
    texts = [ROOT / "README.md", *(ROOT / "notebooks" / "guide").glob("*.md")]
    code = [line for text in texts for line in re.findall(r"^make .*|`make [^`]*`", text.read_text("utf-8"), re.M)]
    named = {re.search(r"make ([\w-]+)", line)[1] for line in code if re.match(r"`?make [\w-]+(?![\w=-])", line)}
    assert {"paper", "test", "lab", "table4", "gpu-check"} <= named
    for target in named:
        done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_make_lab_opens_the_first_page_and_saves_only_when_asked() -> None:
    shown = subprocess.run(["make", "-n", "lab"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    page = re.search(r"default_url=/lab/tree/(\S+)", shown)[1]
    assert (ROOT / page).is_file()
    assert "git restore notebooks" in shown
    settings = json.loads((ROOT / re.search(r"app_settings_dir=(\S+)", shown)[1] / "overrides.json").read_text())
    assert settings["@jupyterlab/docmanager-extension:plugin"] == {"autosave": False}


def test_make_help_names_every_target() -> None:
    helped = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = re.search(r"^\.PHONY:(.*)$", (ROOT / "Makefile").read_text(), re.M)[1].split()
    for target in set(targets) - {"help", "FORCE"}:
        assert re.search(rf"\b{target}\b", helped), f"make help says nothing of {target}"
    for example in ("fig_s5", "21_train", "PROFILE=midi", "SEEDS=0,1,2", "-p mode none"):
        assert example in helped


@pytest.mark.parametrize("given", ["clip=0", "seeds=0,1"])
def test_make_refuses_a_setting_that_it_does_not_have(given: str) -> None:
    """`make 20 clip=0` once ran the page with its default clip."""
    done = subprocess.run(["make", "help", given], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode
    assert f'{given.split("=")[0]} is no setting of make. A parameter of a page is given as PARAMS="-p name value"' in (
        done.stderr
    )
    subprocess.run(["make", "help", "SEEDS=0,1", "PARAMS=-p clip 0"], cwd=ROOT, capture_output=True, check=True)
