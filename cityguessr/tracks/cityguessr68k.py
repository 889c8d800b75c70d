"""Tracks of CityGuessr68k, as VidTAG takes it: every frame has the centre of its city as its coordinate.

The release gives no more of a clip than its city. So all frames of a city have one place, and the gallery is the
centres of the 166 cities; a city's name is the region, for accuracy by level rather than for a gallery of its own.
Where a release has coordinates of its own (MiniWorld's `gps.csv`), they are not read here.
"""

import numpy as np

from cityguessr.base.errors import InputError
from cityguessr.base.progress import track as progress
from cityguessr.config import Sampling
from cityguessr.data.cityguessr68k import ReleaseSource
from cityguessr.data.frames import frame_files
from cityguessr.data.release.layout import Roots
from cityguessr.data.sampling import frame_indices
from cityguessr.tracks.track import Tally, Track, Tracks


def read_cityguessr68k(
    source: ReleaseSource | Roots, frames: int | None = 16, sampling: Sampling = "uniform"
) -> Tracks:
    """The clips of a release in its own split, each frame at the centre of its city (`Taxonomy.latlon`).

    Left out and counted are clips whose folder is missing, has too few frames or one whose place in time is not
    certain, and clips of cities that the taxonomy has no coordinates for.

    Args:
        source: the release, read already or as `ReleaseSource` takes it.
        frames: how many of a clip's about 100 frames are taken, as `data.sampling` picks them; all where None.
        sampling: how they are picked.

    Raises InputError as `ReleaseSource` does, and for a number of frames or a sampling that makes no sense.
    """
    release = source if isinstance(source, ReleaseSource) else ReleaseSource(source)
    if frames is not None and frames < 1:
        raise InputError(f"frames is {frames}; a track has at least 1 frame, and 16 in the paper")
    frame_indices(1000, 1, sampling)  # complains of another sampling before every clip does
    tally, tracks = Tally(), []
    centres = release.taxonomy.latlon.numpy().astype(np.float64)
    clips = release.clips()
    for clip in clips if release.synthetic else progress(clips, "reading tracks of CityGuessr68k, clips"):
        city = release.taxonomy.folders[clip.labels[0]]
        centre = centres[clip.labels[0]]
        if np.isnan(centre).any():
            tally.add(city, "clips", "the city has no coordinates in the taxonomy", example=clip.clip_id)
            continue
        try:
            pictures = frame_files(clip.path, frames, sampling)
        except InputError as error:
            tally.add(city, "clips", "its frames cannot be listed, or are too few", example=error)
            continue
        if not pictures:
            tally.add(city, "clips", "its frames cannot be listed, or are too few", example=clip.path)
            continue
        places = np.repeat(centre[None], len(pictures), axis=0)
        tracks.append(Track(clip.clip_id, city, clip.split, places, tuple(pictures)))
    return Tracks(release.name, tuple(tracks), tally.frame(), release.synthetic, release.world)
