"""How fast a training is: steady steps of any loop, the rates of a device, and where the time of a step goes."""

from __future__ import annotations

import dataclasses
import gc
import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from cityguessr import paper
from cityguessr.config import ModelConfig
from cityguessr.model import System
from cityguessr.systems import build
from cityguessr.taxonomy import LEVELS, Taxonomy
from cityguessr.text.features import text_features
from cityguessr.training.batches import Batch
from cityguessr.training.execution import Switches
from cityguessr.training.recipe import Recipe
from cityguessr.training.step import TrainingStep, answer, total_loss

DATASHEET = {"H100": 989.0, "H200": 989.0, "A100": 312.0}
"""A name of GPUs -> the dense bfloat16 rate that their datasheets give, in TFLOP/s; of the SXM form."""

BACKWARD = 3
"""Operations of a step over those of its forward pass: the backward pass adds two products for each."""

_PRODUCT, _COPY = 8192, 2**30  # rows of the matrices that measure a peak; bytes of the copy that measures memory


@dataclasses.dataclass(frozen=True)
class Row:
    """The speed of one way to train, from steady steps.

    Attributes:
        batch: clips per step.
        steps: how many were measured, after those that set everything up.
        median_ms: of single steps; on a GPU between two events on it.
        ms_per_step: the time of all steps divided by their number: what counts.
        tflops: operations per second / 1e12, those of the model's forward pass x 3, from shapes.
        share_of_measured_peak, share_of_datasheet_peak: of the rate of a large matrix product on this device, and of
            the datasheet's; None where there is none.
        peak_memory_gb, reserved_memory_gb: of the GPU, in use by tensors, and taken from it altogether; None on a CPU.
        first_step_seconds: until the first step was done, compilation among it.
        minutes_for_the_papers_schedule: for 10 epochs of 54,614 clips at this rate, nothing else counted;
            None for another model than the paper's.
        failed_step: the first step whose loss was not finite; 0: none.
    """

    label: str
    switches: str
    batch: int
    steps: int
    median_ms: float
    ms_per_step: float
    clips_per_second: float
    tflops: float | None
    share_of_measured_peak: float | None
    share_of_datasheet_peak: float | None
    peak_memory_gb: float | None
    reserved_memory_gb: float | None
    first_step_seconds: float
    minutes_for_the_papers_schedule: float | None
    failed_step: int = 0


@dataclasses.dataclass(frozen=True)
class Yardstick:
    """What rates are compared with.

    Attributes:
        papers_model: whether the model is the paper's, so that the time of its schedule can be computed.
        flops_per_clip: of the forward pass.
        measured_peak, datasheet_peak: of the device, in TFLOP/s.
    """

    papers_model: bool = False
    flops_per_clip: float | None = None
    measured_peak: float | None = None
    datasheet_peak: float | None = None


def steady(
    step: Callable[[Batch], object],
    given: Iterable[Batch],
    steps: int,
    *,
    label: str,
    switches: Switches | str,
    device: torch.device,
    yardstick: Yardstick | None = None,
    warm: int = 6,
) -> Row:
    """The speed of a step over so many steady ones, after a few that set everything up.

    Args:
        step: trains on a batch.
        given: batches, all of one size; those of a list are taken again and again.
        switches: of the row, or words in their place.
    """
    yardstick = yardstick or Yardstick()
    source = _endless(given)
    batch = next(source)
    start = time.perf_counter()
    step(batch)
    wait_for(device)
    first = time.perf_counter() - start
    for _ in range(warm):
        step(next(source))
    wait_for(device)
    single, marks, size = [], [], len(batch[1])
    begin = time.perf_counter()
    if device.type == "cuda":
        marks.append(_mark())
    for _ in range(steps):
        start = time.perf_counter()
        step(next(source))
        if device.type == "cuda":
            marks.append(_mark())
        else:
            single.append(1e3 * (time.perf_counter() - start))
    wait_for(device)
    seconds = (time.perf_counter() - begin) / steps
    single += [before.elapsed_time(after) for before, after in itertools.pairwise(marks)]
    clips = size / seconds
    tflops = None if yardstick.flops_per_clip is None else BACKWARD * yardstick.flops_per_clip * clips / 1e12
    on_gpu = device.type == "cuda"
    return Row(
        label,
        switches if isinstance(switches, str) else words(switches),
        size,
        steps,
        _rounded(statistics.median(single)),
        _rounded(1e3 * seconds),
        _rounded(clips),
        _rounded(tflops),
        _share(tflops, yardstick.measured_peak),
        _share(tflops, yardstick.datasheet_peak),
        _rounded(torch.cuda.max_memory_allocated() / 1e9) if on_gpu else None,
        _rounded(torch.cuda.max_memory_reserved() / 1e9) if on_gpu else None,
        _rounded(first),
        _rounded(paper_schedule_minutes(clips)) if yardstick.papers_model else None,
        int(getattr(step, "failed", 0)),
    )


