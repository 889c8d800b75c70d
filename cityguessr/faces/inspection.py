"""The inspection of detected faces by a person (supplement, section 5, step 2): contact sheets, and marks in a table.

The paper had the first frame with detected faces of each video inspected, "to filter images with issues like false
positives, far away faces, unclear faces". We show that frame of each clip on a sheet, with its boxes numbered and each
of them enlarged below it; `faces.csv` has one row per box, whose column `keep` the person sets to yes or no.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from cityguessr.base.errors import InputError
from cityguessr.base.files import make_folder, write_atomically, write_bytes
from cityguessr.base.tables import read_rows
from cityguessr.faces.detectors import BOX
from cityguessr.faces.scan import Scan, read_frame

MARKS = "faces.csv"
COLUMNS = ("clip", "frame", "face", *BOX, "score", "keep")
KEEP = {"yes": True, "no": False}

_CELL = 720  # pixels: the width of a clip's cell on a sheet; two of them print at 100 pixels to the half inch
_GAP, _TEXT, _CROP, _BETWEEN = 16, 28, 92, 12
_SHOWN = {True: (255, 176, 0), False: (100, 143, 255)}  # the box of a face to blur, and of one that is not
_PAPER, _INK = (255, 255, 255), (34, 34, 34)


def first_faces(scan: Scan) -> pd.DataFrame:
    """The faces of each clip's first frame that has any: one row per face, numbered from 1 by score, with keep True.

    Clips without faces have no row.
    """
    table = scan.table()
    first = table[table.frame == table.groupby("clip", sort=False).frame.transform("first")].reset_index(drop=True)
    first.insert(2, "face", first.groupby("clip", sort=False).cumcount() + 1)
    return pd.concat([first, pd.Series(True, first.index, name="keep", dtype=bool)], axis=1)


def write_inspection(scan: Scan, out: str | os.PathLike[str], *, columns: int = 2, rows: int = 3) -> list[Path]:
    """Write the sheets (`inspection_001.jpg`, ...) and `faces.csv`, where every face is kept until a person says no.

    Sheets of real videos show real faces: they are for the person who marks, not for publication.

    Args:
        columns, rows: clips across and down a sheet.

    Returns the paths written, the table last. An earlier `faces.csv` of this scan is somebody's work and stays as it
    is. Raises InputError where it belongs to another scan.
    """
    out, marks = make_folder(out), first_faces(scan)
    if (out / MARKS).is_file():
        marks = read_marks(out / MARKS, scan)
    else:
        text = marks.assign(keep=marks.keep.map({kept: word for word, kept in KEEP.items()}))
        write_bytes(out / MARKS, text.to_csv(index=False, lineterminator="\n").encode())
    written = []
    for number, sheet in enumerate(draw_sheets(scan, marks, columns=columns, rows=rows), start=1):
        written.append(out / f"inspection_{number:03d}.jpg")
        write_atomically(written[-1], lambda file, sheet=sheet: sheet.save(file, "JPEG", quality=90))
    return [*written, out / MARKS]


def draw_sheets(scan: Scan, marks: pd.DataFrame, *, columns: int = 2, rows: int = 3) -> Iterator[Image.Image]:
    """The contact sheets as images (Pillow), one after another: `columns` x `rows` clips each.

    Boxes and crops bear the number of the face. One with keep False is outlined in blue and crossed out.
    """
    groups = list(marks.groupby("clip", sort=False))
    for first in range(0, len(groups), columns * rows):
        cells = [_draw_cell(scan, clip, faces) for clip, faces in groups[first : first + columns * rows]]
        lines = [cells[i : i + columns] for i in range(0, len(cells), columns)]
        heights = [max(cell.height for cell in line) for line in lines]
        across = min(columns, len(cells))
        size = (across * _CELL + (across + 1) * _GAP, sum(heights) + _GAP * (len(lines) + 1))
        sheet, top = Image.new("RGB", size, _PAPER), _GAP
        for line, height in zip(lines, heights, strict=True):
            for i, cell in enumerate(line):
                sheet.paste(cell, (_GAP + i * (_CELL + _GAP), top))
            top += height + _GAP
        yield sheet


def read_marks(path: str | os.PathLike[str], scan: Scan) -> pd.DataFrame:
    """The marks that a person made in `faces.csv`: the table of `first_faces` with keep True or False.

    Raises InputError, naming file and line, for a keep that is neither yes nor no, for a face that is not in the scan
    or is listed twice, and for a face of the scan that has no row: a box must not be lost by accident.
    """
    marks = first_faces(scan)
    places = {(clip, str(face)): i for i, (clip, face) in enumerate(zip(marks["clip"], marks.face, strict=True))}
    lines: dict[int, int] = {}
    keep = np.ones(len(marks), dtype=bool)
    for line, row in read_rows(path, COLUMNS):
        where = f"{path}, line {line}"
        at = places.get((row["clip"], row["face"]))
        if at is None or not _agrees(row, marks.iloc[at]):
            raise InputError(
                f"{where}: face {row['face']} of {row['clip']} ({row['frame']}) is not one of this scan; "
                "mark the table that was written with it, and change the column keep alone"
            )
        if at in lines:
            raise InputError(f"{where}: face {row['face']} of {row['clip']} stands in line {lines[at]} already")
        if row["keep"].lower() not in KEEP:
            raise InputError(f"{where}: keep is {row['keep']!r}; write yes (a face, to be blurred) or no")
        lines[at] = line
        keep[at] = KEEP[row["keep"].lower()]
    if len(lines) < len(marks):
        lost = list(marks.itertuples())[next(i for i in range(len(marks)) if i not in lines)]
        raise InputError(
            f"{path}: face {lost.face} of {lost.clip} has no row; leave every row in the table, and write no in the "
            "column keep of what is not to be blurred"
        )
    return marks.assign(keep=keep)


def reject(marks: pd.DataFrame, faces: Sequence[str]) -> pd.DataFrame:
    """The marks with keep False for some faces, each written `<clip>:<face>`, such as `val/Lyon/Lyon_0003:2`.

    Raises InputError for one that is not in the table.
    """
    names = [f"{clip}:{face}" for clip, face in zip(marks["clip"], marks.face, strict=True)]
    rejected = set(faces)
    if unknown := sorted(rejected.difference(names)):
        raise InputError(f"no face {unknown[0]!r} on the sheets; there are {', '.join(names[:3]) or 'none'}, ...")
    return marks.assign(keep=marks.keep & np.array([name not in rejected for name in names], dtype=bool))


def close_up(frame: NDArray[np.uint8] | Image.Image, box: Sequence[float], side: int = 96) -> NDArray[np.uint8]:
    """A face with half as much again around it, uint8 (side, side, 3); black beyond the frame's edges."""
    image = frame if isinstance(frame, Image.Image) else Image.fromarray(frame)
    reach, column, row = 0.75 * max(box[2], box[3]), box[0] + box[2] / 2, box[1] + box[3] / 2
    part = tuple(round(value) for value in (column - reach, row - reach, column + reach, row + reach))
    return np.asarray(image.crop(part).resize((side, side), Image.Resampling.BICUBIC))


