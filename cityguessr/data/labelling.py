"""Scene labels by a classifier, for sets whose source lists none: a second step, after the frames are there.

Only the frames that training uses are looked at, those of the prepared clips. Its answer for a frame is stored by
the content of the JPEG file in `data/scenes/<version of the classifier>/`, one file per shard. A labelling that was
stopped resumes after the last whole shard; where a few clips were prepared anew, only these are looked at again;
and one pass gives the labels of 16 and of 365 classes.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import io
import re
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cityguessr.base import paths, pools
from cityguessr.base.errors import InputError
from cityguessr.base.files import make_folder, write_bytes
from cityguessr.base.progress import duration, track
from cityguessr.data import jpeg, scene_tables
from cityguessr.data.clips import ClipDataset, PreparedClips
from cityguessr.data.scene_tables import Scenes

BATCH = 64
"""Frames that the classifier is given at once. The last batch is filled up to that number, so that the
answer for a frame does not depend on how many were left."""

_HASH = 16  # bytes by which the content of a frame is known


class Classifier(Protocol):
    """What says which scene a frame shows, such as a `Places365Labeller`.

    Attributes:
        name: in words, for the origin of its tables; it says how categories become scenes.
        version: a hash of what decides its categories, in hexadecimal digits.
        scene_classes: how many scenes `scenes` gives.
    """

    name: str
    version: str
    scene_classes: int

    def categories(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Frames uint8 (N, H, W, 3), RGB -> the probability of each category, float32 (N, categories)."""
        ...

    def scenes(self, categories: NDArray[np.float32]) -> NDArray[np.float32]:
        """The probability of each category (N, categories) -> of each scene (N, scene_classes)."""
        ...


@dataclasses.dataclass(frozen=True)
class _Labels:
    """The categories that a classifier gave the frames of one shard.

    Attributes:
        hashes: uint8 (clips, T, 16), of the content of every frame.
        categories: float16 (clips, T, categories).
    """

    hashes: NDArray[np.uint8]
    categories: NDArray[np.float16]


def label_scenes(
    clips: PreparedClips, classifier: Classifier, *, batch: int = BATCH, report: Callable[[str], None] = print
) -> PreparedClips:
    """The same clips with the scenes that a classifier sees in their frames, kept in a table beside them.

    A table that this classifier gave the same frames earlier is taken as it is. How long it will take is measured on
    the first frames, and reported before it starts.

    Args:
        batch: frames that the classifier is given at once.

    Raises InputError where the classifier gives another number of scenes than the clips have, and for a damaged frame.
    """
    if classifier.scene_classes != clips.scene_classes:
        raise InputError(
            f"the classifier gives {classifier.scene_classes} scenes and the clip format wants {clips.scene_classes}; "
            "make them agree"
        )
    name = f"{re.sub(r'[^a-z0-9]+', '-', classifier.name.lower()).strip('-')}-{classifier.scene_classes}"
    origin = f"{classifier.name} ({classifier.version})"
    if clips.meta["scenes"].get(name, {}).get("origin") != origin:
        folder = make_folder(paths.data() / "scenes" / classifier.version)
        _look_at_all(clips, classifier, folder, batch, report)
        scene_tables.write(clips.folder, name, _rows(clips, classifier, folder), clips.scene_classes, origin)
    return PreparedClips.load(clips.folder, name)


def _look_at_all(
    clips: PreparedClips, classifier: Classifier, folder: Path, batch: int, report: Callable[[str], None]
) -> None:
    """Have the classifier look at the frames of every shard that it has not seen whole."""
    todo = [(file, rows) for file, rows in _shards(clips, folder) if _read(file) is None]
    if not todo:
        return
    everything = ClipDataset(clips, "all", np.arange(len(clips.clip_ids)))
    known = _known(folder)
    count = sum(len(rows) for _, rows in todo) * everything.shape[0]
    report(f"{clips.name}: scenes of {count:,} frames to find, {_forecast(classifier, everything, batch, count)}")
    with ThreadPoolExecutor(pools.cores()) as decoders:
        for file, rows in track(todo, f"{clips.name}: scenes, by shard", len(todo)):
            _write(file, _look(everything, rows, classifier, known, batch, decoders))


