"""Tables with the paper's number beside the measured mean and spread over seeds.

`build` gives one long frame, which `write`, `show` and `compare` read. Nothing in it is typed by hand: the paper's side
comes from `cityguessr.paper`, the measured side from runs, and a row without a run says why. What the paper did not
measure stands in blocks of its own below, and so do differences to a reference with their bootstrap intervals.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cityguessr import paper
from cityguessr.base import paths
from cityguessr.base.errors import InputError
from cityguessr.base.files import write_bytes
from cityguessr.evaluation.columns import COLUMNS, METRICS, common_words
from cityguessr.figures import plots
from cityguessr.tables.formats import Page, latex, markdown, page_html
from cityguessr.tables.layout import page
from cityguessr.taxonomy import LEVELS
from cityguessr.training import profiles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Measured = Mapping[str, Mapping[tuple[str, str], Sequence[float]]]
"""Row -> (metric, level) -> a value a seed."""


def build(
    table: str,
    measured: Measured,
    profile: str,
    missing: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Put measurements beside the paper's numbers.

    Args:
        table: a table of `paper.TITLES`.
        measured: row -> (metric, level) -> one value a seed, accuracies in [0, 100].
        profile: the profile that they were measured under.
        missing: row -> why it was not run, such as `the weights of TimeSformer are not on this machine`.
        labels: row -> label of the rows that the paper lacks; they follow the paper's, in this order.

    A row that the paper prints a line a metric (Table S3) has one label a metric; what was measured beyond the printed
    metrics goes by the words that these labels share.

    Returns the columns of `COLUMNS`, a number a line, in the paper's order. `paper` is NaN where the paper has no such
    number; `measured` and `std` (sample standard deviation over seeds) are NaN where there is none; `state` is
    `measured` or `not run, because ...`.

    Raises InputError for a row without measurement and reason, or with both, an unknown row or profile, and a value
    that is no finite number.
    """
    profiles.get(profile)
    missing, labels = dict(missing or {}), dict(labels or {})
    printed = paper.results()
    order = [row for row, _ in paper.rows(table)]
    printed = printed[printed["table"] == table]
    rows = [*dict.fromkeys([*order, *labels])]
    for row in (*measured, *missing):
        if row not in rows:
            raise InputError(f"{table} has no row {row!r} (it has {', '.join(rows)}); give an own row a label")
    for row in rows:
        if (row in measured) == (row in missing):
            found = "both a measurement and a reason" if row in measured else "neither a measurement nor a reason"
            raise InputError(f"{table}, row {row}: {found} for not having one; give exactly one of the two")
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
        raise InputError(f"{where}: {values.tolist()} has a value that is no finite number; run that seed again")
    return {
        "measured": values.mean() if len(values) else math.nan,
        "std": values.std(ddof=1) if len(values) > 1 else math.nan,
        "n_seeds": len(values),
    }


def write(
    frame: pd.DataFrame,
    caption: str,
    folder: Path | None = None,
    differences: pd.DataFrame | None = None,
    reference: str = "cityguessr",
    mode: str = "codependent",
) -> list[Path]:
    """Write a table as `figures/tables/<table>.csv` (every column), `.md` and `.tex` (booktabs), each whole or not.

    See `show` for `differences` and `reference`; they are written as `<table>_differences.csv` too. The caption is
    followed by what the profile's numbers are worth. `folder` replaces `figures/tables`. A table whose answers were
    read in another mode than the paper's, codependent, is called `<table>_<mode>`. Returns the paths. Raises InputError
    where they cannot be written.
    """
    content = page(frame, caption, differences, reference)
    target = folder or paths.figures(frame["profile"].iloc[0]) / "tables"
    name = content.name if mode == "codependent" else f"{content.name}_{mode}"
    contents = {f"{name}.csv": _csv(frame), f"{name}.md": markdown(content), f"{name}.tex": latex(content)}
    if differences is not None and len(differences):
        contents[f"{name}_differences.csv"] = _csv(differences)
    for name, text in contents.items():
        write_bytes(target / name, text.encode())
    return [target / name for name in contents]


def _csv(frame: pd.DataFrame) -> str:
    return frame.to_csv(index=False, lineterminator="\n", float_format="%.6g")


class Shown:
    """A table as a notebook shows it: HTML that takes its colours from the theme, Markdown elsewhere."""

    def __init__(self, content: Page) -> None:
        self._content = content

    def _repr_html_(self) -> str:
        return page_html(self._content)

    def __repr__(self) -> str:
        return markdown(self._content)


def show(
    frame: pd.DataFrame, caption: str = "", differences: pd.DataFrame | None = None, reference: str = "cityguessr"
) -> Shown:
    """One line a row; under each level the paper's number and the measured mean ± spread; the best measured in bold.

    Metrics that the paper's table does not print follow in blocks of their own, and the differences to a reference in
    a last one, where an interval that excludes 0 is bold.

    Args:
        frame: from `build`.
        differences: the columns of `DIFFERENCES`, row minus reference in percentage points of top-1 with the ends of
            the interval of 95 % from `measures.paired_bootstrap`; columns `n_seeds`, `clips` and `videos`, where
            there, are said below.
        reference: the row that the others are compared with.

    Raises InputError for frames of other columns, and a reference or rows of differences that the table lacks.
    """
    return Shown(page(frame, caption, differences, reference))


def compare(
    frame: pd.DataFrame,
    metric: str | None = None,
    levels: Sequence[str] = LEVELS,
    intervals: Mapping[tuple[str, str], tuple[float, float]] | None = None,
) -> "Figure":
    """Paper and measured at a glance: a panel a level, a line a row, bars of one standard deviation over seeds.

    Args:
        frame: from `build`.
        metric: which metric; the table's first when left out.
        levels: the panels.
        intervals: (row, level) -> (low, high) of the measured value, as from `measures.bootstrap`: bars of 95 %
            intervals over source videos, which there are for one seed too, instead of standard deviations.

    Raises InputError where the table has no number of that metric at these levels, or no row of an interval.
    """
    metrics = list(dict.fromkeys(frame["metric"]))
    metric = metric or metrics[0]
    part = frame[(frame["metric"] == metric) & frame["level"].isin(levels)]
    if part.empty:
        name = frame["table"].iloc[0]
        raise InputError(f"{name} has no {metric} at {', '.join(levels)}; it has {', '.join(metrics)}")
    for row, _ in intervals or {}:
        if row not in set(part["row"]):
            raise InputError(f"intervals: no row {row!r} with {metric}; there are {', '.join(part['row'].unique())}")
    levels = [level for level in levels if level in set(part["level"])]
    lines = list(dict.fromkeys(zip(part["row"], part["label"], strict=True)))
    fig, axes = plots.level_panels(levels, [label for _, label in lines])
    for ax, level in zip(axes, levels, strict=True):
        cells = part[part["level"] == level].set_index(["row", "label"]).reindex(lines)
        if intervals is None:
            low, high = cells["measured"] - cells["std"], cells["measured"] + cells["std"]
        else:
            ends = [intervals.get((row, level), (math.nan, math.nan)) for row, _ in lines]
            low, high = np.array(ends, dtype=float).T
        plots.paper_and_measured(ax, level, cells["paper"], cells["measured"], low, high)
    fig.supxlabel(METRICS.get(metric, metric), fontsize=8.5)
    bars = " ± one standard deviation over seeds" if part["std"].notna().any() else ""
    if intervals is not None:
        bars = ", 95 % interval"
    plots.paper_legend(fig, "paper", f"measured{bars}", bool(bars))
    return fig
