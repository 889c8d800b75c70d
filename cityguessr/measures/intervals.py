"""How certain a mean over seeds and clips is: what would come out with other trainings and other source videos.

A difference of two systems is measured with a few seeds on the clips of some hundred videos. Both are samples, and
they cross: every seed answers every clip. `Interval.over` takes them as two-way random effects without replication,

    difference(seed, video) = mean + seed + video + rest.

With n seeds and V videos, the spread of the n seeds' means gives A = var(seed)/n + var(rest)/(nV), the spread of the V
videos' means B = var(video)/V + var(rest)/(nV), and what neither explains C = var(rest)/(nV). The variance of the grand
mean is A + B - C (Searle, Casella and McCulloch 1992, 4.3), never less than B. Three or five seeds know their spread
badly, so the interval takes Student's t, with the degrees of freedom of Satterthwaite (1946).

It was held against three other ways on 600 simulated comparisons each, of 660 videos of two clips, of which 30 % are
answered differently; the seeds' own standard deviation is 0, 0.5, 1 or 2 points. An interval of 95 % should cover the
truth in 95 of 100 (columns: 3 seeds; 5 seeds):

    this one                      97, 97, 97, 94;  96, 97, 97, 96      half-width 2.8 to 4.8; 2.0 to 2.9
    crossed bootstrap, percentile 99, 99, 98, 95;  98, 99, 99, 97      half-width 2.7 to 3.2; 2.3 to 2.8
    seeds alone, Student's t      93, 91, 94, 94;  89, 90, 91, 94      half-width 3.2 to 5.4; 1.7 to 2.9
    videos alone                  95, 95, 91, 81;  95, 94, 93, 83      half-width 2.0;        1.7

Videos alone is all that one seed allows. It says nothing of other trainings. The crossed bootstrap (Owen 2007) counts
the rest three times. That makes up for few seeds where the seeds' own spread is large; where it is small, the interval
is wider by a sixth than five seeds need.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from cityguessr.base.errors import InputError

ONE_SEED = "one seed: not the spread of trainings"
"""What stands beside every interval of a single seed."""

_TINY = 1e-9  # percentage points; less is rounding


@dataclasses.dataclass(frozen=True)
class Interval:
    """A mean over seeds and clips, and how certain it is.

    Attributes:
        mean, low, high: in percent, or percentage points of a difference; low and high are NaN for a single video.
        p: two-sided, of the hypothesis that the mean is 0; NaN for a single video.
        error: the standard error of the mean.
        freedom: degrees of freedom of the t distribution, at least 1; NaN for a single video.
        seed_sd: sample standard deviation of the seeds' means; NaN with one seed.
        seeds, clips, videos: how many there are.
    """

    mean: float
    low: float
    high: float
    p: float
    error: float
    freedom: float
    seed_sd: float
    seeds: int
    clips: int
    videos: int

    @classmethod
    def over(cls, values: Tensor, videos: Sequence[object] | Tensor, confidence: float = 95) -> Interval:
        """The mean of values with the interval that crosses seeds and source videos, all times 100.

        Args:
            values: (seeds, N), or (N,) for one seed: whether each clip is right, or the difference of two systems in
                that, where a seed of one is paired with the same seed of the other.
            videos: the source video of each clip, N ids of any kind that can be sorted; those of the clips themselves
                where no source videos are known. The interval is then one over clips, and too narrow where clips were
                cut from one video: by the square root of 1 + (clips per video - 1) times their correlation.
            confidence: in percent.

        Raises InputError where there are no clips, their number does not match, or a value is not finite.
        """
        x, index = _checked(values, videos, confidence)
        (n, clips), count = x.shape, int(index.max()) + 1
        mean, seed_means = x.mean(), x.mean(axis=1)
        seed_sd = float(seed_means.std(ddof=1)) if n > 1 else math.nan
        if count == 1:
            return cls(float(mean), *[math.nan] * 5, seed_sd, n, clips, count)
        # What each video adds to the mean of each seed, scaled so that the row's mean is the seed's deviation.
        parts = np.stack([np.bincount(index, weights=row - mean, minlength=count) for row in x]) * count / clips
        error, freedom = _error(parts)
        error = 0.0 if error < _TINY else error
        mean = 0.0 if abs(mean) < _TINY else float(mean)
        half = stats.t.ppf(0.5 + confidence / 200, freedom) * error
        low, high = (round(end, 9) for end in (mean - half, mean + half))  # dust must not decide a claim
        p = float(2 * stats.t.sf(abs(mean) / error, freedom)) if error else float(mean == 0)
        return cls(mean, low, high, p, error, freedom, seed_sd, n, clips, count)

    @property
    def detectable(self) -> float:
        """The true difference that would be found with 80 % power at 5 %: 2.8 standard errors, more with few seeds."""
        return float(stats.t.ppf(0.975, self.freedom) + stats.t.ppf(0.8, self.freedom)) * self.error

    @property
    def over_clips(self) -> bool:
        """Whether every clip counted as a video of its own, as where source videos are not known."""
        return self.clips == self.videos


def _checked(values: Tensor, videos: Sequence[object] | Tensor, confidence: float) -> tuple[NDArray, NDArray]:
    """Values in percent, float64 (seeds, N), and the number of each clip's video, (N,)."""
    x = torch.as_tensor(values).detach().cpu().double().numpy()
    if x.ndim not in (1, 2) or not x.size:
        raise InputError(f"values must be (N,) or (seeds, N) and not empty; got shape {x.shape}")
    if not np.isfinite(x).all():
        raise InputError("some values are not finite numbers; a clip is right (1) or not (0)")
    if not 0 < confidence < 100:
        raise InputError(f"confidence={confidence}: give more than 0 and less than 100 percent")
    x = 100 * np.atleast_2d(x)
    ids = videos.cpu().numpy() if isinstance(videos, Tensor) else np.asarray(videos)
    if ids.shape != x.shape[1:]:
        raise InputError(f"one source video per clip is needed: got {ids.shape} for {x.shape[1]} clips")
    return x, np.unique(ids, return_inverse=True)[1].ravel()


def _error(parts: NDArray) -> tuple[float, float]:
    """Standard error of the grand mean, and its degrees of freedom, of what videos add to seeds: (seeds, videos)."""
    n, count = parts.shape
    of_seeds, of_videos = parts.mean(axis=1), parts.mean(axis=0)
    b = of_videos.var(ddof=1) / count
    if n == 1:
        return math.sqrt(b), count - 1.0
    a = of_seeds.var(ddof=1) / n
    rest = parts - of_seeds[:, None] - of_videos + parts.mean()
    c = (rest**2).sum() / ((n - 1) * (count - 1)) / (n * count)
    variance = max(a + b - c, b)
    if variance < _TINY**2:
        return 0.0, count - 1.0
    return math.sqrt(variance), max(1.0, variance**2 / (a**2 / (n - 1) + b**2 / (count - 1)))


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted p-values of a list of claims, by Holm's step-down method (1979).

    Those at most 0.05 are rejected together with at most 5 % risk of a single false one. NaN, a claim that was not
    tested, stays NaN and does not count.
    """
    known = sorted((value, i) for i, value in enumerate(p) if not math.isnan(value))
    adjusted, highest = [math.nan] * len(p), 0.0
    for rank, (value, i) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - rank) * value))
        adjusted[i] = highest
    return adjusted
