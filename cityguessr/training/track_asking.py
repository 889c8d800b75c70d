"""What a trained system is asked: a coordinate for every frame of validation, from the gallery of its scale.

Its code is part of a run's name: another gallery or another floor is another run.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from cityguessr.measures.tracks import centroid
from cityguessr.tracks import Track
from cityguessr.tracks.gama import BOXES
from cityguessr.training import track_starts
from cityguessr.training.track_experiments import TrackExperiment, TrackScale
from cityguessr.vidtag import answers, gallery
from cityguessr.vidtag.model import VidTAG


def points(experiment: TrackExperiment, scale: TrackScale, training: Sequence[Track]) -> NDArray[np.float64]:
    """The gallery that an experiment answers from, (n, 2) degrees: its own, or that of its scale.

    Args:
        training: the training tracks; no coordinate of validation has a say in it.
    """
    return track_starts.released_gallery() if experiment.gallery is not None else of_scale(scale, training)


def of_scale(scale: TrackScale, training: Sequence[Track]) -> NDArray[np.float64]:
    """The gallery of a scale, (n, 2) degrees, from the training tracks or the published boxes."""
    if scale.gallery == "gama":
        return gallery.of_boxes(BOXES.values(), scale.resolution_km)
    if scale.gallery == "centres":
        return gallery.distinct([_coordinates(training)])
    regions = dict.fromkeys(track.region for track in training)
    known = {region: _coordinates([t for t in training if t.region == region]) for region in regions}
    return gallery.build(known, scale.resolution_km, scale.pad)


def ask(
    model: VidTAG,
    places: NDArray[np.float64],
    training: Sequence[Track],
    validation: Sequence[Track],
    features: Callable[[Track], torch.Tensor],
) -> dict[str, NDArray]:
    """The arrays of `TrackPredictions`, of the validation tracks.

    Args:
        places: the gallery, (n, 2) degrees.
        features: a track's, (T, V, d).
    """
    given = list(answers.answer_all(model, map(features, validation), answers.Gallery(model, places)))
    true = _coordinates(validation)
    centres = answers.centres([t.latlon for t in training], [t.region for t in training])
    arrays = {
        "names": np.array([track.name for track in validation]),
        "regions": np.array([track.region for track in validation]),
        "lengths": np.array([len(track) for track in validation]),
        "true": true,
        "retrieved": np.concatenate([answer.retrieved for answer in given]),
        "best": gallery.nearest_points(true, places),
        "centres": np.concatenate([np.tile(centres[t.region], (len(t), 1)) for t in validation]),
        "mean": centroid(_coordinates(training)),
    }
    if model.refiner is not None:
        arrays["refined"] = np.concatenate([answer.refined for answer in given])
    return arrays


def _coordinates(tracks: Sequence[Track]) -> NDArray[np.float64]:
    return np.concatenate([track.latlon for track in tracks]) if tracks else np.empty((0, 2))
