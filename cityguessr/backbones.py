"""Encoders: frames in, one feature vector a clip out (paper, section 4.2; Tables 2 and 5)."""

from __future__ import annotations

import contextlib
import hashlib
import pickle
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cityguessr.base.errors import InputError, MissingWeights
from cityguessr.base.paths import data
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
        with _reading(config.pretrained, allow_downloads) as source:
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

# Size of the checkpoints that the paper's systems start from, in MB (MAE's holds the decoder too)
_MEGABYTES = {
    "MCG-NJU/videomae-small-finetuned-kinetics": 90,
    "facebook/timesformer-base-finetuned-k400": 490,
    "facebook/vit-mae-base": 450,
}
_FILES = ("model.safetensors", "pytorch_model.bin")  # a checkpoint has one or the other; the first one counts


def local_weights(name: str) -> Path:
    """Where a checkpoint of that hub name is looked for first: `data/weights/<last part of the name>`."""
    return data() / "weights" / Path(name).name


def weights_version(name: str | None) -> str | None:
    """A digest of the checkpoint file in `local_weights`; the bare name for one that the hub keeps, None for none."""
    if name is None:
        return None
    for file in (local_weights(name) / file for file in _FILES):
        if file.is_file():
            with open(file, "rb") as opened:
                return hashlib.file_digest(opened, "sha256").hexdigest()
    return name


@contextlib.contextmanager
def _reading(name: str, allow_downloads: bool) -> Iterator[str]:
    """Says where a checkpoint is, quietly, and turns what goes wrong in reading it into one clear message."""
    from safetensors import SafetensorError
    from transformers.utils import logging

    local = local_weights(name)
    source = str(local) if local.is_dir() else name
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # a few seconds' work, and it would go to stderr
    logging.set_verbosity_error()  # the classifier head that the encoder does not need is no news to the reader
    try:
        yield source
    except (SafetensorError, EOFError, pickle.UnpicklingError, RuntimeError) as error:
        if type(error) is RuntimeError and "PytorchStreamReader" not in str(error):
            raise  # no word about the file
        reason = str(error).split(". ")[0]
        raise InputError(f"{source}: the weights are damaged ({reason}); fetch the file again") from None
    except OSError:
        size = f" (about {_MEGABYTES[name]} MB)" if name in _MEGABYTES else ""
        raise MissingWeights(
            f"the weights {name!r} are not on this machine; put the checkpoint's config.json and model.safetensors "
            f"(or pytorch_model.bin) into {local}{size}, or "
            + (
                "try again with a network"
                if allow_downloads
                else "allow downloads (allow_downloads=True) where there is a network"
            )
        ) from None
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _network(model_class: type, wanted: object, pretrained: str | None, allow_downloads: bool) -> nn.Module:
    """A network of transformers with random weights, or with those of a checkpoint."""
    return (
        model_class(wanted)
        if pretrained is None
        else _load_pretrained(model_class, wanted, pretrained, allow_downloads)
    )


def _load_pretrained(model_class: type, config: object, name: str, allow_downloads: bool) -> nn.Module:
    """Load a transformers encoder and insist that every one of its weights came from the checkpoint.

    Some releases of transformers (5.6 to 5.16) load VideoMAE with the query and value biases left at zero and say
    nothing; a partial load must never pass for a pretrained model.
    """
    with _reading(name, allow_downloads) as source:
        model, report = model_class.from_pretrained(
            source,
            config=config,
            dtype=torch.float32,
            local_files_only=not allow_downloads,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    lost = sorted(report["missing_keys"]) + sorted(str(key) for key in report["mismatched_keys"])
    if lost:
        raise InputError(
            f"{source}: {len(lost)} encoder weights are not in the checkpoint or have another shape, the first being "
            f"{lost[0]}; use the checkpoint and the transformers version that env/ pins"
        )
    return model
