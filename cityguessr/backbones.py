"""Encoders: frames in, one feature vector a clip out (paper, section 4.2; Tables 2 and 5)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cityguessr.base import weights
from cityguessr.base.errors import InputError


class VideoMAE(nn.Module):
    """The encoder of VideoMAE through transformers, with masking off: frames (B, T, 3, H, W) -> features (B, width).

    The feature is the mean over all tokens of the last hidden state, with no final LayerNorm: that is what the
    released code takes, and a Kinetics-finetuned checkpoint carries none.

    A tubelet spans two frames. An odd clip (the paper's 15) repeats its last frame, so that no frame is dropped and the
    pretrained position table (16 frames, 8 tubelets) fits.

    Args:
        frames: frames a clip, T.
        size: height and width of a frame in pixels, a multiple of `patch`.
        width, depth, heads: of the transformer (384, 12, 6 for ViT-S).
        pretrained: a folder or hub name to load the weights from; None starts from random ones.
        allow_downloads: whether the hub may be asked for a name that is not on this machine.

    Raises:
        InputError: when the weights are not on this machine, do not fit, or leave any encoder weight unset.
    """

    def __init__(
        self,
        frames: int,
        size: int,
        patch: int,
        width: int,
        depth: int,
        heads: int,
        pretrained: str | None = None,
        allow_downloads: bool = False,
    ) -> None:
        super().__init__()
        from transformers import VideoMAEConfig, VideoMAEModel

        config = VideoMAEConfig(
            num_frames=frames + frames % 2,
            tubelet_size=2,
            image_size=size,
            patch_size=patch,
            hidden_size=width,
            num_hidden_layers=depth,
            num_attention_heads=heads,
            intermediate_size=4 * width,
            use_mean_pooling=True,
        )
        self.width = width
        if pretrained is None:
            self.encoder = VideoMAEModel(config)
        else:
            self.encoder = _load_pretrained(VideoMAEModel, config, pretrained, allow_downloads)

    def forward(self, frames: Tensor) -> Tensor:
        if frames.shape[1] % 2:
            frames = torch.cat((frames, frames[:, -1:]), dim=1)
        tokens = self.encoder(frames).last_hidden_state  # (B, T/2 * (H/patch) * (W/patch), width)
        return tokens.mean(dim=1)  # (B, width)


class TimeSformer(nn.Module):
    """The encoder of TimeSformer through transformers: frames (B, T, 3, H, W) -> features (B, width).

    Attention is divided: over the frames at each place, then over the places of each frame. The feature is the class
    token after the final LayerNorm, which is what TimeSformer's own classifier takes.

    The pretrained weights know 8 frames. For another number, each frame gets the time embedding of the pretrained
    frame that it falls on (nearest neighbour, as TimeSformer itself does), a parameter of its own from there on.

    Arguments and errors are those of `VideoMAE`.
    """

    def __init__(
        self,
        frames: int,
        size: int,
        patch: int,
        width: int,
        depth: int,
        heads: int,
        pretrained: str | None = None,
        allow_downloads: bool = False,
    ) -> None:
        super().__init__()
        from transformers import TimesformerConfig, TimesformerModel

        config = TimesformerConfig(
            num_frames=frames,
            image_size=size,
            patch_size=patch,
            hidden_size=width,
            num_hidden_layers=depth,
            num_attention_heads=heads,
            intermediate_size=4 * width,
        )
        self.width = width
        if pretrained is None:
            self.encoder = TimesformerModel(config)
            return
        with weights.reading(pretrained, allow_downloads) as source:
            there = TimesformerConfig.from_pretrained(source, local_files_only=not allow_downloads)
        config.num_frames = there.num_frames
        self.encoder = _load_pretrained(TimesformerModel, config, pretrained, allow_downloads)
        embeddings = self.encoder.embeddings
        resized = F.interpolate(embeddings.time_embeddings.detach().transpose(1, 2), size=frames, mode="nearest")
        embeddings.time_embeddings = nn.Parameter(resized.transpose(1, 2).contiguous())  # (1, T, width)
        self.encoder.config.num_frames = frames  # each layer reshapes by it

    def forward(self, frames: Tensor) -> Tensor:
        return self.encoder(frames).last_hidden_state[:, 0]  # (B, width)


class MAE(nn.Module):
    """The encoder of the image MAE through transformers, with masking off: one frame (B, 1, 3, H, W) -> (B, width).

    Masking serves pretraining alone. Off, it still deals the patches in random order, which would change the last
    digits of the feature from call to call, so the order is given.

    The feature is the mean over the patch tokens of the last hidden state, as MAE is finetuned for classification.

    Arguments and errors are those of `VideoMAE`; `frames` is 1.
    """

    def __init__(
        self,
        frames: int,
        size: int,
        patch: int,
        width: int,
        depth: int,
        heads: int,
        pretrained: str | None = None,
        allow_downloads: bool = False,
    ) -> None:
        super().__init__()
        from transformers import ViTMAEConfig, ViTMAEModel

        if frames != 1:
            raise InputError(f"MAE is an image encoder and takes 1 frame, not {frames}; say which (ModelConfig.frame)")
        config = ViTMAEConfig(
            image_size=size,
            patch_size=patch,
            hidden_size=width,
            num_hidden_layers=depth,
            num_attention_heads=heads,
            intermediate_size=4 * width,
            mask_ratio=0.0,
        )
        self.width, self.patches = width, (size // patch) ** 2
        if pretrained is None:
            self.encoder = ViTMAEModel(config)
        else:
            self.encoder = _load_pretrained(ViTMAEModel, config, pretrained, allow_downloads)

    def tokens(self, frames: Tensor) -> Tensor:
        """Frames (B, 1, 3, H, W) -> the patch tokens (B, patches, width), row by row, without the class token."""
        order = torch.arange(self.patches, dtype=torch.float32, device=frames.device).expand(len(frames), -1)
        return self.encoder(frames[:, 0], noise=order).last_hidden_state[:, 1:]

    def forward(self, frames: Tensor) -> Tensor:
        return self.tokens(frames).mean(dim=1)  # (B, width)


BACKBONES = {"videomae": VideoMAE, "timesformer": TimeSformer, "mae": MAE}


def _load_pretrained(model_class: type, config: object, name: str, allow_downloads: bool) -> nn.Module:
    """A transformers encoder with the weights of a checkpoint, every one of them."""
    with weights.reading(name, allow_downloads) as source:
        return weights.load(
            model_class, source, name, config=config, dtype=torch.float32, local_files_only=not allow_downloads
        )
