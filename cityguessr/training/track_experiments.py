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
from cityguessr.vidtag.views import Validation

BOTH = ("clip", "dinov2")

# All frames of a city stand at its centre. With two equal coordinates in a batch the loss as published cannot fall
# below ln 2: each is a negative of the other.
_AT_CENTRES = "every frame at its city's centre; frames of one city are no negatives of each other, a departure"


@dataclasses.dataclass(frozen=True)
class TrackScale:
    """A profile's side of a training on tracks. Everything in it changes a result.

    Attributes:
        profile: its name.
        dataset: "msls", "gama" or "cityguessr68k"; "world" for MiniWorld's tracks, "clips" for its CityGuessr68k.
        note: what a caption says.
        stand_ins: published encoder -> the one that takes its place at this scale.
        overrides: fields of `VidTAGConfig` that differ at this scale.
        finest: the largest sigma of the location encoder at this scale, where not the published 256, whose likeness
            halves after 14.7 km. A larger one tells nearer places apart with less training.
        queue: the most coordinates that a queue holds at this scale, None: as many as the system's own.
        phases: the two phases' settings.
        gallery: the points that can be answered: a grid over each region of the training coordinates, over GAMa's four
            published boxes, or the training coordinates themselves, which are city centres in CityGuessr68k.
        resolution_km, pad: of a grid, in km and in degrees.
        start: where the location encoder starts: GeoCLIP's released weights, as published, or random ones.
        validation_views: what is seen of a frame of validation, see `views.Validation`: all of it, as the paper is
            quoted, or ten crops in its own shape, as in the authors' code.
        threads: of the processor in a training; None: torch's choice.
    """

    profile: str
    dataset: Literal["msls", "gama", "cityguessr68k", "world", "clips"]
    note: str
    stand_ins: Mapping[str, str] = dataclasses.field(default_factory=dict)
    overrides: Mapping[str, object] = dataclasses.field(default_factory=dict)
    finest: float | None = None
    queue: int | None = None
    phases: tuple[Phase, Phase] = schedule.OTHERS
    gallery: Literal["regions", "gama", "centres"] = "regions"
    resolution_km: float = 0.1
    pad: float = 0.005
    start: Literal["geoclip", "random"] = "geoclip"
    validation_views: Validation = "whole"
    threads: int | None = None

    @property
    def synthetic(self) -> bool:
        """Whether its numbers say nothing about the real world."""
        return self.dataset in ("world", "clips")


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
                "unit_features": False,
            },
            finest=1024.0,
            queue=512,
            phases=schedule.MINI,
            resolution_km=0.25,
            start="random",
            threads=1,
        ),
        TrackScale("msls", "msls", "Mapillary Street-Level Sequences, the real data set", phases=schedule.MSLS),
        TrackScale("gama", "gama", "GAMa, the real data set", gallery="gama", resolution_km=0.5, pad=0.0),
        TrackScale(
            "cityguessr68k",
            "cityguessr68k",
            f"CityGuessr68k, the real data set; {_AT_CENTRES}",
            overrides={"mask_km": 0.0},
            gallery="centres",
        ),
    )
}
"""Profile -> its side of a training on tracks."""

# MiniWorld's CityGuessr68k, the very clips of CityGuessr's runs on the profile `mini`, by the small system of its
# tracks. Half of a clip's 8 frames, so that the stand-ins' features of all 3,485 take a minute, and a training half of
# one. GeoRefiner has next to nothing to do: the published noise takes 0.5 % of frames nearer to another city's centre
# than to their own (Kawasaki and Tokyo are 19 km apart), so that its phase is short.
# It is a budget, not the best that can be had: VidTAG names 53 % of the cities, 51 % with all frames in the same time,
# and 59 % with all frames and twice the time.
SCALES["mini_clips"] = dataclasses.replace(
    SCALES["mini"],
    profile="mini_clips",
    dataset="clips",
    note="MiniWorld's CityGuessr68k: synthetic; two small stand-ins for the frozen encoders, half of a clip's frames; "
    f"{_AT_CENTRES}",
    overrides=SCALES["mini"].overrides | {"mask_km": 0.0},
    finest=None,
    phases=(
        dataclasses.replace(schedule.MINI[0], epochs=12, batch_size=128, frames=4, learning_rate=1e-3),
        dataclasses.replace(schedule.MINI[1], epochs=3, batch_size=128, frames=4),
    ),
    gallery="centres",
)


