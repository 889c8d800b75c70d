"""Scene labels of prepared clips, in tables beside the frames: `scenes/<name>.parquet` in the folder of the set.

A table has a row for every row of the set's index, in its order: `clip_id`, and `scenes`, the probabilities as one list
of n x classes numbers: n = 1 where the clip is labelled as a whole, n = T where its frames are, or null. Several tables
share the frames: those that the source lists (`source-16`, `source-365`) and those that a classifier gives. The finest
one for the full data set takes 1.5 GB, so that rows are read from the disk, a group at a time.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock

from cityguessr.base.errors import InputError
from cityguessr.base.files import make_folder, write_atomically
from cityguessr.data import prepared
from cityguessr.data.prepared import META, SCENE_FOLDER
from cityguessr.data.shards import FOOTER_LIMIT
from cityguessr.scenes import check_scene_classes

Scenes = np.ndarray | None
"""The scene probabilities of a clip: float32 (n, classes), n = 1 or T, or None."""

_GROUP = 64  # clips that are read at a time
_SCHEMA = pa.schema([pa.field("clip_id", pa.string(), nullable=False), pa.field("scenes", pa.list_(pa.float32()))])
_METADATA = b"cityguessr"
_LIMITS = {"thrift_string_size_limit": FOOTER_LIMIT, "thrift_container_size_limit": 1 << 22}
_AGAIN = "label the set again"


class SceneTable:
    """A table of scenes that was checked; processes can share it.

    Attributes:
        name: of the table.
        classes: 16, or 365.
        origin: what gave the labels, in words.
        digest: a hash of every row; the same for the same labels, whatever their origin.
    """

    def __init__(self, path: Path, name: str, classes: int, origin: str, digest: str) -> None:
        self.path, self.name, self.classes, self.origin, self.digest = path, name, classes, origin, digest
        self._open: tuple[int, pq.ParquetFile] | None = None  # process, file
        self._group: tuple[int, Any] | None = None  # the rows read last

    def of(self, row: int) -> Scenes:
        """The scenes of a row of the index: float32 (n, classes), or None where it has none."""
        if self._open is None or self._open[0] != os.getpid():  # no open file is handed on by fork
            self._open, self._group = (os.getpid(), pq.ParquetFile(self.path, memory_map=True, **_LIMITS)), None
        number, at = divmod(row, _GROUP)
        if self._group is None or self._group[0] != number:
            try:
                rows = self._open[1].read_row_group(number, columns=["scenes"], use_threads=False)["scenes"]
            except (OSError, pa.ArrowException) as error:
                raise InputError(f"{self.path}: cannot be read ({error}); {_AGAIN}") from None
            self._group = number, rows.combine_chunks()
        scenes = self._group[1][at]
        if not scenes.is_valid:
            return None
        return np.array(scenes.values.to_numpy(), dtype=np.float32).reshape(-1, self.classes)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": None, "_group": None}


def write(
    folder: str | os.PathLike[str],
    name: str,
    rows: Iterable[tuple[str, Scenes]],
    classes: int,
    origin: str,
) -> SceneTable:
    """Add a table of scenes to a set that is whole, or replace the one of that name; no frame is touched.

    Args:
        name: of letters, digits, "-", "_" and "."; `source-16` and `source-365` are the source's own.
        rows: for every clip of the index, in its order: its id, and its scenes, float (n, classes) with n = 1 or T and
            without negative numbers, or None. They are drawn one by one and need not fit in memory.
        classes: 16, or 365.
        origin: what gave the labels, in words.

    Raises InputError, naming the clip, where the rows are not those of the index, or are no probabilities.
    """
    folder = Path(folder).resolve()
    check_scene_classes(classes)
    if not prepared.is_plain_name(name):
        raise InputError(f"the table of scenes {name!r}: give a name of letters, digits, '-', '_' and '.'")
    meta = prepared.read_meta(folder)
    content = prepared.read_file(folder, prepared.INDEX, meta["files"][prepared.INDEX])
    ids = prepared.read_index(folder, meta, content)["clip_id"].to_pylist()
    added = write_table(folder, name, rows, ids, meta["frames"], classes, origin, meta["content"]["frames"])
    with FileLock(folder / f".{META}.lock"):
        meta = prepared.read_meta(folder)
        prepared.write_meta(folder, meta | {"scenes": dict(sorted({**meta["scenes"], name: added}.items()))})
    return read(folder, name)


def read(folder: str | os.PathLike[str], name: str, meta: dict[str, Any] | None = None) -> SceneTable:
    """A table of a set by its name, held against `meta.json`.

    Raises InputError where there is no such table, and where the file is not the one that was written.
    """
    folder = Path(folder).resolve()
    meta = prepared.read_meta(folder) if meta is None else meta
    if name not in meta["scenes"]:
        names = ", ".join(meta["scenes"]) or "none"
        raise InputError(f"{folder}: no table of scenes {name!r} (there are: {names}); label the set, or take another")
    known, path = meta["scenes"][name], table_path(folder, name)
    try:
        found = os.stat(path)
        same = (
            found.st_size == known["size"] and _file_digest(path, found.st_size, found.st_mtime_ns) == known["digest"]
        )
    except OSError:
        raise InputError(f"{path}: missing, or cannot be read; {_AGAIN}") from None
    if not same:
        raise InputError(f"{path}: not the table that {META} names (edited, cut or swapped); {_AGAIN}")
    return SceneTable(path, name, known["classes"], known["origin"], known["content"])


def table_path(folder: Path, name: str) -> Path:
    """Where a table stands: `scenes/<name>.parquet`."""
    return folder / SCENE_FOLDER / f"{name}.parquet"


def write_table(
    folder: Path,
    name: str,
    rows: Iterable[tuple[str, Scenes]],
    ids: list[str],
    frames: int,
    classes: int,
    origin: str,
    of_frames: str,
) -> dict[str, Any]:
    """Write a table, and return what `meta.json` is to say of it; for the arguments see `write`.

    Args:
        ids: the clips of the index.
        of_frames: the hash of the frames that are labelled, `meta["content"]["frames"]`.
    """
    path, labelled = table_path(folder, name), 0
    digest = _content_hash(classes)

    def fill(file: BinaryIO) -> None:
        nonlocal labelled
        with pq.ParquetWriter(file, _SCHEMA, compression="zstd", use_dictionary=["clip_id"]) as writer:
            for group in _groups(_checked(rows, ids, frames, classes, name)):
                for clip_id, scenes in group:
                    _add(digest, clip_id, scenes)
                labelled += sum(scenes is not None for _, scenes in group)
                columns = {
                    "clip_id": [clip_id for clip_id, _ in group],
                    "scenes": [None if scenes is None else scenes.ravel() for _, scenes in group],
                }
                writer.write_table(pa.table(columns, _SCHEMA), row_group_size=_GROUP)
            about = {"classes": classes, "origin": origin, "labelled": labelled, "of": of_frames}
            about["content"] = digest.hexdigest()[:32]
            writer.add_key_value_metadata({_METADATA: json.dumps(about).encode()})

    make_folder(path.parent)
    write_atomically(path, fill)
    found = os.stat(path)
    return {
        "classes": classes, "origin": origin, "labelled": labelled, "content": digest.hexdigest()[:32],
        "size": found.st_size, "digest": _file_digest(path, found.st_size, found.st_mtime_ns),
    }  # fmt: skip


def content(rows: Iterable[tuple[str, Scenes]], classes: int) -> str:
    """The hash that a table of these rows would have (`SceneTable.digest`)."""
    digest = _content_hash(classes)
    for clip_id, scenes in rows:
        _add(digest, clip_id, scenes)
    return digest.hexdigest()[:32]


def entry_of(path: Path, ids: list[str], of_frames: str) -> dict[str, Any] | None:
    """What `meta.json` is to say of a table that it does not name, read from the table, every row of it.

    None where the table is damaged, or labels other frames than those with the hash `of_frames`.
    """
    try:
        with pq.ParquetFile(path, memory_map=True, **_LIMITS) as file:
            about = json.loads((file.metadata.metadata or {})[_METADATA])
            if not file.schema_arrow.equals(_SCHEMA) or file.metadata.num_rows != len(ids) or about["of"] != of_frames:
                return None
            classes = about["classes"]
            check_scene_classes(classes)
            rows = (row for part in file.iter_batches(_GROUP) for row in zip(*map(_cells, part.columns), strict=True))
            digest, labelled = _content_hash(classes), 0
            for (clip_id, scenes), expected in zip(rows, ids, strict=True):
                if clip_id != expected:
                    return None
                labelled += scenes is not None
                _add(digest, clip_id, scenes)
        found = os.stat(path)
        if about["content"] != digest.hexdigest()[:32] or not isinstance(about["origin"], str):
            return None
        return {
            "classes": classes, "origin": about["origin"], "labelled": labelled, "content": about["content"],
            "size": found.st_size, "digest": _file_digest(path, found.st_size, found.st_mtime_ns),
        }  # fmt: skip
    except (OSError, pa.ArrowException, KeyError, ValueError, TypeError, RecursionError):
        return None


def _cells(column: pa.Array) -> Iterator[Any]:
    """The cells of a column: text as text, a list of numbers as an array."""
    for cell in column:
        yield cell.as_py() if not isinstance(cell, pa.ListScalar) else cell.values.to_numpy() if cell.is_valid else None


def _groups(rows: Iterator[tuple[str, Scenes]]) -> Iterator[list[tuple[str, Scenes]]]:
    group: list[tuple[str, Scenes]] = []
    for row in rows:
        group.append(row)
        if len(group) == _GROUP:
            yield group
            group = []
    if group:
        yield group


def _checked(
    rows: Iterable[tuple[str, Scenes]], ids: list[str], frames: int, classes: int, name: str
) -> Iterator[tuple[str, Scenes]]:
    """The rows as float32; raises InputError as `write` does."""
    count = 0
    for count, (clip_id, given) in enumerate(rows, start=1):
        expected = ids[count - 1] if count <= len(ids) else None
        if clip_id != expected:
            raise InputError(
                f"the table of scenes {name!r}, row {count}: the clip {clip_id!r} where the index has {expected!r}; "
                "give the clips of the index in its order"
            )
        if given is None:
            yield clip_id, None
            continue
        scenes = np.asarray(given, dtype=np.float32)
        if scenes.ndim != 2 or len(scenes) not in (1, frames) or scenes.shape[1] != classes:
            raise InputError(
                f"the table of scenes {name!r}, clip {clip_id}: {scenes.shape}, not (1, {classes}) or "
                f"({frames}, {classes}); give one row for the clip, or one for each frame"
            )
        if not np.isfinite(scenes).all() or (scenes < 0).any() or (scenes.sum(axis=1) <= 0).any():
            raise InputError(
                f"the table of scenes {name!r}, clip {clip_id}: numbers that are negative, not finite or all zero; "
                "give probabilities"
            )
        yield clip_id, scenes
    if count != len(ids):
        raise InputError(f"the table of scenes {name!r}: {count} rows, where the index has {len(ids)}; label them all")


def _content_hash(classes: int) -> Any:
    return hashlib.sha256(str(classes).encode())


def _add(digest: Any, clip_id: str, scenes: Scenes) -> None:
    numbers = b"" if scenes is None else np.ascontiguousarray(scenes, dtype="<f4").tobytes()
    digest.update(json.dumps([clip_id, len(numbers)]).encode() + numbers)


@functools.lru_cache(maxsize=64)
def _file_digest(path: Path, size: int, written: int) -> str:
    """The hash of a file of some size and time, read once in a process."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]


Labeller = Callable[[np.ndarray], np.ndarray]
"""Frames uint8 (T, H, W, 3) -> the probability of each scene in each frame, float (T, 16), or (T, 365) by category."""
