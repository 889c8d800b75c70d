"""Which stretch of which video was filmed in which city."""

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Place:
    """One row of the table.

    Attributes:
        line: of the table.
        video: the video as the table has it, a path inside the folder of videos.
        path: the file, or None where there is none.
        city: the city's folder name.
        start, end: the stretch to use, in seconds of the video; end is infinite for all the rest.
        split: "train", "val", or empty where it is to be drawn.
        latlon: degrees, or None.
        credit: whom the video comes from.
    """

    line: int
    video: str
    path: Path | None
    city: str
    start: float
    end: float
    split: str
    latlon: tuple[float, float] | None
    credit: str
