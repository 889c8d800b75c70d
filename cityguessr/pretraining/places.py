"""Labels after masking: an encoder learns the places of other worlds, in the part that Kinetics has for the paper."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from cityguessr import losses
from cityguessr.backbones import MAE, Encoder, TimeSformer
from cityguessr.base import weights
from cityguessr.pretraining.masked import Log
from cityguessr.pretraining.worlds import Clips
from cityguessr.taxonomy import LEVELS
from cityguessr.training.augment import augmented
from cityguessr.training.batches import EpochOrder
from cityguessr.training.recipe import Recipe, learning_rate, parameter_groups

_EVALUATED = 256  # clips at a time


class Classifier(nn.Module):
    """An encoder and a linear classifier per level: frames (B, T, 3, H, W) -> level -> logits (B, classes).

    The classes are the places of all worlds together. The classifiers are thrown away afterwards.
    """

    def __init__(self, backbone: Encoder, classes: dict[str, int]) -> None:
        super().__init__()
        self.backbone = backbone
        self.heads = nn.ModuleDict({level: nn.Linear(backbone.width, classes[level]) for level in LEVELS})

    def forward(self, frames: Tensor) -> dict[str, Tensor]:
        """uint8 frames -> level -> logits (B, classes)."""
        feature = self.backbone(frames, "imagenet")
        return {level: head(feature) for level, head in self.heads.items()}


def train(
    backbone: Encoder,
    clips: Clips,
    held_out: Clips,
    recipe: Recipe,
    epochs: int,
    seed: int,
    report: Callable[[str], Any],
) -> Log:
    """Train an encoder in place with the labels of all four levels (Eq. 1); an image encoder gets random frames.

    Returns a row per epoch: its number, the mean `loss` over its steps, the share of held-out clips whose `city` is
    right (%), of all cities of all worlds, and seconds.
    """
    torch.manual_seed(seed)
    model = Classifier(backbone, clips.classes)
    with weights.quietly():  # transformers remarks that TimeSformer has one kind of attention alone
        backbone.use()
    groups = parameter_groups(model, recipe, len(_layers(backbone)))
    optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=True)
    order, log = EpochOrder(len(clips), recipe.batch_size, seed), []
    for epoch in range(epochs):
        start, total = time.perf_counter(), 0.0
        order.epoch = epoch
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        model.train()
        for step, rows in enumerate(order):
            rate = learning_rate(recipe, epoch * len(order) + step, len(order), epochs)
            for group in optimizer.param_groups:
                group["lr"] = rate * group["scale"]
            chosen = torch.as_tensor(rows)
            frames = clips.random_frames(chosen, generator) if isinstance(backbone, MAE) else clips.frames[chosen]
            logits = model(augmented(frames, recipe, seed, epoch, step))
            labels = {level: clips.labels[level][chosen] for level in LEVELS}
            loss = losses.geolocalization(logits, labels, recipe.label_smoothing)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_gradients or float("inf"))
            optimizer.step()
            total += loss.item()
        row = {"epoch": epoch + 1, "loss": total / len(order), "city": accuracy(model, held_out)}
        log.append(row | {"seconds": round(time.perf_counter() - start, 1)})
        report(f"places {epoch + 1:>3}/{epochs}  loss {row['loss']:.3f}  held out, city right: {row['city']:.1f} %")
    return log


@torch.no_grad()
def start_from_images(video: TimeSformer, image: MAE) -> None:
    """Give a TimeSformer the weights of an encoder of images of its size, in place.

    Patches, places and what looks from place to place come from the images; what looks from frame to frame is left
    random, and its last layer is zero, so that it says nothing at first (Bertasius et al., ICML 2021, start from
    ImageNet's ViT in the same way).
    """
    here, there = video.encoder, image.encoder
    for name in ("cls_token", "position_embeddings"):
        getattr(here.embeddings, name).copy_(getattr(there.embeddings, name))
    here.embeddings.patch_embeddings.projection.load_state_dict(
        there.embeddings.patch_embeddings.projection.state_dict()
    )
    here.layernorm.load_state_dict(there.layernorm.state_dict())
    for own, other in zip(here.encoder.layer, there.layers, strict=True):
        attention, qkv = other.attention, own.attention.attention.qkv
        qkv.weight.copy_(torch.cat([part.weight for part in (attention.q_proj, attention.k_proj, attention.v_proj)]))
        qkv.bias.copy_(torch.cat([part.bias for part in (attention.q_proj, attention.k_proj, attention.v_proj)]))
        for mine, theirs in (
            (own.attention.output.dense, attention.o_proj),
            (own.layernorm_before, other.layernorm_before),
            (own.layernorm_after, other.layernorm_after),
            (own.intermediate.dense, other.mlp.fc1),
            (own.output.dense, other.mlp.fc2),
        ):
            mine.load_state_dict(theirs.state_dict())
        own.temporal_dense.weight.zero_()
        own.temporal_dense.bias.zero_()


@torch.no_grad()
def accuracy(model: Classifier, clips: Clips) -> float:
    """The share of clips whose city is right (%), among the cities of all worlds; of images, the middle frame."""
    model.eval()
    right = 0
    for rows in torch.arange(len(clips)).split(_EVALUATED):
        answer = model(_whole(model.backbone, clips.frames[rows]))["city"].argmax(dim=1)
        right += int((answer == clips.labels["city"][rows]).sum())
    return 100 * right / len(clips)


@torch.no_grad()
def features(backbone: Encoder, frames: Tensor) -> Tensor:
    """What an encoder makes of clips: uint8 (N, T, 3, H, W) -> (N, width); of images, the middle frame."""
    backbone.eval()
    return torch.cat([backbone(_whole(backbone, part), "imagenet") for part in frames.split(_EVALUATED)])


def _whole(backbone: Encoder, frames: Tensor) -> Tensor:
    """What an encoder is shown of a clip when it is measured."""
    middle = (frames.shape[1] - 1) // 2
    return frames[:, middle : middle + 1] if isinstance(backbone, MAE) else frames


def _layers(backbone: Encoder) -> nn.ModuleList:
    network = backbone.encoder
    return network.layers if isinstance(backbone, MAE) else network.encoder.layer
