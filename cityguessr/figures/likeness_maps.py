"""How alike two places are to VidTAG's location encoder, drawn: on the map it sees, near and far, and by distance."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import resources

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from cityguessr.base.errors import InputError
from cityguessr.figures import city_maps, map_labels
from cityguessr.figures.style import GUIDE, LAND, LEVEL_COLOURS, MUTED, REFERENCE, SERIES, TEXT, sequential
from cityguessr.figures.track_answers import local_km
from cityguessr.figures.tracks import above, title_and_key
from cityguessr.measures.sphere import EARTH_RADIUS_KM
from cityguessr.vidtag.location import equal_earth

Encode = Callable[[Tensor], Tensor]
"""Coordinates (n, 2) in degrees -> (n, e)."""

UNIT_KM = math.pi * EARTH_RADIUS_KM
"""One unit of the projection's x, in km along the equator: 20,015."""
WINDOWS = {"the world": None, "a country": 1500.0, "a city": 6.0}
"""Views of `similarity_maps`, in km from the middle to the edge."""
DIRECTIONS = 12
_CHUNK = 8192


def halving_km(sigma: float) -> float:
    """Where the kernel exp(-2 pi^2 sigma^2 d^2) of Fourier features is one half, in km along the equator."""
    return math.sqrt(math.log(2) / 2) / (math.pi * sigma) * UNIT_KM


def kernel(latlon: ArrayLike, place: ArrayLike, sigma: float) -> NDArray[np.float64]:
    """What the cosine of two places' Fourier features is on average over the draws of b: (..., 2) degrees -> (...)."""
    steps = _plane(latlon) - _plane(place)
    return np.exp(-2 * (math.pi * sigma) ** 2 * (steps**2).sum(axis=-1))


@torch.no_grad()
def similarity(encode: Encode, place: ArrayLike, latlon: ArrayLike) -> NDArray[np.float64]:
    """The cosine of a place's vector with those of others: (2,) and (..., 2) degrees -> (...)."""
    latlon = torch.from_numpy(np.array(latlon, dtype=float))
    one = F.normalize(encode(torch.from_numpy(np.array(place, dtype=float))[None]), dim=-1)
    parts = [F.normalize(encode(part), dim=-1) @ one[0] for part in latlon.reshape(-1, 2).split(_CHUNK)]
    return torch.cat(parts).double().numpy().reshape(latlon.shape[:-1])


def by_distance(encode: Encode, places: ArrayLike, km: ArrayLike) -> NDArray[np.float64]:
    """The mean cosine of places with those so far from them, in `DIRECTIONS` directions: (n, 2), (k,) km -> (k,)."""
    turn = np.linspace(0, 2 * np.pi, DIRECTIONS, endpoint=False)
    east, north = np.multiply.outer(np.asarray(km, dtype=float), (np.sin(turn), np.cos(turn))).swapaxes(0, 1)
    means = [similarity(encode, p, city_maps.places_around(p, east, north)).mean(axis=-1) for p in np.asarray(places)]
    return np.mean(means, axis=0)


def halves_at(km: ArrayLike, cosines: ArrayLike) -> float:
    """The first of some growing distances at which the cosine is below one half, by a straight line; NaN for none."""
    km, cosines = np.asarray(km, dtype=float), np.asarray(cosines, dtype=float)
    below = np.flatnonzero(cosines < 0.5)
    if not len(below) or below[0] == 0:
        return float(km[0]) if len(below) else math.nan
    at = below[0]
    share = (cosines[at - 1] - 0.5) / (cosines[at - 1] - cosines[at])
    return float(km[at - 1] + share * (km[at] - km[at - 1]))


def on_the_plane(places: Mapping[str, ArrayLike], circle_km: float = 1000.0, *, title: str | None = None) -> Figure:
    """The world as the location encoder sees it: Equal Earth, in its own x and y.

    Args:
        places: name -> (2,) degrees, a dot each.
        circle_km: radius of a circle on the ground around each, which shows how the map stretches there.
        title: what to see.
    """
    fig, ax = plt.subplots(figsize=(7.2, 3.9), layout="constrained")
    _plane_axes(ax)
    for lines in ([_line(lat=v) for v in range(-60, 90, 30)], [_line(lon=v) for v in range(-180, 181, 60)]):
        ax.add_collection(LineCollection(lines, colors=GUIDE, linewidths=0.6, zorder=0))
    ax.add_collection(PolyCollection([_plane(ring) for ring in _rings()], facecolors=LAND, linewidths=0, zorder=-1))
    turn = np.linspace(0, 2 * np.pi, 73)
    for place in places.values():
        circle = city_maps.places_around(place, circle_km * np.sin(turn), circle_km * np.cos(turn))
        ax.plot(*_plane(circle).T, color=LEVEL_COLOURS["city"], lw=0.8, zorder=3, gid="circle")
    xy = _plane(list(places.values()))
    ax.plot(*xy.T, "o", color=LEVEL_COLOURS["city"], ms=4, mec="white", mew=0.5, zorder=4)
    map_labels.place(ax, xy, list(places), [False] * len(places))
    ax.set(xlabel="x", ylabel="y", xticks=[-1, -0.5, 0, 0.5, 1], yticks=[-0.4, -0.2, 0, 0.2, 0.4])
    for spine in ax.spines.values():
        spine.set_visible(False)
    if title:
        ax.set_title(title)
    return fig


