"""How certain the measures of tracks are: intervals over sequences, and over seeds where there are several.

The frames of one sequence are alike, and so are their errors; what was drawn are sequences. Means (shares within a
threshold, the Frechet distance, the range difference) take `intervals.Interval`, with sequences for videos. A median
has no such formula: seeds and sequences are both drawn again with replacement (the crossed bootstrap, Owen 2007), 1,000
times, and the interval lies between the percentiles of the medians' mean over seeds. With few seeds it is a little too
wide, see `intervals`.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from cityguessr.base.errors import InputError
from cityguessr.measures.intervals import Interval
from cityguessr.measures.tracks import THRESHOLDS_KM, TrackScores

MEANS = ("dfd", "mrd")
DRAWS = 1000
_PERCENT = 100  # an `Interval` multiplies what it is given by it; distances are divided first


def intervals(
    scores: Sequence[TrackScores], thresholds_km: Sequence[float] = THRESHOLDS_KM, confidence: float = 95
) -> dict[str, tuple[float, float]]:
    """The interval of every metric of one system: metric id -> (low, high), in the metric's own unit.

    Args:
        scores: one seed each, of the same validation tracks.
        confidence: in percent.

    Shares are cut to [0, 100], distances to 0 and more. Raises InputError where the scores are not of the same tracks.
    """
    ids = _same(scores)
    found: dict[str, tuple[float, float]] = {}
    for name, errors, sequences in _errors(scores, ids):
        for threshold in thresholds_km:
            interval = Interval.over(torch.from_numpy((errors <= threshold).astype(float)), sequences, confidence)
            found[f"{name}_{threshold:g}km"] = _within(interval, 100.0)
        found[f"{name}_median_km"] = median(errors, sequences, confidence)
    for metric in MEANS:
        values = _placed([getattr(score, metric) for score in scores])
        interval = Interval.over(torch.from_numpy(values / _PERCENT), np.arange(values.shape[1]), confidence)
        found[metric] = _within(interval, np.inf)
        if metric == "dfd":
            found["dfd_median"] = median(values, np.arange(values.shape[1]), confidence)
    return found


def difference(
    scores: Sequence[TrackScores], others: Sequence[TrackScores], metric: str, confidence: float = 95
) -> Interval:
    """How much one system differs from another in a metric, frame by frame or video by video: first minus other.

    Args:
        scores, others: of the same validation tracks, paired seed by seed, so far as both have seeds.
        metric: a share such as "frame_1km" or "video_25km", in percentage points; or "dfd" or "mrd", in km.

    Raises InputError for another metric, and where the scores are not of the same tracks.
    """
    pairs = list(zip(scores, others, strict=False))
    ids = _same([score for pair in pairs for score in pair])
    sides = [[pair[side] for pair in pairs] for side in (0, 1)]
    if metric in MEANS:
        a, b = (_placed([getattr(score, metric) for score in side]) for side in sides)
        return Interval.over(torch.from_numpy((a - b) / _PERCENT), np.arange(a.shape[1]), confidence)
    name, _, threshold = metric.partition("_")
    if name not in ("frame", "video") or not threshold.endswith("km") or "median" in threshold:
        raise InputError(f"no difference of {metric!r} can be had; give a share such as frame_1km, or dfd or mrd")
    errors = [{n: (e, s) for n, e, s in _errors(side, ids)}[name] for side in sides]
    a, b = (e <= float(threshold.removesuffix("km")) for e, _ in errors)
    return Interval.over(torch.from_numpy(a.astype(float) - b), errors[0][1], confidence)


def _same(scores: Sequence[TrackScores]) -> NDArray[np.int64]:
    """The number of each frame's video, which all scores have in common."""
    if not scores:
        raise InputError("no scores: give those of one seed at least")
    ids = scores[0].frame_video
    if any(not np.array_equal(ids, score.frame_video) for score in scores):
        raise InputError("the scores are of other validation tracks or frames; compare runs of one set")
    return ids


def _errors(
    scores: Sequence[TrackScores], ids: NDArray[np.int64]
) -> list[tuple[str, NDArray[np.float64], NDArray[np.int64]]]:
    """The errors of frames and of videos: name, (seeds, n) km, and the number of each one's sequence, (n,)."""
    videos = _placed([score.video_km for score in scores])
    return [
        ("frame", np.stack([score.frame_km for score in scores]), ids),
        ("video", videos, np.arange(videos.shape[1])),
    ]


def _placed(values: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """(seeds, videos) without the videos that have no true coordinate."""
    array = np.stack(values)
    return array[:, np.isfinite(array[0])]


def _within(interval: Interval, highest: float) -> tuple[float, float]:
    return tuple(np.clip((interval.low, interval.high), 0, highest).tolist())


def median(
    values: NDArray[np.float64],
    sequences: NDArray,
    confidence: float = 95,
    minus: NDArray[np.float64] | None = None,
) -> tuple[float, float]:
    """The interval of a median: percentiles of its mean over seeds, with seeds and sequences drawn again.

    Args:
        values: (seeds, n).
        sequences: (n,) whose value each is, ids of any kind that can be sorted.
        minus: the values of another system, of the same seeds and sequences. The interval is then that of the
            difference of the two medians, each draw the same for both.
    """
    number = np.unique(sequences, return_inverse=True)[1]
    drawn = _drawn_medians(values, number)
    if minus is not None:
        drawn -= _drawn_medians(minus, number)
    low, high = np.percentile(drawn, [50 - confidence / 2, 50 + confidence / 2])
    return float(low), float(high)


def _drawn_medians(values: NDArray[np.float64], number: NDArray[np.int64]) -> NDArray[np.float64]:
    """(DRAWS,) the median's mean over seeds in every draw; the draws depend on the shape of `values` alone."""
    generator, seeds = np.random.default_rng(0), len(values)
    order = np.argsort(values, axis=1)
    ordered = np.take_along_axis(values, order, axis=1)
    owners = number[order]  # (seeds, n): whose errors these are, from the smallest error on
    drawn = np.empty(DRAWS)
    count = int(number.max()) + 1
    for k in range(DRAWS):
        weights = np.bincount(generator.integers(count, size=count), minlength=count)
        rows = generator.integers(seeds, size=seeds)
        below = weights[owners[rows]].cumsum(axis=1)
        half = below[:, -1:] / 2
        lower, upper = (below >= half).argmax(axis=1), (below > half).argmax(axis=1)
        drawn[k] = ((ordered[rows, lower] + ordered[rows, upper]) / 2).mean()
    return drawn
