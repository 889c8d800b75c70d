"""Numbers that the paper leaves out: calibration, error in km, how certain a difference is. Pure functions of tensors.

Clips cut from one source video are not independent, so intervals resample whole videos (a cluster bootstrap). They say
how much an accuracy, or a difference of two, would move with other videos to validate on, the trained models as they
are. How much it would move with other trainings too is what `measures.intervals` says.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from cityguessr.base.errors import InputError
from cityguessr.measures.sphere import great_circle_km
from cityguessr.taxonomy import Taxonomy

THRESHOLDS_KM: Mapping[str, float] = {"city": 25, "region": 200, "country": 750, "continent": 2500}
"""Radii in km that count as right at each granularity (Hays and Efros, Im2GPS, CVPR 2008; Vo et al., ICCV 2017)."""

_CHUNK = 200_000  # resampled indices held at a time


def calibration_error(probabilities: Tensor, labels: Tensor, bins: int = 15) -> float:
    """Expected calibration error of the most probable class, in percent (Guo et al., ICML 2017, Eq. 3).

    Clips are sorted by the probability p of their likeliest class into bins of equal width, ((m - 1) / bins, m / bins];
    the error is the mean over clips of |share that is right - mean p| of their bin. A calibrated system has 0, one that
    is always certain and always wrong 100.

    Args:
        probabilities: (N, n), each in [0, 1]; rows need not add up to 1 (the products of Eq. 5 do not).
        labels: (N,) class ids.

    Raises InputError where there are no clips, shapes do not match, or the numbers are no probabilities.
    """
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1] or not len(labels) or bins < 1:
        raise InputError(
            f"calibration needs probabilities (N, n), labels (N,) and at least one bin, N at least 1; "
            f"got {tuple(probabilities.shape)}, {tuple(labels.shape)} and {bins} bins"
        )
    values = probabilities.detach().double()
    if not ((values >= 0) & (values <= 1 + 1e-6)).all():  # false for NaN too
        raise InputError("calibration needs probabilities in [0, 1]; apply a softmax to logits first")
    confidence, predicted = values.max(dim=1)
    right = (predicted == labels.to(predicted.device)).double()
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64, device=values.device)[1:-1]
    index = torch.bucketize(confidence, edges)
    gap = torch.zeros(bins, dtype=torch.float64, device=values.device).index_add_(0, index, right - confidence)
    return 100 * gap.abs().sum().item() / len(labels)


def clip_places(gps: Tensor | None, labels: Tensor, taxonomy: Taxonomy) -> Tensor:
    """Where each clip was taken: its recorded coordinates where there are any, else the centre of its true city.

    Args:
        gps: (N, 2) latitude and longitude in degrees, NaN where unknown; None where no clip has coordinates.
        labels: (N,) true city ids.

    Returns float64 (N, 2) degrees; NaN where the taxonomy has no centre either. Raises InputError where the shapes do
    not match.
    """
    centres = taxonomy.latlon[labels.cpu()]
    if gps is None:
        return centres
    if gps.shape != centres.shape:
        raise InputError(f"coordinates are (N, 2), one row per label; got {tuple(gps.shape)} for {len(labels)} labels")
    recorded = gps.detach().cpu().double()
    return torch.where(recorded.isfinite().all(dim=1, keepdim=True), recorded, centres)


def distances_km(predicted: Tensor, places: Tensor, taxonomy: Taxonomy) -> Tensor:
    """Great-circle distance from the centre of each predicted city to the place of its clip.

    Args:
        predicted: (N,) city ids.
        places: (N, 2) latitude and longitude in degrees, as from `clip_places`.

    Returns float64 (N,) km; NaN where either place is unknown. Raises InputError where the shapes do not match.
    """
    if places.shape != (len(predicted), 2):
        raise InputError(f"places are (N, 2), one row per prediction; got {tuple(places.shape)} for {len(predicted)}")
    centres = taxonomy.latlon[predicted.cpu()]
    return torch.from_numpy(great_circle_km(centres.numpy(), places.detach().cpu().double().numpy()))


def distance_summary(distances: Tensor) -> dict[str, float]:
    """Error in km as the field reports it: the median, and the share of clips within 25, 200, 750 and 2500 km.

    Args:
        distances: (N,) km; NaN, an unknown place, is left out of both.

    Returns `median_km` in km, and `within_25km`, `within_200km`, `within_750km`, `within_2500km` in percent; empty
    where no distance is known.
    """
    known = distances[~distances.isnan()].double()
    if not len(known):
        return {}
    shares = {f"within_{km:g}km": 100 * (known <= km).double().mean().item() for km in THRESHOLDS_KM.values()}
    return {"median_km": known.quantile(0.5).item()} | shares


def bootstrap(
    hits: Tensor, groups: Sequence[object] | Tensor, draws: int = 2000, seed: int = 0, confidence: float = 95
) -> tuple[float, float, float]:
    """Accuracy of one system in percent, with a percentile bootstrap interval over source videos.

    See `paired_bootstrap` for the arguments. Returns (accuracy, low, high).
    """
    return _interval(_per_clip(hits, "hits"), groups, draws, seed, confidence)


def paired_bootstrap(
    hits_a: Tensor,
    hits_b: Tensor,
    groups: Sequence[object] | Tensor,
    draws: int = 2000,
    seed: int = 0,
    confidence: float = 95,
) -> tuple[float, float, float]:
    """How much better system a is than b on the same clips, in percentage points, with a paired bootstrap interval.

    A draw takes as many source videos as there are, with replacement, all clips of each; both systems are scored on the
    same draw (Efron and Tibshirani 1993, percentile interval; whole clusters as in Davison and Hinkley 1997, 3.8).
    Several seeds of a system are averaged clip by clip first and not resampled.

    Args:
        hits_a, hits_b: whether each clip is right, bool or float in [0, 1], (N,) or (seeds, N); the clips in the same
            order. The systems may have different numbers of seeds.
        groups: the source video of each clip, N ids of any kind that can be sorted.
        draws: how many resamples.
        seed: of the resampling; the same seed draws the same videos for every comparison.
        confidence: that of the interval, in percent.

    Returns (difference, low, high) in percentage points; low and high are NaN where all clips come from one video.
    Raises InputError where there are no clips, or numbers of clips do not match.
    """
    a, b = _per_clip(hits_a, "hits_a"), _per_clip(hits_b, "hits_b")
    if a.shape != b.shape:
        raise InputError(f"a paired comparison needs the same clips; got {len(a)} and {len(b)}")
    return _interval(a - b, groups, draws, seed, confidence)


def _per_clip(hits: Tensor, name: str) -> Tensor:
    """(N,) or (seeds, N) -> float64 (N,), the mean over seeds."""
    values = torch.as_tensor(hits).detach().cpu().double()
    if values.ndim not in (1, 2) or not values.numel():
        raise InputError(f"{name} must be (N,) or (seeds, N) and not empty; got shape {tuple(values.shape)}")
    if not values.isfinite().all():
        raise InputError(f"{name} has values that are not finite numbers; a clip is right (1) or not (0)")
    return values if values.ndim == 1 else values.mean(dim=0)


def _interval(
    values: Tensor, groups: Sequence[object] | Tensor, draws: int, seed: int, confidence: float
) -> tuple[float, float, float]:
    """Mean of values (N,), and the interval of its means over resampled groups, all times 100."""
    ids = groups.cpu().numpy() if isinstance(groups, Tensor) else np.asarray(groups)
    if ids.shape != values.shape:
        raise InputError(f"one source video per clip is needed: got {ids.shape} for {len(values)} clips")
    if draws < 1 or not 0 < confidence < 100:
        raise InputError(f"draws={draws}, confidence={confidence}: give at least 1 draw, and 0 to 100 percent")
    index = torch.from_numpy(np.unique(ids, return_inverse=True)[1].ravel())
    count = int(index.max()) + 1
    # A draw needs only the sum and the number of clips of each video, so the clips themselves are never copied.
    sums = torch.zeros(count, dtype=torch.float64).index_add_(0, index, values)
    clips = torch.bincount(index, minlength=count).double()
    mean = 100 * values.mean().item()
    if count == 1:
        return mean, float("nan"), float("nan")
    means = torch.cat([100 * sums[drawn].sum(1) / clips[drawn].sum(1) for drawn in _draws(count, draws, seed)])
    tail = (1 - confidence / 100) / 2
    low, high = means.quantile(torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return mean, round(low, 9), round(high, 9)  # an end that is zero but for rounding must not exclude it


def _draws(count: int, draws: int, seed: int) -> Iterator[Tensor]:
    """Resampled group indices, (some draws, count) at a time."""
    generator = torch.Generator().manual_seed(seed)
    step = max(1, _CHUNK // count)
    for start in range(0, draws, step):
        yield torch.randint(count, (min(step, draws - start), count), generator=generator)
