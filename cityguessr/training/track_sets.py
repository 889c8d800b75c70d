"""The tracks that a profile trains VidTAG on: rendered on the spot for MiniWorld, read for real data sets."""

from pathlib import Path

from filelock import FileLock

from cityguessr.base import paths, threads
from cityguessr.base.errors import InputError
from cityguessr.base.files import make_folder
from cityguessr.miniworld import TrackConfig, TrackWorld, write_tracks
from cityguessr.tracks import Tracks, read_cityguessr68k, read_gama, read_msls
from cityguessr.training.track_experiments import TrackScale

WORLDS = {"mini": TrackConfig.mini()}
"""Profile -> how large a world of tracks it is rendered from."""
_READERS = {"msls": read_msls, "gama": read_gama, "cityguessr68k": read_cityguessr68k}


def read_tracks(scale: TrackScale, data_root: str | Path | None = None, workers: int | None = None) -> Tracks:
    """The tracks of a scale.

    Args:
        data_root: the real data set, or the folder to render to, by default `data/miniworld/<profile>-tracks`.
        workers: processes that render; by default as many as cores.

    Raises InputError where a real data set is wanted and no folder is given, and as the readers do.
    """
    if scale.dataset != "world":
        if data_root is None:
            raise InputError(f"the profile {scale.profile!r} reads a real data set: give its folder as data_root")
        return _READERS[scale.dataset](data_root)
    config = WORLDS[scale.profile]
    folder = Path(data_root) if data_root else paths.data() / "miniworld" / f"{scale.profile}-tracks"
    make_folder(folder.parent)
    with FileLock(folder.with_name(folder.name + ".lock")):
        write_tracks(TrackWorld(config), folder, workers or threads.cores())
    return read_msls(folder, cities=config.cities)
