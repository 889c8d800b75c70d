"""Frames of a video by their numbers, from two engines. They run in a process of their own, which `video` sees to.

PyAV decides. Where the look at the packets says when each frame is shown, it decodes from the key frame before each
wanted frame, and holds the times of all that it decodes against the look. Where the look cannot say, or that check
fails, it decodes the file from its first frame on, as a player does.

decord is the fast engine for files where its numbers hold (`Look.for_decord`): each frame is one packet, and nothing
needs what comes before a key frame. It is left where its own list of times differs from the look.
"""

import functools
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from cityguessr.base.errors import InputError
from cityguessr.data.video.decoding import (
    AGAIN,
    Picture,
    cannot_decode,
    damaged,
    decoded,
    matrix,
    picture_of,
    playing,
    said_by_libraries,
    stretched,
)
from cityguessr.data.video.packets import Look


def count(look: Look) -> int:
    """How many frames a player shows."""
    return len(look.shown) if look.shown is not None else len(_played(look))


def pick(look: Look, numbers: Iterable[int]) -> Iterator[tuple[int, Picture]]:
    """The frames of these numbers, upright and with square pixels, in order of presentation, each once.

    Raises InputError, naming the file, for a number that it does not have, and where a frame cannot be decoded.
    """
    wanted = sorted(set(numbers))
    total = count(look)
    for number in wanted:
        if not 0 <= number < total:
            raise InputError(f"{look.path}: no frame {number}; it has frames 0 to {total - 1}")
    done = -1
    for engine in (with_decord, with_keys):
        left = [number for number in wanted if number > done]
        try:
            for number, picture in engine(look, left):
                yield number, picture
                done = number
            return
        except _Unsure:  # the next one
            continue
    yield from from_start(look, [number for number in wanted if number > done])


class _Unsure(Exception):
    """The engine's numbers do not hold for this file."""


def with_decord(look: Look, wanted: list[int]) -> Iterator[tuple[int, Picture]]:
    """The frames by decord; the numbers must be in order. Raises _Unsure where they do not hold."""
    if not look.for_decord or not wanted or look.shown is None:
        raise _Unsure
    try:
        import decord
    except (ImportError, OSError):  # it has wheels for few platforms
        raise _Unsure from None
    decord.logging.set_level(decord.logging.ERROR)
    with said_by_libraries() as said:
        try:
            reader = decord.VideoReader(look.path, ctx=decord.cpu(0), num_threads=1)
            if len(reader) != len(look.shown) or not _same_times(reader, look):
                raise _Unsure
            shape = _upright_shape(look)
            for number in wanted:
                picture = reader[number].asnumpy()
                if picture.shape != shape:
                    raise _Unsure
                if damaged(said()):
                    raise cannot_decode(look, number)
                yield number, stretched(picture, look.aspect)
        except (decord.DECORDError, RuntimeError, IndexError, UnicodeError):
            raise _Unsure from None


def _upright_shape(look: Look) -> tuple[int, ...]:
    """Of the pictures. Raises _Unsure where a turn is noted, since decord knows no mirroring, and for two fields, whose
    colours it brings to full height in another way.
    """
    with playing(look) as (container, stream, _):
        frame = next(decoded(look, container, stream), None)
        if frame is None or frame.interlaced_frame or matrix(frame) not in ((1, 0, 0, 1), (1 << 16, 0, 0, 1 << 16)):
            raise _Unsure
        return frame.height, frame.width, 3


def _same_times(reader: Any, look: Look) -> bool:
    """Whether decord lists the same times, but for a common shift."""
    times = reader.get_frame_timestamp(range(len(reader)))[:, 0].astype(np.float64)
    expected = look.shown * look.unit
    return bool(np.allclose(times - times[0], expected - expected[0], rtol=1e-5, atol=0.6 * look.unit))


def with_keys(look: Look, wanted: list[int]) -> Iterator[tuple[int, Picture]]:
    """The frames by PyAV, from the key frame before each; the numbers must be in order.

    Raises _Unsure where the times of what is decoded are not those of the look.
    """
    if look.shown is None or not wanted:
        raise _Unsure
    if not len(look.keys):
        raise _Unsure
    with playing(look) as (container, stream, said):
        frames: Iterator[Any] = iter(())
        at = -1  # the number of the frame decoded last; -1 before the first
        started = False
        for number in wanted:
            goal = look.shown[number]
            before = look.keys[look.keys <= goal]
            if not len(before):
                raise _Unsure
            key = int(before[-1])
            first = int(np.searchsorted(look.shown, key))  # the first number shown from this key on
            if not started or first > at + 1:
                if started or key != look.keys[0]:
                    _seek(container, stream, key - look.early)
                frames = _from_key(look, decoded(look, container, stream), key, first, said)
                at, started = first - 1, True
            frame = None
            while at < number:
                frame = next(frames, None)
                at += 1
                if frame is None or at >= len(look.shown) or frame.pts != look.shown[at]:
                    raise _Unsure
            if frame is None or frame.is_corrupt:
                raise cannot_decode(look, number)
            if damaged(said()):
                raise cannot_decode(look, number)
            yield number, picture_of(frame, look.aspect)


