"""VidTAG's systems as named experiments, and the scales at which they run.

The rows of its tables that share a training are one experiment: what a system retrieves before it is refined, and its
track merely smoothed, are answers of the same run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

from cityguessr.base.errors import CannotRun, one_of
from cityguessr.vidtag import schedule
from cityguessr.vidtag.config import VidTAGConfig
from cityguessr.vidtag.encoders import ENCODERS
from cityguessr.vidtag.schedule import Phase

BOTH = ("clip", "dinov2")


@dataclasses.dataclass(frozen=True)
class TrackScale:
    """A profile's side of a training on tracks. Everything in it changes a result.

    Attributes:
        profile: its name.
        dataset: "msls", "gama" or "cityguessr68k", or "world" for MiniWorld's tracks.
        note: what a caption says.
        stand_ins: published encoder -> the one that takes its place at this scale.
        overrides: fields of `VidTAGConfig` that differ at this scale.
        phases: the two phases' settings.
        gallery: the points that can be answered: a grid over each region of the training coordinates, over GAMa's four
            published boxes, or the training coordinates themselves, which are city centres in CityGuessr68k.
        resolution_km, pad: of a grid, in km and in degrees.
        start: where the location encoder starts: GeoCLIP's released weights, as published, or random ones.
        threads: of the processor in a training; None: torch's choice.
    """

    profile: str
    dataset: Literal["msls", "gama", "cityguessr68k", "world"]
    note: str
    stand_ins: Mapping[str, str] = dataclasses.field(default_factory=dict)
    overrides: Mapping[str, object] = dataclasses.field(default_factory=dict)
    phases: tuple[Phase, Phase] = schedule.OTHERS
    gallery: Literal["regions", "gama", "centres"] = "regions"
    resolution_km: float = 0.1
    pad: float = 0.005
    start: Literal["geoclip", "random"] = "geoclip"
    threads: int | None = None

    @property
    def synthetic(self) -> bool:
        """Whether its numbers say nothing about the real world."""
        return self.dataset == "world"


SCALES = {
    scale.profile: scale
    for scale in (
        TrackScale(
            "mini",
            "world",
            "MiniWorld's tracks: synthetic, with districts put there so that there is something to find; two small "
            "stand-ins for the frozen encoders",
            {"clip": "semantic", "dinov2": "appearance"},
            {
                "bottleneck": 96,
                "head": (192,),
                "width": 128,
                "fourier": 128,
                "location_width": 256,
                "refiner_feed_forward": 256,
            },
            schedule.MINI,
            resolution_km=0.25,
            start="random",
            threads=1,
        ),
        TrackScale("msls", "msls", "Mapillary Street-Level Sequences, the real data set", phases=schedule.MSLS),
        TrackScale("gama", "gama", "GAMa, the real data set", gallery="gama", resolution_km=0.5, pad=0.0),
        TrackScale("cityguessr68k", "cityguessr68k", "CityGuessr68k, the real data set", gallery="centres"),
    )
}
"""Profile -> its side of a training on tracks."""


@dataclasses.dataclass(frozen=True)
class TrackExperiment:
    """One training: the smallest difference from VidTAG, or from GeoCLIP.

    Attributes:
        name: its id.
        label: as a table prints it where the paper does not.
        encoders: the published frame encoders, in the order in which their features are joined.
        changes: the fields of `VidTAGConfig` in which it differs.
        base: "vidtag" or "geoclip".
        start: where the location encoder starts, where not as its scale says.
    """

    name: str
    label: str
    encoders: tuple[str, ...] = BOTH
    changes: Mapping[str, object] = dataclasses.field(default_factory=dict)
    base: Literal["vidtag", "geoclip"] = "vidtag"
    start: Literal["geoclip", "random"] | None = None

    def encoders_at(self, scale: TrackScale) -> tuple[str, ...]:
        """The encoders that it runs with at a scale.

        Raises CannotRun for one that has no stand-in at a scale that runs on stand-ins.
        """
        if not scale.stand_ins:
            return self.encoders
        for name in self.encoders:
            if name not in scale.stand_ins:
                raise CannotRun(f"{self.name}: the encoder {name} has no stand-in at the profile {scale.profile}")
        return tuple(scale.stand_ins[name] for name in self.encoders)

    def config(self, scale: TrackScale) -> VidTAGConfig:
        """The system at a scale: the base, the scale's sizes, then what the experiment is about."""
        width = sum(ENCODERS[name].width for name in self.encoders_at(scale))
        fields = {"features": width} | dict(scale.overrides)
        if self.base == "geoclip":
            own = {name: value for name, value in fields.items() if name not in ("bottleneck", "head")}
            return VidTAGConfig.geoclip(**(own | dict(self.changes)))
        return VidTAGConfig().replace(**(fields | dict(self.changes)))

    def offered(self, scale: TrackScale) -> bool:
        """Whether it can be trained at a scale, and is not VidTAG itself there: where all start at random, one does."""
        return all(name in scale.stand_ins for name in self.encoders if scale.stand_ins) and self.start != scale.start


