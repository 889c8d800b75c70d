"""The training loop (paper, section 5.2): Adam, one loss of three, a log line an epoch, exact resume."""

import dataclasses
import io
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import set_seed
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from cityguessr import hierarchy, losses
from cityguessr.baselines import build
from cityguessr.batches import ClipTensors, EpochSampler
from cityguessr.data.files import write_bytes
from cityguessr.errors import InputError
from cityguessr.model import ModelConfig, Output
from cityguessr.profiles import Profile
from cityguessr.taxonomy import LEVELS, Taxonomy


@dataclasses.dataclass
class Trained:
    """What a training leaves: the model at the epoch that counts, its validation logits, and the log.

    Attributes:
        logits: level -> float32 (validation clips, number of classes), in the order of the validation split.
        scene: float32 (validation clips, scenes), or None without scene recognition.
        epoch: the epoch, counted from 1, that model and logits come from.
        log: one dictionary an epoch.
    """

    model: torch.nn.Module
    logits: dict[str, Tensor]
    scene: Tensor | None
    epoch: int
    log: list[dict[str, float]]


def total_loss(
    output: Output, labels: Tensor, scenes: Tensor, text: Tensor | None, config: ModelConfig
) -> tuple[Tensor, dict[str, Tensor]]:
    """Eq. 4: the sum of the three losses, and each of them by name.

    Args:
        labels: (B, 4) class ids in the order of `LEVELS`.
        scenes: (B, scenes) soft scene labels.
        text: (number of cities, text_dim), the text features of every city; None without text alignment.
    """
    by_level = {level: labels[:, i] for i, level in enumerate(LEVELS)}
    parts = {"geolocalization": losses.geolocalization(output.logits, by_level)}
    if output.scene is not None:
        parts["scene"] = losses.scene(output.scene, scenes)
    if output.text is not None:
        parts["text"] = losses.text_alignment(output.text, text[by_level["city"]], config.text_reduction)
    return sum(parts.values()), parts


