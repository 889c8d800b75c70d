"""The training loop (paper, section 5.2): Adam, one loss of three, a log line an epoch, exact resume."""

import dataclasses
import io
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from cityguessr import hierarchy, losses
from cityguessr.base.errors import InputError
from cityguessr.base.files import write_bytes
from cityguessr.config import ModelConfig
from cityguessr.data.clips import ClipDataset
from cityguessr.model import Output, System
from cityguessr.systems import build
from cityguessr.taxonomy import LEVELS, Taxonomy
from cityguessr.training.batches import ClipTensors, EpochSampler
from cityguessr.training.profiles import Profile


@dataclasses.dataclass
class Trained:
    """What a training leaves: the model at the epoch that counts, its validation logits, and the log.

    Attributes:
        logits: level -> float32 (validation clips, number of classes), in the order of the validation split.
        scene: float32 (validation clips, scene classes), or None without scene recognition.
        epoch: the epoch, counted from 1, that model and logits come from.
        log: one dictionary an epoch.
    """

    model: System
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
        scenes: (B, scene classes) soft scene labels.
        text: (number of cities, text width), the text features of every city; None without text alignment.
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
    train_clips: ClipDataset,
    val_clips: ClipDataset,
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
        train_clips, val_clips: the two splits of prepared clips.
        text: (number of cities, text width) text features; None when the model has no text alignment.
        checkpoint: a file written after each epoch, and read first if it is there.
        device: "auto" takes a GPU where there is one, and then bfloat16 where it has that; "cpu" stays on the CPU.
        stop_after: leave after so many epochs of this call, as an interruption would.
        report: gets one line an epoch.

    Raises InputError for clips without scene labels, a missing text target, or a checkpoint of another training.
    """
    _check_text(config, taxonomy, text)
    torch.manual_seed(seed)
    model = build(config, taxonomy, allow_downloads)
    session = _Session(model, train_clips, val_clips, text, profile, seed, _device(device))
    first, log, best = 0, [], None
    if checkpoint and checkpoint.is_file():
        first, log, best = session.resume(checkpoint)
        report(f"resumed after epoch {first} of {config.epochs}")
    for epoch in range(first, config.epochs):
        start = time.perf_counter()
        row = {"epoch": epoch + 1} | session.train_epoch(epoch)
        logits, scene = session.evaluate()
        accuracies = hierarchy.accuracy(logits, val_clips.labels, taxonomy, config.evaluation)
        row |= {f"val_{level}": value for level, value in accuracies.items()}
        log.append(row | {"seconds": round(time.perf_counter() - start, 2)})
        report(_line(row, config.epochs))
        if config.selection == "best_on_validation" and (best is None or row["val_city"] > best["val_city"]):
            weights = {key: value.detach().cpu().clone() for key, value in model.state_dict().items()}
            best = {"epoch": epoch + 1, "val_city": row["val_city"], "model": weights}
        if checkpoint:
            session.save(checkpoint, epoch + 1, log, best)
        if stop_after is not None and epoch + 1 - first >= stop_after:
            break
    if best is not None:
        model.load_state_dict(best["model"])
    if best is not None or first >= config.epochs:
        logits, scene = session.evaluate()
    return Trained(model.eval(), logits, scene, best["epoch"] if best else len(log), log)


def predict(
    model: System,
    clips: ClipDataset,
    profile: Profile,
    limit: int | None = None,
    device: str = "auto",
    *,
    frame: str | None = None,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A trained model's logits on a split of prepared clips, and the labels beside them.

    Args:
        limit: take at most so many clips, evenly spread over the split.
        device: as in `train`.
        frame: shows an image system this frame of each clip in place of the one it is configured for.

    Returns level -> float32 (N, number of classes) on the CPU, and level -> LongTensor (N,).
    """
    count = len(clips) if limit is None else min(limit, len(clips))
    chosen = [i * len(clips) // count for i in range(count)]
    with_scenes = model.routed or model.config.system == "geodecoder"  # these have no form without
    bare = model.config.replace(**({} if with_scenes else {"scene_labels": None}), frame=frame or model.config.frame)
    subset = Subset(ClipTensors(clips, bare, profile.loader_workers == 0), chosen)
    logits, _ = evaluate(model.to(_device(device)), DataLoader(subset, 64, num_workers=profile.loader_workers))
    return logits, {level: clips.labels[level][chosen] for level in LEVELS}


@torch.no_grad()
def evaluate(model: System, loader: DataLoader, dtype: torch.dtype | None = None) -> tuple[dict[str, Tensor], Any]:
    """Logits of a whole split, on the CPU in float32: level -> (N, number of classes), and the scenes' (N, classes).

    Args:
        dtype: what the backbone computes in, such as bfloat16; None for the type of its weights.
    """
    device = next(model.parameters()).device
    model.eval()
    parts: dict[str, list[Tensor]] = {level: [] for level in (*LEVELS, "scene")}
    for frames, _, scenes in loader:
        with torch.autocast(device.type, dtype, enabled=dtype is not None):
            output = answer(model, frames.to(device), scenes.to(device))
        answers = dict(output.logits) | ({} if output.scene is None else {"scene": output.scene})
        for name, tensor in answers.items():
            parts[name].append(tensor.float().cpu())
    scene = torch.cat(parts.pop("scene")) if parts["scene"] else None
    return {level: torch.cat(parts[level]) for level in LEVELS}, scene


def answer(model: System, frames: Tensor, scenes: Tensor) -> Output:
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


class _Session:
    """The state of one training between its epochs: model, optimizer, and the batches of both splits on one device."""

    def __init__(
        self,
        model: System,
        train_clips: ClipDataset,
        val_clips: ClipDataset,
        text: Tensor | None,
        profile: Profile,
        seed: int,
        device: torch.device,
    ) -> None:
        self.model, self.profile, self.seed, self.device = model.to(device), profile, seed, device
        self.text = None if text is None else text.to(device)
        self.dtype = torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else None
        in_memory = profile.loader_workers == 0
        self.train_set = ClipTensors(train_clips, model.config, in_memory, seed, training=True)
        self.sampler = EpochSampler(len(self.train_set), seed)
        options = {"num_workers": profile.loader_workers, "pin_memory": device.type == "cuda"}
        self.train_loader = DataLoader(self.train_set, profile.batch_size, sampler=self.sampler, **options)
        val_set = ClipTensors(val_clips, model.config, in_memory, seed)
        self.val_loader = DataLoader(val_set, max(profile.batch_size, 32), **options)
        self.optimizer = torch.optim.Adam(model.parameters(), lr=profile.learning_rate, fused=True)

    def train_epoch(self, epoch: int) -> dict[str, float]:
        """Train for one epoch, counted from 0; the mean of each loss over its steps."""
        config, steps = self.model.config, len(self.train_loader)
        self.sampler.epoch = epoch
        self.train_set.start_epoch(epoch)
        torch.manual_seed(self.seed * 1_000_003 + epoch)
        self.model.train()
        sums: dict[str, Tensor] = {}
        for step, batch in enumerate(self.train_loader):
            frames, labels, scenes = (part.to(self.device, non_blocking=True) for part in batch)
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate(self.profile, epoch * steps + step, steps, config.epochs)
            with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None):
                output = answer(self.model, frames, scenes)
            loss, parts = total_loss(output, labels, scenes, self.text, config)
            if not torch.isfinite(loss):
                raise InputError(
                    f"the loss is {loss.item()} at epoch {epoch + 1}, step {step + 1}; lower the learning rate"
                )
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            for name, part in ({"loss": loss} | parts).items():
                sums[name] = sums.get(name, 0) + part.detach()
        return {name: (total / steps).item() for name, total in sums.items()}

    def evaluate(self) -> tuple[dict[str, Tensor], Tensor | None]:
        """The validation split's logits, as `evaluate` gives them."""
        return evaluate(self.model, self.val_loader, self.dtype)

    def save(self, path: Path, epoch: int, log: list[dict[str, float]], best: dict[str, Any] | None) -> None:
        """Write all that a resumed training needs after so many epochs."""
        state = {
            "config": _identity(self.model.config),
            "epoch": epoch,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "log": log,
            "best": best,
        }
        buffer = io.BytesIO()  # torch's own writer hides a full disk behind an error of its own
        torch.save(state, buffer)
        write_bytes(path, buffer.getvalue())

    def resume(self, path: Path) -> tuple[int, list[dict[str, float]], dict[str, Any] | None]:
        """Take up the state in a file of `save`: the epochs done, their log, and the best epoch so far."""
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
        except Exception as error:
            reason = str(error).splitlines()[0]
            message = f"{path}: not a checkpoint of this training ({reason}); delete it to start afresh"
            raise InputError(message) from None
        if state["config"] != _identity(self.model.config):
            raise InputError(f"{path}: written by a training of another configuration; delete it to start afresh")
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        return state["epoch"], state["log"], state["best"]


def _check_text(config: ModelConfig, taxonomy: Taxonomy, text: Tensor | None) -> None:
    if config.text_labels and text is None:
        raise InputError("this model aligns text; give the text features of the cities (cityguessr.text.features)")
    wanted = taxonomy.size("city"), config.text_width
    if text is not None and tuple(text.shape) != wanted:
        raise InputError(f"text features are {tuple(text.shape)}, the model wants {wanted}: leave text_dim out")


def _device(name: str) -> torch.device:
    return torch.device("cuda" if name == "auto" and torch.cuda.is_available() else "cpu")


def _line(row: dict[str, float], epochs: int) -> str:
    accuracies = " ".join(f"{level} {row[f'val_{level}']:4.1f}" for level in LEVELS)
    return f"epoch {row['epoch']:>2}/{epochs}  loss {row['loss']:5.2f}  correct %: {accuracies}"


def _identity(config: ModelConfig) -> str:
    return repr(dataclasses.asdict(config))
