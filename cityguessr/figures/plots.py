"""Plots of the method that several notebooks share."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cityguessr import paper
from cityguessr.base.errors import InputError
from cityguessr.evaluation.columns import check_differences, common_words
from cityguessr.figures.style import GUIDE, LEVEL_COLOURS, MUTED, PAPERS_OWN, REFERENCE, SERIES, TEXT
from cityguessr.taxonomy import LEVELS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHARE_LABEL = "log2 of share over even share"  # what the colours of `attention_blocks` mean


def block_means(weights: NDArray, sizes: Mapping[str, int]) -> NDArray:
    """How much attention each level pays to each: (d, d) weights -> (4, 4), rows add up to 1.

    Entry (a, b) is the attention that a token of level a pays to all tokens of level b together, averaged over a's
    tokens. Attention without preference gives b's share of the d tokens.
    """
    edges = np.cumsum([0, *(sizes[level] for level in LEVELS)])
    return np.array([[weights[a:b, c:d].sum(axis=1).mean() for c, d in pairwise(edges)] for a, b in pairwise(edges)])


def attention_blocks(
    ax: "Axes", weights: NDArray, sizes: Mapping[str, int], limit: float | None = None, bar: bool = True
) -> "Axes":
    """The attention weights as the 4 x 4 blocks of Fig. 5: one cell a pair of levels.

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


def training_curves(logs: Mapping[str, "pd.DataFrame"]) -> "Figure":
    """The losses on the training split and the accuracies on the validation split, epoch by epoch.

    Args:
        logs: a name (such as "seed 0") -> the log of a run; the first is drawn solid, the others dashed.
    """
    import matplotlib.pyplot as plt

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


def scene_bars(ax: "Axes", names: Sequence[str], predicted: NDArray, target: NDArray) -> "Axes":
    """The soft scene label of a clip beside the scenes that the model predicts, both shares of 1 over `names`."""
    positions = np.arange(len(names))
    ax.barh(positions - 0.2, 100 * np.asarray(target), height=0.4, color=REFERENCE, label="soft label")
    ax.barh(positions + 0.2, 100 * np.asarray(predicted), height=0.4, color=SERIES[0], label="predicted")
    ax.set_yticks(positions, names)
    ax.invert_yaxis()
    ax.set_xlabel("share of the clip (%)")
    ax.legend(loc="best")
    return ax


def differences(frame: "pd.DataFrame", table: str, reference: str = "cityguessr") -> "Figure":
    """Where each row of a table stands to a reference: a panel a level, a line a row, with 95 % intervals.

    A dot is the measured difference, its line the interval, a hollow diamond the paper's own difference. Rows of the
    paper that are not in the frame are there with their diamond and `not run`.

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
        found = cells.reindex([(row, level) for row in rows])
        paper_and_measured(ax, level, claimed, found["difference"], found["low"], found["high"], missing)
        ax.set_xlabel("percentage points")
    fig.suptitle(f"Top-1 accuracy that each row gains or loses against {of}", x=0.01, ha="left", fontsize=10)
    paper_legend(fig, "paper's difference", "measured, 95 % interval", True, below=True)
    return fig


def claims(frame: "pd.DataFrame") -> "Figure":
    """The paper's conclusions, a line each: its own difference and the measured one with its 95 % interval.

    Right of zero a claim is borne out, left of it contradicted; where the interval holds zero the runs leave it open.

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
    paper_legend(fig, "paper's difference", "measured, 95 % interval (hollow: it holds zero)", True)
    return fig


def level_panels(
    levels: Sequence[str], labels: Sequence[str], sharex: bool = False, wrap: int = 27
) -> tuple["Figure", list["Axes"]]:
    """Panels side by side, one a level, with a line for each label, the first on top; labels wrap at so many signs."""
    import matplotlib.pyplot as plt

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
    ax: "Axes",
    level: str,
    claimed: ArrayLike,
    measured: ArrayLike,
    low: ArrayLike,
    high: ArrayLike,
    missing: Sequence[str] | None = None,
) -> None:
    """One panel: the paper's number a hollow diamond, the measured one a dot on the line of its interval.

    All are (lines,), NaN where there is none; `missing` says what stands where nothing was measured.
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
        said = missing[at] if missing else "not run"
        if np.isnan(claimed[at]):
            ax.text(0.5, at, said, ha="center", transform=ax.get_yaxis_transform(), **text)
            continue
        side = {"xytext": (-6, 0), "ha": "right"} if claimed[at] > middle else {"xytext": (6, 0), "ha": "left"}
        ax.annotate(said, (claimed[at], at), textcoords="offset points", **side, **text)


def paper_legend(fig: "Figure", claimed: str, measured: str, bars: bool, below: bool = False) -> None:
    """The key of `paper_and_measured` above or below the panels, in no level's colour."""
    from matplotlib.lines import Line2D

    diamond = Line2D([], [], marker="D", ms=4.5, ls="", mfc="none", mec=PAPERS_OWN, mew=1.1)
    dot = Line2D([], [], marker="o", ms=4.5, lw=1.6 if bars else 0, color=TEXT)
    # Its place is kept free by hand: in a file cut to its contents, a legend "outside" slides over the line below.
    height = 0.27 / fig.get_size_inches()[1]
    fig.get_layout_engine().set(rect=(0, height if below else 0, 1, 1 - height))
    place = {"loc": "lower right" if below else "upper right", "bbox_to_anchor": (0, 0, 1, 1)}
    fig.legend([diamond, dot], [claimed, measured], ncols=2, bbox_transform=fig.transFigure, borderaxespad=0.1, **place)


def _styles(count: int) -> list[str]:
    return (["-", "--", ":", "-."] * count)[:count]
