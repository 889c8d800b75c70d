"""Tables with the paper's number beside the measured mean and spread over seeds.

`build` makes a `Table` of the runs that `results.collect` gives. Nothing in it is typed by hand: the paper's side comes
from `cityguessr.paper`, the measured side from runs, and a row without a run says why.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cityguessr import paper
from cityguessr.base import paths
from cityguessr.base.errors import InputError, one_of
from cityguessr.evaluation.columns import (
    COLUMNS,
    METRICS,
    OWN_TABLES,
    REFERENCE,
    common_words,
    printed_rows,
    title,
)
from cityguessr.evaluation.results import Results
from cityguessr.figures import comparison
from cityguessr.tables.formats import Layout
from cityguessr.tables.layout import lay_out
from cityguessr.taxonomy import LEVELS
from cityguessr.training import profiles

Measured = Mapping[str, Mapping[tuple[str, str], Sequence[float]]]
"""Row -> (metric, level) -> one value per seed."""

_ABOUT_HEADS = ("table3", "table_s1", "table_s2", "controls")
"""The tables whose rows differ in scenes or text: they show whether a head learned its task at all."""

_NAMES = {"torch": "torch version", "device": "device", "precision": "precision"}


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Table:
    """A table of the paper beside what was measured: it shows itself in a notebook, writes itself and draws itself.

    Attributes:
        frame: one number per line, in the columns of `columns.COLUMNS`, as from `beside_paper`.
        caption: what it shows; a note on how far the profile's numbers go is added to it.
        differences: the columns of `columns.DIFFERENCES`, row minus reference in percentage points of top-1 with the
            ends of the 95 % interval; the other columns of `Results.differences` are shown where there are any. None
            for a table without differences.
        reference: the row that the others are compared with.
        intervals: (row, metric, level) -> (low, high) of measured accuracies, as from `Results.intervals`.
        mode: the mode that its answers are read in, one of `hierarchy.MODES`.
        learned: what the auxiliary heads learned, as from `Results.learned`; None for a table that is not about them.
        starts: row -> the weights that it started from, in words.
    """

    frame: pd.DataFrame
    caption: str = ""
    differences: pd.DataFrame | None = None
    reference: str = REFERENCE
    intervals: Mapping[tuple[str, str, str], tuple[float, float]] | None = None
    mode: str = "codependent"
    learned: pd.DataFrame | None = None
    starts: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        self.layout  # noqa: B018 - a table that cannot be laid out is refused at once

    @cached_property
    def layout(self) -> Layout:
        """Its blocks and cells. Raises InputError for other columns, and a reference or differences that it lacks."""
        return lay_out(self.frame, self.caption, self.differences, self.reference, self.learned, self.starts)

    @property
    def file_name(self) -> str:
        """Of its files, without an ending: the table's, with the mode where it is read in another than the paper's."""
        return self.layout.name if self.mode == "codependent" else f"{self.layout.name}_{self.mode}"

    def _repr_html_(self) -> str:
        return self.layout._repr_html_()

    def __repr__(self) -> str:
        return repr(self.layout)

    def write(self, folder: Path | None = None) -> list[Path]:
        """Write `tables/<table>.csv` (every column), `.md`, `.tex` (booktabs) and `<table>_differences.csv`.

        What auxiliary heads learned, where the table shows it, is `<table>_learned.csv`.

        A table that is read in another mode than the paper's, codependent, is called `<table>_<mode>`. `folder`
        replaces `tables` in `paths.figures`. Returns the paths. Raises InputError where they cannot be written.
        """
        target = folder or paths.figures(self.frame["profile"].iloc[0]) / "tables"
        return self.layout.write(target, self.file_name, self.frame, self.differences, self.learned)

    def compare(self, metric: str | None = None, levels: Sequence[str] = LEVELS) -> Figure:
        """Draw paper and measured at a glance, with the intervals of top-1 where there are any: `comparison.compare`.

        Args:
            metric: which metric; the table's first when left out.
            levels: the panels.
        """
        return comparison.compare(self.frame, metric, levels, self.intervals)

    def plot_differences(self, leave_out: Sequence[str] = ()) -> Figure:
        """Draw how each row compares with the reference: `comparison.differences`.

        Args:
            leave_out: rows that the paper lacks and that are not drawn, such as one so far off that all others would
                look alike.

        Raises InputError for a table without differences, and where `leave_out` names another row.
        """
        if self.differences is None:
            raise InputError("this table was made without differences; `tables.build` takes them from the runs")
        labels = {row: common_words(dict.fromkeys(part["label"])) for row, part in self.frame.groupby("row")}
        own = labels.keys() - dict(printed_rows(self.frame["table"].iloc[0]))
        if others := set(leave_out) - own:
            raise one_of("row to leave out", min(others), own)
        drawn = self.differences[~self.differences["row"].isin(leave_out)]
        return comparison.differences(drawn, self.frame["table"].iloc[0], self.reference, labels)


def build(results: Results, caption: str = "", reference: str = REFERENCE, more: Measured | None = None) -> Table:
    """The table of collected results, with the differences of its rows to a reference.

    Where its runs differ in torch version, device or precision, the caption says so.

    Args:
        results: from `results.collect`.
        caption: what it shows.
        reference: the row that the others are compared with.
        more: row -> (metric, level) -> one value per seed, of what `results.measure` does not measure.

    Example:
        >>> found = results.collect("table3", "mini", [0, 1, 2])
        >>> table = tables.build(found, "Top-1 accuracy (%) with and without scenes and text")
        >>> table.write()
        >>> table.plot_differences()
        >>> table  # in a notebook: paper beside measured, mean ± spread over seeds
    """
    measured = results.measured()
    measured |= {row: {**measured.get(row, {}), **values} for row, values in (more or {}).items()}
    left_out = {row: "it was left out here" for row, _ in printed_rows(results.table) if row not in results.modes}
    return Table(
        beside_paper(results.table, measured, results.profile, {**left_out, **results.missing}, results.labels),
        _with_circumstances(caption, results.circumstances()),
        results.differences(reference),
        reference,
        results.intervals(),
        results.mode,
        results.learned() if results.table in _ABOUT_HEADS else None,
        results.starts(),
    )


def _with_circumstances(caption: str, differing: Mapping[str, Sequence[str]]) -> str:
    """A caption that names in what the runs of its table differ, beside what the table is about."""
    if not differing:
        return caption
    parts = [f"{_NAMES[name]} ({'; '.join(values)})" for name, values in differing.items()]
    listed = " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))
    return f"{caption.rstrip('.')}{caption and '. '}The runs differ in {listed}"


def beside_paper(
    table: str,
    measured: Measured,
    profile: str,
    missing: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Measurements beside the paper's numbers, one number per line, in the paper's order.

    Args:
        table: a table of `paper.TITLES`, or of `columns.OWN_TABLES`, which has no paper's side.
        measured: row -> (metric, level) -> one value per seed, accuracies in [0, 100].
        profile: the profile that they were measured under.
        missing: row -> why it was not run, such as `the weights of TimeSformer are not on this machine`.
        labels: row -> label of the rows that the paper lacks; they follow the paper's, in this order.

    A row that the paper prints as one line per metric (Table S3) has one label per metric; what was measured beyond the
    printed metrics goes by the words that these labels share.

    Returns the columns of `columns.COLUMNS`. `paper` is NaN where the paper has no such number; `measured` and `std`
    (sample standard deviation over seeds) are NaN where there is none; `state` is `measured` or `not run, because ...`.

    Raises InputError for a row without measurement and reason, or with both, an unknown row or profile, and a value
    that is not a finite number.
    """
    profiles.get(profile)
    missing, labels = dict(missing or {}), dict(labels or {})
    printed = paper.results()
    title(table)  # an unknown table is refused
    order = [row for row, _ in printed_rows(table)]
    printed = printed[printed["table"] == table]
    rows = [*dict.fromkeys([*order, *labels])]
    for row in (*measured, *missing):
        if row not in rows:
            raise InputError(f"{table} has no row {row!r} (it has {', '.join(rows)}); give a row of yours a label")
    for row in rows:
        if (row in measured) == (row in missing):
            given = "both a measurement and a reason" if row in measured else "neither a measurement nor a reason"
            raise InputError(f"{table}, row {row}: {given} for not having one; give exactly one of the two")
    lines, metrics = [], dict.fromkeys(printed["metric"])
    by_metric = (printed.groupby("row")["label"].nunique() > 1).any()
    for row in rows:
        known = printed[printed["row"] == row]
        numbers = dict(zip(zip(known["metric"], known["level"], strict=True), known["value"], strict=True))
        texts = dict(zip(known["metric"], known["label"], strict=True))
        common = labels.get(row) or common_words(dict.fromkeys(known["label"]))
        if row in labels:
            texts = {m: f"{common} {METRICS[m].split()[0]}" for m in metrics} if by_metric else {}
        values = measured.get(row, {})
        expected = numbers or dict.fromkeys(zip(printed["metric"], printed["level"], strict=True))
        if table in OWN_TABLES:
            expected = dict.fromkeys(("top1", level) for level in LEVELS)
        for metric, level in dict.fromkeys([*(expected if numbers or not values else ()), *values]):
            seeds = values.get((metric, level), ())
            reason = missing.get(row, f"no {metric} at {level} was computed")
            lines.append(
                {"table": table, "row": row, "label": texts.get(metric, common), "metric": metric, "level": level}
                | {"paper": numbers.get((metric, level), math.nan)}
                | _summary(seeds, f"{table}, row {row}, {metric} at {level}")
                | {"profile": profile, "state": "measured" if len(seeds) else f"not run, because {reason}"}
            )
    return pd.DataFrame(lines, columns=list(COLUMNS))


def _summary(seeds: Sequence[float], where: str) -> dict[str, float]:
    values = np.asarray(list(seeds), dtype=float)
    if not np.isfinite(values).all():
        raise InputError(f"{where}: {values.tolist()} has a value that is not a finite number; run that seed again")
    return {
        "measured": values.mean() if len(values) else math.nan,
        "std": values.std(ddof=1) if len(values) > 1 else math.nan,
        "n_seeds": len(values),
    }
