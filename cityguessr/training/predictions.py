"""What a run answers on the validation split, with the tree and the mode that its answers are read in."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cityguessr import hierarchy
from cityguessr.base.errors import InputError
from cityguessr.taxonomy import LEVELS, Taxonomy


@dataclasses.dataclass(frozen=True)
class Predictions:
    """The validation clips of a run: their logits, their labels, and how answers follow from the logits.

    Attributes:
        taxonomy: the label tree.
        mode: how the final answer is read, `ModelConfig.evaluation`: "codependent", or "traced" as released.
        logits: level -> float32 (N, number of classes).
        labels: level -> LongTensor (N,).
        scene: float32 (N, scenes) logits, or None for a system without scene recognition.
        clip_ids, video_ids: of the N clips; several clips may come from one video.
        places: float64 (N, 2), latitude and longitude in degrees of the clip's middle frame, NaN where not known.
    """

    taxonomy: Taxonomy
    mode: str
    logits: dict[str, Tensor]
    labels: dict[str, Tensor]
    scene: Tensor | None
    clip_ids: tuple[str, ...]
    video_ids: tuple[str, ...]
    places: Tensor

    @classmethod
    def load(cls, path: Path, taxonomy: Taxonomy, mode: str) -> Predictions:
        """Read the `predictions.npz` of a run."""
        with np.load(path, allow_pickle=False) as file:
            return cls(
                taxonomy,
                mode,
                logits={level: torch.from_numpy(file[f"logits_{level}"]) for level in LEVELS},
                labels={level: torch.from_numpy(file[f"labels_{level}"]) for level in LEVELS},
                scene=torch.from_numpy(file["scene"]) if "scene" in file else None,
                clip_ids=tuple(file["clip_ids"].tolist()),
                video_ids=tuple(file["video_ids"].tolist()),
                places=torch.from_numpy(file["places"]),
            )

    def __len__(self) -> int:
        return len(self.clip_ids)

    def answers(self, mode: str | None = None) -> dict[str, Tensor]:
        """The answered class of every clip: level -> LongTensor (N,), in the run's mode or another one."""
        return hierarchy.predict(self.logits, self.taxonomy, mode or self.mode)

    def right(self, mode: str | None = None) -> dict[str, Tensor]:
        """Whether each clip's answer is right: level -> bool (N,). Raises InputError where there are no clips."""
        if not len(self):
            raise InputError("these predictions hold no clip; nothing can be counted")
        answers = self.answers(mode)
        return {level: answers[level] == self.labels[level] for level in LEVELS}

    def accuracy(self, mode: str | None = None, k: int = 1) -> dict[str, float]:
        """The top-k accuracy, as `hierarchy.accuracy`: level -> percent."""
        return hierarchy.accuracy(self.logits, self.labels, self.taxonomy, mode or self.mode, k)

    def subset(self, clips: Tensor) -> Predictions:
        """The predictions of some clips, by a LongTensor of their numbers or a bool (N,)."""
        numbers = torch.arange(len(self))[clips].tolist()
        return dataclasses.replace(
            self,
            logits={level: values[clips] for level, values in self.logits.items()},
            labels={level: values[clips] for level, values in self.labels.items()},
            scene=None if self.scene is None else self.scene[clips],
            clip_ids=tuple(self.clip_ids[i] for i in numbers),
            video_ids=tuple(self.video_ids[i] for i in numbers),
            places=self.places[clips],
        )
