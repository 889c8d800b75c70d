"""The columns of the long frames that tables and plots share, and what their metrics are called."""

import itertools
from collections.abc import Iterable

import pandas as pd

from cityguessr import paper
from cityguessr.base.errors import InputError, one_of

REFERENCE = "cityguessr"
"""The full model, which other rows are compared with."""

COLUMNS = ("table", "row", "label", "metric", "level", "paper", "measured", "std", "n_seeds", "profile", "state")
UNSEEN = "_unseen"
"""How the id of a metric ends that counts the clips of source videos held out entirely, if there are any."""

METRICS = {
    "top1": "top-1 accuracy (%)",
    "top5": "top-5 accuracy (%)",
    "top1_unseen": "top-1 accuracy (%)",
    "top5_unseen": "top-5 accuracy (%)",
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

OWN_TABLES = {"controls": "Controls: each part of the method beside a stand-in"}
"""Table id -> title, of the tables that the paper lacks."""


def title(table: str) -> str:
    """What a table is called. Raises InputError for a table that neither the paper nor this project has."""
    titles = {**paper.TITLES, **OWN_TABLES}
    if table not in titles:
        raise one_of("table", table, titles)
    return titles[table]


def printed_rows(table: str) -> list[tuple[str, str]]:
    """The rows of a table that the paper prints, as `paper.rows`: none of a table of `OWN_TABLES`."""
    return [] if table in OWN_TABLES else paper.rows(table)


def part_of(differences: pd.DataFrame, part: str) -> pd.DataFrame:
    """The lines of a frame of differences on "seen", "unseen" or "all" clips; without a column `clips_of` it is all."""
    if "clips_of" not in differences.columns:
        return differences if part == "all" else differences.iloc[:0]
    return differences[differences["clips_of"] == part]


def shown_parts(differences: pd.DataFrame) -> list[str]:
    """The parts that a table shows: seen and unseen clips beside each other, or all where they are of one kind."""
    there = [part for part in ("seen", "unseen") if len(part_of(differences, part))]
    return there or ["all"]


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
