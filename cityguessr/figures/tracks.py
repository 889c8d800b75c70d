"""Tracks drawn: true and answered ones on a map, the error along a track, and how many frames are how near."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import ArrayLike, NDArray

from cityguessr.base.errors import InputError
from cityguessr.figures.city_maps import HALO, SHAPE, dots, frame, km, scale_bar, view_of
from cityguessr.figures.style import GUIDE, LAND, MUTED, PAPERS_OWN, REFERENCE, SERIES, TEXT, TITLE
from cityguessr.figures.track_answers import (
    CEILING,
    CENTRE,
    FILTERED,
    KINDS,
    REFINED,
    RETRIEVED,
    TrackAnswers,
    gathered,
    local_km,
)
from cityguessr.measures.sphere import great_circle_km
from cityguessr.measures.tracks import THRESHOLDS_KM

COLOURS = dict(zip((RETRIEVED, FILTERED, REFINED), SERIES, strict=True)) | {CENTRE: PAPERS_OWN, CEILING: MUTED}
"""Kind of answer -> colour, on every picture of tracks; the true track is drawn in the colour of text."""

MARKERS = {RETRIEVED: "o", FILTERED: "s", REFINED: "D"}
JUMP_KM = 1.0  # a longer step between neighbouring frames is drawn thin
REACH_KM = 5.0  # a map reaches no further than this for an answer
_LEAST = 0.5  # km from the middle to the upper edge of the smallest map
_MARGIN, _WIDE = 1.18, 1.7  # what a map shows, for what must be on it
_ARROW = 0.085  # length of an arrow at the edge, in heights of the map
_LINES = {RETRIEVED: (0, (1, 1)), FILTERED: (0, (4, 1.5)), REFINED: "-", CENTRE: (0, (6, 2)), CEILING: (0, (1, 2))}


def on_map(
    tracks: Sequence[TrackAnswers],
    gallery: ArrayLike | None = None,
    training: Mapping[str, ArrayLike] | None = None,
    *,
    headings: Sequence[str] | None = None,
    title: str | None = None,
    reach_km: float = REACH_KM,
) -> Figure:
    """Tracks on maps of their own, a row each, and in it a map for each kind of answer, all of the same view.

    The map is in km around the track's middle, north up (`track_answers.local_km`). It holds the true track and all
    answers within `reach_km` of its middle. An answer outside of it is an arrow at the edge, in the direction of its
    great circle, with its error in km; those of one place (within 25 km) share an arrow, which then says how many
    frames there are and their median error. The number above a map is the discrete Frechet distance.

    Args:
        gallery: (n, 2) degrees, the points that can be answered, as faint dots.
        training: region -> (n, 2) degrees, the training coordinates, fainter still.
        headings: a line for each track; its region when left out.
        title: what to see.

    Raises InputError where there is no track, they differ in their kinds of answers, or headings do not match them.
    """
    shown = _kinds_of(tracks)
    headings = _headings(tracks, headings)
    width = 7.2 / len(shown) - 0.12
    height = len(tracks) * (width * SHAPE + 0.5) + above(title)
    fig, axes = plt.subplots(len(tracks), len(shown), figsize=(7.2, height), squeeze=False, layout="constrained")
    fig.get_layout_engine().set(w_pad=0.03, h_pad=0.02, wspace=0.01, hspace=0.01)
    for row, track, heading in zip(axes, tracks, headings, strict=True):
        view = _view(track, reach_km)
        background = [] if training is None else training.get(track.region, [])
        layers = [(background, LAND, 5.0), ([] if gallery is None else gallery, REFERENCE, 1.2)]
        for ax, kind in zip(row, shown, strict=True):
            frame(ax, view)
            for points, colour, size in layers:
                dots(ax, points, track.middle, view, colour, size)
            _true(ax, track)
            _answers(ax, track, kind, view)
            # The empty line keeps room for the row's heading, which is wider than its map.
            ax.set_title(f"\n{kind}: {km(track.frechet(kind))}", fontsize=8, color=COLOURS[kind], pad=3)
        scale_bar(row[0], view)
        place = {"xytext": (0, 16), "xycoords": "axes fraction", "textcoords": "offset points"}
        row[0].annotate(heading, (0, 1), **place, fontsize=8.5, fontweight="bold").set_in_layout(False)
    title_and_key(fig, title, _map_key(gallery is not None, training is not None))
    return fig


def error_along(
    tracks: Sequence[TrackAnswers],
    *,
    headings: Sequence[str] | None = None,
    title: str | None = None,
    columns: int = 3,
) -> Figure:
    """The error of each kind of answer at every frame of some tracks, on one logarithmic scale of km.

    The dotted line is the gallery's ceiling: nothing that answers with points of the gallery can lie below it.

    Args:
        headings, title: as in `on_map`, with its errors.
        columns: panels in a row.
    """
    shown, headings = _kinds_of(tracks), _headings(tracks, headings)
    columns = min(columns, len(tracks))
    rows = -(-len(tracks) // columns)
    size = (7.2, 1.85 * rows + 0.15 + above(title))
    fig, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, sharey=True, layout="constrained")
    for ax, track, heading in zip(axes.flat, tracks, headings, strict=False):
        frames = np.arange(1, len(track) + 1)
        for kind in shown:
            mark = {"marker": MARKERS[kind], "ms": 2.4, "lw": 1.1, "ls": _LINES[kind]}
            ax.plot(frames, track.error_km(kind), color=COLOURS[kind], **mark)
        if track.ceiling_km is not None:
            ax.plot(frames, track.ceiling_km, color=COLOURS[CEILING], lw=1.1, ls=_LINES[CEILING])
        ax.set_title(heading, fontsize=8.5)
        ax.set_xlim(0.5, len(track) + 0.5)
    for ax in axes.flat[len(tracks) :]:
        ax.set_visible(False)
    for row in axes:
        row[0].set_ylabel("error (km)")
    for at in range(columns):  # the lowest panel of each column
        axes.flat[max(n for n in range(len(tracks)) if n % columns == at)].set_xlabel("frame")
    log_km(axes.flat[0].yaxis, 0.02, max(track.error_km(kind).max() for track in tracks for kind in shown))
    for ax in axes.flat[: len(tracks)]:
        ax.grid(axis="y")
    labels = [*shown, *([CEILING] if any(track.ceiling_km is not None for track in tracks) else [])]
    marks = {kind: {"marker": MARKERS.get(kind), "ms": 3, "lw": 1.2, "ls": _LINES[kind]} for kind in labels}
    title_and_key(fig, title, [Line2D([], [], color=COLOURS[kind], label=kind, **marks[kind]) for kind in labels])
    return fig


def distribution(
    errors_km: Mapping[str, ArrayLike], *, title: str | None = None, thresholds_km: Sequence[float] = THRESHOLDS_KM
) -> Figure:
    """The share of frames within an error, for every kind of answer; the thresholds of the tables are marked.

    Args:
        errors_km: kind of answer -> the errors of all frames, (F,) km, as from `track_answers.errors_km`.

    Raises InputError where there is no error to draw, or an unknown kind.
    """
    if not errors_km or any(not np.size(errors) for errors in errors_km.values()):
        raise InputError("a distribution needs at least one error of every kind of answer")
    if unknown := [kind for kind in errors_km if kind not in COLOURS]:
        raise InputError(f"no kind of answer {unknown[0]!r}; it is one of {', '.join(COLOURS)}")
    fig, ax = plt.subplots(figsize=(7.2, 3.5), layout="constrained")
    low, high = 0.02, 1.3 * max(max(np.max(errors) for errors in errors_km.values()), max(thresholds_km))
    for kind, errors in errors_km.items():
        x = np.sort(np.asarray(errors, dtype=float))
        share = 100 * np.arange(1, len(x) + 1) / len(x)
        # A frame of no error at all counts from the left edge on.
        x, share = np.concatenate([[low], np.maximum(x, low), [high]]), np.concatenate([[0], share, [100]])
        width = 1.8 if kind in KINDS else 1.3
        label = f"{kind}, median {km(float(np.median(errors)))}"
        ax.step(x, share, where="post", color=COLOURS[kind], lw=width, ls=_LINES[kind], label=label)
    for threshold in thresholds_km:
        ax.axvline(threshold, color=GUIDE, lw=0.9, zorder=0)
        unit = " km" if threshold == max(thresholds_km) else ""
        ax.annotate(
            f"{threshold:g}{unit}", (threshold, 1), (0, 2), xycoords=("data", "axes fraction"),
            textcoords="offset points", ha="center", fontsize=7.5, color=MUTED,
        )  # fmt: skip
    log_km(ax.xaxis, low, high)
    ax.set_xlim(low, high)
    ax.set_ylim(0, 101)
    ax.set(xlabel="error of a frame (km)", ylabel="frames within that error (%)")
    ax.legend(loc="lower right", bbox_to_anchor=(1.0, 0.04), frameon=True, framealpha=1, edgecolor="none")
    if title:
        fig.suptitle(title, x=0.01, ha="left", fontsize=10)
    return fig


def distribution_table(errors_km: Mapping[str, ArrayLike]) -> pd.DataFrame:
    """The curves of `distribution` in numbers: kind, frames_percent from 0 to 100, within_km (their error)."""
    percent = np.arange(101)
    rows = [
        pd.DataFrame({"kind": kind, "frames_percent": percent, "within_km": np.percentile(errors, percent)})
        for kind, errors in errors_km.items()
    ]
    return pd.concat(rows, ignore_index=True)


def above(title: str | None) -> float:
    """Inches above the axes for a title and a line of keys."""
    return 0.56 if title else 0.32


def title_and_key(fig: Figure, title: str | None, handles: Sequence[Line2D]) -> None:
    """Both above the axes, in room kept free by hand: a legend "outside" would slide over the title."""
    height = fig.get_size_inches()[1]
    foot = 0.14  # inches, for the line that a saved figure ends with
    fig.get_layout_engine().set(rect=(0, foot / height, 1, 1 - (above(title) + foot) / height))
    if title:
        fig.text(0.006, 1 - 0.06 / height, title, fontsize=10, fontweight="bold", ha="left", va="top", gid=TITLE)
    place = {"loc": "upper left", "bbox_to_anchor": (0.006, 1 - (above(title) - 0.26) / height)}
    style = {"fontsize": 7.5, "handlelength": 2.2, "columnspacing": 1.5, "borderaxespad": 0, "borderpad": 0}
    fig.legend(handles=handles, ncols=len(handles), **place, **style)


def _kinds_of(tracks: Sequence[TrackAnswers]) -> list[str]:
    if not tracks:
        raise InputError("there is no track to draw; give at least one")
    shown = [kind for kind in KINDS if kind in tracks[0].given]
    for track in tracks:
        if set(track.given) != set(shown):
            raise InputError(f"track {track.name} has other kinds of answers than {tracks[0].name}; draw them apart")
    return shown


def _headings(tracks: Sequence[TrackAnswers], headings: Sequence[str] | None) -> Sequence[str]:
    if headings is not None and len(headings) != len(tracks):
        raise InputError(f"{len(headings)} headings for {len(tracks)} tracks; give one for each")
    return [track.label for track in tracks] if headings is None else headings


def _view(track: TrackAnswers, reach_km: float) -> tuple[float, float, float, float]:
    """West, east, south, north of a track's maps in km from its middle."""
    answers = np.concatenate([local_km(latlon, track.middle) for latlon in track.given.values()])
    near = answers[np.linalg.norm(answers, axis=1) <= reach_km]
    points = np.concatenate([local_km(track.true, track.middle), near])
    return view_of(points, _MARGIN if len(near) == len(answers) else _WIDE, _LEAST)  # wide for labels of arrows


