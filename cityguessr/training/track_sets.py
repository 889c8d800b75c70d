"""The tracks that a profile trains VidTAG on: rendered on the spot for MiniWorld, read for real data sets.

The tracks of "mini_clips" are CityGuessr's own clips of the profile "mini", in its split and under its clip ids, so
that the two answer the same clips.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

from cityguessr.base import locks, paths, threads
from cityguessr.base.errors import InputError
from cityguessr.miniworld import TrackConfig, TrackWorld, write_tracks
from cityguessr.tracks import Tracks, read_cityguessr68k, read_gama, read_msls
from cityguessr.training import datasets, track_damage
from cityguessr.training.track_experiments import SCALES, TrackScale

WORLDS = {"mini": TrackConfig.mini()}
"""Profile -> how large a world of tracks it is rendered from."""

CLIPS = {"mini_clips": "mini"}
"""Profile -> the profile of CityGuessr whose clips it takes for tracks."""

_READERS = {"msls": read_msls, "gama": read_gama, "cityguessr68k": read_cityguessr68k}


def read_tracks(scale: TrackScale, data_root: str | Path | None = None, workers: int | None = None) -> Tracks:
    """The tracks of a scale.

    Args:
        data_root: the real data set, or the folder to render to, by default `data/miniworld/<profile>-tracks`, or for
            CityGuessr's clips where `datasets.root` renders them.
        workers: processes that render; by default as many as cores.

    Raises InputError where a real data set is wanted and no folder is given, and as the readers do.
    """
    if scale.dataset == "clips":
        frames = max(phase.frames for phase in scale.phases)
        return read_cityguessr68k(datasets.root(CLIPS[scale.profile], data_root, workers), frames)
    if scale.dataset != "world":
        if data_root is None:
            raise InputError(f"the profile {scale.profile!r} reads a real data set: give its folder as data_root")
        root = data_root if scale.dataset == "cityguessr68k" else paths.found(data_root)  # a release may be in parts
        return _READERS[scale.dataset](root)
    config = WORLDS[scale.profile]
    folder = rendered_at(scale, data_root)
    with locks.beside(folder):
        write_tracks(TrackWorld(config), folder, workers or threads.cores())
    return read_msls(folder, cities=config.cities)


def rendered_at(scale: TrackScale, data_root: str | Path | None = None) -> Path:
    """Where a MiniWorld's tracks are rendered to."""
    return paths.found(data_root) if data_root else paths.data() / "miniworld" / f"{scale.profile}-tracks"


@dataclasses.dataclass(frozen=True, eq=False)
class TrackSource:
    """Where a training reads its tracks: small enough to be sent to a worker, where it is a profile's.

    Attributes:
        data_root: of the real data set, or where MiniWorld's are rendered; see `read_tracks`.
        given: tracks of one's own, in place of the profile's.
    """

    scale: TrackScale
    data_root: str | None = None
    given: Tracks | None = None

    def listed(self) -> Tracks:
        """The tracks as their release lists them; a process keeps those that it read last."""
        return self.given if self.given is not None else _read(self.scale.profile, self.data_root)

    def read(self) -> Tracks:
        """The tracks without the frames that are known to be damaged; see `track_damage`."""
        return track_damage.without(self.listed(), max((phase.frames for phase in self.scale.phases), default=1))


@functools.lru_cache(maxsize=1)
def _read(profile: str, data_root: str | None) -> Tracks:
    return read_tracks(SCALES[profile], data_root)
