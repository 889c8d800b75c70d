"""`ModelConfig`: every switch of every system, with its source in the paper or in the released code."""

import dataclasses

from cityguessr.base.errors import InputError


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Everything that defines a system of the paper, with a switch wherever paper and released code disagree.

    The defaults are `as_described()`. Each field names its source.
    """

    # System (5.4, Table 5): "cityguessr" is Fig. 5, and every baseline of one encoder and four heads with its losses
    # off (VideoMAE, TimeSformer, MAE, PlaNet); "isns" and "geodecoder" are `cityguessr.systems`
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
    text_encoder: str = "clip"  # see `cityguessr.text.features`; "release": the columns of the released label files
    text_dim: int = 512
    text_layers: int = 3  # paper 5.2: 3 layers; released code: 2 (420-466-512)
    text_reduction: str = "mean"  # Eq. 3 is the loss of one video; released code: "sum" over the batch of 12
    # Protocol (4.6, 5.1, 5.2)
    split: str = "clip"  # paper: clips of one video may fall on both sides; "video": no source video does (ours)
    epochs: int = 10  # paper 5.2: 10; released code: 12
    selection: str = "last"  # released code: "best_on_validation", the very split that is reported
    evaluation: str = "codependent"  # 4.6: Eq. 5, then one path; released code: "traced", its products commented out

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
            "evaluation": ("codependent", "traced"),  # of `hierarchy.MODES`, those whose answer is one path in the tree
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
            evaluation="traced",
        )

    def replace(self, **changes: object) -> "ModelConfig":
        """A copy with some fields changed. Raises InputError for a name that is no field."""
        known = {field.name for field in dataclasses.fields(self)}
        if unknown := set(changes) - known:
            raise InputError(
                f"ModelConfig has no field {', '.join(sorted(unknown))}; it has {', '.join(sorted(known))}"
            )
        return dataclasses.replace(self, **changes)
