"""The losses of both phases, as pure functions, and the queue of coordinates that GeoCLIP's has."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cityguessr.measures.sphere import EARTH_RADIUS_KM
from cityguessr.vidtag.config import Triangles


def distance_km(a: Tensor, b: Tensor) -> Tensor:
    """Great-circle distances of every pair: (n, 2) and (m, 2) degrees -> (n, m) km, in double."""
    a, b = torch.deg2rad(a.double())[:, None], torch.deg2rad(b.double())[None]
    half = ((b - a) / 2).sin() ** 2
    h = half[..., 0] + a[..., 0].cos() * b[..., 0].cos() * half[..., 1]
    return 2 * EARTH_RADIUS_KM * h.clamp(0, 1).sqrt().asin()


def contrastive(
    frames: Tensor, places: Tensor, scale: Tensor | float, hidden: Tensor | None = None, symmetric: bool = False
) -> Tensor:
    """Eq. 1: each frame finds its own coordinate among those of the batch (and of a queue); a scalar.

    Args:
        frames: (N, e) of length 1.
        places: (M, e) of length 1; the first N are those of the frames, in order, and the rest further negatives.
        scale: the factor on cosines, exp(logit_scale).
        hidden: bool (N, M), pairs that are no negatives because they are nearly the same place; a frame's own
            coordinate is never hidden.
        symmetric: whether the N coordinates look for their frames as well, with equal weight.
    """
    logits = scale * frames @ places.mT
    own = torch.arange(len(frames), device=logits.device)
    if hidden is not None:
        others = torch.arange(logits.shape[1], device=own.device) != own[:, None]
        logits = logits.masked_fill(hidden & others, -torch.inf)
    loss = F.cross_entropy(logits, own)
    if symmetric:
        loss = (loss + F.cross_entropy(logits[:, : len(frames)].mT, own)) / 2
    return loss


def near(latlon: Tensor, others: Tensor, km: float | None) -> Tensor | None:
    """Which pairs of places are at most so many km apart: (N, 2) and (M, 2) degrees -> bool (N, M); None for None."""
    return None if km is None else distance_km(latlon, others) <= km


def mean_coordinate(latlon: Tensor) -> Tensor:
    """The mean of a track's coordinates: (B, T, 2) degrees -> (B, 2); right over the date line, too."""
    lat, lon = latlon.double().unbind(-1)
    east = (lon - lon[:, :1] + 180) % 360 - 180  # of the first frame
    mean = torch.stack([lat.mean(1), lon[:, 0] + east.mean(1)], dim=-1)
    return torch.stack([mean[:, 0], (mean[:, 1] + 180) % 360 - 180], dim=-1).to(latlon.dtype)


def alignment(similarity: Tensor, alpha: float, beta: float, triangles: Triangles = "zeros") -> Tensor:
    """How far an (N, N) matrix of cosines is from the identity: unequal pairs weighted by alpha, equal ones by beta.

    With M = (similarity - I)^2: alpha (mean of the upper + mean of the lower triangle) + beta (mean of the diagonal).
    It is called a hinge loss and has no margin.

    Args:
        triangles: "zeros", the authors' code: a mean over all N^2 entries of a triangle with its diagonal and zeros
            elsewhere; "strict": over the N (N - 1) / 2 entries of the triangle without its diagonal.
    """
    error = (similarity - torch.eye(len(similarity), device=similarity.device, dtype=similarity.dtype)) ** 2
    if triangles == "zeros":
        sides = error.triu().mean() + error.tril().mean()
    else:
        pairs = max(1, len(error) * (len(error) - 1) // 2)
        sides = (error.triu(1).sum() + error.tril(-1).sum()) / pairs
    return alpha * sides + beta * error.diagonal().mean()


def refinement(refined: Tensor, true: Tensor, alpha: float, beta: float, triangles: Triangles = "zeros") -> Tensor:
    """The loss of phase II: refined embeddings against those of the true coordinates, of frames and of videos.

    Args:
        refined, true: (B, T, e) of length 1.
        alpha, beta, triangles: see `alignment`.

    A video's embedding is the mean of its frames', not brought to length 1, as in the authors' code.
    """
    frames = alignment(refined.flatten(0, 1) @ true.flatten(0, 1).mT, alpha, beta, triangles)
    videos = alignment(refined.mean(1) @ true.mean(1).mT, alpha, beta, triangles)
    return frames + videos


class CoordinateQueue(nn.Module):
    """The last coordinates of earlier batches, further negatives of the next (GeoCLIP; the authors' phase I).

    They are kept as coordinates and embedded anew each time. It starts empty, where GeoCLIP's starts with thousands of
    points within one degree of (0, 0). State is in buffers, so that a resumed training goes on with it.
    """

    coordinates: Tensor
    filled: Tensor
    pointer: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("coordinates", torch.zeros(size, 2, dtype=torch.float64))
        self.register_buffer("filled", torch.tensor(0))
        self.register_buffer("pointer", torch.tensor(0))

    def get(self) -> Tensor:
        """The coordinates that there are, (at most size, 2) degrees."""
        return self.coordinates[: int(self.filled)]

    def put(self, latlon: Tensor) -> None:
        """Take in a batch (n, 2) of any size, in place of the oldest."""
        size = len(self.coordinates)
        if not size:
            return
        latlon = latlon.detach().to(self.coordinates)
        at = (int(self.pointer) + torch.arange(len(latlon), device=latlon.device)) % size
        self.coordinates[at[-size:]] = latlon[-size:]
        self.pointer.fill_((int(self.pointer) + len(latlon)) % size)
        self.filled.fill_(min(size, int(self.filled) + len(latlon)))
