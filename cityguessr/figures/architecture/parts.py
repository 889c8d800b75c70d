"""The sizes of a model, read off its modules and not off what its configuration promises."""

import dataclasses

import pandas as pd
import torch
from torch import nn

from cityguessr.base.errors import InputError
from cityguessr.config import ModelConfig
from cityguessr.model import CityGuessr, SelfCrossAttention
from cityguessr.taxonomy import LEVELS, Taxonomy

SCENE_LABEL = {"soft": "soft scene label", "majority": "majority scene", "first": "scene of frame 1"}


@dataclasses.dataclass(frozen=True)
class Parts:
    """The sizes of a model.

    Attributes:
        frames, pixels: of the clip that it takes; a frame is square.
        tubelet: frames, rows and columns of pixels that make one token.
        grid: how many tubelets there are in time, from top to bottom and from left to right.
        layers, heads, width: of the encoder's transformer; the width is the feature's.
        classes: level -> outputs of its head.
        attention: width and heads of the Self-Cross Attention; None without it.
        ffn_s, ffn_t: the widths of the layers of FFN_s and FFN_t, input first; empty without them.
        parameters: part -> its trainable numbers.
    """

    frames: int
    pixels: int
    tubelet: tuple[int, int, int]
    grid: tuple[int, int, int]
    layers: int
    heads: int
    width: int
    classes: dict[str, int]
    attention: tuple[int, int] | None
    ffn_s: tuple[int, ...]
    ffn_t: tuple[int, ...]
    parameters: dict[str, int]

    @property
    def d(self) -> int:
        """The classes of all four levels together, the length of PV."""
        return sum(self.classes.values())


def read(model: CityGuessr) -> Parts:
    """The sizes of a model, read off its modules and not off its configuration."""
    encoder = model.backbone.encoder
    cut = next(module for module in encoder.modules() if isinstance(module, (nn.Conv2d, nn.Conv3d)))
    tubelet = (1, *cut.kernel_size)[-3:]  # a 2-D kernel cuts each frame on its own
    frames, pixels = model.config.input_frames, encoder.config.image_size
    attention = model.attention
    modules = {"encoder": model.backbone, **{f"H{i}": model.classifiers[v] for i, v in enumerate(LEVELS, 1)}}
    modules |= {"Self-Cross Attention": attention, "FFN_s": model.ffn_s, "FFN_t": model.ffn_t}
    return Parts(
        frames=frames,
        pixels=pixels,
        tubelet=tubelet,
        grid=(-(-frames // tubelet[0]), pixels // tubelet[1], pixels // tubelet[2]),
        layers=max(len(module) for module in encoder.modules() if isinstance(module, nn.ModuleList)),
        heads=encoder.config.num_attention_heads,
        width=model.classifiers["city"].in_features,
        classes={level: model.classifiers[level].out_features for level in LEVELS},
        attention=(attention.query.out_features, attention.attention.num_heads)
        if isinstance(attention, SelfCrossAttention)
        else None,
        ffn_s=_widths(model.ffn_s),
        ffn_t=_widths(model.ffn_t),
        parameters={name: sum(p.numel() for p in m.parameters()) for name, m in modules.items() if m is not None},
    )


def sizes(model: CityGuessr | ModelConfig, taxonomy: Taxonomy | None = None) -> pd.DataFrame:
    """What `architecture.draw` shows, as numbers: columns part, shape and parameters, in the order of the flow.

    Parameters add up to the model's. Arguments and errors are those of `architecture.draw`.
    """
    built = build(model, taxonomy)
    parts, config = read(built), built.config
    rows = [
        ("clip", (parts.frames, 3, parts.pixels, parts.pixels)),
        ("tubelet", (parts.tubelet[0], 3, *parts.tubelet[1:])),
        ("tubelets", parts.grid),
        ("encoder", f"{parts.layers} layers, {parts.heads} heads, width {parts.width}"),
        ("feature", (parts.width,)),
    ]
    for number, level in enumerate(LEVELS, 1):
        rows += [(f"H{number}", f"{parts.width}-{parts.classes[level]}"), (f"PV_H{number}", (parts.classes[level],))]
    rows += [("L_geo", f"cross-entropy of {len(LEVELS)} levels")]
    if parts.attention:
        width, heads = parts.attention
        rows += [("PV", (parts.d,)), *((name, (parts.d, width)) for name in "qkv")]
        rows += [("w", (heads, parts.d, parts.d)), ("Self-Cross Attention", f"1-{width}-1, {heads} heads")]
        rows += [("PV'", (parts.d,))]
    if parts.ffn_s:
        rows += [("FFN_s", "-".join(map(str, parts.ffn_s))), ("PV'_s", (parts.ffn_s[-1],))]
        rows += [("L_scene", f"cross-entropy with the {SCENE_LABEL[config.scene_labels]}")]
    if parts.ffn_t:
        rows += [("FFN_t", "-".join(map(str, parts.ffn_t))), ("PV'_t", (parts.ffn_t[-1],)), ("F_t", (parts.ffn_t[-1],))]
        rows += [("L_TLA", f"minus cosine with names read by {config.text_encoder}")]
    shapes = [shape if isinstance(shape, str) else " x ".join(map(str, shape)) for _, shape in rows]
    names = [name for name, _ in rows]
    return pd.DataFrame({"part": names, "shape": shapes, "parameters": [parts.parameters.get(n, 0) for n in names]})


def _widths(network: nn.Sequential | None) -> tuple[int, ...]:
    layers = [layer for layer in network or () if isinstance(layer, nn.Linear)]
    return tuple(layer.in_features for layer in layers) + tuple(layer.out_features for layer in layers[-1:])


def build(model: CityGuessr | ModelConfig, taxonomy: Taxonomy | None) -> CityGuessr:
    """The model itself, or one of that configuration without any weights."""
    if isinstance(model, ModelConfig) and model.system == "cityguessr":
        if taxonomy is None:
            raise InputError("a configuration does not say how many classes there are; give a taxonomy as well")
        with torch.device("meta"):
            return CityGuessr(model.replace(pretrained=None), taxonomy)
    if not isinstance(model, CityGuessr):
        what = f"system {model.system!r}" if isinstance(model, ModelConfig) else type(model).__name__
        raise InputError(
            f"Fig. 5 shows CityGuessr, or a part of it, and not {what}; give a CityGuessr or its ModelConfig"
        )
    if taxonomy is not None and taxonomy.sizes != model.taxonomy.sizes:
        raise InputError(f"the model has other classes, {model.taxonomy}, than the taxonomy given, {taxonomy}")
    return model
