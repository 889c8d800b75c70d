"""VidTAG: frozen features of a video's frames in, one embedding per frame out, beside the embeddings of coordinates.

B videos, T frames, d numbers per frame (1792), e numbers per embedding (512). All embeddings have length 1, so that
their inner product is the cosine by which a frame finds its coordinate.
"""

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cityguessr.base.errors import InputError
from cityguessr.vidtag.config import VidTAGConfig
from cityguessr.vidtag.location import LocationEncoder
from cityguessr.vidtag.temporal import MODULES

ACTIVATIONS = {"mish": nn.Mish, "relu": nn.ReLU}


class GeoRefiner(nn.Module):
    """Mends a video's retrieved coordinates by looking at its frames (phase II): (B, T, e) -> (B, T, e), length 1.

    One encoder layer over the frames, two decoder layers whose queries are the coordinates' embeddings. All of torch's
    defaults, as in the authors' code: post-norm, ReLU, dropout 0.1, no positions on either side. Without positions a
    coordinate finds its frame by likeness alone. 11,560,448 weights at e = 512.
    """

    def __init__(self, config: VidTAGConfig) -> None:
        super().__init__()
        sizes = (config.width, config.refiner_heads, config.refiner_feed_forward)
        self.encoder = nn.TransformerEncoderLayer(*sizes, batch_first=True)
        self.decoder = nn.ModuleList(nn.TransformerDecoderLayer(*sizes, batch_first=True) for _ in range(2))

    def forward(self, places: Tensor, frames: Tensor) -> Tensor:
        """Embeddings of coordinates and of frames, (B, T, e) each -> refined embeddings (B, T, e) of length 1."""
        memory = self.encoder(frames)
        for layer in self.decoder:
            places = layer(places, memory)
        return F.normalize(places, dim=-1)


class VidTAG(nn.Module):
    """The whole system but for its frozen frame encoders, whose features it is given.

    Attributes:
        logit_scale: logarithm of the factor on cosines, learned from ln(1 / 0.07) on.
        refiner: None where the configuration has none.
    """

    def __init__(self, config: VidTAGConfig) -> None:
        super().__init__()
        self.config = config
        self.temporal = nn.Identity() if config.temporal == "none" else MODULES[config.temporal](config)
        layers: list[nn.Module] = []
        for wide, narrow in itertools.pairwise((config.features, *config.head, config.width)):
            layers += [nn.Linear(wide, narrow), ACTIVATIONS[config.head_activation]()]
        self.head = nn.Sequential(*layers[:-1])
        self.location = LocationEncoder(config.sigmas, config.fourier, config.location_width, config.width)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.refiner = GeoRefiner(config) if config.refiner else None

    def frames(self, features: Tensor) -> Tensor:
        """Frozen features (B, T, d) -> embeddings of frames (B, T, e) of length 1."""
        if features.dim() != 3 or features.shape[2] != self.config.features:
            raise InputError(
                f"features are (videos, frames, {self.config.features}); got shape {tuple(features.shape)}"
            )
        if self.config.unit_features:
            features = F.normalize(features, dim=-1)
        return F.normalize(self.head(self.temporal(features)), dim=-1)

    def places(self, latlon: Tensor) -> Tensor:
        """Coordinates (..., 2) in degrees, latitude first -> embeddings (..., e) of length 1."""
        return F.normalize(self.location(latlon), dim=-1)

    def refined(self, latlon: Tensor, frames: Tensor) -> Tensor:
        """Phase II: retrieved coordinates (B, T, 2) and embeddings of frames (B, T, e) -> (B, T, e) of length 1."""
        if self.refiner is None:
            raise InputError("this system has no GeoRefiner; make it with VidTAGConfig(refiner=True)")
        return self.refiner(self.places(latlon), frames)

    def train_refiner(self) -> None:
        """Put the system in the state of phase II: GeoRefiner trains, all else is frozen.

        What is frozen is in evaluation mode, too: in training mode TempGeo's BatchNorm would go on moving its running
        statistics, and dropout would be on.
        """
        if self.refiner is None:
            raise InputError("this system has no GeoRefiner; make it with VidTAGConfig(refiner=True)")
        self.eval().requires_grad_(False)
        self.refiner.train().requires_grad_(True)
