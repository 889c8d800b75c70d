"""What a system costs: its parameters, the operations it takes to place one clip, and how fast it trains."""

import dataclasses
import statistics
import time
from collections.abc import Mapping

import torch
from torch.utils.flop_counter import FlopCounterMode

from cityguessr.backbones import Encoder
from cityguessr.base import threads, weights
from cityguessr.config import ModelConfig
from cityguessr.systems import ISNs, build
from cityguessr.taxonomy import LEVELS, Taxonomy
from cityguessr.training.execution import Switches
from cityguessr.training.profiles import Profile
from cityguessr.training.recipe import Recipe
from cityguessr.training.step import TrainingStep


@dataclasses.dataclass(frozen=True)
class Cost:
    """How large a system is.

    Attributes:
        parameters: numbers that the system is made of, all of its networks counted.
        flops: floating-point operations of the forward pass of one clip, a multiplication and an addition being two.
            Matrix products, convolutions and attention count; the rest (norms, activations) is small beside them. The
            network is counted as published; what `backbones` saves of it is not taken off.
    """

    parameters: int
    flops: int


def size_of(config: ModelConfig, taxonomy: Taxonomy) -> Cost:
    """Parameters and operations of a system, from its shapes alone: no weights are made or read.

    Of ISNs all three networks are counted as parameters, and the operations of the one that runs.
    """
    with torch.device("meta"), weights.quietly():
        system = build(config.replace(pretrained=None), taxonomy).eval()
        system.use(folded=False)  # the operations of the network as published; folded, it takes two percent fewer
        frames = torch.empty(1, config.input_frames, 3, config.size, config.size)
        for module in system.modules():
            if isinstance(module, Encoder):
                module.plain = True
        forward = next(iter(system.networks.values())) if isinstance(system, ISNs) else system
        with FlopCounterMode(display=False) as counter:
            forward(frames)
    return Cost(sum(parameter.numel() for parameter in system.parameters()), counter.get_total_flops())


def steps_per_second(
    configs: Mapping[str, ModelConfig], taxonomy: Taxonomy, profile: Profile, rounds: int = 7, device: str = "cpu"
) -> dict[str, float]:
    """How many training steps (forward, backward, Adam) per second each system makes, on frames of noise.

    The systems take turns, one step each per round, so that whatever else the machine does slows all of them alike;
    the median over rounds counts. Rates are for comparison within one call.

    Args:
        configs: a name -> a system's configuration; its pretrained weights are not needed, nor read.
        profile: gives the batch size and the threads.
    """
    with threads.limited(profile.threads):
        steps = {name: _Step(config, taxonomy, profile.recipe.batch_size, device) for name, config in configs.items()}
        seconds: dict[str, list[float]] = {name: [] for name in steps}
        for number in range(rounds + 2):
            for name, step in steps.items():
                start = time.perf_counter()
                step()
                if number >= 2:  # the first steps set buffers up
                    seconds[name].append(time.perf_counter() - start)
    return {name: 1 / statistics.median(times) for name, times in seconds.items()}


class _Step:
    """One training step of a system, repeated on the same batch."""

    def __init__(self, config: ModelConfig, taxonomy: Taxonomy, batch: int, device: str) -> None:
        generator = torch.Generator().manual_seed(0)
        shape = (batch, config.input_frames, 3, config.size, config.size)
        city = torch.randint(taxonomy.size("city"), (batch,), generator=generator)
        chain = taxonomy.chain(city)
        frames = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
        labels = torch.stack([chain[level] for level in LEVELS], dim=1)
        scenes = torch.rand(batch, config.scene_classes, generator=generator).softmax(dim=1)
        text = torch.randn(taxonomy.size("city"), config.text_width, generator=generator)
        model = build(config.replace(pretrained=None), taxonomy).to(device).train()
        self.batch = [part.to(device) for part in (frames, labels, scenes)]
        self.step = TrainingStep(model, text, Recipe(batch_size=batch), Switches())

    def __call__(self) -> None:
        self.step(*self.batch, 1e-4)
        if self.step.device.type == "cuda":
            torch.cuda.synchronize()
