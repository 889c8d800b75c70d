"""How many threads torch uses: small arrays are faster on one, and several times so on a busy machine."""

import contextlib
import os
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def limited(count: int | None) -> Iterator[None]:
    """Limit torch to `count` threads within the block, and restore the number after it; None changes nothing."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def cores() -> int:
    """How many cores this process may use: what taskset, SLURM or a container leaves of the machine."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1
