"""Where a system's weights stand before its training: drawn at random, GeoCLIP's as released, or fine-tuned here first.

GeoCLIP's release is read from the geoclip wheel in `data/weights/`.
"""

import numpy as np
from numpy.typing import NDArray

from cityguessr.base import weights
from cityguessr.training.track_experiments import TrackExperiment, TrackScale
from cityguessr.vidtag import geoclip
from cityguessr.vidtag.location import adopt
from cityguessr.vidtag.model import VidTAG


def uses_release(experiment: TrackExperiment, scale: TrackScale) -> bool:
    """Whether an experiment needs something of GeoCLIP's release: all of it, its location encoder, or its gallery."""
    asked = experiment.start_at(scale), experiment.gallery_at(scale)
    return not experiment.trained or "geoclip" in asked


def check(experiment: TrackExperiment, scale: TrackScale) -> None:
    """Raise MissingWeights where the release is needed and is not on this machine."""
    if uses_release(experiment, scale) and not weights.place(geoclip.WHEEL).is_file():
        purpose = "the location encoder's start" if experiment.trained else "GeoCLIP as it was released"
        raise weights.missing(geoclip.WHEEL, purpose)


def begin(model: VidTAG, experiment: TrackExperiment, scale: TrackScale, before: VidTAG | None = None) -> None:
    """Give a system the weights that it starts from; without a start of its own it keeps its random ones.

    Args:
        before: the system whose location encoder it starts from, where the start is "finetuned". Its directions are
            scaled where its sigmas are others: GeoCLIP's second branch has 16, VidTAG's 8.
    """
    start, wheel = experiment.start_at(scale), weights.place(geoclip.WHEEL)
    if not experiment.trained:
        geoclip.load(model, wheel)
    elif before is not None:
        adopt(model.location, before.location.state_dict(), before.config.sigmas)
    elif start == "geoclip":
        geoclip.load_location(model.location, wheel)


def released_gallery() -> NDArray[np.float64]:
    """GeoCLIP's own gallery of the whole world, (94123, 2) degrees."""
    return geoclip.coordinates(weights.place(geoclip.WHEEL))
