"""Sheets of pictures: quartets, cities, examples, top-5 lists (paper, Fig. 1; supplement, Figs. 1, 3 and 6 to 10).

A sheet is laid out in inches from its upper left corner. Captions are measured before they are written and wrapped to
the width of their own picture, so that none is cut off or runs into another, whatever the names are.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from cartopy.mpl.geoaxes import GeoAxes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from cityguessr.base.errors import InputError, one_of
from cityguessr.figures import maps
from cityguessr.figures.page import CAPTION, GAP, LINE, WIDTH, Box, Sheet, check_image, text_width, wrapped
from cityguessr.figures.style import CONTINENT_COLOURS, GUIDE, LEVEL_COLOURS, MUTED, REFERENCE, TEXT

_LEAST_MAP = 6e6  # metres from west to east of the smallest map
_CLASSES = {
    "city": "in the right city",
    "state": "in the right state or province and the wrong city",
    "country": "in the right country and the wrong state or province",
    "continent": "on the right continent and in the wrong country",
    "nowhere": "on the wrong continent",
}
_OTHER = MUTED  # of answers that are not the true city, and of clips that are right nowhere


def quartets(
    pictures: Mapping[str, Sequence[NDArray]], captions: Mapping[str, Sequence[str]], title: str | None = None
) -> Figure:
    """A block of pictures for each continent, two to a row, three blocks side by side (paper, Fig. 1).

    Args:
        pictures: continent -> uint8 (H, W, 3) arrays, usually four.
        captions: continent -> one caption per picture; what follows a line break, such as a country's name, is muted.
        title: what to see; made from the numbers of pictures and continents when left out.

    Raises InputError where there is nothing to show, captions do not match pictures, or one is not uint8 (H, W, 3).
    """
    if not pictures:
        raise InputError("a sheet of quartets needs at least one continent")
    for name in pictures:
        _check(pictures[name], captions.get(name, ()), f"{name}: ")
    across = min(3, len(pictures))
    between = 2.5 * GAP
    width = (WIDTH - between * (across - 1)) / across
    ratio = _ratio([picture for block in pictures.values() for picture in block])
    sheet = Sheet(title or f"{sum(map(len, pictures.values()))} street views from {len(pictures)} continents")
    names = list(pictures)
    for first in range(0, len(names), across):
        ends = []
        for column, name in enumerate(names[first : first + across]):
            left = column * (width + between)
            below = sheet.heading(name, left, sheet.y, width, CONTINENT_COLOURS.get(name, MUTED))
            ends.append(sheet.grid(pictures[name], captions[name], left, below, width, 2, ratio))
        sheet.y = max(ends) + 0.06
    return sheet.finish()


def cities(continent: str, pictures: Sequence[NDArray], captions: Sequence[str], title: str | None = None) -> Figure:
    """A picture of each city of a continent (supplement, Fig. 3); for captions, titles and errors see `quartets`."""
    _check(pictures, captions, f"{continent}: ")
    columns = 8 if len(pictures) > 36 else min(7, max(4, len(pictures)))
    count = "its one city" if len(pictures) == 1 else f"each of {len(pictures)} cities"
    sheet = Sheet(title or f"{continent}: one street view from {count}", CONTINENT_COLOURS.get(continent, MUTED))
    sheet.y = sheet.grid(pictures, captions, 0, sheet.y, WIDTH, columns, _ratio(pictures))
    return sheet.finish()


def examples(pictures: Sequence[NDArray], table: pd.DataFrame, finest: str, total: int, columns: int = 5) -> Figure:
    """Clips that are right down to one level, with what is true and what was answered (supplement, Figs. 6 to 10).

    The title says how many of how many such clips there are, and the sheet of a class without any says so. The rule
    below a picture has the level's colour, grey for `nowhere`.

    Args:
        pictures: one per row of the table.
        table: from `examples.describe`.
        finest: the finest level at which these clips are right, one of `examples.RIGHT`.
        total: how many clips of the split are of this class.
        columns: pictures in a row.

    Raises InputError where pictures and table do not match, or the table has clips of another class.
    """
    if finest not in _CLASSES:
        raise one_of("finest level", finest, _CLASSES)
    rows = table.to_dict("records")
    if total < len(rows) or any(row["finest_right"] != finest for row in rows):
        raise InputError(f"{len(rows)} clips of a class of {total}: give those that are right at {finest!r}, as drawn")
    count = "The one clip" if total == 1 else f"All {total} clips" if total == len(rows) else None
    count = "No clip is" if not total else count or f"{len(rows)} of the {total:,} clips"
    sheet = Sheet(f"{count} placed {_CLASSES[finest]}")
    if total and len(rows):
        captions = [_example(row) for row in rows]
        _check(pictures, captions, "")
        colours = [LEVEL_COLOURS.get(finest, _OTHER)] * len(rows)
        columns = min(columns, max(4, len(rows)))
        sheet.y = sheet.grid(pictures, captions, 0, sheet.y, WIDTH, columns, _ratio(pictures), colours)
        sheet.note("→ the answer, its probability, and how far its centre is from the clip.")
    else:
        sheet.note("Nothing to show: the split has no clip of this class.")
    return sheet.finish()


def top5(pictures: Sequence[NDArray], table: pd.DataFrame, title: str = "The five likeliest cities") -> Figure:
    """One row per clip: its picture, its likeliest cities as bars, and where these lie (supplement, Fig. 1).

    A bar is a city's probability, on one scale from 0 to 1; the true city is marked by colour wherever it stands. On
    the map a ring is where the clip was recorded, and a dot's area is a city's probability.

    Args:
        pictures: one per clip.
        table: from `examples.likeliest`, the clips in the same order.
        title: what to see.

    Raises InputError where pictures and table do not match.
    """
    groups = [group for _, group in table.groupby("clip_id", sort=False)] if len(table) else []
    _check(pictures, [""] * len(groups), "")
    sheet, ratio = Sheet(title), _ratio(pictures)
    picture_width, bars, map_width = 1.72, 3.05, 2.2
    places = []  # of the maps, which need to know how tall the page has become
    for picture, group in zip(pictures, groups, strict=True):
        clip = group.iloc[0]
        top = sheet.heading(f"{clip.outcome.capitalize()}: {clip.city}, {clip.country}", 0, sheet.y, WIDTH, REFERENCE)
        sheet.fitted_picture(picture, Box(0, top, picture_width, picture_width * ratio))
        end, left = top - 0.02, picture_width + 0.13
        for row in group.itertuples():
            end = _bar(sheet, row, left, end, bars)
        height = max(end - top, picture_width * ratio)
        places.append(Box(WIDTH - map_width, top, map_width, height))
        sheet.y = top + height + 0.14
    sheet.note(
        "Bars: probability after Eq. 5, divided by its sum. Distances: from the city's centre to the clip. "
        "Maps: the ring is the clip, a dot's area a probability. In colour: the true city."
    )
    fig = sheet.finish()
    for box, group in zip(places, groups, strict=True):
        _map(fig.add_axes(sheet.place(box), projection=maps.projection()), group)
    return fig


def _check(pictures: Sequence[NDArray], captions: Sequence[str], where: str) -> None:
    if not len(pictures):
        raise InputError(f"{where}a sheet needs at least one picture")
    if len(captions) != len(pictures):
        raise InputError(f"{where}{len(captions)} captions for {len(pictures)} pictures")
    for i, picture in enumerate(pictures):
        check_image(picture, f"{where}picture {i}")


def _ratio(pictures: Sequence[NDArray]) -> float:
    """Height over width of most pictures: the box that each of them gets."""
    return Counter(round(picture.shape[0] / picture.shape[1], 3) for picture in pictures).most_common(1)[0][0]


def _share(probability: float) -> str:
    return f"{probability:.0%}" if probability >= 0.005 else "<1%"


def _distance(km: float) -> str:
    return "distance unknown" if math.isnan(km) else f"{km:,.0f}\u00a0km" if km >= 1 else "<1\u00a0km"


def _example(row: Mapping[str, object]) -> str:
    """The caption of one clip: the truth, and muted the answer, how far off it is, and what the two share."""
    level, answer = row["finest_right"], row["answer_city"]
    if level in ("continent", "nowhere"):
        answer += f", {row['answer_country']}"
    shared = {"state": f"\nboth in {row['state']}", "nowhere": f"\n{row['answer_continent']}, not {row['continent']}"}
    numbers = f"({_share(row['probability'])}), {_distance(row['km'])}"
    return f"{row['city']}, {row['country']}\n→ {answer} {numbers}{shared.get(level, '')}"


def _bar(sheet: Sheet, row: tuple, x: float, y: float, width: float) -> float:
    """One city of a list: its name, its numbers, and a bar below them. Returns where it ends."""
    colour = LEVEL_COLOURS["city"] if row.right else _OTHER
    space = width - max(0.74, text_width(_distance(row.km), CAPTION, row.right) + 0.1)
    sheet.text(_distance(row.km), x + width, y, CAPTION, TEXT, row.right, "right")
    sheet.text(_share(row.probability), x + space, y, CAPTION, TEXT, row.right, "right")
    space -= 0.45
    for text in wrapped(f"{row.rank}  {row.answer}, {row.answer_country}", space, CAPTION, row.right):
        sheet.text(text, x, y, CAPTION, TEXT, row.right)
        y += CAPTION * LINE
    y += 0.015
    sheet.bar(Box(x, y, width, 0.055), GUIDE)
    sheet.bar(Box(x, y, width * row.probability, 0.055), colour)
    return y + 0.055 + 0.04


def _map(ax: GeoAxes, group: pd.DataFrame) -> None:
    """The part of the world that holds the answers and the clip: dots as large as they are likely, and a ring."""
    maps.world(ax)
    answers = group[np.isfinite(group[["latitude", "longitude"]]).all(axis=1)].sort_values("probability")[::-1]
    colours = [LEVEL_COLOURS["city"] if right else _OTHER for right in answers["right"]]
    if len(answers):
        sizes = 7 + 90 * answers["probability"].to_numpy()
        maps.points(ax, answers[["latitude", "longitude"]], sizes=sizes, colours=colours, linewidths=0.3)
    truth = group[["true_latitude", "true_longitude"]].to_numpy()[:1]
    if np.isfinite(truth).all():
        maps.points(ax, truth, sizes=55, colours="none", edgecolors=TEXT, linewidths=0.9, zorder=6)
    _zoom(ax)


def _zoom(ax: GeoAxes) -> None:
    """Show what is drawn as points, with some of the world around it, in the axes' own proportions."""
    places = [np.asarray(dots.get_offsets()) for dots in ax.collections if dots.get_gid() != "land"]
    if not places:
        return
    drawn = np.concatenate(places)
    world = np.array([ax.get_xlim(), ax.get_ylim()])  # (2, 2): along x and y, in metres
    box = ax.get_position(original=True)
    high = box.height * ax.figure.get_figheight() / (box.width * ax.figure.get_figwidth())  # over width
    spread = np.ptp(drawn, axis=0)
    width = max(_LEAST_MAP, 1.3 * spread[0], 1.3 * spread[1] / high)
    if width * min(1.0, high) < 0.75 * np.ptp(world[1]):
        size = np.array([width, width * high])
        middle = np.clip((drawn.max(0) + drawn.min(0)) / 2, world[:, 0] + size / 2, world[:, 1] - size / 2)
        ax.set_xlim(middle[0] - size[0] / 2, middle[0] + size[0] / 2)
        ax.set_ylim(middle[1] - size[1] / 2, middle[1] + size[1] / 2)
        view = Bbox.from_extents(*(middle - size / 2), *(middle + size / 2))
        (land,) = (part for part in ax.collections if part.get_gid() == "land")
        # A file would hold the paths that are out of view as well.
        land.set_paths([path for path in land.get_paths() if path.get_extents().overlaps(view)])
