"""The parts of a vision transformer as few, large operations: colours, patch embedding, attention, feed-forward.

They work on the weights of the modules that they are given, whoever made those, and compute what those compute, up to
rounding. A training on a processor takes little more than its matrix products this way; on a GPU nothing waits for
the host, shapes are static, and `torch.compile` finds one graph.
"""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cityguessr.config import IMAGENET


def colour_lines(dtype: torch.dtype, colours: str) -> tuple[list[float], list[float]]:
    """Scale and shift of each colour channel: what frames of that type are, as backbones take them, is x scale + shift.

    Args:
        dtype: uint8 for bytes, any other for fractions of 1.
        colours: "imagenet", for mean 0 and deviation 1 over ImageNet, or "none", for fractions as they are.
    """
    unit = 255 if dtype == torch.uint8 else 1
    if colours == "none":
        return [1 / unit] * 3, [0.0] * 3
    return [1 / (std * unit) for std in IMAGENET[1]], [-mean / std for mean, std in zip(*IMAGENET, strict=True)]


def normalised(frames: Tensor, colours: str) -> Tensor:
    """Frames (..., 3, H, W), uint8 or float in [0, 1], as floats: ImageNet's mean 0 and deviation 1, or as they are.

    Args:
        colours: "imagenet" or "none".
    """
    if colours == "none" and frames.dtype != torch.uint8:
        return frames
    dtype = torch.float32 if frames.dtype == torch.uint8 else frames.dtype
    scale, shift = (
        torch.cat([torch.full((1, 1, 1), value, dtype=dtype, device=frames.device) for value in line])
        for line in colour_lines(frames.dtype, colours)
    )  # (3, 1, 1) each, made on the device: a copy would hold it up
    return (frames * scale).add_(shift)


def embed_patches(frames: Tensor, projection: nn.Conv2d | nn.Conv3d, colours: str) -> Tensor:
    """The patch embedding as one matrix product: frames (B, T, 3, H, W) -> (B, T / span, patches of a frame, width).

    The patches of a convolution whose stride is its kernel do not overlap, so each is one row of a matrix. Bytes are
    cut into patches as bytes, and the normalisation x scale + shift moves from the pixels, which are many, into the
    weights, which are few.

    Args:
        projection: the convolution; one over 3 dimensions spans several frames.
        colours: as in `normalised`.
    """
    kernel = projection.weight if projection.weight.ndim == 5 else projection.weight.unsqueeze(2)
    _, _, span, high, wide = kernel.shape  # (width, 3, span, high, wide)
    scale, shift = colour_lines(frames.dtype, colours)
    if frames.dtype == torch.uint8:
        frames = (frames ^ 128).view(torch.int8)  # x - 128: as exact in bfloat16, and sums stay small
        shift = [b + 128 * a for a, b in zip(scale, shift, strict=True)]
    channels = kernel.unbind(1)
    weight = torch.stack([part * a for part, a in zip(channels, scale, strict=True)], dim=1)
    bias = projection.bias + sum(part.sum(dim=(1, 2, 3)) * b for part, b in zip(channels, shift, strict=True))
    grid = frames.unflatten(4, (-1, wide)).unflatten(3, (-1, high)).unflatten(1, (-1, span))
    patches = grid.permute(0, 1, 4, 6, 3, 2, 5, 7).flatten(4).flatten(2, 3)  # (B, T / span, patches, 3 span high wide)
    return F.linear(patches.to(_working_type(weight)), weight.flatten(1), bias)


def attend(qkv: Tensor, heads: int, fused: bool | None = None, queries: int | None = None) -> Tensor:
    """Multi-head attention among N tokens: their queries, keys and values (..., N, 3 width) -> (..., N, width).

    Args:
        fused: in one kernel that keeps no scores, or product by product; None: fused on a GPU alone, since a
            processor takes twice as long over few tokens that way.
        queries: only the first so many tokens ask; None: all of them.
    """
    batch, tokens = qkv.shape[:-2], qkv.shape[-2]
    parts = qkv.reshape(-1, tokens, 3, heads, qkv.shape[-1] // (3 * heads))
    parts = parts.permute(2, 0, 3, 1, 4)  # (3, batch, heads, N, d)
    if not (qkv.is_cuda if fused is None else fused):
        query, key, value = parts.flatten(1, 2)  # (batch * heads, N, d) each
        scores = torch.bmm(query[:, :queries] * query.shape[-1] ** -0.5, key.transpose(1, 2))
        mixed = torch.bmm(scores.softmax(dim=-1), value).unflatten(0, (-1, heads))
    else:
        query, key, value = parts
        mixed = F.scaled_dot_product_attention(query[:, :, :queries], key, value)
    return mixed.transpose(1, 2).flatten(2).unflatten(0, batch)  # (..., N, width)


def joined(*layers: nn.Linear) -> tuple[Tensor, Tensor]:
    """Weight and bias of several linear layers side by side, so that one product does for all; no bias is zero."""
    biases = [layer.weight.new_zeros(layer.out_features) if layer.bias is None else layer.bias for layer in layers]
    return torch.cat([layer.weight for layer in layers]), torch.cat(biases)


@dataclasses.dataclass(frozen=True, eq=False)  # compared as an object: torch.compile asks for its hash
class Layer:
    """A layer of a vision transformer: tokens (B, N, width) attend to each other, then go through an FFN one by one.

    Both add to what came in, and both read it normalised.

    Attributes:
        heads: how many attend side by side.
        fused: as in `attend`.
        norm: before the attention.
        qkv: weight and bias of the map to queries, keys and values, (3 width, width) and (3 width,).
        mixed: the map behind the attention.
        norm_after: before the FFN.
        wide, narrow: the two maps of the FFN, to its inner width and back.
    """

    heads: int
    fused: bool | None
    norm: nn.LayerNorm
    qkv: tuple[Tensor, Tensor]
    mixed: nn.Linear
    norm_after: nn.LayerNorm
    wide: nn.Linear
    narrow: nn.Linear

    def __call__(self, tokens: Tensor) -> Tensor:
        """The whole layer: (B, N, width) -> (B, N, width)."""
        return self.fed(self.attended(tokens))

    def queries_keys_values(self, tokens: Tensor) -> Tensor:
        """(B, N, width) -> (B, N, 3 width)."""
        return F.linear(self.norm(tokens), *self.qkv)

    def attended(self, tokens: Tensor) -> Tensor:
        """Tokens after the attention: (B, N, width) -> (B, N, width)."""
        return tokens + self.mixed(attend(self.queries_keys_values(tokens), self.heads, self.fused))

    def inner(self, tokens: Tensor) -> Tensor:
        """The inner activations of the FFN: (B, N, width) -> (B, N, inner width)."""
        return F.gelu(self.wide(self.norm_after(tokens)))

    def fed(self, tokens: Tensor) -> Tensor:
        """Tokens after the FFN: (B, N, width) -> (B, N, width)."""
        return tokens + self.narrow(self.inner(tokens))


def chained(first: nn.Linear, second: nn.Linear) -> tuple[Tensor, Tensor]:
    """Weight and bias of one linear map that does what two do one after the other."""
    return second.weight @ first.weight, F.linear(first.bias, second.weight, second.bias)


def _working_type(weight: Tensor) -> torch.dtype:
    """What matrix products are computed in: the weight's type, or autocast's inside of it."""
    device = weight.device.type
    if device == "meta" or not torch.is_autocast_enabled(device):
        return weight.dtype
    return torch.get_autocast_dtype(device)