@dataclasses.dataclass(frozen=True)
class TrackExperiment:
    """One training: the smallest difference from VidTAG, or from GeoCLIP.

    Attributes:
        name: its id.
        label: as a table prints it where the paper does not.
        encoders: the published frame encoders, in the order in which their features are joined.
        changes: the fields of `VidTAGConfig` in which it differs.
        base: "vidtag" or "geoclip".
        start: where the location encoder starts, where not as its scale says; "finetuned", the authors' code: with
            that of the run `geoclip_finetuned` of this scale and seed, which is trained first.
        gallery: "geoclip" for GeoCLIP's own, 94,123 places of the whole world, in place of its scale's.
        trained: whether it learns anything here; if not, it is GeoCLIP as it was released ("zero-shot"), and its seed
            changes nothing.
    """

    name: str
    label: str
    encoders: tuple[str, ...] = BOTH
    changes: Mapping[str, object] = dataclasses.field(default_factory=dict)
    base: Literal["vidtag", "geoclip"] = "vidtag"
    start: Literal["geoclip", "random", "finetuned"] | None = None
    gallery: Literal["geoclip"] | None = None
    trained: bool = True

    def start_at(self, scale: TrackScale) -> str:
        """Where its location encoder starts at a scale."""
        return self.start or scale.start

    def gallery_at(self, scale: TrackScale) -> str:
        """The gallery from which it answers at a scale."""
        return self.gallery or scale.gallery

    def phases_at(self, scale: TrackScale) -> tuple[Phase, ...]:
        """The settings of its phases at a scale; none where it is not trained."""
        return scale.phases if self.trained else ()

    def encoders_at(self, scale: TrackScale) -> tuple[str, ...]:
        """The encoders that it runs with at a scale.

        Raises CannotRun for one that has no stand-in at a scale that runs on stand-ins, and there for GeoCLIP as it was
        released.
        """
        if not scale.stand_ins:
            return self.encoders
        if not self.trained:
            raise CannotRun(
                f"GeoCLIP's released image head reads CLIP's own features, for which the profile {_named(scale)} has a "
                "stand-in on which it was never trained"
            )
        for name in self.encoders:
            if name not in scale.stand_ins:
                raise CannotRun(f"the encoder {name} has no stand-in at the profile {_named(scale)}")
        return tuple(scale.stand_ins[name] for name in self.encoders)

    def config(self, scale: TrackScale) -> VidTAGConfig:
        """The system at a scale: the base, the scale's sizes, then what the experiment is about."""
        width = sum(ENCODERS[name].width for name in self.encoders_at(scale))
        fields = {"features": width} | dict(scale.overrides)
        if self.base == "geoclip":
            own = {name: value for name, value in fields.items() if name not in ("bottleneck", "head")}
            config = VidTAGConfig.geoclip(**own)
        else:
            config = VidTAGConfig().replace(**fields)
        if scale.finest is not None:
            config = config.replace(sigmas=(*config.sigmas[:-1], scale.finest))
        config = config.replace(**dict(self.changes))
        return config if scale.queue is None else config.replace(queue=min(config.queue, scale.queue))

    def check(self, scale: TrackScale) -> None:
        """Raise CannotRun where this is no other training at a scale than phase I of VidTAG."""
        if self.base == "vidtag" and self.encoders == BOTH and self.config(scale).refiner is False:
            plain = dataclasses.replace(self, changes={"refiner": False}, start=None)
            if (self.config(scale), self.start_at(scale)) == (plain.config(scale), plain.start_at(scale)):
                raise CannotRun(f"at the profile {_named(scale)} it is the same training as VidTAG's own phase I")

    def offered(self, scale: TrackScale) -> bool:
        """Whether it can be trained at a scale, and is another training there than VidTAG's own."""
        try:
            self.encoders_at(scale)
            self.check(scale)
        except CannotRun:
            return False
        return True


