"""What is learned from: clips of other MiniWorlds, whose cities look like none of the default's."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from cityguessr.base import paths
from cityguessr.base.errors import InputError
from cityguessr.config import ClipFormat
from cityguessr.data.clips import ClipDataset, PreparedClips
from cityguessr.miniworld import MiniWorldConfig
from cityguessr.taxonomy import LEVELS
from cityguessr.training.datasets import WORLDS, rendered
from cityguessr.training.seeds import check_seed

HELD_OUT = 0.1
"""Share of each city's source videos that pretraining does not see: what its losses and accuracies are measured on."""

_AT_ONCE = 256  # clips decoded between two looks at the disk


@dataclasses.dataclass(frozen=True)
class Clips:
    """Clips of several worlds in memory.

    Attributes:
        frames: uint8 (N, T, 3, H, W).
        labels: level -> LongTensor (N,); the places of every world are classes of their own.
        classes: level -> how many there are, of all worlds together.
        fingerprints: of the prepared set of each world.
    """

    frames: Tensor
    labels: dict[str, Tensor]
    classes: dict[str, int]
    fingerprints: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.frames)

    def random_frames(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """One frame of each of some clips, drawn at random: uint8 (B, 1, 3, H, W)."""
        at = torch.randint(self.frames.shape[1], (len(rows),), generator=generator)
        return self.frames[rows, at].unsqueeze(1)


def configuration(seed: int, clips_per_city: int) -> MiniWorldConfig:
    """A world to pretrain on: as many clips of every city, each from a source video of its own.

    A second clip of the same video shows the same street an hour later; another video shows another street.

    Raises InputError for the seed of a world that systems are trained or tested on.
    """
    if check_seed(seed) in (used := {world.seed for world, _ in WORLDS.values()}):
        raise InputError(f"world {seed} is one that systems are trained and tested on; pretrain on others than {used}")
    if clips_per_city < 3:
        raise InputError(f"clips_per_city={clips_per_city}: give 3 or more, since one of each city is held out")
    return dataclasses.replace(
        MiniWorldConfig.mini(seed),
        clips_per_city=clips_per_city,
        clips_min=clips_per_city,
        clips_per_video=1,
        inequality=0.0,
        seen=0.0,
        unseen=HELD_OUT,
    )


def read(
    seeds: Sequence[int],
    clips_per_city: int,
    clip_format: ClipFormat,
    folder: str | Path | None = None,
    workers: int | None = None,
) -> tuple[Clips, Clips]:
    """The clips of worlds, to learn from and held out; rendered at training size where they are not there yet.

    Args:
        seeds: of the worlds.
        folder: where their prepared sets stand; `data/pretraining` by default.
        workers: processes that render; by default as many as there are cores.

    Raises InputError for a seed of another purpose, the same seed twice, and no seed.
    """
    if not seeds or len(set(seeds)) < len(seeds):
        raise InputError(f"world seeds {list(seeds)}: give at least one, and each once")
    folder = Path(folder) if folder else paths.data() / "pretraining"
    configs = [configuration(seed, clips_per_city) for seed in seeds]
    sets = [
        rendered(config, clip_format, folder / f"world{config.seed}-{clips_per_city}", device="cpu", workers=workers)
        for config in configs
    ]
    return _joined(sets, "train"), _joined(sets, "val")


def _joined(sets: Sequence[PreparedClips], split: str) -> Clips:
    """One split of several worlds, decoded into one tensor."""
    parts: list[ClipDataset] = [clips.split(split) for clips in sets]
    frames = torch.empty(sum(map(len, parts)), *parts[0].shape, dtype=torch.uint8)
    start = 0
    for part in parts:
        for first in range(0, len(part), _AT_ONCE):
            rows = range(first, min(first + _AT_ONCE, len(part)))
            part.frames_of(rows, frames[start : start + len(rows)])
            start += len(rows)
    sizes = [part.taxonomy.sizes for part in parts]
    classes = {level: sum(size[level] for size in sizes) for level in LEVELS}
    labels = {}
    for level in LEVELS:
        before = [sum(size[level] for size in sizes[:number]) for number in range(len(parts))]
        labels[level] = torch.cat([part.labels[level] + first for part, first in zip(parts, before, strict=True)])
    return Clips(frames, labels, classes, tuple(clips.fingerprint for clips in sets))
