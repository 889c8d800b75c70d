"""What every source of clips gives to the preparation, whichever layout it reads from disk."""

import dataclasses
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:  # the workers of the preparation import this module, and need no torch for JPEG frames
    from cityguessr.taxonomy import Taxonomy

SPLITS = ("train", "val")


@dataclasses.dataclass(frozen=True, eq=False)
class ClipRef:
    """One listed clip: its labels, and where its frames are. Nothing of it has been opened yet.

    Attributes:
        clip_id: the clip's own id, unique in the source.
        video_id: the long video that the clip was cut from; the clip's own id where the source does not say.
        split: "train" or "val".
        labels: class ids in the order of `LEVELS`: city, state, country, continent.
        path: a video file, or a folder of frames `<n>.jpg`, or the folder that the names in `files` are in.
        clip_scenes: the scene distribution of the clip as a whole, float32 (16,), or None.
        frame_scenes: the scene id of every source frame by its number n, int8 or int16 (n + 1,), -1 where not given, or
            None; 0..15, or 0..364 in a source whose `scenes` is 365.
        gps: latitude and longitude in degrees, float64: (1, 2) for the whole clip, or (n + 1, 2) by the frame's number,
            NaN where not given; None without.
        files: names of the frames in the order of the clip, where the files do not bear their numbers; the number of a
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


class Source(Protocol):
    """Anything that lists clips: `ReleaseSource`, `FolderSource`, or a source of one's own.

    Attributes:
        name: what the source is called in `meta.json`.
        taxonomy: the label tree that the ids of its clips refer to.
        synthetic: whether the pictures are rendered rather than filmed.
        text_features: float32 (number of cities, d), NaN for a city without any, or None: text features that the source
            itself carries for each city.
        scenes: (optional) how many scene classes its clips are labelled with, 16 or 365; 16 where it does not say.
    """

    name: str
    taxonomy: "Taxonomy"
    synthetic: bool
    text_features: np.ndarray | None

    def clips(self) -> list[ClipRef]:
        """Every listed clip, in the order of the list."""
        ...
