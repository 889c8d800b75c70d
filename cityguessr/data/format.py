"""What a model is given of a clip, and so what preparation keeps of it."""

import dataclasses
from typing import Literal, get_args

from cityguessr.base.errors import InputError, one_of

Sampling = Literal["uniform", "released"]
"""Which frames of a clip are kept: evenly over it (the paper), or every fifth file by name (the released code)."""
SAMPLINGS = get_args(Sampling)

# Mean and standard deviation of ImageNet, per colour channel: what every pretrained backbone here was trained with.
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclasses.dataclass(frozen=True)
class ClipFormat:
    """How clips are prepared; models that take clips of one format share one prepared set.

    Attributes:
        frames: how many are kept of a clip.
        size: height and width of a frame in pixels.
        sampling: "uniform" (evenly over the clip) or "released" (every fifth file by name, as the authors' code does).
        scene_classes: how many scenes its frames are labelled with, 16 or 365.

    Raises InputError for fewer than one frame or pixel, and another sampling.
    """

    frames: int
    size: int
    sampling: Sampling = "uniform"
    scene_classes: int = 16  # a number, not `scenes.SCENES`: workers that prepare start without torch

    def __post_init__(self) -> None:
        for name in ("frames", "size"):
            if getattr(self, name) < 1:
                raise InputError(f"ClipFormat: {name} is {getattr(self, name)}; it must be at least 1")
        if self.sampling not in SAMPLINGS:
            raise one_of("sampling", self.sampling, SAMPLINGS)

    def folder(self, dataset: str) -> str:
        """The name of the folder of a data set prepared like this, such as `mini-uniform-8x64`."""
        finer = "" if self.scene_classes == 16 else f"-{self.scene_classes}"
        return f"{dataset}-{self.sampling}-{self.frames}x{self.size}{finer}"