_PHASE_ONE = {"refiner": False}
_BARE = {"temporal": "none", "refiner": False}
_VIDEOS = {"level": "video", "queue": 4096}
_RELEASED = {"encoders": ("clip",), "changes": {"queue": 0}, "base": "geoclip", "start": "geoclip", "trained": False}

EXPERIMENTS = {
    experiment.name: experiment
    for experiment in (
        TrackExperiment("vidtag", "VidTAG"),
        TrackExperiment("geoclip_finetuned", "GeoCLIP fine-tuned", ("clip",), base="geoclip"),
        TrackExperiment("geoclip_zeroshot", "GeoCLIP zero-shot", **_RELEASED),
        TrackExperiment("geoclip_zeroshot_100k", "GeoCLIP zero-shot, its own gallery", **_RELEASED, gallery="geoclip"),
        # The components, one after another
        TrackExperiment("dinov2", "DINOv2 alone", ("dinov2",), _BARE),
        TrackExperiment("clip_dinov2", "CLIP + DINOv2", changes=_BARE),
        TrackExperiment("dinov2_tempgeo", "DINOv2 + TempGeo", ("dinov2",), _PHASE_ONE),
        TrackExperiment("clip_tempgeo", "CLIP + TempGeo", ("clip",), _PHASE_ONE),
        TrackExperiment("clip_dinov2_refiner", "CLIP + DINOv2 + GeoRefiner, no TempGeo", changes={"temporal": "none"}),
        TrackExperiment("clip_siglip", "CLIP + SigLIP, with TempGeo", ("clip", "siglip"), _PHASE_ONE),
        # What the record leaves open
        TrackExperiment("alpha_001", "VidTAG, GeoRefiner with alpha 0.01", changes={"alpha": 0.01}),
        TrackExperiment(
            "masked", "phase I: pairs within 100 m are no negatives", changes=_PHASE_ONE | {"mask_km": 0.1}
        ),
        TrackExperiment("video_level", "phase I on whole videos, with a queue", changes=_PHASE_ONE | _VIDEOS),
        TrackExperiment(
            "published_scales", "phase I: sigmas 1, 8, 256", changes=_PHASE_ONE | {"sigmas": (1.0, 8.0, 256.0)}
        ),
        TrackExperiment(
            "random_start", "phase I: location encoder from random weights", changes=_PHASE_ONE, start="random"
        ),
        TrackExperiment(
            "finetuned_start",
            "phase I: location encoder from GeoCLIP fine-tuned first",
            changes=_PHASE_ONE,
            start="finetuned",
        ),
    )
}
"""VidTAG's experiments by name."""


ANSWERS = ("final", "retrieved", "smoothed", "refined", "centres", "mean", "best")
"""What can be read from one run's predictions, see `track_runs.TrackPredictions`: the system's last word, phase I's,
the median filter over it, phase II's; and what needs no system, the two floors and the gallery's ceiling."""

_FLOORS = {
    "mean": ("vidtag", "mean"),
    "centres": ("vidtag", "centres"),
    "best": ("vidtag", "best"),
}
UNRIVALLED = tuple(_FLOORS)
"""Rows of tables that are no systems: no system competes with them."""
_SYSTEMS = {
    "geoclip_zeroshot": ("geoclip_zeroshot", "final"),
    "geoclip_zeroshot_100k": ("geoclip_zeroshot_100k", "final"),
    "geoclip_finetuned": ("geoclip_finetuned", "final"),
    "vidtag": ("vidtag", "final"),
    "retrieved": ("vidtag", "retrieved"),
    "smoothed": ("vidtag", "smoothed"),
    "alpha_001": ("alpha_001", "final"),
}

