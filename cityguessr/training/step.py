"""One step of a training: forward, the losses, backward, Adam (paper, sections 4.5 and 5.2); plain or fast."""

import contextlib
import math
from collections.abc import Iterator

import torch
from torch import Tensor

from cityguessr import losses
from cityguessr.base.errors import InputError
from cityguessr.config import ModelConfig
from cityguessr.model import Output, System
from cityguessr.taxonomy import LEVELS
from cityguessr.training.execution import Execution, Switches
from cityguessr.training.recipe import Recipe, parameter_groups

_WARM_STEPS = 3  # before a CUDA graph is recorded: compilation, Adam's state and cuDNN's choices are made in them


RELEASED_BATCH = 12  # clips over which the released code sums the text loss


def answer(model: System, frames: Tensor, scenes: Tensor) -> Output:
    """What a system says of a batch; only one whose networks are picked by the scene is told the scenes."""
    return model(frames, scenes) if model.routed else model(frames)


def total_loss(
    output: Output,
    labels: Tensor,
    scenes: Tensor,
    text: Tensor | None,
    config: ModelConfig,
    recipe: Recipe = Recipe(),  # noqa: B008 - frozen
) -> tuple[Tensor, dict[str, Tensor]]:
    """Eq. 4: the sum of the three losses with their weights in the recipe, and each of them, unweighted, by name.

    Args:
        labels: (B, 4) class ids in the order of `LEVELS`.
        scenes: (B, scene classes) soft scene labels.
        text: (number of cities, text width), the text features of every city; None without text alignment.
    """
    by_level = {level: labels[:, i] for i, level in enumerate(LEVELS)}
    parts = {"geolocalization": losses.geolocalization(output.logits, by_level, recipe.label_smoothing)}
    if output.scene is not None:
        parts["scene"] = losses.scene(output.scene, scenes)
    if output.text is not None:
        parts["text"] = losses.text_alignment(output.text, text[by_level["city"]], config.text_reduction)
        if config.text_reduction == "sum":  # whatever the batch here, the factor is that of the released code's
            parts["text"] = parts["text"] * (RELEASED_BATCH / recipe.batch_size)
    return weighted_sum(parts, recipe), parts


def weighted_sum(parts: dict[str, Tensor], recipe: Recipe) -> Tensor:
    """The losses, added up with their weights; the paper's are 1, and change no bit."""
    return sum(recipe.weights[name] * part for name, part in parts.items())


