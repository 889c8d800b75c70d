"""`VidTAGConfig`: every switch of VidTAG and of GeoCLIP, with its source."""

from __future__ import annotations

import dataclasses
from typing import Literal, get_args

from cityguessr.base.errors import InputError, one_of

Temporal = Literal["tempgeo", "learned", "none"]
"""The module that mixes a video's frames: the authors' TempGeo, the same with learned positions and without its
bottleneck (an independent reading of the paper), or none."""
Level = Literal["frames", "video"]
Triangles = Literal["zeros", "strict"]

_CHOICES = {"temporal": get_args(Temporal), "level": get_args(Level), "triangles": get_args(Triangles)}


@dataclasses.dataclass(frozen=True)
class VidTAGConfig:
    """Everything that defines a system. The defaults are the paper's VidTAG on CLIP ViT-L/14 and DINOv2 ViT-L/14.

    Attributes:
        features: width of a frame's frozen features, 768 (CLIP) + 1024 (DINOv2).
        unit_features: whether they are brought to length 1 first. The paper says so; the authors' code has a
            BatchNorm in its place.
        temporal: see `Temporal`.
        bottleneck: width between the first two layers of TempGeo.
        temporal_layers, temporal_heads: of its transformer (2, 8).
        feed_forward: inner width of a layer; None: the authors', as wide as the layer for TempGeo and 2400 for
            "learned", which was chosen to match the printed number of weights.
        head: inner widths of the MLP from features to the embedding: (1024, 768), or (768,) for GeoCLIP.
        head_activation: between them; GeoCLIP's is a ReLU.
        width: of the embedding that frames and coordinates share.
        sigmas: of the location encoder's Fourier features: VidTAG's 1, 8, 256; GeoCLIP's are 1, 16, 256.
        fourier, location_width: frequencies of a branch, and its inner width.
        refiner: whether GeoRefiner follows (phase II).
        refiner_heads, refiner_feed_forward: of its three layers.
        level: whether phase I compares single frames with their coordinates (the paper's Eq. 1), or the mean of a
            video's frames with its mean coordinate (the authors' code).
        symmetric: whether coordinates look for frames as well, as an independent implementation has it.
        queue: coordinates of earlier batches that serve as further negatives (the authors' code: 4096; the paper: 0).
        queue_mask_km: coordinates of the queue as near as this to a row's are no negatives of it.
        mask_km: the same within a batch; 0 hides equal coordinates only, None nothing, as published.
        alpha, beta: weights of unequal and equal pairs in the refiner's loss (supplement B.1: 10 and 1; the authors'
            snapshot has 0.01 and 1).
        triangles: means of the loss's triangles over all N^2 entries, zeros and diagonal included (the authors'
            code), or over the strict triangles' own entries.

    Raises InputError for a value outside a fixed set, and for sizes that do not fit together.
    """

    features: int = 1792
    unit_features: bool = True
    temporal: Temporal = "tempgeo"
    bottleneck: int = 512
    temporal_layers: int = 2
    temporal_heads: int = 8
    feed_forward: int | None = None
    head: tuple[int, ...] = (1024, 768)
    head_activation: Literal["mish", "relu"] = "mish"
    width: int = 512
    sigmas: tuple[float, ...] = (1.0, 8.0, 256.0)
    fourier: int = 256
    location_width: int = 1024
    refiner: bool = True
    refiner_heads: int = 8
    refiner_feed_forward: int = 2048
    level: Level = "frames"
    symmetric: bool = False
    queue: int = 0
    queue_mask_km: float = 1.0
    mask_km: float | None = None
    alpha: float = 10.0
    beta: float = 1.0
    triangles: Triangles = "zeros"

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise one_of(name, getattr(self, name), choices)
        if self.head_activation not in ("mish", "relu"):
            raise one_of("head_activation", self.head_activation, ("mish", "relu"))
        for name in ("features", "bottleneck", "width", "fourier", "location_width", "refiner_feed_forward"):
            if getattr(self, name) < 1:
                raise InputError(f"VidTAGConfig: {name} is {getattr(self, name)}; it must be at least 1")
        if self.temporal != "none" and self.features % self.temporal_heads:
            raise InputError(f"VidTAGConfig: {self.temporal_heads} heads do not divide {self.features} features")
        if self.refiner and self.width % self.refiner_heads:
            raise InputError(f"VidTAGConfig: {self.refiner_heads} refiner heads do not divide a width of {self.width}")
        if self.queue < 0:
            raise InputError(f"VidTAGConfig: queue is {self.queue}; give 0 for none")

    @classmethod
    def geoclip(cls, **changes: object) -> VidTAGConfig:
        """GeoCLIP fine-tuned: CLIP's features frame by frame, its head and scales, and a queue of 4096 coordinates."""
        own = {"features": 768, "unit_features": False, "temporal": "none", "head": (768,), "head_activation": "relu"}
        own |= {"sigmas": (1.0, 16.0, 256.0), "refiner": False, "queue": 4096}
        return cls(**(own | changes))  # type: ignore[arg-type]

    def replace(self, **changes: object) -> VidTAGConfig:
        """The same with some fields changed."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]
