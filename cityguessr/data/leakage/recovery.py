"""Which long video each clip was cut from, where a release does not say: recovered, with the probability of each link.

A junction between two clips is either *whole* (one video runs on) or a *cut* (another video begins). Distances of
frames across whole junctions should be spread as those between neighbouring frames within clips, and across cuts as
those between clips far apart in the same city (`junctions`). Both spreads are smoothed to densities, how many of the
junctions are whole is estimated by expectation maximisation, and Bayes' rule gives each junction its probability.

What this rests on: that clips were cut one after another, without a pause between them. Where they were not, junctions
fit neither spread, which `Recovery.misfit` shows.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from cityguessr.base.errors import InputError
from cityguessr.base.files import write_csv
from cityguessr.base.tables import read_rows
from cityguessr.data.leakage.junctions import Distances
from cityguessr.data.sources import ClipRef

TABLE = "recovered_videos.csv"
COLUMNS = ("clip", "video", "split", "probability")
DOUBT = (0.05, 0.95)  # a junction whose probability lies between these is in doubt

_POINTS = 3000  # of a sample, for its smoothed density
_STRAY = 0.01  # share of either spread that may lie anywhere, so that no single frame is proof
_LEAST = 1e-4  # a distance, before its logarithm is taken


class Source(Protocol):
    """A release: it lists clips, and can be had with other source videos."""

    def clips(self) -> list[ClipRef]:
        """Every listed clip."""
        ...

    def with_videos(self, videos: Mapping[str, str]) -> Source:
        """The same with other source videos, clip -> video."""
        ...


class Spread:
    """The smoothed density of a sample of distances: Gaussian kernels on their logarithms, of Scott's width.

    A share of `_STRAY` is spread widely, over what both samples cover and beyond: a junction far from both, as a change
    of exposure or a black frame makes it, is evidence for neither.
    """

    def __init__(self, sample: np.ndarray, wide: tuple[np.ndarray, np.ndarray]) -> None:
        """`sample` float64 (n, k), logarithms; `wide`, the mean and standard deviation (k,) of the wide part."""
        if len(sample) > _POINTS:
            sample = sample[np.random.default_rng(0).choice(len(sample), _POINTS, replace=False)]
        self._points, self._wide = sample, wide
        quartiles = np.quantile(sample, [0.25, 0.75], axis=0)
        spread = np.minimum(sample.std(axis=0), (quartiles[1] - quartiles[0]) / 1.349)
        spread = np.where(spread > 0, spread, np.maximum(sample.std(axis=0), 1e-3))
        self._width = spread * len(sample) ** (-1 / (sample.shape[1] + 4))

    def log_density(self, values: np.ndarray) -> np.ndarray:
        """float64 (m, k), logarithms of distances -> (m,)."""
        parts = [_kernels(part, self._points, self._width) for part in np.array_split(values, len(values) // 500 + 1)]
        centre, width = self._wide
        wide = _kernels(values, centre[None], width)
        return np.log((1 - _STRAY) * np.concatenate(parts) + _STRAY * wide)


def _kernels(values: np.ndarray, points: np.ndarray, width: np.ndarray) -> np.ndarray:
    """The mean of Gaussians at `points` (n, k) of `width` (k,), at each of `values` (m, k): (m,)."""
    squares = sum(((values[:, i, None] - points[None, :, i]) / width[i]) ** 2 for i in range(len(width)))
    return np.exp(-0.5 * squares).mean(1) / np.prod(width * np.sqrt(2 * np.pi))


@dataclasses.dataclass(frozen=True)
class Recovery:
    """Every junction with its probability of being whole.

    Attributes:
        junctions: as `Distances.junctions`, and three columns: tested (whether it has distances), evidence (natural
            logarithm of the likelihood ratio, whole against cut; 0 where not tested), probability (that this clip and
            the one before it are of one video; 0 for the first of a run).
        whole: the estimated share of tested junctions that are whole.
        misfit: how far the tested junctions are from any mixture of the two spreads, from 0 to 1: the largest
            difference of the cumulative shares over the distances (Kolmogorov and Smirnov's).
        noise: what `misfit` would be exceeded by in 1 of 100 samples of this size that do fit.
    """

    junctions: pd.DataFrame
    whole: float
    misfit: float
    noise: float

    @property
    def links(self) -> pd.DataFrame:
        """The junctions alone: without the first clip of each run."""
        return self.junctions[self.junctions["gap"] > 0]

    @property
    def in_doubt(self) -> pd.DataFrame:
        """The junctions whose probability lies between 0.05 and 0.95, the most doubtful first."""
        links = self.links
        doubtful = links[links["probability"].between(*DOUBT)]
        return doubtful.iloc[(doubtful["probability"] - 0.5).abs().argsort(kind="stable")]

    def expected_videos(self) -> tuple[float, float]:
        """How many videos the clips come from: the expected number, and its standard deviation from these doubts."""
        p = self.links["probability"].to_numpy()
        return float(len(self.junctions) - p.sum()), float(np.sqrt((p * (1 - p)).sum()))

    def videos(self, threshold: float = 0.5) -> dict[str, str]:
        """Clip -> recovered video: clips are chained where the probability is above the threshold."""
        return self._chain(self.junctions["probability"].to_numpy() > threshold)

    def draws(self, count: int = 20, seed: int = 0) -> list[dict[str, str]]:
        """Clip -> video, `count` times, each junction whole or cut at random by its probability.

        What holds over all of them does not hang on the junctions in doubt.
        """
        rng, p = np.random.default_rng(seed), self.junctions["probability"].to_numpy()
        return [self._chain(rng.random(len(p)) < p) for _ in range(count)]

    def _chain(self, linked: np.ndarray) -> dict[str, str]:
        """A video is named for its run and its first clip's number: `Lyon_r0012`."""
        videos, name = {}, ""
        for clip, run, number, joined in zip(
            self.junctions["clip"], self.junctions["run"], self.junctions["number"], linked, strict=True
        ):
            name = name if joined else f"{run}_r{number:04d}"
            videos[clip] = name
        return videos


def recover(distances: Distances) -> Recovery:
    """The probability of each junction from the three samples of distances.

    An untested junction gets what is known without its frames: the estimated share of whole junctions, to the power of
    the gap in the numbers (all junctions that it spans must be whole).

    Raises InputError where there are too few clips for densities.
    """
    if min(len(distances.within), len(distances.apart)) < 10:
        raise InputError(
            f"{len(distances.within)} distances within clips and {len(distances.apart)} between clips far apart: "
            "too few for their spreads, 10 of each at least; give more clips, four or more of a city"
        )
    names = list(distances.names)
    within, apart = (np.log(np.maximum(sample, _LEAST)) for sample in (distances.within, distances.apart))
    across = np.log(np.maximum(distances.junctions[names].to_numpy(float), _LEAST))
    tested = np.isfinite(across).all(axis=1)
    both = np.concatenate([within, apart])
    wide = both.mean(axis=0), 2 * both.std(axis=0) + 1e-3
    evidence = np.zeros(len(across))
    if tested.any():
        whole_density, cut_density = (Spread(sample, wide).log_density(across[tested]) for sample in (within, apart))
        evidence[tested] = whole_density - cut_density
    share = whole_share(evidence[tested])
    gap = distances.junctions["gap"].to_numpy()
    probability = np.where(tested, posterior(evidence, share), share ** np.maximum(gap, 1))
    probability = np.where(gap > 0, probability, 0.0)
    table = distances.junctions.assign(tested=tested, evidence=evidence, probability=probability)
    misfit = max((_misfit(across[tested, i], within[:, i], apart[:, i], share) for i in range(len(names))), default=0.0)
    sizes = 1 / max(1, tested.sum()) + share**2 / len(within) + (1 - share) ** 2 / len(apart)
    noise = np.sqrt(np.log(2 * len(names) / 0.01) / 2 * sizes)  # Kolmogorov's limit, for k distances at a time
    return Recovery(table, share, misfit, float(noise))


def true_links(recovery: Recovery, clips: Iterable[ClipRef]) -> np.ndarray:
    """Which of `Recovery.links` are whole by what the source itself says: bool, one per junction.

    Args:
        clips: those that were recovered, of a source that knows its videos.
    """
    known = {clip.clip_id: clip.video_id for clip in clips}
    videos = recovery.junctions["clip"].map(known)
    return (videos == videos.shift())[recovery.junctions["gap"] > 0].to_numpy()


def whole_share(evidence: np.ndarray) -> float:
    """The share of junctions that are whole, by expectation maximisation from their log likelihood ratios (n,).

    The maximum-likelihood weight of two known densities (Dempster, Laird and Rubin 1977); a half where there are none.
    It stays one junction's worth away from 0 and 1.
    """
    share = 0.5
    for _ in range(500):
        if not len(evidence):
            break
        new = (posterior(evidence, share).sum() + 0.5) / (len(evidence) + 1)
        if abs(new - share) < 1e-9:
            break
        share = new
    return float(share)


def posterior(evidence: np.ndarray, share: float) -> np.ndarray:
    """The probability of whole, by Bayes' rule, from log likelihood ratios and the share of whole junctions."""
    return 1 / (1 + np.exp(-np.clip(evidence + np.log(share / (1 - share)), -500, 500)))


def _misfit(across: np.ndarray, within: np.ndarray, apart: np.ndarray, share: float) -> float:
    """The largest difference of cumulative shares between junctions and the mixture of the two samples."""
    if not len(across):
        return 0.0
    at = np.sort(across)
    mixture = share * _below(within, at) + (1 - share) * _below(apart, at)
    return float(np.abs(np.arange(1, len(at) + 1) / len(at) - mixture).max())


def _below(sample: np.ndarray, at: np.ndarray) -> np.ndarray:
    return np.searchsorted(np.sort(sample), at, side="right") / len(sample)


def write_table(folder: str | os.PathLike[str], recovery: Recovery, threshold: float = 0.5) -> Path:
    """Write `recovered_videos.csv`: clip, video, split, and the probability of the junction before the clip."""
    path, videos = Path(folder) / TABLE, recovery.videos(threshold)
    rows = recovery.junctions[["clip", "split", "probability"]].itertuples(index=False)
    lines = [(row.clip, videos[row.clip], row.split, f"{row.probability:.6f}") for row in rows]
    write_csv(path, [COLUMNS, *lines])
    return path


def read_table(path: str | os.PathLike[str]) -> dict[str, str]:
    """Clip -> video, from a `recovered_videos.csv`.

    Raises InputError, naming file and line, for a clip without a video, one that is listed twice, and a probability
    that is none.
    """
    videos: dict[str, str] = {}
    for line, row in read_rows(path, COLUMNS):
        where = f"{path}, line {line}"
        if not row["clip"] or not row["video"]:
            raise InputError(f"{where}: no name of a clip or of a video; correct the line or write the table again")
        if row["clip"] in videos:
            raise InputError(f"{where}: {row['clip']} is listed already; keep one of its lines")
        try:
            good = 0 <= float(row["probability"]) <= 1
        except ValueError:
            good = False
        if not good:
            raise InputError(f"{where}: the probability {row['probability']!r} is not from 0 to 1; correct the line")
        videos[row["clip"]] = row["video"]
    return videos


def knows_videos(clips: Sequence[ClipRef]) -> bool:
    """Whether a source says which clips come from one video: where it does not, each clip is a video of its own."""
    return len({clip.video_id for clip in clips}) < len(clips)


def applied(source: Source, folder: str | os.PathLike[str]) -> Source:
    """The source with the videos that `folder` has a table of, if it does not know them itself; else as it is."""
    table = Path(folder) / TABLE
    if not table.is_file() or knows_videos(source.clips()):
        return source
    return source.with_videos(read_table(table))


def with_videos(clips: Iterable[ClipRef], videos: Mapping[str, str]) -> list[ClipRef]:
    """The same clips with the recovered videos. Raises InputError for a clip that the table lacks."""
    clips = list(clips)
    missing = [clip.clip_id for clip in clips if clip.clip_id not in videos]
    if missing:
        raise InputError(
            f"{len(missing):,} of {len(clips):,} clips have no recovered video, the first {missing[0]}; the table was "
            "made of other clips, recover the videos again"
        )
    return [dataclasses.replace(clip, video_id=videos[clip.clip_id]) for clip in clips]
