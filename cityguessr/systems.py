"""The systems of Table 5 that are more than one encoder with four heads: ISNs and GeoDecoder, under the four levels.

The others are `CityGuessr` with its scene and text losses off: VideoMAE and TimeSformer on all frames, MAE and PlaNet
on one. Both systems here are written from the descriptions in their papers.
"""

import torch
from torch import Tensor, nn

from cityguessr.backbones import BACKBONES, Encoder
from cityguessr.base.errors import InputError
from cityguessr.config import ModelConfig
from cityguessr.model import CityGuessr, Output, System, four_heads, full_precision
from cityguessr.scenes import SCENE_GROUPS, SCENES
from cityguessr.taxonomy import LEVELS, Taxonomy


def scene_groups(scenes: Tensor) -> Tensor:
    """The group each frame belongs to: scene distributions (B, 16) -> indices (B,) into indoor, natural, urban.

    A group is as probable as its scenes together; of equals, the first one.

    Raises InputError for another shape, or where a frame's scenes are not known (NaN).
    """
    if scenes.ndim != 2 or scenes.shape[1] != len(SCENES):
        raise InputError(f"the scenes of a batch are (B, {len(SCENES)}), not {tuple(scenes.shape)}")
    if scenes.isnan().any():
        raise InputError("a frame without scene labels cannot be given to the network of its scene; label the scenes")
    parts = scenes.split([len(group) for group in SCENE_GROUPS.values()], dim=1)
    return torch.stack([part.sum(dim=1) for part in parts], dim=1).argmax(dim=1)


class SceneNetwork(nn.Module):
    """One of the three ISNs: an image encoder of its own with four heads, frames (B, 1, 3, H, W) -> level -> (B, n)."""

    def __init__(self, config: ModelConfig, taxonomy: Taxonomy, allow_downloads: bool) -> None:
        super().__init__()
        self.backbone = BACKBONES[config.backbone](config, allow_downloads)
        self.classifiers = four_heads(self.backbone.width, taxonomy)

    def forward(self, frames: Tensor, colours: str = "none") -> dict[str, Tensor]:
        features = self.backbone(frames, colours)  # (B, width)
        with full_precision(features):
            return {level: head(features.to(head.weight.dtype)) for level, head in self.classifiers.items()}


class ISNs(System):
    """Individual Scene Networks: one network for indoor, one for natural and one for urban frames.

    The scene of a frame picks the network, in training as in evaluation, so a network learns from the frames of its
    own scene alone. The scenes come from outside (Places365, as for the scene labels), hence `routed`.

    Müller-Budack, Pustu-Iren and Ewerth, "Geolocation Estimation of Photos using a Hierarchical Model and Scene
    Classification", ECCV 2018.
    """

    routed = True

    def __init__(self, config: ModelConfig, taxonomy: Taxonomy, allow_downloads: bool = False) -> None:
        super().__init__(config, taxonomy)
        self.networks = nn.ModuleDict(
            {group: SceneNetwork(config, taxonomy, allow_downloads) for group in SCENE_GROUPS}
        )

    def forward(self, frames: Tensor, scenes: Tensor) -> Output:
        """Frames (B, 1, 3, H, W) and the distribution over the 16 scenes of each (B, 16) -> `Output`."""
        if len(scenes) != len(frames):
            raise InputError(f"{len(frames)} frames, but the scenes of {len(scenes)}")
        chosen = scene_groups(scenes)  # (B,)
        self.check_frames(frames)
        rows, answers = [], []
        for index, network in enumerate(self.networks.values()):
            members = (chosen == index).nonzero().squeeze(1)
            if len(members):  # a network without frames does not run, and gets no gradient
                rows.append(members)
                answers.append(network(frames[members], self.colours))
        back = torch.cat(rows).argsort()  # from the order of the networks to that of the batch
        return Output({level: torch.cat([answer[level] for answer in answers])[back] for level in LEVELS})


class DecoderLayer(nn.Module):
    """Queries look at the image, then at each other, then think: queries (B, Q, width) -> the same.

    Cross-attention to the tokens, self-attention, FFN, each on normalised input and added to what came in.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(3)])
        self.cross = nn.MultiheadAttention(width, heads, batch_first=True)
        self.self_attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ffn = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:
        queries = queries + self.cross(self.norms[0](queries), tokens, tokens, need_weights=False)[0]
        normed = self.norms[1](queries)
        queries = queries + self.self_attention(normed, normed, normed, need_weights=False)[0]
        return queries + self.ffn(self.norms[2](queries))


class GeoDecoder(System):
    """Learned queries, one for each scene and level, read the image; the predicted scene's four queries answer.

    A scene's confidence is channel 0 of its decoded queries, averaged over the four levels, and the scene of highest
    confidence is the predicted one (the original's Fig. 3). It selects in training as in evaluation, so the heads
    see the queries that they will be asked about. Losses: the four levels, and the scene.

    All decoder layers are of one kind; the original ends in layers that attend within one level only.

    Clark et al., "Where We Are and What We're Looking At", CVPR 2023 (arXiv 2303.04249).
    """

    def __init__(self, config: ModelConfig, taxonomy: Taxonomy, allow_downloads: bool = False) -> None:
        super().__init__(config, taxonomy)
        self.backbone = BACKBONES[config.backbone](config, allow_downloads)
        width = self.backbone.width
        self.queries = nn.Parameter(0.02 * torch.randn(config.scene_classes * len(LEVELS), width))
        self.layers = nn.ModuleList([DecoderLayer(width, config.heads) for _ in range(config.decoder_layers)])
        self.norm = nn.LayerNorm(width)
        self.classifiers = four_heads(width, taxonomy)

    def decode(self, frames: Tensor) -> Tensor:
        """Frames (B, 1, 3, H, W) -> the decoded queries (B, scenes, 4, width), float32."""
        self.check_frames(frames)
        tokens = self.backbone.tokens(frames, self.colours)  # (B, patches, width)
        queries = self.queries.expand(len(frames), -1, -1)  # (B, scenes * 4, width)
        for layer in self.layers:
            queries = layer(queries, tokens)
        with full_precision(queries):
            return self.norm(queries.to(self.norm.weight.dtype)).unflatten(1, (self.config.scene_classes, len(LEVELS)))

    def forward(self, frames: Tensor) -> Output:
        """Frames (B, 1, 3, H, W), uint8 or float in [0, 1] -> `Output` with the scene logits (B, scenes)."""
        decoded = self.decode(frames)  # (B, scenes, 4, width)
        scene = decoded[..., 0].mean(dim=2)  # (B, scenes)
        selected = decoded[torch.arange(len(decoded), device=decoded.device), scene.argmax(dim=1)]  # (B, 4, width)
        with full_precision(selected):
            logits = {level: self.classifiers[level](selected[:, i]) for i, level in enumerate(LEVELS)}
        return Output(logits, scene=scene)


SYSTEMS: dict[str, type[System]] = {"cityguessr": CityGuessr, "isns": ISNs, "geodecoder": GeoDecoder}


def build(config: ModelConfig, taxonomy: Taxonomy, allow_downloads: bool = False) -> System:
    """The system of that configuration.

    Args:
        taxonomy: the label tree; its sizes are those of the heads.
        allow_downloads: whether pretrained weights may be fetched.
    """
    system = SYSTEMS[config.system](config, taxonomy, allow_downloads)
    if config.frozen_backbone:
        for module in system.modules():
            if isinstance(module, Encoder):
                module.requires_grad_(False)
    return system
