"""What a source lists: clips, with their labels and the place of their frames, in whichever layout it reads."""

import dataclasses
from pathlib import Path

import numpy as np

SPLITS = ("train", "val")


@dataclasses.dataclass(frozen=True, eq=False)
class ClipRef:
    """One listed clip: its labels, and where its frames are. None of its files has been opened yet.

    Attributes:
        clip_id: unique in the source.
        video_id: the long video that the clip was cut from; the clip's id where the source does not say.
        split: "train" or "val".
        labels: class ids in the order of `LEVELS`: city, state, country, continent.
        path: a video file, a folder of frames `<n>.jpg`, or the folder of the files named in `files`.
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