def similarity_maps(
    rows: Mapping[str, Encode],
    place: ArrayLike,
    *,
    sigmas: Sequence[float] | None = None,
    training: ArrayLike = (),
    title: str | None = None,
) -> Figure:
    """The cosine of one place's vector with that of everywhere, a row for each encoder, in the views of `WINDOWS`.

    Args:
        rows: what it is -> the encoder.
        sigmas: of the rows; a dashed line is then where the kernel, of which the features are a draw, is one half.
        training: (n, 2) degrees, shown as dots in the nearest view.
    """
    place = np.asarray(place, dtype=float)
    fig = plt.figure(figsize=(7.2, 1.78 * len(rows) + (0.72 if title else 0.44)), layout="constrained")
    fig.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.01, hspace=0.02)
    axes = fig.subplots(len(rows), len(WINDOWS), squeeze=False, width_ratios=[2.05, 1, 1])
    scale = Normalize(0, 1)
    for number, (name, encode) in enumerate(rows.items()):
        for ax, (view, half) in zip(axes[number], WINDOWS.items(), strict=True):
            latlon, extent = _everywhere() if half is None else _around(place, half)
            known = np.isfinite(latlon).all(axis=-1)
            cosines = np.full(known.shape, np.nan)
            cosines[known] = similarity(encode, place, latlon[known])
            look = {"cmap": sequential(), "norm": scale, "interpolation": "bilinear", "interpolation_stage": "data"}
            ax.imshow(cosines, origin="lower", extent=extent, gid="cosines", **look)
            if half is None:
                _plane_axes(ax)
                ax.set_axis_off()
                ax.text(0.0, 1.0, name, fontsize=8.5, fontweight="bold", transform=ax.transAxes, va="bottom")
                ax.plot(*_plane(place), "+", color=SERIES[1], ms=6, mew=1.2)
            else:
                _near(ax, place, half, training)
                if not number:
                    ax.set_title(f"{view}: {2 * half:,.0f} km wide", fontsize=8, fontweight="normal", pad=3)
            if sigmas is not None:
                _halfway(ax, latlon, place, sigmas[number], extent)
    bar = fig.colorbar(ScalarMappable(scale, sequential()), ax=axes, location="bottom", aspect=50, shrink=0.5, pad=0.01)
    bar.set_label("cosine with the marked place (below 0 as 0)", fontsize=8)
    bar.outline.set_visible(False)
    if title:
        fig.suptitle(title, x=0.01, ha="left", fontsize=10)
    return fig


def curves(
    km: ArrayLike,
    lines: Mapping[str, ArrayLike],
    kernels: Mapping[str, ArrayLike],
    marks: Mapping[str, float],
    *,
    title: str | None = None,
) -> Figure:
    """Cosine by distance: encoders as lines of the series' colours, kernels in grey, and distances to compare with.

    Args:
        km: (k,) distances.
        lines, kernels: name -> (k,) cosines.
        marks: name -> km, such as how far neighbouring frames are from each other.
    """
    fig, ax = plt.subplots(figsize=(7.2, 3.1 + above(title)), layout="constrained")
    km = np.asarray(km, dtype=float)
    styles = [":", (0, (4, 1.5)), "-.", (0, (8, 2))]
    for (name, cosines), style in zip(kernels.items(), styles, strict=False):
        ax.plot(km, cosines, color=MUTED, lw=1.1, ls=style, label=name)
    for (name, cosines), colour in zip(lines.items(), (REFERENCE, SERIES[0]), strict=False):
        ax.plot(km, cosines, color=colour, lw=2.2, label=name)
    before, row = 0.0, 0  # the marks' names stand above the lines, in two rows where they are close
    for name, at in sorted(marks.items(), key=lambda mark: mark[1]):
        row = 1 - row if at < 6 * before else 0
        before = at
        ax.axvline(at, color=GUIDE, lw=0.9, zorder=0)
        place = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "ha": "center", "va": "bottom"}
        ax.annotate(name, (at, 1), (0, 2 + 9 * row), **place, fontsize=7, color=MUTED)
    ax.axhline(0.5, color=GUIDE, lw=0.9, zorder=0)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(numticks=10))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    ax.set(xlabel="distance (km)", ylabel="cosine", xlim=(km[0], km[-1]))
    title_and_key(fig, title, ax.get_legend_handles_labels()[0])
    return fig


