"""Writing files so that a half-written one is never taken for whole."""

import contextlib
import errno
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from cityguessr.errors import InputError

PARTIAL = ".partial"


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
            raise InputError(_explain(path, error)) from None
        raise


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Create a folder and those above it. Raises InputError, naming it, where that is impossible."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise InputError(_explain(path, error)) from None
    return path


def _explain(path: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"{path}: the disk is full; free some space, or choose a folder on another disk, and run the same again: "
            "what was finished is kept"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{path}: no permission to write here; change the folder's mode or owner, or choose another folder"
    return f"{path}: cannot be written ({error.strerror or error}); choose another folder"