class TrainingStep:
    """One step of a recipe on a batch, again and again.

    It leaves nothing on the processor to wait for: the losses add up on the device (`totals`), and so does the number
    of the first step whose loss is not finite (`failed`).

    Args:
        model: on its device; put into training mode by the caller.
        text: (number of cities, text width) text features; None without text alignment.
        recipe: its batch size is that of a whole batch, whose shapes are compiled and recorded; a smaller one, as at
            the end of an epoch, takes the uncompiled way. Its schedule and its augmentation are the caller's.
        accumulate, recompute: see `Execution`.

    Attributes:
        names: of the losses, "loss" (their sum) first.
        average: the moving average of the trained weights, in the order of `trained`; empty where there is none.
        totals: float64 (number of losses,), the sum of each over the steps since `start`.
        count: int64 (), how many steps that were.
        failed: int64 (), the first of them whose loss was not finite, counted from 1; 0: none.
    """

    def __init__(
        self,
        model: System,
        text: Tensor | None,
        recipe: Recipe,
        switches: Switches,
        accumulate: int = 1,
        recompute: bool = False,
    ) -> None:
        self.model, self.config, self.recipe, self.switches = model, model.config, recipe, switches
        self.device = next(model.parameters()).device
        self.text = None if text is None else text.to(self.device)
        self.batch_size, self.accumulate = recipe.batch_size, min(accumulate, recipe.batch_size)
        model.use(switches.folded, switches.fused_attention, recompute)
        # A system whose networks are picked by the scene has other shapes in every batch, and transformers' own forward
        # copies tables from the processor: nothing to record.
        self.graphs = switches.cuda_graphs and switches.folded and self.device.type == "cuda" and not model.routed
        options = {"fused": switches.fused_adam, "foreach": False} if not self.graphs else {"capturable": True}
        if self.graphs:
            options["fused"] = switches.fused_adam
        groups = parameter_groups(model, recipe, model.config.depth)
        self.scales = torch.tensor([group["scale"] for group in groups], device=self.device)
        self.rates = recipe.learning_rate * self.scales  # of each group; a recorded step reads them from the device
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[recipe.optimizer]
        self.optimizer = kind(groups, lr=recipe.learning_rate, **options)
        self._bind_rates()
        self.average = [weight.detach().clone() for weight in self.trained()] if recipe.average else []
        self.averaged_steps = torch.zeros((), dtype=torch.int64, device=self.device)
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
            torch.mul(self.scales, rate, out=self.rates)
        else:
            for group in self.optimizer.param_groups:
                group["lr"] = rate * group["scale"]
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
        if self.recipe.clip_gradients:
            torch.nn.utils.clip_grad_norm_(self.trained(), self.recipe.clip_gradients)
        self.optimizer.step()
        self._add_to_average()
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
        _, parts = total_loss(output, labels, scenes, self.text, self.config, self.recipe)
        # a sum over the clips of the part adds up to the batch's as it is; a mean counts by its share
        whole = self.config.text_reduction == "sum"
        shared = {name: part if name == "text" and whole else part * share for name, part in parts.items()}
        return torch.stack([weighted_sum(shared, self.recipe), *shared.values()])

    def autocast(self) -> contextlib.AbstractContextManager:
        """Where backbones compute in bfloat16, if they do."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.switches.bf16)

    @torch.no_grad()
    def _add_to_average(self) -> None:
        if not self.average:
            return
        # the first weights are random: as long as few have been averaged, the next ones count for more
        self.averaged_steps += 1
        decay = ((1 + self.averaged_steps) / (10 + self.averaged_steps)).clamp(max=self.recipe.average)
        towards = torch._foreach_sub([weight.detach() for weight in self.trained()], self.average)
        torch._foreach_mul_(towards, 1 - decay)
        torch._foreach_add_(self.average, towards)

    @torch.no_grad()
    def exchange(self) -> None:
        """Put the average of the weights in their place, and them in its; nothing happens without one."""
        for weight, average in zip(self.trained(), self.average, strict=False):
            kept = weight.clone()
            weight.copy_(average)
            average.copy_(kept)

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Meanwhile the model has the averaged weights, where the recipe averages."""
        self.exchange()
        try:
            yield
        finally:
            self.exchange()

    def state(self) -> dict[str, object]:
        """The state of optimizer and average, to be saved."""
        state = {"optimizer": self.optimizer.state_dict()["state"]}
        return state | ({"average": self.average, "averaged_steps": self.averaged_steps} if self.average else {})

    def load(self, state: dict[str, object]) -> None:
        """Take up a state that `state` gave, on whatever device that was."""
        groups = self.optimizer.state_dict()["param_groups"]  # how Adam runs here is not how it ran there
        self.optimizer.load_state_dict({"state": state["optimizer"], "param_groups": groups})
        self._bind_rates()
        for average, saved in zip(self.average, state.get("average", []), strict=True):
            average.copy_(saved)
        if self.average:
            self.averaged_steps.copy_(state["averaged_steps"])

    def _bind_rates(self) -> None:
        """Have the groups of a recorded step read their learning rates from `rates`."""
        if self.graphs:
            for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
                group["lr"] = rate

    def _out_of_memory(self, size: int) -> str:
        total = torch.cuda.get_device_properties(self.device).total_memory / 1e9
        part = math.ceil(size / self.accumulate)
        return (
            f"{torch.cuda.get_device_name(self.device)} ({total:.0f} GB): out of memory at {part} clips of "
            f"{self.config.input_frames} x {self.config.size} x {self.config.size} at a time; work on a batch in more "
            f"parts (accumulate={2 * self.accumulate}, --accumulate {2 * self.accumulate}), or compute layers again on "
            "the way back (recompute=True, --recompute); the result is the same"
        )


def step_for(model: System, text: Tensor | None, recipe: Recipe, execution: Execution) -> TrainingStep:
    """The step of a recipe, carried out so."""
    return TrainingStep(model, text, recipe, execution.switches, execution.accumulate, execution.recompute)
