"""The paper beside what was measured, drawn: a table's numbers, differences to a reference, and the paper's claims."""

import math
import textwrap
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from cityguessr import paper
from cityguessr.base.errors import InputError
from cityguessr.evaluation.columns import METRICS, REFERENCE, check_differences, common_words
from cityguessr.figures.style import GUIDE, LEVEL_COLOURS, MUTED, PAPERS_OWN, TEXT
from cityguessr.taxonomy import LEVELS


def compare(
    frame: pd.DataFrame,
    metric: str | None = None,
    levels: Sequence[str] = LEVELS,
    intervals: Mapping[tuple[str, str], tuple[float, float]] | None = None,
) -> Figure:
    """Paper and measured at a glance: one panel per level, one line per row, bars of one standard deviation over seeds.

    Args:
        frame: the columns of `columns.COLUMNS`.
        metric: which metric; the table's first when left out.
        levels: the panels.
        intervals: (row, level) -> (low, high) of the measured value, as from `metrics.bootstrap`: bars of 95 %
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
    fig, axes = level_panels(levels, [label for _, label in lines])
    for ax, level in zip(axes, levels, strict=True):
        cells = part[part["level"] == level].set_index(["row", "label"]).reindex(lines)
        if intervals is None:
            low, high = cells["measured"] - cells["std"], cells["measured"] + cells["std"]
        else:
            ends = [intervals.get((row, level), (math.nan, math.nan)) for row, _ in lines]
            low, high = np.array(ends, dtype=float).T
        paper_and_measured(ax, level, cells["paper"], cells["measured"], low, high)
    fig.supxlabel(METRICS.get(metric, metric), fontsize=8.5)
    bars = " ± one standard deviation over seeds" if part["std"].notna().any() else ""
    if intervals is not None:
        bars = ", 95 % interval"
    paper_legend(fig, "paper", f"measured{bars}", bool(bars))
    return fig


def differences(frame: pd.DataFrame, table: str, reference: str = REFERENCE) -> Figure:
    """How each row of a table compares with a reference: one panel per level, one line per row, with 95 % intervals.

    A dot is the measured difference, its line the interval, a hollow diamond the paper's own difference. Rows of the
    paper that are not in the frame have their diamond and `not run`.

    Args:
        frame: columns row, label, level, difference, low, high: row minus reference in percentage points of top-1;
            NaN where the two cannot be compared.
        table: a table of `paper.TITLES`.
        reference: the row that the others are compared with.

    Raises InputError for a frame without these columns, an unknown table, and a reference that it lacks.
    """
    printed = paper.results()
    printed = printed[(printed["table"] == table) & (printed["metric"] == "top1")]
    values = printed.set_index(["row", "level"])["value"]
    names: dict[str, list[str]] = {}
    for row, label in paper.rows(table):
        names.setdefault(row, []).append(label)
    labels = {row: common_words(texts) for row, texts in names.items()}
    check_differences(frame, {**labels, **dict.fromkeys(frame["row"])}, reference)
    labels |= dict(zip(frame["row"], frame["label"], strict=True))
    of, rows = labels[reference], [row for row in labels if row != reference]
    if not rows:
        raise InputError(f"{table} has no row beside {reference!r} to compare it with")
    cells = frame.set_index(["row", "level"])[["difference", "low", "high"]]
    fig, axes = level_panels(LEVELS, [labels[row] for row in rows], sharex=True)
    missing = ["no comparison" if row in set(frame["row"]) else "not run" for row in rows]
    for ax, level in zip(axes, LEVELS, strict=True):
        ax.axvline(0, color=TEXT, lw=0.8, zorder=1)
        claimed = [values.get((row, level), math.nan) - values.get((reference, level), math.nan) for row in rows]
        part = cells.reindex([(row, level) for row in rows])
        paper_and_measured(ax, level, claimed, part["difference"], part["low"], part["high"], missing)
        ax.set_xlabel("percentage points")
    fig.suptitle(f"Top-1 accuracy that each row gains or loses against {of}", x=0.01, ha="left", fontsize=10)
    paper_legend(fig, "paper's difference", "measured, 95 % interval", True, below=True)
    return fig


def claims(frame: pd.DataFrame) -> Figure:
    """The paper's conclusions, one line each: its own difference and the measured one with its 95 % interval.

    Right of zero a claim is confirmed, left of it contradicted; where the interval includes zero the runs leave it
    open.

    Args:
        frame: from `claims.check`: columns claim, section, paper, measured, low, high, verdict.
    """
    labels = [f"{line.claim} ({line.section})" for line in frame.itertuples()]
    fig, (ax,) = level_panels(["claims"], labels, wrap=46)
    ax.axvline(0, color=TEXT, lw=0.8, zorder=1)
    paper_and_measured(ax, "claims", frame["paper"], frame["measured"], frame["low"], frame["high"])
    decided = frame["verdict"].isin(["holds", "contradicted"]).to_numpy()
    ax.plot(frame["measured"][~decided], np.flatnonzero(~decided), "o", mfc="white", mec=TEXT, ms=4.5, zorder=5)
    ax.set_title("")
    ax.set_xlabel("top-1 accuracy gained, in percentage points")
    paper_legend(fig, "paper's difference", "measured, 95 % interval (hollow: it includes zero)", True)
    return fig


def level_panels(
    levels: Sequence[str], labels: Sequence[str], sharex: bool = False, wrap: int = 27
) -> tuple[Figure, list[Axes]]:
    """Panels side by side, one per level, with one line per label, the first on top, wrapped at `wrap` characters."""
    labels = [textwrap.fill(label, wrap) for label in labels]
    line = 0.16 * max(2, 1 + max(label.count("\n") + 1 for label in labels) * 0.8)
    fig, axes = plt.subplots(
        1,
        len(levels),
        figsize=(7.2, 1.3 + line * len(labels)),
        sharey=True,
        sharex=sharex,
        squeeze=False,
        layout="constrained",
    )
    for ax, level in zip(axes[0], levels, strict=True):
        ax.set_title(level.capitalize(), fontsize=9)
        ax.grid(axis="x")
        ax.spines["left"].set_visible(False)
        ax.tick_params(axis="y", length=0)
        ax.set_ylim(len(labels) - 0.5, -0.5)
        ax.locator_params(axis="x", nbins=4)
    axes[0, 0].set_yticks(np.arange(len(labels)), labels)
    return fig, list(axes[0])


def paper_and_measured(
    ax: Axes,
    level: str,
    claimed: ArrayLike,
    measured: ArrayLike,
    low: ArrayLike,
    high: ArrayLike,
    missing: Sequence[str] | None = None,
) -> None:
    """Draw one panel: the paper's number a hollow diamond, the measured one a dot on the line of its interval.

    All are (lines,), NaN where there is none; `missing` says what to write where nothing was measured.
    """
    claimed, measured, low, high = (np.asarray(values, dtype=float) for values in (claimed, measured, low, high))
    y, colour = np.arange(len(claimed)), LEVEL_COLOURS.get(level, TEXT)
    ax.hlines(y, claimed, measured, color=GUIDE, lw=1.0, ls=(0, (1, 1.5)), zorder=1)
    ax.hlines(y, low, high, color=colour, lw=1.6, zorder=3)
    ax.plot(measured, y, "o", color=colour, ms=4.5, zorder=4)
    ax.scatter(claimed, y, marker="D", s=20, facecolor="none", edgecolor=PAPERS_OWN, linewidth=1.1, zorder=5)
    ax.margins(x=0.16)
    text = {"va": "center", "size": 7, "color": MUTED, "bbox": {"fc": "white", "ec": "none", "pad": 0.8}, "zorder": 2}
    middle = np.mean(ax.get_xlim())
    for at in np.flatnonzero(np.isnan(measured)):
        reason = missing[at] if missing else "not run"
        if np.isnan(claimed[at]):
            ax.text(0.5, at, reason, ha="center", transform=ax.get_yaxis_transform(), **text)
            continue
        side = {"xytext": (-6, 0), "ha": "right"} if claimed[at] > middle else {"xytext": (6, 0), "ha": "left"}
        ax.annotate(reason, (claimed[at], at), textcoords="offset points", **side, **text)


def paper_legend(fig: Figure, claimed: str, measured: str, bars: bool, below: bool = False) -> None:
    """Draw the key of `paper_and_measured` above or below the panels, in no level's colour."""
    diamond = Line2D([], [], marker="D", ms=4.5, ls="", mfc="none", mec=PAPERS_OWN, mew=1.1)
    dot = Line2D([], [], marker="o", ms=4.5, lw=1.6 if bars else 0, color=TEXT)
    # Its place is kept free by hand: in a file cut to its contents, a legend "outside" slides over the line below.
    height = 0.27 / fig.get_size_inches()[1]
    fig.get_layout_engine().set(rect=(0, height if below else 0, 1, 1 - height))
    place = {"loc": "lower right" if below else "upper right", "bbox_to_anchor": (0, 0, 1, 1)}
    fig.legend([diamond, dot], [claimed, measured], ncols=2, bbox_transform=fig.transFigure, borderaxespad=0.1, **place)
