"""The audit of a split, drawn: junctions of clips, recovered videos, near-duplicates, and what a split is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from cityguessr.base.errors import InputError
from cityguessr.figures.page import check_image
from cityguessr.figures.style import DOUBTFUL, GUIDE, MUTED, REFERENCE, SERIES, TEXT

WHOLE, CUT, DOUBT = SERIES[0], SERIES[2], DOUBTFUL
_MOST = 1500  # dots of a kind


def junction_plane(within: NDArray, apart: NDArray, across: NDArray, probability: NDArray) -> Figure:
    """The junctions between clips in the plane of two distances, over the two samples that they are held against.

    Args:
        within, apart: (n, 2) and (m, 2), the two samples, detail and colour; all distances are above 0.
        across, probability: (j, 2) and (j,), of the junctions that were tested.

    Raises InputError where the distances are not two.
    """
    if within.shape[1:] != (2,):
        raise InputError(f"the plane needs two distances per pair of frames; got {within.shape[1:]}")
    fig, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3.5), layout="constrained", sharex=True, sharey=True)
    rng = np.random.default_rng(0)
    for points, colour, label in ((apart, REFERENCE, "two clips far apart"), (within, SERIES[1], "within a clip")):
        chosen = points[rng.permutation(len(points))[:_MOST]]
        left.scatter(*np.maximum(chosen, 1e-4).T, s=5, color=colour, alpha=0.55, lw=0, label=label)
    left.set_title("Known: frames of one video, and of two", fontsize=9)
    sure, cut = probability > 0.95, probability < 0.05
    for which, colour, label in (
        (sure, WHOLE, "one video runs on"),
        (cut, CUT, "a cut"),
        (~sure & ~cut, DOUBT, "in doubt"),
    ):
        points = np.maximum(across[which], 1e-4)[:_MOST]
        label = f"{label}: {int(which.sum()):,}"
        right.scatter(*points.T, s=6 if colour != DOUBT else 11, color=colour, alpha=0.6, lw=0, label=label)
    right.set_title("To be judged: from one clip to the next", fontsize=9)
    left.set(xscale="log", yscale="log", ylabel="distance in colour")
    for ax in (left, right):
        ax.set_xlabel("distance in detail")
        ax.legend(loc="upper left", markerscale=2.2, handletextpad=0.2)
    fig.suptitle("Does the next clip continue where this one ends?", x=0.01, ha="left", fontsize=10)
    return fig


def junction_frames(
    pairs: Sequence[tuple[NDArray, NDArray]], probability: Sequence[float], names: Sequence[str]
) -> Figure:
    """Last frame of a clip and first of the next, side by side, with the probability that one video runs on.

    Args:
        pairs: two frames of each junction, uint8 (H, W, 3).
        probability, names: of each junction; the colour of a name is that of `junction_plane`.
    """
    columns = min(3, len(pairs)) or 1
    rows = -(-len(pairs) // columns)
    height = _frame_ratio(pairs) * 7.2 / (2 * columns) + 0.12
    fig, axes = plt.subplots(rows, columns, figsize=(7.2, rows * height + 0.35), layout="constrained", squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, (a, b), p, name in zip(axes.flat, pairs, probability, names, strict=False):
        a, b = check_image(a, name), check_image(b, name)
        gap = np.full((a.shape[0], max(1, a.shape[1] // 40), 3), 255, np.uint8)
        ax.imshow(np.concatenate([a, gap, b], axis=1), interpolation="antialiased")
        colour = WHOLE if p > 0.95 else CUT if p < 0.05 else DOUBT
        ax.set_title(f"{name}   {_percent(p)}", fontsize=7.5, color=colour, pad=3)
    fig.suptitle(
        "Last frame of a clip, first of the next: the probability of one video", x=0.01, ha="left", fontsize=10
    )
    return fig


def reliability(table: pd.DataFrame) -> Figure:
    """How often junctions of each probability are whole indeed, with 95 % intervals: on the diagonal, if calibrated.

    Args:
        table: from `partitions.reliability`.
    """
    fig, ax = plt.subplots(figsize=(4.2, 3.6), layout="constrained")
    ax.plot([0, 1], [0, 1], color=GUIDE, lw=1, zorder=1)
    ends = np.abs(table[["lower", "upper"]].to_numpy().T - table["observed"].to_numpy())
    ax.errorbar(table["stated"], table["observed"], yerr=ends, fmt="o", color=SERIES[0], ms=5, lw=1.2)
    for row in table.itertuples():
        left = row.stated > 0.5
        place = {"xytext": (-9 if left else 9, -3), "textcoords": "offset points", "ha": "right" if left else "left"}
        if 0.04 < row.stated < 0.96:
            ax.annotate(f"{row.count:,} junctions", (row.stated, row.observed), fontsize=7.5, color=MUTED, **place)
    ax.set(xlabel="stated probability that one video runs on", ylabel="share where it does")
    ax.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04))
    ax.set_title("Are the probabilities right?\nOn the line they are")
    return fig


def recovered_strips(
    cities: Mapping[str, tuple[Sequence[str], Sequence[str] | None, Sequence[float], Sequence[str]]],
) -> Figure:
    """The clips of some cities in order: which were chained into one video, and where the truth is known, that too.

    Args:
        cities: name -> recovered video, true video (None where not known), the probability of the junction before it
            (the first is not looked at), and the split, of each clip in order.
    """
    fig, ax = plt.subplots(figsize=(7.2, 0.62 * len(cities) + 0.9), layout="constrained")
    longest = max(len(videos) for videos, *_ in cities.values())
    for row, (videos, truth, probability, splits) in enumerate(cities.values()):
        for number, (start, end) in enumerate(_blocks(videos)):
            shade = 0.95 if number % 2 else 0.5
            ax.barh(row, end - start - 0.12, left=start + 0.06, height=0.34, color=SERIES[0], alpha=shade)
        for i, split in enumerate(splits):
            if split == "val":
                ax.plot(i + 0.5, row, "o", color="white", ms=3.2, zorder=3)
        for i, p in enumerate(probability):
            if i and 0.05 <= p <= 0.95:
                ax.plot(i, row, "D", color=DOUBT, ms=5, zorder=4)
        for start, _ in _blocks(truth)[1:] if truth is not None else ():
            ax.plot([start, start], [row + 0.2, row + 0.38], color=TEXT, lw=2, solid_capstyle="butt")
    ax.set_yticks(range(len(cities)), list(cities))
    ax.set(xlim=(0, longest), xlabel="clips, in the order of their numbers")
    ax.invert_yaxis()
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    marks = [
        Line2D([], [], color=SERIES[0], lw=6, label="one recovered video"),
        Line2D([], [], color=GUIDE, marker="o", mfc="white", mec=MUTED, mew=0.5, lw=0, ms=4.5, label="validation clip"),
        Line2D([], [], color=DOUBT, marker="D", lw=0, label="junction in doubt"),
    ]
    if any(truth is not None for _, truth, *_ in cities.values()):
        marks.append(Line2D([], [], color=TEXT, marker="|", ms=8, mew=2, lw=0, label="a true cut"))
    ax.legend(
        handles=marks, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=len(marks), borderaxespad=0, columnspacing=1.4
    )
    fig.suptitle("Clips chained into the videos they were cut from", x=0.01, ha="left", fontsize=10)
    return fig


def near_pairs(pairs: Sequence[tuple[NDArray, NDArray]], titles: Sequence[str], suptitle: str) -> Figure:
    """Validation clips above and the training clip most like each below.

    Args:
        pairs: two frames, uint8 (H, W, 3).
        titles: of each pair.
    """
    columns = max(1, len(pairs))
    height = 2 * _frame_ratio(pairs) * 7.2 / columns + 0.62
    fig, axes = plt.subplots(2, columns, figsize=(7.2, height), layout="constrained", squeeze=False)
    fig.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
    for column, (pair, title) in enumerate(zip(pairs, titles, strict=True)):
        for ax, frame in zip(axes[:, column], pair, strict=True):
            ax.imshow(check_image(frame, title), interpolation="antialiased")
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
        axes[0, column].set_title(title, fontsize=7.2, fontweight="normal", pad=3)
    for ax, name in zip(axes[:, 0], ("validation", "training"), strict=True):
        ax.set_ylabel(name, fontsize=8.5)
    fig.suptitle(suptitle, x=0.01, ha="left", fontsize=10)
    return fig


def likeness(found: NDArray, elsewhere: NDArray, threshold: float, near: float) -> Figure:
    """How like each validation clip its nearest training clip is, beside the nearest of another city.

    Args:
        found, elsewhere: (n,) each, cosines.
        threshold: above it, two clips count as near-duplicates; `near` is the share of clips that do, in percent.
    """
    fig, ax = plt.subplots(figsize=(7.2, 2.7), layout="constrained")
    low = float(np.nanmin(np.concatenate([found, elsewhere])))
    bins = np.linspace(low, 1, 60)
    ax.hist(elsewhere, bins, color=REFERENCE, label="nearest of another city")
    ax.hist(found, bins, histtype="step", color=SERIES[0], lw=1.6, label="nearest of all")
    ax.axvline(threshold, color=SERIES[2], lw=1.2)
    note = f"{near:.0f} % of clips have\na near-duplicate"
    ax.annotate(note, (threshold, 0.97), xycoords=("data", "axes fraction"), xytext=(5, 0), textcoords="offset points",
                va="top", fontsize=8, color=SERIES[2])  # fmt: skip
    ax.set(xlabel="similarity of colours (cosine)", ylabel="validation clips", xlim=(low, 1.0))
    ax.set_title("The most similar training clip of each validation clip")
    ax.legend(loc="upper left")
    return fig


def accuracies(frame: pd.DataFrame, title: str) -> Figure:
    """City accuracy of several systems on several parts of the clips, with 95 % intervals over source videos.

    Args:
        frame: columns system, part, own_video (whether a clip's own video may be in training), accuracy, low, high,
            one line each, in the order in which they are drawn.
    """
    fig, ax = plt.subplots(
        figsize=(7.2, 0.32 * len(frame) + 0.28 * frame["system"].nunique() + 0.75), layout="constrained"
    )
    y, ticks = 0.0, []
    for system, part in frame.groupby("system", sort=False):
        ax.text(0, y, system, fontsize=8.5, fontweight="bold", va="center", transform=ax.get_yaxis_transform())
        for row in part.itertuples():
            y += 1
            colour = SERIES[0] if row.own_video else SERIES[2]
            ax.plot([row.low, row.high], [y, y], color=colour, lw=2, solid_capstyle="butt")
            ax.plot(row.accuracy, y, "o", color=colour, ms=5.5)
            ends = row.high if row.high == row.high else row.accuracy
            ax.text(ends, y, f"  {row.accuracy:.1f}", va="center", fontsize=8, color=TEXT)
            ticks.append((y, row.part))
        y += 1.2
    ax.set_yticks(*zip(*ticks, strict=True))
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.set(ylim=(y - 0.6, -0.7), xlabel="city accuracy (%), 95 % interval over source videos")
    ax.set_xlim(left=0, right=1.1 * np.nanmax(frame[["high", "accuracy"]].to_numpy()))
    ax.grid(axis="x")
    marks = [
        Line2D([], [], color=colour, marker="o", lw=2, label=label)
        for colour, label in ((SERIES[0], "its own drive in training"), (SERIES[2], "not in training"))
    ]
    fig.legend(handles=marks, loc="outside lower right", ncols=2, borderpad=0)
    ax.set_title(title, pad=10)
    return fig


def _blocks(videos: Sequence[str]) -> list[tuple[int, int]]:
    """Where runs of equal values start and end."""
    starts = [i for i, video in enumerate(videos) if not i or video != videos[i - 1]]
    return list(zip(starts, [*starts[1:], len(videos)], strict=True))


def _frame_ratio(pairs: Sequence[tuple[NDArray, NDArray]]) -> float:
    if not pairs:
        raise InputError("there are no pairs to draw")
    return pairs[0][0].shape[0] / pairs[0][0].shape[1]


def _percent(p: float) -> str:
    return "> 99.9 %" if p > 0.999 else "< 0.1 %" if p < 0.001 else f"{100 * p:.1f} %"
