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
from cityguessr.evaluation.columns import (
    METRICS,
    OWN_TABLES,
    REFERENCE,
    UNSEEN,
    check_differences,
    common_words,
    part_of,
    printed_rows,
    shown_parts,
)
from cityguessr.figures.style import GUIDE, LEVEL_COLOURS, MUTED, PAPERS_OWN, TEXT
from cityguessr.taxonomy import LEVELS


def compare(
    frame: pd.DataFrame,
    metric: str | None = None,
    levels: Sequence[str] = LEVELS,
    intervals: Mapping[tuple[str, str, str], tuple[float, float]] | None = None,
) -> Figure:
    """Paper and measured at a glance: one panel per level, one line per row, bars of one standard deviation over seeds.

    Where clips of unseen videos were counted apart, theirs is a hollow dot below that of the seen ones. The title says
    how far the order of the paper's rows is found here, whatever the seeds.

    Args:
        frame: the columns of `columns.COLUMNS`.
        metric: which metric; the table's first when left out.
        levels: the panels.
        intervals: (row, metric, level) -> (low, high) of the measured value, as from `Results.intervals`: bars of 95 %
            intervals over seeds and source videos, which there are for one seed too, instead of standard deviations.
            Not used where there are none of this metric.

    Raises InputError where the table has no number of that metric at these levels, or no row of an interval.
    """
    metrics = list(dict.fromkeys(frame["metric"]))
    metric = metric or metrics[0]
    part = frame[(frame["metric"] == metric) & frame["level"].isin(levels)]
    if part.empty:
        name = frame["table"].iloc[0]
        raise InputError(f"{name} has no {metric} at {', '.join(levels)}; it has {', '.join(metrics)}")
    for row, *_ in intervals or {}:
        if row not in set(frame["row"]):
            raise InputError(f"intervals: no row {row!r}; there are {', '.join(frame['row'].unique())}")
    if not any(name == metric for _, name, _ in intervals or {}):
        intervals = None
    levels = [level for level in levels if level in set(part["level"])]
    lines = list(dict.fromkeys(zip(part["row"], part["label"], strict=True)))
    fig, axes = level_panels(levels, [label for _, label in lines])
    rows = [row for row, _ in lines]
    unseen = frame[frame["metric"] == f"{metric}{UNSEEN}"]
    for ax, level in zip(axes, levels, strict=True):
        cells = part[part["level"] == level].set_index(["row", "label"]).reindex(lines)
        ends = _ends(cells, rows, metric, level, intervals)
        seen_and_unseen = None
        if len(unseen):
            held_out = unseen[unseen["level"] == level].drop_duplicates("row").set_index("row").reindex(rows)
            low, high = _ends(held_out, rows, f"{metric}{UNSEEN}", level, intervals)
            seen_and_unseen = held_out["measured"], low, high
        paper_and_measured(ax, level, cells["paper"], cells["measured"], *ends, unseen=seen_and_unseen)
        ax.set_xlabel(textwrap.fill(METRICS.get(metric, metric), 20))
    bars = " ± one standard deviation over seeds" if part["std"].notna().any() else ""
    if intervals is not None:
        bars = ", 95 % interval"
    printed = bool(part["paper"].notna().any())
    first = part[part["level"] == levels[0]].drop_duplicates("row")
    found = _order(first["paper"], first["measured"], levels[0], "seen" if len(unseen) else "all")
    beside = "the paper beside what was measured" if printed else "what was measured"
    title = f"{METRICS.get(metric, metric)}: {found or beside}"
    fig.suptitle(title[0].upper() + title[1:], x=0.01, ha="left", fontsize=10)
    _legend(fig, "paper", f"measured{bars}", bool(bars), printed, len(unseen) > 0, below=True)
    return fig


