"""The table of places: which stretch of which video was filmed in which city."""

from __future__ import annotations

import math
import os
from pathlib import Path, PurePosixPath

from cityguessr.base.errors import InputError
from cityguessr.base.names import composed
from cityguessr.base.tables import decimal, place, read_rows
from cityguessr.compilation.places import Place
from cityguessr.compilation.trees import Growing, Tree
from cityguessr.data.sources import SPLITS
from cityguessr.taxonomy import LEVELS, Taxonomy

COLUMNS = ("video", *LEVELS, "lat", "lon", "start", "end", "split", "credit")
"""The columns that are read; `video` and `city` are needed."""


def read_places(
    videos: str | os.PathLike[str], table: str | os.PathLike[str], taxonomy: Taxonomy | None = None
) -> tuple[list[Place], Tree]:
    """The rows of a table of places, and the tree that their cities belong to.

    Columns, in any order and with others beside them: `video`, a path inside the folder, and `city`; where wanted
    `state`, `country` and `continent`, `lat` and `lon` (degrees), `start` and `end` (seconds of the video: what lies
    outside is not used), `split` (train or val) and `credit`. Single fields may be empty. A video may have several
    rows, for stretches that do not overlap.

    A city is known by its whole path as far as the row gives it. One that the tree lacks is added; its row must give
    state, country and continent.

    Args:
        taxonomy: the tree to begin with, the paper's by default.

    Raises InputError for a missing folder or table and for a row that makes no sense, naming the file, the line
    and the way to fix it. A video that is not there is no error here.
    """
    folder = Path(videos).resolve()
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the folder that holds the videos")
    files, tree = _files(folder), Growing(taxonomy if taxonomy is not None else Taxonomy.cityguessr68k())
    places: list[Place] = []
    for line, row in read_rows(table, ("video", "city")):
        where = f"{table}, line {line}"
        video = _inside(row["video"], where)
        if row.get("split", "") not in ("", *SPLITS):
            raise InputError(f"{where}: split {row['split']!r} is not train, val or empty; correct the line")
        given = bool(row.get("lat") or row.get("lon"))
        stretch = Place(
            line=line,
            video=video,
            path=files.get(video),
            city=tree.city({level: row.get(level, "") for level in LEVELS}, where),
            start=_seconds(row, "start", 0.0, where),
            end=_seconds(row, "end", math.inf, where),
            split=row.get("split", ""),
            latlon=place(row.get("lat", ""), row.get("lon", ""), where) if given else None,
            credit=row.get("credit", ""),
        )
        _check_stretch(stretch, places, where)
        places.append(stretch)
    if not places:
        raise InputError(f"{table}: no rows below the header; write one line per video")
    return places, tree.grown()


def unlisted(videos: str | os.PathLike[str], places: list[Place], table: str | os.PathLike[str]) -> list[str]:
    """The files of a folder of videos that no row of the table names, by their paths inside the folder, sorted."""
    listed = {place.video for place in places}
    files = _files(Path(videos).resolve())
    return sorted(name for name, path in files.items() if name not in listed and path != Path(table).resolve())


def _files(folder: Path) -> dict[str, Path]:
    """Every file below a folder, by its path inside it in composed Unicode; hidden ones are left out."""
    files, seen = {}, set()
    for inside, below, names in os.walk(folder, followlinks=True):
        if (place_on_disk := os.path.realpath(inside)) in seen:  # a link to a folder above it would never end
            below.clear()
            continue
        seen.add(place_on_disk)
        below[:] = [name for name in below if not name.startswith(".")]
        for name in names:
            if not name.startswith("."):
                path = Path(inside) / name
                files[composed(path.relative_to(folder).as_posix())] = path
    return files


def _inside(field: str, where: str) -> str:
    """The path of a video inside the folder, from its field."""
    path = PurePosixPath(field)
    if not field or "\0" in field:
        raise InputError(f"{where}: the field video is empty; write the path of a file in the folder of videos")
    if path.is_absolute() or ".." in path.parts:
        raise InputError(f"{where}: video {field!r} leads outside the folder of videos; write a path inside it")
    return composed(path.as_posix())


def _seconds(row: dict[str, str], name: str, default: float, where: str) -> float:
    if not (field := row.get(name, "")):
        return default
    return decimal(field, where, 0, 1e6, what=f"{name}, in seconds,")


def _check_stretch(place: Place, above: list[Place], where: str) -> None:
    """Refuse a stretch that is empty, or that an earlier row has a part of."""
    if place.start >= place.end:
        raise InputError(f"{where}: start {place.start:g} is not before end {place.end:g}; correct the line")
    for other in above:
        if other.video == place.video and place.start < other.end and other.start < place.end:
            raise InputError(
                f"{where}: {place.video} stands in line {other.line} already; keep one of them, or give both a start "
                "and an end that do not overlap"
            )
