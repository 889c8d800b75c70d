"""How many of the processor's threads torch uses: small arrays are faster on one, on a busy machine several times."""

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def limited(count: int | None) -> Iterator[None]:
    """So many threads for torch within the block, and afterwards as many as before; None changes nothing."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
