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

from cityguessr.backbones import BACKBONES
from cityguessr.errors import InputError
from cityguessr.taxonomy import LEVELS, Taxonomy

# Mean and standard deviation of ImageNet, per colour channel: what every pretrained backbone here was trained with.
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Everything that defines a system of the paper, with a switch wherever paper and released code disagree.

    The defaults are `as_described()`. Each field names its source.
    """

    # System (5.4, Table 5): "cityguessr" is Fig. 5, and every baseline of one encoder and four heads with its losses
    # off (VideoMAE, TimeSformer, MAE, PlaNet); "isns" and "geodecoder" are `cityguessr.baselines`
    system: str = "cityguessr"
    decoder_layers: int = 6  # of "geodecoder" (arXiv 2303.04249)
    # Backbone (section 4.2, 5.2): VideoMAE ViT-S, pretrained and finetuned on Kinetics-400; Table 5: "timesformer";
    # Tables 2 and 5: "mae", the encoder of an image system
    backbone: str = "videomae"
    pretrained: str | None = "MCG-NJU/videomae-small-finetuned-kinetics"  # None: random weights
    frames: int = 15  # paper 5.2: 15 frames; released code: 16
    size: int = 224  # pixels, height and width of a frame (5.2)
    patch: int = 16  # pixels
    width: int = 384  # feature dimension (5.2)
    depth: int = 12
    heads: int = 6
    # The frames of a clip and their colours
    frame: str | None = None  # Table 2: "first", "mid", "last" or "random", the one frame that an image system sees
    sampling: str = "uniform"  # paper: frames of the video, evenly; "released": every 5th file by name, 16 of them
    normalise_train: str = "imagenet"  # paper: silent, so as the backbone was pretrained; released code: "none" ...
    normalise_eval: str = "imagenet"  # ... but ImageNet mean and std in its evaluation script
    # Self-Cross Attention and FFN_s (4.3, 5.2)
    scene_labels: str | None = "soft"  # "soft", "majority", "first", or None for no scene loss (Table 3)
    scenes: int = 16  # or 365, the categories of Places365 that make them up (Table S1)
    attention_heads: int = 2
    attention_width: int = 6
    scene_widths: tuple[int, ...] = (256, 128, 64, 32, 16)  # hidden layers of FFN_s; six layers with the last (5.2)
    # TextLabel Alignment and FFN_t (4.4, 5.2)
    text_labels: str | None = "all"  # mean over the four names; "city": the city's alone; None: no text loss (Table 3)
    text_encoder: str = "clip"  # see `cityguessr.data.text`; "release": the columns of the released label files
    text_dim: int = 512
    text_layers: int = 3  # paper 5.2: 3 layers; released code: 2 (420-466-512)
    text_reduction: str = "mean"  # Eq. 3 is the loss of one video; released code: "sum" over the batch of 12
    # Protocol (4.6, 5.1, 5.2)
    split: str = "clip"  # paper: clips of one video may fall on both sides; "video": no source video does (ours)
    epochs: int = 10  # paper 5.2: 10; released code: 12
    selection: str = "last"  # released code: "best_on_validation", the very split that is reported
    products: bool = True  # Eq. 5; released code: False, its products are commented out

    def __post_init__(self) -> None:
        choices = {
            "system": ("cityguessr", "isns", "geodecoder"),
            "backbone": ("videomae", "timesformer", "mae"),
            "frame": (None, "first", "mid", "last", "random"),
            "scenes": (16, 365),
            "split": ("clip", "video"),
            "sampling": ("uniform", "released"),
            "normalise_train": ("none", "imagenet"),
            "normalise_eval": ("none", "imagenet"),
            "scene_labels": ("soft", "majority", "first", None),
            "text_labels": ("all", "city", None),
            "text_reduction": ("mean", "sum"),
            "selection": ("last", "best_on_validation"),
        }
        for field, allowed in choices.items():
            if getattr(self, field) not in allowed:
                names = ", ".join(map(repr, allowed))
                raise InputError(f"ModelConfig: {field} = {getattr(self, field)!r}; choose one of {names}")
        if self.size % self.patch or self.width % self.heads or self.attention_width % self.attention_heads:
            raise InputError(
                "ModelConfig: size must be a multiple of patch, width of heads, attention_width of attention_heads"
            )
        if (self.backbone == "mae") != (self.frame is not None):
            raise InputError(
                f"ModelConfig: backbone {self.backbone!r} and frame {self.frame!r} do not go together; 'mae' sees one "
                "frame (first, mid, last or random), 'videomae' and 'timesformer' see all of them (frame None)"
            )
        if self.system != "cityguessr":
            self._check_baseline()

    def _check_baseline(self) -> None:
        """ISNs and GeoDecoder are image systems over the 16 scenes, and neither aligns text."""
        wanted = {"backbone": "mae", "scenes": 16, "text_labels": None}
        wanted |= {"scene_labels": None} if self.system == "isns" else {}  # its scenes come from outside, no loss
        for field, value in wanted.items():
            if getattr(self, field) != value:
                raise InputError(
                    f"ModelConfig: {field} = {getattr(self, field)!r}; system {self.system!r} wants {value!r}"
                )
        if self.system == "geodecoder" and (self.scene_labels is None or self.decoder_layers < 1):
            raise InputError(
                "ModelConfig: system 'geodecoder' learns scenes (scene_labels 'soft', 'majority' or 'first') in at "
                f"least one decoder layer, not scene_labels = {self.scene_labels!r}, "
                f"decoder_layers = {self.decoder_layers!r}"
            )

    @property
    def input_frames(self) -> int:
        """Frames that the model is given of a clip: one for an image system, all of them for the others."""
        return self.frames if self.frame is None else 1

    @classmethod
    def as_described(cls) -> "ModelConfig":
        """The method as the paper and the supplement describe it."""
        return cls()

    @classmethod
    def as_released(cls) -> "ModelConfig":
        """The method as the authors' public code computes it (facts of the code, see `paper.disagreements`)."""
        return cls(
            frames=16,
            sampling="released",
            normalise_train="none",
            normalise_eval="imagenet",
            text_layers=2,
            text_reduction="sum",
            epochs=12,
            selection="best_on_validation",
            products=False,
        )

    def replace(self, **changes: object) -> "ModelConfig":
        """A copy with some fields changed. Raises InputError for a name that is no field."""
        known = {field.name for field in dataclasses.fields(self)}
        if unknown := set(changes) - known:
            raise InputError(
                f"ModelConfig has no field {', '.join(sorted(unknown))}; it has {', '.join(sorted(known))}"
            )
        return dataclasses.replace(self, **changes)


