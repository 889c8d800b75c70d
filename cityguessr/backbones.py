"""Encoders: frames in, one feature vector a clip out (paper, section 4.2; Tables 2 and 5).

The networks are those of transformers: their modules, their weights, the names of their weights. What they compute is
written out once more in the few operations of `blocks`, which is faster; a test holds it against transformers' own
forward pass, and `plain` goes back to that.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from cityguessr.base import weights
from cityguessr.config import ModelConfig
from cityguessr.folded.blocks import Layer, attend, chained, embed_patches, joined, normalised


class Encoder(nn.Module):
    """An encoder of transformers: frames (B, T, 3, H, W) -> features (B, width).

    Attributes:
        plain, fused, recompute: how the features are computed, as chosen by `use`.

    Args:
        config: `pretrained` is a folder or hub name to load the weights from, None starts from random ones; `frame`,
            `frames`, `size`, `patch`, `width`, `depth` and `heads` give the shapes.
        allow_downloads: whether the hub may be asked for weights that are not on this machine.

    Raises InputError when the weights are not on this machine, do not fit, or leave any weight of the encoder unset.

    Example:
        >>> VideoMAE(ModelConfig(pretrained=None))(torch.rand(2, 15, 3, 224, 224)).shape
        torch.Size([2, 384])
    """

    plain = False

    def __init__(self, config: ModelConfig, allow_downloads: bool = False) -> None:
        super().__init__()
        self.width, self.heads = config.width, config.heads
        self.plain, self.fused, self.recompute = False, None, False
        shapes = {
            "image_size": config.size,
            "patch_size": config.patch,
            "hidden_size": config.width,
            "num_hidden_layers": config.depth,
            "num_attention_heads": config.heads,
            "intermediate_size": 4 * config.width,
        }
        self.encoder = self.load(config, shapes, allow_downloads)

    def use(self, folded: bool = True, fused_attention: bool | None = None, recompute: bool = False) -> None:
        """Choose how the features are computed; they stay the same, up to rounding.

        Args:
            folded: in the few operations of `blocks`; otherwise by transformers' own forward pass.
            fused_attention: in one kernel that keeps no scores; None: on a GPU alone.
            recompute: whether a layer's activations are computed again on the way back in place of being kept.
        """
        self.plain, self.fused, self.recompute = not folded, fused_attention, recompute
        self.encoder.set_attn_implementation("eager" if fused_attention is False else "sdpa")

    def load(self, config: ModelConfig, shapes: dict[str, int], allow_downloads: bool) -> nn.Module:
        """The network itself, from `shapes` as transformers calls them and what else it wants."""
        raise NotImplementedError

    def forward(self, frames: Tensor, colours: str = "none") -> Tensor:
        """Frames (B, T, 3, H, W) -> features (B, width).

        Args:
            frames: uint8, or float: fractions of 1, or what `normalised` has made of them.
            colours: the normalisation that they still need, as in `normalised`.
        """
        if self.plain:
            return self.plain_features(normalised(frames, colours))
        return self.features(frames, colours)

    def features(self, frames: Tensor, colours: str) -> Tensor:
        """What `forward` gives, in few operations."""
        raise NotImplementedError

    def plain_features(self, frames: Tensor) -> Tensor:
        """What transformers' own forward pass gives for frames that are normalised already."""
        raise NotImplementedError

    def kept(self, layer: Callable[..., Tensor], *tokens: object) -> Tensor:
        """What a layer makes of its tokens; what it needs on the way back is kept, or computed again there."""
        return checkpoint(layer, *tokens, use_reentrant=False) if self.recompute else layer(*tokens)

    def patches(self, frames: Tensor, colours: str) -> Tensor:
        """Patch embeddings (B, T / frames that a patch spans, patches, width), without their positions."""
        return embed_patches(frames, self.encoder.embeddings.patch_embeddings.projection, colours)


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
        encoder = _network(VideoMAEModel, wanted, config.pretrained, allow_downloads)
        # Sines and cosines, no parameter; transformers keeps them on the processor and copies them at every step
        self.register_buffer("positions", encoder.embeddings.position_embeddings, persistent=False)  # (1, N, width)
        return encoder

    def features(self, frames: Tensor, colours: str) -> Tensor:
        tokens = self.patches(_even(frames), colours).flatten(1, 2)  # (B, T/2 * (H/patch) * (W/patch), width)
        tokens = tokens + self.positions.to(tokens)
        *layers, last = map(self.parts, self.encoder.encoder.layer)
        for layer in layers:
            tokens = self.kept(layer, tokens)
        tokens = last.attended(tokens)
        # The mean over the tokens passes through the last linear map, which is left with one vector a clip
        inner = (
            last.inner(tokens).sum(dim=1) / tokens.shape[1]
        )  # unlike the mean's, the sum's gradient is not written out
        return tokens.mean(dim=1) + last.narrow(inner)  # (B, width)

    def plain_features(self, frames: Tensor) -> Tensor:
        return self.encoder(_even(frames)).last_hidden_state.mean(dim=1)  # (B, width)

    def parts(self, layer: nn.Module) -> Layer:
        """A layer by the names of `Layer`."""
        attention = layer.attention.attention
        return Layer(
            self.heads,
            self.fused,
            layer.layernorm_before,
            joined(attention.query, attention.key, attention.value),
            layer.attention.output.dense,
            layer.layernorm_after,
            layer.intermediate.dense,
            layer.output.dense,
        )


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

    def features(self, frames: Tensor, colours: str) -> Tensor:
        embeddings = self.encoder.embeddings
        places = embeddings.position_embeddings  # (1, 1 + P, width), the class token's first
        patches = (self.patches(frames, colours) + places[:, 1:]).transpose(1, 2)  # (B, P, T, width)
        patches = patches + embeddings.time_embeddings
        token = (embeddings.cls_token + places[:, :1]).expand(len(frames), -1, -1)  # (B, 1, width)
        *layers, last = self.encoder.encoder.layer
        for layer in layers:
            tokens = self.kept(self.divided, token, patches, layer)
            token, patches = tokens[:, :1], tokens[:, 1:].unflatten(1, patches.shape[1:3])
        token = self.divided(token, patches, last, last=True)
        return self.encoder.layernorm(token[:, 0])  # (B, width)

    def divided(self, token: Tensor, patches: Tensor, layer: nn.Module, last: bool = False) -> Tensor:
        """A layer: class token (B, 1, width) and patches (B, P, T, width) -> both in one row (B, 1 + P T, width).

        The class token stands among the places of every frame; what they make of it is averaged.

        Args:
            last: nothing reads the patches after this layer, so the class token alone goes through it: (B, 1, width).
        """
        grid = patches.shape[1:3]
        time, space = layer.temporal_attention, self.parts(layer)
        mixed = attend(time.attention.qkv(layer.temporal_layernorm(patches)), self.heads, self.fused)  # over the frames
        patches = patches + F.linear(mixed, *chained(time.output.dense, layer.temporal_dense))
        tokens = torch.cat((token, patches.flatten(1, 2)), dim=1)  # (B, 1 + P T, width)
        qkv = space.queries_keys_values(tokens)
        repeated = qkv[:, :1, None].transpose(1, 2).expand(-1, grid[1], -1, -1)  # (B, T, 1, 3 width)
        qkv = torch.cat((repeated, qkv[:, 1:].unflatten(1, grid).transpose(1, 2)), dim=2)  # (B, T, 1 + P, 3 width)
        mixed = attend(qkv, self.heads, self.fused, queries=1 if last else None)  # over the places
        averaged = mixed[:, :, 0].mean(dim=1, keepdim=True)  # (B, 1, width)
        if last:
            tokens = token + space.mixed(averaged)
        else:
            mixed = torch.cat((averaged, mixed[:, :, 1:].transpose(1, 2).flatten(1, 2)), dim=1)  # (B, 1 + P T, width)
            tokens = tokens + space.mixed(mixed)
        return space.fed(tokens)

    def plain_features(self, frames: Tensor) -> Tensor:
        return self.encoder(frames).last_hidden_state[:, 0]  # (B, width)

    def parts(self, layer: nn.Module) -> Layer:
        """A layer by the names of `Layer`, its attention that over the places."""
        return Layer(
            self.heads,
            self.fused,
            layer.layernorm_before,
            joined(layer.attention.attention.qkv),
            layer.attention.output.dense,
            layer.layernorm_after,
            layer.intermediate.dense,
            layer.output.dense,
        )


