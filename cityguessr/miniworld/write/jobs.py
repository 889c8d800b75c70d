"""What every writer of MiniWorld shares: work in several processes, one mark per finished video, clear messages.

Within `writing`, which claims a folder for a world, a writer lets `work` call one function per video, and writes a
marker (`world.json`) last. Every file appears under its name only when it is whole, so an interrupted writer goes on
where it stopped.
"""

import contextlib
import dataclasses
import errno
import functools
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from cityguessr.base import paths, pools, threads
from cityguessr.base.errors import InputError
from cityguessr.base.files import PARTIAL, explain, make_folder, write_bytes
from cityguessr.base.progress import track
from cityguessr.base.tables import read_json
from cityguessr.data.pictures import encode_image
from cityguessr.miniworld.plan import VideoPlan

CHUNK = 64  # frames rendered at a time: a video of the paper's scale never stands in memory whole
PROGRESS = ".progress"  # one small file for every finished video, removed once the world is complete
_OWNER = "fingerprint"


class World(Protocol):
    """What can be written: plans of videos, what they were made from, and the bytes that they will take."""

    config: Any
    fingerprint: str
    videos: tuple[VideoPlan, ...]

    def estimate(self) -> int:
        """Bytes on disk, roughly."""
        ...


WriteVideo = Callable[[Any, VideoPlan, Path, str], None]
"""Writes one video of a world into a folder, on a device. A function of a module, so that processes can share it."""


Start = tuple[Callable[..., World], tuple[Any, ...]]
"""A function and its arguments, from which a worker makes the world: cheaper than to send it."""


@contextlib.contextmanager
def writing(world: World, root: Path, marker: Path) -> Iterator[bool]:
    """Claim a folder for a world while it is written; yields whether anything is left to write.

    The block calls `work` and, last, `write_marker`; after it the marks of the finished videos are removed. Raises
    InputError where the folder holds another world or may not be written, and where the disk is too small or full.
    """
    try:
        if _is_complete(world, marker):
            yield False
            return
        _claim(world, root)
        need, free = world.estimate() - so_far(root)[1], shutil.disk_usage(root).free
        if need > free:
            raise InputError(
                f"{root}: the world takes about {need / 1e9:,.1f} GB more and {free / 1e9:,.1f} GB are free; give a "
                "folder on a larger disk"
            )
        yield True
        shutil.rmtree(root / PROGRESS)
    except OSError as error:
        raise _explain(error, world, root) from error


def write_marker(world: World, marker: Path, name: str, version: int, **counts: int) -> None:
    """Write what a world is to its marker, which says that the world is complete."""
    about = {"name": name, "synthetic": True, "version": version, "fingerprint": world.fingerprint}
    about |= {"seed": world.config.seed, "config": dataclasses.asdict(world.config), **counts}
    write_bytes(marker, (json.dumps(about, indent=2) + "\n").encode())


def as_jpeg(picture: NDArray[np.uint8], quality: int) -> bytes:
    """A picture (height, width, 3) as the content of a JPEG file."""
    return encode_image(Image.fromarray(picture), "JPEG", quality=quality)


def _is_complete(world: World, marker: Path) -> bool:
    """Whether the marker says that the world is complete. Raises InputError where it is another world's."""
    if not marker.is_file():
        return False
    try:
        fingerprint = read_json(marker).get("fingerprint")
    except InputError:
        fingerprint = "unreadable"
    if fingerprint != world.fingerprint:
        raise InputError(
            f"{marker}: this folder holds another MiniWorld (fingerprint {fingerprint}, wanted {world.fingerprint}); "
            "give another folder, or remove this one"
        )
    return True


def _claim(world: World, root: Path) -> None:
    """Mark a folder as being written with this world, or refuse one that another world has begun."""
    owner = make_folder(root / PROGRESS) / _OWNER
    if owner.is_file() and owner.read_text().strip() not in ("", world.fingerprint):
        raise InputError(
            f"{root}: the folder holds an unfinished MiniWorld of another configuration; give another, or remove it"
        )
    write_bytes(owner, world.fingerprint.encode())


def work(
    world: World,
    root: Path,
    write_video: WriteVideo,
    label: str,
    workers: int | None,
    device: str | torch.device,
    start: Start,
) -> None:
    """Call `write_video` for every video without a mark, in `workers` processes; the first failure stops the rest.

    Args:
        label: what a progress bar says.
        workers: None for as many as there are cores.
    """
    todo = [video for video in world.videos if not (root / PROGRESS / video.video_id).is_file()]
    if not todo:
        return
    # Videos of one city are worked on in a row by one worker, since they share the city's textures.
    by_city: dict[int, list[str]] = {}
    for video in todo:
        by_city.setdefault(video.city, []).append(video.video_id)
    groups = list(by_city.values())
    workers = min(workers or pools.cores(), len(groups))
    label = f"{label} written to {os.path.relpath(root, paths.root())}"
    if workers == 1:
        jobs = _in_turn(world, root, write_video, groups, str(device))
    else:
        jobs = _in_parallel(root, write_video, groups, workers, str(device), start)
    for _ in track(jobs, label, len(todo)):
        pass


def _in_turn(
    world: World, root: Path, write_video: WriteVideo, groups: Sequence[list[str]], device: str
) -> Iterator[str]:
    """Write group after group in this process; yield the id of each video."""
    videos = {video.video_id: video for video in world.videos}
    with threads.limited(1):  # the pictures are small
        for group in groups:
            for video_id in group:
                write_video(world, videos[video_id], root, device)
                (root / PROGRESS / video_id).touch()
                yield video_id


def _in_parallel(
    root: Path,
    write_video: WriteVideo,
    groups: Sequence[list[str]],
    workers: int,
    device: str,
    start: Start,
) -> Iterator[str]:
    """Write groups in several processes; the first failure stops the rest and is raised."""
    tasks = [
        (f"{group[0]} to {group[-1]}", functools.partial(_work, start, root, write_video, group, device))
        for group in groups
    ]
    kept = "finished videos are kept"
    for _, finished in pools.in_processes(tasks, workers, kept, preload=write_video.__module__):
        yield from finished


_worker: dict[str, World] = {}  # in a worker process: the world it works on


def _work(start: Start, root: Path, write_video: WriteVideo, group: list[str], device: str) -> list[str]:
    make, arguments = start
    if "world" not in _worker:
        _worker["world"] = make(*arguments)
    try:
        return list(_in_turn(_worker["world"], root, write_video, [group], device))
    except OSError as error:
        # PyAV's errors of the file system do not survive the way between processes.
        raise OSError(error.errno, error.strerror, error.filename) from None


def _explain(error: OSError, world: World, root: Path) -> InputError:
    """One message for a failure of the file system; where the disk is full, it says how far the writing got."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        done, size = so_far(root)
        need = size / done * len(world.videos) if done else world.estimate()
        return InputError(
            f"{root}: the disk is full after {done:,} of {len(world.videos):,} videos ({size / 1e6:,.1f} MB written, "
            f"about {need / 1e6:,.0f} MB needed in all); free some space or give another folder: writing again goes on "
            "from here"
        )
    return InputError(explain(error.filename or root, error))


def so_far(root: Path) -> tuple[int, int]:
    """How many videos are finished in a folder, and the bytes of all its files."""
    marks = list((root / PROGRESS).iterdir()) if (root / PROGRESS).is_dir() else []
    done = len([path for path in marks if path.name != _OWNER and not path.name.endswith(PARTIAL)])
    size = 0
    for folder, _, files in os.walk(root):
        size += sum(os.path.getsize(os.path.join(folder, name)) for name in files)
    return done, size
