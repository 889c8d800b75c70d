"""What a track is: frames in the order of time, each with its coordinate; and how its pixels are read."""

import dataclasses
import functools
import hashlib
import math
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from cityguessr.base.errors import InputError, one_of
from cityguessr.data import video as videos
from cityguessr.data.pictures import reduced, resize, shorten, shrink
from cityguessr.data.sources import SPLITS

COLUMNS = ("where", "what", "reason", "count", "kept", "example")


@dataclasses.dataclass(frozen=True, eq=False)
class Track:
    """T frames in the order of time, with their coordinates. No picture has been opened yet.

    The frames are pictures, one file each, or stand in a video file, each at its second.

    Attributes:
        name: of the sequence or the video, unique in its set.
        region: whose gallery it belongs to: a city of MSLS by its folder, a box of GAMa, a city of CityGuessr68k.
        split: "train" or "val".
        latlon: float64 (T, 2), degrees, latitude first, T at least 1. Frames without coordinates have been left out.
        pictures: T paths; empty where the frames are in a video.
        video: the video file, or None.
        seconds: float64 (T,), from the beginning of the video, or None.

    Raises InputError, naming the track, where these do not fit together or a coordinate is no place on Earth.
    """

    name: str
    region: str
    split: str
    latlon: NDArray[np.float64]
    pictures: tuple[Path, ...] = ()
    video: Path | None = None
    seconds: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise one_of("split", self.split, SPLITS)
        shape, frames = self.latlon.shape, len(self.pictures) if self.seconds is None else len(self.seconds)
        if shape != (frames, 2) or not frames or (self.video is None) != (self.seconds is None):
            raise InputError(f"track {self.name}: {frames} frames and coordinates {shape}; give (T, 2) for T frames")
        if self.pictures and self.video is not None:
            raise InputError(f"track {self.name}: has pictures and a video; give one of the two")
        wrong = ~((np.abs(self.latlon) <= (90, 180)).all(axis=1))  # true for NaN
        if wrong.any():
            frame = int(np.flatnonzero(wrong)[0])
            raise InputError(f"track {self.name}, frame {frame}: {self.latlon[frame].tolist()} is no place in degrees")

    def __len__(self) -> int:
        return len(self.latlon)


@dataclasses.dataclass(frozen=True, eq=False)
class Tracks:
    """The tracks of one data set, in both splits.

    Attributes:
        name: of the set.
        tracks: all of them, in an order that is the same at every reading.
        counts: what was left out, and what was kept and should be known; columns `where` (a city, a split), `what`
            (what is counted), `reason`, `count`, `kept`, and `example`, the first one counted.
        synthetic: whether the pictures are rendered.
        source: for rendered pictures, the fingerprint of the world that they are of.

    Raises InputError for two tracks of one name, and where there is none.
    """

    name: str
    tracks: tuple[Track, ...]
    counts: pd.DataFrame
    synthetic: bool = False
    source: str = ""

    def __post_init__(self) -> None:
        if not self.tracks:
            reasons = "; ".join(f"{row.count} {row.what}: {row.reason}" for row in self.counts.itertuples(index=False))
            raise InputError(f"{self.name}: no track is left ({reasons or 'none was found'}); give a whole data set")
        names: set[str] = set()
        for track in self.tracks:
            if track.name in names:
                raise InputError(f"{self.name}: two tracks are called {track.name}; rename one of them")
            names.add(track.name)

    def __len__(self) -> int:
        return len(self.tracks)

    @property
    def regions(self) -> tuple[str, ...]:
        """The regions of all tracks, sorted."""
        return tuple(sorted({track.region for track in self.tracks}))

    def split(self, split: str, region: str | None = None) -> tuple[Track, ...]:
        """The tracks of "train" or "val", of one region where that is given. Raises InputError for another name."""
        if split not in SPLITS:
            raise one_of("split", split, SPLITS)
        if region is not None and region not in self.regions:
            raise one_of("region", region, self.regions)
        return tuple(t for t in self.tracks if t.split == split and region in (None, t.region))

    def left_out(self) -> pd.DataFrame:
        """The rows of `counts` of what was left out."""
        return self.counts[~self.counts["kept"]].reset_index(drop=True)

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all that is listed: names, regions, splits, coordinates, and the names of files without folders.

        It is the same wherever the set stands. The content of pictures enters by `source` alone.
        """
        digest = hashlib.sha256(self.source.encode())
        for track in self.tracks:
            files = [path.name for path in track.pictures] + ([track.video.name] if track.video else [])
            words = [track.name, track.region, track.split, str(len(track)), *files]
            digest.update("\0".join(words).encode("utf-8", "surrogateescape") + b"\n")
            digest.update(np.ascontiguousarray(track.latlon, "<f8").tobytes())
            if track.seconds is not None:
                digest.update(np.ascontiguousarray(track.seconds, "<f8").tobytes())
        return digest.hexdigest()


class Tally:
    """What a reader has left out so far, by where, what and why."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str, str, bool], tuple[int, str]] = {}

    def add(
        self, where: str, what: str, reason: str, count: int = 1, *, example: object = "", kept: bool = False
    ) -> None:
        """Count some more; nothing where `count` is 0. The first example stays."""
        if count:
            key = where, what, reason, kept
            before, first = self._rows.get(key, (0, str(example)))
            self._rows[key] = before + count, first

    def frame(self) -> pd.DataFrame:
        """The counts so far; see `Tracks`."""
        rows = [
            (where, what, reason, count, kept, example)
            for (where, what, reason, kept), (count, example) in self._rows.items()
        ]
        return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"count": int, "kept": bool})


