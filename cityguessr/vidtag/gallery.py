"""The gallery: the coordinates that a frame can be given, a grid over each region of the training coordinates.

No picture is in it, and no coordinate of validation has a say in it ("blind" retrieval).
"""

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cityguessr.base.errors import InputError
from cityguessr.measures.sphere import as_places, great_circle_km

GAMA_BOXES = {
    "california": ((36.5, -122.78), (39.0, -121.0)),
    "new york": ((39.0, -75.0), (43.0, -70.0)),
    "israel north": ((31.06, 34.56), (33.03, 35.52)),
    "israel south": ((29.54, 34.93), (29.59, 34.98)),
}
"""Region of GAMa -> its corners in the south-west and north-east, degrees; with 0.5 km the paper's gallery."""


@dataclasses.dataclass(frozen=True)
class Box:
    """A region between two parallels and two meridians, in degrees.

    Attributes:
        south, north: latitudes.
        west, east: longitudes; east is at least west, and above 180 where the box crosses the date line.
    """

    south: float
    west: float
    north: float
    east: float

    def padded(self, degrees: float) -> "Box":
        """The box with a margin all around; no further than the poles."""
        south, north = max(-90.0, self.south - degrees), min(90.0, self.north + degrees)
        return Box(south, self.west - degrees, north, self.east + degrees)

    @property
    def size_km(self) -> tuple[float, float]:
        """From south to north, and from west to east along the southern edge."""
        height = great_circle_km((self.south, self.west), (self.north, self.west))
        # A great circle is shorter than the parallel, for a region by next to nothing; half the Earth would fold.
        half = great_circle_km((self.south, self.west), (self.south, (self.west + self.east) / 2))
        return float(height), float(2 * half)


def box(latlon: ArrayLike) -> Box:
    """The smallest box around places (n, 2), over the date line where that is shorter. Raises InputError for none."""
    places = as_places(latlon)
    if not len(places):
        raise InputError("a region without coordinates has no box; leave it out of the gallery")
    lons = np.unique((places[:, 1] + 180) % 360 - 180)
    gaps = np.diff(np.append(lons, lons[0] + 360))
    widest = int(gaps.argmax())  # the box is everything but the widest gap
    west = float(lons[(widest + 1) % len(lons)])
    return Box(float(places[:, 0].min()), west, float(places[:, 0].max()), west + 360 - float(gaps[widest]))


def grid(region: Box, resolution_km: float, centres: bool = False) -> NDArray[np.float64]:
    """Points of a region, row by row from the south-west: (n, 2) degrees.

    The region is cut into the most rows and columns that are not narrower than the resolution, one at least, columns
    as measured on its southern edge; each region has steps of its own.

    Args:
        centres: the middle of each cell, in place of its south-western corner, as published.

    Raises InputError for a resolution that is not positive.
    """
    if not resolution_km > 0:
        raise InputError(f"resolution_km={resolution_km}: give a positive number of km")
    height, width = region.size_km
    rows, columns = (max(1, int(size / resolution_km)) for size in (height, width))
    offset = 0.5 if centres else 0.0
    lats = region.south + (np.arange(rows) + offset) * (region.north - region.south) / rows
    lons = region.west + (np.arange(columns) + offset) * (region.east - region.west) / columns
    points = np.stack(np.meshgrid(lats, lons, indexing="ij"), axis=-1).reshape(-1, 2)
    points[:, 1] = (points[:, 1] + 180) % 360 - 180
    return points


def build(
    training: Mapping[str, ArrayLike], resolution_km: float = 0.1, pad: float = 0.005, centres: bool = False
) -> NDArray[np.float64]:
    """The gallery of several regions: a grid over the box of each, with a margin.

    Args:
        training: region -> its training coordinates, (n, 2) degrees.
        resolution_km, pad: 0.1 km and 0.005 degrees for Mapillary.

    Returns (n, 2) degrees, every point once. Raises InputError for a region without coordinates.
    """
    return distinct([grid(box(places).padded(pad), resolution_km, centres) for places in training.values()])


def of_boxes(boxes: Mapping[str, tuple[tuple[float, float], tuple[float, float]]], resolution_km: float) -> NDArray:
    """The gallery of fixed boxes, as published for GAMa: (n, 2) degrees. Nothing outside them can be answered."""
    corners = [(*south_west, *north_east) for south_west, north_east in boxes.values()]
    return distinct([grid(Box(*corner), resolution_km) for corner in corners])


def distinct(grids: Iterable[NDArray]) -> NDArray[np.float64]:
    """All points of several grids, each once, at its first place: a point that came twice would be a tie."""
    points = np.concatenate(list(grids))
    return points[np.sort(np.unique(points, axis=0, return_index=True)[1])]


def ceiling_km(latlon: ArrayLike, gallery: NDArray, chunk: int = 65536) -> NDArray[np.float64]:
    """How far each place is from the nearest point of a gallery: (n, 2) degrees -> (n,) km.

    No system that answers with points of this gallery can be nearer; it belongs beside every table.
    """
    from scipy.spatial import cKDTree

    tree = cKDTree(_unit(gallery))
    nearest = [tree.query(_unit(part))[1] for part in np.array_split(as_places(latlon), max(1, len(latlon) // chunk))]
    return great_circle_km(latlon, gallery[np.concatenate(nearest)])


def _unit(latlon: ArrayLike) -> NDArray:
    lat, lon = np.radians(np.asarray(latlon, dtype=float)).T
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)
