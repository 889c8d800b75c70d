"""Frozen frame encoders: pictures in, one vector per frame out. Nothing in them is trained here.

`clip` and `dinov2` are VidTAG's, `siglip` its third one (section 4 and Table 8). `semantic` and `appearance` are
stand-ins, for machines without those weights: small, made on MiniWorld or not trained at all, and called so wherever
their numbers appear.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cityguessr.backbones import BACKBONES
from cityguessr.base import weights
from cityguessr.base.errors import one_of
from cityguessr.config import IMAGENET, ModelConfig

CLIP_COLOURS = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
"""Mean and standard deviation by which CLIP's pictures are normalised; the authors' code gives DINOv2 the same ones."""
_HALVES = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))  # SigLIP's own
_NONE = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@dataclasses.dataclass(frozen=True)
class EncoderKind:
    """A frame encoder that can be asked for by name.

    Attributes:
        width: of its features.
        size: height and width of its pictures in pixels.
        pretrained: the weights it starts from, as `base.weights` names them; None: it has none.
        colours: its own mean and standard deviation of a channel.
        make: (weights or None for random ones, allow_downloads) -> a network that takes normalised pictures
            (N, 3, size, size) and gives (N, width).
        words: what it is called in a text.
        stand_in: whether it takes the place of an encoder whose weights cannot be had offline.
    """

    width: int
    size: int
    pretrained: str | None
    colours: tuple[tuple[float, ...], tuple[float, ...]]
    make: Callable[[str | None, bool], nn.Module]
    words: str
    stand_in: bool = False


class FrameEncoder(nn.Module):
    """A frozen encoder: uint8 pictures (N, 3, size, size) -> float32 features (N, width).

    Always in evaluation mode, and without gradients. On a GPU it computes in float16, as the authors' code does.

    Args:
        colours: the normalisation, where it is not the encoder's own (see `load`).
    """

    def __init__(self, kind: EncoderKind, network: nn.Module, colours: tuple[tuple[float, ...], ...]) -> None:
        super().__init__()
        self.width, self.size = kind.width, kind.size
        self.network = network.eval().requires_grad_(False)
        for name, values in zip(("mean", "std"), colours, strict=True):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)

    def train(self, mode: bool = True) -> FrameEncoder:
        """Stays in evaluation mode: it is frozen."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, pictures: Tensor) -> Tensor:
        pixels = (pictures.float() / 255 - self.mean) / self.std
        with torch.autocast(pixels.device.type, torch.float16, enabled=pixels.device.type == "cuda"):
            return self.network(pixels).float()


def load(name: str, *, allow_downloads: bool = False, random: bool = False, colours: str = "published") -> FrameEncoder:
    """A frame encoder by its name in `ENCODERS`.

    Args:
        random: random weights in place of the pretrained ones, to measure speed.
        colours: "published", CLIP's normalisation for DINOv2 as well, as in the authors' code; "own", each its own.

    Raises InputError for another name, and MissingWeights where the weights are not on this machine.
    """
    if name not in ENCODERS:
        raise one_of("frame encoder", name, ENCODERS)
    if colours not in ("published", "own"):
        raise one_of("colours", colours, ("published", "own"))
    kind = ENCODERS[name]
    network = kind.make(None if random else kind.pretrained, allow_downloads)
    return FrameEncoder(kind, network, CLIP_COLOURS if (name, colours) == ("dinov2", "published") else kind.colours)


def version(name: str) -> str:
    """What decides an encoder's features, for the name of what is kept of them: its weights, or its filters."""
    kind = ENCODERS[name]
    return f"{name}-{weights.version(kind.pretrained) or _APPEARANCE_VERSION}"


class _Output(nn.Module):
    """One field of what a network of transformers returns."""

    def __init__(self, network: nn.Module, field: str, **options: Any) -> None:
        super().__init__()
        self.network, self.field, self.options = network, field, options

    def forward(self, pixels: Tensor) -> Tensor:
        return getattr(self.network(pixels, **self.options), self.field)


def _transformers(model_class: type, config: Any, pretrained: str | None, allow_downloads: bool) -> nn.Module:
    if pretrained is None:
        return model_class(config)
    options = {"dtype": torch.float32, "local_files_only": not allow_downloads}
    with weights.reading(pretrained, allow_downloads) as source:
        return weights.load(model_class, source, pretrained, **options)


