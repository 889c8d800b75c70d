"""Video encoders: frames in, one feature vector a clip out (paper, section 4.2)."""

import hashlib
from pathlib import Path

import torch
from torch import Tensor, nn

from cityguessr.errors import InputError, MissingWeights
from cityguessr.paths import data


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


BACKBONES = {"videomae": VideoMAE}


def local_weights(name: str) -> Path:
    """Where a checkpoint of that hub name is looked for first: `data/weights/<last part of the name>`."""
    return data() / "weights" / Path(name).name


def weights_version(name: str | None) -> str | None:
    """A digest of the checkpoint file in `local_weights`; the bare name for one that the hub keeps, None for none."""
    if name is None or not (file := local_weights(name) / "model.safetensors").is_file():
        return name
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _load_pretrained(model_class: type, config: object, name: str, allow_downloads: bool) -> nn.Module:
    """Load a transformers encoder and insist that every one of its weights came from the checkpoint.

    Some releases of transformers (5.6 to 5.16) load VideoMAE with the query and value biases left at zero and say
    nothing; a partial load must never pass for a pretrained model.
    """
    from safetensors import SafetensorError
    from transformers.utils import logging

    local = local_weights(name)
    source = str(local) if local.is_dir() else name
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # the classifier head that the encoder does not need is no news to the reader
    try:
        model, report = model_class.from_pretrained(
            source,
            config=config,
            local_files_only=not allow_downloads,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    except (SafetensorError, EOFError) as error:
        raise InputError(f"{source}: the weights are damaged ({error}); fetch model.safetensors again") from None
    except OSError:
        raise MissingWeights(
            f"the weights {name!r} are not on this machine; put the checkpoint's config.json and model.safetensors "
            f"into {local} (about 90 MB for ViT-S), or "
            + (
                "try again with a network"
                if allow_downloads
                else "allow downloads (allow_downloads=True) where there is a network"
            )
        ) from None
    finally:
        logging.set_verbosity(verbosity)
    lost = sorted(report["missing_keys"]) + sorted(str(key) for key in report["mismatched_keys"])
    if lost:
        raise InputError(
            f"{source}: {len(lost)} encoder weights are not in the checkpoint or have another shape, the first being "
            f"{lost[0]}; use the checkpoint and the transformers version that env/ pins"
        )
    return model
