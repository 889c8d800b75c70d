"""Files read whole and held against what was recorded of them: their size, and their SHA-256 digest."""

import hashlib
import os
import stat
from pathlib import Path

from cityguessr.base.errors import InputError


def regular(path: str | os.PathLike[str], remedy: str) -> int:
    """The size of a file in bytes.

    Args:
        remedy: what to do where it is missing or no file, as the end of a sentence.

    Raises InputError, naming the path, for a file that is missing, empty or may not be read, and for a folder, a named
    pipe or a device, which would be waited for without end.
    """
    try:
        entry = os.stat(path)
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        raise InputError(f"{path}: {reason}; {remedy}") from None
    if not stat.S_ISREG(entry.st_mode):
        kind = "a folder" if stat.S_ISDIR(entry.st_mode) else "a pipe or a device"
        raise InputError(f"{path}: {kind}, not a file; {remedy}")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path}: no permission to read it; change the file's mode or owner")
    if not entry.st_size:
        raise InputError(f"{path}: the file is empty; {remedy}")
    return entry.st_size


def file_digest(path: str | os.PathLike[str], remedy: str = "bring the file again") -> str:
    """The SHA-256 digest of a file, in hexadecimal digits. Raises InputError as `regular` does."""
    regular(path, remedy)
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); {remedy}") from None


def record(path: Path) -> dict[str, str | int]:
    """What is recorded of a file: `bytes` and `sha256`."""
    return {"bytes": path.stat().st_size, "sha256": file_digest(path)}


def read_recorded(path: Path, recorded: object, remedy: str) -> bytes:
    """The content of a file that is still as it was recorded.

    Args:
        recorded: what `record` gave; anything else counts as no record.

    Raises InputError, naming the file, where it is missing or has another content, or nothing was recorded.
    """
    size = regular(path, remedy)
    if not isinstance(recorded, dict) or {"bytes", "sha256"} - set(recorded):
        raise InputError(f"{path}: no digest of this file was recorded, so it may be any; {remedy}")
    if size != recorded["bytes"]:  # asked before a byte is read: another file may be larger than the memory
        raise InputError(f"{path}: {size:,} bytes, where {recorded['bytes']} were written; {remedy}")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); {remedy}") from None
    if hashlib.sha256(content).hexdigest() != recorded["sha256"]:
        raise InputError(f"{path}: changed since it was written; {remedy}")
    return content
