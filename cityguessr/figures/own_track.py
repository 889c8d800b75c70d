"""The track of your own video: its frames, and where in the world and in a city the system places them."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from cityguessr.data.sampling import frame_indices
from cityguessr.evaluation.own_tracks import OwnTrack
from cityguessr.figures import city_maps, map_labels, maps, tracks
from cityguessr.figures.style import MUTED, REFERENCE
from cityguessr.figures.track_answers import REFINED, RETRIEVED, local_km, region_label
from cityguessr.measures.sphere import great_circle_km
from cityguessr.measures.tracks import mean_place

SHOWN = 16  # frames at most
_ROW = 8
_LEAST_KM = 1.0  # from the middle to the upper edge of a map, at least
NOTE = "trained on MiniWorld, a synthetic world: of a real video this means nothing"


def draw(track: OwnTrack, title: str | None = None) -> Figure:
    """The frames with their numbers; how many are placed in which city of the world; and the commonest of them near.

    On the near map a number is that of a frame, in the order of time, beside its last answer; frames with one answer
    share a mark. What lies in other cities is on the world map alone.

    Args:
        title: what to see.
    """
    shown = frame_indices(len(track), min(SHOWN, len(track)))
    rows = -(-len(shown) // _ROW)
    pictures = [track.pictures[k] for k in shown]
    tall = max(picture.shape[0] / picture.shape[1] for picture in pictures)
    strip = rows * (min(7.2 / _ROW * tall, 1.3) + 0.16)
    below = 0.3  # inches, for the key and the remark
    fig = plt.figure(figsize=(7.2, strip + 2.45 + below + (0.3 if title else 0)), layout="constrained")
    above, under = fig.subfigures(2, 1, height_ratios=[strip + (0.3 if title else 0), 2.45 + below])
    cells = list(above.subplots(rows, _ROW, squeeze=False).flat)
    for ax in cells:
        ax.set_axis_off()
    for ax, k, picture in zip(cells, shown, pictures, strict=False):
        ax.imshow(picture, interpolation="antialiased")
        ax.set_title(f"{k + 1} · {track.frames[k]}", fontsize=7, fontweight="normal", pad=2, parse_math=False)
    if title:
        above.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold", parse_math=False)
    grid = under.add_gridspec(1, 2, width_ratios=[1.5, 1])
    globe = maps.world(under.add_subplot(grid[0], projection=maps.projection()))
    near = under.add_subplot(grid[1])
    city = next(iter(track.counts))
    _near(near, track, city)
    under.legend(handles=_key(track), loc="outside lower right", ncols=3, fontsize=7.5, handlelength=1.8)
    if track.synthetic:
        under.text(0.01, 0.015, NOTE, fontsize=7.5, style="italic", color=MUTED)
    _cities(globe, track)
    _numbers(near, track, city)
    return fig


def same_answer(track: OwnTrack, frames: NDArray[np.int64]) -> list[tuple[str, NDArray[np.float64]]]:
    """The last answers for some frames: their numbers, as "1-4, 9", with the place that they share, (2,) degrees."""
    places, where = np.unique(track.final[frames], axis=0, return_inverse=True)
    groups = [frames[where.ravel() == at] for at in range(len(places))]
    return [(_ranges(group + 1), place) for group, place in zip(groups, places, strict=True)]


def _ranges(numbers: NDArray[np.int64]) -> str:
    """Rising numbers as text: 1, 2, 3, 7 -> "1-3, 7"."""
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)
    return ", ".join(f"{run[0]}" if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _cities(ax: Axes, track: OwnTrack) -> None:
    counts, regions = track.counts, np.array(track.regions)
    places = np.array([mean_place(track.final[regions == region]) for region in counts])
    sizes = 25 + 175 * np.array(list(counts.values())) / len(track)
    maps.points(ax, places, sizes=sizes, colours=tracks.COLOURS[REFINED], alpha=0.8)
    texts = [f"{region_label(region)}: {n} of {len(track)}" for region, n in counts.items()]
    map_labels.place(ax, maps.project(places), texts[:12], [True, *[False] * (len(texts) - 1)][:12])


def _near(ax: Axes, track: OwnTrack, city: str) -> None:
    """The map of a city without its numbers."""
    here = np.array(track.regions) == city
    middle = mean_place(track.final[here])
    answers = {RETRIEVED: track.retrieved} | ({} if track.refined is None else {REFINED: track.refined})
    first = local_km(track.retrieved[here], middle)
    first = first[np.linalg.norm(first, axis=1) <= tracks.REACH_KM]  # where phase I was far off, it is not shown
    points = np.concatenate([local_km(track.final[here], middle), first])
    view = city_maps.view_of(points, 1.3, _LEAST_KM)
    city_maps.frame(ax, view)
    city_maps.dots(ax, track.gallery, middle, view, REFERENCE, 1.2)
    for kind, latlon in answers.items():
        colour, marker = tracks.COLOURS[kind], tracks.MARKERS[kind]
        last = latlon is track.final
        places = local_km(latlon, middle)
        for at in np.flatnonzero(here[:-1] & here[1:]) if last else ():
            thin = great_circle_km(latlon[at], latlon[at + 1]) > tracks.JUMP_KM
            ax.plot(*places[at : at + 2].T, color=colour, lw=0.45 if thin else 1.1, zorder=2)
        style = {"ms": 4.5, "mec": "white", "mew": 0.5} if last else {"ms": 4.5, "mfc": "none", "mew": 0.9}
        ax.plot(*places[here].T, marker, color=colour, ls="none", zorder=4 if last else 3, gid=kind, **style)
    city_maps.scale_bar(ax, view)
    ax.set_title(f"near {region_label(city)}: {here.sum()} of {len(track)} frames", fontsize=8.5)


def _numbers(ax: Axes, track: OwnTrack, city: str) -> None:
    frames = np.flatnonzero(np.array(track.regions) == city)
    groups = same_answer(track, frames)
    middle = mean_place(track.final[frames])
    places = local_km(np.array([place for _, place in groups]), middle)
    map_labels.place(ax, places, [text for text, _ in groups], size=7.5)


def _key(track: OwnTrack) -> list[Line2D]:
    """What the marks of the near map mean."""
    kinds = [RETRIEVED] + ([REFINED] if track.refined is not None else [])
    handles = [
        Line2D([], [], color=tracks.COLOURS[kind], marker=tracks.MARKERS[kind], ms=4.5, label=kind, lw=1.1 * last,
               mfc=tracks.COLOURS[kind] if last else "none", ls="-" if last else "none")
        for kind, last in ((kind, kind == kinds[-1]) for kind in kinds)
    ]  # fmt: skip
    return [*handles, Line2D([], [], color=REFERENCE, marker="o", ms=2, ls="none", label="gallery")]
