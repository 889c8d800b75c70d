"""Where a number comes from: the code that decides a result, and the circumstances of a run."""

import ast
import functools
import hashlib
import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

# The modules whose code decides what a run computes. Evaluation is not among them: it is done from predictions.
_CORE = (
    "model.py",
    "backbones.py",
    "baselines.py",
    "losses.py",
    "batches.py",
    "training.py",
    "data/scenes.py",
    "data/clips.py",
    "data/splits.py",
)
_PACKAGES = ("cityguessr", "torch", "transformers", "accelerate", "datasets", "numpy")


def code_version(more: tuple[str, ...] = ()) -> str:
    """A digest of the code that decides what a run computes, blind to comments, docstrings and layout.

    `more` names further modules that do so for this run.
    """
    files = [Path(__file__).parent / name for name in _CORE + more]
    return _digest(tuple((file, file.stat().st_mtime_ns) for file in files))


@functools.cache
def _digest(files: tuple[tuple[Path, int], ...]) -> str:
    """The digest of modules; each with the time of its last change, so that an edited one is read again."""
    digest = hashlib.sha256()
    for file, _ in files:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):  # a docstring: it does nothing
                node.value = ast.Constant(None)
        digest.update(ast.dump(tree).encode())
    return digest.hexdigest()[:16]


def circumstances() -> dict[str, Any]:
    """What is recorded with a run beside its identity: commit, versions, hardware, and the program that ran it."""
    return {
        "git": git_state(),
        "versions": {"python": platform.python_version()} | {p: importlib.metadata.version(p) for p in _PACKAGES},
        "hardware": hardware(),
        "command": Path(sys.argv[0]).name,
    }


def git_state() -> dict[str, Any] | None:
    """The commit and whether the work tree differs from it; None outside a checkout."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain", "--", str(here)))}
    except (OSError, subprocess.CalledProcessError):
        return None


def hardware() -> dict[str, Any]:
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"machine": platform.machine(), "cores": os.cpu_count(), "gpu": gpu, "threads": torch.get_num_threads()}
