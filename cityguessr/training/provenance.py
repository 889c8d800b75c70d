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
CORE = (
    "config.py",
    "backbones.py",
    "folded/blocks.py",
    "model.py",
    "folded/means.py",
    "systems.py",
    "losses.py",
    "scenes.py",
    "data/clips.py",
    "data/jpeg.py",
    "data/splits.py",
    "training/batches.py",
    "training/recipe.py",
    "training/augment.py",
    "training/auxiliary.py",
    "training/step.py",
    "training/loop.py",
)
VIDTAG_CORE = (
    "measures/boxes.py",
    "measures/sphere.py",
    "measures/tracks.py",
    "tracks/track.py",
    *(f"vidtag/{name}.py" for name in ("config", "encoders", "features", "gallery", "location", "losses", "model")),
    *(f"vidtag/{name}.py" for name in ("noise", "retrieval", "sampling", "schedule", "temporal", "training", "views")),
    "vidtag/answers.py",
    "tracks/gama.py",
    "training/track_starts.py",
    "training/track_asking.py",
)
"""The same for VidTAG's systems, whose answers are part of a run."""
FEATURE_CODE = (
    "vidtag/encoders.py",
    "vidtag/features.py",
    "vidtag/views.py",
    "tracks/track.py",
    "data/pictures.py",
    "data/video/decoding.py",
    "data/video/engines.py",
    "backbones.py",
    "folded/blocks.py",
)
"""The modules that decide the features of frozen encoders, which are kept apart from runs."""
_PACKAGES = ("cityguessr", "torch", "transformers", "numpy")


def code_version(more: tuple[str, ...] = (), core: tuple[str, ...] | None = None) -> str:
    """A digest of the code that decides what a run computes.

    It covers what the code does and not where it stands: comments, docstrings, layout, type annotations, import lines
    and the file that a function or class is in change nothing. Code that moves house trains nothing anew.

    Args:
        more: further modules that decide it for this run, such as "hierarchy.py".
        core: the modules that decide it for every run of its kind; those of CityGuessr's systems by default.
    """
    files = [Path(__file__).parents[1] / name for name in (core or CORE) + more]
    return _digest(tuple((file, file.stat().st_mtime_ns) for file in files))


def run_codes() -> tuple[str, str]:
    """The two digests that a run of CityGuessr's systems may have by the present code.

    Where validation picks the epoch (`ModelConfig.selection`), evaluation decides the result too: that is the second.
    """
    return code_version(), code_version(("hierarchy.py",))


@functools.cache
def _digest(files: tuple[tuple[Path, int], ...]) -> str:
    """The digest of modules; each with the time of its last change, so that an edited one is read again."""
    trees = [_Meaning().visit(ast.parse(file.read_text(encoding="utf-8"))) for file, _ in files]
    statements = sorted(ast.dump(statement) for tree in trees for statement in tree.body)
    return hashlib.sha256("\n".join(statements).encode()).hexdigest()[:16]


class _Meaning(ast.NodeTransformer):
    """Leaves of a module what it computes: no imports, no docstrings, no annotations."""

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        return None

    visit_ImportFrom = visit_Import

    def visit_If(self, node: ast.If) -> ast.If | None:
        return None if ast.unparse(node.test) == "TYPE_CHECKING" else self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        return None if isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(None)  # a field of a dataclass stays one
        return self.generic_visit(node)


def circumstances() -> dict[str, Any]:
    """What is recorded with a run beside its identity: commit, versions, hardware, and the program that ran it."""
    return {
        "git": git_state(),
        "versions": {"python": platform.python_version()} | {package: _version(package) for package in _PACKAGES},
        "hardware": hardware(),
        "command": Path(sys.argv[0]).name,
    }


def _version(package: str) -> str | None:
    """The version that is installed; None for a package that is run from its folder."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def git_state() -> dict[str, Any] | None:
    """The commit and whether the work tree differs from it; None outside a checkout."""
    folder = Path(__file__).parents[1]

    def git(*arguments: str) -> str:
        answer = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
        return answer.stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain", "--", str(folder)))}
    except (OSError, subprocess.CalledProcessError):
        return None


def hardware() -> dict[str, Any]:
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"machine": platform.machine(), "cores": os.cpu_count(), "gpu": gpu, "threads": torch.get_num_threads()}
