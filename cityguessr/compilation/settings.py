"""How long videos are cut, and what is written of them; the defaults are the paper's."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

from cityguessr.base.errors import InputError, one_of
from cityguessr.faces import detectors

if TYPE_CHECKING:  # it brings pandas along, which the processes that cut videos do without
    from cityguessr.faces.blur import Blur

SPLITS_BY = ("clip", "video")
TREES = ("paper", "listed")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Everything that decides a compilation, besides the videos and the table of places.

    Attributes:
        clip_frames: fewest and most frames of a clip, 800 and 900 in the paper (section 3). They are frames of the
            file, whatever its rate: 27 to 30 seconds at 30 frames a second, half of that at 60.
        kept: frames kept of a clip, evenly spread, 100 in the paper.
        seed: of the lengths of the clips and of the split.
        split: what the validation split is made of: single `clip`s, as in the paper, or whole `video`s.
        val_share: share of a city's clips, or videos, in the validation split (80:20 in the paper, section 5.1).
        tree: the cities that `labels_list.csv` lists: `paper`, all 166 of the paper and those that the table adds, so
            that class ids are those of a model trained on CityGuessr68k; or `listed`, those of the table alone.
        height: the most pixels of the shorter side of a picture, the height of one that lies; None keeps the video's
            size. Nothing is enlarged.
        quality: of the JPEG files.
        blur: how faces are blurred before a frame is written; None leaves them.
        detector: what finds the faces, "yunet" or "retinaface" (see `faces.detectors`).
        threshold, scales: of the detector.
        blank_share: a clip is left out where so large a share of its kept frames, or more, is black or of one even
            colour, as in titles and credits; above 1, none is.
        synthetic: whether the videos are rendered rather than filmed, which tables and figures then say.
    """

    clip_frames: tuple[int, int] = (800, 900)
    kept: int = 100
    seed: int = 0
    split: Literal["clip", "video"] = "clip"
    val_share: float = 0.2
    tree: Literal["paper", "listed"] = "paper"
    height: int | None = None
    quality: int = 90
    blur: Blur | None = None
    detector: str = "yunet"
    threshold: float = detectors.THRESHOLD
    scales: tuple[float, ...] = (1.0,)
    blank_share: float = 0.5
    synthetic: bool = False

    def __post_init__(self) -> None:
        low, high = self.clip_frames
        if not 1 <= low <= high:
            raise InputError(f"clip_frames={self.clip_frames}: the fewest and the most frames of a clip, as (800, 900)")
        if not 1 <= self.kept <= low:
            raise InputError(f"kept={self.kept}: a clip of {low} frames can keep 1 to {low} of them, 100 in the paper")
        if not 0 < self.val_share < 1:
            raise InputError(f"val_share={self.val_share}: a share between 0 and 1, 0.2 in the paper")
        if not self.blank_share > 0:
            raise InputError(f"blank_share={self.blank_share}: a share above 0; above 1, no clip is left out as blank")
        if self.split not in SPLITS_BY:
            raise one_of("split", self.split, SPLITS_BY)
        if self.tree not in TREES:
            raise one_of("tree", self.tree, TREES)
        if self.height is not None and self.height < 16:
            raise InputError(f"height={self.height}: at least 16 pixels, or None for the video's own size")
        if not 1 <= self.quality <= 100:
            raise InputError(f"quality={self.quality}: of JPEG, from 1 to 100")

    def record(self) -> dict[str, Any]:
        """The settings as plain values, for `compilation.json`."""
        record = dataclasses.asdict(self)
        if self.blur is None:  # what a detector would have looked for is of no account
            record = {name: value for name, value in record.items() if name not in ("detector", "threshold", "scales")}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in record.items()}

    def find_detector(self) -> detectors.Detector | None:
        """The detector of faces, or None where they are not blurred. Raises InputError for one that is not there."""
        return None if self.blur is None else detectors.get(self.detector, self.threshold, scales=self.scales)
