"""How long and how fast each phase trains (section 4, supplement B and H)."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

from cityguessr.base.errors import InputError, one_of
from cityguessr.vidtag import sampling

OPTIMIZERS = ("adam", "adamw")
SHAPES = ("steps", "one cycle")
SAMPLED = ("spaced", "spread")


@dataclasses.dataclass(frozen=True)
class Phase:
    """The settings of one phase. Every field changes the result.

    Attributes:
        epochs: in each of which every training sequence comes once.
        batch_size: sequences.
        optimizer: "adam" in phase I and "adamw" in phase II; neither has weight decay.
        learning_rate: the highest one.
        decay: by which the rate is multiplied after each epoch.
        warmup_steps: over which it first grows linearly.
        shape: "steps", the published decay by epoch; "one cycle", for short trainings: up over a tenth of the steps and
            down to zero along half a cosine. Then decay and warm-up count for nothing.
        frames, gap: of a training sequence, see `sampling.spaced`.
        sampled: "spaced", frames at one distance, as in the authors' code; "spread", one of each of equal parts of the
            sequence, an independent reading, for which the gap counts for nothing (`sampling.spread`).

    Raises InputError for values that make no sense.
    """

    epochs: int
    batch_size: int = 128
    optimizer: Literal["adam", "adamw"] = "adam"
    learning_rate: float = 5e-5
    decay: float = 0.99
    warmup_steps: int = 0
    shape: Literal["steps", "one cycle"] = "steps"
    frames: int = sampling.FRAMES
    gap: int = sampling.GAP
    sampled: Literal["spaced", "spread"] = "spaced"

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise one_of("optimizer", self.optimizer, OPTIMIZERS)
        if self.shape not in SHAPES:
            raise one_of("shape", self.shape, SHAPES)
        if self.sampled not in SAMPLED:
            raise one_of("way in which frames are sampled", self.sampled, SAMPLED)
        for name in ("batch_size", "learning_rate", "decay", "frames", "gap"):
            if not getattr(self, name) > 0:
                raise InputError(f"Phase: {name} is {getattr(self, name)}; it must be more than 0")
        if self.epochs < 0 or self.warmup_steps < 0:
            raise InputError("Phase: epochs and warmup_steps must not be negative")

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of a step, counted from 0 over the whole phase.

        Args:
            steps: of an epoch.
        """
        if self.shape == "steps":
            warm = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
            return self.learning_rate * warm * self.decay ** (step // steps)
        total = max(1, self.epochs * steps)
        rise = max(1, total // 10)
        if step < rise:
            return self.learning_rate * (step + 1) / rise
        return self.learning_rate * (1 + math.cos(math.pi * (step - rise) / max(1, total - rise))) / 2


MSLS = (
    Phase(epochs=600, decay=0.99, warmup_steps=1000),
    Phase(epochs=100, optimizer="adamw", learning_rate=1e-4, decay=0.95, warmup_steps=1000, gap=sampling.REFINER_GAP),
)
"""Both phases as published for Mapillary."""
OTHERS = (dataclasses.replace(MSLS[0], epochs=100, decay=0.95), MSLS[1])
"""Both phases as published for GAMa and CityGuessr68k."""
MINI = (
    Phase(epochs=40, batch_size=32, learning_rate=5e-4, shape="one cycle", gap=1),
    Phase(epochs=30, batch_size=32, optimizer="adamw", learning_rate=1e-3, shape="one cycle", gap=1),
)
"""Both phases at the small profile's size: sequences of 16 to 24 frames, and some 400 of them."""
