"""One step of a training: forward, the losses, backward, Adam (paper, sections 4.5 and 5.2); plain or fast."""

import contextlib
import math

import torch
from torch import Tensor

from cityguessr import losses
from cityguessr.base.errors import InputError
from cityguessr.config import ModelConfig
from cityguessr.model import Output, System
from cityguessr.taxonomy import LEVELS
from cityguessr.training.execution import Execution, Switches
from cityguessr.training.profiles import Profile

_WARM_STEPS = 3  # before a CUDA graph is recorded: compilation, Adam's state and cuDNN's choices are made in them


def answer(model: System, frames: Tensor, scenes: Tensor) -> Output:
    """What a system says of a batch; only one whose networks are picked by the scene is told the scenes."""
    return model(frames, scenes) if model.routed else model(frames)


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


def learning_rate(profile: Profile, step: int, steps_per_epoch: int, epochs: int) -> float:
    """The learning rate at a step: the paper's constant, or a cosine to zero after one epoch of linear warm-up."""
    if profile.schedule == "constant":
        return profile.learning_rate
    if step < steps_per_epoch:
        return profile.learning_rate * (step + 1) / steps_per_epoch
    progress = (step - steps_per_epoch) / max(1, steps_per_epoch * (epochs - 1))
    return profile.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