def train(
    config: ModelConfig,
    taxonomy: Taxonomy,
    train_clips: Any,
    val_clips: Any,
    text: Tensor | None,
    profile: Profile,
    seed: int,
    checkpoint: Path | None = None,
    *,
    device: str = "auto",
    allow_downloads: bool = False,
    stop_after: int | None = None,
    report: Callable[[str], None] = print,
) -> Trained:
    """Train one model and evaluate it on the validation split.

    Two trainings of one seed on one machine give the same weights, bit for bit on a CPU; so does one that was stopped
    after any epoch and resumed, because every epoch draws its batches and random numbers from (seed, epoch).

    Args:
        config: the model; its `epochs` and `selection` say how long to train and which epoch counts.
        train_clips, val_clips: splits of prepared clips (`ClipDataset`).
        text: (number of cities, text_dim) text features; None when the model has no text alignment.
        checkpoint: a file written after each epoch, and read first if it is there.
        device: "auto" takes a GPU where there is one, and then bfloat16 where it has that; "cpu" stays on the CPU.
        stop_after: leave after so many epochs of this call, as an interruption would.
        report: gets one line an epoch.

    Raises:
        InputError: for clips without scene labels, a missing text target, or a checkpoint of another training.
    """
    if config.text_labels and text is None:
        raise InputError("this model aligns text; give the text features of the cities (cityguessr.data.text)")
    if text is not None and tuple(text.shape) != (taxonomy.size("city"), config.text_dim):
        raise InputError(
            f"text features are {tuple(text.shape)}, the model wants ({taxonomy.size('city')}, {config.text_dim}): "
            f"text_encoder ({config.text_encoder!r}) and text_dim must agree"
        )
    set_seed(seed)
    model = build(config, taxonomy, allow_downloads)
    if "WORLD_SIZE" not in os.environ:  # one process: an earlier training may have run on another device
        AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = Accelerator(cpu=device == "cpu", mixed_precision=_precision(device))
    sets = {"train": ClipTensors(train_clips, config, profile.workers == 0, seed, training=True)}
    sets["val"] = ClipTensors(val_clips, config, profile.workers == 0, seed)
    sampler = EpochSampler(len(sets["train"]), seed)
    options = {"num_workers": profile.workers, "pin_memory": accelerator.device.type == "cuda"}
    train_loader = DataLoader(sets["train"], profile.batch_size, sampler=sampler, **options)
    val_loader = DataLoader(sets["val"], max(profile.batch_size, 32), **options)
    optimizer = torch.optim.Adam(model.parameters(), lr=profile.learning_rate, fused=True)
    model, optimizer, train_loader, val_loader = accelerator.prepare(model, optimizer, train_loader, val_loader)
    text = text.to(accelerator.device) if text is not None else None
    plain = accelerator.unwrap_model(model)

    first, log, best = 0, [], None
    if checkpoint and checkpoint.is_file():
        first, log, best = _resume(checkpoint, plain, optimizer, config, accelerator)
        report(f"resumed after epoch {first} of {config.epochs}")
    for epoch in range(first, config.epochs):
        sampler.epoch = epoch
        sets["train"].start_epoch(epoch)
        start = time.perf_counter()
        set_seed(seed * 1_000_003 + epoch)
        row = {"epoch": epoch + 1} | _one_epoch(
            model, train_loader, optimizer, text, config, profile, accelerator, epoch
        )
        logits, scene = evaluate(model, val_loader, accelerator)
        row |= {
            f"val_{level}": value
            for level, value in hierarchy.accuracy(logits, val_clips.labels, taxonomy, products=config.products).items()
        }
        log.append(row | {"seconds": round(time.perf_counter() - start, 2)})
        report(_line(row, config.epochs))
        if config.selection == "best_on_validation" and (best is None or row["val_city"] > best["val_city"]):
            best = {"epoch": epoch + 1, "val_city": row["val_city"], "model": _copy(plain)}
        if checkpoint and accelerator.is_main_process:
            _save(checkpoint, plain, optimizer, config, epoch + 1, log, best)
        if stop_after is not None and epoch + 1 - first >= stop_after:
            break
    if best is not None:
        plain.load_state_dict(best["model"])
    if best is not None or first >= config.epochs:
        logits, scene = evaluate(model, val_loader, accelerator)
    return Trained(plain.eval(), logits, scene, best["epoch"] if best else len(log), log)


