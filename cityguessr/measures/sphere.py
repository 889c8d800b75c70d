"""Distances, arcs and densities on the sphere: plain functions of latitude and longitude in degrees.

Places are (n, 2) arrays of latitude and longitude; distances are along great circles of a sphere of 6371.0088 km.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cityguessr.base.errors import InputError

EARTH_RADIUS_KM = 6371.0088  # mean radius, IUGG
KM_PER_DEGREE = 111.32  # along the equator (WGS 84), and nearly so along a meridian


class Density(NamedTuple):
    """Samples per 1000 km2 on a grid of the whole sphere.

    Attributes:
        lat: (n,) latitudes of cell centres, south to north, in degrees.
        lon: (m,) longitudes of cell centres, from -180 eastwards, in degrees.
        values: (n, m) samples per 1000 km2.
    """

    lat: NDArray
    lon: NDArray
    values: NDArray

    @property
    def areas(self) -> NDArray:
        """(n,) the exact area of a cell at each latitude, in km2."""
        half = np.radians(self.lat[1] - self.lat[0]) / 2
        lat, width = np.radians(self.lat), np.radians(self.lon[1] - self.lon[0])
        return EARTH_RADIUS_KM**2 * width * (np.sin(lat + half) - np.sin(lat - half))

    def integral(self) -> float:
        """The samples on the whole sphere: density times the cells' areas."""
        return float((self.values * self.areas[:, None]).sum() / 1000)


def great_circle_km(a: ArrayLike, b: ArrayLike) -> NDArray:
    """Distance between places (haversine): (..., 2) and (..., 2) degrees, broadcast together -> (...) km."""
    a, b = np.radians(np.asarray(a, dtype=float)), np.radians(np.asarray(b, dtype=float))
    lat, lon = (b - a)[..., 0], (b - a)[..., 1]
    h = np.sin(lat / 2) ** 2 + np.cos(a[..., 0]) * np.cos(b[..., 0]) * np.sin(lon / 2) ** 2
    return 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.clip(h, 0, 1)))


def kernel_density(
    latlon: ArrayLike, weights: ArrayLike | None = None, radius_km: float = 300, step_deg: float | None = None
) -> Density:
    """ClassCounts samples over the sphere as soft blobs of one size in km everywhere.

    Each sample becomes a von Mises-Fisher density, the sphere's Gaussian, whose concentration (R / radius)^2 makes it
    fall to exp(-1/2) of its peak at `radius_km`. The integral over the sphere is the sum of the weights, across the
    date line and the poles too.

    Args:
        latlon: (n, 2) degrees.
        weights: (n,) samples at each place; one each when left out.
        radius_km: standard deviation of a blob, at least 25.
        step_deg: the grid's step, a whole part of 180; when left out, the coarsest that resolves the blobs, up to 1.

    Returns the density on a grid. Raises InputError for coordinates or weights that do not fit, and for a step that
    cannot resolve the radius.
    """
    points, weights = as_places(latlon), as_weights(weights, latlon)
    if not 25 <= radius_km <= EARTH_RADIUS_KM:
        raise InputError(f"radius_km={radius_km}: blobs have a radius of 25 to 6371 km")
    sigma = np.degrees(radius_km / EARTH_RADIUS_KM)  # a standard deviation, in degrees
    if step_deg is None:
        step_deg = 180 / np.ceil(180 / min(1.0, sigma / 2.5))  # fine enough for a blob on a pole to keep its weight
    if not 0 < step_deg <= sigma / 0.7 or abs(180 / step_deg - round(180 / step_deg)) > 1e-9:
        raise InputError(
            f"step_deg={step_deg}: a radius of {radius_km} km needs a step that divides 180 and is at most "
            f"{sigma / 0.7:.2f} degrees"
        )
    rows = round(180 / step_deg)
    lat = -90 + (np.arange(rows) + 0.5) * step_deg
    lon = -180 + (np.arange(2 * rows) + 0.5) * step_deg
    places, inverse = np.unique(points, axis=0, return_inverse=True)  # many samples stand at one city's centre
    totals = np.bincount(inverse.ravel(), weights, len(places))
    concentration = (EARTH_RADIUS_KM / radius_km) ** 2
    peak = concentration / (2 * np.pi * -np.expm1(-2 * concentration)) / EARTH_RADIUS_KM**2 * 1000
    values = np.zeros((rows, 2 * rows))
    reach = np.degrees(6 * radius_km / EARTH_RADIUS_KM)  # beyond six standard deviations a blob is 1.5e-8 of its peak
    centres = unit_vectors(np.stack(np.meshgrid(lat, lon, indexing="ij"), axis=-1))  # (n, m, 3)
    for place, unit, total in zip(places, unit_vectors(places), totals, strict=True):
        band = np.abs(lat - place[0]) <= reach
        values[band] += total * peak * np.exp(concentration * (centres[band] @ unit - 1))
    return Density(lat, lon, values)


