"""Which frames of a sequence a training step sees."""

import itertools

import torch

from cityguessr.base.errors import InputError

FRAMES = 16
"""Frames of a training sequence."""
GAP, REFINER_GAP = 3, 2
"""From one of them to the next, in frames of the sequence: in phase I and in phase II."""


def spaced(length: int, generator: torch.Generator | None = None, frames: int = FRAMES, gap: int = GAP) -> range:
    """Frames at one distance from a random start, as in the authors' code.

    Where a sequence is too short the distance is halved until it fits: 16 frames at a distance of 3 take 48, and of a
    sequence of 33 they are taken one after another. No frame is taken twice.

    Raises InputError for a sequence of fewer frames than are wanted.
    """
    if length < frames:
        raise InputError(f"a sequence of {length} frames is too short for {frames} of them; leave it out of training")
    while gap > 1 and frames * gap > length:
        gap //= 2
    starts = max(1, length - frames * gap)
    start = int(torch.randint(starts, (), generator=generator))
    return range(start, start + frames * gap, gap)


def spread(length: int, generator: torch.Generator | None = None, frames: int = FRAMES) -> list[int]:
    """One frame at random of each of so many equal parts of the sequence: an independent reading. None comes twice.

    Raises InputError for a sequence of fewer frames than are wanted.
    """
    if length < frames:
        raise InputError(f"a sequence of {length} frames is too short for {frames} of them; leave it out of training")
    ends = [length * part // frames for part in range(frames + 1)]  # whole frames, so that no part shares one
    return [int(torch.randint(start, end, (), generator=generator)) for start, end in itertools.pairwise(ends)]
