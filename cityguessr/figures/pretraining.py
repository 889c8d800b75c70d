"""What masked autoencoding is given, what it makes of it, and how it learns."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from torch import Tensor

from cityguessr.base.errors import InputError
from cityguessr.figures.style import REFERENCE, SERIES


def masked_clips(rows: Mapping[str, Tensor], every: int = 2, suptitle: str | None = None) -> Figure:
    """Clips side by side, once in each row: as they are, with places hidden, filled in.

    Args:
        rows: what a row is called -> uint8 (clips, T, 3, H, W), of the same shape in all rows.
        every: one frame of so many is drawn.
        suptitle: what to see.

    Raises InputError where rows differ in shape, or there are none.
    """
    shapes = {tuple(clips.shape) for clips in rows.values()}
    if len(shapes) != 1:
        raise InputError(
            f"rows of clips of the shapes {sorted(shapes)}; give at least one row, and the same clips in each"
        )
    clips, frames = next(iter(shapes))[0], range(0, next(iter(shapes))[1], every)
    columns = clips * len(frames)
    size = 7.2 / (columns + 0.3 * clips)
    fig, axes = plt.subplots(
        len(rows),
        columns + clips - 1,  # a narrow empty column between two clips
        figsize=(7.2, size * len(rows) + (0.45 if suptitle else 0.2)),
        width_ratios=([1] * len(frames) + [0.15]) * (clips - 1) + [1] * len(frames),
        squeeze=False,
        layout="constrained",
    )
    fig.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0, hspace=0)
    for line, (name, pictures) in zip(axes, rows.items(), strict=True):
        for at, ax in enumerate(line):
            clip, frame = divmod(at, len(frames) + 1)
            ax.set(xticks=[], yticks=[], frame_on=False)
            if frame < len(frames):
                ax.imshow(np.asarray(pictures[clip, frames[frame]]).transpose(1, 2, 0))
            if line is axes[0] and frame < len(frames):
                ax.set_title(f"frame {frames[frame] + 1}", fontsize=7, fontweight="normal", pad=2)
        line[0].set_ylabel(name, fontsize=7.5)
    if suptitle:
        fig.suptitle(suptitle, x=0.01, ha="left")
    return fig


def masked_losses(logs: Mapping[str, pd.DataFrame]) -> Figure:
    """The loss of masked autoencoding by epoch, on the clips that are learned from and on held-out ones (dashed).

    Args:
        logs: what a training is called -> its rows, with the columns epoch, loss and held_out.
    """
    fig, ax = plt.subplots(figsize=(4.6, 2.7), layout="constrained")
    for colour, (name, log) in zip(SERIES, logs.items(), strict=False):
        ax.plot(log["epoch"], log["loss"], color=colour, label=name)
        ax.plot(log["epoch"], log["held_out"], "--", color=colour, label=f"{name}, held out")
    ax.axhline(1, color=REFERENCE, lw=0.8, zorder=0)
    ax.set(title="Error on the hidden cubes, epoch by epoch", xlabel="epoch", ylabel="squared error (1: the mean)")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend()
    return fig


def starts(table: pd.DataFrame, order: Sequence[str]) -> Figure:
    """City accuracy after finetuning by start: a dot per seed and a bar for their mean, seen and unseen videos.

    Args:
        table: columns start, seen, unseen (%), a row per seed.
        order: of the starts, from the left.
    """
    fig, ax = plt.subplots(figsize=(4.6, 2.7), layout="constrained")
    for number, (column, label) in enumerate((("seen", "seen videos"), ("unseen", "unseen videos"))):
        at = np.arange(len(order)) + 0.38 * number - 0.19
        values = [table.loc[table["start"] == start, column] for start in order]
        ax.bar(at, [value.mean() for value in values], 0.36, color=SERIES[number], alpha=0.45, label=label)
        for x, value in zip(at, values, strict=True):
            ax.plot([x] * len(value), value, ".", color=SERIES[number], ms=5)
    ax.set_xticks(range(len(order)), order)
    ax.set(title="City accuracy after the same finetuning", ylabel="top-1 (%)", xlabel="start")
    ax.legend(loc="upper left")  # random weights, which find least, come first
    return fig
