"""Features of frozen encoders, computed once for every track and kept: `data/features/<set>-<encoder>-<digest>/`.

What is kept is named by its content: the tracks, the encoder's weights, the crops. A computation that was cut short
goes on with the tracks that are missing.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cityguessr.base import paths, progress
from cityguessr.base.errors import InputError
from cityguessr.base.files import make_folder, write_atomically, write_bytes
from cityguessr.tracks import Track, Tracks, read_frames
from cityguessr.vidtag import encoders, views

_MARGIN = 1.15
"""How much larger than the encoder's pictures training frames are read, so that a crop of 60 % loses little."""


@dataclasses.dataclass(frozen=True)
class Features:
    """The features of all tracks of a set, from one encoder.

    Attributes:
        folder: one file for each track, and `meta.json`.
        width: numbers of a view.
        encoder: its name.
    """

    folder: Path
    width: int
    encoder: str

    def of(self, track: Track) -> Tensor:
        """float16 (T, V, width): a training track has five views a frame, a validation track one.

        Raises InputError, naming the file, where it is missing or not what was computed.
        """
        path = _file(self.folder, track)
        try:
            array = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"{path}: no features of {track.name} ({error}); remove it, and compute again") from None
        if array.ndim != 3 or (len(array), array.shape[2]) != (len(track), self.width):
            raise InputError(
                f"{path}: {array.shape} numbers for {len(track)} frames of {track.name}; remove it, and compute again"
            )
        return torch.from_numpy(array)


def compute(
    tracks: Tracks,
    encoder: str,
    *,
    seed: int = 0,
    device: str | torch.device = "cpu",
    allow_downloads: bool = False,
    batch: int = 256,
    load: Callable[..., encoders.FrameEncoder] = encoders.load,
) -> Features:
    """Features of every frame of every track, from the disk where they are there already.

    Training tracks are seen in five random crops, validation tracks whole.

    Args:
        encoder: a name in `encoders.ENCODERS`.
        seed: of the crops.
        device: where to compute.
        batch: pictures at a time.
        load: gives the encoder, where any is needed.

    Raises InputError for a picture that cannot be read, and MissingWeights where the encoder's are not here.
    """
    identity = {
        "tracks": tracks.fingerprint,
        "encoder": encoders.version(encoder),
        "views": [views.TRAINING, *views.AREA, seed],
    }
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
    folder = make_folder(
        paths.data() / "features" / f"{re.sub(r'[^a-z0-9]+', '-', tracks.name.lower())}-{encoder}-{digest}"
    )
    kept = Features(folder, encoders.ENCODERS[encoder].width, encoder)
    missing = [track for track in tracks.tracks if not _file(folder, track).is_file()]
    if missing:
        write_bytes(folder / "meta.json", (json.dumps(identity, indent=2, sort_keys=True) + "\n").encode())
        network = load(encoder, allow_downloads=allow_downloads).to(device)
        for track in progress.track(missing, f"features of {tracks.name} by {encoder}, tracks", len(missing)):
            array = _of_track(track, network, seed, torch.device(device), batch).numpy()
            path = _file(folder, track)
            make_folder(path.parent)
            write_atomically(path, functools.partial(np.save, arr=array, allow_pickle=False))
    return kept


def joined(stores: Sequence[Features], track: Track) -> Tensor:
    """The features of several encoders side by side, in the order of the stores: float16 (T, V, sum of widths)."""
    return torch.cat([store.of(track) for store in stores], dim=2)


def _of_track(track: Track, network: encoders.FrameEncoder, seed: int, device: torch.device, batch: int) -> Tensor:
    """float16 (T, V, width), on the CPU."""
    training = track.split == "train"
    size = round(network.size * _MARGIN) if training else network.size
    pictures = torch.from_numpy(read_frames(track, size)).permute(0, 3, 1, 2)
    shown = views.cropped(pictures, network.size, views.seeded(track.name, seed)) if training else views.whole(pictures)
    parts = [network(part.to(device)).half().cpu() for part in shown.flatten(0, 1).split(batch)]
    return torch.cat(parts).unflatten(0, shown.shape[:2])


def _file(folder: Path, track: Track) -> Path:
    """The file of a track, named by a digest: a sequence's key may hold any character."""
    name = hashlib.blake2b(track.name.encode("utf-8", "surrogateescape"), digest_size=10).hexdigest()
    return folder / name[:2] / f"{name}.npy"