@dataclasses.dataclass
class Output:
    """What the model says of a batch of clips.

    Attributes:
        logits: level -> (B, number of classes), the outputs of H1 to H4; softmax gives probabilities.
        scene: PV'_s (B, scenes), logits of the scenes; None without scene recognition.
        text: PV'_t (B, text_dim); None without text alignment.
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

    def forward(self, vector: Tensor, need_weights: bool = False) -> tuple[Tensor, Tensor | None]:
        """PV (B, d) -> PV' (B, d), and the weights (B, heads, d, d) if asked for."""
        if not need_weights:
            return self.from_means(vector), None
        tokens = vector.unsqueeze(2)  # (B, d, 1)
        query, key, value = self.query(tokens), self.key(tokens), self.value(tokens)  # (B, d, 6) each
        attended, weights = self.attention(
            query, key, value, need_weights=True, average_attn_weights=False
        )  # (B, d, 6), (B, heads, d, d)
        return self.project(attended).squeeze(2), weights  # (B, d)

    def from_means(self, vector: Tensor) -> Tensor:
        """The same PV', several times faster, because a token is one number x and every map of it a straight line.

        In a head, with query a x_i + b and key c x_j + e, the score of token i for token j is t_i x_j plus what is the
        same for all j and cancels in the softmax, where the tilt t_i = (a x_i + b) . c / sqrt(d_q). With value
        f x_j + g, what the head attends to is f m_i + g, where m_i = sum_j softmax_j(t_i x_j) x_j is one number, and
        what follows is linear. So each head is an attention of width 1 that yields the means m.
        """
        heads = self.attention.num_heads
        maps = zip(
            (self.query, self.key, self.value),
            self.attention.in_proj_weight.chunk(3),
            self.attention.in_proj_bias.chunk(3),
            strict=True,
        )
        lines = [(weight @ first.weight[:, 0], weight @ first.bias + bias) for first, weight, bias in maps]
        (a, b), (c, e), (f, g) = [[part.unflatten(0, (heads, -1)) for part in line] for line in lines]  # (heads, d_q)
        slope, offset = ((part * c).sum(dim=1, keepdim=True) / c.shape[1] ** 0.5 for part in (a, b))  # (heads, 1)
        tilts = vector.unsqueeze(1) * slope + offset  # (B, heads, d)
        tokens = vector[:, None, :, None].expand(-1, heads, -1, -1)  # (B, heads, d, 1)
        means = F.scaled_dot_product_attention(tilts.unsqueeze(3), tokens, tokens, scale=1.0).squeeze(3)
        out = (self.project.weight @ self.attention.out_proj.weight).view(heads, -1)  # (heads, d_q)
        rest = self.project(self.attention.out_proj.bias) + (out * g).sum()
        rest = rest + 0 * e.sum()  # a gradient of zero, not a missing one: several GPUs wait for every gradient
        return torch.einsum("bhd,h->bd", means, (out * f).sum(dim=1)) + rest


