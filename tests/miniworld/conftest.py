"""The tests of MiniWorld run on one thread."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the pictures are tiny: more threads would only wait for one another
    yield
    torch.set_num_threads(threads)
