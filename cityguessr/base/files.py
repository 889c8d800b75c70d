"""Reading text with the line number at hand, and writing files so that a half-written one is never taken for whole."""

import contextlib
import csv
import errno
import io
import json
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from cityguessr.base.errors import InputError

PARTIAL = ".partial"


@contextlib.contextmanager
def open_text(path: str | os.PathLike[str]) -> Iterator[TextIO]:
    """Open a text file in UTF-8. Raises InputError, naming it, where it is missing, forbidden or no such text."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            yield file
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give the path of a text file") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file in UTF-8; save it as one") from None


def read_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The object in a JSON file. Raises InputError, naming the file, where it holds anything else."""
    with open_text(path) as file:
        try:
            return dict(json.load(file))
        except (ValueError, TypeError) as error:
            raise InputError(f"{path}: not a JSON object ({error}); write it again") from None


def read_rows(path: str | os.PathLike[str], columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a CSV file with their line numbers; headers in lower case, fields without blanks around them.

    Raises InputError, naming file and line, where one of `columns` is missing or a row has too few or too many fields.
    """
    with open_text(path) as file:
        reader = csv.reader(file)
        header = [name.strip().lower() for name in next(reader, [])]
        if missing := [name for name in columns if name not in header]:
            names = ", ".join(header) or "none"
            raise InputError(f"{path}, line 1: no column {', '.join(missing)} (found: {names}); add it to the header")
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                raise InputError(
                    f"{path}, line {reader.line_num}: {len(row)} fields, where the header has {len(header)}; correct it"
                )
            yield reader.line_num, {name: field.strip() for name, field in zip(header, row, strict=True)}


def write_atomically(path: str | os.PathLike[str], write: Callable[[BinaryIO], object]) -> None:
    """Let `write` fill a temporary file beside `path`, and rename it to `path` once all of it is on the disk.

    Whatever stops it, the temporary file is removed and an earlier `path` stays as it was. Raises InputError for a
    full disk, missing permission and any other failure of the file system.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}{PARTIAL}")
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise InputError(explain(path, error)) from None
        raise


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a small file as `write_atomically` does, and make the folders above it."""
    make_folder(Path(path).parent)
    write_atomically(path, lambda file: file.write(content))


def write_csv(path: str | os.PathLike[str], rows: Iterable[Sequence[object]]) -> None:
    """Write rows to a CSV file as `write_bytes` does, the header first."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_bytes(path, text.getvalue().encode())


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Create a folder and those above it. Raises InputError, naming it, where that is impossible."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise InputError(explain(path, error)) from None
    return path


def explain(path: str | os.PathLike[str], error: OSError) -> str:
    """What a failure of the file system means for a path, and what to do about it."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"{path}: the disk is full; free some space, or choose a folder on another disk, and run the same again: "
            "what was finished is kept"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{path}: no permission to write here; change the folder's mode or owner, or choose another folder"
    return f"{path}: cannot be written ({error.strerror or error}); choose another folder"