def _look(
    clips: ClipDataset,
    rows: Sequence[int],
    classifier: Classifier,
    known: dict[bytes, tuple[Path, int]],
    batch: int,
    decoders: ThreadPoolExecutor,
) -> _Labels:
    """The classifier's categories for the frames of some clips; frames seen before keep their earlier ones."""
    files = [content for row in rows for content in clips.jpegs(row)]
    hashes = [hashlib.blake2b(content, digest_size=_HASH).digest() for content in files]
    content = dict(zip(hashes, files, strict=True))
    labels = {key: found for key in content if (found := _recall(known.get(key), key)) is not None}
    fresh = [key for key in content if key not in labels]

    def decode(keys: list[bytes]) -> NDArray[np.uint8]:
        frames = np.zeros((batch, *clips.shape[1:]), np.uint8)  # (batch, 3, H, W)
        list(decoders.map(lambda key, frame: jpeg.decode(np.frombuffer(content[key], np.uint8), frame), keys, frames))
        return frames

    batches = [fresh[start : start + batch] for start in range(0, len(fresh), batch)]
    with ThreadPoolExecutor(1) as ahead:  # a batch is decoded while the classifier looks at the one before it
        for keys, frames in zip(batches, ahead.map(decode, batches), strict=True):
            categories = classifier.categories(frames.transpose(0, 2, 3, 1))
            labels |= zip(keys, categories[: len(keys)].astype(np.float16), strict=True)
    shape = len(rows), clips.shape[0]
    return _Labels(
        np.frombuffer(b"".join(hashes), np.uint8).reshape(*shape, _HASH),
        np.stack([labels[key] for key in hashes]).reshape(*shape, -1),
    )


def _rows(clips: PreparedClips, classifier: Classifier, folder: Path) -> Iterator[tuple[str, Scenes]]:
    """The scenes of every clip in the order of the index."""
    ids = clips.clip_ids
    for file, rows in _shards(clips, folder):
        labels = _read(file)
        if labels is None or len(labels.categories) != len(rows):
            raise InputError(f"{file}: missing or damaged; label the set again")
        for row, categories in zip(rows, labels.categories, strict=True):
            yield ids[row], classifier.scenes(categories.astype(np.float32))


def _shards(clips: PreparedClips, folder: Path) -> Iterator[tuple[Path, range]]:
    """For every shard of a set, the file with its categories, and its rows in the index."""
    start = 0
    for shard in clips.meta["shards"]:
        yield folder / f"{shard['digest']}.npz", range(start, start + shard["rows"])
        start += shard["rows"]


def _known(folder: Path) -> dict[bytes, tuple[Path, int]]:
    """The hash of every frame that was looked at -> the file with its categories, and its number there."""
    known = {}
    for file in sorted(folder.glob("*.npz")):
        if (labels := _read(file)) is not None:
            known |= {key.tobytes(): (file, at) for at, key in enumerate(labels.hashes.reshape(-1, _HASH))}
    return known


def _recall(place: tuple[Path, int] | None, key: bytes) -> NDArray[np.float16] | None:
    """The categories that a frame was given earlier; None where they are no longer there."""
    labels = None if place is None else _read(place[0])
    if labels is None or place is None or labels.hashes.reshape(-1, _HASH)[place[1]].tobytes() != key:
        return None
    return labels.categories.reshape(-1, labels.categories.shape[-1])[place[1]]


def _write(file: Path, labels: _Labels) -> None:
    content = io.BytesIO()
    np.savez(content, hashes=labels.hashes, categories=labels.categories, whole=_whole(labels))
    write_bytes(file, content.getvalue())


def _read(file: Path) -> _Labels | None:
    """The content of a file; None where there is none, or not the one that was written."""
    try:
        found = file.stat()
    except OSError:
        return None
    return _read_once(file, found.st_size, found.st_mtime_ns)


@functools.lru_cache(maxsize=8)
def _read_once(file: Path, size: int, written: int) -> _Labels | None:
    """As `_read`, of a file of some size and time."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            labels = _Labels(arrays["hashes"], arrays["categories"])
            whole = bool((arrays["whole"] == _whole(labels)).all())
            right = whole and labels.hashes.shape[:2] == labels.categories.shape[:2]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, MemoryError):
        return None
    return labels if right else None


def _whole(labels: _Labels) -> NDArray[np.uint8]:
    """A hash of what a file holds, uint8 (16,)."""
    digest = hashlib.blake2b(labels.hashes.tobytes(), digest_size=_HASH)
    digest.update(labels.categories.tobytes())
    return np.frombuffer(digest.digest(), np.uint8)


def _forecast(classifier: Classifier, clips: ClipDataset, batch: int, count: int) -> str:
    """How long so many frames will take, in words, measured on one batch of the first clip's frames."""
    frames = clips.frames_of([0])[0].permute(0, 2, 3, 1).numpy()  # (T, H, W, 3)
    frames = np.resize(frames, (batch, *frames.shape[1:]))
    classifier.categories(frames)  # the first call prepares the device
    start = time.perf_counter()
    classifier.categories(frames)
    rate = batch / (time.perf_counter() - start)
    return f"at {rate:,.0f} frames/s about {duration(count / rate)}"
