"""Where the paper, its authors' code and an independent implementation of VidTAG differ, and which of them runs.

"The authors' code" is a snapshot of an earlier submission of the same work; the paper is known as far as others quote
it. An empty cell: the record does not say.
"""

from __future__ import annotations

import dataclasses

import pandas as pd

from cityguessr.base.errors import InputError
from cityguessr.training.track_experiments import TrackScale
from cityguessr.vidtag.config import VidTAGConfig


@dataclasses.dataclass(frozen=True)
class Reading:
    """One point on which the sources differ.

    Attributes:
        what: it is about.
        switch: the field that decides it, `VidTAGConfig.x`, `TrackScale.x` or `Phase.x`; empty where nothing does.
        paper, authors, independent: what each of them has.
        here: what runs where there is no switch.
    """

    what: str
    switch: str
    paper: str
    authors: str
    independent: str
    here: str = ""

    def value(self, config: VidTAGConfig, scale: TrackScale) -> str:
        """What runs, as text. Raises InputError for a switch that there is not."""
        if not self.switch:
            return self.here
        owner, _, name = self.switch.partition(".")
        owners = {"VidTAGConfig": config, "TrackScale": scale, "Phase": scale.phases[0]}
        if owner not in owners or not hasattr(owners[owner], name):
            raise InputError(f"no switch {self.switch!r}: mend `track_readings.READINGS`")
        given = getattr(owners[owner], name)
        if isinstance(given, tuple):
            return ", ".join(f"{value:g}" for value in given)
        plain = {True: "yes", False: "no", None: "none"}
        if given is None or isinstance(given, bool):
            return plain[given]
        return f"{given:g}" if isinstance(given, float) else str(given)


READINGS = (
    Reading("frozen features brought to length 1", "VidTAGConfig.unit_features", "yes", "no, a BatchNorm", "yes"),
    Reading("colours of DINOv2's pictures", "", "", "CLIP's", "its own", "CLIP's"),
    Reading("DINOv2's weights", "", "", "with registers", "without", "with registers"),
    Reading("view of a validation frame", "TrackScale.validation_views", "whole", "ten crops", ""),
    Reading("module over time", "VidTAGConfig.temporal", "fits both", "tempgeo", "learned"),
    Reading("sigmas", "VidTAGConfig.sigmas", "1, 8, 256", "", "1, 8, 256"),
    Reading("start of the location encoder", "TrackScale.start", "geoclip", "geoclip, fine-tuned first", "geoclip"),
    Reading("what phase I compares", "VidTAGConfig.level", "frames", "video", "frames"),
    Reading("coordinates of earlier batches", "VidTAGConfig.queue", "0", "4096", "0"),
    Reading("coordinates look for frames, too", "VidTAGConfig.symmetric", "no", "no", "yes"),
    Reading("near pairs of a batch hidden (km)", "VidTAGConfig.mask_km", "none", "none", "none"),
    Reading("limit of the temperature", "", "", "none", "100", "none"),
    Reading("frames of a training sequence", "Phase.sampled", "", "spaced", "spread"),
    Reading("weight of unequal pairs, phase II", "VidTAGConfig.alpha", "10", "0.01; a run's name: 0.1", "10"),
    Reading("mean over a triangle of the matrix", "VidTAGConfig.triangles", "", "zeros", "strict"),
    Reading("length of a video's embedding, phase II", "", "", "as it is", "1", "as it is"),
    Reading("GeoRefiner", "", "", "post-norm, no positions", "pre-norm, positions", "post-norm, no positions"),
    Reading("what is frozen in phase II", "", "", "in training mode", "", "in evaluation mode"),
    Reading("a track collapses", "", "", "after the noise", "to a true point", "after the noise"),
    Reading("within a threshold", "", "", "at most", "less than", "at most"),
    Reading("centre of a video's answers", "", "spherical", "spherical", "mean of degrees", "spherical"),
    Reading("epoch that is reported", "", "", "best on validation", "", "last"),
)


def table(config: VidTAGConfig, scale: TrackScale) -> pd.DataFrame:
    """All readings beside what runs with a configuration at a scale; the index says what they are about."""
    rows = [
        {
            "about": reading.what,
            "switch": reading.switch,
            "runs here": reading.value(config, scale),
            "paper": reading.paper,
            "authors' code": reading.authors,
            "independent": reading.independent,
        }
        for reading in READINGS
    ]
    return pd.DataFrame(rows).set_index("about").rename_axis(None)