def _plane(latlon: ArrayLike) -> NDArray[np.float64]:
    return equal_earth(torch.from_numpy(np.array(latlon, dtype=float))).numpy()


def _line(lat: float | None = None, lon: float | None = None) -> NDArray[np.float64]:
    """A parallel or a meridian on the plane, (n, 2)."""
    if lat is not None:
        return _plane([[lat, other] for other in range(-180, 181, 4)])
    if lon is None:
        raise InputError("a parallel needs its latitude, a meridian its longitude")
    return _plane([[other, lon] for other in range(-90, 91, 2)])


def _plane_axes(ax: Axes) -> None:
    ax.add_collection(LineCollection([_plane(ring) for ring in _rings()], colors=MUTED, linewidths=0.35, zorder=2))
    edge = np.concatenate([_line(lon=-180), _line(lon=180)[::-1]])
    ax.plot(*edge.T, color=REFERENCE, lw=0.7, zorder=2)
    ax.set(xlim=(-1.01, 1.01), ylim=(-0.495, 0.495))
    ax.set_aspect("equal")


def _near(ax: Axes, place: NDArray, half: float, training: ArrayLike) -> None:
    view = (-half, half, -half, half)
    city_maps.frame(ax, view, 1.0)
    if half > 100:  # the outlines of countries are too coarse for a city
        lines = [local_km(ring, place) for ring in _rings()]
        near = [line for line in lines if (np.abs(line) < half).all(axis=1).any()]
        ax.add_collection(LineCollection(near, colors=MUTED, linewidths=0.4, zorder=2))
    else:
        city_maps.dots(ax, training, place, view, MUTED, 0.7)
    ax.plot(0, 0, "+", color=SERIES[1], ms=7, mew=1.3, zorder=5)


def _halfway(ax: Axes, latlon: NDArray, place: NDArray, sigma: float, extent: Sequence[float]) -> None:
    """Where the kernel is one half, if the map shows it."""
    among = kernel(np.nan_to_num(latlon), place, sigma)
    among[~np.isfinite(latlon).all(axis=-1)] = 0
    if among.min() < 0.5 < among.max():
        ax.contour(among, [0.5], extent=extent, colors=[TEXT], linewidths=0.9, linestyles="--")


@cache
def _everywhere() -> tuple[NDArray, tuple[float, float, float, float]]:
    """The places of a raster over the plane, (147, 301, 2) degrees, NaN off the globe, and the raster's edges."""
    _, top = _plane([90, 0])
    x, y = np.meshgrid(np.linspace(-1, 1, 301), np.linspace(-top, top, 147))
    lats = np.linspace(-90, 90, 2001)
    lat = np.interp(y, _plane(np.stack([lats, 0 * lats], axis=1))[:, 1], lats)
    lon = 180 * x / _plane(np.stack([lat, np.full_like(lat, 180)], axis=-1))[..., 0]  # a parallel is evenly divided
    lat[np.abs(lon) > 180.001] = np.nan  # the edge itself is rounded to just beyond it
    return np.stack([lat, lon.clip(-180, 180)], axis=-1), (-1, 1, -top, top)


def _around(place: NDArray, half: float) -> tuple[NDArray, tuple[float, float, float, float]]:
    """The places of a raster around a place, which is in its middle, (121, 121, 2) degrees, and its edges in km."""
    east, north = np.meshgrid(*2 * [np.linspace(-half, half, 121)])
    return city_maps.places_around(place, east, north), (-half, half, -half, half)


@cache
def _rings() -> list[NDArray[np.float64]]:
    """The outlines of countries, (n, 2) degrees each, latitude first; they are cut at the date line."""
    text = (resources.files("cityguessr.figures") / "countries110m.geojson").read_text(encoding="utf-8")
    shapes = [feature["geometry"]["coordinates"] for feature in json.loads(text)["features"]]
    return [np.asarray(ring)[:, ::-1] for polygons in shapes for polygon in polygons for ring in polygon]
