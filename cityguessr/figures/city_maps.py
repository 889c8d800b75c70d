"""Maps of one city in km, north up: the frame, dots, a scale bar. What is drawn on them is others' matter."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from numpy.typing import ArrayLike, NDArray

from cityguessr.figures.style import GUIDE, TEXT
from cityguessr.figures.track_answers import local_km
from cityguessr.measures.sphere import EARTH_RADIUS_KM, great_circle_km

View = tuple[float, float, float, float]
"""West, east, south and north of a map, in km from its middle."""

SHAPE = 0.74  # height of a map for its width
HALO = [withStroke(linewidth=2.2, foreground="white")]


def places_around(middle: ArrayLike, east: NDArray, north: NDArray) -> NDArray[np.float64]:
    """The places so many km east and north of a middle, arrays of one shape -> (..., 2) degrees.

    The inverse of `track_answers.local_km`: distances and directions from the middle are true.
    """
    lat0, lon0 = np.radians(np.asarray(middle, dtype=float))
    length = np.maximum(np.hypot(east, north), 1e-12)
    turn = length / EARTH_RADIUS_KM
    lat = np.arcsin(np.cos(turn) * np.sin(lat0) + north / length * np.sin(turn) * np.cos(lat0))
    across = east * np.sin(turn), length * np.cos(lat0) * np.cos(turn) - north * np.sin(lat0) * np.sin(turn)
    lon = np.degrees(lon0 + np.arctan2(*across))
    return np.stack([np.degrees(lat), (lon + 180) % 360 - 180], axis=-1)


def view_of(km: NDArray, margin: float = 1.18, least: float = 0.5, shape: float = SHAPE) -> View:
    """The smallest map of that shape around points (n, 2) km, with a margin.

    Args:
        margin: what the map shows, for what must be on it.
        least: from its middle to its upper edge, at least, in km.
    """
    low, high = km.min(axis=0), km.max(axis=0)
    (x, y), (width, height) = (low + high) / 2, margin * (high - low)
    half = max(height / 2, width / 2 * shape, least)
    return x - half / shape, x + half / shape, y - half, y + half


def frame(ax: Axes, view: View, shape: float = SHAPE) -> None:
    """An empty map: its edges, no ticks, a km as long in either direction."""
    west, east, south, north = view
    ax.set(xlim=(west, east), ylim=(south, north), xticks=[], yticks=[])
    ax.set_box_aspect(shape)
    for spine in ax.spines.values():
        spine.set(visible=True, color=GUIDE)


def dots(ax: Axes, points: ArrayLike, middle: NDArray, view: View, colour: str, size: float) -> None:
    """Places (n, 2) degrees as dots of a size in points^2; those outside the map are left out."""
    if not len(points := np.asarray(points, dtype=float)):
        return
    west, east, south, north = view
    radius = np.hypot(max(abs(west), abs(east)), max(abs(south), abs(north)))
    x, y = local_km(points[great_circle_km(points, middle) <= radius], middle).T
    inside = (x > west) & (x < east) & (y > south) & (y < north)
    many = bool(inside.sum() > 2000)  # of a fine gallery, too many for a file of vectors
    ax.scatter(x[inside], y[inside], s=size, color=colour, linewidths=0, zorder=1, rasterized=many)


def scale_bar(ax: Axes, view: View) -> None:
    """A length of 1, 2 or 5 and noughts, at the lower left."""
    west, east, south, north = view
    rough = (east - west) / 4
    power = 10.0 ** np.floor(np.log10(rough))
    length = power * max(step for step in (1, 2, 5) if step * power <= rough)
    x, y = west + 0.04 * (east - west), south + 0.06 * (north - south)
    ax.plot([x, x + length], [y, y], color=TEXT, lw=1.6, solid_capstyle="butt", zorder=8, path_effects=HALO)
    text = f"{length:g} km" if length >= 1 else f"{1000 * length:g} m"
    ax.text(x, y + 0.025 * (north - south), text, fontsize=7, va="bottom", zorder=8, path_effects=HALO)


def km(value: float) -> str:
    """A distance for a label: two digits that count below 10 km, whole numbers above."""
    return f"{value:,.0f} km" if value >= 9.95 else f"{value:.1f} km" if value >= 0.995 else f"{value:.2f} km"
