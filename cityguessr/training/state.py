"""The state of a training at any step: what is saved to resume it, and what is read back from the device meanwhile."""

from __future__ import annotations

import dataclasses
import io
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cityguessr.base.errors import InputError
from cityguessr.base.files import write_bytes
from cityguessr.training.step import TrainingStep


@dataclasses.dataclass
class Progress:
    """How far a training is.

    Attributes:
        epoch: whole epochs done.
        step: steps done of the next one.
        totals: the sums of the losses over these steps; None at the beginning of an epoch.
        log: one dictionary per whole epoch.
        best: the epoch that did best on the validation split, with its weights, where that one counts.
        random: the states of the random numbers where an epoch was left, the processor's and the GPU's.
        seconds: spent on the next epoch in earlier sessions.
    """

    epoch: int = 0
    step: int = 0
    totals: Tensor | None = None
    log: list[dict[str, float]] = dataclasses.field(default_factory=list)
    best: dict[str, Any] | None = None
    random: list[Tensor] | None = None
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self._since = time.perf_counter()

    def elapsed(self) -> float:
        """Seconds spent on the epoch so far, in all sessions that had a part in it."""
        return self.seconds + time.perf_counter() - self._since

    def next_epoch(self) -> None:
        """Go on to the next epoch."""
        self.epoch, self.step, self.totals, self.random, self.seconds = self.epoch + 1, 0, None, None, 0.0
        self._since = time.perf_counter()

    def continue_random_numbers(self) -> None:
        """Draw random numbers from where the epoch was left."""
        if self.random:
            torch.set_rng_state(self.random[0].cpu())
            if len(self.random) > 1 and torch.cuda.is_available():
                torch.cuda.set_rng_state(self.random[1].cpu())

    def words(self) -> str:
        """Where it stands, for a message."""
        return f"after epoch {self.epoch}" + (f" and {self.step} steps" if self.step else "")


def save(path: Path, step: TrainingStep, progress: Progress) -> None:
    """Write all that a resumed training needs; the file appears whole, or not at all."""
    if progress.step:  # an epoch draws its random numbers anew from its beginning
        on_gpu = step.device.type == "cuda"
        progress.random = [torch.get_rng_state()] + ([torch.cuda.get_rng_state()] if on_gpu else [])
    content = {
        "training": _identity(step),
        "progress": {field.name: getattr(progress, field.name) for field in dataclasses.fields(Progress)}
        | {"seconds": progress.elapsed()},
        "model": step.model.state_dict(),
        "optimizer": step.state(),
    }
    buffer = io.BytesIO()  # torch's own writer hides a full disk behind an error of its own
    torch.save(content, buffer)
    write_bytes(path, buffer.getbuffer())


def load(path: Path, step: TrainingStep) -> Progress:
    """Take up the state in a file of `save`.

    Raises InputError for a file that is none, or of a training of another configuration.
    """
    try:
        content = torch.load(path, map_location=step.device, weights_only=True)
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: not a checkpoint of this training ({reason}); delete it to start afresh") from None
    if content.get("training") != _identity(step) or "progress" not in content:
        raise InputError(f"{path}: written by a training of another configuration; delete it to start afresh")
    step.model.load_state_dict(content["model"])
    step.load(content["optimizer"])
    return Progress(**content["progress"])


@dataclasses.dataclass(frozen=True)
class Reading:
    """What the device said after a step.

    Attributes:
        failed: the first step of the epoch whose loss was not finite, counted from 1; 0: none.
        totals: the sum of each loss since the epoch began.
        recent: the mean of the whole loss since the last reading.
        rate: steps a second since then.
    """

    step: int
    names: list[str]
    failed: int
    totals: list[float]
    recent: float
    rate: float

    def means(self) -> dict[str, float]:
        """The mean of each loss over the steps of the epoch."""
        return {name: total / self.step for name, total in zip(self.names, self.totals, strict=True)}

    def line(self, epoch: int, epochs: int, steps: int, batch_size: int) -> str:
        """One line of a log."""
        return (
            f"epoch {epoch + 1:>2}/{epochs}  step {self.step:>6,}/{steps:,}  loss {self.recent:5.2f}  "
            f"{self.rate * batch_size:,.0f} clips/s"
        )


class Readback:
    """Reads losses back from a device without holding it up: asked for at one step, they are there some steps later."""

    def __init__(self, step: TrainingStep) -> None:
        self._step, self._asked = step, None
        self._totals = torch.zeros(len(step.totals), dtype=torch.float64, pin_memory=step.device.type == "cuda")
        self._failed = torch.zeros((), dtype=torch.int64, pin_memory=step.device.type == "cuda")
        self._last = (int(step.count), float(step.totals[0]), time.perf_counter())

    def ask(self, number: int) -> None:
        """Have the losses after a step sent; before the last ones have arrived, nothing is asked."""
        if self._asked is None:
            self._totals.copy_(self._step.totals, non_blocking=True)
            self._failed.copy_(self._step.failed, non_blocking=True)
            arrived = None
            if self._step.device.type == "cuda":
                arrived = torch.cuda.Event()
                arrived.record()
            self._asked = (number, arrived)

    def answer(self) -> Reading | None:
        """What was asked for, if it has arrived."""
        if self._asked is None:
            return None
        number, arrived = self._asked
        if arrived is not None and not arrived.query():
            return None
        self._asked = None
        totals = self._totals.tolist()
        before, total, then = self._last
        count = max(1, number - before)
        rate = count / max(1e-9, time.perf_counter() - then)
        self._last = (number, totals[0], time.perf_counter())
        return Reading(number, self._step.names, int(self._failed), totals, (totals[0] - total) / count, rate)

    def wait(self, number: int) -> Reading:
        """The losses after a step, waited for."""
        if self._step.device.type == "cuda":
            torch.cuda.synchronize()
        self._asked = None
        self.ask(number)
        if self._step.device.type == "cuda":
            torch.cuda.synchronize()
        return self.answer()


def _identity(step: TrainingStep) -> str:
    return repr((dataclasses.asdict(step.config), dataclasses.asdict(step.recipe)))
