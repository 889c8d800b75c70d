"""From a coordinate to a vector: Equal Earth, random Fourier features, an MLP a scale (GeoCLIP's location encoder).

Its tensors have GeoCLIP's names and shapes, so that it can start from GeoCLIP's weights (`geoclip.load_location`).
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from cityguessr.base.errors import InputError

_A = (1.340264, -0.081106, 0.000893, 0.003796)  # the projection's polynomial, powers 1, 3, 7 and 9
_UNIT = 66.50336 / 180  # brings the date line on the equator to x = 1


def check(latlon: Tensor) -> Tensor:
    """The coordinates themselves. Raises InputError where they are no latitude and longitude, in this order."""
    if latlon.shape[-1:] != (2,):
        raise InputError(f"coordinates end in latitude and longitude: (..., 2); got shape {tuple(latlon.shape)}")
    wrong = ~((latlon[..., 0].abs() <= 90) & (latlon[..., 1].abs() <= 360))  # NaN is wrong, too
    if wrong.any():
        at = [int(i) for i in wrong.nonzero()[0]]
        pair = latlon[tuple(at)].tolist()
        raise InputError(f"coordinate {at}: {pair} is no latitude (-90..90) and longitude in degrees, in this order")
    return latlon


def wrapped(latlon: Tensor) -> Tensor:
    """The same places with longitudes in [-180, 180): 180 and -180 become one, as they are on the ground."""
    lat, lon = latlon.unbind(-1)
    return torch.stack([lat, (lon + 180) % 360 - 180], dim=-1)


def equal_earth(latlon: Tensor) -> Tensor:
    """The Equal Earth projection, scaled so that (0, 180) comes to (1, 0): (..., 2) degrees -> (..., 2) x, y.

    One unit of x is 20,015 km at the equator; y ends at 0.4867169. Savric, Patterson and Jenny, 2018.
    """
    lat, lon = torch.deg2rad(check(latlon)).unbind(-1)
    t = torch.asin(math.sqrt(3) / 2 * lat.sin())
    a1, a2, a3, a4 = _A
    slope = 9 * a4 * t**8 + 7 * a3 * t**6 + 3 * a2 * t**2 + a1
    x = 2 * math.sqrt(3) * lon * t.cos() / (3 * slope)
    y = a4 * t**9 + a3 * t**7 + a2 * t**3 + a1 * t
    return torch.stack([x, y], dim=-1) * _UNIT


class RandomFourierFeatures(nn.Module):
    """Directions b drawn once from N(0, sigma^2), kept and never trained: (..., 2) -> (..., 2 n), cosines first.

    The inner product of two places' features is about exp(-2 pi^2 sigma^2 d^2) of their distance d on the map: at
    sigma 1 it halves at 3751 km, at 8 at 469, at 16 at 234, and at 256 at 14.7 km.
    """

    b: Tensor

    def __init__(self, sigma: float, count: int) -> None:
        super().__init__()
        self.register_buffer("b", torch.randn(count, 2) * sigma)

    def forward(self, plane: Tensor) -> Tensor:
        angle = 2 * torch.pi * plane @ self.b.mT
        return torch.cat([angle.cos(), angle.sin()], dim=-1)


class Branch(nn.Module):
    """One scale: Fourier features and four linear layers, (..., 2) on the map -> (..., width)."""

    def __init__(self, sigma: float, fourier: int, inner: int, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [RandomFourierFeatures(sigma, fourier)]
        for size in (2 * fourier, inner, inner):
            layers += [nn.Linear(size, inner), nn.ReLU()]
        self.capsule = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Linear(inner, width))

    def forward(self, plane: Tensor) -> Tensor:
        return self.head(self.capsule(plane))


class LocationEncoder(nn.Module):
    """Coordinates (..., 2) in degrees, latitude first -> (..., width), the sum of the branches; not of length 1.

    Longitudes are brought to [-180, 180) first, so that a place on the date line has one answer. The dtype of the
    answer is that of the weights.

    Args:
        sigmas: one branch each.
    """

    def __init__(
        self, sigmas: Sequence[float] = (1.0, 8.0, 256.0), fourier: int = 256, inner: int = 1024, width: int = 512
    ) -> None:
        super().__init__()
        self.sigmas = tuple(sigmas)
        self.branches = [f"LocEnc{number}" for number in range(len(self.sigmas))]
        for name, sigma in zip(self.branches, self.sigmas, strict=True):
            self.add_module(name, Branch(sigma, fourier, inner, width))

    def forward(self, latlon: Tensor) -> Tensor:
        # Projected in double: 256 turns over the map make a float32's last digit a visible error.
        plane = equal_earth(wrapped(check(latlon).double()))
        plane = plane.to(self.get_submodule(self.branches[0]).head[0].weight.dtype)
        return torch.stack([self.get_submodule(name)(plane) for name in self.branches]).sum(dim=0)


def adopt(encoder: LocationEncoder, state: Mapping[str, Tensor], sigmas: Sequence[float]) -> LocationEncoder:
    """Give an encoder the weights of another one, and return it.

    Where the sigma of a branch differs its directions b are scaled by the ratio, and all else is taken as it is: from
    GeoCLIP's 16 to VidTAG's 8 they are halved.

    Args:
        state: the other's weights, by name.
        sigmas: the other's, one a branch.

    Raises InputError where the other has another number of branches, or other sizes.
    """
    needed = {name: tensor.shape for name, tensor in encoder.state_dict().items()}
    if len(sigmas) != len(encoder.sigmas) or {name: tensor.shape for name, tensor in state.items()} != needed:
        raise InputError("the location encoder to start from has other branches or sizes than the one that starts")
    state = dict(state)
    for name, ours, theirs in zip(encoder.branches, encoder.sigmas, sigmas, strict=True):
        state[f"{name}.capsule.0.b"] = state[f"{name}.capsule.0.b"] * (ours / theirs)
    encoder.load_state_dict(state)
    return encoder
