"""A training recipe: the optimizer and its schedule, the weights of the losses, augmentation and averaging.

The defaults are the paper's (section 5.2): Adam at a constant 1e-3 on batches of 12, three losses of equal weight,
nothing else. What a profile makes of them, and the tuned recipe beside it: `profiles.py`.
"""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Literal

from torch import nn

from cityguessr.base.errors import InputError, one_of

OPTIMIZERS = ("adam", "adamw")
SCHEDULES = ("constant", "cosine")

# What a weight decay would only pull away from its purpose: one vector each, however many axes it has
_EMBEDDINGS = ("cls_token", "position_embeddings", "time_embeddings")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a model is trained; every field changes the result, and is part of a run's identity.

    Attributes:
        weight_decay: AdamW's, on matrices alone; none on biases, norms and embeddings of positions.
        layer_decay: a backbone's last layer learns at this share of the learning rate, the one before it at the square
            of it, and so on down to the embeddings of patches and positions; 1: all alike.
        schedule: "constant", or "cosine" to zero at the last step.
        warmup_epochs: over which the learning rate first grows linearly.
        scene_weight, text_weight: of these two losses in the sum of the three.
        label_smoothing: share of each level's target that is spread evenly over its classes.
        clip_gradients: largest norm of all gradients together; 0: no limit.
        average: decay of an exponential moving average of the weights, which is evaluated and kept in place of them;
            it is shorter in the first steps. 0: none.
        crop: the most that a random window leaves out of each side of a clip's frames, as a share; 0: none.
        colour: the most by which brightness and contrast of a clip change, as a share; 0: none.
        flip: whether half the clips are mirrored. That turns the side of the road that is driven on, and writing.

    Raises InputError for values that make no sense.
    """

    optimizer: Literal["adam", "adamw"] = "adam"
    batch_size: int = 12
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    layer_decay: float = 1.0
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_epochs: float = 0.0
    scene_weight: float = 1.0
    text_weight: float = 1.0
    label_smoothing: float = 0.0
    clip_gradients: float = 0.0
    average: float = 0.0
    crop: float = 0.0
    colour: float = 0.0
    flip: bool = False

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise one_of("optimizer", self.optimizer, OPTIMIZERS)
        if self.schedule not in SCHEDULES:
            raise one_of("schedule", self.schedule, SCHEDULES)
        for name in ("batch_size", "learning_rate", "layer_decay"):
            if not getattr(self, name) > 0:
                raise InputError(f"Recipe: {name} is {getattr(self, name)}; it must be more than 0")
        for name in ("weight_decay", "warmup_epochs", "scene_weight", "text_weight", "clip_gradients"):
            if not getattr(self, name) >= 0:
                raise InputError(f"Recipe: {name} is {getattr(self, name)}; it must not be negative")
        for name in ("label_smoothing", "average", "crop", "colour"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"Recipe: {name} is {getattr(self, name)}; it must be at least 0 and less than 1")
        if self.weight_decay and self.optimizer == "adam":
            raise InputError("Recipe: weight_decay goes with the optimizer 'adamw'; Adam has none in this project")

    def replace(self, **changes: object) -> Recipe:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each loss in their sum."""
        return {"geolocalization": 1.0, "scene": self.scene_weight, "text": self.text_weight}

    @property
    def augments(self) -> bool:
        """Whether clips are changed before the model sees them."""
        return bool(self.crop or self.colour or self.flip)


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int, epochs: int) -> float:
    """The learning rate at a step of the whole training, counted from 0."""
    warm = round(recipe.warmup_epochs * steps_per_epoch)
    if step < warm:
        return recipe.learning_rate * (step + 1) / warm
    if recipe.schedule == "constant":
        return recipe.learning_rate
    progress = (step - warm) / max(1, steps_per_epoch * epochs - warm)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def parameter_groups(model: nn.Module, recipe: Recipe, depth: int) -> list[dict[str, object]]:
    """The weights that are trained, in groups as torch's optimizers take them, in the order of the model.

    Each has `params`, its `weight_decay`, and its `scale`, the share of the learning rate that it learns at. Weights
    that are treated alike are one group: of the paper's recipe there is one, with all of them.

    Args:
        depth: layers of a backbone.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            plain = parameter.ndim > 1 and not name.endswith(_EMBEDDINGS)
            key = (recipe.layer_decay ** _above(name, depth), recipe.weight_decay if plain else 0.0)
            groups.setdefault(key, []).append(parameter)
    return [{"params": group, "scale": scale, "weight_decay": decay} for (scale, decay), group in groups.items()]


def _above(name: str, depth: int) -> int:
    """How many steps of the layer decay a weight stands below what follows the backbone, by its name."""
    inside = re.search(r"(?:^|\.)backbone\.(.*)", name)
    if inside is None:
        return 0
    if ".embeddings." in inside[1]:
        return depth + 1
    layer = re.search(r"\.layers?\.(\d+)\.", inside[1])
    return 0 if layer is None else depth - int(layer[1])
