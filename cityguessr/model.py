"""CityGuessr (paper, section 4): backbone -> four heads -> self-cross attention -> FFN_s and FFN_t.

Read it top to bottom beside Fig. 5. B is the batch, T the frames of a clip, and d = 166 + 157 + 91 + 6 = 420 the
number of classes of all four levels together.
"""

import contextlib
import dataclasses
import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cityguessr.backbones import BACKBONES, Encoder
from cityguessr.base.errors import InputError
from cityguessr.config import ModelConfig
from cityguessr.folded.blocks import normalised
from cityguessr.folded.means import softmax_means
from cityguessr.taxonomy import LEVELS, Taxonomy


@dataclasses.dataclass
class Output:
    """What the model says of a batch of clips.

    Attributes:
        logits: level -> (B, number of classes), the outputs of H1 to H4; softmax gives probabilities.
        scene: PV'_s (B, scene classes), logits of the scenes; None without scene recognition.
        text: PV'_t (B, text width); None without text alignment.
        attention: (B, attention heads, d, d), rows add up to 1; only when asked for.
    """

    logits: dict[str, Tensor]
    scene: Tensor | None = None
    text: Tensor | None = None
    attention: Tensor | None = None


def feed_forward(widths: Sequence[int]) -> nn.Sequential:
    """Linear layers from widths[0] to widths[-1] with a ReLU between each two: (B, widths[0]) -> (B, widths[-1])."""
    layers: list[nn.Module] = []
    for wide, narrow in itertools.pairwise(widths):
        layers += [nn.Linear(wide, narrow), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def evenly(start: int, stop: int, layers: int) -> list[int]:
    """Widths of an FFN of so many layers, evenly spaced: evenly(420, 512, 2) is [420, 466, 512].

    The paper gives FFN_t's depth and its two ends. The released 466 is the middle of 420 and 512, so the widths of
    three layers follow by the same rule: 420-451-481-512.
    """
    return [round(start + (stop - start) * i / layers) for i in range(layers + 1)]


class SelfCrossAttention(nn.Module):
    """Lets every class of every level attend to every other (section 4.3): PV (B, d) -> PV' (B, d).

    Each of the d logits is one token of width 1. Three linear maps lift it to a query, a key and a value of width 6,
    two heads attend over the d tokens, and a last map brings every token back to width 1. Tokens stand in the order
    city, state, country, continent, so the diagonal blocks of the weights are self attention, the others cross.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.query = nn.Linear(1, width)
        self.key = nn.Linear(1, width)
        self.value = nn.Linear(1, width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.project = nn.Linear(width, 1)

    def forward(self, vector: Tensor) -> tuple[Tensor, Tensor]:
        """PV (B, d) -> PV' (B, d), and the weights (B, heads, d, d)."""
        tokens = vector.unsqueeze(2)  # (B, d, 1)
        query, key, value = self.query(tokens), self.key(tokens), self.value(tokens)  # (B, d, 6) each
        attended, weights = self.attention(query, key, value, average_attn_weights=False)  # (B, d, 6), (B, heads, d, d)
        return self.project(attended).squeeze(2), weights

    def fast(self, vector: Tensor) -> Tensor:
        """The same PV' without the weights, several times faster: a token is one number x, every map of it a line.

        In a head, with query a x_i + b and key c x_j + e, the score of token i for token j is t_i x_j plus what is the
        same for all j and cancels in the softmax, where the tilt t_i = (a x_i + b) . c / sqrt(d_q). With value
        f x_j + g, what the head attends to is f m_i + g, where m_i = sum_j softmax_j(t_i x_j) x_j is one number, and
        what follows is linear. So each head comes down to the means m.
        """
        heads = self.attention.num_heads
        maps = zip(
            (self.query, self.key, self.value),
            self.attention.in_proj_weight.chunk(3),
            self.attention.in_proj_bias.chunk(3),
            strict=True,
        )
        lines = [(weight @ first.weight[:, 0], weight @ first.bias + bias) for first, weight, bias in maps]
        (a, b), (c, _), (f, g) = [[part.unflatten(0, (heads, -1)) for part in line] for line in lines]  # (heads, d_q)
        slope, offset = ((part * c).sum(dim=1, keepdim=True) / c.shape[1] ** 0.5 for part in (a, b))  # (heads, 1)
        tilts = vector.unsqueeze(1) * slope + offset  # (B, heads, d)
        means = softmax_means(tilts, vector)  # (B, heads, d)
        out = (self.project.weight @ self.attention.out_proj.weight).view(heads, -1)  # (heads, d_q)
        rest = self.project(self.attention.out_proj.bias) + (out * g).sum()
        return torch.einsum("bhd,h->bd", means, (out * f).sum(dim=1)) + rest


class System(nn.Module):
    """What every system of Table 5 shares: frames (B, T, 3, H, W) in, four levels of logits out.

    Attributes:
        routed: whether `forward` wants the scenes of the frames as well.
    """

    routed = False

    def __init__(self, config: ModelConfig, taxonomy: Taxonomy) -> None:
        super().__init__()
        self.config, self.taxonomy = config, taxonomy

    @property
    def colours(self) -> str:
        """How frames are normalised now, in training or in evaluation; see `blocks.normalised`."""
        return self.config.normalise_train if self.training else self.config.normalise_eval

    def use(self, folded: bool = True, fused_attention: bool = True, recompute: bool = False) -> None:
        """Choose how the backbones compute their forward; see `Encoder.use`."""
        for module in self.modules():
            if isinstance(module, Encoder):
                module.use(folded, fused_attention, recompute)

    def prepare_frames(self, frames: Tensor) -> Tensor:
        """Frames as read, uint8 or float in [0, 1], as floats that are normalised as configured.

        `forward` leaves this to the backbone, which has a faster way. Raises InputError as `check_frames` does.
        """
        self.check_frames(frames)
        return normalised(frames, self.colours)

    def check_frames(self, frames: Tensor) -> None:
        """Raises InputError for frames of another shape than the model takes."""
        config = self.config
        if frames.ndim != 5 or frames.shape[1:] != (config.input_frames, 3, config.size, config.size):
            want = f"(B, {config.input_frames}, 3, {config.size}, {config.size})"
            raise InputError(f"frames have shape {tuple(frames.shape)}; this model takes {want}")


def full_precision(tensor: Tensor) -> contextlib.AbstractContextManager:
    """Where a GPU would use bfloat16: not in here. That is for backbones; of logits, 8.01 and 8.03 would be one."""
    device = tensor.device.type
    return contextlib.nullcontext() if device == "meta" else torch.autocast(device, enabled=False)


def four_heads(width: int, taxonomy: Taxonomy) -> nn.ModuleDict:
    """H1 to H4 of Fig. 5: a linear classifier for each level."""
    return nn.ModuleDict({level: nn.Linear(width, taxonomy.size(level)) for level in LEVELS})


class CityGuessr(System):
    """The whole model of Fig. 5.

    Args:
        config: see `ModelConfig`.
        taxonomy: the label tree; its sizes are those of the four heads.
        allow_downloads: whether pretrained weights may be fetched.
    """

    def __init__(self, config: ModelConfig, taxonomy: Taxonomy, allow_downloads: bool = False) -> None:
        super().__init__(config, taxonomy)
        self.backbone = BACKBONES[config.backbone](config, allow_downloads)
        self.classifiers = four_heads(self.backbone.width, taxonomy)
        d = sum(taxonomy.sizes.values())
        self.attention = self.ffn_s = self.ffn_t = None
        if (config.scene_labels and config.scene_from == "attended") or config.text_labels:
            self.attention = _attention(config, d)
        if config.scene_labels:
            start = d if config.scene_from == "attended" else self.backbone.width
            self.ffn_s = feed_forward([start, *config.scene_widths, config.scene_classes])
        if config.text_labels:
            self.ffn_t = feed_forward(evenly(d, config.text_width, config.text_layers))

    def forward(self, frames: Tensor, need_weights: bool = False) -> Output:
        """Frames (B, T, 3, H, W), uint8 or float in [0, 1] -> `Output`."""
        self.check_frames(frames)
        features = self.backbone(frames, self.colours)  # (B, width)
        with full_precision(features):
            return self.head(features.to(self.classifiers[LEVELS[0]].weight.dtype), need_weights)

    def head(self, features: Tensor, need_weights: bool = False) -> Output:
        """All that follows the backbone: features (B, width) -> `Output`."""
        logits = {level: self.classifiers[level](features) for level in LEVELS}  # Fig. 5: PV_H1 .. PV_H4
        attended = weights = None
        if self.attention is not None:
            vector = torch.cat([logits[level] for level in LEVELS], dim=1)  # PV (B, d)
            if not isinstance(self.attention, SelfCrossAttention):
                attended = self.attention(vector)  # what stands in its place, for control
            elif need_weights:
                attended, weights = self.attention(vector)  # PV' (B, d), (B, attention heads, d, d)
            else:
                attended = self.attention.fast(vector)
        scenes_read = attended if self.config.scene_from == "attended" else features
        return Output(
            logits,
            scene=self.ffn_s(scenes_read) if self.ffn_s else None,  # PV'_s (B, scene classes)
            text=self.ffn_t(attended) if self.ffn_t else None,  # PV'_t (B, text width)
            attention=weights,
        )


def _attention(config: ModelConfig, d: int) -> nn.Module:
    """What makes PV' of PV: the paper's attention, or what takes its place for control."""
    if config.attention == "self_cross":
        return SelfCrossAttention(config.attention_width, config.attention_heads)
    return nn.Linear(d, d) if config.attention == "linear" else nn.Identity()


def probabilities(logits: dict[str, Tensor]) -> dict[str, Tensor]:
    """Softmax at every level: level -> (B, number of classes), rows add up to 1."""
    return {level: F.softmax(logits[level], dim=1) for level in LEVELS}
