"""How many threads torch uses: small arrays are faster on one, and several times so on a busy machine."""

import contextlib
from collections.abc import Iterator

import torch

from cityguessr.base.pools import cores as cores  # which one asks for where threads are counted


@contextlib.contextmanager
def limited(count: int | None) -> Iterator[None]:
    """Limit torch to `count` threads within the block, and restore the number after it; None changes nothing."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
