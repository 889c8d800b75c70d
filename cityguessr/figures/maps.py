"""World maps: one projection (Robinson), one grey, no network.

Land is drawn from the package's own polygons (Natural Earth 1:110m, public domain). Everything is placed in the
projection's metres, so that a map takes a fraction of a second. Coordinates come as (n, 2) latitude and longitude in
degrees; `cityguessr.measures.sphere` holds the distances and densities.
"""

import json
import textwrap
from collections.abc import Sequence
from functools import cache
from importlib import resources

import cartopy.crs as ccrs
import matplotlib.pyplot as plt
import numpy as np
from cartopy.mpl.geoaxes import GeoAxes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colorbar import Colorbar
from matplotlib.colors import ListedColormap, PowerNorm
from matplotlib.patches import FancyArrowPatch
from matplotlib.path import Path
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import ArrayLike, NDArray

from cityguessr.base.errors import InputError
from cityguessr.figures import map_labels
from cityguessr.figures.style import LAND, LEVEL_COLOURS, TEXT, sequential
from cityguessr.measures.sphere import (
    as_places,
    as_weights,
    great_circle_arcs,
    great_circle_km,
    interpolate,
    kernel_density,
)

SOUTH, NORTH = -57.0, 84.0  # degrees shown: every inhabited place, and not Antarctica


def world(ax: GeoAxes | None = None) -> GeoAxes:
    """The empty world: land in one grey on white, in Robinson, without Antarctica.

    `ax` is a cartopy axes in `maps.projection()`; a new figure of a full text width when left out.
    """
    if ax is None:
        ax = plt.figure(figsize=(7.2, 3.6)).add_subplot(projection=projection())
    if type(getattr(ax, "projection", None)) is not type(projection()):
        raise InputError("a world map needs an axes made with projection=maps.projection()")
    ax.add_collection(PathCollection(land(), facecolor=LAND, edgecolor="white", linewidth=0.35, zorder=0, gid="land"))
    west, east, south, north = extent()
    ax.set_xlim(west, east)
    ax.set_ylim(south, north)
    ax.spines["geo"].set(edgecolor=LAND, linewidth=0.6)  # the edge of the globe, where the date line is
    return ax


def projection() -> ccrs.Projection:
    """The one projection of the project's maps: Robinson about Greenwich, for `subplot_kw={"projection": ...}`."""
    return ccrs.Robinson()


@cache
def extent() -> tuple[float, float, float, float]:
    """The edges of the map: west, east, south, north, in metres of the projection."""
    (west, _), (east, _) = project([[0, -180], [0, 180]])
    (_, south), (_, north) = project([[SOUTH, 0], [NORTH, 0]])
    return float(west), float(east), float(south), float(north)


def density(
    ax: GeoAxes,
    latlon: ArrayLike,
    weights: ArrayLike | None = None,
    radius_km: float = 300,
    *,
    vmax: float | None = None,
    gamma: float = 0.5,
    label: str | None = "clips per 1000 km²",
) -> ScalarMappable:
    """Draw `kernel_density` as a smooth translucent colour over the world, with a colour bar.

    Args:
        ax: from `world`.
        latlon, weights, radius_km: as in `kernel_density`.
        vmax: top of the colour scale in samples per 1000 km2; share it between maps that are compared.
        gamma: exponent of the colour scale; 0.5 shows a lone city beside a crowded region, 1 is linear.
        label: text of the colour bar; None for no bar.

    Returns the mappable (its norm gives the scale).
    """
    grid = kernel_density(latlon, weights, radius_km)
    west, east, south, north = extent()
    # Eight pixels a standard deviation: more would not be seen, and would weigh down the vector file.
    width = int(np.clip(8 * (east - west) / 1000 / radius_km, 480, 1400))
    values = interpolate(grid, _raster(width))  # (height, width), NaN off the globe
    norm = PowerNorm(gamma, 0, vmax or float(np.nanmax(values)) or 1.0)
    colours = sequential()(np.linspace(0, 1, 256))
    colours[:, 3] = np.minimum(1, np.linspace(0, 1, 256) / 0.35) * 0.9  # nothing is clear, much is nearly opaque
    cmap = ListedColormap(colours)
    ax.imshow(
        np.nan_to_num(values),
        norm=norm,
        cmap=cmap,
        extent=(west, east, south, north),
        origin="lower",
        transform=ax.projection,
        interpolation="bilinear",
        interpolation_stage="data",  # so that it has 256 colours at most, and weighs little in a PDF
        zorder=2,
    )
    ax.set_xlim(west, east)
    ax.set_ylim(south, north)
    mappable = ScalarMappable(norm, cmap)
    if label is not None:
        colour_bar(mappable, ax, label)
    return mappable


