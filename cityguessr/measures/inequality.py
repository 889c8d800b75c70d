"""How evenly samples are spread over classes (supplement, sections 6.2 to 6.4): Lorenz curve, Gini and Hoover."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cityguessr.base.errors import InputError


def lorenz(counts: ArrayLike) -> tuple[NDArray, NDArray]:
    """The Lorenz curve: the share of samples that the smallest classes hold together (supplement, section 6.2).

    Args:
        counts: samples of each class, n numbers of at least 0 in any order, at least one above 0.

    Returns x and y, each (n + 1,) from 0 to 1: the smallest share x of the classes has the share y of the samples.
    """
    values = _sorted(counts)
    x = np.arange(len(values) + 1) / len(values)
    return x, np.concatenate([[0.0], values.cumsum()]) / values.sum()


def gini(counts: ArrayLike) -> float:
    """Gini coefficient (supplement, Eq. 1): 0 for even classes, 1 - 1/n where one of n classes holds all samples.

    Eq. 1 asks for the counts in ascending order; any order will do here.
    """
    values = _sorted(counts)
    n = len(values)
    return float(2 * (np.arange(1, n + 1) * values).sum() / (n * values.sum()) - (n + 1) / n)


def hoover(counts: ArrayLike) -> float:
    """Hoover index (supplement, Eq. 2): the share of samples that would have to move for all classes to be even."""
    values = _sorted(counts)
    return float(0.5 * np.abs(values - values.mean()).sum() / values.sum())


def _sorted(counts: ArrayLike) -> NDArray:
    values = np.sort(np.asarray(counts, dtype=float), axis=None)
    if np.ndim(counts) != 1 or not len(values):
        raise InputError(f"counts of samples are a list of numbers, one per class; got shape {np.shape(counts)}")
    if not np.isfinite(values).all() or values[0] < 0 or values[-1] == 0:
        raise InputError(
            "counts of samples are finite numbers of at least 0 and not all 0; "
            f"these run from {values[0]:g} to {values[-1]:g}"  # NaN sorts last
        )
    return values
