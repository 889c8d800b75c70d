"""Which point of the gallery a frame is given: the largest cosine, found piece by piece."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cityguessr.base.errors import InputError
from cityguessr.base.files import write_atomically

CHUNK = 65536
"""Points that are compared at a time."""
_CANDIDATES = 4  # of each piece, compared again in double


class Stored:
    """Embeddings in a NumPy file, (n, e) float32, read slice by slice.

    A mapped file would do the same and count as memory that is in use: 4.1 GB for two million points.

    Raises InputError for a file that holds anything else.
    """

    def __init__(self, path: Path) -> None:
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise InputError(f"{path}: no embeddings of a gallery ({error}); remove it, and run again") from None
        if array.ndim != 2 or array.dtype != np.dtype("<f4") or not array.flags.c_contiguous:
            raise InputError(f"{path}: {array.shape} {array.dtype}, no embeddings; remove it, and run again")
        self.path, self.shape, self.offset = path, array.shape, array.offset

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> NDArray[np.float32]:
        first, last, _ = rows.indices(len(self))
        count, width = max(0, last - first), self.shape[1]
        offset = self.offset + first * width * 4
        return np.fromfile(self.path, "<f4", count * width, offset=offset).reshape(count, width)


Embeddings = Tensor | Stored
"""Of a gallery, (n, e): in memory, or in a file on the disk."""


@torch.no_grad()
def embedded(encode: Callable[[Tensor], Tensor], gallery: NDArray, chunk: int = CHUNK) -> Iterator[Tensor]:
    """The embeddings of a gallery, in pieces of at most so many points: (m, e) each, float32.

    Args:
        encode: such as `VidTAG.places`. They hold for the weights that it has now, and for no later ones.
    """
    for first in range(0, len(gallery), chunk):
        yield encode(torch.from_numpy(gallery[first : first + chunk])).float().cpu()


def in_memory(encode: Callable[[Tensor], Tensor], gallery: NDArray, chunk: int = CHUNK) -> Tensor:
    """The embeddings of a gallery, (n, e) float32: 2 kB a point at 512 numbers."""
    return torch.cat(list(embedded(encode, gallery, chunk)))


def kept(path: Path, encode: Callable[[Tensor], Tensor], gallery: NDArray, chunk: int = CHUNK) -> Stored:
    """The same in a file, written once and whole; what is looked up is read from it piece by piece.

    Two million points take 4.1 GB, which few machines have to spare in memory.

    Raises InputError where there is no room, and for a file of another gallery.
    """
    if not path.exists():

        def write(file: BinaryIO) -> None:
            pieces = embedded(encode, gallery, chunk)
            first = next(pieces)
            header = {"descr": "<f4", "fortran_order": False, "shape": (len(gallery), first.shape[1])}
            np.lib.format.write_array_header_1_0(file, header)
            for piece in itertools.chain([first], pieces):
                file.write(piece.numpy().astype("<f4").tobytes())

        write_atomically(path, write)
    stored = Stored(path)
    if len(stored) != len(gallery):
        raise InputError(f"{path}: {stored.shape} numbers, for a gallery of {len(gallery)}; remove it, and run again")
    return stored


@torch.no_grad()
def nearest(queries: Tensor, gallery: Embeddings, chunk: int = CHUNK) -> tuple[Tensor, Tensor]:
    """The point of the gallery with the largest inner product, for each query; the first one in a tie.

    The few best of each piece are compared again in double, so that the size of a piece changes no answer.

    Args:
        queries: (n, e) embeddings. Of ten crops, give the mean of their embeddings as it is: its products are the
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


def groups_of_crops(embeddings: Tensor, crops: int) -> Tensor:
    """Embeddings of crops, frame by frame and all crops of a frame together: (frames * crops, e) -> (frames, e) means.

    Raises InputError where their number is no multiple of the number of crops.
    """
    if len(embeddings) % crops:
        raise InputError(f"{len(embeddings)} embeddings are no whole number of frames of {crops} crops")
    return embeddings.unflatten(0, (-1, crops)).mean(dim=1)