def colour_bar(mappable: ScalarMappable, ax: GeoAxes | Sequence[GeoAxes], label: str, scale: float = 1.0) -> Colorbar:
    """A short horizontal colour bar below one map, or below several that share a scale.

    `scale` multiplies the numbers written on it, for a unit other than the mappable's own.
    """
    figure = np.ravel(np.asarray(ax, dtype=object))[0].figure
    bar = figure.colorbar(mappable, ax=ax, orientation="horizontal", shrink=0.4, aspect=36, pad=0.02)
    bar.outline.set_visible(False)
    bar.set_label(label, fontsize=8)
    bar.ax.xaxis.set_major_locator(MaxNLocator(4))
    if scale != 1:
        bar.ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{scale * value:,.6g}"))
    bar.ax.tick_params(labelsize=7.5, length=2)
    return bar


def points(
    ax: GeoAxes,
    latlon: ArrayLike,
    values: ArrayLike | None = None,
    sizes: ArrayLike | float = 14,
    colours: Sequence[str] | str | None = None,
    **scatter: object,
) -> PathCollection:
    """Places as dots: `values` (n,) go through the sequential colour map, or give `colours`; `sizes` in points^2."""
    x, y = project(as_places(latlon)).T
    style = {"zorder": 4, "linewidths": 0.4, "edgecolors": "white"} | scatter
    if values is not None:
        return ax.scatter(x, y, s=sizes, c=np.asarray(values, float), cmap=sequential(), **style)
    return ax.scatter(x, y, s=sizes, c=colours or LEVEL_COLOURS["city"], **style)


def paths(
    ax: GeoAxes,
    start: ArrayLike,
    end: ArrayLike,
    weights: ArrayLike | None = None,
    colour: Sequence[str] | str = LEVEL_COLOURS["city"],
    max_width: float = 2.0,
    *,
    heads: bool = False,
    bend: float = 0.0,
    **lines: object,
) -> LineCollection:
    """Great-circle arcs between (n, 2) and (n, 2) places, as wide as their weights; cut at the date line.

    Args:
        colour: one for all, or one for each arc.
        heads: an arrowhead at the end of each.
        bend: how far an arc bulges to the right of its direction, as a share of its length (`great_circle_arcs`).
    """
    start, end = as_places(start), as_places(end)
    weights = as_weights(weights, start)
    colours = [colour] * len(start) if isinstance(colour, str) else list(colour)
    if len(colours) != len(start):
        raise InputError(f"{len(colours)} colours for {len(start)} paths")
    thick = max_width * np.maximum(0.15, weights / max(weights.max(initial=0), 1e-12))
    drawn = arcs(start, end, bend)
    style = {"alpha": 0.55, "zorder": 3, "capstyle": "round"} | lines
    collection = LineCollection(
        [piece for pieces in drawn for piece in pieces],
        linewidths=[width for width, pieces in zip(thick, drawn, strict=True) for _ in pieces],
        colors=[tone for tone, pieces in zip(colours, drawn, strict=True) for _ in pieces],
        **style,
    )
    ax.add_collection(collection, autolim=False)
    for width, tone, pieces in zip(thick, colours, drawn, strict=True) if heads else ():
        head = FancyArrowPatch(
            *pieces[-1][-3:][[0, -1]], arrowstyle="-|>", mutation_scale=8 + 2.5 * width, color=tone,
            shrinkA=0, shrinkB=0, linewidth=0, alpha=min(1.0, style["alpha"] + 0.3), zorder=style["zorder"] + 0.5,
            gid="head",
        )  # fmt: skip
        ax.add_patch(head)
    return collection


def arcs(start: ArrayLike, end: ArrayLike, bend: float = 0.0, steps: int = 65) -> list[list[NDArray]]:
    """Great-circle arcs in metres of the map: for each of n its pieces (points, 2), more than one at the date line.

    Raises InputError for (n, 2) and (m, 2) places of different number.
    """
    start, end = as_places(start), as_places(end)
    if len(start) != len(end):
        raise InputError(f"{len(start)} starts for {len(end)} ends of paths")
    return [[project(piece) for piece in _cut(arc)] for arc in great_circle_arcs(start, end, steps, bend)]


