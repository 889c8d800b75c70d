"""Augmentation of clips on the device: a random window, brightness and contrast, a mirror; the same for all frames."""

import torch
import torch.nn.functional as F
from torch import Tensor

from cityguessr.training.recipe import Recipe


def augmented(frames: Tensor, recipe: Recipe, seed: int, epoch: int, step: int) -> Tensor:
    """A batch of clips, changed at random as a recipe says: uint8 (B, T, 3, H, W) -> the same.

    What is drawn depends on the seed, the epoch and the step within it alone, and is the same on every device, so that
    a resumed training goes on with the very same pictures. Without augmentation the frames are given back.
    """
    if not recipe.augments:
        return frames
    generator = torch.Generator().manual_seed(((seed * 1_000_003 + epoch) * 1_000_003 + step + 1) % 2**63)
    drawn = torch.rand(len(frames), 6, generator=generator).to(frames.device, non_blocking=True)
    pictures = frames.float()
    if recipe.crop or recipe.flip:
        pictures = _windows(pictures, _placed(drawn, recipe))
    if recipe.colour:
        brightness, contrast = (1 + recipe.colour * (2 * drawn[:, i, None, None, None, None] - 1) for i in (4, 5))
        mean = pictures.mean(dim=(1, 2, 3, 4), keepdim=True)
        pictures = ((pictures - mean) * contrast + mean) * brightness
    return pictures.round_().clamp_(0, 255).to(torch.uint8)


def _placed(drawn: Tensor, recipe: Recipe) -> Tensor:
    """Where each clip's window lies, as `affine_grid` takes it: (B, 2, 3), in coordinates from -1 to 1."""
    size = 1 - recipe.crop * drawn[:, 0]  # of width and height alike: nothing is stretched
    right, down = ((1 - size) * (2 * drawn[:, i] - 1) for i in (1, 2))
    side = torch.where(drawn[:, 3] < 0.5, -size, size) if recipe.flip else size
    none = torch.zeros_like(size)
    return torch.stack([torch.stack([side, none, right], dim=1), torch.stack([none, size, down], dim=1)], dim=1)


def _windows(pictures: Tensor, placed: Tensor) -> Tensor:
    """The windows of clips (B, T, 3, H, W), enlarged to the whole frame."""
    flat = pictures.flatten(1, 2)  # (B, 3 T, H, W)
    grid = F.affine_grid(placed, list(flat.shape), align_corners=False)
    seen = F.grid_sample(flat, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return seen.view_as(pictures)
