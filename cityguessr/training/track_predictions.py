"""What a run of VidTAG's systems answers for the validation tracks, and what can be read from it."""

from __future__ import annotations

import dataclasses
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cityguessr.base.errors import InputError, one_of
from cityguessr.measures.sphere import great_circle_km
from cityguessr.training import track_experiments
from cityguessr.vidtag import answers


@dataclasses.dataclass(frozen=True)
class TrackPredictions:
    """What a run answers for the validation tracks, frame by frame; F frames of N tracks.

    Attributes:
        names, regions: of the N tracks.
        lengths: (N,) frames of each.
        true, retrieved: (F, 2) degrees.
        refined: (F, 2) degrees, or None without GeoRefiner.
        best: (F, 2), the point of the gallery that is nearest to the true coordinate: the ceiling of every answer.
        centres: (F, 2), the mean of the training coordinates of each frame's region: a floor that sees no picture, but
            is told the right region.
        mean: (2,), the one answer of who knows nothing but the training coordinates: their mean on the sphere.
    """

    names: tuple[str, ...]
    regions: tuple[str, ...]
    lengths: NDArray[np.int64]
    true: NDArray[np.float64]
    retrieved: NDArray[np.float64]
    refined: NDArray[np.float64] | None
    best: NDArray[np.float64]
    centres: NDArray[np.float64]
    mean: NDArray[np.float64]

    def by_track(self, frames: NDArray) -> list[NDArray]:
        """Something of all F frames, cut into one array a track."""
        return np.split(frames, np.cumsum(self.lengths)[:-1])

    @cached_property
    def ceiling_km(self) -> NDArray[np.float64]:
        """How near the gallery comes to each true coordinate, (F,)."""
        return great_circle_km(self.true, self.best)

    @property
    def final(self) -> NDArray[np.float64]:
        """The system's last word, (F, 2): refined where it refines."""
        return self.retrieved if self.refined is None else self.refined

    def smoothed(self, window: int = 5) -> NDArray[np.float64]:
        """The retrieved tracks after a median filter, (F, 2)."""
        return np.concatenate([answers.smoothed(track, window) for track in self.by_track(self.retrieved)])

    def answer(self, kind: str) -> NDArray[np.float64]:
        """The answers of one of `track_experiments.ANSWERS`, (F, 2) degrees.

        Raises InputError for another kind, and for "refined" without a GeoRefiner.
        """
        if kind not in track_experiments.ANSWERS:
            raise one_of("kind of answer", kind, track_experiments.ANSWERS)
        if kind == "refined" and self.refined is None:
            raise InputError("this system has no GeoRefiner, so that nothing of it is refined; take its final answer")
        if kind == "smoothed":
            return self.smoothed()
        return np.broadcast_to(getattr(self, kind), self.true.shape)
