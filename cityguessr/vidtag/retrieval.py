"""Which point of the gallery a frame is given: the largest cosine, found piece by piece."""

import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cityguessr.base.errors import InputError
from cityguessr.base.files import explain

CHUNK = 65536
"""Points that are compared at a time."""
_CANDIDATES = 4  # of each piece, compared again in double


class Stored:
    """Embeddings on the disk, (n, e) float32, read slice by slice; they are gone once nothing refers to this.

    The file has no name, so that nothing is left of it, whatever ends the process. A mapped file would be read as well,
    and count as memory that is in use: 4.1 GB for two million points.

    Args:
        folder: on a disk with room for them.
        pieces: (m, e) each, one at least.

    Raises InputError where there is no room.
    """

    def __init__(self, folder: Path, pieces: Iterable[Tensor]) -> None:
        rows = width = 0
        try:
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
            weakref.finalize(self, self._file.close)
            for piece in pieces:
                self._file.write(piece.cpu().numpy().astype("<f4").tobytes())
                rows, width = rows + len(piece), piece.shape[1]
            self._file.flush()
        except OSError as error:
            raise InputError(explain(folder, error)) from None
        self.shape = rows, width

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> NDArray[np.float32]:
        first, last, _ = rows.indices(len(self))
        count, width = max(0, last - first), self.shape[1]
        self._file.seek(first * width * 4)
        return np.fromfile(self._file, "<f4", count * width).reshape(count, width)


Embeddings = Tensor | Stored
"""Of a gallery, (n, e): in memory, or in a file on the disk."""


@torch.no_grad()
def embedded(encode: Callable[[Tensor], Tensor], gallery: NDArray, chunk: int = CHUNK) -> Iterator[Tensor]:
    """The embeddings of a gallery, in pieces of at most so many points: (m, e) each, float32.

    Args:
        encode: such as `VidTAG.places`. They hold for the weights that it has now, and for no later ones.
    """
    for first in range(0, len(gallery), chunk):
        yield encode(torch.from_numpy(gallery[first : first + chunk])).float()


def in_memory(encode: Callable[[Tensor], Tensor], gallery: NDArray, chunk: int = CHUNK) -> Tensor:
    """The embeddings of a gallery, (n, e) float32, on the device that encodes: 2 kB a point at 512 numbers."""
    return torch.cat(list(embedded(encode, gallery, chunk)))


def on_disk(folder: Path, encode: Callable[[Tensor], Tensor], gallery: NDArray, chunk: int = CHUNK) -> Stored:
    """The same in a file of the folder, for as long as it is used: two million points take 4.1 GB.

    Raises InputError where there is no room.
    """
    return Stored(folder, embedded(encode, gallery, chunk))


@torch.no_grad()
def nearest(queries: Tensor, gallery: Embeddings, chunk: int = CHUNK) -> tuple[Tensor, Tensor]:
    """The point of the gallery with the largest inner product, for each query; the first one in a tie.

    The few best of each piece are compared again in double, so that the size of a piece changes no answer.

    Args:
        queries: (n, e) embeddings. Of several views, give the mean of their embeddings as it is: its products are the
            means of theirs.
        gallery: (m, e), both of length 1.
        chunk: points at a time; memory grows with n times this.

    Returns indices (n,) and inner products (n,) in double. Raises InputError for a gallery without points.
    """
    if not len(gallery):
        raise InputError("the gallery is empty; build it from the training coordinates")
    best = torch.full((len(queries),), -torch.inf, dtype=torch.float64)
    index = torch.zeros(len(queries), dtype=torch.long)
    exact = queries.double().cpu()
    for first in range(0, len(gallery), chunk):
        piece = torch.as_tensor(gallery[first : first + chunk]).to(queries)
        found = (queries @ piece.mT).topk(min(_CANDIDATES, len(piece)), dim=1).indices.sort(dim=1).values
        scores = (piece[found].double().cpu() * exact[:, None]).sum(dim=2)  # (n, 4)
        at = scores.argmax(dim=1)  # the first of equal ones, and `found` is in the gallery's order
        top = scores.gather(1, at[:, None])[:, 0]
        better = top > best  # not where they are equal: the first piece had it
        best = torch.where(better, top, best)
        index = torch.where(better, first + found.cpu().gather(1, at[:, None])[:, 0], index)
    return index, best