def normalised(frames: Tensor, colours: str) -> Tensor:
    """Frames (..., 3, H, W), uint8 or float in [0, 1], as floats: ImageNet's mean 0 and deviation 1, or as they are.

    Args:
        colours: "imagenet" or "none".

    (x / 255 - mean) / std is computed as x * scale + shift: a batch is many numbers, and each pass over them counts.
    """
    unit, dtype = (255, torch.float32) if frames.dtype == torch.uint8 else (1, frames.dtype)
    if colours == "none":
        return frames / unit if unit == 255 else frames
    mean, std = torch.tensor(IMAGENET, dtype=torch.float64)[:, :, None, None]
    scale, shift = (part.to(frames.device, dtype) for part in (1 / (std * unit), -mean / std))  # (3, 1, 1) each
    return (frames * scale).add_(shift)


class System(nn.Module):
    """What every system of Table 5 shares: frames (B, T, 3, H, W) in, four levels of logits out.

    Attributes:
        routed: whether `forward` wants the scenes of the frames as well.
    """

    routed = False

    def __init__(self, config: ModelConfig, taxonomy: Taxonomy) -> None:
        super().__init__()
        self.config, self.taxonomy = config, taxonomy

    def prepare_frames(self, frames: Tensor) -> Tensor:
        """Frames as read, uint8 or float in [0, 1], as the backbone wants them: float, normalised as configured.

        Raises InputError for frames of another shape than the model takes.
        """
        config = self.config
        if frames.ndim != 5 or frames.shape[1:] != (config.input_frames, 3, config.size, config.size):
            want = f"(B, {config.input_frames}, 3, {config.size}, {config.size})"
            raise InputError(f"frames have shape {tuple(frames.shape)}; this model takes {want}")
        return normalised(frames, config.normalise_train if self.training else config.normalise_eval)


def make_backbone(config: ModelConfig, allow_downloads: bool) -> nn.Module:
    """The encoder of that configuration, its weights as `config.pretrained` says."""
    return BACKBONES[config.backbone](
        frames=config.input_frames,
        size=config.size,
        patch=config.patch,
        width=config.width,
        depth=config.depth,
        heads=config.heads,
        pretrained=config.pretrained,
        allow_downloads=allow_downloads,
    )


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
        self.backbone = make_backbone(config, allow_downloads)
        self.classifiers = four_heads(self.backbone.width, taxonomy)
        d = sum(taxonomy.sizes.values())
        self.attention = self.ffn_s = self.ffn_t = None
        if config.scene_labels or config.text_labels:
            self.attention = SelfCrossAttention(config.attention_width, config.attention_heads)
        if config.scene_labels:
            self.ffn_s = feed_forward([d, *config.scene_widths, config.scenes])
        if config.text_labels:
            self.ffn_t = feed_forward(evenly(d, config.text_dim, config.text_layers))

    def forward(self, frames: Tensor, need_weights: bool = False) -> Output:
        """Frames (B, T, 3, H, W), uint8 or float in [0, 1] -> `Output`."""
        features = self.backbone(self.prepare_frames(frames))  # (B, width)
        with full_precision(features):
            return self.head(features.float(), need_weights)

    def head(self, features: Tensor, need_weights: bool = False) -> Output:
        """All that follows the backbone: features (B, width) -> `Output`."""
        logits = {level: self.classifiers[level](features) for level in LEVELS}  # Fig. 5: PV_H1 .. PV_H4
        if self.attention is None:
            return Output(logits)
        vector = torch.cat([logits[level] for level in LEVELS], dim=1)  # PV (B, d)
        attended, weights = self.attention(vector, need_weights)  # PV' (B, d)
        return Output(
            logits,
            scene=self.ffn_s(attended) if self.ffn_s else None,  # PV'_s (B, scenes)
            text=self.ffn_t(attended) if self.ffn_t else None,  # PV'_t (B, text_dim)
            attention=weights,
        )


def probabilities(logits: dict[str, Tensor]) -> dict[str, Tensor]:
    """Softmax at every level: level -> (B, number of classes), rows add up to 1."""
    return {level: F.softmax(logits[level], dim=1) for level in LEVELS}
