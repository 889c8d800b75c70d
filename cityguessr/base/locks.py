"""One process at a time makes what belongs in a folder; where nothing can be written, nothing is waited for."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock

from cityguessr.base.errors import InputError
from cityguessr.base.files import explain

_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextlib.contextmanager
def beside(folder: Path) -> Iterator[None]:
    """Hold the file `.<folder>.lock` while the block looks for what belongs in a folder and makes what is missing.

    Another process that wants the same waits until the block has ended. The file goes when all is made. Where this
    process may not write, as in the read-only copy of a class room, it can make nothing either: the block runs without
    a lock, finds what is there, and whatever it has to write is an error of its own.

    Raises InputError, naming the place, where the folders above cannot be made for another reason.
    """
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        if error.errno not in _REFUSED:
            raise InputError(explain(folder.parent, error)) from None
    try:
        yield
        # While it is still held: whoever waits for it sees that the file is gone, and takes a new one. An older
        # filelock does not look; two may then go on at a time, and both find all made.
        if lock.is_locked:
            with contextlib.suppress(OSError):
                os.unlink(lock.lock_file)
    finally:
        lock.release()
