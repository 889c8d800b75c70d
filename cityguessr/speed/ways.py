"""Three ways to train one model, timed in one run on one machine: as released, the plain path, the fast path."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pandas as pd
import torch

from cityguessr.base import threads
from cityguessr.config import ModelConfig
from cityguessr.speed import cost, rates
from cityguessr.speed.records import FAST, PLAIN, RELEASED
from cityguessr.taxonomy import Taxonomy
from cityguessr.training.execution import Switches
from cityguessr.training.profiles import Profile


def compare(
    config: ModelConfig, taxonomy: Taxonomy, profile: Profile, device: torch.device, steps: int = 4, rounds: int = 3
) -> pd.DataFrame:
    """The speed of the three ways, on frames of noise, in the columns of `rates.Row`.

    They take turns, so that whatever else the machine does slows all of them alike; of the rounds of each way, the one
    with the median speed counts.

    Args:
        profile: gives the batch size and the threads.
        steps: of a round.
    """
    config = _without_weights(config)
    yardstick = rates.Yardstick(flops_per_clip=cost.size_of(config, taxonomy).flops)
    with threads.limited(profile.threads):
        host = rates.noise(config, taxonomy, profile.recipe.batch_size, "cpu")
        given = [tuple(part.to(device) for part in batch) for batch in host]
        plain, fast = Switches.plain(), Switches.fast(device)
        made = {RELEASED: ("none", rates.released_loop(config, taxonomy, device), host)} | {
            label: (switches, _step(config, taxonomy, profile.recipe.batch_size, switches, device), given)
            for label, switches in ((PLAIN, plain), (FAST, fast))
        }
        rows: dict[str, list[rates.Row]] = {label: [] for label in made}
        for number in range(rounds):
            for label, (switches, step, batches) in made.items():
                options = {"label": label, "switches": switches, "device": device, "yardstick": yardstick}
                warm = (1 if device.type == "cpu" else 6) if number == 0 else 0
                rows[label].append(rates.steady(step, batches, steps, warm=warm, **options))
    return pd.DataFrame([dataclasses.asdict(_median(measured)) for measured in rows.values()])


def at_batch_sizes(
    config: ModelConfig,
    taxonomy: Taxonomy,
    profile: Profile,
    device: torch.device,
    sizes: Sequence[int],
    steps: int = 4,
) -> pd.DataFrame:
    """The speed of the fast path at several batch sizes, in the columns of `rates.Row`; for the rest see `compare`."""
    config, switches, rows = _without_weights(config), Switches.fast(device), []
    with threads.limited(profile.threads):
        for size in sizes:
            given = rates.noise(config, taxonomy, size, device, count=2)
            step = _step(config, taxonomy, size, switches, device)
            warm = 1 if device.type == "cpu" else 6
            rows.append(rates.steady(step, given, steps, warm=warm, label=FAST, switches=switches, device=device))
    return pd.DataFrame([dataclasses.asdict(row) for row in rows])


def _step(config: ModelConfig, taxonomy: Taxonomy, batch: int, switches: Switches, device: torch.device) -> object:
    return rates.on_batches(rates.training(config, taxonomy, batch, switches, device))


def _without_weights(config: ModelConfig) -> ModelConfig:
    """The model from random weights, aligned with the text features that come with the package."""
    return config.replace(pretrained=None, text_encoder="minilm", text_dim=None)


def _median(rows: Sequence[rates.Row]) -> rates.Row:
    return sorted(rows, key=lambda row: row.ms_per_step)[len(rows) // 2]
