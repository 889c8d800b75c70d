"""Training, both phases, on features that were computed before: one log line an epoch, exact resume after any epoch."""

from __future__ import annotations

import dataclasses
import io
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cityguessr.base import tensors
from cityguessr.base.errors import InputError
from cityguessr.base.files import write_bytes
from cityguessr.vidtag import losses, noise, sampling
from cityguessr.vidtag.config import VidTAGConfig
from cityguessr.vidtag.model import VidTAG
from cityguessr.vidtag.schedule import Phase

_AFRESH = "delete it to start afresh"
_OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
_SAVE_EVERY = 60.0  # seconds


@dataclasses.dataclass(frozen=True)
class Example:
    """What is known of a training sequence of T frames.

    Attributes:
        features: (T, V, d), of V views per frame.
        latlon: (T, 2) degrees.
    """

    features: Tensor
    latlon: Tensor


def train(
    model: VidTAG,
    examples: Sequence[Example],
    phases: tuple[Phase, Phase],
    seed: int,
    checkpoint: Path | None = None,
    *,
    device: str | torch.device = "cpu",
    stop_after: int | None = None,
    report: Callable[[str], None] = print,
) -> list[dict[str, float]]:
    """Train phase I, and phase II where the system has a GeoRefiner; the model is left in evaluation mode.

    Two trainings of one seed on one machine give the same weights; so does one that was stopped and resumed, because
    every epoch draws its sequences and random numbers from (seed, phase, epoch).

    Args:
        examples: the training sequences, each of at least as many frames as a phase takes.
        checkpoint: a file that is written every minute and read first if it is there.
        device: where to compute.
        stop_after: leave after so many epochs of this call, as an interruption would.
        report: gets one line per epoch.

    Returns one dictionary an epoch: phase, epoch, loss, seconds.
    Raises InputError for sequences that are too short, a loss that is not finite, and a checkpoint of another training.
    """
    if not examples:
        raise InputError("there is no training sequence; see what was left out of the set, and why")
    session = _Session(model.to(device), examples, phases, seed, torch.device(device), checkpoint, report)
    session.resume()
    while (at := session.next_epoch()) is not None:
        session.train_epoch(*at)
        if stop_after is not None and session.trained >= stop_after:
            break
    session.save()
    model.eval()
    return session.log


