"""The training loop (paper, section 5.2): one loss of three, one log line per epoch, exact resume at any step."""

import dataclasses
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor

from cityguessr import hierarchy
from cityguessr.base.errors import InputError
from cityguessr.config import ModelConfig
from cityguessr.data.clips import ClipDataset
from cityguessr.model import Output, System
from cityguessr.systems import build
from cityguessr.taxonomy import LEVELS, Taxonomy
from cityguessr.training import auxiliary, state
from cityguessr.training.augment import augmented
from cityguessr.training.auxiliary import Auxiliary
from cityguessr.training.batches import Batch, Batches, ClipTensors, EpochOrder, in_turn
from cityguessr.training.execution import AUTO, Execution
from cityguessr.training.profiles import Profile
from cityguessr.training.recipe import learning_rate
from cityguessr.training.step import answer, step_for

EVALUATED = 64  # clips at a time, where their frames are in memory
WATCHED = 350  # clips of the validation split that are looked at after an epoch that cannot be the one that counts


@dataclasses.dataclass
class Trained:
    """What a training leaves: the model at the epoch that counts, its validation logits, and the log.

    Attributes:
        answers: what it says of the validation clips, in the order of the split, float32 on the CPU.
        auxiliary: how good its scenes and texts are, beside the best constant answers.
        epoch: the epoch, counted from 1, that model and answers come from.
        log: one dictionary an epoch; its accuracies are those of `val_clips` clips of the validation split.
    """

    model: System
    answers: Output
    auxiliary: Auxiliary
    epoch: int
    log: list[dict[str, float]]


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
    execution: Execution = AUTO,
    allow_downloads: bool = False,
    stop_after: int | None = None,
    report: Callable[[str], None] = print,
) -> Trained:
    """Train one model and evaluate it on the validation split.

    Two trainings of one seed on one machine give the same weights, bit for bit on a CPU; so does one that was stopped
    at any step and resumed, because every epoch draws its batches and random numbers from (seed, epoch).

    Args:
        config: the model; its `epochs` and `selection` say how long to train and which epoch counts.
        train_clips, val_clips: the two splits of prepared clips.
        text: (number of cities, text width) text features; None when the model has no text alignment.
        profile: its recipe, its threads and how its frames are loaded.
        checkpoint: a file written after each epoch and every few minutes, and read first if it is there.
        execution: on which device, how fast, in how much memory.
        stop_after: leave after so many epochs of this call, as an interruption would.
        report: gets one line per epoch, and one every `execution.log_steps` steps.

    Raises InputError for clips without scene labels, a missing text target, a checkpoint of another training, a loss
    that is not finite, and where the device's memory does not hold a batch.
    """
    _check_text(config, taxonomy, text)
    torch.manual_seed(seed)
    model = build(config, taxonomy, allow_downloads)
    session = _Session(model, train_clips, val_clips, text, profile, seed, execution, checkpoint, report)
    done = session.resume() if checkpoint and checkpoint.is_file() else state.Progress()
    first, answers = done.epoch, None
    for epoch in range(first, config.epochs):
        row = {"epoch": epoch + 1} | session.train_epoch(done)
        with session.step.averaged():
            whole = epoch + 1 == config.epochs or config.selection == "best_on_validation"
            chosen, answers = session.evaluate(whole)
            labels = {level: val_clips.labels[level][chosen] for level in LEVELS}
            accuracies = hierarchy.accuracy(answers.logits, labels, taxonomy, config.evaluation)
            row |= {f"val_{level}": value for level, value in accuracies.items()} | {"val_clips": len(chosen)}
            best = done.best
            if config.selection == "best_on_validation" and (best is None or row["val_city"] > best["val_city"]):
                weights = {key: value.detach().cpu().clone() for key, value in model.state_dict().items()}
                done.best = {"epoch": epoch + 1, "val_city": row["val_city"], "model": weights}
        done.log.append(row | {"seconds": round(done.elapsed(), 2)})
        report(_line(row, config.epochs))
        done.next_epoch()
        session.save(done)
        if stop_after is not None and epoch + 1 - first >= stop_after:
            break
    if done.best is not None:
        model.load_state_dict(done.best["model"])
    else:
        session.step.exchange()  # the weights that were evaluated are those that are kept
    if done.best is not None or answers is None or len(answers.logits[LEVELS[0]]) < len(val_clips):
        _, answers = session.evaluate()
    epoch = done.best["epoch"] if done.best else len(done.log)
    return Trained(model.eval(), answers, session.auxiliary(answers, text), epoch, done.log)


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
        device: "auto" takes a GPU where there is one; "cpu" stays on the processor.
        frame: shows an image system this frame of each clip in place of the one it is configured for.

    Returns level -> float32 (N, number of classes) on the CPU, and level -> LongTensor (N,).
    """
    count = len(clips) if limit is None else min(limit, len(clips))
    chosen = [i * len(clips) // count for i in range(count)]
    with_scenes = model.routed or model.config.system == "geodecoder"  # these have no form without
    bare = model.config.replace(**({} if with_scenes else {"scene_labels": None}), frame=frame or model.config.frame)
    data = ClipTensors(clips, bare, profile.loader_workers == 0)
    place = Execution(device).torch_device
    given = Batches(data, in_turn(chosen, EVALUATED), EVALUATED, profile.loader_workers, place)
    answers = evaluate(model.to(place), given)
    return answers.logits, {level: clips.labels[level][chosen] for level in LEVELS}


@torch.no_grad()
def evaluate(model: System, given: Iterable[Batch], bf16: bool = False) -> Output:
    """What a model says of batches on its device, all of them together, on the CPU in float32.

    Args:
        bf16: whether the backbone computes in bfloat16.
    """
    device = next(model.parameters()).device
    model.eval()
    parts: dict[str, list[Tensor]] = {level: [] for level in (*LEVELS, "scene", "text")}
    for frames, _, scenes in given:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            output = answer(model, frames, scenes)
        for name, tensor in (*output.logits.items(), ("scene", output.scene), ("text", output.text)):
            if tensor is not None:
                parts[name].append(tensor.float())
    joined = {name: torch.cat(tensors).cpu() for name, tensors in parts.items() if tensors}
    return Output({level: joined[level] for level in LEVELS}, joined.get("scene"), joined.get("text"))


class _Session:
    """One training between its epochs: the step, and the batches of both splits."""

    def __init__(
        self,
        model: System,
        train_clips: ClipDataset,
        val_clips: ClipDataset,
        text: Tensor | None,
        profile: Profile,
        seed: int,
        execution: Execution,
        checkpoint: Path | None,
        report: Callable[[str], None],
    ) -> None:
        self.profile, self.recipe, self.seed, self.execution = profile, profile.recipe, seed, execution
        self.checkpoint, self.report = checkpoint, report
        self.device = execution.torch_device
        self.model = model.to(self.device)
        self.step = step_for(model, text, self.recipe, execution)
        place = {"in_memory": profile.loader_workers == 0, "seed": seed, "device": self.device}
        place["encoded"] = self.step.switches.nvjpeg
        self.train_set = ClipTensors(train_clips, model.config, training=True, **place)
        self.val_set = ClipTensors(val_clips, model.config, **place)
        self.order = EpochOrder(len(self.train_set), profile.recipe.batch_size, seed)
        size, how = profile.recipe.batch_size, (profile.loader_workers, self.device, self.step.switches.prefetch)
        self.train_batches = Batches(self.train_set, self.order, size, *how)
        self.eval_size, self.how = max(size, EVALUATED) if profile.loader_workers == 0 else size, how
        self.saved = "no checkpoint was written yet"

    def train_epoch(self, done: state.Progress) -> dict[str, float]:
        """Train what is left of an epoch; the mean of each loss over its steps."""
        config, epoch, steps = self.model.config, done.epoch, len(self.order)
        self.order.epoch, self.order.first = epoch, done.step
        self.train_set.start_epoch(epoch)
        torch.manual_seed(self.seed * 1_000_003 + epoch)
        self.model.train()
        self.step.start(done.totals, done.step)
        done.continue_random_numbers()
        window = state.Readback(self.step)
        save_at = time.monotonic() + 60 * self.execution.checkpoint_minutes
        for frames, labels, scenes in self.train_batches:
            rate = learning_rate(self.recipe, epoch * steps + done.step, steps, config.epochs)
            frames = augmented(frames, self.recipe, self.seed, epoch, done.step)
            self.step(frames, labels, scenes, rate)
            done.step += 1
            if done.step % self.execution.log_steps == 0 and done.step < steps:
                window.ask(done.step)
            if (reading := window.answer()) is not None:
                self._check(reading, epoch)
                self.report(reading.line(epoch, config.epochs, steps, self.recipe.batch_size))
            elif self.device.type == "cpu" and self.step.failed:  # on a GPU the question would cost a step
                self._check(window.wait(done.step), epoch)
            if self.checkpoint and time.monotonic() >= save_at and done.step < steps:
                self._check(window.wait(done.step), epoch)
                done.totals = self.step.totals.clone()
                self.save(done)
                save_at = time.monotonic() + 60 * self.execution.checkpoint_minutes
        reading = window.wait(steps)
        self._check(reading, epoch)
        return reading.means()

    def evaluate(self, whole: bool = True) -> tuple[list[int], Output]:
        """What the model says of the validation split, or of `WATCHED` clips spread over it; and which these are."""
        count = len(self.val_set) if whole else min(WATCHED, len(self.val_set))
        chosen = [i * len(self.val_set) // count for i in range(count)]
        batches = Batches(self.val_set, in_turn(chosen, self.eval_size), self.eval_size, *self.how)
        return chosen, evaluate(self.model, batches, self.step.switches.bf16)

    def auxiliary(self, answers: Output, text: Tensor | None) -> Auxiliary:
        """How good the scenes and texts of the whole validation split are, beside the best constant answers."""
        found: dict[str, Tensor] = {}
        every = range(len(self.val_set))
        if answers.scene is not None:
            train_labels = self.train_set.scenes.flatten(0, 1).cpu()
            three = auxiliary.scenes(answers.scene, self.val_set.targets(every)[1].cpu(), train_labels)
            found |= dict(zip(("scene_loss", "scene_constant", "scene_floor"), three, strict=True))
        if answers.text is not None and text is not None:
            cities = [data.labels[:, 0].cpu() for data in (self.val_set, self.train_set)]
            pair = auxiliary.texts(answers.text, *cities, text)
            found |= dict(zip(("text_cosine", "text_constant"), pair, strict=True))
        return Auxiliary(**found)

    def save(self, done: state.Progress) -> None:
        """Write all that a resumed training needs."""
        if self.checkpoint:
            state.save(self.checkpoint, self.step, done)
            self.saved = f"{self.checkpoint} has the state {done.words()}"

    def resume(self) -> state.Progress:
        """Take up the state that is in the checkpoint."""
        done = state.load(self.checkpoint, self.step)
        self.saved = f"{self.checkpoint} has the state {done.words()}"
        self.report(f"resumed {done.words()} of {self.model.config.epochs}")
        return done

    def _check(self, reading: state.Reading, epoch: int) -> None:
        if reading.failed:
            raise InputError(
                f"the loss is not finite at epoch {epoch + 1}, step {reading.failed}; lower the learning rate "
                f"({self.saved})"
            )


def _check_text(config: ModelConfig, taxonomy: Taxonomy, text: Tensor | None) -> None:
    if config.text_labels and text is None:
        raise InputError("this model aligns text; give the text features of the cities (cityguessr.text.features)")
    wanted = taxonomy.size("city"), config.text_width
    if text is not None and tuple(text.shape) != wanted:
        raise InputError(f"text features are {tuple(text.shape)}, the model wants {wanted}: leave text_dim out")


def _line(row: dict[str, float], epochs: int) -> str:
    accuracies = " ".join(f"{level} {row[f'val_{level}']:4.1f}" for level in LEVELS)
    return f"epoch {row['epoch']:>2}/{epochs}  loss {row['loss']:5.2f}  correct %: {accuracies}"
