"""One track on its way through VidTAG: its frames, a frame's likeness to the gallery, noise, the video's answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray

from cityguessr.base.errors import InputError
from cityguessr.figures import city_maps
from cityguessr.figures.page import check_image
from cityguessr.figures.style import LAND, LEVEL_COLOURS, MUTED, REFERENCE, SERIES, TEXT, sequential
from cityguessr.figures.track_answers import local_km
from cityguessr.figures.tracks import REACH_KM, above, log_km, title_and_key
from cityguessr.measures.boxes import Box
from cityguessr.measures.sphere import great_circle_km
from cityguessr.measures.tracks import centroid, mean_place, representative
from cityguessr.vidtag.gallery import nearest_points


def task(
    latlon: ArrayLike, pictures: Sequence[ArrayLike], numbers: Sequence[int], training: ArrayLike, *, title: str
) -> Figure:
    """A track: some of its frames, where in the city it lies, and where on it each of these was taken.

    Args:
        latlon: (T, 2) degrees.
        pictures: uint8 (H, W, 3) each.
        numbers: of these frames, from 0.
        training: (n, 2) degrees, the training coordinates of its city.
    """
    latlon, middle = np.asarray(latlon, dtype=float), mean_place(latlon)
    fig = plt.figure(figsize=(7.2, 4.35), layout="constrained")
    fig.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.01, hspace=0.01)
    upper, lower = fig.subfigures(2, 1, height_ratios=[1.12, 2.9])
    for ax, picture, number in zip(upper.subplots(1, len(pictures)), pictures, numbers, strict=True):
        ax.imshow(check_image(picture, f"frame {number}"))
        ax.set_axis_off()
        ax.set_title(f"frame {number + 1}", fontsize=7.5, fontweight="normal", pad=2.5)
    city, near = lower.subplots(1, 2)
    km = local_km(latlon, middle)
    around = np.concatenate([km, local_km(training, middle)]) if len(training) else km
    for ax, view in ((city, city_maps.view_of(around, 1.08)), (near, city_maps.view_of(km, 1.3, 0.2))):
        city_maps.frame(ax, view)
        city_maps.dots(ax, training, middle, view, REFERENCE, 2.5 if ax is city else 8)
        ax.plot(*km.T, color=TEXT, lw=1.8, zorder=4, solid_capstyle="round")
        city_maps.scale_bar(ax, view)
    near.plot(*km.T, "o", color=TEXT, ms=2.5, zorder=5)
    for number in numbers:
        near.plot(*km[number], "o", color=LEVEL_COLOURS["city"], ms=5.5, mec="white", mew=0.6, zorder=6)
        style = {"textcoords": "offset points", "fontsize": 7.5, "path_effects": city_maps.HALO, "zorder": 7}
        near.annotate(f"{number + 1}", km[number], (5, 4), **style)
    city.set_title("the city: grey, all training coordinates", fontsize=8.5, fontweight="normal")
    near.set_title("the track, with the frames above", fontsize=8.5, fontweight="normal")
    fig.suptitle(title, x=0.01, ha="left", fontsize=10)
    return fig


def grid(box: Box, points: ArrayLike, training: ArrayLike, latlon: ArrayLike, *, title: str | None = None) -> Figure:
    """The gallery of one city over its box, and near by the way from each frame of a track to its nearest point.

    Args:
        box: of the training coordinates, with its margin.
        points: (n, 2) degrees, the gallery.
        training: (m, 2) degrees.
        latlon: (T, 2) degrees, the track.
    """
    points, middle = np.asarray(points, dtype=float), mean_place(latlon)
    fig, (whole, near) = plt.subplots(1, 2, figsize=(7.2, 2.75 + above(title)), layout="constrained")
    corners = [[box.south, box.west], [box.south, box.east], [box.north, box.east], [box.north, box.west]]
    edge, track = local_km([*corners, corners[0]], middle), local_km(latlon, middle)
    nearest = local_km(nearest_points(latlon, points), middle)
    for ax, view in (
        (whole, city_maps.view_of(edge, 1.08)),
        (near, city_maps.view_of(np.concatenate([track, nearest]), 1.3, 0.2)),
    ):
        city_maps.frame(ax, view)
        city_maps.dots(ax, training, middle, view, LAND, 5 if ax is whole else 20)
        city_maps.dots(ax, points, middle, view, SERIES[0], 2.2 if ax is whole else 16)
        ax.plot(*edge.T, color=MUTED, lw=0.8, ls="--")
        ax.plot(*track.T, color=TEXT, lw=1.8, zorder=4)
        city_maps.scale_bar(ax, view)
    for frame, point in zip(track, nearest, strict=True):
        near.plot(*zip(frame, point, strict=True), color=SERIES[2], lw=0.9, zorder=3, gid="nearest")
    near.plot(*track.T, "o", color=TEXT, ms=2.5, zorder=5)
    whole.set_title("the whole city", fontsize=8.5, fontweight="normal")
    near.set_title("each frame and its nearest point", fontsize=8.5, fontweight="normal")
    dot = {"marker": "o", "ls": "none", "mec": "none"}
    key = [
        Line2D([], [], color=SERIES[0], ms=3, label="gallery", **dot),
        Line2D([], [], color=LAND, ms=4, label="training coordinates", **dot),
        Line2D([], [], color=MUTED, lw=0.8, ls="--", label="their box and its margin"),
        Line2D([], [], color=TEXT, lw=1.8, label="the track"),
        Line2D([], [], color=SERIES[2], lw=0.9, label="nearest point"),
    ]
    title_and_key(fig, title, key)
    return fig


def heat(
    regions: Mapping[str, float],
    points: ArrayLike,
    cosines: Mapping[str, ArrayLike],
    true: Mapping[str, ArrayLike],
    watched: str,
    *,
    title: str | None = None,
) -> Figure:
    """How alike some frames are to every point of the gallery: the best of each region, and all points of one city.

    Args:
        regions: name -> the largest cosine of the watched frame with a point of that region.
        points: (n, 2) degrees, the gallery of one city, a grid.
        cosines: frame -> (n,) with these points.
        true: frame -> (2,) degrees. The ring on the map; the cross is the point with the largest cosine of this city.
        watched: the frame that the regions are about.
    """
    points = np.asarray(points, dtype=float)
    middle = mean_place([points.min(axis=0), points.max(axis=0)])
    fig, axes = plt.subplots(
        1, 1 + len(cosines), figsize=(7.2, 2.9), layout="constrained", width_ratios=[0.8] + [1] * len(cosines)
    )
    order = sorted(regions, key=regions.__getitem__)
    colours = [SERIES[0] if name == order[-1] else REFERENCE for name in order]
    axes[0].barh(range(len(order)), [regions[name] for name in order], color=colours, height=0.7)
    axes[0].set_yticks(range(len(order)), order, fontsize=7.5)
    axes[0].set_title(f"{watched}:\nlargest cosine", fontsize=8.5)
    axes[0].axvline(0, color=MUTED, lw=0.7)
    axes[0].tick_params(axis="x", labelsize=7.5)
    squares = local_km(_squares(points).reshape(-1, 2), middle).reshape(-1, 4, 2)
    low = min(float(np.min(values)) for values in cosines.values())
    scale = Normalize(low, max(float(np.max(values)) for values in cosines.values()))
    flat = squares.reshape(-1, 2)
    view = flat[:, 0].min(), flat[:, 0].max(), flat[:, 1].min(), flat[:, 1].max()
    for ax, (name, values) in zip(axes[1:], cosines.items(), strict=True):
        city_maps.frame(ax, view, (view[3] - view[2]) / (view[1] - view[0]))
        many = len(points) > 2000
        field = PolyCollection(squares, array=np.asarray(values), cmap=sequential(), norm=scale, rasterized=many)
        field.set(edgecolors="face", linewidths=0.5, gid="gallery")
        ax.add_collection(field)
        best = points[int(np.argmax(values))]
        ax.plot(*local_km(true[name], middle), "o", mfc="none", mec=SERIES[1], ms=8, mew=1.8, zorder=8, clip_on=False)
        ax.plot(*local_km(best, middle), "x", color="white", ms=6.5, mew=3.4, zorder=6)
        ax.plot(*local_km(best, middle), "x", color=TEXT, ms=6, mew=1.5, zorder=7)
        km = city_maps.km(float(great_circle_km(best, true[name])))
        ax.set_title(f"{name}:\nbest point {km} off", fontsize=8.5)
    city_maps.scale_bar(axes[1], view)
    mappable = ScalarMappable(scale, sequential())
    bar = fig.colorbar(mappable, ax=axes[1:], location="bottom", aspect=45, shrink=0.6, pad=0.02)
    bar.set_label("cosine of the frame with the gallery point; ring: the truth, cross: the best point here", fontsize=8)
    bar.outline.set_visible(False)
    if title:
        fig.suptitle(title, x=0.01, ha="left", fontsize=10)
    return fig


def beside(true: ArrayLike, answers: Mapping[str, ArrayLike], *, title: str | None = None) -> Figure:
    """Two or three answers for one track: on a map within 5 km of its middle, and their errors frame by frame.

    Args:
        true: (T, 2) degrees.
        answers: name -> (T, 2) degrees.
    """
    true, middle = np.asarray(true, dtype=float), mean_place(true)
    fig, (left, right) = plt.subplots(
        1, 2, figsize=(7.2, 2.45 + above(title)), layout="constrained", width_ratios=[1, 1.15]
    )
    places = {name: local_km(given, middle) for name, given in answers.items()}
    inside = {name: np.linalg.norm(km, axis=1) <= REACH_KM for name, km in places.items()}
    near = np.concatenate([local_km(true, middle), *(places[name][inside[name]] for name in places)])
    view = city_maps.view_of(near)
    city_maps.frame(left, view)
    left.plot(*local_km(true, middle).T, color=TEXT, lw=1.8, zorder=4, label="true")
    frames, highest = np.arange(1, len(true) + 1), 1.0
    for (name, km), colour, mark in zip(places.items(), SERIES, "osD", strict=False):
        shown = np.where(inside[name][:, None], km, np.nan)
        left.plot(*shown.T, color=colour, marker=mark, ms=4, lw=0.7, mec="white", mew=0.4, label=name, zorder=3)
        error = great_circle_km(true, answers[name])
        right.plot(frames, error, color=colour, marker=mark, ms=3.5, lw=1.1, label=name)
        highest = max(highest, float(error.max()))
    city_maps.scale_bar(left, view)
    off = {name: int((~within).sum()) for name, within in inside.items()}
    words = "; ".join(f"{name}: {count}" for name, count in off.items())
    left.set_title(f"frames off the map {words}", fontsize=7.5, fontweight="normal")
    log_km(right.yaxis, 0.02, highest)
    right.set(xlabel="frame", ylabel="error (km)", xlim=(0.5, len(true) + 0.5))
    right.grid(axis="y")
    right.xaxis.get_major_locator().set_params(integer=True)
    title_and_key(fig, title, left.get_legend_handles_labels()[0])
    return fig


def noise(true: ArrayLike, copies: Sequence[ArrayLike], *, title: str | None = None) -> Figure:
    """A true track and noised copies of it: all on one map, and each of them near by, moved back onto the truth.

    A copy that collapsed to one point is a cross. On the right every copy is shifted back by its mean, so that what is
    left is its jitter.

    Args:
        true: (T, 2) degrees.
        copies: (T, 2) degrees each.
    """
    middle = mean_place(true)
    true_km, moved = local_km(true, middle), [local_km(copy, middle) for copy in copies]
    fig, (far, near) = plt.subplots(1, 2, figsize=(7.2, 3.35 + above(title)), layout="constrained")
    reach = 1.12 * max(float(np.abs(np.concatenate(moved)).max()), 1.0)
    centred = [km - km.mean(axis=0) + true_km.mean(axis=0) for km in moved if not _collapsed(km)]
    close = 1.12 * max(float(np.abs(np.concatenate([true_km, *centred])).max()), 0.5)
    for ax, half in ((far, reach), (near, close)):
        city_maps.frame(ax, (-half, half, -half, half), 1.0)
        city_maps.scale_bar(ax, (-half, half, -half, half))
        ax.plot(*true_km.T, color=TEXT, lw=2, zorder=5, solid_capstyle="round", gid="true")
    warm, cool = LEVEL_COLOURS["city"], LEVEL_COLOURS["continent"]
    colours = [SERIES[0], warm, SERIES[1], SERIES[2], cool, LEVEL_COLOURS["country"]]
    kept = 0
    for km in moved:
        colour = colours[kept % len(colours)]  # the three beside it have the first three, which differ most
        if _collapsed(km):
            far.plot(*km[0], "x", color=colour, ms=7, mew=2, zorder=6, gid="collapsed")
            continue
        far.plot(*km.T, "o-", color=colour, ms=1.8, lw=0.4, zorder=3, gid="copy")
        if kept < 3:
            near.plot(*centred[kept].T, "o-", color=colour, ms=3, lw=0.6, zorder=3)
        kept += 1
    far.set_title(f"{len(copies)} noised copies", fontsize=8.5)
    near.set_title(f"{min(3, kept)} of them without their shift", fontsize=8.5)
    marks = {"noised": {"marker": "o", "ms": 3, "lw": 0.6}, "collapsed": {"marker": "x", "ls": "none", "mew": 2}}
    handles = [Line2D([], [], color=MUTED, label=name, **mark) for name, mark in marks.items()]
    title_and_key(fig, title, [Line2D([], [], color=TEXT, lw=2, label="true"), *handles])
    return fig


def leash(km: NDArray) -> tuple[float, list[tuple[int, int]]]:
    """The discrete Frechet distance of two tracks from all distances (n, m), and the way of the two walkers.

    The way is a list of pairs (i, j) from (0, 0) to the ends; its largest distance is the leash.
    """
    n, m = km.shape
    table = np.full((n + 1, m + 1), np.inf)
    table[0, 0] = 0.0
    for i in range(n):
        for j in range(m):
            table[i + 1, j + 1] = max(km[i, j], min(table[i, j + 1], table[i, j], table[i + 1, j]))
    i, j, way = n, m, [(n - 1, m - 1)]
    while (i, j) != (1, 1):
        i, j = min(((i - 1, j - 1), (i - 1, j), (i, j - 1)), key=lambda at: table[at])
        way.append((i - 1, j - 1))
    return float(table[n, m]), way[::-1]


def answer(true: ArrayLike, predicted: ArrayLike, *, title: str | None = None) -> Figure:
    """A video's answer on a map, and the distances behind its Frechet distance.

    The map shows the centroid of the frames' answers, the representative one, and the target, the mean of the truth.
    What is further than 5 km from the target is left out of the map, and counted above it.

    Args:
        true, predicted: (T, 2) degrees.
    """
    true, predicted = np.asarray(true, dtype=float), np.asarray(predicted, dtype=float)
    middle, heart, chosen = mean_place(true), centroid(predicted), representative(predicted)
    fig, (left, right) = plt.subplots(1, 2, figsize=(7.2, 2.85 + above(title)), layout="constrained")
    places = local_km(predicted, middle)
    marks = local_km(np.stack([heart, predicted[chosen], middle]), middle)
    near = [points[np.linalg.norm(points, axis=1) <= REACH_KM] for points in (places, marks)]
    view = city_maps.view_of(np.concatenate([local_km(true, middle), *near]), shape=0.9)
    city_maps.frame(left, view, 0.9)
    left.plot(*local_km(true, middle).T, color=TEXT, lw=1.8, zorder=3, label="true")
    left.plot(*places.T, "o", color=SERIES[0], ms=4, mec="white", mew=0.4, zorder=4, label="answers")
    styles = (("+", SERIES[2], "their centroid"), ("s", SERIES[2], "representative"), ("*", SERIES[1], "target"))
    for (mark, colour, name), at in zip(styles, marks, strict=True):
        hollow = {"mfc": "none"} if mark == "s" else {}
        left.plot(*at, mark, color=colour, ms=9, mew=1.6, zorder=6, ls="none", label=name, **hollow)
    city_maps.scale_bar(left, view)
    error = city_maps.km(float(great_circle_km(predicted[chosen], middle)))
    off = len(places) - len(near[0])
    words = f"\n({off} frames off the map)" if off else ""
    left.set_title(f"the video's answer is {error} from its target{words}", fontsize=8.5)
    _walk(right, great_circle_km(true[:, None], predicted[None]))
    title_and_key(fig, title, left.get_legend_handles_labels()[0])
    return fig


def _walk(ax: Axes, km: NDArray) -> None:
    length, way = leash(km)
    image = ax.imshow(km.T, origin="lower", cmap=sequential().reversed())
    ax.plot(*np.transpose(way), "-", color="white", lw=3.2, zorder=3)
    ax.plot(*np.transpose(way), ".-", color=SERIES[1], lw=1.4, ms=4, zorder=4)
    tight = max(way, key=lambda pair: km[pair])
    ax.plot(*tight, "o", mfc="none", mec=LEVEL_COLOURS["country"], ms=9, mew=2, zorder=5, gid="tight")
    ticks = [n for n in range(len(km)) if n == 0 or (n + 1) % 5 == 0]
    ax.set(xticks=ticks, yticks=ticks, xlabel="true frame", ylabel="answered frame")
    ax.set_xticklabels([tick + 1 for tick in ticks])
    ax.set_yticklabels([tick + 1 for tick in ticks])
    ax.set_title(f"the shortest leash: {city_maps.km(length)}", fontsize=8.5)
    ax.figure.colorbar(image, ax=ax, fraction=0.046, pad=0.02, label="distance (km)")


def _collapsed(km: NDArray) -> bool:
    return bool(np.ptp(km, axis=0).max() < 1e-6)


def _squares(points: NDArray) -> NDArray[np.float64]:
    """The cell of each point of a grid, the point in its middle: (n, 2) degrees -> (n, 4, 2)."""
    steps = [np.diff(np.unique(points[:, axis].round(9))) for axis in (0, 1)]
    if not all(len(step) for step in steps):
        raise InputError("a gallery of one row or one column has no cells to draw; give a finer resolution")
    lat, lon = (float(step.min()) / 2 for step in steps)
    return points[:, None] + np.array([[-lat, -lon], [-lat, lon], [lat, lon], [lat, -lon]])