class _Session:
    def __init__(
        self,
        model: VidTAG,
        examples: Sequence[Example],
        phases: tuple[Phase, Phase],
        seed: int,
        device: torch.device,
        checkpoint: Path | None,
        report: Callable[[str], None],
    ) -> None:
        self.model, self.examples, self.seed, self.device = model, examples, seed, device
        self.phases = phases if model.refiner is not None else phases[:1]
        self.checkpoint, self.report = checkpoint, report
        self.queue = losses.CoordinateQueue(model.config.queue).to(device)
        self.log: list[dict[str, float]] = []
        self.trained, self.saved = 0, time.monotonic()
        self.phase, self.optimizer = -1, None

    def next_epoch(self) -> tuple[int, int] | None:
        """Phase and epoch that come next, counted from 0; None where all is done."""
        done = len(self.log)
        for phase, settings in enumerate(self.phases):
            if done < settings.epochs:
                return phase, done
            done -= settings.epochs
        return None

    def enter(self, phase: int) -> None:
        """Put model and optimizer in the state in which a phase begins."""
        if phase == 0:
            self.model.requires_grad_(True)
        else:
            self.model.train_refiner()
        settings = self.phases[phase]
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = _OPTIMIZERS[settings.optimizer](trained, lr=settings.learning_rate, weight_decay=0)
        self.phase = phase

    def train_epoch(self, phase: int, epoch: int) -> None:
        """One epoch: every training sequence once."""
        if phase != self.phase:
            self.enter(phase)
        settings, start = self.phases[phase], time.perf_counter()
        if phase == 0:
            self.model.train()
        else:
            self.model.train_refiner()
        torch.manual_seed((self.seed * 2 + phase) * 1_000_003 + epoch)
        order = torch.randperm(len(self.examples)).split(settings.batch_size)
        total = torch.zeros((), device=self.device)
        for number, rows in enumerate(order):
            for group in self.optimizer.param_groups:
                group["lr"] = settings.rate(epoch * len(order) + number, len(order))
            features, latlon = self.batch(rows.tolist(), settings)
            if phase == 0:
                loss = _phase_one(self.model, features, latlon, self.queue)
            else:
                loss = _phase_two(self.model, features, latlon)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.detach()
        mean = total.item() / len(order)
        if not math.isfinite(mean):
            raise InputError(
                f"the loss is not finite in epoch {epoch + 1} of phase {phase + 1}; lower its learning rate"
            )
        row = {"phase": phase + 1, "epoch": epoch + 1, "loss": mean, "seconds": round(time.perf_counter() - start, 3)}
        self.log.append(row)
        self.trained += 1
        self.report(f"phase {phase + 1}, epoch {epoch + 1:>3}/{settings.epochs}  loss {mean:.4f}")
        if time.monotonic() - self.saved > _SAVE_EVERY:
            self.save()

    def batch(self, rows: Sequence[int], settings: Phase) -> tuple[Tensor, Tensor]:
        """Some sequences, each with frames and one view drawn at random: (B, T, d) and (B, T, 2)."""
        features, latlon = [], []
        for row in rows:
            example = self.examples[row]
            length = len(example.latlon)
            if settings.sampled == "spread":
                frames = torch.tensor(sampling.spread(length, None, settings.frames))
            else:
                frames = torch.tensor(sampling.spaced(length, None, settings.frames, settings.gap))
            view = int(torch.randint(example.features.shape[1], ()))
            features.append(example.features[frames, view])
            latlon.append(example.latlon[frames])
        return torch.stack(features).to(self.device).float(), torch.stack(latlon).to(self.device)

    # --- the state on the disk ---------------------------------------------------------------------------------------

    def identity(self) -> dict[str, Any]:
        """What a checkpoint must agree with."""
        return {
            "config": repr(self.model.config),
            "phases": repr(self.phases),
            "seed": self.seed,
            "sequences": len(self.examples),
        }

    def save(self) -> None:
        """Write all that a resumed training needs; the file appears whole, or not at all."""
        if self.checkpoint is None or self.optimizer is None:
            return
        content = {
            "training": self.identity(),
            "phase": self.phase,
            "log": self.log,
            "model": self.model.state_dict(),
            "queue": self.queue.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        buffer = io.BytesIO()
        torch.save(content, buffer)
        write_bytes(self.checkpoint, buffer.getbuffer())
        self.saved = time.monotonic()

    def resume(self) -> None:
        """Take up the state that is in the checkpoint, if there is one."""
        if self.checkpoint is None or not self.checkpoint.is_file():
            return
        content = tensors.read(self.checkpoint, _AFRESH)
        if not isinstance(content, dict) or content.get("training") != self.identity():
            raise InputError(f"{self.checkpoint}: written by a training of another configuration; {_AFRESH}")
        try:
            self.enter(content["phase"])
            self.model.load_state_dict(content["model"])
            self.queue.load_state_dict(content["queue"])
            self.optimizer.load_state_dict(content["optimizer"])
            self.log = list(content["log"])
        except (KeyError, TypeError, ValueError, IndexError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"{self.checkpoint}: damaged or edited ({reason}); {_AFRESH}") from None
        self.report(f"resumed after {len(self.log)} epochs")


def _phase_one(model: VidTAG, features: Tensor, latlon: Tensor, queue: losses.CoordinateQueue) -> Tensor:
    """Frames find their coordinates (Eq. 1): features (B, T, d) and coordinates (B, T, 2) -> a scalar."""
    config: VidTAGConfig = model.config
    frames = model.frames(features)  # (B, T, e)
    if config.level == "video":
        frames = torch.nn.functional.normalize(frames.mean(1), dim=-1)
        places = losses.mean_coordinate(latlon)
    else:
        frames, places = frames.flatten(0, 1), latlon.flatten(0, 1)
    others = queue.get() if config.queue else places[:0]
    hidden = losses.near(places, places, config.mask_km)
    if len(others):
        far = losses.near(places, others, config.queue_mask_km)
        inside = torch.zeros(len(places), len(places), dtype=torch.bool) if hidden is None else hidden
        hidden = torch.cat([inside.to(far.device), far], dim=1)
    # Each place once: a release has one coordinate per city, and a queue repeats what it was given.
    distinct, number = torch.cat([places, others.to(places)]).unique(dim=0, return_inverse=True)
    embeddings = model.places(distinct)[number]
    loss = losses.contrastive(frames, embeddings, model.logit_scale.exp(), hidden, config.symmetric)
    if config.queue:
        queue.put(places)
    return loss


def _phase_two(model: VidTAG, features: Tensor, latlon: Tensor) -> Tensor:
    """GeoRefiner undoes noise: features (B, T, d) and true coordinates (B, T, 2) -> a scalar."""
    config = model.config
    with torch.no_grad():
        frames, true = model.frames(features), model.places(latlon)
        moved = noise.noised(latlon)
    return losses.refinement(model.refined(moved, frames), true, config.alpha, config.beta, config.triangles)
