"""TempGeo: mixes the features of a video's frames, so that each answers knowing the others (section 3).

B is the number of videos, T their frames and d the width of a frame's features, 1792 for CLIP and DINOv2 together.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cityguessr.base.errors import InputError
from cityguessr.vidtag.config import VidTAGConfig

TABLE = 32
"""Positions that a video of any length is stretched over."""
LONGEST = 512
"""Frames at most, where positions are learned."""
_LEARNED_WIDTH = 2400


def positions(frames: int, width: int) -> Tensor:
    """Sinusoidal positions (T, d): sin(p / 10000^(i/d)) for even i, cos(p / 10000^(i/d)) for odd i.

    The T frames stand evenly from 0 to 31: 16 of them at 0, 2.07, ..., 31. Videos of any length thus share one table,
    and a position says how far through the video a frame is, not how many came before it.
    """
    place = torch.linspace(0, TABLE - 1, frames, dtype=torch.float64)[:, None]
    index = torch.arange(width, dtype=torch.float64)
    angle = place / 10000 ** (index / width)
    return torch.where(index % 2 == 0, angle.sin(), angle.cos()).float()


class EncoderLayer(nn.Module):
    """A pre-norm transformer layer: (B, T, d) -> (B, T, d)."""

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.norm_attention, self.norm_feed_forward = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.feed_forward = nn.Sequential(nn.Linear(width, inner), nn.ReLU(), nn.Linear(inner, width))
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm_attention(x)
        attended, _ = self.attention(normed, normed, normed, need_weights=False)
        x = x + F.dropout(attended, 0.1, self.training)
        return x + F.dropout(self.feed_forward(self.norm_feed_forward(x)), 0.1, self.training)


class TempGeo(nn.Module):
    """The authors' module: (B, T, d) -> (B, T, d), every frame attending to all frames of its video.

    Its weights, at d = 1792: 43,886,080, which with the head and the location encoder makes the paper's 56.3 million.
    """

    def __init__(self, config: VidTAGConfig) -> None:
        super().__init__()
        width, narrow = config.features, config.bottleneck
        layers: list[nn.Module] = []
        for size in (width, narrow):
            layers += [nn.Dropout(0.1), nn.Linear(size, narrow), nn.BatchNorm1d(narrow), nn.ReLU()]
        self.bottleneck = nn.Sequential(*layers)  # of single frames
        self.widen = nn.Linear(narrow, width)
        inner = config.feed_forward or width
        self.layers = nn.Sequential(
            *(EncoderLayer(width, config.temporal_heads, inner) for _ in range(config.temporal_layers))
        )
        self.project = nn.Linear(width, width)

    def forward(self, features: Tensor) -> Tensor:
        _, frames, width = features.shape
        narrow = self.bottleneck(features.flatten(0, 1)).unflatten(0, features.shape[:2])  # (B, T, bottleneck)
        x = self.widen(narrow) + positions(frames, width).to(features)
        return self.project(self.layers(x))


class LearnedPositions(nn.Module):
    """An independent reading of the paper: learned positions and torch's own pre-norm layers, (B, T, d) -> (B, T, d).

    43.85 million weights at d = 1792. Raises InputError for a video of more than 512 frames.
    """

    def __init__(self, config: VidTAGConfig) -> None:
        super().__init__()
        width = config.features
        self.positions = nn.Parameter(torch.randn(LONGEST, width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            width,
            config.temporal_heads,
            config.feed_forward or _LEARNED_WIDTH,
            dropout=0.1,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.layers = nn.TransformerEncoder(layer, config.temporal_layers, enable_nested_tensor=False)

    def forward(self, features: Tensor) -> Tensor:
        frames = features.shape[1]
        if frames > LONGEST:
            raise InputError(f"a video of {frames} frames: learned positions end at {LONGEST}; use temporal='tempgeo'")
        return self.layers(features + self.positions[:frames])


MODULES: dict[str, type[nn.Module]] = {"tempgeo": TempGeo, "learned": LearnedPositions}
"""`VidTAGConfig.temporal` -> the module; "none" has none."""
