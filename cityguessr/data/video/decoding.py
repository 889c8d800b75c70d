"""Decoding by PyAV, in a process of its own: from packets to pictures as they are shown.

Colours: as the file says (BT.601, BT.709, BT.2020; limited or full range), and BT.601 in limited range where it says
nothing, as ffmpeg and OpenCV do. High dynamic range is not mapped, and interlacing not removed.
"""

import contextlib
import os
import struct
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from PIL import Image

from cityguessr.base.errors import InputError
from cityguessr.data.video import packets
from cityguessr.data.video.packets import Look

Picture = np.ndarray  # uint8 (H, W, 3), RGB

AGAIN = "copy or download it again"


@contextlib.contextmanager
def playing(look: Look, all_cores: bool = False) -> Iterator[tuple[Any, Any, Callable[[], list[str]]]]:
    """The open file, its stream, and a function that gives what the decoder has said since it was asked last."""
    import av

    with packets.listening(av.logging.INFO) as said, packets.open_container(look.path) as container:
        stream = container.streams[look.index]
        context = stream.codec_context
        # A decoder holds a few frames for each thread: none more for pictures of cinema size.
        context.thread_count = min(4, cores()) if all_cores and context.width * context.height < 1 << 23 else 1
        context.thread_type = "AUTO"

        def heard() -> list[str]:
            lines = [text for level, _, text in said if level <= av.logging.ERROR or "concealing" in text]
            said.clear()
            return lines

        yield container, stream, heard


def cores() -> int:
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def decoded(look: Look, container: Any, stream: Any) -> Iterator[Any]:
    """The frames from where the file stands. What is broken before the first frame is passed over, as players do."""
    import av

    given = 0
    try:
        for packet in packets.demux(container, stream):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                if given:
                    raise
                continue
            for frame in frames:
                yield frame
                given += 1
        for frame in stream.codec_context.decode(None):
            yield frame
            given += 1
    except av.error.EOFError:
        return
    except av.error.FFmpegError as error:
        if isinstance(error, MemoryError):
            raise
        raise InputError(
            f"{look.path}: cannot be decoded after {given} frames ({error.strerror}), the file is truncated or "
            f"damaged; {AGAIN}"
        ) from None


@contextlib.contextmanager
def naming(path: str) -> Iterator[None]:
    """What ffmpeg cannot do with a file, in whichever step, is an InputError that names it."""
    import av

    try:
        yield
    except av.error.FFmpegError as error:
        if isinstance(error, MemoryError):
            raise
        reason = error.strerror or type(error).__name__
        raise InputError(f"{path}: cannot be decoded ({reason}), the file is truncated or damaged; {AGAIN}") from None


# Said of files in which all is well too: after a seek, at a cut, of what is not decoded.
_HARMLESS = (
    "mmco",
    "co located",
    "missing reference",
    "reference picture missing",
    "number of reference frames",
    "sei ",
    "sps unavailable",
    "non-existing",
    "no frame",
    "not implemented",
    "vui",
    "display",
)


def damaged(lines: Iterable[str]) -> bool:
    """Whether the decoder's complaints say that it made up parts of a picture."""
    return any(not any(harmless in line.lower() for harmless in _HARMLESS) for line in lines if line.strip())


def cannot_decode(look: Look, number: int) -> InputError:
    return InputError(f"{look.path}: frame {number} cannot be decoded, the file is truncated or damaged; {AGAIN}")


def picture_of(frame: Any, aspect: float = 1.0) -> Picture:
    """A decoded frame of PyAV as it is shown: upright, mirrored where the file says so, with square pixels."""
    return stretched(frame.to_ndarray(format="rgb24", threads=1), aspect, matrix(frame))


def matrix(frame: Any) -> tuple[int, ...]:
    """The display matrix (a, b, c, d): a point (x, y) of the coded picture is shown at (a x + c y, b x + d y)."""
    from av.sidedata.sidedata import Type

    data = frame.side_data.get(Type.DISPLAYMATRIX)
    if data is None:
        return 1, 0, 0, 1
    a, b, _, c, d = struct.unpack_from("=5i", bytes(data))
    return a, b, c, d


def stretched(picture: Picture, aspect: float, turn: tuple[int, ...] = (1, 0, 0, 1)) -> Picture:
    """Square pixels, by stretching the shorter side as players do, and then the turn."""
    height, width = picture.shape[:2]
    if abs(aspect - 1) > 1e-3:
        size = (max(1, round(width * aspect)), height) if aspect > 1 else (width, max(1, round(height / aspect)))
        if size != (width, height):
            picture = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR))
    return np.ascontiguousarray(turned(picture, turn))


def turned(picture: Picture, turn: tuple[int, ...]) -> Picture:
    """The picture as the display matrix shows it, to the nearest quarter of a turn."""
    a, b, c, d = turn
    if abs(b) + abs(c) > abs(a) + abs(d):  # x becomes y
        picture, across, down = picture.swapaxes(0, 1), c, b
    else:
        across, down = a, d
    if across < 0:
        picture = picture[:, ::-1]
    return picture[::-1] if down < 0 else picture


@contextlib.contextmanager
def said_by_libraries() -> Iterator[Callable[[], list[str]]]:
    """What native code writes to standard error meanwhile, which would else stand in a notebook. Process-wide."""
    sys.stderr.flush()
    before = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:

            def heard() -> list[str]:
                file.seek(0)
                return file.read(1 << 20).decode(errors="replace").splitlines()

            yield heard
        finally:
            os.dup2(before, 2)
            os.close(before)
