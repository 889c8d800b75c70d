"""The columns of the long frames that tables and plots share, and what their metrics are called."""

import itertools
from collections.abc import Iterable

import pandas as pd

from cityguessr.base.errors import InputError

REFERENCE = "cityguessr"
"""The full model, which other rows are compared with."""

COLUMNS = ("table", "row", "label", "metric", "level", "paper", "measured", "std", "n_seeds", "profile", "state")
METRICS = {
    "top1": "top-1 accuracy (%)",
    "top5": "top-5 accuracy (%)",
    "conflict_rate": "conflict rate (%)",
    "ece": "expected calibration error (%)",
    "median_km": "median error (km)",
    "within_25km": "clips within 25 km (%)",
    "within_200km": "clips within 200 km (%)",
    "within_750km": "clips within 750 km (%)",
    "within_2500km": "clips within 2500 km (%)",
}
"""Metric id -> how a heading or an axis calls it; another metric goes by its id."""

DIFFERENCES = ("row", "label", "level", "difference", "low", "high")
"""Columns of a frame of differences: percentage points of top-1; NaN where two systems cannot be compared."""


def common_words(labels: Iterable[str]) -> str:
    """The words that all labels begin with."""
    words = itertools.takewhile(lambda column: len(set(column)) == 1, zip(*(x.split() for x in labels), strict=False))
    return " ".join(column[0] for column in words)


def lower_is_better(metric: str) -> bool:
    """Whether a smaller value is the better one: errors in km, calibration error, conflicts, trajectory distances."""
    return "median" in metric or metric in {"ece", "conflict_rate", "dfd", "mrd"}


def check_differences(differences: pd.DataFrame, rows: Iterable[str], reference: str) -> None:
    """Raise InputError where a frame of differences lacks a column, or it or the reference has a row not in `rows`."""
    if absent := [name for name in DIFFERENCES if name not in differences.columns]:
        raise InputError(
            f"a frame of differences has the columns {', '.join(DIFFERENCES)}; this one has no {', '.join(absent)}"
        )
    known = dict.fromkeys(rows)
    for row in (reference, *differences["row"]):
        if row not in known:
            raise InputError(f"differences: the table has no row {row!r}; it has {', '.join(known)}")
