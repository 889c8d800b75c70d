"""How long a compilation will take and how large it will be, from one video looked into."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from cityguessr.base.errors import InputError
from cityguessr.base.progress import duration
from cityguessr.compilation.segments import Probe, Segment, encode, finish
from cityguessr.data import video

_SAMPLE = (0, 30, 60, 90)  # frames of the sample that are kept


def announce(todo: Sequence[Segment], probes: Mapping[str, Probe], out: Path, workers: int, done: int) -> None:
    """Print what is to be done, about how long it takes and how large it will be.

    The first frames of the first video that can be read are decoded, and some of them finished: time a pixel and bytes
    a pixel of it stand for all. Videos differ, so this is a guess, good to a factor of two or so.

    Raises InputError where the disk has less room than that.
    """
    readable = [(segment, probes[segment.place.video]) for segment in todo if probes[segment.place.video].info]
    clips = [len(segment.cuts(seen.info)[0]) for segment, seen in readable]
    blurred = "faces are blurred" if todo[0].settings.blur else "faces are not blurred"
    head = f"{len(todo):,} stretches of video" + (f" ({done:,} are there already)" if done else "")
    head += f": {sum(clips):,} clips of {todo[0].settings.kept} frames; {blurred}"
    rates = next((rate for segment, seen in readable if (rate := _rates(segment, seen))), None)
    if rates is None:
        print(head, flush=True)
        return
    per_decoded, per_kept, size = rates
    seconds = bytes_ = 0.0
    for (segment, seen), count in zip(readable, clips, strict=True):
        pixels, kept = seen.info.width * seen.info.height, count * segment.settings.kept
        seconds += pixels * (frames(segment, seen) * per_decoded + kept * per_kept)
        bytes_ += pixels * kept * size
    at_once = min(workers, len(todo))
    print(f"{head}; about {duration(seconds / at_once)} with {at_once} at a time, {bytes_ / 1e6:,.0f} MB", flush=True)
    free = shutil.disk_usage(out).free
    if bytes_ > free:
        raise InputError(
            f"{out}: the clips take about {bytes_ / 1e9:,.1f} GB and {free / 1e9:,.1f} GB are free; give a folder on a "
            "larger disk, or a smaller height or quality"
        )


def frames(segment: Segment, seen: Probe) -> int:
    """How many frames of a video are decoded for a stretch: all up to its end."""
    return segment.stretch(seen.info)[1] if seen.info else 0


def _rates(segment: Segment, seen: Probe) -> tuple[float, float, float] | None:
    """Seconds to decode, seconds to finish and bytes to keep, each for a pixel of the video; None where it fails."""
    numbers = [number for number in _SAMPLE if number < frames(segment, seen)]
    if not numbers:
        return None
    start, finishing, size = None, 0.0, 0
    try:
        for _, frame in video.pick(segment.place.path, numbers):
            if start is None:  # the file is open, and the process that reads it has begun
                finish(frame, segment.settings)  # the first call loads the detector
                start = time.perf_counter()
            before = time.perf_counter()
            size += len(encode(finish(frame, segment.settings)[0], segment.settings))
            finishing += time.perf_counter() - before
    except Exception:  # which its turn will show
        return None
    pixels = seen.info.width * seen.info.height
    decoding = time.perf_counter() - start - finishing
    return decoding / max(1, numbers[-1]) / pixels, finishing / len(numbers) / pixels, size / len(numbers) / pixels