def _true(ax: Axes, track: TrackAnswers) -> None:
    x, y = local_km(track.true, track.middle).T
    ax.plot(x, y, color=TEXT, lw=1.8, zorder=4, solid_capstyle="round", gid="true")
    ax.plot(x[:1], y[:1], "o", color=TEXT, mfc="white", ms=4.2, mew=1.1, zorder=5)


def _answers(ax: Axes, track: TrackAnswers, kind: str, view: tuple[float, float, float, float]) -> None:
    west, east, south, north = view
    places = local_km(track.given[kind], track.middle)
    x, y = places.T
    inside = (x >= west) & (x <= east) & (y >= south) & (y <= north)
    steps = great_circle_km(track.given[kind][:-1], track.given[kind][1:])
    for at in np.flatnonzero(inside[:-1] & inside[1:]):
        thin = steps[at] > JUMP_KM
        line = {"lw": 0.45 if thin else 1.1, "alpha": 0.75 if thin else 1.0}
        ax.plot(x[at : at + 2], y[at : at + 2], color=COLOURS[kind], zorder=2, **line)
    dot = {"ms": 3.4, "mec": "white", "mew": 0.4, "ls": "none"}
    ax.plot(x[inside], y[inside], MARKERS[kind], color=COLOURS[kind], zorder=3, gid="answers", **dot)
    away = np.flatnonzero(~inside)
    _arrows(
        ax,
        places,
        track.error_km(kind),
        [away[g] for g in gathered(track.given[kind][away])],
        COLOURS[kind],
        local_km(track.true, track.middle),
    )