class TrainingStep:
    """One step of Adam on a batch, again and again.

    It leaves nothing on the processor to wait for: the losses add up on the device (`totals`), and so does the number
    of the first step whose loss is not finite (`failed`).

    Args:
        model: on its device; put into training mode by the caller.
        text: (number of cities, text width) text features; None without text alignment.
        batch_size: of a whole batch, whose shapes are compiled and recorded; a smaller one, as at the end of an epoch,
            takes the uncompiled way.
        accumulate, recompute: see `Execution`.

    Attributes:
        names: of the losses, "loss" (their sum) first.
        totals: float64 (number of losses,), the sum of each over the steps since `start`.
        count: int64 (), how many steps that were.
        failed: int64 (), the first of them whose loss was not finite, counted from 1; 0: none.
    """

    def __init__(
        self,
        model: System,
        text: Tensor | None,
        learning_rate: float,
        batch_size: int,
        switches: Switches,
        accumulate: int = 1,
        recompute: bool = False,
    ) -> None:
        self.model, self.config, self.switches = model, model.config, switches
        self.device = next(model.parameters()).device
        self.text = None if text is None else text.to(self.device)
        self.batch_size, self.accumulate = batch_size, min(accumulate, batch_size)
        model.use(switches.folded, switches.fused_attention, recompute)
        # A system whose networks are picked by the scene has other shapes in every batch, and transformers' own forward
        # copies tables from the processor: nothing to record.
        self.graphs = switches.cuda_graphs and switches.folded and self.device.type == "cuda" and not model.routed
        options = {"fused": switches.fused_adam, "foreach": False} if not self.graphs else {"capturable": True}
        if self.graphs:
            options["fused"] = switches.fused_adam
        self.rate = torch.tensor(learning_rate, device=self.device) if self.graphs else learning_rate
        self.optimizer = torch.optim.Adam(self.trained(), lr=self.rate, **options)
        self.losses = self._losses
        if switches.compiled and not model.routed:
            torch.compiler.reset()  # of models that are no longer used
            self.losses = torch.compile(self._losses, dynamic=False, fullgraph=True)
        config = model.config
        self.names = ["loss", "geolocalization"]
        self.names += ["scene"] if config.scene_labels else []
        self.names += ["text"] if config.text_labels else []
        self.totals = torch.zeros(len(self.names), dtype=torch.float64, device=self.device)
        self.count, self.failed = (torch.zeros((), dtype=torch.int64, device=self.device) for _ in range(2))
        self._warm, self._graph, self._batch = 0, None, ()

    def trained(self) -> list[Tensor]:
        """The weights that are trained: all of them, or those after a frozen backbone."""
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    def start(self, totals: Tensor | None = None, count: int = 0) -> None:
        """Begin an epoch, or go on with one after so many steps with these sums of losses."""
        self.totals.copy_(torch.zeros_like(self.totals) if totals is None else totals)
        self.count.fill_(count)
        self.failed.zero_()

    def __call__(self, frames: Tensor, labels: Tensor, scenes: Tensor, rate: float) -> None:
        """Train on a batch, all of it on the model's device, at a learning rate.

        Raises InputError where the device's memory does not hold it, with the settings to change.
        """
        if self.graphs:
            self.rate.fill_(rate)
        else:
            for group in self.optimizer.param_groups:
                group["lr"] = rate
        try:
            self._step(frames, labels, scenes)
        except torch.OutOfMemoryError:
            raise InputError(self._out_of_memory(len(frames))) from None

    def _step(self, *batch: Tensor) -> None:
        if len(batch[0]) != self.batch_size:
            self._train(batch, self._losses)
        elif not self.graphs:
            self._train(batch, self.losses)
        elif self._graph is not None:
            for kept, part in zip(self._batch, batch, strict=True):
                kept.copy_(part)
            self._graph.replay()
        elif self._warm < _WARM_STEPS:
            self._warm += 1
            aside = torch.cuda.Stream()
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                self._train(batch, self.losses)
            torch.cuda.current_stream().wait_stream(aside)
        else:
            self._batch = tuple(part.clone() for part in batch)
            self.optimizer.zero_grad()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self._train(self._batch, self.losses)
            self._graph = graph
            graph.replay()  # recording has computed nothing yet

    def _train(self, batch: tuple[Tensor, ...], losses: object) -> None:
        self.optimizer.zero_grad()
        size, parts_of_batch = len(batch[0]), zip(*(self._split(part) for part in batch), strict=True)
        sums = None
        for frames, labels, scenes in parts_of_batch:
            parts = losses(frames, labels, scenes, len(frames) / size)
            parts[0].backward()
            sums = parts.detach() if sums is None else sums + parts.detach()
        self.optimizer.step()
        self.count += 1
        self.totals += sums
        failed = (self.failed == 0) & ~torch.isfinite(sums[0])
        self.failed += failed * self.count

    def _split(self, part: Tensor) -> tuple[Tensor, ...]:
        return part.split(math.ceil(len(part) / self.accumulate))

    def _losses(self, frames: Tensor, labels: Tensor, scenes: Tensor, share: float) -> Tensor:
        """The losses in the order of `names`, (number of losses,); each a part of a batch's, `share` of it."""
        with self.autocast():
            output = answer(self.model, frames, scenes)
        _, parts = total_loss(output, labels, scenes, self.text, self.config)
        # a sum over the clips of the part adds up to the batch's as it is; a mean counts by its share
        whole = self.config.text_reduction == "sum"
        shared = [part if name == "text" and whole else part * share for name, part in parts.items()]
        return torch.stack([sum(shared), *shared])

    def autocast(self) -> contextlib.AbstractContextManager:
        """Where backbones compute in bfloat16, if they do."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.switches.bf16)

    def state(self) -> dict[str, object]:
        """The optimizer's state, to be saved."""
        return self.optimizer.state_dict()["state"]

    def load(self, state: dict[str, object]) -> None:
        """Take up a state that `state` gave, on whatever device that was."""
        groups = self.optimizer.state_dict()["param_groups"]  # how Adam runs here is not how it ran there
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        if self.graphs:
            for group in self.optimizer.param_groups:
                group["lr"] = self.rate

    def _out_of_memory(self, size: int) -> str:
        total = torch.cuda.get_device_properties(self.device).total_memory / 1e9
        part = math.ceil(size / self.accumulate)
        return (
            f"{torch.cuda.get_device_name(self.device)} ({total:.0f} GB): out of memory at {part} clips of "
            f"{self.config.input_frames} x {self.config.size} x {self.config.size} at a time; work on a batch in more "
            f"parts (accumulate={2 * self.accumulate}, --accumulate {2 * self.accumulate}), or compute layers again on "
            "the way back (recompute=True, --recompute); the result is the same"
        )


def step_for(model: System, text: Tensor | None, profile: Profile, execution: Execution) -> TrainingStep:
    """The step of a profile's recipe, carried out so."""
    return TrainingStep(
        model,
        text,
        profile.learning_rate,
        profile.batch_size,
        execution.switches,
        execution.accumulate,
        execution.recompute,
    )
