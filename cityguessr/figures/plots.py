"""Plots of the method that several notebooks share."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from cityguessr.figures.style import GUIDE, LEVEL_COLOURS, REFERENCE, SERIES
from cityguessr.taxonomy import LEVELS

SHARE_LABEL = "log2 of share over even share"  # what the colours of `attention_blocks` mean


def block_means(weights: NDArray, sizes: Mapping[str, int]) -> NDArray:
    """How much attention each level pays to each: (d, d) weights -> (4, 4), rows add up to 1.

    Entry (a, b) is the attention that a token of level a pays to all tokens of level b together, averaged over a's
    tokens. Attention without preference gives b's share of the d tokens.
    """
    edges = np.cumsum([0, *(sizes[level] for level in LEVELS)])
    return np.array([[weights[a:b, c:d].sum(axis=1).mean() for c, d in pairwise(edges)] for a, b in pairwise(edges)])


def attention_blocks(
    ax: Axes, weights: NDArray, sizes: Mapping[str, int], limit: float | None = None, bar: bool = True
) -> Axes:
    """The attention weights as the 4 x 4 blocks of Fig. 5: one cell per pair of levels.

    A cell's colour is how far attention departs from indifference: the base-2 logarithm of the block's share over the
    share that its number of tokens would give it. Diagonal blocks are self attention, the others cross attention.

    Args:
        weights: (d, d), rows attend to columns and add up to 1.
        sizes: level -> number of classes, as `taxonomy.sizes`.
        limit: the end of the colour scale, in doublings; give the same one to panels that are compared.
        bar: whether to draw the colour bar, which such panels may share.
    """
    means = block_means(weights, sizes)
    even = np.array([sizes[level] for level in LEVELS]) / sum(sizes.values())
    ratio = np.log2(np.maximum(means, 1e-6) / even)
    limit = limit or max(1.0, float(np.abs(ratio).max()))
    image = ax.imshow(ratio, cmap="PuOr_r", vmin=-limit, vmax=limit)
    for (row, column), share in np.ndenumerate(means):
        light = abs(ratio[row, column]) > 0.6 * limit
        ax.text(column, row, f"{100 * share:.1f}%", ha="center", va="center", color="white" if light else "black")
    ticks = range(len(LEVELS))
    ax.set_xticks(ticks, LEVELS, rotation=30, ha="right", rotation_mode="anchor")
    ax.set_yticks(ticks, [f"{level} ({sizes[level]})" for level in LEVELS])
    ax.set_xlabel("attended level")
    ax.set_ylabel("attending level (tokens)")
    for labels in (ax.get_xticklabels(), ax.get_yticklabels()):
        for text, level in zip(labels, LEVELS, strict=True):
            text.set_color(LEVEL_COLOURS[level])
    ax.grid(False)
    if bar:
        ax.figure.colorbar(image, ax=ax, label=SHARE_LABEL, fraction=0.046, pad=0.03)
    return ax


def training_curves(logs: Mapping[str, pd.DataFrame]) -> Figure:
    """The losses on the training split and the accuracies on the validation split, epoch by epoch.

    Args:
        logs: a name (such as "seed 0") -> the log of a run; the first is drawn solid, the others dashed.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(7.2, 2.9), layout="constrained")
    for style, log in zip(_styles(len(logs)), logs.values(), strict=True):
        for number, part in enumerate(name for name in ("geolocalization", "scene", "text") if name in log):
            left.plot(log["epoch"], log[part], style, color=SERIES[number], label=part)
        for level in LEVELS:
            right.plot(log["epoch"], log[f"val_{level}"], style, color=LEVEL_COLOURS[level], label=level)
    left.set(title="The three losses on the training split", xlabel="epoch", ylabel="loss")
    right.set(
        title="Accuracy on the validation split", xlabel="epoch", ylabel="accuracy (%), codependent", ylim=(0, 100)
    )
    for ax, corner, columns in ((left, "upper right", 1), (right, "upper left", 2)):
        ax.legend(handles=ax.lines[: len(ax.lines) // len(logs)], loc=corner, ncols=columns)  # the first run's lines
        ax.xaxis.get_major_locator().set_params(integer=True)
    return fig


def search_record(record: pd.DataFrame, score: str) -> Figure:
    """The trials of a search for a recipe, the best at the top: a dot for each seed, a bar for the mean over them.

    Args:
        record: one row per training: trial (0 is the paper's recipe), seed, and the score.
        score: the column that decides, in percent.
    """
    means = record.groupby("trial")[score].mean()
    # trials that were tried with more seeds first: the best of many single results is a lucky one
    seeds = record.groupby("trial")["seed"].nunique()
    order = sorted(means.index, key=lambda trial: (-seeds[trial], -means[trial]))
    fig, ax = plt.subplots(figsize=(7.2, 0.6 + 0.19 * len(order)), layout="constrained")
    for place, trial in enumerate(order):
        colour = SERIES[0] if trial else REFERENCE
        ax.plot(means[trial], place, "|", color=colour, markersize=10, markeredgewidth=2)
        found = record.loc[record["trial"] == trial, score]
        ax.plot(found, [place] * len(found), "o", color=colour, markersize=4, alpha=0.7)
    ax.set_yticks(range(len(order)), ["paper" if trial == 0 else f"trial {trial}" for trial in order])
    ax.invert_yaxis()
    ax.set(xlabel="accuracy on held-out clips of the training split, mean of the four levels (%)")
    ax.set_title("Recipes that were tried: a dot per seed, a bar for their mean")
    return fig


def scene_bars(ax: Axes, names: Sequence[str], predicted: NDArray, target: NDArray) -> Axes:
    """The soft scene label of a clip beside the scenes that the model predicts, both shares of 1 over `names`."""
    positions = np.arange(len(names))
    ax.barh(positions - 0.2, 100 * np.asarray(target), height=0.4, color=REFERENCE, label="soft label")
    ax.barh(positions + 0.2, 100 * np.asarray(predicted), height=0.4, color=SERIES[0], label="predicted")
    ax.set_yticks(positions, names)
    ax.invert_yaxis()
    ax.set_xlabel("share of the clip (%)")
    ax.legend(loc="best")
    return ax


def reliability(tables: Mapping[str, pd.DataFrame], title: str) -> Figure:
    """A reliability diagram: how often answers of a probability are right, one line for each way to read it.

    On the diagonal a probability can be taken at its word; below it, answers are surer than they are right. The area
    of a dot is the share of clips in it.

    Args:
        tables: name -> the table of `calibration.reliability`.
        title: what to see.
    """
    fig, ax = plt.subplots(figsize=(4.8, 3.6), layout="constrained")
    ax.plot([0, 100], [0, 100], color=GUIDE, lw=1.2, zorder=1)
    for (name, table), colour in zip(tables.items(), SERIES, strict=False):
        ax.plot(table["probability"], table["right"], color=colour, lw=1.2)
        share = table["clips"] / table["clips"].sum()
        ax.scatter(table["probability"], table["right"], s=8 + 220 * share, color=colour, label=name, lw=0)
    ax.set(xlabel="probability of the answered city (%)", ylabel="right (%)", title=title)
    ax.set(xlim=(0, 103), ylim=(0, 103))
    handles, labels = ax.get_legend_handles_labels()
    marks = [Line2D([], [], color=h.get_facecolor()[0], marker="o", ms=5, lw=1.2) for h in handles]
    marks.append(Line2D([], [], color=GUIDE, lw=1.2))
    ax.legend(marks, [*labels, "as sure as right"], loc="upper left")
    return fig


def _styles(count: int) -> list[str]:
    return (["-", "--", ":", "-."] * count)[:count]


def single_cues(frame: pd.DataFrame) -> Figure:
    """How many cities a probe on one cue gets right: one line per cue, seen videos filled, unseen ones hollow.

    Args:
        frame: columns cue, and seen and unseen or one of them, in percent; the line that finds least comes first.
    """
    fig, ax = plt.subplots(figsize=(5.6, 0.4 + 0.36 * len(frame)), layout="constrained")
    rows = np.arange(len(frame))
    for part, fill in (("seen", SERIES[0]), ("unseen", "white")):
        if part in frame:
            ax.plot(frame[part], rows, "o", ls="", ms=6, mec=SERIES[0], mfc=fill, label=f"{part} videos")
    ax.set_yticks(rows, frame["cue"])
    ax.invert_yaxis()
    ax.set(xlim=(0, None), xlabel="cities right (%)", title="How many cities one simple cue gives away")
    ax.legend(loc="upper right")  # a cue that finds most stands below: `frame` begins with the poorest
    return fig