_BARE = {"temporal": "none", "refiner": False}

EXPERIMENTS = {
    experiment.name: experiment
    for experiment in (
        TrackExperiment("vidtag", "VidTAG"),
        TrackExperiment("geoclip_finetuned", "GeoCLIP, fine-tuned", ("clip",), base="geoclip"),
        # The components, one after another
        TrackExperiment("dinov2", "DINOv2 alone", ("dinov2",), _BARE),
        TrackExperiment("clip_dinov2", "CLIP + DINOv2", changes=_BARE),
        TrackExperiment("dinov2_tempgeo", "DINOv2 + TempGeo", ("dinov2",), {"refiner": False}),
        TrackExperiment("clip_tempgeo", "CLIP + TempGeo", ("clip",), {"refiner": False}),
        TrackExperiment("clip_dinov2_refiner", "CLIP + DINOv2 + GeoRefiner, no TempGeo", changes={"temporal": "none"}),
        TrackExperiment("clip_siglip", "CLIP + SigLIP, with TempGeo", ("clip", "siglip"), {"refiner": False}),
        # What the record leaves open
        TrackExperiment("alpha_001", "GeoRefiner with alpha 0.01", changes={"alpha": 0.01}),
        TrackExperiment("masked", "pairs within 100 m are no negatives", changes={"mask_km": 0.1, "alpha": 0.01}),
        TrackExperiment(
            "video_level", "phase I on whole videos, with a queue", changes={"level": "video", "queue": 4096}
        ),
        TrackExperiment("random_start", "location encoder from random weights", start="random"),
    )
}
"""VidTAG's experiments by name."""

_SYSTEMS = {row: (row, "final") for row in ("geoclip_finetuned", "vidtag")}

TABLES: dict[str, dict[str, tuple[str, str]]] = {
    "vidtag_msls": _SYSTEMS,
    "vidtag_gama": _SYSTEMS,
    "vidtag_cityguessr68k": {"vidtag": ("vidtag", "final")},
    "vidtag_ablation_msls": {
        "clip": ("geoclip_finetuned", "final"),
        "dinov2": ("dinov2", "final"),
        "dinov2_tempgeo": ("dinov2_tempgeo", "final"),
        "clip_dinov2_tempgeo": ("vidtag", "retrieved"),
        "vidtag": ("vidtag", "final"),
    },
    "vidtag_encoders_msls": {"clip_siglip": ("clip_siglip", "final"), "clip_dinov2": ("vidtag", "retrieved")},
}
"""Table -> its rows, by the id of the paper's numbers -> the experiment and which of its answers gives them."""


def get(experiment: str | TrackExperiment) -> TrackExperiment:
    """The experiment of that name; an experiment is given back. Raises InputError, listing the names there are."""
    if isinstance(experiment, TrackExperiment):
        return experiment
    if experiment not in EXPERIMENTS:
        raise one_of("VidTAG experiment", experiment, EXPERIMENTS)
    return EXPERIMENTS[experiment]


def scale(profile: str | TrackScale) -> TrackScale:
    """The scale of a profile. Raises InputError for a profile that has no tracks."""
    if isinstance(profile, TrackScale):
        return profile
    if profile not in SCALES:
        raise one_of("profile with tracks", profile, SCALES)
    return SCALES[profile]