def _cut(arc: NDArray) -> list[NDArray]:
    """An arc (points, 2) in degrees as pieces that end on the date line, one on either side of it, where it crosses."""
    jumps = np.flatnonzero(np.abs(np.diff(arc[:, 1])) > 180)
    pieces = np.split(arc, jumps + 1)
    for k, j in enumerate(jumps):
        (lat, lon), (after, beyond) = arc[j], arc[j + 1]
        share = (180 - abs(lon)) / max(360 - abs(lon) - abs(beyond), 1e-12)  # of the step, up to the line
        on_line = lat + share * (after - lat)
        pieces[k] = np.vstack([pieces[k], [on_line, np.copysign(180, lon)]])
        pieces[k + 1] = np.vstack([[on_line, np.copysign(180, beyond)], pieces[k + 1]])
    return pieces


def guess_map(
    ax: GeoAxes,
    latlon: ArrayLike,
    probabilities: ArrayLike,
    path: Sequence[str] | str | None = None,
    truth: ArrayLike | None = None,
    *,
    names: Sequence[str] | None = None,
) -> GeoAxes:
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
    colour = LEVEL_COLOURS["city"]
    order = np.argsort(-probabilities)  # a small mark stays visible on a large one
    points(ax, latlon[order], sizes=16 + 220 * probabilities[order], colours=colour, alpha=0.8, linewidths=0.8)
    if truth is not None:
        truth = as_places(np.reshape(np.asarray(truth, float), (-1, 2)))
        paths(ax, latlon[:1], truth, colour=TEXT, max_width=0.9, alpha=0.9)
        points(ax, truth, sizes=60, colours="none", edgecolors=TEXT, linewidths=1.4, zorder=6)
    shares = [f"{p:.0%}" if p >= 0.005 else "<1%" for p in probabilities]
    texts = shares if names is None else [f"{name} {share}" for name, share in zip(names, shares, strict=True)]
    places, bold = latlon, [i == 0 for i in range(len(texts))]
    if truth is not None:
        texts.append(f"recorded here ({float(great_circle_km(latlon[0], truth[0])):,.0f} km off)")
        places, bold = np.concatenate([latlon, truth]), [*bold, False]
    map_labels.place(ax, project(places), texts, bold)
    if path is not None:
        line = path if isinstance(path, str) else "predicted path: " + " › ".join(reversed(path))
        ax.text(
            0.5, -0.02, textwrap.fill(line, 110), transform=ax.transAxes, ha="center", va="top", fontsize=8.5,
            color=TEXT, gid="path",
        )  # fmt: skip
    return ax


def project(latlon: ArrayLike) -> NDArray:
    """(n, 2) degrees -> (n, 2) metres of the map."""
    latlon = np.asarray(latlon, float)
    return projection().transform_points(ccrs.PlateCarree(), latlon[:, 1], latlon[:, 0])[:, :2]


def _unproject(x: NDArray, y: NDArray) -> NDArray:
    """Metres of the map, any shape -> (..., 2) degrees, not finite off the globe."""
    lonlat = ccrs.PlateCarree().transform_points(projection(), x.ravel(), y.ravel())[:, :2]
    latlon = lonlat[:, ::-1].reshape(*x.shape, 2)
    # Beyond the globe's edge the inverse still answers, with the far side's longitudes: only a true inverse counts.
    finite = np.where(np.isfinite(latlon), latlon, 0)
    back = project(finite.reshape(-1, 2)).reshape(*x.shape, 2)
    true = np.isfinite(latlon).all(-1) & (np.abs(back[..., 0] - x) < 1000) & (np.abs(back[..., 1] - y) < 1000)
    return np.where(true[..., None], latlon, np.nan)


@cache
def _raster(width: int) -> NDArray:
    """The place of every pixel of a raster over the map: (height, width, 2) degrees, not finite off the globe."""
    west, east, south, north = extent()
    height = round(width * (north - south) / (east - west))
    x = west + (np.arange(width) + 0.5) * (east - west) / width
    y = south + (np.arange(height) + 0.5) * (north - south) / height
    return _unproject(*np.meshgrid(x, y))


@cache
def land() -> list[Path]:
    """One path a country but Antarctica, in metres of the map; the polygons are already cut at the date line."""
    text = (resources.files("cityguessr.figures") / "countries110m.geojson").read_text(encoding="utf-8")
    countries = []
    for feature in json.loads(text)["features"]:
        if feature["properties"]["continent"] == "Antarctica":
            continue
        rings = [
            Path(project(np.asarray(ring)[:, ::-1]), closed=True)
            for polygon in feature["geometry"]["coordinates"]
            for ring in polygon
        ]
        countries.append(Path.make_compound_path(*rings))
    return countries
