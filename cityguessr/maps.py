"""World maps: one projection (Robinson), one grey, no network.

Land is drawn from the package's own polygons (Natural Earth 1:110m, public domain). Everything is placed in the
projection's metres, so that a map takes a fraction of a second. Coordinates come as (n, 2) latitude and longitude in
degrees; `cityguessr.sphere` holds the distances and densities.
"""

import json
import textwrap
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cityguessr import figures
from cityguessr.errors import InputError
from cityguessr.sphere import (
    as_places,
    as_weights,
    great_circle_arcs,
    great_circle_km,
    interpolate,
    kernel_density,
)

if TYPE_CHECKING:
    from cartopy.mpl.geoaxes import GeoAxes
    from matplotlib.cm import ScalarMappable
    from matplotlib.collections import LineCollection, PathCollection
    from matplotlib.colorbar import Colorbar

SOUTH, NORTH = -57.0, 84.0  # degrees shown: every inhabited place, and not Antarctica


def world(ax: "GeoAxes | None" = None) -> "GeoAxes":
    """The empty world: land in one grey on white, in Robinson, without Antarctica.

    `ax` is a cartopy axes in `maps.projection()`; a new figure of a full text width when left out.
    """
    import matplotlib.pyplot as plt
    from matplotlib.collections import PathCollection

    if ax is None:
        ax = plt.figure(figsize=(7.2, 3.6)).add_subplot(projection=projection())
    if type(getattr(ax, "projection", None)) is not type(projection()):
        raise InputError("a world map needs an axes made with projection=maps.projection()")
    ax.add_collection(
        PathCollection(_land(), facecolor=figures.LAND, edgecolor="white", linewidth=0.35, zorder=0, gid="land")
    )
    (west, _), (east, _) = _project([[0, -180], [0, 180]])
    (_, south), (_, north) = _project([[SOUTH, 0], [NORTH, 0]])
    ax.set_xlim(west, east)
    ax.set_ylim(south, north)
    ax.spines["geo"].set(edgecolor=figures.LAND, linewidth=0.6)  # the edge of the globe, where the date line is
    return ax


def projection() -> "object":
    """The one projection of the project's maps: Robinson about Greenwich, for `subplot_kw={"projection": ...}`."""
    import cartopy.crs as ccrs

    return ccrs.Robinson()


