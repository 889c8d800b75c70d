"""Tracks with what a system answered for them, ready to be drawn: kinds of answers, their errors, and km on a map."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from cityguessr.base.errors import InputError, one_of
from cityguessr.data import mapillary
from cityguessr.measures.sphere import great_circle_km
from cityguessr.measures.tracks import frechet_km, mean_place
from cityguessr.training.track_runs import TrackPredictions

RETRIEVED, FILTERED, REFINED = "retrieved", "median-filtered", "refined"
CENTRE, CEILING = "city's centre", "gallery's ceiling"
KINDS = (RETRIEVED, FILTERED, REFINED)
"""The tracks that a system gives: phase I's, the same after a median filter, and GeoRefiner's."""
WINDOW = 5  # frames of the median filter
SAME_PLACE_KM = 25.0  # answers outside a map that lie within this of each other are told of together


@dataclasses.dataclass(frozen=True, eq=False)
class TrackAnswers:
    """One track of T frames and what was answered for each of them.

    Attributes:
        name, region: of the track.
        true: (T, 2) degrees.
        given: kind of answer -> (T, 2) degrees, some of `KINDS`.
        ceiling_km: (T,) how near the gallery comes to each true coordinate, or None where that is not known.

    Raises InputError, naming the track, where the shapes do not match, a kind is unknown, or there is no answer.
    """

    name: str
    region: str
    true: NDArray[np.float64]
    given: Mapping[str, NDArray[np.float64]]
    ceiling_km: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        frames = len(self.true)
        for kind in self.given:
            if kind not in KINDS:
                raise one_of(f"kind of answer in track {self.name}", kind, KINDS)
        shapes = {"true": (self.true, (frames, 2))} | {kind: (a, (frames, 2)) for kind, a in self.given.items()}
        if self.ceiling_km is not None:
            shapes["ceiling_km"] = self.ceiling_km, (frames,)
        for what, (array, shape) in shapes.items():
            if np.shape(array) != shape or not frames:
                raise InputError(f"track {self.name}: {what} has the shape {np.shape(array)}; give {max(shape)} frames")
        if not self.given:
            raise InputError(f"track {self.name}: no answer is given; give at least one of {', '.join(KINDS)}")

    def __len__(self) -> int:
        return len(self.true)

    @property
    def label(self) -> str:
        """The name of its region, for a reader."""
        return region_label(self.region)

    @property
    def middle(self) -> NDArray[np.float64]:
        """(2,) degrees, over the date line too."""
        return mean_place(self.true)

    def error_km(self, kind: str) -> NDArray[np.float64]:
        """(T,) km from the true coordinates."""
        return great_circle_km(self.true, self.given[kind])

    def frechet(self, kind: str) -> float:
        """The discrete Frechet distance of a kind of answer to the true track, in km."""
        return frechet_km(self.true, self.given[kind])


def kinds(predictions: TrackPredictions, window: int = WINDOW) -> dict[str, NDArray[np.float64]]:
    """Kind of answer -> (F, 2) degrees for all frames of a run, those of `KINDS` that it has."""
    given = {RETRIEVED: predictions.retrieved, FILTERED: predictions.smoothed(window), REFINED: predictions.refined}
    return {kind: answers for kind, answers in given.items() if answers is not None}


def select(
    predictions: TrackPredictions, which: Iterable[int] | None = None, window: int = WINDOW
) -> list[TrackAnswers]:
    """Tracks of a run by their numbers, in that order; all of them when left out.

    Args:
        window: frames of the median filter, odd.

    Raises InputError for a number that is not a track.
    """
    count = len(predictions.names)
    numbers = list(range(count) if which is None else which)
    for number in numbers:
        if not 0 <= number < count:
            raise InputError(f"track {number}: the run has tracks 0 to {count - 1}")
    given = {kind: predictions.by_track(answers) for kind, answers in kinds(predictions, window).items()}
    true, ceiling = predictions.by_track(predictions.true), predictions.by_track(predictions.ceiling_km)
    return [
        TrackAnswers(
            predictions.names[n],
            predictions.regions[n],
            true[n],
            {kind: answers[n] for kind, answers in given.items()},
            ceiling[n],
        )
        for n in numbers
    ]


def errors_km(predictions: TrackPredictions, window: int = WINDOW) -> dict[str, NDArray[np.float64]]:
    """Kind of answer -> the error of every frame, (F,) km, with the city's centre and the gallery's ceiling.

    The centre is that of the true city: this answer knows the city, and looks at no picture.
    """
    errors = {CENTRE: great_circle_km(predictions.true, predictions.centres)}
    errors |= {kind: great_circle_km(predictions.true, a) for kind, a in kinds(predictions, window).items()}
    return errors | {CEILING: predictions.ceiling_km}


def table(tracks: Sequence[TrackAnswers]) -> pd.DataFrame:
    """What a drawing of tracks shows: a row for each frame and kind, the true coordinate as kind "true".

    Columns: track, region, frame (from 1), kind, latitude, longitude, x_km and y_km (as in `local_km`, from the middle
    of the track), error_km (NaN for "true"), ceiling_km.
    """
    rows = []
    for track in tracks:
        ceiling = np.full(len(track), np.nan) if track.ceiling_km is None else track.ceiling_km
        for kind, latlon in {"true": track.true, **track.given}.items():
            x, y = local_km(latlon, track.middle).T
            error = np.full(len(track), np.nan) if kind == "true" else track.error_km(kind)
            columns = {"latitude": latlon[:, 0], "longitude": latlon[:, 1], "x_km": x, "y_km": y, "error_km": error}
            about = {"track": track.name, "region": track.region, "frame": np.arange(1, len(track) + 1), "kind": kind}
            rows.append(pd.DataFrame(about | columns | {"ceiling_km": ceiling}))
    return pd.concat(rows, ignore_index=True)


def local_km(latlon: ArrayLike, middle: ArrayLike) -> NDArray[np.float64]:
    """Places on a map around a middle: (n, 2) and (2,) degrees -> (n, 2), km east and north of it.

    Distance and direction from the middle are true (azimuthal equidistant projection). Within a city that is the plain
    map of scaled degrees to a metre or so, and a place on another continent lies where its great circle leads.
    """
    places, (lat0, lon0) = np.radians(np.asarray(latlon, dtype=float)), np.radians(np.asarray(middle, dtype=float))
    lat, lon = places[..., 0], places[..., 1] - lon0
    east = np.cos(lat) * np.sin(lon)
    north = np.cos(lat0) * np.sin(lat) - np.sin(lat0) * np.cos(lat) * np.cos(lon)
    direction = np.stack([east, north], axis=-1)
    length = np.maximum(np.linalg.norm(direction, axis=-1, keepdims=True), 1e-15)
    return great_circle_km(latlon, middle)[..., None] * direction / length


def gathered(latlon: NDArray[np.float64], within_km: float = SAME_PLACE_KM) -> list[NDArray[np.int64]]:
    """Groups of places that lie near each other, by their numbers: the first place that is left, and all around it."""
    left, groups = np.arange(len(latlon)), []
    while len(left):
        near = great_circle_km(latlon[left[0]], latlon[left]) <= within_km
        groups.append(left[near])
        left = left[~near]
    return groups


def region_label(region: str) -> str:
    """The name of a region as a reader knows it: that of a city of MSLS, whose folders are in lower case."""
    known = mapillary.cities().get(region)
    return known["city"] if known else region.replace("_", " ")