def _seek(container: Any, stream: Any, time: int) -> None:
    """Go to the key frame at or before a time. Raises _Unsure where the file's own index does not lead there."""
    import av

    try:
        container.seek(time, stream=stream, backward=True)
    except av.error.FFmpegError:
        raise _Unsure from None
    stream.codec_context.flush_buffers()


def _from_key(look: Look, frames: Iterator[Any], key: int, first: int, said: Callable[[], list[str]]) -> Iterator[Any]:
    """The frames shown from a key frame on. What comes out before belongs to the scene before, and lacks its half."""
    said()
    started = False
    for frame in frames:
        if not started and frame.pts is not None and frame.pts < key:
            said()
            continue
        if not started and look.shown is not None and look.shown[first] == key and not frame.key_frame:
            raise _Unsure
        started = True
        yield frame


def from_start(look: Look, wanted: list[int]) -> Iterator[tuple[int, Picture]]:
    """The frames by PyAV, which decodes everything before them; the numbers must be in order."""
    if not wanted:
        return
    order = _played(look)
    if wanted[-1] >= len(order):
        raise cannot_decode(look, wanted[-1])
    rank = {int(position): number for number, position in enumerate(order)}
    held: dict[int, Picture] = {}  # decoded before a frame that is shown earlier: a few at most
    waiting = list(wanted)
    positions = {int(order[number]) for number in wanted}
    last = max(positions)
    with playing(look) as (container, stream, _):
        for position, frame in enumerate(decoded(look, container, stream)):
            if position in positions:
                if frame.is_corrupt:
                    raise cannot_decode(look, rank[position])
                held[rank[position]] = picture_of(frame, look.aspect)
            while waiting and waiting[0] in held:
                number = waiting.pop(0)
                yield number, held.pop(number)
            if position >= last:
                break
    if waiting:
        raise cannot_decode(look, waiting[0])


def sample(look: Look, choose: Callable[[int], list[int]], take: Callable[[Picture], Picture]) -> list[Picture]:
    """What `take` makes of the frames that `choose` picks of so many, in its order.

    Where only decoding tells how many there are, it is done once if the number of packets was a good guess.
    """
    if look.shown is None and not _is_known(look):
        try:
            guess = choose(look.packets)
        except InputError:
            guess = []
        kept: dict[int, Picture] = {}
        wanted = set(guess)
        order = _play(
            look, lambda i, frame: kept.update({i: take(picture_of(frame, look.aspect))}) if i in wanted else None
        )
        _remember(look, order)
        if choose(len(order)) == guess and (order == np.arange(len(order))).all() and len(kept) == len(wanted):
            return [kept[number] for number in guess]
    numbers = choose(count(look))
    pictures = {number: take(picture) for number, picture in pick(look, numbers)}
    return [pictures[number] for number in numbers]


_known: dict[tuple[Any, ...], np.ndarray] = {}


def _key(look: Look) -> tuple[Any, ...]:
    seen = os.stat(look.path)
    return look.path, seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns


def _is_known(look: Look) -> bool:
    return _key(look) in _known


def _remember(look: Look, order: np.ndarray) -> None:
    while len(_known) >= 8:
        _known.pop(next(iter(_known)))
    _known[_key(look)] = order


def _played(look: Look) -> np.ndarray:
    """As `_play`, once for a file."""
    if not _is_known(look):
        _remember(look, _play(look, lambda position, frame: None))
    return _known[_key(look)]


def _play(look: Look, see: Callable[[int, Any], None]) -> np.ndarray:
    """Decode everything: of each frame in order of presentation, its position among what the decoder gives.

    The decoder gives frames in the order in which they are shown. At the start of some files it does not know yet how
    far they are reordered: a time that steps back by less than a second is put right. A larger step is a new start, as
    in transport streams that were joined, and is played in the order of the file.
    """
    times: list[int | None] = []
    unit = look.unit
    with playing(look, all_cores=True) as (container, stream, said):
        for position, frame in enumerate(decoded(look, container, stream)):
            if position == 0:
                said()
            times.append(frame.pts)
            see(position, frame)
        if damaged(said()):
            raise InputError(f"{look.path}: damaged, parts of some frames cannot be decoded; {AGAIN}")
    if not times:
        raise InputError(f"{look.path}: no frame can be decoded, the file is truncated or damaged; {AGAIN}")
    known = [time for time in times if time is not None]
    order = np.arange(len(times))
    if look.timed and len(known) == len(times) == len(set(known)):
        steps = np.diff(known) * unit
        if (steps < 0).any() and (steps > -1).all():
            order = np.argsort(known, kind="stable")
    return order


@functools.cache
def has_decord() -> bool:
    """Whether the fast engine is on this machine."""
    try:
        import decord  # noqa: F401
    except (ImportError, OSError):
        return False
    return True