def predict(
    model: torch.nn.Module, clips: Any, profile: Profile, limit: int | None = None, device: str = "auto"
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A trained model's logits on a split of prepared clips, and the labels beside them.

    Args:
        limit: take at most so many clips, evenly spread over the split.
        device: as in `train`.

    Returns:
        level -> float32 (N, number of classes) on the CPU, and level -> LongTensor (N,).
    """
    count = len(clips) if limit is None else min(limit, len(clips))
    chosen = [i * len(clips) // count for i in range(count)]
    with_scenes = model.routed or model.config.system == "geodecoder"  # these have no form without
    bare = model.config if with_scenes else model.config.replace(scene_labels=None)
    subset = Subset(ClipTensors(clips, bare, profile.workers == 0), chosen)
    model = model.to("cuda" if device == "auto" and torch.cuda.is_available() else "cpu")
    logits, _ = evaluate(model, DataLoader(subset, 64, num_workers=profile.workers))
    return logits, {level: clips.labels[level][chosen] for level in LEVELS}


@torch.no_grad()
def evaluate(
    model: torch.nn.Module, loader: DataLoader, accelerator: Accelerator | None = None
) -> tuple[dict[str, Tensor], Tensor | None]:
    """Logits of a whole split, on the CPU in float32: level -> (N, number of classes), and the scenes' (N, scenes)."""
    device = next(model.parameters()).device
    model.eval()
    parts: dict[str, list[Tensor]] = {level: [] for level in (*LEVELS, "scene")}
    for frames, _, scenes in loader:
        output = answer(model, frames.to(device), scenes.to(device))
        answers = dict(output.logits) | ({} if output.scene is None else {"scene": output.scene})
        for name, tensor in answers.items():
            tensor = accelerator.gather_for_metrics(tensor) if accelerator else tensor
            parts[name].append(tensor.float().cpu())
    scene = torch.cat(parts.pop("scene")) if parts["scene"] else None
    return {level: torch.cat(parts[level]) for level in LEVELS}, scene


def _one_epoch(
    model: torch.nn.Module,
    loader: DataLoader,
    optimizer: torch.optim.Optimizer,
    text: Tensor | None,
    config: ModelConfig,
    profile: Profile,
    accelerator: Accelerator,
    epoch: int,
) -> dict[str, float]:
    model.train()
    sums: dict[str, Tensor] = {}
    for step, (frames, labels, scenes) in enumerate(loader):
        rate = learning_rate(profile, epoch * len(loader) + step, len(loader), config.epochs)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss, parts = total_loss(answer(model, frames, scenes), labels, scenes, text, config)
        if not torch.isfinite(loss):
            raise InputError(
                f"the loss is {loss.item()} at epoch {epoch + 1}, step {step + 1}; lower the learning rate"
            )
        optimizer.zero_grad()
        accelerator.backward(loss)
        optimizer.step()
        for name, part in ({"loss": loss} | parts).items():
            sums[name] = sums.get(name, 0) + part.detach()
    return {name: (total / len(loader)).item() for name, total in sums.items()}


def answer(model: torch.nn.Module, frames: Tensor, scenes: Tensor) -> Output:
    """What a system says of a batch; only one whose networks are picked by the scene is told the scenes."""
    return model(frames, scenes) if model.routed else model(frames)


def learning_rate(profile: Profile, step: int, steps_per_epoch: int, epochs: int) -> float:
    """The learning rate at a step: the paper's constant, or a cosine to zero after one epoch of linear warm-up."""
    if profile.schedule == "constant":
        return profile.learning_rate
    if step < steps_per_epoch:
        return profile.learning_rate * (step + 1) / steps_per_epoch
    progress = (step - steps_per_epoch) / max(1, steps_per_epoch * (epochs - 1))
    return profile.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def _precision(device: str) -> str:
    return "bf16" if device != "cpu" and torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "no"


def _copy(model: torch.nn.Module) -> dict[str, Tensor]:
    return {key: value.detach().cpu().clone() for key, value in model.state_dict().items()}


def _line(row: dict[str, float], epochs: int) -> str:
    accuracies = " ".join(f"{level} {row[f'val_{level}']:4.1f}" for level in LEVELS)
    return f"epoch {row['epoch']:>2}/{epochs}  loss {row['loss']:5.2f}  correct %: {accuracies}"


def _identity(config: ModelConfig) -> str:
    return repr(dataclasses.asdict(config))


def _save(
    path: Path,
    model: torch.nn.Module,
    optimizer: Any,
    config: ModelConfig,
    epoch: int,
    log: list[dict[str, float]],
    best: dict[str, Any] | None,
) -> None:
    state = {
        "config": _identity(config),
        "epoch": epoch,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "log": log,
        "best": best,
    }
    buffer = io.BytesIO()  # torch's own writer hides a full disk behind an error of its own
    torch.save(state, buffer)
    write_bytes(path, buffer.getvalue())


def _resume(
    path: Path, model: torch.nn.Module, optimizer: Any, config: ModelConfig, accelerator: Accelerator
) -> tuple[int, list[dict[str, float]], dict[str, Any] | None]:
    try:
        state = torch.load(path, map_location=accelerator.device, weights_only=True)
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: not a checkpoint of this training ({reason}); delete it to start afresh") from None
    if state["config"] != _identity(config):
        raise InputError(f"{path}: written by a training of another configuration; delete it to start afresh")
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return state["epoch"], state["log"], state["best"]
