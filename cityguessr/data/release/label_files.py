"""The label files of a release: `<split>_labels*.txt`, one line per clip, of 5, 21 or 533 fields.

A line is comma-separated: the clip (`Abu_Dhabi_0000`, or the path of its folder), the ids of its city, state, country
and continent, then, by the width of the line, nothing (5 fields), 16 scene numbers (21), or 512 text features and 16
scene numbers (533).

The release has 68,269 lines of 533 fields, 0.4 GB of text. They are read in blocks of whole lines, by Arrow's parser of
CSV; of the text features only a sum per city is kept. A block that is not as it should be is read again line by line:
that finds the line to name, or reads what Arrow is too strict for, such as a comma at the end.
"""

import dataclasses
import itertools
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv

from cityguessr.base.errors import InputError
from cityguessr.base.tables import open_text
from cityguessr.scenes import SCENES
from cityguessr.taxonomy import LEVELS, Taxonomy

N_TEXT = 512
_IDS = 1 + len(LEVELS)  # the clip and its four ids
WIDTHS = (_IDS, _IDS + len(SCENES), _IDS + N_TEXT + len(SCENES))

_BLOCK = 1 << 22  # characters read at a time: some 800 lines of 533 fields
_LONGEST = 1 << 18  # characters of a line; 533 numbers in full precision have about 13,000
_LONGEST_NAME = 255  # bytes of a file's name, on every common file system

Ids = tuple[int, int, int, int]


@dataclasses.dataclass(frozen=True, eq=False)
class LabelLines:
    """The n lines of a label file, column by column.

    Attributes:
        file: where they stand.
        clips: each clip as its line gives it: an id, or the path of a folder with `/` between its parts.
        labels: the ids of each clip in the order of `LEVELS`; they are one path in the tree.
        scenes: float32 (n, 16), none negative and no row all zero; None in a file of 5 fields.
        text_sums: float64 (number of cities, 512), the text features of each city's lines summed up; None in a file
            without.
        text_lines: int64 (number of cities,), how many lines were summed.
    """

    file: Path
    clips: list[str]
    labels: list[Ids]
    scenes: np.ndarray | None
    text_sums: np.ndarray | None
    text_lines: np.ndarray


def widest(files: Sequence[Path]) -> Path:
    """The file with most fields in its first line that is not empty; of equals, the one that comes first."""
    fields = list(map(width, files))
    return files[fields.index(max(fields))]


def width(file: Path) -> int:
    """How many fields the first line has that is not empty: 5, 21 or 533 in a label file; 0 without such a line."""
    first = next((line.strip() for line in _first_lines(file) if line.strip()), "")
    return first.rstrip(",").count(",") + 1 if first else 0


def read(file: Path, taxonomy: Taxonomy) -> LabelLines:
    """A label file, checked line by line.

    Raises InputError, naming file and line, for a line of another width, an id that `taxonomy` does not have, ids that
    contradict each other or the city that the clip is named after, a clip without a name or listed twice, and numbers
    that are none, not finite, or no scene shares.
    """
    reader = _Reader(file, taxonomy)
    for first, block in _blocks(file):
        reader.take(first, block)
    return reader.lines()


def clip_name(clip: str) -> str:
    """The id of a clip from what its line gives: the last part of a path."""
    return clip.rsplit("/", 1)[-1]


def city_folder(clip_id: str) -> str:
    """The folder of the city that a clip's id names: `Abu_Dhabi` of `Abu_Dhabi_0000`."""
    return clip_id.rsplit("_", 1)[0]


