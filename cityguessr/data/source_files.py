"""The files that a clip is read from: which they are, and whether they are still those that were read.

A file is known by its size and its time of change. Where the time alone differs, as in a copy on another machine, its
content decides.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from cityguessr.base.errors import InputError
from cityguessr.config import ClipFormat
from cityguessr.data.frames import frame_files, frame_number
from cityguessr.data.sampling import frame_indices
from cityguessr.data.sources import ClipRef

Record = dict[str, Any]
"""What was read for one clip: `files`, a list of [name, size in bytes, time of change in ns], -1 for a missing one;
`folder`, the time of change of their folder, or None; `digest`, of the contents. Empty for a clip that is rendered."""

_AT_ONCE = 16  # threads that ask the file system, which mostly waits where it is remote
_CHUNK = 1 << 20


def numbered_files(clip: ClipRef, wanted: ClipFormat) -> tuple[list[int | None], list[Path]]:
    """The image files that a clip's frames are read from, and the number of each in its source.

    Raises InputError, naming the clip, where there are too few.
    """
    if clip.files is None:
        files = frame_files(clip.path, wanted.frames, wanted.sampling)
        return [frame_number(file) for file in files], files
    try:
        numbers = frame_indices(len(clip.files), wanted.frames, wanted.sampling)
    except InputError as error:
        raise InputError(f"{clip.clip_id}: {error}") from None
    return list(numbers), [Path(clip.path) / clip.files[n] for n in numbers]


def record(clip: ClipRef, wanted: ClipFormat) -> Record:
    """What the files of a clip are now."""
    if not clip.path:
        return {}
    names = _names(clip, wanted)
    files = [[name, *_size_and_time(os.path.join(clip.path, name))] for name in names]
    return {"files": files, "folder": _folder_time(clip), "digest": _digest(clip, names)}


def as_recorded(clip: ClipRef, then: Record) -> Record:
    """The sizes and times now of the files that were read then; equal to `then`, but for its digest, if untouched."""
    if not clip.path:
        return {}
    files = [[name, *_size_and_time(os.path.join(clip.path, name))] for name, *_ in then.get("files", [])]
    return {"files": files, "folder": _folder_time(clip)}


def is_same(clip: ClipRef, then: Record, wanted: ClipFormat) -> bool:
    """Whether a clip would be read from the same content as then, whatever the times of its files are."""
    now = as_recorded(clip, then)
    if now == {key: value for key, value in then.items() if key != "digest"}:
        return True
    if [size for _, size, _ in now.get("files", [])] != [size for _, size, _ in then.get("files", [])]:
        return False
    names = _names(clip, wanted)
    return names == [name for name, *_ in then.get("files", [])] and _digest(clip, names) == then.get("digest")


def in_threads(look: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
    """The answers of `look` in the order of the items, from several threads that ask the file system at once."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        yield from pool.map(look, items)


def _names(clip: ClipRef, wanted: ClipFormat) -> list[str]:
    """The files of a clip by their names in its path: one empty name for a video; for a clip without enough, all."""
    if clip.is_video:
        return [""]
    try:
        return [os.path.relpath(file, clip.path) for file in numbered_files(clip, wanted)[1]]
    except InputError:
        if clip.files is not None:
            return list(clip.files)
        try:
            return sorted(os.listdir(clip.path))
        except OSError:
            return []


def _size_and_time(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path.rstrip("/"))
    except (OSError, ValueError):
        return -1, -1
    return found.st_size, found.st_mtime_ns


def _folder_time(clip: ClipRef) -> int | None:
    """When a file was last added to a clip's folder or removed; None where the clip names its files itself."""
    return None if clip.files is not None or clip.is_video else _size_and_time(clip.path)[1]


def _digest(clip: ClipRef, names: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for name in names:
        content = _content_digest(os.path.join(clip.path, name).rstrip("/"))
        digest.update(name.encode(errors="surrogateescape") + b"\0" + content)
    return digest.hexdigest()[:32]


def _content_digest(path: str) -> bytes:
    """A hash of a file's content, read in pieces; empty for one that cannot be read, or that is no ordinary file."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return b""
        digest = hashlib.sha256()
        with open(path, "rb") as file:
            while piece := file.read(_CHUNK):
                digest.update(piece)
        return digest.digest()
    except (OSError, ValueError):
        return b""
