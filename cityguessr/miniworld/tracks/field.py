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
    """Independent random fields over the plane: zero mean, unit variance, correlation 1 / (1 + (km / half_km) ** 2).

    The correlation is a half at `half_km`, a fifth at twice and a tenth at three times as many km. It is that of a
    rational quadratic kernel, a mixture of Gaussian ones: each wave has a scale of its own.

    Args:
        seed: of all of them.
        names: one for each field, which alone decides it together with the seed.
        half_km: the distance in km at which the correlation is a half.
    """

    def __init__(self, seed: int, names: Sequence[str], half_km: float = HALF_KM) -> None:
        keys, wave = [noise.key(seed, "field", name) for name in names], torch.arange(_WAVES)
        waves = torch.stack([noise.normal(key, 2 * _WAVES) for key in keys]).view(-1, 2, _WAVES)
        # E exp(-t d^2) = 1 / (1 + d^2) for t ~ Exp(1), and normal waves of variance 2 t give exp(-t d^2).
        scale = torch.stack([-2 * torch.log1p(-noise.uniform(key, wave, 2)) for key in keys]).sqrt()
        self._waves = (waves * scale[:, None]).double() / half_km
        self._phases = 2 * math.pi * torch.stack([noise.uniform(key, wave, 3) for key in keys]).double()

    def __call__(self, km: Tensor) -> Tensor:
        """Values at places in km east and north of the centre, (n, 2): float64 (n, number of names)."""
        angles = torch.einsum("nd,fdw->nfw", km.double(), self._waves) + self._phases
        return math.sqrt(2 / _WAVES) * torch.cos(angles).sum(-1)
