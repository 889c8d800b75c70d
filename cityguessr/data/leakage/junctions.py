"""Where one clip ends and the next begins: the frames on both sides of every junction, and how unlike they are.

The release numbers the clips of a city one after another over both splits (`Lyon_0000`, `Lyon_0001`, ...), and cuts
them out of long videos (paper, section 3). If clip k + 1 begins where clip k ends in the same video, then the last
frame of the one and the first of the other are neighbours: as like as two neighbouring frames within a clip. If they
come from two videos, they are as unlike as frames of two clips of the same city that are far apart in number.

So three samples of distances are taken, all from the data itself: across junctions, between neighbouring frames within
clips, and between clips of a city that are far apart. Four frames of each clip are read: its first two and last two.
"""

import dataclasses
import functools
import hashlib
import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cityguessr.base import pools
from cityguessr.base.errors import InputError
from cityguessr.base.files import make_folder, write_atomically
from cityguessr.base.progress import duration, track
from cityguessr.data.frames import frame_files
from cityguessr.data.leakage.likeness import DETAIL_AND_COLOUR, Measure
from cityguessr.data.pictures import open_image, shrink
from cityguessr.data.sources import ClipRef

ENDS = (0, 1, -2, -1)  # the frames of a clip that are read: the first two, and the last two
_TOGETHER = 128  # clips of one task, and of one file of the cache
_WORTH_PROCESSES = 20  # seconds of reading; starting processes takes some of them
_NUMBERED = re.compile(r"(?P<city>.+)_(?P<number>\d+)")


@dataclasses.dataclass(frozen=True)
class Run:
    """Clips that are numbered one after another: those of a city, or of a city in one split.

    Attributes:
        name: of the city's folder, with the split before it (`val/Lyon`) where each split numbers its own clips.
        clips: in the order of their numbers.
        numbers: int64, one per clip, rising; there may be gaps.
    """

    name: str
    clips: tuple[ClipRef, ...]
    numbers: np.ndarray


@dataclasses.dataclass(frozen=True)
class Distances:
    """How unlike the frames are across junctions, and the two samples that say what to hold that against.

    Attributes:
        names: of the k distances.
        junctions: one row per clip in the order of runs and numbers: run, clip, split, number, gap (how much higher
            than the number of the clip before; 0 for the first of a run), and a column per distance, from the last
            frame of the clip before to the first of this one: NaN for the first of a run, after a gap in the numbers,
            and where one of the two could not be read.
        within: float64 (n, k), between neighbouring frames within clips.
        apart: float64 (m, k), from the last frame of a clip to the first of one far away in the same run.
        unread: clip -> why its frames could not be read.
    """

    names: tuple[str, ...]
    junctions: pd.DataFrame
    within: np.ndarray
    apart: np.ndarray
    unread: dict[str, str]


def runs_of(clips: Iterable[ClipRef]) -> list[Run]:
    """Clips in the order in which they were cut: by city, then by number, over both splits.

    Where a number of a city is in both splits (their ids then begin with the split, `val/Lyon_0000`), the splits were
    numbered apart, and each is a run of its own in that city.

    Raises InputError for an id that does not end in a number.
    """
    cities: dict[str, list[tuple[int, ClipRef]]] = {}
    apart = set()
    for clip in clips:
        found = _NUMBERED.fullmatch(clip.clip_id.rsplit("/", 1)[-1])
        if found is None:
            raise InputError(
                f"clip {clip.clip_id}: its id does not end in a number, as in Lyon_0012, so that nothing says which "
                "clips follow one another; give a table with the video of each clip (clips.csv) instead"
            )
        cities.setdefault(found["city"], []).append((int(found["number"]), clip))
        if "/" in clip.clip_id:
            apart.add(found["city"])
    runs: dict[str, list[tuple[int, ClipRef]]] = {}
    for city, numbered in cities.items():
        for number, clip in numbered:
            runs.setdefault(f"{clip.split}/{city}" if city in apart else city, []).append((number, clip))
    ordered = {name: sorted(runs[name], key=lambda item: item[0]) for name in sorted(runs)}
    return [Run(name, tuple(c for _, c in all_), np.array([n for n, _ in all_])) for name, all_ in ordered.items()]