def training(
    config: ModelConfig,
    taxonomy: Taxonomy,
    batch: int,
    switches: Switches,
    device: torch.device,
    accumulate: int = 1,
    recompute: bool = False,
    seed: int = 0,
) -> TrainingStep:
    """The step of a new model with random weights, by the paper's recipe."""
    model, text = new_model(config, taxonomy, device, seed)
    return TrainingStep(model, text, Recipe(batch_size=batch), switches, accumulate, recompute)


def on_batches(step: TrainingStep, rate: float = 1e-3) -> Callable[[Batch], object]:
    """A step as `steady` wants it: of a batch alone, with what failed."""

    def train(batch: Batch) -> None:
        step(*batch, rate)
        train.failed = step.failed

    return train


def new_model(
    config: ModelConfig, taxonomy: Taxonomy, device: torch.device, seed: int = 0
) -> tuple[System, Tensor | None]:
    """A model with random weights in training mode, and the text features of its cities, on a device."""
    torch.manual_seed(seed)
    model = build(config.replace(pretrained=None), taxonomy).to(device).train()
    if config.text_labels is None:
        return model, None
    features = text_features(taxonomy, config.text_encoder, config.text_labels)
    return model, features.to(device)


def released_loop(
    config: ModelConfig, taxonomy: Taxonomy, device: torch.device, seed: int = 0
) -> Callable[[Batch], dict[str, float]]:
    """A step as the released training script takes it, written anew from what that does.

    Everything is float32, attention keeps the matrix of its scores, the processor turns frames into floats before they
    are moved, and every loss is read back in every step. It takes batches that are on the processor.
    """
    model, text = new_model(config, taxonomy, device, seed)
    model.use(folded=False, fused_attention=False)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def train(batch: Batch) -> dict[str, float]:
        frames, labels, scenes = batch
        frames = (frames.float() / 255).to(device)
        labels, scenes = labels.to(device), scenes.to(device)
        optimizer.zero_grad()
        loss, parts = total_loss(answer(model, frames, scenes), labels, scenes, text, config)
        loss.backward()
        optimizer.step()
        return {"loss": loss.item()} | {name: part.item() for name, part in parts.items()}

    return train


def noise(
    config: ModelConfig, taxonomy: Taxonomy, batch: int, device: torch.device | str, count: int = 4, seed: int = 0
) -> list[Batch]:
    """Batches of noise, with labels that fit together."""
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, config.input_frames, 3, config.size, config.size)
    made = []
    for _ in range(count):
        chain = taxonomy.chain(torch.randint(taxonomy.size("city"), (batch,), generator=generator))
        frames = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
        scenes = torch.rand(batch, config.scene_classes, generator=generator).softmax(dim=1)
        labels = torch.stack([chain[level] for level in LEVELS], dim=1)
        made.append(tuple(part.to(device) for part in (frames, labels, scenes)))
    return made


def paper_schedule_minutes(clips_per_second: float) -> float:
    """Minutes that the paper's training takes at a rate: its training clips, as many times as it has epochs."""
    counts = paper.dataset()
    clips = counts[(counts["where"] == "split") & (counts["dataset"] == "cityguessr68k")].set_index("quantity")["value"]
    return float(clips["train"]) * ModelConfig().epochs / clips_per_second / 60


def matrix_peak(
    device: torch.device, rows: int = _PRODUCT, seconds: float = 1.0, dtype: torch.dtype = torch.bfloat16
) -> float:
    """TFLOP/s of a product of two random square matrices."""
    a, b = (torch.randn(rows, rows, device=device).to(dtype) for _ in range(2))
    rate = calls_per_second(lambda: a @ b, device, seconds)
    return 2 * rows**3 * rate / 1e12


