"""A folder that one process at a time fills, and what an earlier one that was killed has left half-written there."""

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from cityguessr.base.errors import InputError
from cityguessr.base.files import PARTIAL

_LEFT_OVER = re.compile(rf"\..+\.[0-9a-f]{{8}}{re.escape(PARTIAL)}", re.DOTALL)


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Within the block no other process fills this folder. The lock leaves no file, and goes with its process.

    Raises InputError, naming the folder, where another process is at it. File systems without locks are trusted.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise InputError(f"{folder}: another process is writing here; wait for it, or end it") from None
        yield
    finally:
        os.close(handle)


def sweep(folder: Path) -> None:
    """Remove what a killed process left half-written in a folder; call it within `alone`."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in [entry for entry in entries if _LEFT_OVER.fullmatch(entry.name)]:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    os.unlink(entry.path)
