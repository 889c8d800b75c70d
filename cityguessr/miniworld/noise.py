"""Counter-based noise: every random number is a hash of what it is for, so the order of drawing changes nothing."""

import functools
import hashlib

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_MASK = 0xFFFFFFFF


def key(*parts: object) -> int:
    """A 32-bit number that names something: `key(seed, "city", "Paris")`."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "little")


def draw(seed: int, *what: object) -> float:
    """One uniform number in [0, 1) for a named use."""
    return key(seed, *what) / 2**32


def _mix(x: NDArray[np.int64]) -> NDArray[np.int64]:
    # Two rounds of a 32-bit multiply-xorshift hash, in int64 so that the products do not overflow. NumPy, because most
    # arrays here are of a few numbers, for which a tensor's every operation costs several times as much.
    for _ in range(2):
        x = (x >> 16) ^ x
        x *= 0x45D9F3B
        x &= _MASK
    return (x >> 16) ^ x


def uniform(seed: int, *counters: Tensor | int) -> Tensor:
    """Uniform float32 numbers in [0, 1), one for each (broadcast) tuple of whole-number counters."""
    x = np.array(seed & _MASK)
    for counter in counters:
        x = _mix(np.asarray((x + 0x9E3779B9 + np.asarray(counter, dtype=np.int64)) & _MASK))
    return torch.from_numpy(np.asarray((x >> 8).astype(np.float32) / np.float32(1 << 24)))


def normal(seed: int, count: int) -> Tensor:
    """`count` standard normal float32 numbers (Box-Muller on `uniform`)."""
    i = torch.arange(count)
    radius = torch.sqrt(-2 * torch.log1p(-uniform(seed, i, 0)))
    return radius * torch.cos(2 * torch.pi * uniform(seed, i, 1))


def smooth(seed: int, height: int, width: int, cells: tuple[int, int]) -> Tensor:
    """Value noise in [0, 1], (height, width), that repeats without a seam in both directions.

    cells: how many lattice cells stand in the image, (down, across).
    """
    rows, columns = cells
    lattice = uniform(seed, torch.arange(rows)[:, None], torch.arange(columns)[None]).numpy()
    y = np.arange(height, dtype=np.float32) * np.float32(rows) / np.float32(height)
    x = np.arange(width, dtype=np.float32) * np.float32(columns) / np.float32(width)
    y0, x0 = y.astype(np.int64), x.astype(np.int64)
    fy, fx = y - y0.astype(np.float32), x - x0.astype(np.float32)
    fy, fx = (fy * fy * (3 - 2 * fy))[:, None], (fx * fx * (3 - 2 * fx))[None]
    top = lattice[y0 % rows]
    bottom = lattice[(y0 + 1) % rows]
    band = top + (bottom - top) * fy
    left, right = band[:, x0 % columns], band[:, (x0 + 1) % columns]
    return torch.from_numpy(left + (right - left) * fx)


def fractal(seed: int, size: int, cells: int, octaves: int = 4) -> Tensor:
    """A sum of octaves of `smooth`, (size, size), in [0, 1], seamless; octaves finer than two texels are left out.

    Eight fields of each kind are made once; a seed picks one and where it begins.
    """
    return torch.roll(_field(seed % 8, size, cells, octaves), (seed // 8 % size, seed // 4096 % size), (0, 1))


@functools.lru_cache(maxsize=256)
def _field(seed: int, size: int, cells: int, octaves: int) -> Tensor:
    total, weight, amount = torch.zeros(size, size), 0.0, 1.0
    for octave in range(octaves):
        if octave and cells * 2 > size:
            break
        total += amount * smooth(seed + 100 * octave, size, size, (min(cells, size), min(cells, size)))
        weight += amount
        amount, cells = amount / 2, cells * 2
    return total / weight