class _Reader:
    """What has been read of a file so far."""

    def __init__(self, file: Path, taxonomy: Taxonomy) -> None:
        self.file, self.taxonomy, self.width = file, taxonomy, 0
        self.line_of: dict[str, int] = {}  # clip id -> its line
        self.paths: dict[tuple[str, ...], Ids] = {}  # the four fields of a line -> ids that are a path in the tree
        self.cities = {_one_form(name): city for city, name in enumerate(taxonomy.folders)}
        self.clips: list[str] = []
        self.labels: list[Ids] = []
        self.scenes: list[np.ndarray] = []
        self.text_sums = np.zeros((taxonomy.size("city"), N_TEXT))
        self.text_lines = np.zeros(taxonomy.size("city"), np.int64)

    def take(self, first: int, block: str) -> None:
        """Read a block of whole lines, the first of which is line `first` of the file."""
        if not self.width:
            self.width = next((line.rstrip(",").count(",") + 1 for line in map(str.strip, _lines(block)) if line), 0)
        rows = _parse(block, self.width) if self.width in WIDTHS else None
        if rows is None or not self._keep(range(first, first + len(rows[0])), *rows):
            self._take_slowly(first, block)

    def _take_slowly(self, first: int, block: str) -> None:
        """The same line by line. Raises InputError for the first line that makes no sense."""
        for number, line in enumerate(_lines(block), start=first):
            fields = [field.strip() for field in line.rstrip().rstrip(",").split(",")]
            if fields == [""]:
                continue
            where = f"{self.file}, line {number}"
            if len(fields) not in WIDTHS:
                expected = ", ".join(map(str, WIDTHS[:-1])) + f" or {WIDTHS[-1]}"
                raise InputError(f"{where}: {len(fields)} fields, where a line has {expected}; correct the line")
            self.width = self.width if self.width in WIDTHS else len(fields)
            if len(fields) != self.width:
                raise InputError(
                    f"{where}: {len(fields)} fields, and {self.width} in the lines above; correct the line"
                )
            self._check_ids(fields[1:_IDS], where)
            numbers = _check_numbers(fields[_IDS:], where)
            self._keep((number,), [fields[:_IDS]], numbers[None])

    def _keep(self, numbers: Sequence[int], fields: list[list[str]], floats: np.ndarray) -> bool:
        """Keep the lines of these numbers, or none of them and return False where one may be wrong.

        Args:
            fields: the clip and its four ids, of each line.
            floats: float32 (lines, width - 5), the other fields.
        """
        if not np.isfinite(floats).all() or not _are_shares(floats):
            return False
        try:
            labels = [self._check_ids(ids, "") for _, *ids in fields]
        except InputError:
            return False
        for number, (clip, *_), ids in zip(numbers, fields, labels, strict=True):
            self.clips.append(self._check_clip(clip, ids, number))
        self.labels += labels
        if floats.shape[1]:
            self.scenes.append(floats[:, -len(SCENES) :].copy())
        if floats.shape[1] > len(SCENES):
            for (city, *_), text in zip(labels, floats[:, :N_TEXT], strict=True):  # one by one: blocks change no bit
                self.text_sums[city] += text
                self.text_lines[city] += 1
        return True

    def lines(self) -> LabelLines:
        """All that was read."""
        scenes = np.concatenate(self.scenes) if self.scenes else None
        text = self.text_sums if self.width == WIDTHS[-1] else None
        return LabelLines(self.file, self.clips, self.labels, scenes, text, self.text_lines)

    def _check_ids(self, fields: Sequence[str], where: str) -> Ids:
        key = tuple(fields)
        if key not in self.paths:  # 166 of them stand in 68,269 lines
            self.paths[key] = _read_ids(fields, self.taxonomy, where)
        return self.paths[key]

    def _check_clip(self, clip: str, ids: Ids, number: int) -> str:
        """The clip of a line, as in `LabelLines`. Raises InputError where it cannot be a clip with these ids."""
        where = f"{self.file}, line {number}"
        clip = clip.strip().replace("\\", "/").rstrip("/")
        *above, clip_id = clip.split("/")
        if not clip_id:
            raise InputError(f"{where}: the clip has no name; write its id or the path of its folder first")
        if not clip.isprintable() or clip_id in (".", "..") or len(clip_id.encode()) > _LONGEST_NAME:
            raise InputError(f"{where}: {shorten(clip)} is no name of a clip; write its id or its folder's path first")
        for name in (city_folder(clip_id), *above[-1:]):
            named = self.cities.get(_one_form(name), ids[0])
            if named != ids[0]:
                raise InputError(
                    f"{where}: {shorten(clip)} is of {name}, city {named}, and the line says city {ids[0]} "
                    f"({self.taxonomy.folders[ids[0]]}); correct the line, or give the list of labels it belongs to"
                )
        first = self.line_of.setdefault(clip_id, number)
        if first != number:
            raise InputError(f"{where}: {shorten(clip_id)} stands in line {first} already; keep one of them")
        return clip


def _read_ids(fields: Sequence[str], taxonomy: Taxonomy, where: str) -> Ids:
    """The ids of a line. Raises InputError, with `where`, unless they are a path in the tree."""
    ids = []
    for level, field in zip(LEVELS, fields, strict=True):
        size, text = taxonomy.size(level), field.strip()
        if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text) < size):
            raise InputError(
                f"{where}: the {level} id {shorten(text)} is not one of 0..{size - 1} as in labels_list.csv; correct "
                "the line, or give the labels_list.csv that belongs to it"
            )
        ids.append(int(text))
    for level, above, low, high in zip(LEVELS, LEVELS[1:], ids, ids[1:], strict=False):
        right = int(taxonomy.parent[level][low])
        if high != right:
            raise InputError(
                f"{where}: {level} {low} ({taxonomy.names[level][low]}) lies in {above} {right} "
                f"({taxonomy.names[above][right]}) and the line says {high}; correct the line or labels_list.csv"
            )
    city, state, country, continent = ids
    return city, state, country, continent


