"""What a training takes of a GPU's memory, and the settings with which it fits a small one.

It is computed, on any machine: an uncompiled step is carried out on tensors of a shape and a type but no content, and
what they would take is added up as they come and go. A compiled step keeps somewhat more or less than that, and cuDNN,
cuBLAS and CUDA graphs take more; page 60 shows both sides beside what GPUs measured. Of cards under 80 GB none has been
measured.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import warnings
import weakref
from collections.abc import Callable, Iterable

import pandas as pd
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from cityguessr.base import weights
from cityguessr.config import ModelConfig
from cityguessr.model import SelfCrossAttention
from cityguessr.scenes import SCENE_GROUPS
from cityguessr.speed.records import FAST, PLAIN, GpuResults
from cityguessr.systems import build
from cityguessr.taxonomy import LEVELS, Taxonomy
from cityguessr.training.execution import Switches
from cityguessr.training.profiles import PAPER
from cityguessr.training.recipe import Recipe
from cityguessr.training.step import TrainingStep

CARDS = (8, 12, 16, 24, 40, 80)
"""GB of memory of usual GPUs."""

MARGIN, CONTEXT = 1.15, 1.0
"""What `fits` allows for beside what is computed: a factor for what libraries take, and GB for CUDA itself."""

_UNCOMPILED = "bf16, not compiled"
WAYS: dict[str, dict[str, object]] = {
    FAST: {},
    PLAIN: {"bf16": False, "folded": False, "fused_attention": False},
    _UNCOMPILED: {},
    f"recompute, {_UNCOMPILED}": {"recompute": True},
    f"accumulate=4, {_UNCOMPILED}": {"accumulate": 4},
}
"""How `check` calls a way to train -> the options of `needed` that compute its memory."""

_GRAIN = 512  # bytes; the allocator of a GPU gives out multiples of it


@dataclasses.dataclass(frozen=True)
class Settings:
    """Those of `Execution` with which a training fits a card, and the GB that it takes."""

    accumulate: int
    recompute: bool
    gigabytes: float

    def __str__(self) -> str:
        parts = [f"--accumulate {self.accumulate}"] * (self.accumulate > 1) + ["--recompute"] * self.recompute
        return " ".join(parts) or "as it is"


def needed(
    config: ModelConfig,
    batch: int = PAPER.recipe.batch_size,
    *,
    accumulate: int = 1,
    recompute: bool = False,
    bf16: bool = True,
    folded: bool = True,
    fused_attention: bool = True,
) -> float:
    """GB that a training takes at the height of a step: weights, gradients, Adam's moments, and what is kept of clips.

    Of ISNs it is what a batch takes whose frames all have one scene; no other batch takes more.

    Args:
        batch: clips per step.
        accumulate, recompute: as in `Execution`.
        bf16, folded, fused_attention: as in `Switches`.
    """
    networks = 1
    if config.system == "isns":  # three networks of one kind, each for some of the frames
        networks, config = len(SCENE_GROUPS), config.replace(system="cityguessr")
    config = same_shapes(config)
    parts = min(accumulate, batch)
    part = math.ceil(batch / parts)
    switches = Switches(bf16=bf16, folded=folded, fused_attention=fused_attention)
    # The second part meets the gradients of the first, and no later one meets more.
    weights_held, trained, most = _step(config, part, min(parts, 2), switches, recompute)
    waiting = max(0, batch - 2 * part) * config.input_frames * 3 * config.size**2
    return (most + (networks - 1) * (weights_held + 3 * trained) + waiting) / 1e9


def same_shapes(config: ModelConfig) -> ModelConfig:
    """One configuration for all whose tensors have the same shapes: which frame or label it is costs nothing."""
    return config.replace(
        pretrained=None,
        frame=config.frame and "random",
        scene_labels=config.scene_labels and "soft",
        text_labels=config.text_labels and "all",
        text_encoder=ModelConfig.text_encoder,
        text_dim=config.text_width,
    )


def fits(config: ModelConfig, memory_gb: float, batch: int = PAPER.recipe.batch_size) -> Settings | None:
    """The settings with which a training fits a card of so many GB; None where none do.

    Parts of a batch come first, since they change nothing but the number of products; layers are recomputed, which is a
    third more work, only where a single clip at a time is too much. `MARGIN` and `CONTEXT` are added.
    """
    for recompute in (False, True):
        for accumulate in (k for k in range(1, batch + 1) if batch % k == 0):
            gigabytes = needed(config, batch, accumulate=accumulate, recompute=recompute)
            if gigabytes * MARGIN + CONTEXT <= memory_gb:
                return Settings(accumulate, recompute, gigabytes)
    return None


def beside_measured(results: GpuResults) -> pd.DataFrame:
    """What a GPU measured of the paper's model beside what is computed, one row per way to train that is known here.

    Returns the columns label, batch, peak_memory_gb, reserved_memory_gb, computed, ratio (of the peak to computed).
    """
    frame = results.throughput
    frame = frame[frame["label"].isin(WAYS)].dropna(subset="peak_memory_gb") if len(frame) else frame
    config = ModelConfig(pretrained=None, text_encoder="minilm")  # as `check` has it
    rows = [
        {"label": row.label, "batch": row.batch, "peak_memory_gb": row.peak_memory_gb}
        | {"reserved_memory_gb": row.reserved_memory_gb}
        | {"computed": needed(config, int(row.batch), **WAYS[row.label])}
        for row in frame.itertuples()
    ]
    return pd.DataFrame(rows).assign(ratio=[row["peak_memory_gb"] / row["computed"] for row in rows])


@functools.lru_cache
def _step(config: ModelConfig, clips: int, parts: int, switches: Switches, recompute: bool) -> tuple[int, int, int]:
    """Bytes of the weights, of those that are trained, and at the height of a step on so many parts of a batch."""
    taxonomy = Taxonomy.cityguessr68k()
    with torch.device("meta"):
        model = build(config, taxonomy).train()
    with FakeTensorMode(allow_non_fake_inputs=True), _Held() as held, weights.quietly(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names in transformers that change
        model.to_empty(device="cpu")
        for module in model.modules():
            if isinstance(module, nn.LayerNorm):  # autocast computes them in float32 on a GPU, and not on a processor
                module.register_forward_pre_hook(lambda _, given: given[0].float())
            elif isinstance(module, SelfCrossAttention):  # a processor has its way of it; a GPU keeps the scores
                module.fast = lambda vector, attention=module: attention(vector)[0]
        batch = clips * parts
        frames = torch.empty(batch, config.input_frames, 3, config.size, config.size, dtype=torch.uint8)
        labels = torch.zeros(batch, len(LEVELS), dtype=torch.int64)
        scenes = torch.empty(batch, config.scene_classes)
        text = torch.empty(taxonomy.size("city"), config.text_width)
        step = TrainingStep(model, text, Recipe(batch_size=batch), switches, parts, recompute)
        for parameter in step.trained():
            parameter.grad = torch.empty_like(parameter)
        step.optimizer.step()  # makes Adam's moments
        step.optimizer.zero_grad()
        held.most = held.now
        step(frames, labels, scenes, 1e-3)
    return _size(model.parameters()), _size(step.trained()), held.most


def _size(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


class _Held(TorchDispatchMode):
    """Adds up the memory that tensors take.

    Attributes:
        now, most: bytes at this moment, and at most so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, function: Callable[..., object], types: object, args: tuple = (), kwargs: dict | None = None
    ) -> object:
        result = function(*args, **(kwargs or {}))
        for tensor in tree_iter(result):
            if isinstance(tensor, Tensor) and tensor.device.type != "meta":
                self._count(tensor.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        if storage._cdata not in self._known:
            size = math.ceil(storage.nbytes() / _GRAIN) * _GRAIN
            self._known.add(storage._cdata)
            self.now += size
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self._free, storage._cdata, size)

    def _free(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size
