"""How fast a training is, drawn: ways to train, batch sizes, where the time of a step goes, and what fits a card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cityguessr.figures.style import GUIDE, MUTED, REFERENCE, SERIES, TEXT, sequential

MEMORY_PARTS = {"weights": SERIES[0], "gradients": SERIES[1], "Adam's moments": SERIES[2], "clips": REFERENCE}
"""What takes memory in a training -> its colour."""


def ways(panels: Mapping[str, pd.DataFrame]) -> Figure:
    """Clips per second of several ways to train, one panel per machine, with the ratio to the first way.

    Args:
        panels: machine -> columns label and clips_per_second, the way that others are compared with first.
    """
    height = 1.0 + 0.34 * max(len(frame) for frame in panels.values())
    fig, axes = _panels(len(panels), height)
    for ax, (machine, frame) in zip(axes, panels.items(), strict=True):
        rates, y = frame["clips_per_second"].to_numpy(), np.arange(len(frame))
        ax.barh(y, rates, height=0.6, color=[REFERENCE, *[SERIES[0]] * (len(frame) - 1)])
        ax.set_yticks(y, frame["label"])
        ax.invert_yaxis()
        ax.set_xlim(0, 1.34 * rates.max())
        for at, rate in enumerate(rates):
            ratio = f"  (x {rate / rates[0]:.2g})" if at else ""
            ax.text(rate, at, f" {_rate(rate)}{ratio}", va="center", fontsize=8)
        ax.tick_params(axis="y", length=0)
        ax.set_title(machine, fontsize=9)
        ax.set_xlabel("clips per second")
    fig.suptitle("One model, several ways to train it", x=0.01, ha="left", fontsize=10)
    return fig


def batch_sizes(panels: Mapping[str, pd.DataFrame]) -> Figure:
    """Clips per second at several batch sizes, one panel per machine.

    Args:
        panels: machine -> columns batch and clips_per_second.
    """
    fig, axes = _panels(len(panels), 2.7)
    for ax, (machine, frame) in zip(axes, panels.items(), strict=True):
        batches, rates = frame["batch"].to_numpy(), frame["clips_per_second"].to_numpy()
        ax.plot(batches, rates, "o-", color=SERIES[0])
        above = {"xytext": (0, 6), "textcoords": "offset points", "ha": "center", "fontsize": 8}
        for batch, rate in zip(batches, rates, strict=True):
            ax.annotate(_rate(rate), (batch, rate), **above)
        ax.set_xscale("log", base=2)
        ax.set_xticks(batches, [str(batch) for batch in batches])
        ax.minorticks_off()
        ax.set_xlim(batches.min() / 1.4, batches.max() * 1.4)
        ax.set_ylim(0, 1.2 * rates.max())
        ax.grid(axis="y")
        ax.set_title(machine, fontsize=9)
        ax.set(xlabel="clips per step", ylabel="clips per second")
    fig.suptitle("Clips per second at each batch size", x=0.01, ha="left", fontsize=10)
    return fig


def step_time(frame: pd.DataFrame, title: str) -> Figure:
    """Where the time of a step goes: one stacked bar per path, in milliseconds.

    Args:
        frame: columns path, group and ms_per_step; the group "gaps" is time in which nothing is computed.
        title: what the bars are of.
    """
    table = frame.pivot_table("ms_per_step", "path", "group", "sum", sort=False).fillna(0.0)
    groups = [*table.drop(columns="gaps", errors="ignore").max().sort_values(ascending=False).index]
    colours = dict(zip(groups, sequential()(np.linspace(0.88, 0.12, len(groups))), strict=True))
    if "gaps" in table:
        groups, colours = [*groups, "gaps"], colours | {"gaps": GUIDE}
    fig, ax = plt.subplots(figsize=(7.2, 1.5 + 0.42 * len(table)), layout="constrained")
    left, y = np.zeros(len(table)), np.arange(len(table))
    whole = table.sum(axis=1).max()
    for number, group in enumerate(groups):
        values = table[group].to_numpy()
        ax.barh(y, values, left=left, height=0.62, color=colours[group], label=group, edgecolor="white", linewidth=0.5)
        for at, value in enumerate(values):
            if value > 0.045 * whole:
                dark = group != "gaps" and number < 0.55 * len(groups)
                ax.text(
                    left[at] + value / 2, at, f"{value:.1f}", ha="center", va="center", fontsize=7.5,
                    color="white" if dark else TEXT,
                )  # fmt: skip
        left += values
    ax.set_yticks(y, table.index)
    ax.invert_yaxis()
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel("milliseconds per step")
    fig.suptitle(title, x=0.01, ha="left", fontsize=10)
    ax.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=min(5, len(groups)), columnspacing=1.2)
    return fig


def memory(frame: pd.DataFrame, cards: Sequence[float]) -> Figure:
    """What a training takes of a GPU's memory, one stacked bar per system, with the sizes of usual cards as lines.

    Args:
        frame: the systems as index, GB in the columns of `MEMORY_PARTS`.
        cards: GB.
    """
    fig, ax = plt.subplots(figsize=(7.2, 1.3 + 0.3 * len(frame)), layout="constrained")
    left, y = np.zeros(len(frame)), np.arange(len(frame))
    for part, colour in MEMORY_PARTS.items():
        values = frame[part].to_numpy()
        ax.barh(y, values, left=left, height=0.62, color=colour, label=part)
        left += values
    end = 1.15 * left.max()
    for at, value in enumerate(left):
        ax.text(value, at, f" {value:.1f} GB", va="center", fontsize=8)
    for card in (card for card in cards if card < end):
        ax.axvline(card, color=MUTED, lw=0.8, ls=(0, (2, 2)), zorder=0)
        ax.annotate(
            f"{card:g} GB", (card, 1), (0, 2), xycoords=("data", "axes fraction"), textcoords="offset points",
            ha="center", fontsize=7.5, color=MUTED,
        )  # fmt: skip
    ax.set_xlim(0, end)
    ax.set_yticks(y, frame.index)
    ax.invert_yaxis()
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel("GB at the height of a step")
    fig.suptitle("What a training takes of a GPU's memory", x=0.01, ha="left", fontsize=10)
    above = 1 + 0.22 / (0.3 * len(frame))  # over the cards' names
    ax.legend(loc="lower left", bbox_to_anchor=(-0.01, above), ncols=len(MEMORY_PARTS), columnspacing=1.2)
    return fig


def _panels(count: int, height: float) -> tuple[Figure, list[Axes]]:
    """Panels side by side, a column's width for one alone."""
    fig, axes = plt.subplots(1, count, figsize=(7.2 if count > 1 else 4.8, height), squeeze=False, layout="constrained")
    return fig, list(axes[0])


def _rate(value: float) -> str:
    """Three digits that count, and whole numbers from a hundred on."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