def _clip(pretrained: str | None, allow_downloads: bool) -> nn.Module:
    """CLIP ViT-L/14: the projected embedding, 768 numbers."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    large = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
    config = CLIPVisionConfig(**large, image_size=224, patch_size=14, projection_dim=768)
    return _Output(_transformers(CLIPVisionModelWithProjection, config, pretrained, allow_downloads), "image_embeds")


def _dinov2(pretrained: str | None, allow_downloads: bool) -> nn.Module:
    """DINOv2 ViT-L/14 with registers: the class token after the last LayerNorm, 1024 numbers."""
    from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    large = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16}
    config = Dinov2WithRegistersConfig(**large, image_size=518, patch_size=14, num_register_tokens=4)
    return _Output(_transformers(Dinov2WithRegistersModel, config, pretrained, allow_downloads), "pooler_output")


def _siglip(pretrained: str | None, allow_downloads: bool) -> nn.Module:
    """SigLIP base, multilingual, 256 pixels: the pooled output, 768 numbers."""
    from transformers import SiglipVisionConfig, SiglipVisionModel

    config = SiglipVisionConfig(image_size=256, patch_size=16)
    return _Output(_transformers(SiglipVisionModel, config, pretrained, allow_downloads), "pooler_output")


class _Semantic(nn.Module):
    """Stand-in for CLIP: the small MAE that ships with the package, pretrained on other MiniWorlds' places."""

    def __init__(self, pretrained: str | None, allow_downloads: bool) -> None:
        super().__init__()
        config = ModelConfig.as_described().replace(
            backbone="mae", frame="mid", pretrained=pretrained, frames=1, size=64, width=96, depth=3, heads=3
        )
        self.encoder = BACKBONES["mae"](config, allow_downloads)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.encoder(pixels.unsqueeze(1))


_APPEARANCE_SEED = 20_260_412
_APPEARANCE_VERSION = 3  # part of the name of kept features: raise it when the same picture gives other numbers
_TILES, _DIRECTIONS, _FILTERS = 6, 8, 12
_SCALES = (4.75, 1700.0, 375.0)  # bring the three groups to one size, and all together to that of the other stand-in


class _Appearance(nn.Module):
    """Stand-in for DINOv2: fixed filters of what a picture looks like, nothing trained; 128 numbers.

    The mean colours of 6 x 6 tiles (108), a histogram of the gradients' directions (8), and the mean responses of 12
    convolutions with seeded random weights (12). Over MiniWorld's pictures the three groups vary by
    about as much.
    """

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(_APPEARANCE_SEED)
        filters = torch.randn(_FILTERS, 3, 5, 5, generator=generator) / math.sqrt(3 * 5 * 5)
        self.register_buffer("filters", filters - filters.mean(dim=(2, 3), keepdim=True))

    def forward(self, pixels: Tensor) -> Tensor:
        colours = F.adaptive_avg_pool2d(pixels, _TILES).flatten(1)
        down, across = torch.gradient(pixels.mean(dim=1), dim=(1, 2))
        turn = ((torch.atan2(down, across) / (2 * torch.pi) + 0.5) * _DIRECTIONS).long().clamp(max=_DIRECTIONS - 1)
        by_turn = F.one_hot(turn, _DIRECTIONS).movedim(3, 1) * (down**2 + across**2).sqrt()[:, None]
        gradients = by_turn.mean(dim=(2, 3))
        textures = F.relu(F.conv2d(pixels, self.filters, stride=2)).mean(dim=(2, 3))
        groups = zip(_SCALES, (colours, gradients, textures), strict=True)
        return torch.cat([scale * group for scale, group in groups], dim=1)


ENCODERS: dict[str, EncoderKind] = {
    "clip": EncoderKind(768, 224, "openai/clip-vit-large-patch14", CLIP_COLOURS, _clip, "CLIP ViT-L/14"),
    "dinov2": EncoderKind(1024, 224, "facebook/dinov2-with-registers-large", IMAGENET, _dinov2, "DINOv2 ViT-L/14"),
    "siglip": EncoderKind(768, 256, "google/siglip-base-patch16-256-multilingual", _HALVES, _siglip, "SigLIP"),
    "semantic": EncoderKind(96, 64, "miniworld/mae", IMAGENET, _Semantic, "a small MAE", stand_in=True),
    "appearance": EncoderKind(128, 64, None, _NONE, lambda *_: _Appearance(), "fixed filters", stand_in=True),
}
"""Name -> frame encoder. VidTAG joins `clip` and `dinov2`, in this order, to 1792 numbers."""
