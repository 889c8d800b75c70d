"""What a source lists: clips, with their labels and the place of their frames, in whichever layout it reads."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from cityguessr.config import ClipFormat

SPLITS = ("train", "val")


@dataclasses.dataclass(frozen=True, eq=False)
class ClipRef:
    """One listed clip: its labels, and where its frames are. None of its files has been opened yet.

    Attributes:
        clip_id: unique in the source.
        video_id: the long video that the clip was cut from; the clip's id where the source does not say.
        split: "train" or "val".
        labels: class ids in the order of `LEVELS`: city, state, country, continent.
        path: a video file, a folder of frames `<n>.jpg`, or the folder of the files named in `files`; empty where the
            source's renderer makes the frames.
        clip_scenes: the scene distribution of the clip as a whole, float32 (16,), or None.
        frame_scenes: the scene id of every source frame by its number n, int8 or int16 (n + 1,), -1 where not given, or
            None; 0..15, or 0..364 in a source whose `scene_classes` is 365.
        gps: latitude and longitude in degrees, float64: (1, 2) for the whole clip, or (n + 1, 2) by the frame's number,
            NaN where not given; None without.
        files: names of the frames in the order of the clip, where these names are not their numbers; the number of a
            frame is then its position in this list, from 0. None elsewhere.
    """

    clip_id: str
    video_id: str
    split: str
    labels: tuple[int, int, int, int]
    path: str
    clip_scenes: np.ndarray | None = None
    frame_scenes: np.ndarray | None = None
    gps: np.ndarray | None = None
    files: tuple[str, ...] | None = None

    @property
    def is_video(self) -> bool:
        """Whether its frames are in a video file, which is what a path with a suffix means unless it is a folder."""
        path = Path(self.path)
        return self.files is None and bool(path.suffix) and not path.is_dir()


class Renderer(Protocol):
    """What makes the frames of clips that are rendered rather than read; processes can share it.

    Attributes:
        encoders: threads that encode the frames while others are rendered.
        on_gpu: whether it renders on a GPU, for which one process is enough.
        settings: what decides its pictures, for `meta.json`.
    """

    encoders: int
    on_gpu: bool
    settings: dict[str, Any]

    def __call__(
        self, clips: Sequence[ClipRef], clip_format: ClipFormat
    ) -> Iterator[tuple[Sequence[int | None], np.ndarray]]:
        """The frames of each clip in turn: their numbers, and uint8 (frames, size, size, 3), the same in any shard."""
        ...

    def announce(self, clips: Sequence[ClipRef], clip_format: ClipFormat, out: Path, workers: int, more: bool) -> None:
        """Print how long so many clips will take and how large they will be, before any is rendered.

        Args:
            more: whether others were rendered before, by an earlier call.

        Raises InputError where the disk of `out` is too small for them.
        """
        ...