def as_places(latlon: ArrayLike) -> NDArray:
    """Places as a float array (n, 2). Raises InputError where they are no latitude and longitude in degrees."""
    array = np.asarray(latlon, dtype=float)
    if array.ndim != 2 or array.shape[1] != 2:
        raise InputError(f"places are an (n, 2) array of latitude and longitude in degrees; got shape {array.shape}")
    wrong = ~((np.abs(array[:, 0]) <= 90) & (np.abs(array[:, 1]) <= 360))
    if wrong.any():
        i = int(np.flatnonzero(wrong)[0])
        raise InputError(f"place {i}: {array[i].tolist()} is no latitude and longitude in degrees; remove or fix it")
    return array


def as_weights(weights: ArrayLike | None, latlon: ArrayLike) -> NDArray:
    """Weights of places as a float array (n,), all 1 where none are given. Raises InputError for any other numbers."""
    n = len(np.asarray(latlon))
    array = np.ones(n) if weights is None else np.asarray(weights, dtype=float)
    if array.shape != (n,) or not np.isfinite(array).all() or (array < 0).any():
        raise InputError(f"weights are {n} finite numbers of at least 0, one per place; got shape {array.shape}")
    return array


def unit_vectors(latlon: NDArray) -> NDArray:
    """(..., 2) degrees -> (..., 3) unit vectors."""
    lat, lon = np.radians(latlon[..., 0]), np.radians(latlon[..., 1])
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def great_circle_arcs(start: NDArray, end: NDArray, steps: int = 65, bend: float = 0.0) -> NDArray:
    """Points along great circles: (n, 2) and (n, 2) degrees -> (n, steps, 2) degrees.

    With `bend` an arc bulges to the right of its direction, at its middle by that share of its length, so that the
    two arcs between the same places do not cover each other.
    """
    a, b = unit_vectors(start)[:, None], unit_vectors(end)[:, None]
    angle = (great_circle_km(start, end) / EARTH_RADIUS_KM)[:, None, None]
    t = np.linspace(0, 1, steps)[None, :, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        unit = (np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / np.sin(angle)
    unit = np.where(np.sin(angle) < 1e-9, a, unit)
    if bend:
        across = np.cross(b, a)
        across /= np.maximum(np.linalg.norm(across, axis=-1, keepdims=True), 1e-12)
        aside = bend * angle * np.sin(np.pi * t)
        unit = np.cos(aside) * unit + np.sin(aside) * across
    lat = np.degrees(np.arcsin(np.clip(unit[..., 2], -1, 1)))
    return np.stack([lat, np.degrees(np.arctan2(unit[..., 1], unit[..., 0]))], axis=-1)


def interpolate(grid: Density, latlon: NDArray) -> NDArray:
    """Bilinear values of a density at (..., 2) degrees, across the date line; NaN where the place is not finite."""
    step = grid.lat[1] - grid.lat[0]
    inside = np.isfinite(latlon).all(axis=-1)
    safe = np.where(inside[..., None], latlon, 0)
    row = np.clip((safe[..., 0] - grid.lat[0]) / step, 0, len(grid.lat) - 1.000001)
    column = (safe[..., 1] - grid.lon[0]) / step % len(grid.lon)
    r, c = row.astype(int), column.astype(int) % len(grid.lon)
    right = (c + 1) % len(grid.lon)
    up, east = row - r, column % 1  # the place's position within its cell, from 0 to 1
    values = grid.values
    south = values[r, c] * (1 - east) + values[r, right] * east
    north = values[r + 1, c] * (1 - east) + values[r + 1, right] * east
    return np.where(inside, south * (1 - up) + north * up, np.nan)
