"""VidTAG's systems at a glance: one measured number each with its interval, between what needs no system at all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator

from cityguessr.base.errors import InputError
from cityguessr.figures.style import MUTED, PAPERS_OWN, SERIES, TEXT
from cityguessr.figures.tracks import title_and_key

LABELS = {
    "frame_0.5km": "frames within\n0.5 km (%)",
    "frame_1km": "frames within\n1 km (%)",
    "frame_5km": "frames within\n5 km (%)",
    "frame_25km": "frames within\n25 km (%)",
    "frame_median_km": "median error\nof frames (km)",
    "video_1km": "videos within\n1 km (%)",
    "dfd": "mean Fréchet\ndistance (km)",
    "dfd_median": "median Fréchet\ndistance (km)",
    "mrd": "range\ndifference (km)",
}
"""Metric id -> what its axis says."""

_LOG_FROM = 100.0  # the ratio of largest to smallest from which an axis of km is logarithmic
_CENTRE = "centres"
_DECADES = {1: "1", 10: "10", 100: "10²", 1000: "10³", 10000: "10⁴"}  # km


def systems(
    frame: pd.DataFrame,
    intervals: Mapping[tuple[str, str, str], tuple[float, float]],
    metrics: Sequence[str] = ("frame_1km", "frame_25km", "dfd_median"),
    leave_out: Sequence[str] = ("mean", "best"),
    title: str = "",
) -> Figure:
    """A panel per metric, a line per system: the measured mean with its 95 % interval, and the paper's number.

    The floor "centres", the answer of someone who is told the right city and nothing else, is a line through the panel.

    Args:
        frame: in the columns of `evaluation.columns.COLUMNS`, as of `tables.track_table.TrackTable`.
        intervals: (row, metric, "gps") -> (low, high).
        metrics: ids of `LABELS`.
        leave_out: rows that are not drawn.
        title: what to see, above everything.

    Raises InputError for another metric, and where no row was measured.
    """
    for metric in metrics:
        if metric not in LABELS:
            raise InputError(f"metric {metric!r}: give some of {', '.join(LABELS)}")
    cells = {(line["row"], line["metric"]): line for line in frame.to_dict("records")}
    ran = dict.fromkeys(frame.loc[frame["n_seeds"] > 0, "row"])
    rows = [row for row in ran if row != _CENTRE and row not in leave_out]
    if not rows:
        raise InputError("no row of this table was measured; there is nothing to draw")
    labels = {row: frame.loc[frame["row"] == row, "label"].iloc[0] for row in rows}
    height = 0.24 * len(rows) + (1.45 if title else 1.15)
    fig, axes = plt.subplots(1, len(metrics), figsize=(7.2, height), sharey=True, squeeze=False, layout="constrained")
    for ax, metric in zip(axes[0], metrics, strict=True):
        _panel(ax, metric, rows, cells, intervals)
    axes[0, 0].set_yticks(range(len(rows)), [labels[row] for row in rows])
    axes[0, 0].set_ylim(len(rows) - 0.4, -0.6)
    handles = [Line2D([], [], color=SERIES[0], marker="o", ms=4, lw=1.4, label="measured, 95 % interval")]
    if any(not math.isnan(cells[row, m]["paper"]) for row in rows for m in metrics if (row, m) in cells):
        handles.append(Line2D([], [], color=PAPERS_OWN, marker="D", ms=4, mfc="none", lw=0, label="paper, real data"))
    if any((_CENTRE, metric) in cells for metric in metrics):
        handles.append(Line2D([], [], color=MUTED, lw=1, ls="--", label="told the city: its centre"))
    title_and_key(fig, title, handles)
    return fig


def _panel(
    ax: Axes,
    metric: str,
    rows: Sequence[str],
    cells: Mapping[tuple[str, str], dict],
    intervals: Mapping[tuple[str, str, str], tuple[float, float]],
) -> None:
    shown: list[float] = []
    for y, row in enumerate(rows):
        cell = cells.get((row, metric))
        if cell is None:
            continue
        if not math.isnan(cell["paper"]):
            ax.plot(cell["paper"], y, color=PAPERS_OWN, marker="D", ms=4, mfc="none", lw=0)
            shown.append(cell["paper"])
        if cell["n_seeds"]:
            low, high = intervals.get((row, metric, "gps"), (math.nan,) * 2)
            ax.plot([low, high], [y, y], color=SERIES[0], lw=1.4, solid_capstyle="butt")
            ax.plot(cell["measured"], y, color=SERIES[0], marker="o", ms=4, lw=0)
            shown += [value for value in (cell["measured"], low, high) if not math.isnan(value)]
    centre = cells.get((_CENTRE, metric))
    if centre is not None and centre["n_seeds"]:
        ax.axvline(centre["measured"], color=MUTED, lw=1, ls="--", zorder=0)
        shown.append(centre["measured"])
    ax.set_xlabel(LABELS[metric], color=TEXT)
    ax.grid(axis="x", lw=0.5, alpha=0.6)
    if metric.startswith("dfd") or "median" in metric:
        positive = [value for value in shown if value > 0]
        if positive and max(positive) / min(positive) > _LOG_FROM:
            ax.set_xscale("log")
            ax.xaxis.set_major_locator(LogLocator(numticks=12))
            ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _DECADES.get(round(value), "")))
        else:
            ax.set_xlim(left=0)
    else:
        ax.set_xlim(0, max(5.0, min(100.0, 1.08 * max(shown, default=100.0))))