def density(
    ax: "GeoAxes",
    latlon: ArrayLike,
    weights: ArrayLike | None = None,
    radius_km: float = 300,
    *,
    vmax: float | None = None,
    gamma: float = 0.5,
    label: str | None = "clips per 1000 km²",
) -> "ScalarMappable":
    """Draw `kernel_density` as a smooth translucent colour over the world, with a colour bar.

    Args:
        ax: from `world`.
        latlon, weights, radius_km: as in `kernel_density`.
        vmax: top of the colour scale in samples per 1000 km2; share it between maps that are compared.
        gamma: exponent of the colour scale; 0.5 shows a lone city beside a crowded region, 1 is linear.
        label: text of the colour bar; None for no bar.

    Returns the mappable (its norm gives the scale).
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, PowerNorm

    grid = kernel_density(latlon, weights, radius_km)
    (west, _), (east, _) = _project([[0, -180], [0, 180]])
    (_, south), (_, north) = _project([[SOUTH, 0], [NORTH, 0]])
    width = 1400
    height = round(width * (north - south) / (east - west))
    x = west + (np.arange(width) + 0.5) * (east - west) / width
    y = south + (np.arange(height) + 0.5) * (north - south) / height
    values = interpolate(grid, _unproject(*np.meshgrid(x, y)))  # (height, width), NaN off the globe
    norm = PowerNorm(gamma, 0, vmax or float(np.nanmax(values)) or 1.0)
    colours = figures.sequential()(np.linspace(0, 1, 256))
    colours[:, 3] = np.minimum(1, np.linspace(0, 1, 256) / 0.35) * 0.9  # nothing is clear, much is nearly opaque
    cmap = ListedColormap(colours)
    ax.imshow(
        cmap(norm(np.nan_to_num(values))),
        extent=(west, east, south, north),
        origin="lower",
        transform=ax.projection,
        interpolation="bilinear",
        zorder=2,
    )
    ax.set_xlim(west, east)
    ax.set_ylim(south, north)
    mappable = ScalarMappable(norm, cmap)
    if label is not None:
        colour_bar(mappable, ax, label)
    return mappable


def colour_bar(mappable: "ScalarMappable", ax: "GeoAxes | Sequence[GeoAxes]", label: str) -> "Colorbar":
    """A short horizontal colour bar below one map, or below several that share a scale."""
    from matplotlib.ticker import MaxNLocator

    figure = np.ravel(np.asarray(ax, dtype=object))[0].figure
    bar = figure.colorbar(mappable, ax=ax, orientation="horizontal", shrink=0.4, aspect=36, pad=0.02)
    bar.outline.set_visible(False)
    bar.set_label(label, fontsize=8)
    bar.ax.xaxis.set_major_locator(MaxNLocator(4))
    bar.ax.tick_params(labelsize=7.5, length=2)
    return bar


def points(
    ax: "GeoAxes",
    latlon: ArrayLike,
    values: ArrayLike | None = None,
    sizes: ArrayLike | float = 14,
    colours: Sequence[str] | str | None = None,
    **scatter: object,
) -> "PathCollection":
    """Places as dots: `values` (n,) go through the sequential colour map, or give `colours`; `sizes` in points^2."""
    x, y = _project(as_places(latlon)).T
    style = {"zorder": 4, "linewidths": 0.4, "edgecolors": "white"} | scatter
    if values is not None:
        return ax.scatter(x, y, s=sizes, c=np.asarray(values, float), cmap=figures.sequential(), **style)
    return ax.scatter(x, y, s=sizes, c=colours or figures.LEVEL_COLOURS["city"], **style)


def paths(
    ax: "GeoAxes",
    start: ArrayLike,
    end: ArrayLike,
    weights: ArrayLike | None = None,
    colour: str = figures.LEVEL_COLOURS["city"],
    max_width: float = 2.0,
    **lines: object,
) -> "LineCollection":
    """Great-circle arcs between (n, 2) and (n, 2) places, as wide as their weights; cut at the date line."""
    from matplotlib.collections import LineCollection

    start, end = as_places(start), as_places(end)
    if len(start) != len(end):
        raise InputError(f"{len(start)} starts for {len(end)} ends of paths")
    weights = as_weights(weights, start)
    pieces, widths = [], []
    for arc, weight in zip(great_circle_arcs(start, end), weights, strict=True):  # (65, 2) degrees each
        jumps = np.flatnonzero(np.abs(np.diff(arc[:, 1])) > 180) + 1
        for piece in np.split(arc, jumps):
            if len(piece) > 1:
                pieces.append(_project(piece))
                widths.append(max_width * max(0.15, weight / max(weights.max(), 1e-12)))
    style = {"alpha": 0.55, "zorder": 3, "capstyle": "round"} | lines
    collection = LineCollection(pieces, linewidths=widths, colors=colour, **style)
    ax.add_collection(collection, autolim=False)
    return collection


def guess_map(
    ax: "GeoAxes",
    latlon: ArrayLike,
    probabilities: ArrayLike,
    path: Sequence[str] | str | None = None,
    truth: ArrayLike | None = None,
    *,
    names: Sequence[str] | None = None,
) -> "GeoAxes":
    """The most probable cities of one clip on the world: area is probability, and labels keep clear of one another.

    Args:
        ax: from `world`.
        latlon: (k, 2) degrees, most probable first.
        probabilities: (k,) in [0, 1].
        path: the codependent prediction, city to continent, written below the map from the continent down.
        truth: (2,) degrees where the clip was recorded, marked with a ring and joined to the first guess.
        names: (k,) city names; without them labels show the probability alone.
    """
    latlon, probabilities = as_places(latlon), np.asarray(probabilities, float)
    if len(probabilities) != len(latlon) or (names is not None and len(names) != len(latlon)):
        raise InputError("guess_map needs one probability and one name for each place")
    colour = figures.LEVEL_COLOURS["city"]
    order = np.argsort(-probabilities)  # a small mark stays visible on a large one
    points(ax, latlon[order], sizes=16 + 220 * probabilities[order], colours=colour, alpha=0.8, linewidths=0.8)
    if truth is not None:
        truth = as_places(np.reshape(np.asarray(truth, float), (-1, 2)))
        paths(ax, latlon[:1], truth, colour=figures.INK, max_width=0.9, alpha=0.9)
        points(ax, truth, sizes=60, colours="none", edgecolors=figures.INK, linewidths=1.4, zorder=6)
    shares = [f"{p:.0%}" if p >= 0.005 else "<1%" for p in probabilities]
    texts = shares if names is None else [f"{name} {share}" for name, share in zip(names, shares, strict=True)]
    places, bold = latlon, [i == 0 for i in range(len(texts))]
    if truth is not None:
        texts.append(f"recorded here ({float(great_circle_km(latlon[0], truth[0])):,.0f} km off)")
        places, bold = np.concatenate([latlon, truth]), [*bold, False]
    _label(ax, places, texts, bold)
    if path is not None:
        line = path if isinstance(path, str) else "predicted path: " + " › ".join(reversed(path))
        ax.text(
            0.5, -0.02, textwrap.fill(line, 110), transform=ax.transAxes, ha="center", va="top", fontsize=8.5,
            color=figures.INK, gid="path",
        )  # fmt: skip
    return ax


def _label(ax: "GeoAxes", latlon: NDArray, texts: Sequence[str], bold: Sequence[bool]) -> None:
    """Write a label beside each place, at the nearest of many positions that covers no other label and no place."""
    from matplotlib.transforms import Bbox

    figure = ax.figure
    figure.canvas.draw()  # sizes in pixels are known once the layout has settled
    renderer = figure.canvas.get_renderer()
    scale = figure.dpi / 72  # pixels a point
    anchors = ax.transData.transform(_project(latlon))
    frame = ax.get_window_extent(renderer)
    taken = [Bbox.from_extents(x - 5 * scale, y - 5 * scale, x + 5 * scale, y + 5 * scale) for x, y in anchors]
    angles = np.radians([0, 180, 30, -30, 150, -150, 60, -60, 120, -120, 90, -90])
    for (x, y), text, heavy in zip(anchors, texts, bold, strict=True):
        label = ax.annotate(
            text, (x, y), xycoords="figure pixels", fontsize=8, fontweight="bold" if heavy else "normal", zorder=8
        )
        box = label.get_window_extent(renderer)
        label.remove()
        best, least = None, np.inf
        for distance in (9, 16, 26, 38, 52):
            for angle in angles:
                dx, dy = np.cos(angle) * distance * scale, np.sin(angle) * distance * scale
                left = (
                    x + dx - (box.width if np.cos(angle) < -0.1 else box.width / 2 if abs(np.cos(angle)) <= 0.1 else 0)
                )
                place = Bbox.from_bounds(left, y + dy - box.height / 2, box.width, box.height)
                cover = sum(_overlap(place, other.padded(2 * scale)) for other in taken)
                cover += box.width * box.height - _overlap(place, frame)  # what would stand outside the map
                cost = cover * 10 + distance
                if cost < least - 1e-6:
                    best, least = place, cost
        taken.append(best)
        centre = ax.transData.inverted().transform((best.x0, (best.y0 + best.y1) / 2))
        nearest = np.clip((x, y), (best.x0, best.y0), (best.x1, best.y1))
        if np.hypot(*(nearest - (x, y))) > 14 * scale:  # too far to be read as the place's own: a leader line
            line = ax.transData.inverted().transform([(x, y), nearest])
            ax.plot(*line.T, color=figures.MUTED, lw=0.6, zorder=5)
        ax.text(
            *centre, text, fontsize=8, fontweight="bold" if heavy else "normal", va="center", ha="left", zorder=8,
            color=figures.INK, gid="label", bbox={"facecolor": "white", "alpha": 0.65, "pad": 0.6, "linewidth": 0},
        )  # fmt: skip


def _overlap(a: object, b: object) -> float:
    """The common area of two boxes, in pixels^2."""
    return max(0.0, min(a.x1, b.x1) - max(a.x0, b.x0)) * max(0.0, min(a.y1, b.y1) - max(a.y0, b.y0))


def _project(latlon: ArrayLike) -> NDArray:
    """(n, 2) degrees -> (n, 2) metres of the map."""
    import cartopy.crs as ccrs

    latlon = np.asarray(latlon, float)
    return projection().transform_points(ccrs.PlateCarree(), latlon[:, 1], latlon[:, 0])[:, :2]


def _unproject(x: NDArray, y: NDArray) -> NDArray:
    """Metres of the map, any shape -> (..., 2) degrees, not finite off the globe."""
    import cartopy.crs as ccrs

    lonlat = ccrs.PlateCarree().transform_points(projection(), x.ravel(), y.ravel())[:, :2]
    latlon = lonlat[:, ::-1].reshape(*x.shape, 2)
    # Beyond the globe's edge the inverse still answers, with the far side's longitudes: only a true inverse counts.
    finite = np.where(np.isfinite(latlon), latlon, 0)
    back = _project(finite.reshape(-1, 2)).reshape(*x.shape, 2)
    true = np.isfinite(latlon).all(-1) & (np.abs(back[..., 0] - x) < 1000) & (np.abs(back[..., 1] - y) < 1000)
    return np.where(true[..., None], latlon, np.nan)


@cache
def _land() -> list[object]:
    """One path a country, in metres of the map; the polygons are already cut at the date line."""
    from matplotlib.path import Path

    text = (resources.files("cityguessr.data") / "resources" / "countries110m.geojson").read_text(encoding="utf-8")
    paths_ = []
    for feature in json.loads(text)["features"]:
        if feature["properties"]["continent"] == "Antarctica":
            continue
        rings = [
            Path(_project(np.asarray(ring)[:, ::-1]), closed=True)
            for polygon in feature["geometry"]["coordinates"]
            for ring in polygon
        ]
        paths_.append(Path.make_compound_path(*rings))
    return paths_
