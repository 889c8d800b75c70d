"""Masked autoencoding: most of a clip is hidden, and the network learns by filling in what is missing.

VideoMAE (Tong et al., NeurIPS 2022) hides tubes: the same places at every time, so that nothing can be copied from the
frame before. MAE (He et al., CVPR 2022) hides patches of one image. The encoder sees what is left; a small decoder,
which is thrown away afterwards, gives the pixels of what is hidden, each cube or patch normalised by its own mean and
deviation. Networks and loss are those of transformers.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from cityguessr.backbones import BACKBONES
from cityguessr.base import weights
from cityguessr.base.errors import one_of
from cityguessr.config import ModelConfig
from cityguessr.folded.blocks import normalised
from cityguessr.pretraining.worlds import Clips
from cityguessr.training.batches import EpochOrder
from cityguessr.training.recipe import Recipe, learning_rate, parameter_groups

SHARES = {"videomae": 0.9, "mae": 0.75}
"""Backbone -> the share of places that its paper hides."""

Log = list[dict[str, float]]

_EVALUATED = 256  # held-out clips at a time


def hidden_places(share: float, places: int) -> int:
    """How many of the places of a frame are hidden, rounded down as both papers' code rounds.

    A frame of 224 pixels has 196 places, and 90 % of them are 176. One of 64 pixels has 16, and 90 % of them are 14:
    that is 87.5 %, and two tubes stay; a share of 93.75 % would leave a single one.
    """
    return int(share * places + 1e-9)


def tube_mask(clips: int, steps: int, places: int, hidden: int, generator: torch.Generator | None = None) -> Tensor:
    """Which cubes are hidden: bool (clips, steps * places), step after step, True where hidden.

    Each clip has `hidden` places drawn at random, and these are hidden at every step.
    """
    order = torch.rand(clips, places, generator=generator).argsort(dim=1)  # a random permutation of the places
    return (order < hidden).repeat(1, steps)


def network(backbone: str, config: ModelConfig) -> nn.Module:
    """transformers' network for masked autoencoding: the encoder of a `ModelConfig`, a light decoder, random weights.

    The decoder is half as wide as the encoder and has one layer.

    Raises InputError for a backbone that is not pretrained like this.
    """
    from transformers import VideoMAEForPreTraining, ViTMAEForPreTraining

    if backbone not in SHARES:
        raise one_of("backbone with masked autoencoding", backbone, SHARES)
    wanted = copy.deepcopy(BACKBONES[backbone](config.replace(pretrained=None)).encoder.config)
    wanted.decoder_hidden_size, wanted.decoder_intermediate_size = config.width // 2, 2 * config.width
    wanted.decoder_num_hidden_layers, wanted.decoder_num_attention_heads = 1, config.heads
    wanted.norm_pix_loss = True
    if backbone == "mae":
        wanted.mask_ratio = SHARES[backbone]
        return ViTMAEForPreTraining(wanted)
    # The encoder as systems have it, without a LayerNorm at its end: with one, which is left out afterwards, the tokens
    # grew to ten times the size that labels start well from
    return VideoMAEForPreTraining(wanted)


def load(name: str = f"{weights.PACKAGED}videomae-masked") -> nn.Module:
    """A VideoMAE as masked autoencoding left it, decoder and all; by default the one that comes with the package.

    Raises MissingWeights where it is not there, and InputError where its files are not those that were written.
    """
    from transformers import VideoMAEForPreTraining

    with weights.reading(name, allow_downloads=False) as source:
        return weights.load(VideoMAEForPreTraining, source, name, dtype=torch.float32, local_files_only=True).eval()


def encoder_weights(model: nn.Module) -> dict[str, Tensor]:
    """The weights of the encoder alone, by the names that `backbones` loads them by."""
    if hasattr(model, "vit"):
        return model.vit.state_dict()
    return {name: tensor for name, tensor in model.videomae.state_dict().items() if not name.startswith("layernorm.")}


def random_mask(model: nn.Module, clips: int, generator: torch.Generator | None = None) -> Tensor:
    """A mask for clips of a VideoMAE: bool (clips, tokens), tubes at the paper's share."""
    config = model.config
    places, steps = (config.image_size // config.patch_size) ** 2, config.num_frames // config.tubelet_size
    return tube_mask(clips, steps, places, hidden_places(SHARES["videomae"], places), generator)


def masked_loss(model: nn.Module, clips: Clips, rows: Tensor, generator: torch.Generator) -> Tensor:
    """The mean squared error over the hidden cubes or patches of some clips, a scalar.

    An image network gets a random frame of each clip.
    """
    if hasattr(model, "vit"):
        frames = normalised(clips.random_frames(rows, generator), "imagenet")[:, 0]
        places = model.vit.embeddings.patch_embeddings.num_patches
        return model(frames, noise=torch.rand(len(rows), places, generator=generator)).loss
    frames = normalised(clips.frames[rows], "imagenet")
    return model(frames, bool_masked_pos=random_mask(model, len(rows), generator)).loss


def train(
    model: nn.Module,
    clips: Clips,
    held_out: Clips,
    recipe: Recipe,
    epochs: int,
    seed: int,
    report: Callable[[str], Any],
) -> Log:
    """Train a network of `network` in place; one seed gives the same weights on one machine.

    Returns a row per epoch: its number, the mean `loss` over its steps, the `held_out` loss after it, and seconds.
    """
    groups = parameter_groups(model, recipe, depth=0)
    optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.95))  # as in both papers
    order, log = EpochOrder(len(clips), recipe.batch_size, seed), []
    for epoch in range(epochs):
        start, losses = time.perf_counter(), []
        order.epoch = epoch
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        model.train()
        for step, rows in enumerate(order):
            rate = learning_rate(recipe, epoch * len(order) + step, len(order), epochs)
            for group in optimizer.param_groups:
                group["lr"] = rate
            loss = masked_loss(model, clips, torch.as_tensor(rows), generator)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_gradients or float("inf"))
            optimizer.step()
            losses.append(loss.item())
        row = {"epoch": epoch + 1, "loss": sum(losses) / len(losses), "held_out": held_out_loss(model, held_out)}
        log.append(row | {"seconds": round(time.perf_counter() - start, 1)})
        report(f"masked {epoch + 1:>3}/{epochs}  loss {row['loss']:.4f}  held out {row['held_out']:.4f}")
    return log


