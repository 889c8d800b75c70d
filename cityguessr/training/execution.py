"""How a training is carried out: on which device, how fast, and in how much memory.

Nothing in this module decides what is computed. The fast path and the plain one are the same mathematics and differ in
rounding alone; page 60 measures both, and each switch by itself.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import torch

from cityguessr.base import threads
from cityguessr.base.errors import InputError, one_of

DEVICES = ("auto", "cpu")
_CORES = 12  # on an H200, 15 processes decoded for 643 clips/s of training and nvJPEG for 505 (figures/gpu)
_JPEG_UNITS = ((8, 0), (9, 0), (10, 0))  # compute capabilities of the GPUs with decoding units: A100, H100/H200, B200


@dataclasses.dataclass(frozen=True)
class Switches:
    """What makes the fast path fast, each by itself.

    Attributes:
        bf16: backbones compute in bfloat16 (autocast); weights, heads, losses and Adam stay in float32.
        folded: the backbone's products are folded together (`backbones.Encoder.folded`), in place of transformers'
            forward.
        fused_attention: scaled-dot-product attention in one kernel, in place of a matrix of all scores.
        compiled: forward and losses are compiled by torch.compile, with static shapes.
        cuda_graphs: a whole step is recorded once as a CUDA graph and replayed, so that the processor does not hold up
            the GPU at small batches.
        fused_adam: Adam updates all weights in one kernel.
        prefetch: a batch is copied to the GPU while the one before it is worked on.
        nvjpeg: the GPU decodes the frames, on units that it has for nothing else, and processes read the files alone:
            where there are few cores, for with fifteen of them processes decode faster.
    """

    bf16: bool = False
    folded: bool = True
    fused_attention: bool = False
    compiled: bool = False
    cuda_graphs: bool = False
    fused_adam: bool = True
    prefetch: bool = False
    nvjpeg: bool = False

    @classmethod
    def plain(cls) -> Switches:
        """All of them off: what a loop written from the paper does, in float32."""
        return cls(**{field.name: False for field in dataclasses.fields(cls)})

    @classmethod
    def fast(cls, device: torch.device) -> Switches:
        """Those that pay on a device: on a GPU all of them, on a processor those that need no GPU."""
        if device.type != "cuda":
            return cls()
        bf16 = torch.cuda.is_bf16_supported()
        units = torch.cuda.get_device_capability(device) in _JPEG_UNITS and threads.cores() < _CORES
        return cls(bf16, fused_attention=True, compiled=True, cuda_graphs=True, prefetch=True, nvjpeg=units)

    def replace(self, **changes: bool) -> Switches:
        """A copy with some switches changed."""
        return dataclasses.replace(self, **changes)


@dataclasses.dataclass(frozen=True)
class Execution:
    """How a training is carried out; two trainings that differ in this alone are one run.

    Attributes:
        device: "auto" takes a GPU where there is one; "cpu" stays on the processor.
        plain: whether every switch of the fast path is off.
        accumulate: parts that a batch is worked on in, one after another, with one step of Adam for all of them. More
            parts take less memory.
        recompute: whether the backbone's layers are computed again on the way back rather than kept: less memory, a
            third more work.
        checkpoint_minutes: how often the state is saved within an epoch; it is saved after every epoch besides.
        log_steps: a line is reported after so many steps of an epoch.

    Raises InputError for values that make no sense.
    """

    device: Literal["auto", "cpu"] = "auto"
    plain: bool = False
    accumulate: int = 1
    recompute: bool = False
    checkpoint_minutes: float = 10.0
    log_steps: int = 200

    def __post_init__(self) -> None:
        if self.device not in DEVICES:
            raise one_of("device", self.device, DEVICES)
        for name in ("accumulate", "log_steps"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.checkpoint_minutes < 0:
            raise InputError(f"checkpoint_minutes is {self.checkpoint_minutes}; it must not be negative")

    @property
    def torch_device(self) -> torch.device:
        """The device of this machine that it means."""
        return torch.device("cuda" if self.device == "auto" and torch.cuda.is_available() else "cpu")

    @property
    def switches(self) -> Switches:
        """The switches of the path on this machine."""
        return Switches.plain() if self.plain else Switches.fast(self.torch_device)

    def described(self) -> dict[str, object]:
        """What of it makes two runs comparable, as recorded with a run: torch, device, precision and path."""
        device = self.torch_device
        return {
            "torch": torch.__version__,
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
            "precision": "bf16" if self.switches.bf16 else "fp32",
            "path": "plain" if self.plain else "fast",
        }


AUTO = Execution()
"""The fast path on the best device of the machine."""
