"""How unlike two frames are: in their detail and in their colours, or in any feature of them.

Two frames that follow one another in a drive show the same things a little nearer, or a little to the side, in the same
light. So detail is compared at the best of a few enlargements and shifts, after the large-scale light and dark of each
picture was taken out (the exposure changes, the sky is above), and colours are compared without regard to place.
"""

import dataclasses
import itertools
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

ZOOMS = (1.0, 1.07, 1.15, 1.3)  # how much nearer things come between two kept frames
SHIFTS = (-0.12, -0.06, 0.0, 0.06, 0.12)  # of half the picture's width, where the camera turns
_SHADE = 8  # of a picture of 32 pixels: light and dark over more pixels than these is shade, not detail
_LEVELS = 4  # of each of red, green and blue in the histogram


@dataclasses.dataclass(frozen=True)
class Measure:
    """A way to compare frames: what is kept of a frame, and how far two of these are apart.

    Attributes:
        names: of its distances, k of them.
        size: frames are given to `feature` as squares of so many pixels.
        feature: uint8 (N, size, size, 3) RGB -> a tensor (N, ...), what is kept of each frame.
        distance: two of these tensors, row by row -> float32 (N, k), each 0 or more.
    """

    names: tuple[str, ...]
    size: int
    feature: Callable[[Tensor], Tensor]
    distance: Callable[[Tensor, Tensor], Tensor]


def detail_distance(a: Tensor, b: Tensor) -> Tensor:
    """How unlike the details of frames are: float32 (N,) in [0, 2], one minus the correlation at its best.

    Each frame of `a` is enlarged and shifted a little (`ZOOMS`, `SHIFTS`) to fit the frame of `b`, which comes after.

    Args:
        a, b: uint8 (N, H, W, 3), RGB.
    """
    first, second = (frames.float().mean(3)[:, None] for frames in (a, b))
    target, best = _detail(second), torch.full((len(a),), -1.0)
    for zoom, shift in itertools.product(ZOOMS, SHIFTS):
        matrix = torch.tensor([[1 / zoom, 0, shift], [0, 1 / zoom, 0]]).expand(len(a), 2, 3)
        grid = functional.affine_grid(matrix, list(first.shape), align_corners=False)
        moved = functional.grid_sample(first, grid, align_corners=False, padding_mode="border")
        best = torch.maximum(best, (_detail(moved) * target).sum(1))
    return 1 - best


def colour_distance(a: Tensor, b: Tensor) -> Tensor:
    """How unlike the colours of frames are: float32 (N,) in [0, 1], one minus the Bhattacharyya coefficient.

    Args:
        a, b: uint8 (N, H, W, 3), RGB; the place of a colour in the frame does not count.
    """
    return 1 - (_histogram(a) * _histogram(b)).sqrt().sum(1)


def _detail(grey: Tensor) -> Tensor:
    """(N, 1, H, W) -> (N, H W) of mean 0 and length 1: the picture without its large-scale light and dark."""
    shade = functional.avg_pool2d(grey, max(1, _SHADE * grey.shape[2] // 32))
    rest = (grey - functional.interpolate(shade, size=grey.shape[2:], mode="bilinear", align_corners=False)).flatten(1)
    rest = rest - rest.mean(1, keepdim=True)
    return rest / rest.norm(dim=1, keepdim=True).clamp(min=1e-3)  # an even picture has no detail: like to nothing


def _histogram(frames: Tensor) -> Tensor:
    """uint8 (N, H, W, 3) -> float32 (N, 64): the share of each colour."""
    bins = frames.long() * _LEVELS // 256
    codes = ((bins[..., 0] * _LEVELS + bins[..., 1]) * _LEVELS + bins[..., 2]).flatten(1)
    counts = torch.zeros(len(frames), _LEVELS**3).scatter_add_(1, codes, torch.ones(codes.shape))
    return counts / codes.shape[1]


def _detail_and_colour(a: Tensor, b: Tensor) -> Tensor:
    return torch.stack([detail_distance(a, b), colour_distance(a, b)], 1).clamp(min=0)


DETAIL_AND_COLOUR = Measure(("detail", "colour"), 32, lambda frames: frames, _detail_and_colour)
"""The default: needs no weights, and works on frames of 32 x 32 pixels."""


def of_features(feature: Callable[[Tensor], Tensor], size: int = 224, name: str = "feature") -> Measure:
    """Compare frames by the cosine of any feature of them, such as CLIP's or VideoMAE's.

    Args:
        feature: uint8 (N, size, size, 3) RGB -> (N, d).
        size: of the frames that it takes.
        name: of the distance, one minus the cosine: in [0, 2].
    """

    def distance(a: Tensor, b: Tensor) -> Tensor:
        return (1 - functional.cosine_similarity(a.float(), b.float())).clamp(min=0)[:, None]

    return Measure((name,), size, feature, distance)
