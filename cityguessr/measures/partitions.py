"""How well clips were put into videos: recovered against true ones, and probabilities against what is so."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from torch import Tensor

from cityguessr.base.errors import InputError
from cityguessr.measures.metrics import bootstrap


def adjusted_rand(a: Sequence[object], b: Sequence[object]) -> float:
    """How far two partitions of the same clips agree: 1 where they are the same, about 0 where by chance alone.

    The adjusted index of Hubert and Arabie (1985) over pairs of clips. Raises InputError for different numbers of them.
    """
    if len(a) != len(b) or not len(a):
        raise InputError(f"two partitions of the same clips are needed; got {len(a)} and {len(b)} clips")
    (first, second), n = (np.unique(np.asarray(x, dtype=str), return_inverse=True)[1] for x in (a, b)), len(a)
    cells = np.unique(first * (int(second.max()) + 1) + second, return_counts=True)[1]
    both, one, other = (_pairs(counts) for counts in (cells, np.bincount(first), np.bincount(second)))
    chance, most = one * other / max(1, n * (n - 1) / 2), (one + other) / 2
    return 1.0 if most == chance else float((both - chance) / (most - chance))


def _pairs(counts: np.ndarray) -> float:
    counts = counts.astype(float)
    return float((counts * (counts - 1) / 2).sum())


def detection(found: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """Precision and recall in percent of what was found at each junction, bool (n,), against the truth, bool (n,)."""
    both = float((found & true).sum())
    return {"precision": 100 * both / max(1, found.sum()), "recall": 100 * both / max(1, true.sum())}


def reliability(
    probability: np.ndarray, true: np.ndarray, edges: Sequence[float] = (0, 0.01, 0.05, 0.5, 0.95, 0.99, 1)
) -> pd.DataFrame:
    """How often what has a probability is so: columns low, high, count, stated, observed, lower, upper.

    Args:
        probability: (n,) in [0, 1]; true: bool (n,).
        edges: of the bins of probability; an empty bin is left out.

    `stated` is the mean probability of a bin and `observed` the share that is so, with Wilson's 95 % interval from
    `lower` to `upper`.
    """
    lines = []
    for number, (low, high) in enumerate(itertools.pairwise(edges)):
        inside = (probability > low if number else probability >= low) & (probability <= high)
        if n := int(inside.sum()):
            share, z2 = float(true[inside].mean()), 1.96**2
            centre, half = (share + z2 / 2 / n), 1.96 * np.sqrt(share * (1 - share) / n + z2 / 4 / n**2)
            ends = (centre - half) / (1 + z2 / n), (centre + half) / (1 + z2 / n)
            lines.append((low, high, n, float(probability[inside].mean()), share, *ends))
    return pd.DataFrame(lines, columns=["low", "high", "count", "stated", "observed", "lower", "upper"])


def interval_over(
    hits: Tensor, clips: Sequence[str], partitions: Sequence[Mapping[str, str]], draws: int = 400
) -> tuple[float, float, float]:
    """Accuracy in percent, with an interval over source videos that are themselves uncertain.

    For each partition (clip -> video) the interval of `metrics.bootstrap`; the ends are those of the widest reach, the
    lowest and the highest. With one partition it is that partition's interval.

    Args:
        hits: whether each clip is right, (N,) or (seeds, N).
        clips: the ids of the N clips.
        partitions: as `Recovery.draws` gives them.
        draws: resamples for each partition.

    Raises InputError where there is no partition, or one lacks a clip.
    """
    if not partitions or any(clip not in partition for partition in partitions for clip in clips):
        raise InputError("every partition needs a video for each clip; recover the videos of these clips again")
    each = [bootstrap(hits, [videos[clip] for clip in clips], draws, seed) for seed, videos in enumerate(partitions)]
    return each[0][0], min(low for _, low, _ in each), max(high for _, _, high in each)
