"""Does a difference of the default world survive a larger one? Kept tables of the profile midi beside one's own."""

from pathlib import Path

import pandas as pd

from cityguessr.base import paths
from cityguessr.base.errors import InputError

LARGER = "midi"
"""The profile whose tables are kept beside the default's, in `figures/midi/tables/`."""

SAME, OPPOSITE, OPEN = "same direction", "opposite", "undecided"

_KEY = ["row", "clips_of", "level"]


def kept(table: str, what: str = "_differences", folder: Path | None = None) -> pd.DataFrame:
    """A kept table of the larger world, as it was written. Raises InputError where there is none."""
    path = (folder or paths.figures(LARGER) / "tables") / f"{table}{what}.csv"
    if not path.is_file():
        raise InputError(f"{path}: not there; run the page with profile {LARGER!r}, which takes an hour or two in all")
    return pd.read_csv(path)


def beside(
    differences: pd.DataFrame, table: str, levels: tuple[str, ...] = ("city",), folder: Path | None = None
) -> pd.DataFrame:
    """Differences of a table beside those of the larger world, row by row.

    Args:
        differences: of this scale, as from `Results.differences`.
        folder: where the kept tables stand.

    Columns: row, label, clips_of, level; difference, low, high here; difference_midi, low_midi, high_midi there, in
    percentage points of top-1, with intervals of 95 %; and `both`: "same direction" or "opposite" where both
    intervals exclude zero, else "undecided". A row that the larger world lacks has NaN there.
    """
    there = kept(table, folder=folder)[[*_KEY, "difference", "low", "high"]]
    here = differences.loc[
        differences["level"].isin(levels), [*_KEY[:1], "label", *_KEY[1:], "difference", "low", "high"]
    ]
    frame = here.merge(there, on=_KEY, how="left", suffixes=("", f"_{LARGER}"))
    return frame.assign(both=[_both(line) for line in frame.to_dict("records")])


def disagreements(frame: pd.DataFrame) -> str:
    """What `beside` found, in a sentence: how many differences both worlds decide, and those that they decide apart."""
    decided = frame[frame["both"] != OPEN]
    apart = decided[decided["both"] == OPPOSITE]
    if not len(decided):
        return f"No difference of these {len(frame)} is decided on both worlds."
    text = f"{len(decided)} of {len(frame)} differences are decided on both worlds, "
    if not len(apart):
        return text + "all in the same direction."
    named = "; ".join(f"{x.label}, {x.clips_of} videos, {x.level}" for x in apart.itertuples())
    return text + f"{len(apart)} of them in opposite directions: {named}."


def _both(line: dict[str, float]) -> str:
    signs = [1 if line[f"low{suffix}"] > 0 else -1 if line[f"high{suffix}"] < 0 else 0 for suffix in ("", f"_{LARGER}")]
    if 0 in signs:
        return OPEN
    return SAME if signs[0] == signs[1] else OPPOSITE
