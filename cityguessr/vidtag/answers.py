"""A trained system's answers: a point of the gallery for every frame, and the refined ones."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.ndimage import median_filter
from torch import Tensor

from cityguessr.base import paths
from cityguessr.base.errors import InputError
from cityguessr.base.files import make_folder
from cityguessr.measures.tracks import mean_place, unwrapped, wrapped
from cityguessr.vidtag import retrieval
from cityguessr.vidtag.model import VidTAG

LARGE = 200_000
"""Points of a gallery beyond which their embeddings, 0.4 GB at 512 numbers, are kept on the disk, but for a GPU that
has room for them."""
TOGETHER = {"cpu": 1024, "cuda": 8192}
"""Frames that are looked up together: a large gallery is read once for all of them, and not once for each video."""


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
    """Coordinates with the embeddings that a system's weights give them now, and give to no later ones.

    More than `LARGE` of them are embedded once to a file in the data folder, which is gone after its use.

    Args:
        points: (n, 2) degrees.
    """

    def __init__(self, model: VidTAG, points: NDArray[np.float64], chunk: int = retrieval.CHUNK) -> None:
        self.points, self.chunk, self.model = points, chunk, model
        self._weights = _state(model)
        device = next(model.parameters()).device

        def encode(latlon: Tensor) -> Tensor:
            return model.places(latlon.to(device))

        self.embeddings: retrieval.Embeddings
        if len(points) > LARGE and not _fits(model, len(points)):
            self.embeddings = retrieval.on_disk(make_folder(paths.data()), encode, points, chunk)
        else:
            self.embeddings = retrieval.in_memory(encode, points, chunk)

    def nearest(self, queries: Tensor) -> NDArray[np.float64]:
        """(T, e) embeddings -> (T, 2) degrees. Raises InputError where the system was trained on meanwhile."""
        if _state(self.model) != self._weights:
            raise InputError("the system's weights changed since this gallery was embedded; make a new one")
        index, _ = retrieval.nearest(queries, self.embeddings, self.chunk)
        return self.points[index.numpy()]


def answer(model: VidTAG, features: Tensor, gallery: Gallery) -> Answer:
    """Coordinates of every frame of one video (section 4 of the paper, inference).

    Args:
        features: (T, V, d), of V views per frame. What is retrieved is the point with the largest mean of their
            cosines. GeoRefiner is given the mean of their embeddings, brought to length 1.
    """
    return next(answer_all(model, [features], gallery))


def _fits(model: VidTAG, points: int) -> bool:
    """Whether the embeddings of so many points take no more than half of what is free on the system's GPU."""
    device = next(model.parameters()).device
    if device.type != "cuda":
        return False
    return 4 * points * model.config.width < torch.cuda.mem_get_info(device)[0] / 2


def _state(model: VidTAG) -> tuple[int, ...]:
    """What changes whenever a weight of the location encoder does."""
    return tuple(tensor._version for tensor in (*model.location.parameters(), *model.location.buffers()))


@torch.no_grad()
def answer_all(model: VidTAG, videos: Iterable[Tensor], gallery: Gallery) -> Iterator[Answer]:
    """What `answer` gives for each of many videos; `TOGETHER` frames and more go through the gallery at a time.

    Args:
        videos: (T, V, d) features each.
    """
    model.eval()
    device = next(model.parameters()).device
    waiting: list[Tensor] = []  # frames' embeddings, (T, e) each
    for features in videos:
        views = model.frames(features.transpose(0, 1).to(device).float())  # (V, T, e), of length 1
        # A product with this mean is the mean of the views' cosines, so it is not brought to length 1 here.
        waiting.append(views.mean(dim=0))
        if sum(map(len, waiting)) >= TOGETHER.get(device.type, TOGETHER["cpu"]):
            yield from _looked_up(model, waiting, gallery)
            waiting = []
    yield from _looked_up(model, waiting, gallery)


def _looked_up(model: VidTAG, videos: Sequence[Tensor], gallery: Gallery) -> list[Answer]:
    """The answers of some videos, from their frames' embeddings (T, e) each."""
    retrieved = _nearest(videos, gallery)
    if model.refiner is None:
        return [Answer(track) for track in retrieved]
    refined = [
        model.refined(torch.from_numpy(track).to(frames.device)[None], F.normalize(frames, dim=-1)[None])[0]
        for track, frames in zip(retrieved, videos, strict=True)
    ]
    return list(map(Answer, retrieved, _nearest(refined, gallery)))


def _nearest(videos: Sequence[Tensor], gallery: Gallery) -> list[NDArray[np.float64]]:
    """One look through the gallery for the embeddings (T, e) of several videos: (T, 2) degrees each."""
    if not videos:
        return []
    found = gallery.nearest(torch.cat(list(videos)))
    return np.split(found, np.cumsum([len(frames) for frames in videos])[:-1])


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
