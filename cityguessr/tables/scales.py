"""Does a difference survive on a world of another size? Tables of the default beside those of a larger MiniWorld.

The other world's tables are a reader's own where they were made here, and otherwise those in git (`paths.rendered`).
"""

import os
from pathlib import Path

import pandas as pd
from pandas.io.formats.style import Styler

from cityguessr.base import paths
from cityguessr.base.errors import InputError
from cityguessr.tables import formats
from cityguessr.tables.table import Table

DEFAULT, LARGER = "mini", "midi"
"""The two profiles whose tables are kept in git, in `figures/tables/` and `figures/midi/tables/`."""

SAME, OPPOSITE, OPEN = "same direction", "opposite", "undecided"

_KEY = ["row", "clips_of", "level"]
_THERE = {"difference": "there", "low": "low_there", "high": "high_there"}


def beside(table: Table, levels: tuple[str, ...] = ("city",), folder: Path | None = None) -> pd.DataFrame:
    """Differences of a table beside those of the same table of the other world, row by row.

    The other world is the larger one, `midi`; for a table of `midi` itself it is the default.

    Args:
        folder: where the other world's tables stand, in place of the project's.

    Columns: row, label, clips_of, level; difference, low, high of this table and there, low_there, high_there of the
    other one, in percentage points of top-1 with intervals of 95 %; and `both`: "same direction" or "opposite" where
    both intervals exclude zero, else "undecided". What the other table lacks, or all of it where there is none (such as
    in another mode of evaluation), has no line.
    """
    here = table.differences
    if here is None:
        raise InputError("this table was made without differences; `tables.build` takes them from the runs")
    here = here.loc[here["level"].isin(levels), ["row", "label", *_KEY[1:], "difference", "low", "high"]]
    path = _of_other(f"{table.file_name}_differences.csv", _profile(table), folder)
    kept = pd.read_csv(path) if path.is_file() else here.iloc[:0]
    frame = here.merge(kept[[*_KEY, *_THERE]].rename(columns=_THERE), on=_KEY, how="inner")
    return frame.assign(both=[_both(line) for line in frame.to_dict("records")])


def compared(table: Table, levels: tuple[str, ...] = ("city",), folder: Path | None = None) -> str:
    """What `beside` finds, in a sentence: how many differences both worlds decide, and those that they decide apart."""
    other, frame = _other(_profile(table)), beside(table, levels, folder)
    path = _of_other(f"{table.file_name}_differences.csv", _profile(table), folder)
    if path.is_relative_to(paths.runs()):
        other = f"{other} (your own table, {os.path.relpath(path, paths.root())})"
    if not len(frame):
        return f"Of profile {other} no such table is kept: {table.file_name} has not been made with it."
    decided = frame[frame["both"] != OPEN]
    if not len(decided):
        return f"Of these {len(frame)} differences none is decided both here and on {other}."
    text = f"{len(decided)} of {len(frame)} differences are decided both here and on {other}, "
    apart = decided[decided["both"] == OPPOSITE]
    if not len(apart):
        return text + "all in the same direction."
    named = "; ".join(f"{x.label}, {x.clips_of} videos, {x.level}" for x in apart.itertuples())
    return text + f"{len(apart)} of them in opposite directions: {named}."


def claims_beside(
    conclusions: pd.DataFrame, profile: str, name: str = "claims", folder: Path | None = None
) -> pd.DataFrame:
    """Verdicts on claims beside those of the other world, claim by claim; a line is printed where those are your own.

    Args:
        conclusions: `claims.check` of `profile`.
        name: of the file that `claims.write` wrote, `claims` or `control_claims`.
        folder: where the other world's tables stand, in place of the project's.

    Columns: claim, level; measured, low, high (percentage points, 95 %), n_seeds and verdict here, and the same with
    `_there` of the other world. Claims that were run on neither have no line, nor has any where there are none.
    """
    columns = ["measured", "low", "high", "n_seeds", "verdict"]
    path = _of_other(f"{name}.csv", profile, folder)
    if path.is_relative_to(paths.runs()):
        print(f"Beside them your own table of {_other(profile)}: {os.path.relpath(path, paths.root())}")
    kept = pd.read_csv(path) if path.is_file() else conclusions.iloc[:0]
    keys = ["claim", "level"]
    frame = conclusions[[*keys, *columns]].merge(kept[[*keys, *columns]], on=keys, suffixes=("", "_there"))
    return frame.dropna(subset=["measured", "measured_there"], how="all").reset_index(drop=True)


def printed(frame: pd.DataFrame, profile: str) -> Styler:
    """A frame of `beside` or `claims_beside` of a profile as a page shows it, with intervals in the cells."""
    other = _other(profile)
    here, there = f"on {profile} [95 % interval]", f"on {other} [95 % interval]"
    if "claim" in frame.columns:
        columns = {
            "claim": frame["claim"],
            "level": frame["level"],
            here: formats.differences(frame, "measured"),
            f"verdict on {profile}": frame["verdict"],
            there: formats.differences(frame, "measured_there", "low_there", "high_there"),
            f"verdict on {other}": frame["verdict_there"],
        }
    else:
        columns = {
            "system": frame["label"],
            "videos": frame["clips_of"],
            **({"level": frame["level"]} if frame["level"].nunique() > 1 else {}),
            here: formats.differences(frame, "difference"),
            there: formats.differences(frame, "there", "low_there", "high_there"),
            "both worlds": frame["both"],
        }
    return pd.DataFrame(columns).style.hide()


def _of_other(name: str, profile: str, folder: Path | None) -> Path:
    """A table of the world that is not `profile`'s, in `folder` or as `paths.rendered` finds it."""
    return folder / name if folder else paths.rendered(f"tables/{name}", _other(profile))


def _other(profile: str) -> str:
    return DEFAULT if profile == LARGER else LARGER


def _profile(table: Table) -> str:
    return str(table.frame["profile"].iloc[0])


def _both(line: dict[str, float]) -> str:
    ends = (("low", "high"), ("low_there", "high_there"))
    signs = [1 if line[low] > 0 else -1 if line[high] < 0 else 0 for low, high in ends]
    if 0 in signs:
        return OPEN
    return SAME if signs[0] == signs[1] else OPPOSITE
