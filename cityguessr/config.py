"""`ModelConfig`: every switch of every system, with its source in the paper or the released code; and `ClipFormat`."""

from __future__ import annotations

import dataclasses
from typing import Literal, get_args, get_origin, get_type_hints

from cityguessr.base.errors import InputError, one_of

TEXT_WIDTHS = {"minilm": 384, "clip": 512, "bert": 768, "gpt2": 768, "opt": 768, "random": 384, "release": 512}
"""Text encoder (see `text.features`) -> width of its features; "release": the columns of the released label files."""

Sampling = Literal["uniform", "released"]
"""Which frames of a clip are kept: evenly over it (this project's choice), or every fifth file by name (released)."""
SAMPLINGS = get_args(Sampling)

# Mean and standard deviation of ImageNet, per colour channel: what every pretrained backbone here was trained with.
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclasses.dataclass(frozen=True)
class ClipFormat:
    """How clips are prepared; models that take such frames share one prepared set, each with scenes of its own.

    Attributes:
        frames: how many are kept of a clip.
        size: height and width of a frame in pixels.
        sampling: "uniform" (evenly over the clip) or "released" (every fifth file by name, as the authors' code does).
        scene_classes: how many scenes its frames are labelled with, 16 or 365.

    Raises InputError for fewer than one frame or pixel, and another sampling.
    """

    frames: int
    size: int
    sampling: Sampling = "uniform"
    scene_classes: int = 16

    def __post_init__(self) -> None:
        for name in ("frames", "size"):
            if getattr(self, name) < 1:
                raise InputError(f"ClipFormat: {name} is {getattr(self, name)}; it must be at least 1")
        if self.sampling not in SAMPLINGS:
            raise one_of("sampling", self.sampling, SAMPLINGS)

    def folder(self, dataset: str) -> str:
        """The name of the folder of a data set prepared like this, such as `mini-uniform-8x64`, whatever its scenes."""
        return f"{dataset}-{self.sampling}-{self.frames}x{self.size}"


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Everything that defines a system of the paper, with a switch wherever paper and released code disagree.

    The defaults are `as_described()`. Each field names its source; a field with a fixed set of values takes no other.

    Raises InputError for a value outside that set, and for fields that contradict each other.
    """

    # --- What the model is given of a clip (`clip_format`) -----------------------------------------------------------
    frames: int = 15  # paper 5.2: 15, and not which; released code: 16
    size: int = 224  # pixels, height and width of a frame (5.2)
    # evenly: this project's choice, the paper does not say; "released": every 5th file by name, 16 of them
    sampling: Literal["uniform", "released"] = "uniform"
    scene_classes: Literal[16, 365] = 16  # or the 365 categories of Places365 that make up the 16 scenes (Table S1)
    # Table 2: the one of these frames that an image system sees; "all": each of them, features averaged (ours)
    frame: Literal["first", "mid", "last", "random", "all"] | None = None
    normalise_train: Literal["imagenet", "none"] = "imagenet"  # paper: silent, so as the backbone was pretrained; ...
    normalise_eval: Literal["imagenet", "none"] = "imagenet"  # ... released code: "none" in both, pixels in [0, 1]

    # --- The network -------------------------------------------------------------------------------------------------
    # Table 5 (5.4): "cityguessr" is Fig. 5, and with its losses off every baseline of one encoder and four heads
    # (VideoMAE, TimeSformer, MAE, PlaNet); "isns" and "geodecoder" are in `cityguessr.systems`
    system: Literal["cityguessr", "isns", "geodecoder"] = "cityguessr"
    # 4.2: VideoMAE ViT-S; Table 5: "timesformer"; Tables 2 and 5: "mae", the encoder of an image system
    backbone: Literal["videomae", "timesformer", "mae"] = "videomae"
    # 5.2: on Kinetics-400; "miniworld/...": small ones, made by `cityguessr.pretraining`; None: random weights
    pretrained: str | None = "MCG-NJU/videomae-small-finetuned-kinetics"
    patch: int = 16  # pixels
    width: int = 384  # feature dimension (5.2)
    depth: int = 12
    heads: int = 6
    # 4.3; in its place, for control, one linear layer, or nothing (ours)
    attention: Literal["self_cross", "linear", "identity"] = "self_cross"
    attention_heads: int = 2  # of the Self-Cross Attention (4.3, 5.2)
    attention_width: int = 6
    scene_from: Literal["attended", "feature"] = "attended"  # 4.3: FFN_s reads PV'; or the backbone's feature (ours)
    scene_widths: tuple[int, ...] = (256, 128, 64, 32, 16)  # hidden layers of FFN_s; six layers with the last (5.2)
    text_layers: int = 3  # of FFN_t; paper 5.2: 3 layers; released code: 2 (420-466-512)
    decoder_layers: int = 6  # of "geodecoder" (arXiv 2303.04249)

    # --- What it learns ----------------------------------------------------------------------------------------------
    scene_labels: Literal["soft", "majority", "first"] | None = "soft"  # 4.3, Table 3; None: no scene loss
    # which clip's, in training: its own; another one's, dealt at random; or a single scene drawn at random (ours)
    scene_targets: Literal["own", "shuffled", "random"] = "own"
    # 4.4, Table 3: "all", the mean over the four names, or "city", the city's alone; None: no text loss
    text_labels: Literal["all", "city"] | None = "all"
    text_encoder: str = "clip"  # one of `TEXT_WIDTHS`; see `cityguessr.text.features`
    text_dim: int | None = None  # None: as wide as the encoder's features (`text_width`)
    text_targets: Literal["own", "shuffled"] = "own"  # the features of its own city, or of another one (ours)
    # Eq. 3 is the loss of one video; released code: the sum over a batch, of 12 clips
    text_reduction: Literal["mean", "sum"] = "mean"

    # --- How it is trained and read (4.6, 5.1, 5.2) -------------------------------------------------------------------
    split: Literal["clip", "video"] = "clip"  # paper: clips of one video may fall on both sides; "video": none (ours)
    frozen_backbone: bool = False  # only what follows the backbone is trained (ours, for small GPUs)
    epochs: int = 10  # paper 5.2: 10; released code: 12
    # released code: the best epoch on the validation split, the very one that is reported
    selection: Literal["last", "best_on_validation"] = "last"
    # of `hierarchy.MODES`, those whose answer is one path in the tree. 4.6: Eq. 5, then one path; released code:
    # "traced", its products are commented out
    evaluation: Literal["codependent", "traced"] = "codependent"

    def __post_init__(self) -> None:
        if self.text_encoder not in TEXT_WIDTHS:
            raise one_of("text encoder", self.text_encoder, TEXT_WIDTHS)
        for field, allowed in _CHOICES.items():
            if getattr(self, field) not in allowed:
                names = ", ".join(map(repr, allowed))
                raise InputError(f"ModelConfig: {field} = {getattr(self, field)!r}; it is one of {names}")
        if self.size % self.patch or self.width % self.heads or self.attention_width % self.attention_heads:
            raise InputError(
                "ModelConfig: size must be a multiple of patch, width of heads, attention_width of attention_heads"
            )
        if (self.backbone == "mae") != (self.frame is not None):
            raise InputError(
                f"ModelConfig: backbone {self.backbone!r} and frame {self.frame!r} do not go together; 'mae' sees "
                "single frames (first, mid, last, random or all), 'videomae' and 'timesformer' a video (frame None)"
            )
        if self.system != "cityguessr":
            self._check_baseline()

    def _check_baseline(self) -> None:
        """ISNs and GeoDecoder are image systems over the 16 scenes, and neither aligns text."""
        wanted = {"backbone": "mae", "scene_classes": 16, "text_labels": None}
        wanted |= {"scene_labels": None} if self.system == "isns" else {}  # its scenes come from outside, no loss
        if self.frame == "all":
            raise InputError(f"ModelConfig: frame = 'all'; system {self.system!r} sees one frame of a clip")
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
    def clip_format(self) -> ClipFormat:
        """How the clips must be prepared that this model is trained on."""
        return ClipFormat(self.frames, self.size, self.sampling, self.scene_classes)

    @property
    def input_frames(self) -> int:
        """Frames that the model is given of a clip: one for an image system, all of them for the others."""
        return self.frames if self.frame in (None, "all") else 1

    @property
    def text_width(self) -> int:
        """The width of the text features that FFN_t is aligned with: `text_dim`, or the encoder's for None."""
        return TEXT_WIDTHS[self.text_encoder] if self.text_dim is None else self.text_dim

    @classmethod
    def as_described(cls) -> ModelConfig:
        """The method as the paper and the supplement describe it."""
        return cls()

    @classmethod
    def as_released(cls) -> ModelConfig:
        """The method as the authors' public code computes it (facts of the code, see `paper.disagreements`)."""
        return cls(
            frames=16,
            sampling="released",
            normalise_train="none",
            normalise_eval="none",
            text_layers=2,
            text_reduction="sum",
            epochs=12,
            selection="best_on_validation",
            evaluation="traced",
        )

    def replace(self, **changes: object) -> ModelConfig:
        """A copy with some fields changed. Raises InputError for a name that is no field."""
        known = {field.name for field in dataclasses.fields(self)}
        if unknown := set(changes) - known:
            raise InputError(
                f"ModelConfig has no field {', '.join(sorted(unknown))}; it has {', '.join(sorted(known))}"
            )
        return dataclasses.replace(self, **changes)


def _choices(hint: object) -> tuple[object, ...]:
    """The values that a field of type Literal allows, and None where it does; nothing for any other type."""
    if get_origin(hint) is Literal:
        return get_args(hint)
    parts = [_choices(part) for part in get_args(hint)]
    return (*sum(parts, ()), None) if any(parts) else ()


_CHOICES = {field: allowed for field, hint in get_type_hints(ModelConfig).items() if (allowed := _choices(hint))}
