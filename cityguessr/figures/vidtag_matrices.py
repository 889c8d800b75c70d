"""VidTAG's tensors as pictures: features, positions and attention, cosines of frames with coordinates."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from cityguessr.base.errors import InputError
from cityguessr.figures.style import MUTED, REFERENCE, SERIES, TEXT, sequential

OWN, SAME_TRACK, SAME_CITY, ELSEWHERE = "own coordinate", "others of its track", "others of its city", "other cities"
PAIRS = (OWN, SAME_TRACK, SAME_CITY, ELSEWHERE)
"""What a coordinate of the batch is to a frame."""
_SIGNED = "PuOr_r"  # for cosines of either sign


def pairs(tracks: Sequence[str], regions: Sequence[str]) -> dict[str, NDArray[np.bool_]]:
    """Which pairs of N frames and N coordinates are of which of `PAIRS`: name -> bool (N, N).

    Args:
        tracks, regions: of each of the N frames.
    """
    track, region = np.asarray(tracks), np.asarray(regions)
    own, one = np.eye(len(track), dtype=bool), track[:, None] == track
    city = region[:, None] == region
    return {OWN: own, SAME_TRACK: one & ~own, SAME_CITY: city & ~one, ELSEWHERE: ~city}


def pair_means(cosines: ArrayLike, tracks: Sequence[str], regions: Sequence[str]) -> dict[str, float]:
    """The mean cosine (N, N) over each of `PAIRS`; NaN for one that the batch has none of."""
    cosines = np.asarray(cosines, dtype=float)
    return {
        name: float(cosines[which].mean()) if which.any() else float("nan")
        for name, which in pairs(tracks, regions).items()
    }


def table(matrices: Mapping[str, ArrayLike], tracks: Sequence[str], regions: Sequence[str]) -> pd.DataFrame:
    """What `cosines` shows, by blocks: frames_of and coordinates_of a track, and the mean of its block in each matrix.

    Tracks are written as their region and their number in the batch.
    """
    names, number = np.unique(np.asarray(tracks), return_inverse=True)
    first = [int(np.flatnonzero(number == n)[0]) for n in range(len(names))]
    order = sorted(range(len(names)), key=first.__getitem__)
    labels = [f"{regions[first[n]]} {place}" for place, n in enumerate(order, start=1)]
    rows = [
        {"frames_of": a, "coordinates_of": b}
        | {name: float(np.asarray(m)[np.ix_(number == i, number == j)].mean()) for name, m in matrices.items()}
        for a, i in zip(labels, order, strict=True)
        for b, j in zip(labels, order, strict=True)
    ]
    return pd.DataFrame(rows)


def features(values: ArrayLike, parts: Mapping[str, int], *, title: str | None = None) -> Figure:
    """A track's frozen features, one row per frame, in standard deviations from the mean of all tracks.

    Args:
        values: (T, d).
        parts: encoder -> the numbers of a frame that are its own, in order.
    """
    values = np.asarray(values, dtype=float)
    fig, ax = plt.subplots(figsize=(7.2, 2.5), layout="constrained")
    image = ax.imshow(values, cmap=_SIGNED, vmin=-3, vmax=3, aspect="auto", interpolation="nearest")
    start = 0
    for name, width in parts.items():
        ax.text(start + width / 2, -0.8, f"{name}: {width} numbers", ha="center", va="bottom", fontsize=8)
        start += width
        if start < values.shape[1]:
            ax.axvline(start - 0.5, color=TEXT, lw=1.4)
    ax.set(xlabel="number of the feature", ylabel="frame", yticks=_frame_ticks(len(values)))
    ax.set_yticklabels([tick + 1 for tick in _frame_ticks(len(values))])
    fig.colorbar(image, ax=ax, label="standard deviations", fraction=0.03, pad=0.01, extend="both")
    if title:
        ax.set_title(title, pad=18)
    return fig


def positions(table: ArrayLike, places: Mapping[str, ArrayLike], *, title: str | None = None) -> Figure:
    """The table of sines and cosines (32, d), and beside it where the frames of some videos stand.

    Args:
        places: name -> (T,) positions from 0 to 31.
    """
    table = np.asarray(table, dtype=float)
    fig, (left, right) = plt.subplots(1, 2, figsize=(7.2, 2.6), layout="constrained", width_ratios=[2, 1], sharey=True)
    image = left.imshow(table, cmap=_SIGNED, vmin=-1, vmax=1, aspect="auto", interpolation="nearest")
    left.set(xlabel="number of the feature i", ylabel="position p", yticks=[0, 10, 20, 31])
    for number, (at, colour) in enumerate(zip(places.values(), SERIES, strict=False)):
        right.plot(np.full(len(at), number), at, "_", color=colour, ms=16, mew=1.3)
    right.set(xticks=range(len(places)), xlim=(-0.5, len(places) - 0.5), ylim=(31.7, -0.7))
    right.set_xticklabels(places)
    right.tick_params(labelleft=False)
    fig.colorbar(image, ax=left, label="sine or cosine", fraction=0.04, pad=0.01)
    if title:
        fig.suptitle(title, x=0.01, ha="left", fontsize=10)
    return fig


def attention(layers: Mapping[str, ArrayLike], *, title: str | None = None) -> Figure:
    """How much each frame of a video looks at each other one, (T, T) per layer; rows add up to 1."""
    fig, axes = plt.subplots(1, len(layers), figsize=(7.2, 3.3), layout="constrained", squeeze=False)
    top = max(float(np.max(weights)) for weights in layers.values())
    for ax, (name, weights) in zip(axes[0], layers.items(), strict=True):
        weights = np.asarray(weights, dtype=float)
        image = ax.imshow(weights, cmap=sequential(), vmin=0, vmax=top)
        ticks = _frame_ticks(len(weights))
        ax.set(xticks=ticks, yticks=ticks, xlabel="attended frame")
        ax.set_xticklabels([tick + 1 for tick in ticks])
        ax.set_yticklabels([tick + 1 for tick in ticks])
        ax.set_title(name, fontsize=8.5)
        even = 1 / len(weights)
    axes[0, 0].set_ylabel("attending frame")
    bar = fig.colorbar(image, ax=axes, fraction=0.03, pad=0.01, label="attention weight, mean over the heads")
    bar.ax.axhline(even, color=SERIES[1], lw=1.4)
    bar.ax.annotate("even", (0, even), (-2, 0), textcoords="offset points", ha="right", va="center", fontsize=7)
    if title:
        fig.suptitle(title, x=0.01, ha="left", fontsize=10)
    return fig


def cosines(
    matrices: Mapping[str, ArrayLike],
    tracks: Sequence[str],
    regions: Sequence[str],
    *,
    labels: Mapping[str, str] | None = None,
    rows: str = "frames",
    columns: str = "coordinates",
    title: str | None = None,
) -> Figure:
    """Matrices of cosines of N frames with N coordinates, side by side on one scale, with the means of `pair_means`.

    Args:
        matrices: what it is -> (N, N).
        tracks, regions: of each of the N; those of one track follow each other.
        labels: region -> as it is written; the region itself when left out.
        rows, columns: what they are.

    Raises InputError where a matrix does not have N rows and columns.
    """
    count = len(tracks)
    if wrong := [name for name, matrix in matrices.items() if np.shape(matrix) != (count, count)]:
        raise InputError(f"{wrong[0]}: {np.shape(matrices[wrong[0]])} cosines for {count} frames of the batch")
    edges = [0, *(i for i in range(1, count) if tracks[i] != tracks[i - 1]), count]
    size = 6.6 / len(matrices)
    fig, axes = plt.subplots(
        1, len(matrices), figsize=(7.2, 0.86 * size + (1.3 if title else 1.05)), layout="constrained", squeeze=False
    )
    fig.get_layout_engine().set(w_pad=0.02)
    for ax, (name, matrix) in zip(axes[0], matrices.items(), strict=True):
        ax.imshow(matrix, cmap=_SIGNED, vmin=-1, vmax=1, interpolation="nearest", gid="cosines")
        _blocks(ax, edges, [regions[edge] for edge in edges[:-1]], labels or {}, names=ax is axes[0, 0])
        means = pair_means(matrix, tracks, regions)
        lines = "\n".join(f"{key}: {value:.2f}" for key, value in means.items() if not np.isnan(value))
        ax.set_xlabel(f"{columns}\n\n{lines}", fontsize=7.5, linespacing=1.25)
        ax.set_title(name, fontsize=8.5)
    axes[0, 0].set_ylabel(rows, fontsize=8)
    scale = ScalarMappable(Normalize(-1, 1), _SIGNED)
    fig.colorbar(scale, ax=axes, fraction=0.02, pad=0.01, label="cosine", ticks=[-1, -0.5, 0, 0.5, 1])
    if title:
        fig.suptitle(title, x=0.01, ha="left", fontsize=10)
    return fig


def row(
    shares: Mapping[str, ArrayLike], own: int, same_track: ArrayLike, near: ArrayLike, *, title: str | None = None
) -> Figure:
    """What one frame gives to each of N coordinates, as probabilities: the softmax of a row of the matrix.

    Args:
        shares: what it is -> (N,), a panel each.
        own: the frame's own coordinate.
        same_track, near: bool (N,): of its track; and so near to its own that a mask would hide them.
    """
    same_track, near = np.asarray(same_track, dtype=bool), np.asarray(near, dtype=bool)
    fig, axes = plt.subplots(
        len(shares), 1, figsize=(7.2, 1.35 * len(shares) + 0.75), layout="constrained", sharex=True
    )
    others = np.arange(len(same_track)) != own
    for ax, (name, share) in zip(np.atleast_1d(axes), shares.items(), strict=True):
        share = np.asarray(share, dtype=float)
        at = np.arange(len(share))
        for which, colour, label in (
            (~same_track, REFERENCE, "of other tracks"),
            (same_track & others, SERIES[1], "of its track"),
            (~others, SERIES[2], "its own"),
        ):
            ax.bar(at[which], share[which], color=colour, width=0.9, label=label)
        hidden = near & others
        ax.plot(at[hidden], share[hidden], "v", color=SERIES[0], ms=3.5, ls="none", label="a mask would hide it")
        ax.set_title(f"{name}: its own gets {share[own]:.3f}", fontsize=8.5)
        ax.set_ylabel("probability")
        ax.set_ylim(0, 1.18 * max(share.max(), 2 / len(share)))
    last = np.atleast_1d(axes)[-1]
    last.set(xlabel="coordinate of the batch", xlim=(-1, len(same_track)))
    np.atleast_1d(axes)[0].legend(ncols=4, loc="upper right", fontsize=7.5, borderaxespad=0, handlelength=1.2)
    if title:
        fig.suptitle(title, x=0.01, ha="left", fontsize=10)
    return fig


def neighbours(cosine: ArrayLike, km: ArrayLike, mask_km: float, *, title: str | None = None) -> Figure:
    """One track's block of the matrix: cosines (T, T) beside distances (T, T) in km; what a mask hides is framed."""
    cosine, km = np.asarray(cosine, dtype=float), np.asarray(km, dtype=float)
    fig, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3.4), layout="constrained")
    images = left.imshow(cosine, cmap=sequential()), right.imshow(1000 * km, cmap=sequential().reversed())
    words = ("cosine of frame and coordinate", "distance (m)")
    for ax, image, word in zip((left, right), images, words, strict=True):
        for i, j in np.argwhere((km <= mask_km) & ~np.eye(len(km), dtype=bool)):
            ax.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, fill=False, ec=SERIES[1], lw=1.1, gid="hidden"))
        ticks = _frame_ticks(len(km))
        ax.set(xticks=ticks, yticks=ticks, xlabel="coordinate")
        ax.set_xticklabels([tick + 1 for tick in ticks])
        ax.set_yticklabels([tick + 1 for tick in ticks])
        fig.colorbar(image, ax=ax, fraction=0.046, pad=0.02, label=word)
    left.set_ylabel("frame")
    if title:
        fig.suptitle(title, x=0.01, ha="left", fontsize=10)
    return fig


def _blocks(ax: Axes, edges: Sequence[int], regions: Sequence[str], labels: Mapping[str, str], names: bool) -> None:
    for before, edge in enumerate(edges[1:-1]):
        city = regions[before] != regions[before + 1]
        for line in (ax.axhline, ax.axvline):
            line(edge - 0.5, color=TEXT if city else MUTED, lw=0.8 if city else 0.4)
    starts = [n for n in range(len(regions)) if not n or regions[n] != regions[n - 1]] + [len(regions)]
    middles = [(edges[a] + edges[b] - 1) / 2 for a, b in itertools.pairwise(starts)]
    ax.set(xticks=[], yticks=middles if names else [])
    ax.tick_params(length=0)
    if names:
        ax.set_yticklabels([labels.get(regions[n], regions[n]) for n in starts[:-1]], fontsize=7.5)


def _frame_ticks(count: int) -> list[int]:
    step = 1 if count <= 8 else 5
    return [n for n in range(count) if step == 1 or n == 0 or (n + 1) % step == 0]