def far_apart(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of clips of a run of `count` that are half of it apart, and never neighbours: their places in it."""
    first = np.arange(count)
    second = (first + count // 2) % count
    keep = np.abs(first - second) >= 2
    return first[keep], second[keep]


def measure(
    clips: Sequence[ClipRef],
    cache: str | os.PathLike[str],
    workers: int | None = None,
    how: Measure = DETAIL_AND_COLOUR,
) -> Distances:
    """Read the ends of every clip and measure the distances; memory is that of one city's frames.

    How long it will take is printed first. What was read is kept in `cache` (3 kB per frame by default), so that it
    resumes where it stopped; a clip whose files have changed is read again. A clip that cannot be read costs its two
    junctions, not the whole.

    Args:
        clips: those of both splits, whose frames are in folders, as `ReleaseSource.clips` gives them.
        cache: a folder, made where it is missing.
        workers: processes that read; by default as many as there are cores.
        how: what of the frames is compared.

    Raises InputError for ids without numbers, no clips, and clips that are all unreadable.
    """
    runs = runs_of(clips)
    if not runs:
        raise InputError("there are no clips whose junctions could be measured; give those of both splits")
    tables, within, apart, unread = [], [], [], {}
    for run, (frames, reasons) in zip(
        runs, _read_all(runs, Path(cache), workers or pools.cores(), how.size), strict=True
    ):
        good = np.array([clip.clip_id not in reasons for clip in run.clips])
        unread |= reasons
        kept = _features(frames, how)
        gap = np.diff(run.numbers, prepend=run.numbers[0])
        across = np.full((len(run.clips), len(how.names)), np.nan)
        tested = np.flatnonzero((gap == 1) & good & np.roll(good, 1))
        across[tested] = how.distance(kept[tested - 1, 3], kept[tested, 0]).numpy()
        tables.append(
            pd.DataFrame(
                {
                    "run": run.name,
                    "clip": [clip.clip_id for clip in run.clips],
                    "split": [clip.split for clip in run.clips],
                    "number": run.numbers,
                    "gap": gap,
                    **dict(zip(how.names, across.T, strict=True)),
                }
            )
        )
        within += [how.distance(kept[good, i], kept[good, i + 1]).numpy() for i in (0, 2)]
        one, other = far_apart(len(run.clips))
        both = good[one] & good[other]
        apart.append(how.distance(kept[one[both], 3], kept[other[both], 0]).numpy())
    if len(unread) == len(clips):
        raise InputError(f"none of {len(clips):,} clips could be read, the first because {next(iter(unread.values()))}")
    junctions = pd.concat(tables, ignore_index=True)
    return Distances(
        how.names, junctions, np.concatenate(within).astype(float), np.concatenate(apart).astype(float), unread
    )


def both_sides(before: ClipRef, after: ClipRef, width: int = 240) -> tuple[np.ndarray, np.ndarray]:
    """The last frame of a clip and the first of the next, to look at: uint8 (H, width, 3) each, RGB.

    A frame that is smaller than `width` keeps its size. Raises InputError where one cannot be read.
    """
    sides = []
    for clip, place in ((before, -1), (after, 0)):
        files = frame_files(clip.path)
        if not files:
            raise InputError(f"{clip.path}: no frames; restore the folder or leave the clip out")
        image = open_image(files[place]).convert("RGB")
        image.thumbnail((width, 10 * width))
        sides.append(np.asarray(image))
    return sides[0], sides[1]


def _features(frames: np.ndarray, how: Measure) -> Tensor:
    """uint8 (n, 4, size, size, 3) -> (n, 4, ...), what the measure keeps of them; some frames at a time."""
    flat = torch.from_numpy(frames).flatten(0, 1)
    kept = torch.cat([how.feature(part) for part in flat.split(4 * _TOGETHER)])
    return kept.unflatten(0, frames.shape[:2])


def _read_all(runs: Sequence[Run], cache: Path, workers: int, size: int) -> Iterator[tuple[np.ndarray, dict[str, str]]]:
    """The frames at the ends of each run's clips, uint8 (n, 4, size, size, 3), and why clips could not be read."""
    make_folder(cache)
    parts: dict[str, Sequence[ClipRef]] = {}
    names: list[list[str]] = []
    for run in runs:
        blocks = [run.clips[start : start + _TOGETHER] for start in range(0, len(run.clips), _TOGETHER)]
        keys = [_key(run.name, block, size) for block in blocks]
        parts |= dict(zip(keys, blocks, strict=True))
        names.append(keys)
    missing = {key: block for key, block in parts.items() if not (cache / f"{key}.npz").is_file()}
    seconds = _announce(missing, workers, size) if missing else 0.0
    tasks = ((key, functools.partial(_ensure, cache / f"{key}.npz", block, size)) for key, block in parts.items())
    if seconds > _WORTH_PROCESSES and workers > 1:
        kept = "what was read is kept"
        done: Iterable[object] = pools.in_processes(tasks, workers, kept, preload=_ensure.__module__)
    else:
        done = ((key, work()) for key, work in tasks)
    for _ in track(done, f"ends of clips, in blocks of {_TOGETHER} or a city", len(parts)):
        pass
    for keys in names:
        files = [_load(cache / f"{key}.npz") for key in keys]
        reasons = {clip: why for _, part in files for clip, why in part.items()}
        yield np.concatenate([frames for frames, _ in files]), reasons


def _announce(missing: dict[str, Sequence[ClipRef]], workers: int, size: int) -> float:
    """Print how long reading will take, by a few clips of the first block; the seconds that one process would need."""
    count = sum(map(len, missing.values()))
    sample = [block[len(block) // 2] for block in list(missing.values())[:: max(1, len(missing) // 8)]]
    _read_clip(sample[0], size)  # the first of all takes longer
    start = time.perf_counter()
    for clip in sample:
        _read_clip(clip, size)
    each = (time.perf_counter() - start) / len(sample)
    used = workers if count * each > _WORTH_PROCESSES else 1
    print(
        f"{count:,} clips to read, four frames each: {1000 * each:.0f} ms per clip, about "
        f"{duration(count * each / max(1, used))} with {used} process{'es' if used > 1 else ''}",
        flush=True,
    )
    return count * each


def _key(run: str, block: Sequence[ClipRef], size: int) -> str:
    """A file name for a block of clips: what it holds is known by their ids and folders, and by the size."""
    what = "\n".join(f"{clip.clip_id}\t{clip.path}" for clip in block)
    return f"{re.sub(r'[^A-Za-z0-9]+', '-', run)}-{hashlib.sha256(f'{size}/{run}/{what}'.encode()).hexdigest()[:16]}"


def _ensure(path: Path, block: Sequence[ClipRef], size: int) -> None:
    """Read a block of clips to a file, unless it is there and the clips' files are as they were."""
    marks = np.array([_mark(clip.path) for clip in block])
    if path.is_file():
        try:
            with np.load(path, allow_pickle=False) as file:
                if (file["marks"] == marks).all():
                    return
        except (OSError, ValueError, KeyError):
            pass  # cut or of another kind: read again
    read = [_read_clip(clip, size) for clip in block]
    content = {
        "marks": marks,
        "frames": np.stack([frames for frames, _ in read]),
        "clips": np.array([clip.clip_id for clip in block]),
        "reasons": np.array([why for _, why in read]),
    }
    write_atomically(path, lambda file: np.savez(file, **content))


def _mark(folder: str) -> str:
    """When a folder was last changed, and its first frame's size and time: changed where the clip was repaired."""
    try:
        state = os.stat(folder)
        first = os.stat(os.path.join(folder, "1.jpg")) if os.path.exists(os.path.join(folder, "1.jpg")) else state
        return f"{state.st_mtime_ns}/{first.st_size}/{first.st_mtime_ns}"
    except OSError:
        return "missing"


def _read_clip(clip: ClipRef, size: int) -> tuple[np.ndarray, str]:
    """The four frames at a clip's ends, uint8 (4, size, size, 3), and an empty reason; or zeros, and why not."""
    try:
        if clip.is_video:
            raise InputError(f"{clip.path}: a video file; junctions are measured on folders of frames")
        files = frame_files(clip.path)
        if len(files) < len(ENDS):
            raise InputError(f"{clip.path}: {len(files)} frames, where four are needed")
        return np.stack([np.asarray(shrink(files[place], size)[0]) for place in ENDS]), ""
    except InputError as error:
        return np.zeros((len(ENDS), size, size, 3), np.uint8), str(error)


def _load(path: Path) -> tuple[np.ndarray, dict[str, str]]:
    with np.load(path, allow_pickle=False) as file:
        reasons = {clip: why for clip, why in zip(file["clips"].tolist(), file["reasons"].tolist(), strict=True) if why}
        return file["frames"], reasons
