"""What GeoRefiner learns to undo: true tracks, jittered, shifted and now and then collapsed to one point."""

import torch
from torch import Tensor

from cityguessr.vidtag.location import wrapped

JITTER = (0.001, 0.02)
"""Degrees that a frame is moved by, either way, on each axis by itself: 0.1 to 2.2 km."""
SHIFT = 0.2
"""Degrees at most that a whole track is moved by, on each axis by itself: up to 22 km."""
COLLAPSE = 0.1
"""Share of tracks that become one of their own points."""


def noised(latlon: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """True tracks with the published noise: (B, T, 2) degrees -> (B, T, 2).

    Noise is in degrees, as published: at 60 degrees north the same number is half as many km to the east as to the
    north. A track collapses after it was moved, to one of its moved points. Latitudes stay within 90 degrees, and
    longitudes in [-180, 180).
    """
    options = {"generator": generator, "dtype": latlon.dtype, "device": latlon.device}
    videos, frames = latlon.shape[:2]
    size = torch.rand(latlon.shape, **options) * (JITTER[1] - JITTER[0]) + JITTER[0]
    sign = torch.where(torch.rand(latlon.shape, **options) < 0.5, -1.0, 1.0).to(latlon)
    shift = (2 * torch.rand(videos, 1, 2, **options) - 1) * SHIFT
    moved = latlon + size * sign + shift
    chosen = (torch.rand(videos, **options) * frames).long().clamp(max=frames - 1)
    one = moved[torch.arange(videos, device=latlon.device), chosen].unsqueeze(1)
    collapsed = torch.rand(videos, 1, 1, **options) < COLLAPSE
    moved = torch.where(collapsed, one, moved)
    return wrapped(torch.stack([moved[..., 0].clamp(-90, 90), moved[..., 1]], dim=-1))
