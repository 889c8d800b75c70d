"""What the sections of `check` share: the device, the time that is left, and where their rows go."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch

from cityguessr.config import ModelConfig
from cityguessr.speed import rates
from cityguessr.taxonomy import Taxonomy
from cityguessr.training.step import TrainingStep

PAPER = ModelConfig(pretrained=None, text_encoder="minilm")
"""The paper's model, with the text features that ship with the package and no weights to fetch."""

TAXONOMY = Taxonomy.cityguessr68k()
WORLD_FRAMES = 68_269 * 15  # of the paper's data set as training reads it
SMALL = {"depth": 3, "width": 192, "heads": 3, "frames": 8, "size": 112}  # of the correctness checks
TINY = {"depth": 1, "width": 24, "heads": 2, "frames": 2, "size": 32}  # of --smallest
COMPILATION = 45  # seconds that a row must have left where the paper's model is compiled anew


@dataclasses.dataclass
class Bench:
    """What sections share.

    Attributes:
        folder: for files that go away with the command.
        record: adds rows to a part of the JSON file.
        section, until: which one runs, and the time at which it should be done.
        fast: the fast step at batch 12, compiled once for all sections that use it.
    """

    device: torch.device
    smallest: bool
    folder: Path
    record: Callable[..., None]
    start: float
    section: str = ""
    until: float = 0.0
    fast: TrainingStep | None = None
    yardstick: rates.Yardstick = dataclasses.field(default_factory=rates.Yardstick)
    noise_rate: float | None = None

    @property
    def on_gpu(self) -> bool:
        """Whether the device is a GPU."""
        return self.device.type == "cuda"

    @property
    def config(self) -> ModelConfig:
        """The model whose speed is measured."""
        return PAPER.replace(**TINY) if self.smallest else PAPER

    @property
    def batch(self) -> int:
        """The paper's batch."""
        return 3 if self.smallest else 12

    @property
    def workers(self) -> int:
        """Processes of a loader."""
        return 1 if self.smallest else max(1, (os.cpu_count() or 2) - 1)

    def put(self, key: str, *rows: dict[str, object]) -> None:
        """Add rows of this section to a part of the JSON file."""
        self.record(key, *({"section": self.section} | row for row in rows))

    def left(self) -> float:
        """Seconds that the section still has."""
        return self.until - time.monotonic()

    def has(self, seconds: float) -> bool:
        """Whether something of so many seconds still fits."""
        return self.smallest or self.left() > seconds

    def say(self, text: str) -> None:
        """Print a line of progress."""
        print(f"[{time.monotonic() - self.start:6.1f} s] {self.section}: {text}", flush=True)


@dataclasses.dataclass(frozen=True)
class Section:
    """One section.

    Attributes:
        run: does it; returns None, or a state other than "done".
        keys: the parts of the JSON file that it fills.
        least, limit: seconds below which it is not begun, and that it should not exceed.
    """

    run: Callable[[Bench], str | None]
    keys: tuple[str, ...]
    least: int
    limit: int


def value(what: str, number: float, unit: str) -> dict[str, object]:
    """A row of a single number."""
    return {"what": what, "value": float(f"{number:.4g}"), "unit": unit}
