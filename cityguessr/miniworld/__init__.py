"""MiniWorld: a procedural world of street videos on the real tree of 166 cities, the data set that is always there.

Example:
    >>> world = MiniWorld(MiniWorldConfig.mini())
    >>> frames = world.render(world.videos[0], 270, 480)  # uint8 (T, 270, 480, 3)
    >>> write_cityguessr68k(world, "data/world")  # H.264 videos, and the release compiled from them
    >>> write_mapillary(MapillaryConfig.mini(), "data/world-mapillary")  # a Mapillary tree of the same cities
    >>> write_tracks(TrackConfig.mini(), "data/world-tracks")  # sequences that say where in a city they were taken
    >>> write_prepared(world, "data/prepared/world", ClipFormat(8, 64))  # what training reads, without any video
"""

from cityguessr.miniworld.plan import Clip, VideoPlan
from cityguessr.miniworld.world import MiniWorld, MiniWorldConfig
from cityguessr.miniworld.write.cityguessr68k import write_cityguessr68k
from cityguessr.miniworld.write.mapillary import write_mapillary
from cityguessr.miniworld.write.prepared import taken_prepared, write_prepared
from cityguessr.miniworld.write.sequences import MapillaryConfig, MapillaryWorld
from cityguessr.miniworld.write.track_world import TrackConfig, TrackWorld
from cityguessr.miniworld.write.tracks import write_tracks

__all__ = [
    "Clip",
    "MapillaryConfig",
    "MapillaryWorld",
    "MiniWorld",
    "MiniWorldConfig",
    "TrackConfig",
    "TrackWorld",
    "VideoPlan",
    "taken_prepared",
    "write_cityguessr68k",
    "write_mapillary",
    "write_prepared",
    "write_tracks",
]
