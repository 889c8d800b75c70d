"""What a system costs: its parameters, and the operations it takes to place one clip."""

import dataclasses

import torch
from torch.utils.flop_counter import FlopCounterMode

from cityguessr.baselines import ISNs, build
from cityguessr.model import ModelConfig
from cityguessr.taxonomy import Taxonomy


@dataclasses.dataclass(frozen=True)
class Cost:
    """Attributes:
    parameters: numbers that the system is made of, all of its networks counted.
    flops: floating-point operations of the forward pass of one clip, a multiplication and an addition being two.
        Matrix products, convolutions and attention count; the rest (norms, activations) is small beside them.
    """

    parameters: int
    flops: int


def size_of(config: ModelConfig, taxonomy: Taxonomy) -> Cost:
    """Parameters and operations of a system, from its shapes alone: no weights are made or read.

    Of ISNs all three networks are counted as parameters, and the operations of the one that runs.
    """
    with torch.device("meta"):
        system = build(config.replace(pretrained=None), taxonomy).eval()
        frames = torch.empty(1, config.input_frames, 3, config.size, config.size)
        forward = next(iter(system.networks.values())) if isinstance(system, ISNs) else system
        with FlopCounterMode(display=False) as counter:
            forward(frames)
    return Cost(sum(parameter.numel() for parameter in system.parameters()), counter.get_total_flops())
