"""Tracks, frames with a coordinate each, read from MSLS, GAMa and CityGuessr68k (VidTAG, CVPR 2026).

`read_msls`, `read_gama` and `read_cityguessr68k` each give `Tracks`; `read_frames` gives the pixels of one `Track`,
and `read_shaped` the same with nothing squashed.
"""

from cityguessr.tracks.cityguessr68k import read_cityguessr68k
from cityguessr.tracks.gama import read_gama
from cityguessr.tracks.msls import read_msls
from cityguessr.tracks.track import Track, Tracks, read_frames, read_shaped

__all__ = ["Track", "Tracks", "read_cityguessr68k", "read_frames", "read_gama", "read_msls", "read_shaped"]