@torch.no_grad()
def held_out_loss(model: nn.Module, clips: Clips) -> float:
    """The loss over clips, with masks that are the same at every call."""
    model.eval()
    generator, total = torch.Generator().manual_seed(0), 0.0
    for rows in torch.arange(len(clips)).split(_EVALUATED):
        total += masked_loss(model, clips, rows, generator).item() * len(rows)
    return total / len(clips)


def cubes(frames: Tensor, span: int, patch: int) -> Tensor:
    """Frames (B, T, 3, H, W) cut into cubes: (B, cubes, pixels of a cube, 3), step after step, row by row."""
    grid = frames.unflatten(4, (-1, patch)).unflatten(3, (-1, patch)).unflatten(1, (-1, span))
    grid = grid.permute(0, 1, 4, 6, 2, 5, 7, 3)  # (B, T / span, rows, columns, span, patch, patch, 3)
    return grid.flatten(4, 6).flatten(1, 3)


def uncut(pieces: Tensor, like: Tensor, span: int, patch: int) -> Tensor:
    """What `cubes` cut, put together again, in the shape of `like`."""
    batch, steps, _, high, wide = like.shape
    grid = pieces.reshape(batch, steps // span, high // patch, wide // patch, span, patch, patch, 3)
    return grid.permute(0, 1, 4, 7, 2, 5, 3, 6).reshape(like.shape)


@torch.no_grad()
def reconstructed(model: nn.Module, frames: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """What a VideoMAE is given of clips, and what it makes of the rest: two uint8 tensors (B, T, 3, H, W).

    The network gives each hidden cube up to its mean and deviation, which are taken from the original, as in the
    figures of both papers. Hidden cubes of what it is given are grey.

    Args:
        frames: uint8 (B, T, 3, H, W).
        mask: bool (B, tokens), as `random_mask` gives it.
    """
    span, patch = model.config.tubelet_size, model.config.patch_size
    model.eval()
    answer = model(normalised(frames, "imagenet"), bool_masked_pos=mask).logits  # (B, hidden, pixels * 3)
    pieces = cubes(frames.float() / 255, span, patch)
    hidden = pieces[mask].unflatten(0, answer.shape[:2])  # (B, hidden, pixels, 3)
    filled = answer.unflatten(2, hidden.shape[2:]) * hidden.std(dim=2, keepdim=True) + hidden.mean(dim=2, keepdim=True)
    given, complete = pieces.clone(), pieces.clone()
    given[mask], complete[mask] = 0.5, filled.flatten(0, 1)
    return tuple(
        (uncut(part, frames, span, patch) * 255).round().clamp(0, 255).to(torch.uint8) for part in (given, complete)
    )
