"""Features of frozen encoders, computed once for every track and kept: `data/features/<set>-<encoder>-<digest>/`.

What is kept is named by its content: the tracks, the encoder's weights, the crops of training. Ten crops of a track of
validation have a file beside that of its whole pictures. A computation that was cut short goes on with what is missing.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar, get_args

import numpy as np
import torch
from torch import Tensor

from cityguessr.base import paths, progress, threads
from cityguessr.base.errors import InputError, one_of
from cityguessr.base.files import make_folder, write_atomically, write_bytes
from cityguessr.tracks import Track, Tracks, read_frames, read_shaped
from cityguessr.vidtag import encoders, views

T = TypeVar("T")

_AHEAD = 8  # tracks that are read ahead at most; one of 1,000 frames in five crops takes 0.8 GB
_MARGIN = 1.15
"""How much larger than the encoder's pictures training frames are read, so that a crop of 60 % loses little."""


@dataclasses.dataclass(frozen=True)
class Features:
    """The features of all tracks of a set, from one encoder.

    Attributes:
        folder: one file for each track, and `meta.json`.
        width: numbers of a view.
        encoder: its name.
        validation: what is seen of a frame of validation, see `views.Validation`.
    """

    folder: Path
    width: int
    encoder: str
    validation: views.Validation = "whole"

    def of(self, track: Track) -> Tensor:
        """float16 (T, V, width): a training track has five views per frame, a validation track one, or ten crops.

        Raises InputError, naming the file, where it is missing or not what was computed.
        """
        path = self.file(track)
        try:
            array = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"{path}: no features of {track.name} ({error}); remove it, and compute again") from None
        if array.ndim != 3 or (len(array), array.shape[2]) != (len(track), self.width):
            raise InputError(
                f"{path}: {array.shape} numbers for {len(track)} frames of {track.name}; remove it, and compute again"
            )
        return torch.from_numpy(array)

    def file(self, track: Track) -> Path:
        """The file of a track, named by a digest: a sequence's key may hold any character."""
        name = hashlib.blake2b(track.name.encode("utf-8", "surrogateescape"), digest_size=10).hexdigest()
        end = "" if track.split == "train" or self.validation == "whole" else f"-{self.validation}"
        return self.folder / name[:2] / f"{name}{end}.npy"


def compute(
    tracks: Tracks,
    encoder: str,
    *,
    seed: int = 0,
    validation: views.Validation = "whole",
    split: str | None = None,
    code: str = "",
    device: str | torch.device = "cpu",
    allow_downloads: bool = False,
    batch: int = 256,
    load: Callable[..., encoders.FrameEncoder] = encoders.load,
) -> Features:
    """Features of every frame of every track, from the disk where they are there already.

    Training tracks are seen in five random crops, validation tracks whole or in ten crops.

    Args:
        encoder: a name in `encoders.ENCODERS`.
        seed: of the crops.
        validation: see `views.Validation`.
        split: "train" or "val", where the other one's are not needed.
        code: a digest of the code that computes them, so that other code finds nothing of this one's
            (`provenance.FEATURE_CODE`).
        device: where to compute.
        batch: pictures at a time.
        load: gives the encoder, where any is needed.

    Raises InputError for a picture that cannot be read and for names that there are not, and MissingWeights where the
    encoder's are not here.
    """
    if validation not in get_args(views.Validation):
        raise one_of("validation_views", validation, get_args(views.Validation))
    identity = {
        "tracks": tracks.fingerprint,
        "encoder": encoders.version(encoder),
        "views": [views.TRAINING, *views.AREA, seed],
        "code": code,
    }
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
    folder = make_folder(
        paths.data() / "features" / f"{re.sub(r'[^a-z0-9]+', '-', tracks.name.lower())}-{encoder}-{digest}"
    )
    kept = Features(folder, encoders.ENCODERS[encoder].width, encoder, validation)
    wanted = tracks.tracks if split is None else tracks.split(split)
    missing = [track for track in wanted if not kept.file(track).is_file()]
    if missing:
        write_bytes(folder / "meta.json", (json.dumps(identity, indent=2, sort_keys=True) + "\n").encode())
        network = load(encoder, allow_downloads=allow_downloads).to(device)
        pictures = functools.partial(_pictures, size=network.size, seed=seed, validation=validation)
        read = _ahead(missing, pictures, min(_AHEAD, threads.cores()))
        for track, seen in progress.track(read, f"features of {tracks.name} by {encoder}, tracks", len(missing)):
            parts = _views(seen, network.size, batch)
            array = torch.cat([_of_views(part, network, torch.device(device), batch) for part in parts]).numpy()
            path = kept.file(track)
            make_folder(path.parent)
            write_atomically(path, functools.partial(np.save, arr=array, allow_pickle=False))
    return kept


def joined(stores: Sequence[Features], track: Track) -> Tensor:
    """The features of several encoders side by side, in the order of the stores: float16 (T, V, sum of widths)."""
    return torch.cat([store.of(track) for store in stores], dim=2)


def _of_views(shown: Tensor, network: encoders.FrameEncoder, device: torch.device, batch: int) -> Tensor:
    """uint8 (T, V, 3, size, size) -> float16 (T, V, width), on the CPU."""
    parts = [network(part.to(device)).half().cpu() for part in shown.flatten(0, 1).split(batch)]
    return torch.cat(parts).unflatten(0, shown.shape[:2])


def _pictures(track: Track, size: int, seed: int, validation: str) -> Tensor | list[Tensor]:
    """What is seen of a track, frames in order: uint8 (T, V, 3, size, size); for ten crops the T pictures, uncut."""
    if track.split == "train":
        pictures = torch.from_numpy(read_frames(track, round(size * _MARGIN))).permute(0, 3, 1, 2)
        return views.cropped(pictures, size, views.seeded(track.name, seed))
    if validation == "whole":
        return views.whole(torch.from_numpy(read_frames(track, size)).permute(0, 3, 1, 2))
    return [torch.from_numpy(picture).permute(2, 0, 1) for picture in read_shaped(track, size)]


def _views(seen: Tensor | list[Tensor], size: int, batch: int) -> Iterator[Tensor]:
    """What the encoder is shown of it at a time: uint8 (some frames, V, 3, size, size)."""
    if isinstance(seen, Tensor):
        yield seen
        return
    some = max(1, batch // views.TEN)  # frames at a time: all crops of a long video fill the memory
    for first in range(0, len(seen), some):
        yield torch.stack([views.ten_crops(picture, size) for picture in seen[first : first + some]])


def _ahead(tracks: Sequence[Track], read: Callable[[Track], T], workers: int) -> Iterator[tuple[Track, T]]:
    """Each track with what is read of it, in order; the next few are read meanwhile, so that the encoder need not wait.

    What goes wrong with a track is raised at its turn.
    """
    pool, waiting = ThreadPoolExecutor(workers), deque[tuple[Track, Future[T]]]()
    try:
        for track in tracks:
            waiting.append((track, pool.submit(read, track)))
            if len(waiting) > workers:
                first, found = waiting.popleft()
                yield first, found.result()
        for first, found in waiting:
            yield first, found.result()
    finally:
        pool.shutdown(cancel_futures=True)
