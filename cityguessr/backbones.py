"""Encoders: frames in, one feature vector a clip out (paper, section 4.2; Tables 2 and 5)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cityguessr.base import weights
from cityguessr.config import ModelConfig


class Encoder(nn.Module):
    """An encoder of transformers: frames (B, T, 3, H, W) -> features (B, width).

    Args:
        config: `pretrained` is a folder or hub name to load the weights from, None starts from random ones; `frame`,
            `frames`, `size`, `patch`, `width`, `depth` and `heads` give the shapes.
        allow_downloads: whether the hub may be asked for weights that are not on this machine.

    Raises InputError when the weights are not on this machine, do not fit, or leave any weight of the encoder unset.

    Example:
        >>> VideoMAE(ModelConfig(pretrained=None))(torch.rand(2, 15, 3, 224, 224)).shape
        torch.Size([2, 384])
    """

    def __init__(self, config: ModelConfig, allow_downloads: bool = False) -> None:
        super().__init__()
        self.width = config.width
        shapes = {
            "image_size": config.size,
            "patch_size": config.patch,
            "hidden_size": config.width,
            "num_hidden_layers": config.depth,
            "num_attention_heads": config.heads,
            "intermediate_size": 4 * config.width,
        }
        self.encoder = self.load(config, shapes, allow_downloads)

    def use(self, folded: bool = True, fused_attention: bool = True, recompute: bool = False) -> None:
        """Choose how the forward is computed; see `training.execution`."""
        self.encoder.set_attn_implementation("sdpa" if fused_attention else "eager")
        if recompute:
            self.encoder.gradient_checkpointing_enable({"use_reentrant": False})

    def load(self, config: ModelConfig, shapes: dict[str, int], allow_downloads: bool) -> nn.Module:
        """The network itself, from `shapes` as transformers calls them and what else it wants."""
        raise NotImplementedError


class VideoMAE(Encoder):
    """VideoMAE with masking off.

    The feature is the mean over all tokens of the last hidden state, with no final LayerNorm: that is what the
    released code takes, and a Kinetics-finetuned checkpoint carries none.

    A tubelet spans two frames. An odd clip (the paper's 15) repeats its last frame, so that no frame is dropped and the
    pretrained position table (16 frames, 8 tubelets) fits.
    """

    def load(self, config: ModelConfig, shapes: dict[str, int], allow_downloads: bool) -> nn.Module:
        from transformers import VideoMAEConfig, VideoMAEModel

        frames = config.frames + config.frames % 2
        wanted = VideoMAEConfig(num_frames=frames, tubelet_size=2, use_mean_pooling=True, **shapes)
        return _network(VideoMAEModel, wanted, config.pretrained, allow_downloads)

    def forward(self, frames: Tensor) -> Tensor:
        if frames.shape[1] % 2:
            frames = torch.cat((frames, frames[:, -1:]), dim=1)
        tokens = self.encoder(frames).last_hidden_state  # (B, T/2 * (H/patch) * (W/patch), width)
        return tokens.mean(dim=1)  # (B, width)


class TimeSformer(Encoder):
    """TimeSformer. Attention is divided: over the frames at each place, then over the places of each frame.

    The feature is the class token after the final LayerNorm, which is what TimeSformer's own classifier takes.

    The pretrained weights know 8 frames. For another number, each frame gets the time embedding of the pretrained
    frame that it falls on (nearest neighbour, as TimeSformer itself does), a parameter of its own from there on.
    """

    def load(self, config: ModelConfig, shapes: dict[str, int], allow_downloads: bool) -> nn.Module:
        from transformers import TimesformerConfig, TimesformerModel

        wanted = TimesformerConfig(num_frames=config.frames, **shapes)
        if config.pretrained is None:
            return TimesformerModel(wanted)
        with weights.reading(config.pretrained, allow_downloads) as source:
            saved = TimesformerConfig.from_pretrained(source, local_files_only=not allow_downloads)
        wanted.num_frames = saved.num_frames
        encoder = _network(TimesformerModel, wanted, config.pretrained, allow_downloads)
        table = encoder.embeddings.time_embeddings.detach().transpose(1, 2)  # (1, width, frames that it knows)
        resized = F.interpolate(table, size=config.frames, mode="nearest").transpose(1, 2)
        encoder.embeddings.time_embeddings = nn.Parameter(resized.contiguous())  # (1, T, width)
        encoder.config.num_frames = config.frames  # each layer reshapes by it
        return encoder

    def forward(self, frames: Tensor) -> Tensor:
        return self.encoder(frames).last_hidden_state[:, 0]  # (B, width)


class MAE(Encoder):
    """The image MAE with masking off: one frame (B, 1, 3, H, W) -> (B, width).

    Masking serves pretraining alone. Off, it still deals the patches in random order, which would change the last
    digits of the feature from call to call, so the order is given.

    The feature is the mean over the patch tokens of the last hidden state, as MAE is finetuned for classification.
    """

    def load(self, config: ModelConfig, shapes: dict[str, int], allow_downloads: bool) -> nn.Module:
        from transformers import ViTMAEConfig, ViTMAEModel

        self.patches = (config.size // config.patch) ** 2
        return _network(ViTMAEModel, ViTMAEConfig(mask_ratio=0.0, **shapes), config.pretrained, allow_downloads)

    def tokens(self, frames: Tensor) -> Tensor:
        """Frames (B, 1, 3, H, W) -> the patch tokens (B, patches, width), row by row, without the class token."""
        order = torch.arange(self.patches, dtype=torch.float32, device=frames.device).expand(len(frames), -1)
        return self.encoder(frames[:, 0], noise=order).last_hidden_state[:, 1:]

    def forward(self, frames: Tensor) -> Tensor:
        return self.tokens(frames).mean(dim=1)  # (B, width)


BACKBONES: dict[str, type[Encoder]] = {"videomae": VideoMAE, "timesformer": TimeSformer, "mae": MAE}


def _network(model_class: type, wanted: object, pretrained: str | None, allow_downloads: bool) -> nn.Module:
    """A network of transformers with random weights, or with those of a checkpoint, every one of them."""
    if pretrained is None:
        return model_class(wanted)
    options = {"config": wanted, "dtype": torch.float32, "local_files_only": not allow_downloads}
    with weights.reading(pretrained, allow_downloads) as source:
        return weights.load(model_class, source, pretrained, **options)
