"""What an encoder is shown of a frame: all of it, ten crops that are always the same, or crops drawn for training."""

import hashlib
import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

TRAINING = 5
"""Random crops of a training frame, of which an epoch takes one (the authors' code)."""
AREA = (0.6, 1.0)
"""Share of a picture that a random crop keeps."""

Validation = Literal["whole", "ten_crops"]
"""What is seen of a frame of validation: all of it, squashed to a square (the paper, as it is quoted: "resized to
224 x 224"), or ten crops of it in its own shape (the authors' code)."""
TEN = 10


def seeded(name: str, seed: int = 0) -> torch.Generator:
    """Random numbers of a track: the same in every process, and for every encoder, so that all see the same crops."""
    digest = hashlib.blake2b(f"{seed}\0{name}".encode("utf-8", "surrogateescape"), digest_size=7).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big"))


def whole(pictures: Tensor) -> Tensor:
    """One view per frame, the whole picture: (T, 3, H, W) -> (T, 1, 3, H, W)."""
    return pictures.unsqueeze(1)


def ten_crops(picture: Tensor, size: int) -> Tensor:
    """Squares in the four corners and the middle of a picture, and then of the picture turned left to right.

    uint8 (3, H, W) -> uint8 (10, 3, size, size), those of torchvision's TenCrop in its order.

    Together they see all of a picture whose short side is `size`, up to three times as wide as high.
    """
    height, width = picture.shape[1:]
    low, right = height - size, width - size
    corners = [(0, 0), (0, right), (low, 0), (low, right), (round(low / 2), round(right / 2))]
    both = picture, picture.flip(-1)
    return torch.stack([each[:, top : top + size, left : left + size] for each in both for top, left in corners])


def cropped(pictures: Tensor, size: int, generator: torch.Generator, views: int = TRAINING) -> Tensor:
    """Random crops of every frame: uint8 (T, 3, H, W) -> uint8 (T, views, 3, size, size).

    Each is a square of 60 to 100 % of the picture's area, anywhere in it, and turned left to right every other time,
    drawn anew for each frame. (On a street, that puts the traffic on the other side: as published.)
    """
    frames, _, height, width = pictures.shape
    drawn = torch.rand(frames, views, 4, generator=generator)
    answers = torch.empty(frames, views, 3, size, size, dtype=torch.uint8)
    for frame in range(frames):
        for view in range(views):
            area, down, across, turned = drawn[frame, view].tolist()
            side = math.sqrt((AREA[0] + area * (AREA[1] - AREA[0])) * height * width)
            side = max(1, min(round(side), height, width))
            top, left = round(down * (height - side)), round(across * (width - side))
            crop = pictures[frame, :, top : top + side, left : left + side]
            answers[frame, view] = resized(crop.flip(-1) if turned < 0.5 else crop, size)
    return answers


def resized(picture: Tensor, size: int) -> Tensor:
    """A picture brought to a square of `size` pixels: uint8 (3, H, W) -> uint8 (3, size, size)."""
    if picture.shape[1:] == (size, size):
        return picture
    small = F.interpolate(picture[None].float(), (size, size), mode="bilinear", antialias=True)[0]
    return small.round().clamp(0, 255).to(torch.uint8)
