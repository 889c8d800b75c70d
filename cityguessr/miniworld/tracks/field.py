"""Smooth random functions of a place: what changes gradually over the plane of a city.

Each is a sum of random waves (Rahimi and Recht, Random Features for Large-Scale Kernel Machines, 2007), so it can be
evaluated anywhere, and its value there depends on nothing but the seed and its name.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from cityguessr.miniworld import noise

HALF_KM = 1.0  # where the correlation of a field with itself has fallen to a half
_WAVES = 128


class Field:
    """Independent Gaussian fields over the plane: zero mean, unit variance, correlation 2 ** -(km / half_km) ** 2.

    Args:
        seed: of all of them; names: one for each field, which alone decides it together with the seed.
        half_km: the distance in km at which the correlation is a half.
    """

    def __init__(self, seed: int, names: Sequence[str], half_km: float = HALF_KM) -> None:
        scale = half_km / math.sqrt(2 * math.log(2))  # of the kernel exp(-km^2 / 2 scale^2)
        keys = [noise.key(seed, "field", name) for name in names]
        waves = torch.stack([noise.normal(key, 2 * _WAVES) for key in keys]).view(-1, 2, _WAVES)
        self._waves = waves.double() / scale
        self._phases = 2 * math.pi * torch.stack([noise.uniform(key + 1, torch.arange(_WAVES)) for key in keys])

    def __call__(self, km: Tensor) -> Tensor:
        """Values at places in km east and north of the centre, (n, 2): float64 (n, number of names)."""
        angles = torch.einsum("nd,fdw->nfw", km.double(), self._waves) + self._phases
        return math.sqrt(2 / _WAVES) * torch.cos(angles).sum(-1)