def _order(printed: pd.Series, measured: pd.Series, level: str, clips: str) -> str:
    """How many pairs of the paper's rows are in its order here, in words; "" where there is no pair to compare."""
    both = np.array([printed, measured], dtype=float)[:, (printed.notna() & measured.notna()).to_numpy()]
    apart = np.sign(both[:, :, None] - both[:, None, :])[:, *np.triu_indices(both.shape[1], 1)]  # (2, pairs)
    apart = apart[:, apart[0] != 0]  # rows that are level in print have no order
    pairs, agree = apart.shape[1], int((apart[0] == apart[1]).sum())
    if not pairs:
        return ""
    words = f"{agree} of {pairs} pairs of rows are in the paper's order"
    if pairs == 1:
        words = f"the rows are {'' if agree else 'not '}in the paper's order" if apart[1, 0] else "both rows are equal"
    return f"{words} ({level}{'' if clips == 'all' else f', {clips} videos'})"


def _decided(part: pd.DataFrame, clips: str) -> str:
    """How many differences at the city have an interval without zero, in words; "" where none was measured."""
    city = part[part["level"] == "city"].dropna(subset=["difference"])
    apart = int(((city["low"] > 0) | (city["high"] < 0)).sum())
    where = "at the city" if clips == "all" else f"at the city, on {clips} videos"
    if len(city) < 2:
        return f":\nthe interval {'excludes' if apart else 'includes'} zero {where}" if len(city) else ""
    return f":\n{apart} of {len(city)} intervals exclude zero {where}"


def _ends(
    cells: pd.DataFrame,
    rows: Sequence[str],
    metric: str,
    level: str,
    intervals: Mapping[tuple[str, str, str], tuple[float, float]] | None,
) -> tuple[ArrayLike, ArrayLike]:
    """The ends of the bars of rows, (lines,) each."""
    if intervals is None:
        return cells["measured"] - cells["std"], cells["measured"] + cells["std"]
    low, high = np.array([intervals.get((row, metric, level), (math.nan, math.nan)) for row in rows], dtype=float).T
    return low, high


def differences(
    frame: pd.DataFrame, table: str, reference: str = REFERENCE, labels: Mapping[str, str] | None = None
) -> Figure:
    """How each row of a table compares with a reference: one panel per level, one line per row, with 95 % intervals.

    A dot is the measured difference, its line the interval, a hollow diamond the paper's own difference. Where clips of
    seen and unseen videos were compared, the hollow dot below is that of the unseen. Rows of the paper that are not in
    the frame have their diamond and `not run`. The title says how many intervals exclude zero at the city.

    Args:
        frame: columns row, label, level, difference, low, high: row minus reference in percentage points of top-1;
            NaN where the two cannot be compared; and clips_of, as from `Results.differences`, where there are parts.
        table: a table of `paper.TITLES` or `columns.OWN_TABLES`.
        reference: the row that the others are compared with.
        labels: row -> label of rows that the paper lacks, where the reference may be one.

    Raises InputError for a frame without these columns, an unknown table, and a reference that it lacks.
    """
    printed = paper.results()
    printed = printed[(printed["table"] == table) & (printed["metric"] == "top1")]
    values = printed.set_index(["row", "level"])["value"]
    names: dict[str, list[str]] = {}
    for row, label in printed_rows(table):
        names.setdefault(row, []).append(label)
    known = {row: common_words(texts) for row, texts in names.items()}
    check_differences(frame, {**known, **(labels or {}), **dict.fromkeys(frame["row"])}, reference)
    own = {reference: labels[reference]} if labels and reference in labels else {}
    labels = own | known | dict(zip(frame["row"], frame["label"], strict=True))
    of, rows = labels[reference], [row for row in labels if row != reference]
    if not rows:
        raise InputError(f"{table} has no row beside {reference!r} to compare it with")
    parts = [part_of(frame, name) for name in shown_parts(frame)]
    cells = [part.set_index(["row", "level"])[["difference", "low", "high"]] for part in parts]
    fig, axes = level_panels(LEVELS, [labels[row] for row in rows], sharex=True)
    missing = ["no\ncomparison" if row in set(frame["row"]) else "not run" for row in rows]
    for ax, level in zip(axes, LEVELS, strict=True):
        ax.axvline(0, color=TEXT, lw=0.8, zorder=1)
        claimed = [values.get((row, level), math.nan) - values.get((reference, level), math.nan) for row in rows]
        drawn = [part.reindex([(row, level) for row in rows]) for part in cells]
        first, *others = [(part["difference"], part["low"], part["high"]) for part in drawn]
        paper_and_measured(ax, level, claimed, *first, missing, *others, from_zero=True)
        ax.set_xlabel("percentage points")
    decided = _decided(parts[0], shown_parts(frame)[0])
    fig.suptitle(f"Top-1 accuracy that each row gains or loses against {of}{decided}", x=0.01, ha="left", fontsize=10)
    _legend(fig, "paper's difference", "measured, 95 % interval", True, table not in OWN_TABLES, len(parts) > 1, True)
    _make_room(fig, axes)
    return fig