TABLES: dict[str, dict[str, tuple[str, str]]] = {
    "vidtag_msls": _SYSTEMS | _FLOORS,
    "vidtag_gama": _SYSTEMS | _FLOORS,
    "vidtag_ablation_msls": {
        "clip": ("geoclip_finetuned", "final"),
        "dinov2": ("dinov2", "final"),
        "dinov2_tempgeo": ("dinov2_tempgeo", "final"),
        "clip_dinov2_tempgeo": ("vidtag", "retrieved"),
        "vidtag": ("vidtag", "final"),
        "smoothed": ("vidtag", "smoothed"),
        **{
            name: (name, "final")
            for name in (
                "clip_tempgeo",
                "clip_dinov2",
                "clip_dinov2_refiner",
                "alpha_001",
                "masked",
                "video_level",
                "published_scales",
                "random_start",
                "finetuned_start",
            )
        },
    }
    | _FLOORS,
    # Which GeoCLIP the paper means is not public; as with its other systems that were not trained on these data, the
    # country is much surer than the city.
    "vidtag_cityguessr68k": {
        "geoclip": ("geoclip_zeroshot", "final"),
        "vidtag": ("vidtag", "final"),
        "geoclip_finetuned": ("geoclip_finetuned", "final"),
    },
    "vidtag_encoders_msls": {
        "clip_siglip": ("clip_siglip", "final"),
        "clip_dinov2": ("vidtag", "retrieved"),
        "smoothed": ("vidtag", "smoothed"),
    }
    | _FLOORS,
}
"""VidTAG's table -> row -> the experiment behind it, and which of its answers; rows of the paper's, then ours."""

LABELS = {
    "geoclip_zeroshot_100k": "GeoCLIP zero-shot, its own gallery",
    "retrieved": "VidTAG before GeoRefiner",
    "smoothed": "VidTAG before GeoRefiner, median filter",
    "mean": "floor: mean of all training coordinates",
    "centres": "told the city: its centre",
    "best": "ceiling: nearest point of the gallery",
}
"""Row -> label, of rows that no paper prints and whose label is not an experiment's."""

DATASETS = {
    "vidtag_msls": ("msls", "world"),
    "vidtag_gama": ("gama",),
    "vidtag_ablation_msls": ("msls", "world"),
    "vidtag_encoders_msls": ("msls", "world"),
    "vidtag_cityguessr68k": ("cityguessr68k", "clips"),
}
"""Table -> the data sets of `TrackScale` that it is about."""

CLIPS = {"mini": "mini_clips", "cityguessr68k": "cityguessr68k"}
"""A profile of CityGuessr -> the scale at which VidTAG runs on the same clips."""


def _named(scale: TrackScale) -> str:
    """A scale by the name of the profile that a reader gives."""
    return next((profile for profile, own in CLIPS.items() if own == scale.profile), scale.profile)


def unfit(table: str, scale: TrackScale) -> str:
    """Why a table cannot be run at a scale: it is about other data. Empty where it can."""
    if scale.dataset in DATASETS[table]:
        return ""
    if scale.synthetic:
        return "MiniWorld has no rides from a dashboard: its tracks stand in for Mapillary's"
    return f"it is about other data than those of the profile {_named(scale)}"


def get(experiment: str | TrackExperiment) -> TrackExperiment:
    """The experiment of that name; an experiment is given back. Raises InputError, listing the names there are."""
    if isinstance(experiment, TrackExperiment):
        return experiment
    if experiment not in EXPERIMENTS:
        raise one_of("VidTAG experiment", experiment, EXPERIMENTS, "cityguessr train --help")
    return EXPERIMENTS[experiment]


def scale(profile: str | TrackScale) -> TrackScale:
    """The scale of a profile. Raises InputError for a profile that has no tracks."""
    if isinstance(profile, TrackScale):
        return profile
    if profile not in SCALES:
        raise one_of("profile with tracks", profile, SCALES)
    return SCALES[profile]
