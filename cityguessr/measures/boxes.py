"""Boxes of latitude and longitude, in degrees: the regions over which a gallery of coordinates is laid."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cityguessr.base.errors import InputError
from cityguessr.measures.sphere import as_places, great_circle_km


@dataclasses.dataclass(frozen=True)
class Box:
    """A region between two parallels and two meridians.

    Attributes:
        south, north: latitudes.
        west, east: longitudes; east is at least west, and above 180 where the box crosses the date line.
    """

    south: float
    west: float
    north: float
    east: float

    def contains(self, latlon: NDArray[np.float64]) -> NDArray[np.bool_]:
        """(T, 2) degrees -> bool (T,), edges included; for a box that does not cross the date line."""
        lat, lon = latlon[:, 0], latlon[:, 1]
        return (lat >= self.south) & (lat <= self.north) & (lon >= self.west) & (lon <= self.east)

    def distance_km(self, place: NDArray[np.float64]) -> float:
        """From a place (2,) to the nearest point of the box by its degrees; 0 inside. As `contains`."""
        inside = np.clip(place, (self.south, self.west), (self.north, self.east))
        return float(great_circle_km(place, inside))

    def padded(self, degrees: float) -> Box:
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


def around(latlon: ArrayLike) -> Box:
    """The smallest box around places (n, 2), over the date line where that is shorter. Raises InputError for none."""
    places = as_places(latlon)
    if not len(places):
        raise InputError("a region without coordinates has no box; leave it out of the gallery")
    lons = np.unique((places[:, 1] + 180) % 360 - 180)
    gaps = np.diff(np.append(lons, lons[0] + 360))
    widest = int(gaps.argmax())  # the box is everything but the widest gap
    west = float(lons[(widest + 1) % len(lons)])
    return Box(float(places[:, 0].min()), west, float(places[:, 0].max()), west + 360 - float(gaps[widest]))
