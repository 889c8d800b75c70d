"""What `check` measured on GPUs, read from the files that are kept of it in `figures/gpu/`."""

from __future__ import annotations

import dataclasses
import json
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from cityguessr.base import paths
from cityguessr.base.errors import InputError
from cityguessr.training.profiles import PAPER

FAST, PLAIN, RELEASED = "fast path", "plain path", "as the released script"
"""How the rows of the three ways to train are called."""

PATTERN = "figures/gpu/*.json"
"""Where the files are, relative to the project's root."""


@dataclasses.dataclass(frozen=True)
class GpuResults:
    """One file: what one machine measured.

    Attributes:
        name: of the file.
        content: as it was written; see `check`.
    """

    name: str
    content: dict[str, Any]

    @property
    def machine(self) -> str:
        """The GPU, with the version of torch and the day."""
        about = self.content["machine"]
        return f"{about['gpu']}, torch {about['torch'].split('+')[0]}, {about['date']}"

    @property
    def gpu(self) -> str:
        """The GPU alone."""
        return self.content["machine"]["gpu"]

    @cached_property
    def throughput(self) -> pd.DataFrame:
        """One row per way to train that was measured, in the columns of `rates.Row`."""
        rows = [row for row in self.content.get("throughput", []) if row.get("state", "done") == "done"]
        return pd.DataFrame(rows)

    def way(self, label: str, batch: int = PAPER.recipe.batch_size) -> pd.Series | None:
        """The row of a way to train at a batch size; None where it was not measured."""
        rows = self.throughput
        rows = rows[(rows["label"] == label) & (rows["batch"] == batch)] if len(rows) else rows
        return rows.iloc[0] if len(rows) else None

    @property
    def batches(self) -> pd.DataFrame:
        """The fast path at each batch size, in their order."""
        rows = self.throughput
        return rows[rows["label"] == FAST].sort_values("batch") if len(rows) else rows

    @property
    def profile(self) -> pd.DataFrame:
        """Where the time of a step goes: path, group, ms_per_step, share."""
        return pd.DataFrame(self.content.get("profile", []))


def load(folder: Path | None = None) -> list[GpuResults]:
    """The kept files, oldest first; those of the smallest setting, of a part and of a processor are left out.

    Args:
        folder: where they are; `figures/gpu` of the project when left out.

    Raises InputError for a file that is not a result of `check`.
    """
    results = []
    for path in sorted((folder or paths.root() / "figures" / "gpu").glob("*.json")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            whole = content["machine"]["gpu"] and not content.get("smallest") and not path.stem.endswith("-partial")
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{path}: not a file that `make gpu-check` wrote; remove it") from None
        if whole:
            results.append(GpuResults(path.name, content))
    return sorted(results, key=lambda result: (result.content["machine"]["date"], result.name))


def latest(folder: Path | None = None) -> GpuResults | None:
    """The newest file that has the fast path at the paper's batch size; None where there is none."""
    return next((result for result in reversed(load(folder)) if result.way(FAST) is not None), None)
