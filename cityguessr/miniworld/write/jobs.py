"""What every writer of MiniWorld shares: work in several processes, one mark per finished video, clear messages.

A writer claims a folder for its world, lets `work` write video after video, and writes a marker (`world.json`) last.
Every file appears under its name only when it is whole, so that an interrupted writer goes on where it stopped.
"""

import csv
import errno
import functools
import io
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from cityguessr.base import paths, pools, threads
from cityguessr.base.errors import InputError
from cityguessr.base.progress import track
from cityguessr.miniworld.plan import VideoPlan

PROGRESS = ".progress"  # one small file for every finished video, gone once the world is complete
_OWNER = "fingerprint"


class World(Protocol):
    """What can be written: plans of videos, a fingerprint of all that decides them, and the bytes they will take."""

    fingerprint: str
    videos: tuple[VideoPlan, ...]

    def estimate(self) -> int:
        """Bytes on disk, roughly."""
        ...


WriteVideo = Callable[[Any, VideoPlan, Path, str], None]
"""Writes one video of a world into a folder, on a device. A function of a module, so that processes can share it."""


Start = tuple[Callable[..., World], tuple[Any, ...]]
"""A function and its arguments, from which a worker makes the world: cheaper than to send it."""


def is_complete(world: World, marker: Path) -> bool:
    """Whether the marker says that all of this world stands there. Raises InputError where it is another world's."""
    if not marker.is_file():
        return False
    try:
        found = json.loads(marker.read_text(encoding="utf-8")).get("fingerprint")
    except ValueError:
        found = "unreadable"
    if found != world.fingerprint:
        raise InputError(
            f"{marker}: this folder holds another MiniWorld (fingerprint {found}, wanted {world.fingerprint}); "
            "give another folder, or remove this one"
        )
    return True


def claim(world: World, root: Path) -> None:
    """Mark a folder as being written with this world, or refuse one that another world has begun."""
    progress = root / PROGRESS
    progress.mkdir(parents=True, exist_ok=True)
    owner = progress / _OWNER
    if owner.is_file() and owner.read_text().strip() not in ("", world.fingerprint):
        raise InputError(
            f"{root}: an unfinished MiniWorld of another configuration stands here; give another folder, or remove it"
        )
    replace_text(owner, world.fingerprint)


def work(
    world: World,
    root: Path,
    write_video: WriteVideo,
    label: str,
    workers: int,
    device: str | torch.device,
    start: Start,
) -> None:
    """Call `write_video` for every video without a mark, in `workers` processes; the first failure stops the rest.

    Args:
        label: what a progress bar says.
    """
    todo = [video for video in world.videos if not (root / PROGRESS / video.video_id).is_file()]
    if not todo:
        return
    # Videos of one city are worked on in a row by one worker, since they share the city's textures.
    by_city: dict[int, list[str]] = {}
    for video in todo:
        by_city.setdefault(video.city, []).append(video.video_id)
    groups = list(by_city.values())
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
                replace_text(root / PROGRESS / video_id, "done")
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
    for _, finished in pools.in_processes(tasks, min(workers, len(groups)), kept, preload=write_video.__module__):
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


def csv_text(rows: list[list]) -> str:
    """Rows as the text of a CSV file."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def replace_text(path: Path, text: str) -> None:
    """Write a small file so that it is either the old one or the whole new one."""
    replace_bytes(path, text.encode())


def replace_bytes(path: Path, content: bytes) -> None:
    """As `replace_text`, for bytes."""
    partial = path.with_name(f".{path.name}.part")
    partial.write_bytes(content)
    partial.replace(path)


def explain(error: OSError, world: World, root: Path) -> InputError:
    """Turn a failure of the file system into one message: what happened, how far it got, what to do."""
    where = error.filename or root
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return InputError(f"{where}: no permission to write; give another folder, or change its rights")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        done, size = so_far(root)
        need = size / done * len(world.videos) if done else world.estimate()
        return InputError(
            f"{root}: the disk is full after {done:,} of {len(world.videos):,} videos ({size / 1e6:,.1f} MB written, "
            f"about {need / 1e6:,.0f} MB needed in all); free some space or give another folder: writing again goes on "
            "from here"
        )
    return InputError(f"{where}: cannot be written ({error.strerror or error}); check the folder and write again")


def so_far(root: Path) -> tuple[int, int]:
    """Finished videos, and the bytes of all files that stand there."""
    marks = list((root / PROGRESS).iterdir()) if (root / PROGRESS).is_dir() else []
    done = len([path for path in marks if path.name != _OWNER and not path.name.endswith(".part")])
    size = 0
    for folder, _, files in os.walk(root):
        size += sum(os.path.getsize(os.path.join(folder, name)) for name in files)
    return done, size
