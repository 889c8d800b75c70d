"""Tables with one row per frame of a clip, `frame_scenes.csv` and `gps.csv` of a release; what their fields mean."""

from array import array
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from cityguessr.base.errors import InputError
from cityguessr.base.tables import place, read_rows
from cityguessr.data.release.label_files import shorten
from cityguessr.scenes import CATEGORIES, SCENES

MOST_FRAMES = 100_000
"""Frame numbers are below this: a clip of the release has about 100 frames, 20 minutes of video have 36,000."""

Resolve = Callable[[str, str], str | None]
"""(a clip as a table names it, file and line for an error) -> the clip's id; None for a clip that is not listed."""


def read_frame_scenes(path: Path, scene_classes: int, resolve: Resolve) -> dict[str, np.ndarray]:
    """Clip id -> the scene (or category) of every frame by its number n.

    Each is int8, or int16 for 365 categories, of shape (n + 1,), and -1 where missing.

    Raises InputError, naming file and line, for a scene that is none, a frame number that is none or at least
    `MOST_FRAMES`, and a frame listed twice.
    """
    table = _ByFrame(path, "b" if scene_classes == len(SCENES) else "h", resolve)
    for line, row, scene in read_scenes(path, ("clip", "frame"), scene_classes):
        table.add(line, row, scene)
    return {clip: values[:, 0] for clip, values in table.by_number(-1)}


def read_gps(path: Path, resolve: Resolve) -> dict[str, np.ndarray]:
    """Clip id -> latitude and longitude in degrees of every frame by its number n.

    Each is float64 (n + 1, 2), NaN where missing.

    There are two rows at least, since a single one would stand for the whole clip. Raises InputError as
    `read_frame_scenes` does.
    """
    table = _ByFrame(path, "d", resolve, width=2)
    for line, row in read_rows(path, ("clip", "frame", "lat", "lon")):
        table.add(line, row, *place(row["lat"], row["lon"], f"{path}, line {line}"))
    pad = np.full((1, 2), np.nan)
    return {
        clip: values if len(values) > 1 else np.concatenate([values, pad]) for clip, values in table.by_number(np.nan)
    }


class _ByFrame:
    """Values by clip and frame number, kept compactly: the rendered world at full size has seven million rows."""

    def __init__(self, path: Path, kind: str, resolve: Resolve, width: int = 1) -> None:
        self.path, self.kind, self.resolve, self.width = path, kind, resolve, width
        self.rows: dict[str, tuple[array, array, array]] = {}  # clip -> frame numbers, lines, values
        self.last: tuple[str, str | None] = ("", None)  # the rows of a clip mostly stand together

    def add(self, line: int, row: dict[str, str], *values: float) -> None:
        where = f"{self.path}, line {line}"
        number = frame_number(row["frame"], where)
        if self.last[0] != row["clip"]:
            self.last = row["clip"], self.resolve(row["clip"], where)
        clip = self.last[1]
        if clip is not None:
            if clip not in self.rows:
                self.rows[clip] = array("i"), array("i"), array(self.kind)
            numbers, lines, kept = self.rows[clip]
            numbers.append(number)
            lines.append(line)
            kept.extend(values)

    def by_number(self, missing: float) -> Iterator[tuple[str, np.ndarray]]:
        """Each clip with its values (largest number + 1, width)."""
        for clip, (numbers, lines, kept) in self.rows.items():
            at = np.frombuffer(numbers, np.int32)
            unique, first = np.unique(at, return_index=True)
            if len(unique) != len(at):
                again = min(set(range(len(at))) - set(first.tolist()))
                raise InputError(
                    f"{self.path}, line {lines[again]}: frame {at[again]} of {clip} stands in line "
                    f"{lines[int(np.flatnonzero(at == at[again])[0])]} already; keep one of them"
                )
            values = np.full((int(at.max()) + 1, self.width), missing, np.dtype(self.kind))
            values[at] = np.frombuffer(kept, np.dtype(self.kind)).reshape(-1, self.width)
            yield clip, values


def read_scenes(path: Path, columns: tuple[str, ...], scene_classes: int) -> Iterator[tuple[int, dict[str, str], int]]:
    """The rows of a table of scenes with their line numbers and scenes; the column is `category` where these are 365.

    Raises InputError, naming file and line, where one of `columns` is missing or a scene is not of so many classes.
    """
    column = "category" if scene_classes == CATEGORIES else "scene"
    for line, row in read_rows(path, (*columns, column)):
        scene = _whole(row[column])
        if scene is None or scene >= scene_classes:
            raise InputError(
                f"{path}, line {line}: {column} {shorten(row[column])} is not one of 0..{scene_classes - 1}"
            )
        yield line, row, scene


def frame_number(field: str, where: str) -> int:
    """A frame number from a field. Raises InputError, with `where`, unless it is whole and below `MOST_FRAMES`."""
    number = _whole(field)
    if number is None:
        raise InputError(f"{where}: the frame number {shorten(field)} is not a whole number; correct the line")
    if number >= MOST_FRAMES:
        raise InputError(f"{where}: no clip has {number:,} frames; frame numbers are below {MOST_FRAMES:,}, correct it")
    return number


def _whole(field: str) -> int | None:
    """A whole number from 0 on, None for anything else; what has more than twelve digits counts as 10**12."""
    if not (field.isascii() and field.isdecimal()):
        return None
    digits = field.lstrip("0") or "0"
    return int(digits) if len(digits) <= 12 else 10**12
