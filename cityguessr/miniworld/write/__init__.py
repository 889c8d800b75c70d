"""MiniWorld on disk: H.264 videos and the two layouts of the real data sets, or prepared clips at once."""

from cityguessr.miniworld.write.cityguessr68k import write_cityguessr68k
from cityguessr.miniworld.write.mapillary import write_mapillary
from cityguessr.miniworld.write.prepared import taken_prepared, write_prepared
from cityguessr.miniworld.write.tracks import write_tracks

__all__ = ["taken_prepared", "write_cityguessr68k", "write_mapillary", "write_prepared", "write_tracks"]