def read_frames(track: Track, size: int = 224, frames: Iterable[int] | None = None) -> NDArray[np.uint8]:
    """The pixels of a track's frames, or of those whose positions are given, in that order.

    Each picture is resized whole to a square, as everywhere in this project. A frame of a video is the one shown at its
    second, at the file's mean rate.

    Returns uint8 (T, H, W, 3), RGB, H = W = `size`.
    Raises InputError, naming the file, for a picture or a video that is missing or damaged, and for one that ends
    before a frame's second.
    """
    pictures = _read(track, frames, lambda path: shrink(path, size)[0], lambda image: resize(image, size))
    return np.stack(pictures) if pictures else np.empty((0, size, size, 3), np.uint8)


def read_shaped(track: Track, size: int = 224, frames: Iterable[int] | None = None) -> list[NDArray[np.uint8]]:
    """The same in the shape that each picture has: its short side is `size` pixels, and nothing is squashed.

    Returns T arrays, uint8 (H, W, 3), RGB, of which the smaller of H and W is `size`; errors as `read_frames`.
    """
    return _read(track, frames, lambda path: shorten(reduced(path, size), size), lambda image: shorten(image, size))


def _read(
    track: Track,
    frames: Iterable[int] | None,
    from_file: Callable[[Path], Image.Image],
    from_video: Callable[[Image.Image], Image.Image],
) -> list[NDArray[np.uint8]]:
    """The pixels of frames, each as one of two functions makes it of a picture's file, or of a video's whole frame."""
    chosen = range(len(track)) if frames is None else list(frames)
    if track.video is None or track.seconds is None:
        return [np.array(from_file(track.pictures[k])) for k in chosen]
    numbers = video_numbers(track.video, track.seconds[list(chosen)])
    shown = {n: np.array(from_video(Image.fromarray(p))) for n, p in videos.pick(track.video, numbers)}
    return [shown[number] for number in numbers]


def video_numbers(path: Path, seconds: NDArray[np.float64]) -> list[int]:
    """The numbers of the frames that a video shows at some seconds, at its mean rate.

    Raises InputError where the video ends before one of them, or cannot be read.
    """
    info = videos.video_info(path)
    numbers = [math.floor(second * info.fps + 1e-6) for second in seconds.tolist()]
    if numbers and max(numbers) >= info.frames:
        raise InputError(
            f"{path}: has {info.frames} frames, {info.frames / info.fps:.2f} s, and a frame at {seconds.max():g} s was "
            "asked for; copy the file again, or leave the track out"
        )
    return numbers


def split_of(key: str, val_share: float) -> str:
    """The split, "train" or "val", drawn by the key alone: the same in every process, whatever else the set holds.

    A larger share adds to "val" and takes nothing from it. Raises InputError for a share that is not between 0 and 1.
    """
    if not 0 < val_share < 1:
        raise InputError(f"val_share is {val_share}; it is a share between 0 and 1, such as 0.2")
    drawn = int.from_bytes(hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "big")
    return "val" if drawn < val_share * 2**64 else "train"
