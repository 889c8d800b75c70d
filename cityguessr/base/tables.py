"""Reading what people write: text, tables (CSV) and JSON, with the line at hand for every complaint.

Tables come from spreadsheets, scripts and editors. What can be told for certain is read: UTF-8 and UTF-16 with a mark
at the start, commas, semicolons or tabs between fields, decimal commas, empty rows. What would be a guess is refused,
naming the line and what to do.
"""

import codecs
import contextlib
import csv
import io
import itertools
import json
import math
import os
import re
import stat
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, TextIO

from cityguessr.base.errors import InputError

MAX_LINE = 1_000_000
"""Characters in a line; a line of a label file of the release has some 10,000."""

MAX_JSON = 32 << 20
"""Bytes in a JSON file: parsed, they take up to twenty times as much memory."""

_DELIMITERS = (",", ";", "\t")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_INVISIBLE = "\ufeff\u200b"  # a mark of UTF-8 inside a joined file, and blanks without width; strip() leaves them
_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_WHOLE = re.compile(r"([+-]?[0-9]+)(?:\.0*)?")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+(?:[.,][0-9]*)?|[.,][0-9]+)(?:[eE][+-]?[0-9]+)?")

for _encoding in _MARKS.values():  # Python loads them at first use, which may be when no more files can be opened
    codecs.lookup(_encoding)


@contextlib.contextmanager
def open_text(path: str | os.PathLike[str]) -> Iterator[TextIO]:
    """Open a text file in UTF-8, or in UTF-16 with a mark at its start. Every kind of line end is read as one newline.

    Raises InputError, naming the file, where it is missing, forbidden, no regular file (a pipe, a device, a folder), or
    in another encoding: Windows-1252, Latin-1 and their like cannot be told from one another.
    """
    encoding = "utf-8"
    try:
        with _open_regular(path) as file:
            start = file.read(max(map(len, _MARKS)))
            mark = next((mark for mark in _MARKS if start.startswith(mark)), b"")
            encoding = _MARKS.get(mark, "utf-8")
            file.seek(len(mark))
            yield io.TextIOWrapper(file, encoding=encoding)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give the path of a text file") from None
    except UnicodeDecodeError:
        raise InputError(
            f"{path}{_where_undecodable(path, encoding)}: not text in UTF-8; save it as UTF-8 (in Excel: save as "
            '"CSV UTF-8", in LibreOffice: the character set Unicode)'
        ) from None


def _open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open for reading what is a file and nothing else; opening a pipe without a writer would wait for ever."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except ValueError as error:  # a NUL in the path
        raise InputError(f"{path!r}: no path of a file ({error}); correct it") from None
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
        raise InputError(f"{path}: {kind}, not a file; give the path of a text file")
    return open(descriptor, "rb")


def _where_undecodable(path: str | os.PathLike[str], encoding: str) -> str:
    """`, line 5` for the first line that is not in the encoding, or nothing where lines cannot be told from bytes."""
    if encoding != "utf-8":
        return ""
    with contextlib.suppress(OSError, InputError), _open_regular(path) as file:
        for number in itertools.count(1):
            if not (line := file.readline(MAX_LINE)):
                break
            try:
                line.decode()
            except UnicodeDecodeError:
                return f", line {number}"
    return ""


def read_lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, str]]:
    """The lines of a text file with their numbers, from 1, without their ends; empty lines too.

    Raises InputError as `open_text` does, and for a line that is endless or has control characters.
    """
    with open_text(path) as file:
        for number in itertools.count(1):
            if not (line := file.readline(MAX_LINE + 1)):
                return
            if len(line) > MAX_LINE:
                raise InputError(f"{path}, line {number}: longer than {MAX_LINE:,} characters; this is no such table")
            text = line.rstrip("\n")
            if not text.isprintable() and (found := _CONTROL.search(text)):
                raise InputError(
                    f"{path}, line {number}: has the control character {found.group()!r}; this is no text, or text in "
                    "UTF-16 without a mark at its start: save it as UTF-8"
                )
            yield number, text