def claims(frame: pd.DataFrame) -> Figure:
    """The conclusions of a list, one line each: the paper's own difference and the measured one with its 95 % interval.

    A filled dot is a claim that holds or is contradicted, after the correction for the length of the list; a hollow one
    is undecided; a cross says nothing about its claim, since the head that it is about did not learn its task.

    Args:
        frame: from `claims.check`: columns claim, section, paper, measured, low, high, verdict.
    """
    labels = [f"{line.claim} ({line.section})" for line in frame.itertuples()]
    fig, (ax,) = level_panels(["claims"], labels, wrap=46)
    ax.axvline(0, color=TEXT, lw=0.8, zorder=1)
    paper_and_measured(ax, "claims", frame["paper"], frame["measured"], frame["low"], frame["high"], from_zero=True)
    for verdict, marker, size in (("undecided", "o", 4.5), ("not tested", "x", 5)):
        at = (frame["verdict"] == verdict).to_numpy()
        if verdict == "not tested":  # over a white dot, so that only the cross is left
            ax.plot(frame["measured"][at], np.flatnonzero(at), "o", mfc="white", mec="white", ms=5.5, zorder=5)
        ax.plot(frame["measured"][at], np.flatnonzero(at), marker, ls="", mfc="white", mec=TEXT, ms=size, zorder=6)
    ax.set_title("")
    ax.locator_params(axis="x", nbins=8)
    ax.set_xlabel("top-1 accuracy gained, in percentage points")
    fig.suptitle(
        "What each claim gains in print and here (right of zero speaks for it)", x=0.01, ha="left", fontsize=10
    )
    marks = {"decided, 95 % interval": "o", "undecided": "o", "not tested": "x"}
    keys = [
        Line2D([], [], marker=marker, ms=4.5, lw=0, color=TEXT, mfc="white" if words == "undecided" else TEXT)
        for words, marker in marks.items()
    ]
    _key(fig, [(_DIAMOND, "paper"), *zip(keys, marks, strict=True)], below=True)
    _make_room(fig, [ax])
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
    unseen: tuple[ArrayLike, ArrayLike, ArrayLike] | None = None,
    from_zero: bool = False,
) -> None:
    """Draw one panel: the paper's number a hollow diamond, the measured one a dot on the line of its interval.

    All are (lines,), NaN where there is none; `missing` says what to write where nothing was measured. `unseen` is what
    was measured on unseen videos with the ends of its interval, drawn as a hollow dot a little below.
    `from_zero` says that these are differences: words then stand clear of the line at zero.
    """
    claimed, measured, low, high = (np.asarray(values, dtype=float) for values in (claimed, measured, low, high))
    y, colour = np.arange(len(claimed)), LEVEL_COLOURS.get(level, TEXT)
    ax.hlines(y, claimed, measured, color=GUIDE, lw=1.0, ls=(0, (1, 1.5)), zorder=1)
    ax.hlines(y, low, high, color=colour, lw=1.6, zorder=3)
    ax.plot(measured, y, "o", color=colour, ms=4.5, zorder=4)
    if unseen is not None:
        value, start, end = (np.asarray(values, dtype=float) for values in unseen)
        ax.hlines(y + _BELOW, start, end, color=colour, lw=1.0, zorder=3)
        ax.plot(value, y + _BELOW, "o", mfc="white", mec=colour, ms=4, zorder=4)
    ax.scatter(claimed, y, marker="D", s=20, facecolor="none", edgecolor=PAPERS_OWN, linewidth=1.1, zorder=5)
    ax.margins(x=0.16)
    text = {"va": "center", "size": 7, "color": MUTED, "bbox": {"fc": "white", "ec": "none", "pad": 0.8}, "zorder": 2}
    middle = np.mean(ax.get_xlim())
    for at in np.flatnonzero(np.isnan(measured)):
        reason = missing[at] if missing else "not run"
        if from_zero:
            start = 0 if np.isnan(claimed[at]) else claimed[at]
            side = {"xytext": (-6, 0), "ha": "right"} if start < 0 else {"xytext": (6, 0), "ha": "left"}
            ax.annotate(reason, (start, at), textcoords="offset points", **side, **text).set_in_layout(False)
            continue
        if np.isnan(claimed[at]):
            ax.text(0.5, at, reason, ha="center", transform=ax.get_yaxis_transform(), **text)
            continue
        side = {"xytext": (-6, 0), "ha": "right"} if claimed[at] > middle else {"xytext": (6, 0), "ha": "left"}
        ax.annotate(reason, (claimed[at], at), textcoords="offset points", **side, **text)


