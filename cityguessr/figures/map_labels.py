"""Labels of points that keep clear of one another."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from cityguessr.figures.style import MUTED, TEXT

_ANGLES = np.radians([0, 180, 30, -30, 150, -150, 60, -60, 120, -120, 90, -90])
_DISTANCES = (9, 16, 26, 38, 52)  # points


def place(
    ax: Axes,
    points: ArrayLike,
    texts: Sequence[str],
    bold: Sequence[bool] | None = None,
    size: float = 8,
    avoid: ArrayLike | None = None,
) -> None:
    """Write a label beside each point, at the nearest of many positions that covers no other label and no point.

    Call it last: positions hold for the layout that the figure has by then.

    Args:
        points: (n, 2), in the axes' data coordinates; for a map, from `maps.project`.
        texts, bold: n each.
        size: of the type, in points.
        avoid: (m, 2), further points to keep free where there is room.
    """
    figure = ax.figure
    figure.canvas.draw()  # sizes in pixels are known once the layout has settled
    renderer = figure.canvas.get_renderer()
    scale = figure.dpi / 72  # pixels a point
    anchors = ax.transData.transform(np.reshape(np.asarray(points, float), (-1, 2)))
    frame = ax.get_window_extent(renderer).extents
    taken = [np.concatenate([at - 7 * scale, at + 7 * scale]) for at in anchors]
    others = ax.transData.transform(np.reshape(np.asarray([] if avoid is None else avoid, float), (-1, 2)))
    others = np.concatenate([others - 3 * scale, others + 3 * scale], axis=1)
    back = ax.transData.inverted()
    for at, text, heavy in zip(anchors, texts, bold or [False] * len(texts), strict=True):
        weight = "bold" if heavy else "normal"
        trial = ax.annotate(text, at, xycoords="figure pixels", fontsize=size, fontweight=weight, parse_math=False)
        box = trial.get_window_extent(renderer)
        trial.remove()
        spots = _spots(at, box.width, box.height, scale)
        cover = overlap(spots[:, None], np.array(taken) + scale * np.array([-2, -2, 2, 2])).sum(axis=1)
        cover += box.width * box.height - overlap(spots, frame)  # what would stand outside the map
        # In square points, to depend on no resolution; a dot that is covered costs as much as a label 36 points away.
        cost = 10 * cover + overlap(spots[:, None], others).sum(axis=1)
        cost = cost / scale**2 + np.repeat(_DISTANCES, len(_ANGLES))
        cost += 25 * _passed(at, spots, anchors, 5 * scale)
        best = spots[np.argmin(np.round(cost, 3))]
        taken.append(best)
        nearest = np.clip(at, best[:2], best[2:])
        if np.hypot(*(nearest - at)) > 11 * scale:  # too far to be read as the point's own: a leader line
            ax.plot(*back.transform([at, nearest]).T, color=MUTED, lw=0.6, zorder=5)
        ax.text(
            *back.transform((best[0], (best[1] + best[3]) / 2)), text, fontsize=size, fontweight=weight, va="center",
            ha="left", zorder=8, color=TEXT, gid="label", parse_math=False,
            bbox={"facecolor": "white", "alpha": 0.65, "pad": 0.6, "linewidth": 0},
        )  # fmt: skip


def overlap(a: NDArray, b: NDArray) -> NDArray:
    """The common area of boxes: (..., 4) left, bottom, right and top of each, broadcast together -> (...)."""
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    return np.maximum(sides, 0).prod(axis=-1)


def _passed(at: NDArray, spots: NDArray, others: NDArray, near: float) -> NDArray:
    """How many other points (m, 2) a leader line from a point to each of the spots (n, 4) goes towards and past: (n,).

    To be past is to come as `near` (pixels); what the line leaves behind does not count.
    """
    ways = np.clip(at, spots[:, :2], spots[:, 2:]) - at  # to the nearest corner or side
    steps = at + ways[:, None] * np.linspace(0, 1, 24)[:, None]  # (n, 24, 2)
    nearest = np.linalg.norm(steps[:, :, None] - others, axis=-1).min(axis=1)  # (n, m)
    return ((nearest < near) & (nearest < 0.8 * np.linalg.norm(others - at, axis=-1))).sum(axis=1)


def _spots(at: NDArray, width: float, height: float, scale: float) -> NDArray:
    """Where a label of that size may stand, near positions first: (positions, 4) pixels, left, bottom, right, top."""
    cos, sin = np.cos(_ANGLES), np.sin(_ANGLES)
    aside = np.where(cos < -0.1, width, np.where(np.abs(cos) <= 0.1, width / 2, 0))
    away = scale * np.array(_DISTANCES)[:, None]
    left, bottom = (at[0] + away * cos - aside).ravel(), (at[1] + away * sin - height / 2).ravel()
    return np.stack([left, bottom, left + width, bottom + height], axis=1)
