"""Where a camera was at a time, between the fixes of a GPS receiver."""

import numpy as np
from numpy.typing import NDArray

from cityguessr.measures.tracks import unwrapped, wrapped

Array = NDArray[np.float64]


def interpolate(at: Array, times: Array, latlon: Array, longest_gap: float = np.inf) -> Array:
    """Positions at some times, linear in latitude and longitude between the two fixes around each.

    The way over the date line is the short one. Fixes a second apart are tens of metres apart, where degrees are as
    good as great circles anywhere but at the poles.

    Args:
        at: (T,) times.
        times: (n,) of the fixes, rising, n at least 1.
        latlon: (n, 2) degrees.
        longest_gap: two fixes further apart in time say nothing of what lies between them.

    Returns (T, 2) degrees, longitudes in [-180, 180); NaN before the first fix, after the last, and in such a gap.
    """
    right = np.clip(np.searchsorted(times, at, side="left"), 0, len(times) - 1)
    left = np.where(times[right] == at, right, np.maximum(right - 1, 0))
    known = (at >= times[0]) & (at <= times[-1]) & (times[right] - times[left] <= longest_gap)
    lat = np.interp(at, times, latlon[:, 0])
    lon = wrapped(np.interp(at, times, unwrapped(latlon[:, 1])))
    return np.where(known[:, None], np.stack([lat, lon], axis=1), np.nan)
