"""How far a predicted track is from the true one: the measures of VidTAG (CVPR 2026, sections 5 and E.1 as quoted).

A track is an array (T, 2) of latitude and longitude in degrees, one row per frame. Distances are along great circles of
the house's sphere (`sphere.great_circle_km`): one degree of latitude is 111.195 km there, and 110.574 km at the equator
of WGS 84, which the authors' geodesics use. The two differ by up to 0.56 %.

A frame counts as right within a threshold where its error is at most that, as in the authors' code. The paper does not
state the unit of the mean range difference; in degrees, its 1.07 beside a Frechet distance of 3.87 km could not be, so
it is read as km.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cityguessr.base.errors import InputError
from cityguessr.measures.sphere import EARTH_RADIUS_KM, great_circle_km, unit_vectors

Array = NDArray[np.float64]

THRESHOLDS_KM = (0.5, 1.0, 5.0, 25.0)
KM_PER_DEGREE = EARTH_RADIUS_KM * np.pi / 180  # 111.195, along a meridian of the sphere

_POLAR = 89.0  # latitude beyond which a mean longitude says nothing
_TIE_KM = 6  # decimals: what differs by less than a millimetre is equally near
_CHUNK = 1 << 16  # frames compared with every centre at a time


@dataclasses.dataclass(frozen=True, eq=False)
class TrackScores:
    """The errors of a set of videos; the arrays by video go by the order in which the videos were given.

    Attributes:
        frame_km: (N,) error of every frame that has a true coordinate, video after video.
        frame_video: int (N,), the number of its video.
        video_km: (V,) error of the representative prediction (`representative`), NaN for a video without any true
            coordinate; so in the next two.
        dfd: (V,) discrete Frechet distance in km.
        mrd: (V,) mean range difference in km.
        unplaced_frames: frames without a true coordinate, which are left out of everything.
        unplaced_videos: videos of such frames alone.
        metrics: every number of the tables by its id: `frame_1km`, in percent, and so on; see `score_tracks`.
    """

    frame_km: Array
    frame_video: NDArray[np.int64]
    video_km: Array
    dfd: Array
    mrd: Array
    unplaced_frames: int
    unplaced_videos: int
    metrics: Mapping[str, float]


def score_tracks(
    true: Sequence[ArrayLike], predicted: Sequence[ArrayLike], thresholds_km: Sequence[float] = THRESHOLDS_KM
) -> TrackScores:
    """Compare predicted tracks with the true ones, video by video.

    Frames are pooled over all videos, so that a long video weighs more in `frame_*`. Medians are the ordinary ones (the
    authors' code takes the upper of the two middle elements). The Frechet distance is a mean with a heavy tail, as one
    frame on another continent is worth thousands of km; its median stands beside it.

    Args:
        true: V arrays (T, 2) in degrees; NaN where a frame has no coordinate.
        predicted: V arrays of the same shapes, without NaN.
        thresholds_km: the radii in km.

    Returns the errors, and as `metrics` `frame_<t>km` and `video_<t>km` in percent for every threshold,
    `frame_median_km` and `video_median_km`, `dfd`, `dfd_median` and `mrd` in km.

    Raises InputError, naming the video by its number, where shapes do not match or what is given is no place on Earth,
    and where no frame has a true coordinate.
    """
    if len(true) != len(predicted):
        raise InputError(f"{len(true)} true tracks and {len(predicted)} predicted ones; give one of each per video")
    by_video = np.full((3, len(true)), np.nan)
    frame_km, frame_video, unplaced = [], [], 0
    for number, (truth, guess) in enumerate(zip(true, predicted, strict=True)):
        truth = _track(truth, f"true track {number}", missing=True)
        guess = _track(guess, f"predicted track {number}")
        if truth.shape != guess.shape:
            raise InputError(f"video {number}: {len(truth)} true frames and {len(guess)} predicted; give one for each")
        placed = np.isfinite(truth).all(axis=1)
        unplaced += int((~placed).sum())
        if not placed.any():
            continue
        truth, guess = truth[placed], guess[placed]
        frame_km.append(great_circle_km(truth, guess))
        frame_video.append(np.full(len(truth), number))
        error = great_circle_km(guess[representative(guess)], mean_place(truth))
        by_video[:, number] = error, frechet_km(truth, guess), range_difference_km(truth, guess)
    if not frame_km:
        raise InputError(
            f"none of the {len(true)} videos has a frame with a true coordinate; there is nothing to score"
        )
    frames, (videos, dfd, mrd) = np.concatenate(frame_km), by_video
    scored = np.isfinite(videos)
    metrics: dict[str, float] = {}
    for name, errors in (("frame", frames), ("video", videos[scored])):
        metrics |= {f"{name}_{threshold:g}km": within(errors, threshold) for threshold in thresholds_km}
        metrics[f"{name}_median_km"] = float(np.median(errors))
    metrics["dfd"], metrics["dfd_median"] = float(dfd[scored].mean()), float(np.median(dfd[scored]))
    metrics["mrd"] = float(mrd[scored].mean())
    return TrackScores(frames, np.concatenate(frame_video), videos, dfd, mrd, unplaced, int((~scored).sum()), metrics)


def within(errors_km: ArrayLike, threshold_km: float) -> float:
    """The share of errors (n,) of at most a threshold, in percent. Raises InputError where there are none."""
    errors = np.asarray(errors_km, dtype=np.float64)
    if not errors.size:
        raise InputError("no errors to take a share of; give at least one frame")
    return 100 * float((errors <= threshold_km).mean())


def representative(predicted: ArrayLike) -> int:
    """Which frame's prediction stands for the video: the one nearest to the centroid of all, the first of equals.

    (T, 2) degrees -> the frame's number (supplement, E.1). Predictions whose unit vectors cancel out have no centroid;
    the first one then stands for them.
    """
    track = _track(predicted, "the predicted track")
    vector = unit_vectors(track).mean(axis=0)
    if np.linalg.norm(vector) < 1e-9:
        return 0
    return int(great_circle_km(track, _degrees(vector)).round(_TIE_KM).argmin())


def centroid(latlon: ArrayLike) -> Array:
    """The spherical centroid of places: (T, 2) -> (2,) degrees, the direction of the mean of their unit vectors.

    Raises InputError where the unit vectors cancel out, as those of opposite places do.
    """
    vector = unit_vectors(_track(latlon, "the track")).mean(axis=0)
    if np.linalg.norm(vector) < 1e-9:
        raise InputError("the places lie all around the Earth and have no centroid; give those of one region")
    return _degrees(vector)


def mean_place(latlon: ArrayLike) -> Array:
    """The mean latitude and longitude of a track: (T, 2) -> (2,) degrees, the target of a video (supplement, E.1).

    Longitudes are followed along the track, so that one over the date line has its mean there. Within a degree of a
    pole, where longitudes turn with every step, the centroid is taken in its place.
    """
    track = _track(latlon, "the track")
    if np.abs(track[:, 0]).max() > _POLAR:
        return centroid(track)
    return np.array([track[:, 0].mean(), wrapped(unwrapped(track[:, 1]).mean())])


def frechet_km(a: ArrayLike, b: ArrayLike) -> float:
    """The discrete Frechet distance of two tracks, (n, 2) and (m, 2) degrees, in km.

    F(i, j) = max(d(a_i, b_j), min(F(i-1, j), F(i-1, j-1), F(i, j-1))), F(0, 0) = d(a_0, b_0); the distance is
    F(n-1, m-1): the shortest leash for two walkers who go along the tracks and never back (Eiter and Mannila, 1994).
    O(n m), one diagonal of F at a time.
    """
    a, b = _track(a, "the first track"), _track(b, "the second track")
    d = great_circle_km(a[:, None], b[None])
    n, m = d.shape
    # Diagonal k holds F(i, k - i) at place i + 1; infinite places are outside of F.
    before, last = np.full(n + 1, np.inf), np.full(n + 1, np.inf)
    last[1] = d[0, 0]
    for k in range(1, n + m - 1):
        i = np.arange(max(0, k - m + 1), min(k, n - 1) + 1)
        reached = np.minimum(np.minimum(last[i], last[i + 1]), before[i])
        before, last = last, np.full(n + 1, np.inf)
        last[i + 1] = np.maximum(d[i, k - i], reached)
    return float(last[n])


def range_difference_km(true: ArrayLike, predicted: ArrayLike) -> float:
    """How much the extents of two tracks differ, in km: the mean of the differences in latitude and in longitude.

    1/2 (|rng_lat(p) - rng_lat(t)| + |rng_lon(p) - rng_lon(t)|) with rng = max - min in km; a degree of longitude is as
    long as at the mean true latitude. Longitudes are followed along each track: one over the date line has a range of
    0.2 degrees, not of 359.8.
    """
    true, predicted = _track(true, "the true track"), _track(predicted, "the predicted track")
    lat = abs(np.ptp(predicted[:, 0]) - np.ptp(true[:, 0]))
    lon = abs(np.ptp(unwrapped(predicted[:, 1])) - np.ptp(unwrapped(true[:, 1])))
    return float(KM_PER_DEGREE * (lat + lon * np.cos(np.radians(true[:, 0].mean()))) / 2)


def nearest_centre(latlon: ArrayLike, centres: ArrayLike) -> NDArray[np.int64]:
    """The number of the centre nearest to each place, (n, 2) and (m, 2) degrees -> int (n,), the first of equals.

    What turns coordinates into cities on CityGuessr68k. A centre that is NaN is never the nearest. Raises InputError
    where all are.
    """
    places, centres = _track(latlon, "the places"), np.asarray(centres, dtype=np.float64)
    known = np.flatnonzero(np.isfinite(centres).all(axis=1))
    if not len(known):
        raise InputError("no centre has coordinates; give at least one")
    near = [
        great_circle_km(places[start : start + _CHUNK, None], centres[known]).round(_TIE_KM).argmin(axis=1)
        for start in range(0, len(places), _CHUNK)
    ]
    return known[np.concatenate(near)]


def wrapped(lon: ArrayLike) -> Array:
    """Longitudes brought to [-180, 180) degrees."""
    return (np.asarray(lon, dtype=np.float64) + 180) % 360 - 180


def unwrapped(lon: ArrayLike) -> Array:
    """Longitudes (T,) of a track without jumps at the date line: each within 180 degrees of the one before."""
    return np.unwrap(np.asarray(lon, dtype=np.float64), period=360)


def _track(latlon: ArrayLike, what: str, missing: bool = False) -> Array:
    """A track as an array of at least one place; with `missing`, some may be NaN."""
    track = np.asarray(latlon, dtype=np.float64)
    if track.ndim != 2 or track.shape[1] != 2 or not len(track):
        raise InputError(f"{what} has the shape {track.shape}; give (T, 2) latitudes and longitudes, T at least 1")
    right = (np.abs(track[:, 0]) <= 90) & (np.abs(track[:, 1]) <= 360)
    if missing:
        right |= np.isnan(track).any(axis=1)
    if not right.all():
        frame = int(np.flatnonzero(~right)[0])
        raise InputError(
            f"{what}, frame {frame}: {track[frame].tolist()} is no latitude and longitude in degrees, latitude first"
        )
    return track


def _degrees(vector: Array) -> Array:
    """(3,) of any length but zero -> (2,) degrees."""
    x, y, z = vector
    return np.degrees([np.arctan2(z, np.hypot(x, y)), np.arctan2(y, x)])
