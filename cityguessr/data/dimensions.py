"""How long the clips of a source are and how large their frames, read from the files themselves."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cityguessr.base.errors import InputError
from cityguessr.data.frames import frame_files
from cityguessr.data.pictures import upright_size
from cityguessr.data.sources import ClipRef
from cityguessr.data.video import video_info

COUNT = 2000
"""How many clips are measured: all of the small world's, a sample of the real data set's."""


def measure(clips: Sequence[ClipRef], count: int = COUNT, seed: int = 0) -> Any:
    """Frames and picture size of `count` clips drawn at random, or of all where there are no more, as a DataFrame.

    Pictures are opened for their size alone, as they stand upright, and not decoded; a clip's first readable one stands
    for all of it.

    Returns the columns clip_id, frames, width, height (pixels), in the order of the list; 0 in all three numbers for a
    clip whose files are missing.
    """
    import pandas as pd  # which listing and preparing clips does not need

    drawn = sorted(random.Random(seed).sample(range(len(clips)), count)) if len(clips) > count else range(len(clips))
    rows = [(clips[i].clip_id, *_dimensions(clips[i])) for i in drawn]
    return pd.DataFrame(rows, columns=["clip_id", "frames", "width", "height"])


def commonest(measured: Any) -> tuple[int, int] | None:
    """The (width, height) of most of the clips in a table of `measure`, or None where none of them has a picture."""
    sizes = measured[measured["frames"] > 0][["width", "height"]].value_counts()
    return None if sizes.empty else tuple(map(int, sizes.index[0]))


def _dimensions(clip: ClipRef) -> tuple[int, int, int]:
    """Frames, width and height of a clip, or three zeros where nothing of it can be read."""
    path = Path(clip.path)
    try:
        if path.is_file():
            info = video_info(path)
            return info.frames, info.width, info.height
        files = [path / name for name in clip.files] if clip.files is not None else frame_files(path)
    except InputError:
        return 0, 0, 0
    for file in files:
        try:
            return len(files), *upright_size(file)
        except InputError:
            continue
    return 0, 0, 0