class MAE(Encoder):
    """The image MAE with masking off: one frame (B, 1, 3, H, W) -> (B, width), or the mean over T of them.

    Masking serves pretraining alone. Off, transformers still deals the patches in random order, which would change the
    last digits of the feature from call to call, so its forward pass is given the order.

    The feature is the mean over the patch tokens of the last hidden state, as MAE is finetuned for classification.
    """

    def load(self, config: ModelConfig, shapes: dict[str, int], allow_downloads: bool) -> nn.Module:
        from transformers import ViTMAEConfig, ViTMAEModel

        return _network(ViTMAEModel, ViTMAEConfig(mask_ratio=0.0, **shapes), config.pretrained, allow_downloads)

    def tokens(self, frames: Tensor, colours: str = "none") -> Tensor:
        """Frames (B, 1, 3, H, W) -> the patch tokens (B, patches, width), row by row, without the class token."""
        if self.plain:
            return self.plain_tokens(normalised(frames, colours))
        embeddings = self.encoder.embeddings
        places = embeddings.position_embeddings  # (1, 1 + patches, width), the class token's first
        patches = self.patches(frames, colours)[:, 0] + places[:, 1:]
        token = (embeddings.cls_token + places[:, :1]).expand(len(frames), -1, -1)  # (B, 1, width)
        tokens = torch.cat((token, patches), dim=1)  # (B, 1 + patches, width)
        for layer in map(self.parts, self.encoder.layers):
            tokens = self.kept(layer, tokens)
        return self.encoder.layernorm(tokens[:, 1:])

    def plain_tokens(self, frames: Tensor) -> Tensor:
        """What transformers' own forward pass gives in place of `tokens` for normalised frames."""
        count = self.encoder.embeddings.patch_embeddings.num_patches
        order = torch.arange(count, dtype=torch.float32, device=frames.device).expand(len(frames), -1)
        return self.encoder(frames[:, 0], noise=order).last_hidden_state[:, 1:]

    def features(self, frames: Tensor, colours: str) -> Tensor:
        return self.tokens(_singly(frames), colours).unflatten(0, frames.shape[:2]).mean(dim=(1, 2))  # (B, width)

    def plain_features(self, frames: Tensor) -> Tensor:
        return self.plain_tokens(_singly(frames)).unflatten(0, frames.shape[:2]).mean(dim=(1, 2))  # (B, width)

    def parts(self, layer: nn.Module) -> Layer:
        """A layer by the names of `Layer`."""
        attention = layer.attention
        return Layer(
            self.heads,
            self.fused,
            layer.layernorm_before,
            joined(attention.q_proj, attention.k_proj, attention.v_proj),
            attention.o_proj,
            layer.layernorm_after,
            layer.mlp.fc1,
            layer.mlp.fc2,
        )


BACKBONES: dict[str, type[Encoder]] = {"videomae": VideoMAE, "timesformer": TimeSformer, "mae": MAE}


def _singly(frames: Tensor) -> Tensor:
    """Frames (B, T, 3, H, W) as B T clips of one frame."""
    return frames.flatten(0, 1).unsqueeze(1)


def _even(frames: Tensor) -> Tensor:
    """Frames (B, T, 3, H, W), the last one repeated where T is odd."""
    return torch.cat((frames, frames[:, -1:]), dim=1) if frames.shape[1] % 2 else frames


def _network(model_class: type, wanted: object, pretrained: str | None, allow_downloads: bool) -> nn.Module:
    """A network of transformers with random weights, or with those of a checkpoint, every one of them."""
    if pretrained is None:
        return model_class(wanted)
    options = {"config": wanted, "dtype": torch.float32, "local_files_only": not allow_downloads}
    with weights.reading(pretrained, allow_downloads) as source:
        return weights.load(model_class, source, pretrained, **options)
