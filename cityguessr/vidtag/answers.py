"""A trained system's answers: a point of the gallery for every frame, and the refined ones."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.ndimage import median_filter
from torch import Tensor

from cityguessr.base.errors import InputError
from cityguessr.measures.tracks import mean_place, unwrapped, wrapped
from cityguessr.vidtag import retrieval
from cityguessr.vidtag.model import VidTAG


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a system says of a video of T frames.

    Attributes:
        retrieved: (T, 2) degrees, phase I's.
        refined: (T, 2) degrees after GeoRefiner; None without one.
    """

    retrieved: NDArray[np.float64]
    refined: NDArray[np.float64] | None = None


class Gallery:
    """Coordinates with the embeddings that a system's weights give them now.

    Args:
        points: (n, 2) degrees.
    """

    def __init__(self, model: VidTAG, points: NDArray[np.float64], chunk: int = retrieval.CHUNK) -> None:
        self.points, self.chunk = points, chunk
        self.embeddings: retrieval.Embeddings = retrieval.in_memory(model.places, points, chunk)

    def nearest(self, queries: Tensor) -> NDArray[np.float64]:
        """(T, e) embeddings -> (T, 2) degrees."""
        index, _ = retrieval.nearest(queries, self.embeddings, self.chunk)
        return self.points[index.numpy()]


@torch.no_grad()
def answer(model: VidTAG, features: Tensor, gallery: Gallery) -> Answer:
    """Coordinates of every frame of one video (section 4 of the paper, inference).

    Args:
        features: (T, V, d); of several views a frame their embeddings are averaged, as their cosines would be.
    """
    model.eval()
    device = next(model.parameters()).device
    views = model.frames(features.transpose(0, 1).to(device).float())  # (V, T, e)
    frames = views.mean(dim=0)
    retrieved = gallery.nearest(frames.cpu())
    if model.refiner is None:
        return Answer(retrieved)
    places = torch.from_numpy(retrieved).to(device).unsqueeze(0)
    refined = model.refined(places, F.normalize(frames, dim=-1).unsqueeze(0))[0]
    return Answer(retrieved, gallery.nearest(refined.cpu()))


def smoothed(track: NDArray[np.float64], window: int = 5) -> NDArray[np.float64]:
    """A median filter over a track, (T, 2) -> (T, 2) degrees: the baseline that GeoRefiner has to beat.

    Each axis by itself, longitudes unwrapped first; beyond its ends the track stays where it is.

    Raises InputError for a window that is not odd.
    """
    if window < 1 or window % 2 == 0:
        raise InputError(f"a median filter of {window} frames has no middle; give an odd number")
    lat, lon = track[:, 0], unwrapped(track[:, 1])
    size = min(window, len(track) - (len(track) + 1) % 2)  # no longer than the track
    lat, lon = median_filter(lat, size, mode="nearest"), median_filter(lon, size, mode="nearest")
    return np.stack([lat, wrapped(lon)], axis=1)


def centres(tracks: Sequence[NDArray[np.float64]], regions: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Region -> the mean of its training coordinates, (2,) degrees: a floor that looks at no picture."""
    return {
        region: mean_place(np.concatenate([t for t, r in zip(tracks, regions, strict=True) if r == region]))
        for region in dict.fromkeys(regions)
    }