def copy_rate(device: torch.device, size: int = _COPY, seconds: float = 0.5) -> float:
    """GB/s that a copy on a device reads and writes together."""
    source = torch.randint(256, (size,), device=device, dtype=torch.uint8)
    target = torch.empty_like(source)
    return 2 * size * calls_per_second(lambda: target.copy_(source), device, seconds) / 1e9


def datasheet_peak(name: str) -> float | None:
    """The dense bfloat16 rate of a GPU by its name, in TFLOP/s; None for one that is not listed in `DATASHEET`."""
    return next((peak for part, peak in DATASHEET.items() if part in name), None)


GROUPS = (
    ("attention", ("sdpa", "flash", "fmha", "attention", "compute_dot_do_o", "convert_dq")),
    ("Adam", ("multi_tensor_apply", "adam")),
    ("patch embedding", ("convol", "implicit", "wgrad", "dgrad", "nchwtonhwc", "nhwctonchw")),
    ("matrix products", ("nvjet", "gemm", "cutlass", "cublas", "splitk", "triton_tem")),
    ("layer norms", ("layer_norm", "layernorm")),
    ("GELU", ("gelu",)),
    ("other fused elementwise", ("triton_",)),
    ("copies", ("memcpy", "memset", "copy", "catarray")),
)
"""A group of kernels -> parts of their names in lower case; the first group that fits counts."""


def kernel_groups(kernels: Iterable[tuple[str, float, float]], steps: int, wall_ms: float) -> list[dict[str, object]]:
    """Where the time of a step goes on a GPU, by groups of kernels; what is left of the wall clock's is "gaps".

    Args:
        kernels: name, begin and end of each, in microseconds.
        wall_ms: of all steps.

    Returns one row per group: group, ms per step, share of the wall clock's, kernels per step.
    """
    kernels = list(kernels)
    totals: dict[str, list[float]] = {name: [0.0, 0] for name, _ in GROUPS} | {"other": [0.0, 0]}
    for name, begin, end in kernels:
        entry = totals[kernel_group(name)]
        entry[0] += (end - begin) / 1e3
        entry[1] += 1
    gaps = max(0.0, wall_ms - _busy_ms(kernels))
    rows = [(name, ms, count) for name, (ms, count) in totals.items() if count] + [("gaps", gaps, 0)]
    return [
        {
            "group": name,
            "ms_per_step": _rounded(ms / steps),
            "share": _rounded(ms / wall_ms),
            "kernels_per_step": _rounded(count / steps),
        }
        for name, ms, count in rows
    ]


def kernel_group(name: str) -> str:
    """The group of a kernel, see `GROUPS`; "other" for one that is in none."""
    lower = name.lower()
    return next((group for group, parts in GROUPS if any(part in lower for part in parts)), "other")


def words(switches: Switches) -> str:
    """The switches that are on, in words."""
    on = [field.name for field in dataclasses.fields(switches) if getattr(switches, field.name)]
    return ", ".join(on) or "none"


def wait_for(device: torch.device) -> None:
    """Wait until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def tidy(device: torch.device) -> None:
    """Give back unused memory, and start to count its peak again."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _endless(given: Iterable[Batch]) -> Iterable[Batch]:
    if isinstance(given, list):
        while True:
            yield from given
    yield from given


def calls_per_second(call: Callable[[], object], device: torch.device, seconds: float) -> float:
    """How many times per second a call is done, over about so many seconds."""
    for _ in range(3):
        call()
    wait_for(device)
    calls, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        for _ in range(5):
            call()
        wait_for(device)
        calls += 5
    return calls / (time.perf_counter() - start)


def _mark() -> torch.cuda.Event:
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def _busy_ms(kernels: list[tuple[str, float, float]]) -> float:
    """Milliseconds in which at least one kernel ran."""
    busy, until = 0.0, -math.inf
    for _, begin, end in sorted(kernels, key=lambda kernel: kernel[1]):
        busy += max(0.0, end - max(begin, until))
        until = max(until, end)
    return busy / 1e3


def _rounded(value: float | None) -> float | None:
    """Four digits that count."""
    return None if value is None else float(f"{value:.4g}")


def _share(value: float | None, peak: float | None) -> float | None:
    return None if value is None or peak is None else _rounded(value / peak)
