"""The state of a training at any step: what is saved to resume it, and what is read back from the device meanwhile."""

from __future__ import annotations

import dataclasses
import io
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cityguessr.base import tensors
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


_AFRESH = "delete it to start afresh"
_ADAM = {"step", "exp_avg", "exp_avg_sq"}


def load(path: Path, step: TrainingStep) -> Progress:
    """Take up the state in a file of `save`.

    Raises InputError for a file that is none, of a training of another configuration, or whose parts cannot be used.
    Nothing of the step has changed then.
    """
    try:
        content = tensors.read(path, _AFRESH)
    except InputError as error:
        reason = str(error).removeprefix(f"{path}: ").removesuffix(f"; {_AFRESH}")
        raise InputError(f"{path}: not a checkpoint of this training ({reason}); {_AFRESH}") from None
    if not isinstance(content, dict) or content.get("training") != _identity(step) or "progress" not in content:
        raise InputError(f"{path}: written by a training of another configuration; {_AFRESH}")
    if wrong := (
        _wrong_progress(content["progress"], step)
        or _wrong_weights(path, content.get("model"), step)
        or _wrong_optimizer(content.get("optimizer"), step)
    ):
        raise InputError(f"{path}: damaged or edited, for {wrong}; {_AFRESH}")
    progress = Progress(**content["progress"])
    if progress.best is not None and (wrong := _wrong_weights(path, progress.best["model"], step)):
        raise InputError(f"{path}: damaged or edited, for of the best epoch {wrong}; {_AFRESH}")
    step.model.load_state_dict(content["model"])
    step.load(content["optimizer"])
    return progress


def _wrong_progress(given: object, step: TrainingStep) -> str | None:
    """Why something says nothing usable of how far a training is."""
    names = {field.name for field in dataclasses.fields(Progress)}
    if not isinstance(given, dict) or set(given) != names:
        return f"its progress is not made up of {', '.join(sorted(names))}"
    done, epochs = Progress(**given), step.config.epochs
    if not _whole(done.epoch) or not 0 <= done.epoch <= epochs:
        return f"its epoch is {done.epoch!r}, of {epochs}"
    if not _whole(done.step) or done.step < 0 or (done.step and done.epoch == epochs):
        return f"its step is {done.step!r} after {done.epoch} of {epochs} epochs"
    if not _number(done.seconds) or done.seconds < 0:
        return f"the seconds spent are {done.seconds!r}"
    if not isinstance(done.log, list) or len(done.log) != done.epoch or not all(map(_log_line, done.log)):
        return f"its log does not have one line of numbers for each of {done.epoch} epochs"
    if [line["epoch"] for line in done.log] != list(range(1, done.epoch + 1)):
        return "the lines of its log are not those of its epochs"
    if (done.totals is not None) != bool(done.step) or not (
        done.totals is None or _like(done.totals, step.totals.shape, torch.float64)
    ):
        return f"the sums of the losses are not those of {done.step} steps"
    states = done.random
    if states is not None and not (
        isinstance(states, list)
        and 1 <= len(states) <= 2
        and all(isinstance(one, Tensor) and one.dtype == torch.uint8 and one.ndim == 1 for one in states)
        and states[0].shape == torch.get_rng_state().shape
    ):
        return "the states of its random numbers are none"
    wanted = step.config.selection == "best_on_validation" and done.epoch > 0
    if (done.best is not None) != wanted:
        return "the best epoch is there where none counts, or missing where it does"
    if wanted and not (
        isinstance(done.best, dict)
        and set(done.best) == {"epoch", "val_city", "model"}
        and _whole(done.best["epoch"])
        and 1 <= done.best["epoch"] <= done.epoch
        and _number(done.best["val_city"])
    ):
        return "what it says of the best epoch cannot be read"
    return None


def _wrong_weights(path: Path, given: object, step: TrainingStep) -> str | None:
    """Why something is not the weights of the model."""
    shapes = {name: weight.shape for name, weight in step.model.state_dict().items()}
    if not isinstance(given, dict) or set(given) != set(shapes):
        return "it has the weights of another model"
    try:
        tensors.weights(path, given, _AFRESH, shapes)
    except InputError as error:
        return str(error).removeprefix(f"{path}: ").removesuffix(f"; {_AFRESH}")
    return None


def _wrong_optimizer(given: object, step: TrainingStep) -> str | None:
    """Why something is not the state of the optimizer and of the average."""
    if not isinstance(given, dict) or not isinstance(given.get("optimizer"), dict):
        return "it has no state of the optimizer"
    weights = [weight for group in step.optimizer.param_groups for weight in group["params"]]
    for number, moments in given["optimizer"].items():
        if not _whole(number) or not 0 <= number < len(weights):
            return f"the optimizer has a weight {number!r}, of {len(weights)}"
        shape = weights[number].shape
        if not isinstance(moments, dict) or set(moments) != _ADAM:
            return f"the optimizer does not have {', '.join(sorted(_ADAM))} of weight {number}"
        if not all(_like(moments[name], size) for name, size in zip(sorted(_ADAM), (shape, shape, ()), strict=True)):
            return f"the optimizer's moments of weight {number} have another shape, or are not finite"
        if moments["step"] < 0 or (moments["exp_avg_sq"] < 0).any():
            return f"the optimizer's moments of weight {number} are negative"
    average = given.get("average", [])
    if not isinstance(average, list) or len(average) != len(step.average):
        return "the average of the weights is not that of this model"
    if not all(_like(one, own.shape) for one, own in zip(average, step.average, strict=True)):
        return "the average of the weights has another shape, or is not finite"
    if step.average and not (isinstance(given.get("averaged_steps"), Tensor) and given["averaged_steps"].shape == ()):
        return "it does not say how many steps were averaged"
    return None


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _log_line(line: object) -> bool:
    return isinstance(line, dict) and "epoch" in line and all(map(_number, line.values()))


def _like(value: object, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> bool:
    """Whether something is a dense tensor of that shape and type, all numbers finite."""
    if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_meta:
        return False
    return value.shape == tuple(shape) and value.dtype == dtype and tensors.finite(value)


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