def _agrees(row: dict[str, str], face: pd.Series) -> bool:
    """Whether a row of the table is this face of the scan, and not one of an earlier scan."""
    try:
        numbers = [float(row[name]) for name in (*BOX, "score")]
    except ValueError:
        return False
    return row["frame"] == face.frame and np.allclose(numbers, [face[name] for name in (*BOX, "score")], atol=0.051)


def _draw_cell(scan: Scan, clip: str, faces: pd.DataFrame) -> Image.Image:
    """A clip's frame with its boxes, a caption above, and each face enlarged below."""
    frame = Image.fromarray(read_frame(scan.source / clip / faces.frame.iloc[0]))
    scale = _CELL / frame.width
    top, height = _TEXT + 14, round(frame.height * scale)
    per_line = (_CELL + _BETWEEN) // (_CROP + _BETWEEN)
    lines = -(-len(faces) // per_line)
    cell = Image.new("RGB", (_CELL, top + height + lines * (_CROP + _TEXT + 12)), _PAPER)
    draw, font = ImageDraw.Draw(cell), ImageFont.load_default(_TEXT)
    caption = f"{clip} / {faces.frame.iloc[0]}"
    while draw.textlength(caption, font) > _CELL and len(caption) > 12:
        caption = "…" + caption[2:]
    draw.text((0, 2), caption, _INK, font)
    cell.paste(frame.resize((_CELL, height), Image.Resampling.LANCZOS), (0, top))
    for i, face in enumerate(faces.itertuples()):
        _draw_box(draw, font, face, scale, top)
        x, y = (i % per_line) * (_CROP + _BETWEEN), top + height + 6 + (i // per_line) * (_CROP + _TEXT + 12)
        cell.paste(Image.fromarray(close_up(frame, (face.x, face.y, face.width, face.height), _CROP)), (x, y))
        _draw_score(draw, font, face, x, y)
    return cell


def _draw_box(draw: ImageDraw.ImageDraw, font: Any, face: Any, scale: float, top: float) -> None:
    """The box of a face and its number, in a frame that is drawn so much larger and so far down."""
    box = (face.x, face.y, face.x + face.width, face.y + face.height)
    left, upper, right, lower = (value * scale for value in box)
    colour = _SHOWN[bool(face.keep)]
    draw.rectangle((left - 3, top + upper - 3, right + 3, top + lower + 3), outline=colour, width=3)
    number = (left + right) / 2, top + upper - 4
    draw.text(number, str(face.face), colour, font, anchor="md", stroke_width=3, stroke_fill=_INK)


def _draw_score(draw: ImageDraw.ImageDraw, font: Any, face: Any, x: float, y: float) -> None:
    """The frame around an enlarged face, crossed out where it is not kept, and its number and score below."""
    colour = _SHOWN[bool(face.keep)]
    draw.rectangle((x, y, x + _CROP - 1, y + _CROP - 1), outline=colour, width=4)
    if not face.keep:
        draw.line((x, y, x + _CROP, y + _CROP), colour, 4)
    draw.text((x + _CROP / 2, y + _CROP + 2), f"{face.face}: {face.score:.2f}", _INK, font, anchor="ma")
