"""Writing files so that a half-written one is never taken for whole."""

import contextlib
import csv
import errno
import io
import os
import uuid
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

from cityguessr.base import paths
from cityguessr.base.errors import InputError

PARTIAL = ".partial"
WRITTEN = "CITYGUESSR_WRITTEN"
"""The environment variable that names a list of what was written: a command's own files, a line each."""


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
    if listing := os.environ.get(WRITTEN):
        with contextlib.suppress(OSError), open(listing, "a", encoding="utf-8") as lines:
            lines.write(f"{path.absolute()}\n")


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
        return f"{path}: no permission to write here; change the folder's mode or owner, or {_elsewhere(Path(path))}"
    return f"{path}: cannot be written ({error.strerror or error}); choose another folder"


def _elsewhere(path: Path) -> str:
    """What to do where a folder of the project belongs to somebody else, as in a class room."""
    place, root = path.absolute(), paths.root()
    if not place.is_relative_to(root):
        return "choose another folder"
    if "figures" in place.relative_to(root).parts:
        return "name a folder of yours in the environment variable CITYGUESSR_FIGURES"
    return "name a folder of yours for data/ and runs/ in the environment variable CITYGUESSR_ROOT"