def _check_numbers(fields: Sequence[str], where: str) -> np.ndarray:
    """The text and scene columns of a line, float32. Raises InputError, with `where`, where they make no sense."""
    numbers = np.empty(len(fields), np.float64)
    for column, field in enumerate(fields):
        try:
            if not field.isascii() or "_" in field:  # which Python's float would read
                raise ValueError
            numbers[column] = float(field)
        except ValueError:
            raise InputError(
                f"{where}: field {_IDS + column + 1} is {shorten(field)}; text and scene columns are numbers, correct "
                "the line"
            ) from None
    with np.errstate(over="ignore"):
        numbers = numbers.astype(np.float32)
    if not np.isfinite(numbers).all():
        raise InputError(f"{where}: a text or scene column is not finite; correct the line")
    if not _are_shares(numbers[None]):
        raise InputError(f"{where}: scene shares are negative or all zero; correct the line")
    return numbers


def _are_shares(floats: np.ndarray) -> bool:
    """Whether the last 16 columns can be scene shares in every row; without any column they can."""
    scenes = floats[:, -len(SCENES) :]
    return scenes.shape[1] == 0 or bool((scenes >= 0).all() and (scenes.sum(axis=1) > 0).all())


def _one_form(name: str) -> str:
    """A city's folder name in one spelling, whichever form of Unicode and of blank a file or a disk has it in."""
    return unicodedata.normalize("NFC", name).replace(" ", "_")


def _parse(block: str, width: int) -> tuple[list[list[str]], np.ndarray] | None:
    """Arrow's reading of a block: five fields of text per line, and the others float32 (lines, width - 5).

    None where it cannot read it, or where lines are empty, so that their numbers would be lost.
    """
    names = [str(column) for column in range(width)]
    types = {name: pa.string() if column < _IDS else pa.float64() for column, name in enumerate(names)}
    try:
        table = csv.read_csv(
            pa.py_buffer(block.encode()),
            read_options=csv.ReadOptions(column_names=names, block_size=2 * _BLOCK),
            parse_options=csv.ParseOptions(quote_char=False),
            convert_options=csv.ConvertOptions(column_types=types, null_values=[], strings_can_be_null=False),
        )
    except pa.ArrowException:
        return None
    if table.num_rows != block.count("\n") + (not block.endswith("\n")):
        return None
    fields = list(map(list, zip(*(table[name].to_pylist() for name in names[:_IDS]), strict=True)))
    floats = np.empty((width - _IDS, table.num_rows), np.float32)
    with np.errstate(over="ignore"):  # what is infinite is found by the caller
        for column, name in zip(floats, names[_IDS:], strict=True):
            column[:] = table[name].to_numpy()
    return fields, np.ascontiguousarray(floats.T)


def _blocks(file: Path) -> Iterator[tuple[int, str]]:
    """A file in blocks of whole lines, with the number of each block's first line; every line ends in `\\n`."""
    number, rest = 1, ""
    with open_text(file) as lines:
        while read := lines.read(_BLOCK):
            text = rest + read
            rest = "\r" if text.endswith("\r") else ""  # its \n may follow
            text = text.removesuffix("\r").replace("\r\n", "\n").replace("\r", "\n")
            end = text.rfind("\n") + 1
            block, rest = text[:end], text[end:] + rest
            if len(rest) > _LONGEST:
                number += block.count("\n")
                raise InputError(
                    f"{file}, line {number}: more than {_LONGEST:,} characters, where a line has {WIDTHS[-1]} fields "
                    "at most; give a label file of the release"
                )
            if block:
                yield number, block
            number += block.count("\n")
    if rest.strip():
        yield number, rest.replace("\r", "")


def _lines(block: str) -> Iterator[str]:
    """The lines of a block, without their ends."""
    return iter(block.removesuffix("\n").split("\n"))


def _first_lines(file: Path) -> list[str]:
    """The lines at the beginning of a file; the last one may be cut."""
    with open_text(file) as lines:
        return list(itertools.islice(lines.read(_LONGEST).splitlines(), 100))


def shorten(text: str, most: int = 60) -> str:
    """A field as a message quotes it: in quotes, on one line, and not longer than is useful."""
    return repr(text) if len(text) <= most else f"{text[:most]!r}... ({len(text):,} characters)"
