"""MiniWorld: a procedural world of street videos on the real tree of 166 cities, the data set that is always there.

world = MiniWorld(MiniWorldConfig.mini())
frames = world.render(world.videos[0], 270, 480)      # uint8 (T, 270, 480, 3)
write(world, paths.data() / "miniworld")              # H.264 videos, and the release compiled from them
write_mapillary(MapillaryConfig.mini(), paths.data() / "miniworld-mapillary")     # an MSLS tree of the same cities
"""

from cityguessr.data.miniworld.mapillary import write_mapillary
from cityguessr.data.miniworld.plan import Clip, VideoPlan
from cityguessr.data.miniworld.sequences import MapillaryConfig, MapillaryWorld
from cityguessr.data.miniworld.world import MiniWorld, MiniWorldConfig
from cityguessr.data.miniworld.write import write

__all__ = [
    "Clip",
    "MapillaryConfig",
    "MapillaryWorld",
    "MiniWorld",
    "MiniWorldConfig",
    "VideoPlan",
    "write",
    "write_mapillary",
]