def _arrows(ax: Axes, places: NDArray, errors: NDArray, groups: Sequence[NDArray], colour: str, true: NDArray) -> None:
    """An arrow at the edge for each group of frames, and a list of their distances in the corner that is most free."""
    (west, east), (south, north) = ax.get_xlim(), ax.get_ylim()
    middle, half = np.array([(west + east) / 2, (south + north) / 2]), (north - south) / 2
    lines = []
    for group in groups:
        towards = places[group].mean(axis=0) - middle
        towards = towards / max(np.linalg.norm(towards), 1e-12)
        edge = min(half / SHAPE / max(abs(towards[0]), 1e-9), half / max(abs(towards[1]), 1e-9))
        tip, tail = middle + 0.985 * edge * towards, middle + (0.985 * edge - 2 * half * _ARROW) * towards
        style = {"arrowstyle": "-|>", "color": colour, "lw": 1.2, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 8}
        ax.annotate("", tip, tail, arrowprops=style, zorder=6)
        frames = f"{len(group)} frames, " if len(group) > 1 else ""
        bearing = np.degrees(np.arctan2(towards[0], towards[1])) % 360
        lines.append((bearing, f"{_COMPASS[round(bearing / 45) % 8]} {frames}{km(float(np.median(errors[group])))}"))
    # Where the list hides least of the track; the scale bar is at the lower left.
    x, y = ((true - (west, south)) / (east - west, north - south)).T
    rows = 0.1 + 0.11 * len(lines)
    hidden = {
        (side, top): (((x > 0.4) if side == "right" else (x < 0.6)) & ((y > 1 - rows) if top else (y < rows))).sum()
        for side, top in (("right", True), ("right", False), ("left", True))
    }
    side, top = min(hidden, key=lambda corner: hidden[corner])
    for number, (_, text) in enumerate(sorted(lines, reverse=not top)):
        at = (0.98 if side == "right" else 0.02, 0.84 - 0.11 * number if top else 0.13 + 0.11 * number)
        how = {"ha": side, "va": "center", "transform": ax.transAxes, "path_effects": HALO}
        ax.text(*at, text, fontsize=7, color=colour, zorder=7, gid="away", **how)


