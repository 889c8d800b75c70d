"""What the tests of `base.apart` have done in another process, which imports this and little else."""

import ctypes
import os
import time
from collections.abc import Iterator

from cityguessr.base import apart
from cityguessr.base.errors import InputError


def hang() -> None:
    time.sleep(1000)


def crash() -> None:
    ctypes.string_at(0)


def take_all_memory() -> int:
    return len(bytearray(3 << 30))


def refuse() -> None:
    raise InputError("walk.mp4: wrong")


def process() -> int:
    return os.getpid()


def tens(count: int) -> Iterator[int]:
    for k in range(count):
        yield 10 * k


def number() -> int:
    return apart.call(process, what="walk.mp4", limit_s=60)
