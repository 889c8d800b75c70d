"""The gallery: the coordinates that a frame can be given, a grid over each region of the training coordinates.

No picture is in it, and no coordinate of validation has a say in it ("blind" retrieval).
"""

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cityguessr.base.errors import InputError
from cityguessr.measures.boxes import Box, around
from cityguessr.measures.sphere import as_places, great_circle_km, unit_vectors


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
    return distinct([grid(around(places).padded(pad), resolution_km, centres) for places in training.values()])


def of_boxes(boxes: Iterable[Box], resolution_km: float) -> NDArray:
    """The gallery of fixed boxes, as published for GAMa: (n, 2) degrees. Nothing outside them can be answered."""
    return distinct([grid(box, resolution_km) for box in boxes])


def distinct(grids: Iterable[NDArray]) -> NDArray[np.float64]:
    """All points of several grids, each once, at its first place: a point that came twice would be a tie."""
    points = np.concatenate(list(grids))
    return points[np.sort(np.unique(points, axis=0, return_index=True)[1])]


def ceiling_km(latlon: ArrayLike, gallery: NDArray) -> NDArray[np.float64]:
    """How far each place is from the nearest point of a gallery: (n, 2) degrees -> (n,) km.

    No system that answers with points of this gallery can be nearer; it belongs beside every table.
    """
    return great_circle_km(latlon, nearest_points(latlon, gallery))


def nearest_points(latlon: ArrayLike, gallery: NDArray, chunk: int = 65536) -> NDArray[np.float64]:
    """The point of a gallery that is nearest to each place: (n, 2) degrees -> (n, 2) degrees."""
    from scipy.spatial import cKDTree

    tree = cKDTree(unit_vectors(gallery))
    nearest = [
        tree.query(unit_vectors(part))[1] for part in np.array_split(as_places(latlon), max(1, len(latlon) // chunk))
    ]
    return gallery[np.concatenate(nearest)]
