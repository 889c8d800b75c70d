"""How a long video is cut into clips, drawn along its time."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import ArrayLike

from cityguessr.figures.style import MUTED, REFERENCE, SERIES


def cuts(
    pictures: Sequence[ArrayLike],
    at: Sequence[int],
    clips: pd.DataFrame,
    kept: int,
    fps: float,
    frames: int,
    title: str,
) -> Figure:
    """Frames of a long video, and below them its clips, the frames kept of each, and what no clip has.

    Args:
        pictures: uint8 (H, W, 3) each, evenly spread over the video.
        at: their numbers in the video, from 0.
        clips: columns clip, first_frame, frames and split, as in `clips.csv`.
        kept: frames kept of each clip.
        fps, frames: of the video.
    """
    ratio = pictures[0].shape[0] / pictures[0].shape[1]
    across = 6.6 / len(pictures) * ratio
    fig, (above, below) = plt.subplots(
        2, 1, figsize=(7.2, across + 1.75), height_ratios=(across, 1.0), sharex=True, layout="constrained"
    )
    width = frames / len(pictures)
    for k, picture in enumerate(pictures):
        above.imshow(picture, extent=(k * width, (k + 0.97) * width, 0, 1), aspect="auto")
        above.plot([at[k] + 0.5] * 2, [-0.09, 0], color=MUTED, lw=0.8, clip_on=False)
    above.set(xlim=(0, frames), ylim=(0, 1))
    above.set_axis_off()
    colours = dict(zip(("train", "val"), SERIES, strict=False))
    below.axvspan(0, frames, color=REFERENCE, alpha=0.45, lw=0)
    for row in clips.itertuples():
        numbers = [row.first_frame + i * row.frames // kept for i in range(kept)]
        box = {"facecolor": colours[row.split], "edgecolor": "white", "lw": 2}
        below.broken_barh([(row.first_frame, row.frames)], (0, 1), **box)
        below.vlines(
            [n + 0.5 for n in numbers], 0.08, 0.42, color="white", lw=max(0.4, min(1.6, 120 / len(clips) / kept))
        )
        name = f"{row.clip}\n{row.frames} frames" if len(clips) <= 6 else row.clip.rpartition("_")[2]
        below.text(row.first_frame + row.frames / 2, 0.7, name, color="white", ha="center", va="center", fontsize=7.5)
    ticks = [frames * k / 6 for k in range(7)]
    below.set_xticks(ticks, [f"{tick / fps:.0f}" for tick in ticks])
    below.set(ylim=(0, 1), yticks=[], xlabel="seconds from the start of the video")
    below.spines[["left", "right", "top"]].set_visible(False)
    key = {"training": colours["train"], "validation": colours["val"], "in no clip": REFERENCE}
    patches = [Patch(color=colour, label=name) for name, colour in key.items()]
    fig.legend(handles=patches, loc="outside lower right", ncols=3, fontsize=7.5, borderpad=0)
    fig.suptitle(title, x=0.01, ha="left")
    return fig