_COMPASS = "↑↗→↘↓↙←↖"


def _map_key(gallery: bool, training: bool) -> list[Line2D]:
    """What the marks of a map mean, in grey: each map has a colour of its own."""
    dot = {"ls": "none", "mec": "none"}
    return [
        Line2D(
            [], [], color=TEXT, lw=1.8, marker="o", mfc="white", ms=4.2, markevery=(0, 2), label="true, from its start"
        ),
        Line2D([], [], color=MUTED, lw=1.1, marker="o", ms=3.4, label="answers"),
        Line2D([], [], color=MUTED, lw=0.45, label=f"jump of more than {JUMP_KM:g} km"),
        *([Line2D([], [], color=REFERENCE, marker="o", ms=2, label="gallery", **dot)] if gallery else []),
        *([Line2D([], [], color=LAND, marker="o", ms=4, label="training coordinates", **dot)] if training else []),
    ]


def log_km(axis: Axis, low: float, high: float) -> None:
    """A logarithmic axis of km, its decades as plain numbers."""
    ax = axis.axes
    name = axis.axis_name
    getattr(ax, f"set_{name}scale")("log")
    getattr(ax, f"set_{name}lim")(low, 1.5 * max(high, 1.0))
    axis.set_major_locator(LogLocator(numticks=12))  # every decade, however low the panel
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_formatter(NullFormatter())
