"""What a model is given of a clip, and so what preparation keeps of it."""

from __future__ import annotations

import dataclasses

from cityguessr.scenes import SCENES

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
    """

    frames: int
    size: int
    sampling: str = "uniform"
    scene_classes: int = len(SCENES)

    def folder(self, dataset: str) -> str:
        """The name of the folder of a data set prepared like this, such as `mini-uniform-8x64`."""
        finer = "" if self.scene_classes == len(SCENES) else f"-{self.scene_classes}"
        return f"{dataset}-{self.sampling}-{self.frames}x{self.size}{finer}"