def read_rows(
    path: str | os.PathLike[str], columns: Sequence[str], *, most: int = 20_000_000
) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a table with their line numbers: column -> field, without blanks around it.

    The first line that is not empty is the header. Its names are read in lower case, with `_` for blanks inside them;
    commas, semicolons or tabs stand between the fields, whichever finds `columns` in the header. Rows of nothing but
    delimiters, as spreadsheets leave below a table, are skipped.

    Args:
        path: the file.
        columns: names that the header must have, in any order and among others.
        most: rows that make sense for such a table.

    Raises InputError, naming file and line, where a column is missing or there twice, where a row has too few or too
    many fields, or a quote that is not closed in its line, and where there are more than `most` rows; and as
    `read_lines` does.
    """
    lines = read_lines(path)
    first, start = next(((n, line) for n, line in lines if not _is_empty(line)), (1, ""))
    delimiter = None
    if found := re.fullmatch(r'"?sep=([,;\t])"?', start.strip(" ")):  # Excel's own way to say it
        delimiter = found.group(1)
        first, start = next(((n, line) for n, line in lines if not _is_empty(line)), (first + 1, ""))
    delimiter = delimiter or _delimiter(start, columns)
    header = [_column(name) for name in _fields(start, delimiter, path, first)]
    if missing := [name for name in columns if name not in header]:
        names = ", ".join(name for name in header if name)[:300] or "none"
        raise InputError(f"{path}, line {first}: no column {', '.join(missing)} (found: {names}); add it to the header")
    if twice := [name for name in header if name and header.count(name) > 1]:
        raise InputError(f"{path}, line {first}: the column {twice[0]} is there twice; keep one of them")
    width, rows = len(header), 0
    for number, line in lines:
        fields = [field.strip() for field in _fields(line, delimiter, path, number)]
        if not line.isascii():
            fields = [_clean(field) for field in fields]
        if not any(fields):
            continue
        if len(fields) > width and not any(fields[width:]):
            del fields[width:]
        if len(fields) != width:
            raise InputError(f"{path}, line {number}: {len(fields)} fields, where the header has {width}; correct it")
        rows += 1
        if rows > most:
            raise InputError(f"{path}, line {number}: more than {most:,} rows; this is no such table")
        yield number, dict(zip(header, fields, strict=True))


def split_rows(path: str | os.PathLike[str]) -> Iterator[tuple[int, list[str]]]:
    """The rows of a table whose header is no single line of names: line number, and fields without blanks around them.

    Rows of nothing but delimiters are skipped. A field in quotes may have line breaks, as the wrapped headers of sheets
    do; the number is then that of the row's last line. Raises InputError as `read_rows` does.
    """
    lines = read_lines(path)
    first = next(lines, None)
    if first is None:
        return
    at = 0

    def texts() -> Iterator[str]:
        nonlocal at
        for number, text in itertools.chain([first], lines):
            at = number
            yield f"{text}\n"

    try:
        for row in csv.reader(texts(), delimiter=_delimiter(first[1], ()), skipinitialspace=True, strict=True):
            fields = [_clean(field) for field in row]
            if any(fields):
                yield at, fields
    except csv.Error as error:
        raise _broken(path, at, error) from None


def _fields(line: str, delimiter: str, path: str | os.PathLike[str], number: int) -> list[str]:
    """The fields of a line. A field ends with its line: a quote that stays open would swallow what follows."""
    if '"' not in line and len(line) <= csv.field_size_limit():
        return line.split(delimiter)
    try:
        return next(csv.reader([line], delimiter=delimiter, skipinitialspace=True, strict=True), [])
    except csv.Error as error:
        raise _broken(path, number, error) from None


def _broken(path: str | os.PathLike[str], number: int, error: csv.Error) -> InputError:
    what = "a quote is opened and not closed in its line" if "end of data" in str(error) else str(error)
    return InputError(f"{path}, line {number}: {what}; correct the line")


def _delimiter(header: str, columns: Sequence[str]) -> str:
    """What stands between the fields: what finds most of the columns, then what makes the most fields, then a comma."""

    def finds(delimiter: str) -> tuple[int, int]:
        names = [_column(name.strip('" ')) for name in header.split(delimiter)]
        return sum(column in names for column in columns), len(names)

    return max(_DELIMITERS, key=finds)


def _is_empty(line: str) -> bool:
    return not line.strip("".join(_DELIMITERS) + _INVISIBLE + ' "')


def _column(name: str) -> str:
    return re.sub(r"\s+", "_", _clean(name).lower())


def _clean(field: str) -> str:
    field = field.strip()
    return field if field.isascii() else field.strip(_INVISIBLE).strip()


def whole_number(text: str, where: str, low: int = 0, high: int = 2**31 - 1, *, what: str = "the number") -> int:
    """The whole number in a field, which may be written as a decimal (`12.0`), as tables with gaps write it.

    Args:
        text: the field.
        where: where it stands, as messages begin: `labels.csv, line 3`.
        low, high: what it may be, both included.
        what: what it is, for the message.

    Raises InputError for anything else: letters, digits of other scripts, numbers out of range, `nan`.
    """
    found = _WHOLE.fullmatch(text)
    digits = found.group(1).lstrip("+-0") if found else ""
    if found and len(digits) <= 20 and low <= (number := int(found.group(1).replace("+", ""))) <= high:
        return number
    raise InputError(f"{where}: {what} {_short(text)} is not a whole number from {low} to {high}; correct the line")


def decimal(
    text: str, where: str, low: float = -math.inf, high: float = math.inf, *, what: str = "the number"
) -> float:
    """The finite decimal number in a field: `48.85`, or `48,85` as spreadsheets of half of Europe write it.

    Arguments are those of `whole_number`. Raises InputError for anything else: words, `nan`, `inf`, `1.234,5`, digits
    of other scripts, numbers out of range.
    """
    if len(text) <= 400 and _DECIMAL.fullmatch(text):
        number = float(text.replace(",", "."))
        if math.isfinite(number) and low <= number <= high:
            return number
    bounds = f" from {low:g} to {high:g}" if math.isfinite(low) and math.isfinite(high) else ""
    raise InputError(f"{where}: {what} {_short(text)} is not a number{bounds}; correct the line")


def place(lat: str, lon: str, where: str) -> tuple[float, float]:
    """Latitude and longitude in degrees from two fields. Raises InputError, with `where`, for no place on Earth."""
    return decimal(lat, where, -90, 90, what="the latitude"), decimal(lon, where, -180, 180, what="the longitude")


def read_json(path: str | os.PathLike[str], *, nan: bool = False) -> dict[str, Any]:
    """The object in a JSON file.

    Args:
        path: the file.
        nan: whether `NaN` and `Infinity`, which are no JSON, are let through.

    Raises InputError, naming the file, where it holds anything else: another value at the top, a name twice in one
    object, numbers that are not finite, too deep nesting, or more than 32 MiB.
    """
    with open_text(path) as file:
        try:
            text = file.read(MAX_JSON + 1)
            if len(text) > MAX_JSON:
                raise ValueError(f"longer than {MAX_JSON >> 20} MiB")
            value = json.loads(
                text,
                object_pairs_hook=_object,
                parse_constant=None if nan else _no_number,
                parse_float=None if nan else _finite,
            )
            if not isinstance(value, dict):
                raise ValueError(f"a {type(value).__name__} at the top")
            if "\\u" in text:  # half of a pair of code units passes as text until it is written or printed
                json.dumps(value, ensure_ascii=False).encode()
        except UnicodeDecodeError:
            raise
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}: not a JSON object ({error}); write it again") from None
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} is there twice")
    return values


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _no_number(text)


def _short(text: str) -> str:
    return repr(text) if len(text) <= 60 else f"{text[:40]!r}... ({len(text):,} characters)"
