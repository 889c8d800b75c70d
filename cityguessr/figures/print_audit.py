"""Printed rows by what their wrong cities still get right, as `paper.audit` computes it."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cityguessr import paper
from cityguessr.base.errors import InputError
from cityguessr.figures.style import GUIDE, LEVEL_COLOURS, MUTED
from cityguessr.taxonomy import LEVELS

_LEVELS = LEVELS[1:]


def right_where_the_city_is_wrong(audited: pd.DataFrame, chance: Mapping[str, float]) -> Figure:
    """One line per row, one panel per level: P(level right | city wrong), with what rounding allows as a bar.

    Filled marks are numbers in print, hollow ones what the slides print otherwise. Grey bands set tables apart.

    Args:
        audited: the columns of `paper.audit.audit`, the rows in the order to be drawn, each once.
        chance: level -> the share if wrong cities were drawn at random; a dashed line. Levels without one have none.

    Raises InputError where there are no rows, or a row is there twice.
    """
    keys = ["table", "row", "label", "source"]
    rows = list(audited[keys].drop_duplicates().itertuples(index=False, name=None))
    if not rows or audited.duplicated([*keys, "level"]).any():
        raise InputError("the audit to draw has no rows, or one twice (top-1 and top-5?); choose rows, each once")
    fig, axes = plt.subplots(1, len(_LEVELS), figsize=(10, 0.24 * len(rows) + 1.5), sharey=True, layout="constrained")
    for ax, level in zip(axes, _LEVELS, strict=True):
        part = audited[audited["level"] == level].set_index(keys)
        colour = LEVEL_COLOURS[level]
        for y, key in enumerate(rows):
            line = part.loc[key]
            ax.plot([line["low"], line["high"]], [y, y], color=colour, linewidth=2)
            face = colour if key[-1] == "print" else "white"
            ax.plot(line["share"], y, "o", color=colour, markerfacecolor=face, markersize=5)
        if level in chance:
            ax.axvline(chance[level], color=MUTED, linestyle="--", linewidth=1)
        ax.axvline(0, color=GUIDE, linewidth=1, zorder=0)
        ax.set_title(level.capitalize())
        ax.set_xlabel("percent of wrong cities")
    _bands(axes, [key[0] for key in rows])
    axes[0].set_yticks(range(len(rows)), [f"{key[2]}  ({_short(key[0])})" for key in rows])
    axes[0].invert_yaxis()
    marks = [
        Line2D([], [], marker="o", linestyle="", color=MUTED, label="in print"),
        Line2D([], [], marker="o", linestyle="", color=MUTED, markerfacecolor="white", label="with the slides' number"),
        Line2D([], [], color=MUTED, linestyle="--", label="wrong cities drawn at random"),
    ]
    fig.legend(handles=marks, loc="outside lower center", ncols=len(marks))
    fig.suptitle("How often state, country and continent are right where the city is wrong")
    return fig


def _short(table: str) -> str:
    return paper.TITLES[table].split(":")[0]


def _bands(axes: object, tables: list[str]) -> None:
    """A pale band behind every second table's rows."""
    for i, table in enumerate(dict.fromkeys(tables)):
        if i % 2:
            first = tables.index(table)
            for ax in axes:
                ax.axhspan(first - 0.5, first + tables.count(table) - 0.5, color=GUIDE, alpha=0.25, zorder=0)