def _make_room(fig: Figure, axes: Sequence[Axes]) -> None:
    """Widen the axes, which share their limits, until the words in them end inside."""
    fig.draw_without_rendering()
    low, high = axes[0].get_xlim()
    ends = []  # of words: the place they are about, and how far they reach from there, in widths of a panel
    for ax in axes:
        for words in ax.texts:
            box, at = words.get_window_extent(), ax.transData.transform((words.xy[0], 0))[0]
            reach = box.x0 - at if words.xy[0] < 0 else box.x1 - at
            ends.append((words.xy[0], reach / ax.get_window_extent().width))
    for _ in range(10):  # room on one side moves the other
        for x, reach in ends:
            if x < 0:
                low = min(low, (x + reach * high) / (1 + reach))
            else:
                high = max(high, (x - reach * low) / (1 - reach))
    for ax in axes:
        ax.set_xlim(low, high)


_BELOW = 0.26  # of a line
_DIAMOND = Line2D([], [], marker="D", ms=4.5, ls="", mfc="none", mec=PAPERS_OWN, mew=1.1)


def paper_legend(fig: Figure, claimed: str, measured: str, bars: bool, below: bool = False) -> None:
    """Draw the key of `paper_and_measured` above or below the panels, in no level's colour."""
    _legend(fig, claimed, measured, bars, below=below)


def _legend(
    fig: Figure,
    claimed: str,
    measured: str,
    bars: bool,
    papers: bool = True,
    unseen: bool = False,
    below: bool = False,
) -> None:
    """`paper_legend` where the paper may have no number, or unseen videos a dot of their own."""
    width = 1.6 if bars else 0
    dots = [(Line2D([], [], marker="o", ms=4.5, lw=width, color=TEXT), measured)]
    if unseen:
        hollow = Line2D([], [], marker="o", ms=4, lw=width / 1.6, color=TEXT, mfc="white")
        dots = [(dots[0][0], f"{measured} (seen videos)"), (hollow, "unseen videos")]
    _key(fig, [*([(_DIAMOND, claimed)] if papers else []), *dots], below)


def _key(fig: Figure, entries: Sequence[tuple[Line2D, str]], below: bool = False) -> None:
    # Its place is kept free by hand: in a file cut to its contents, a legend "outside" slides over the line below.
    height = 0.27 / fig.get_size_inches()[1]
    fig.get_layout_engine().set(rect=(0, height if below else 0, 1, 1 - height))
    place = {"loc": "lower right" if below else "upper right", "bbox_to_anchor": (0, 0, 1, 1)}
    handles, texts = zip(*entries, strict=True)
    fig.legend(handles, texts, ncols=len(entries), bbox_transform=fig.transFigure, borderaxespad=0.1, **place)
