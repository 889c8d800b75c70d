"""Frames of whole batches, decoded ahead by worker processes into memory that is used again and again."""

from __future__ import annotations

import math
import os
import shutil
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cityguessr.base.errors import InputError

AHEAD = 2  # batches that a worker has in work or waiting, as PyTorch's own default


class FrameBatches:
    """The frames of batches, decoded ahead by worker processes into memory that they share with this process.

    Iterating gives (job, frames uint8 (B, T, 3, H, W)) for each batch, in order. The memory is allocated once and used
    again and again, for fresh memory costs a fifth of the time that decoding takes: copy a batch, to a GPU say, before
    it is overwritten.

    Args:
        read: (job, out) decodes the frames of a batch to `out`, uint8 (B, T, 3, H, W). It is sent to the workers.
        shape: of a clip's frames, (T, 3, H, W).
        jobs: gives the jobs of an epoch; the first thing in each is the list of its clips.
        batch_size: clips of the largest batch.
        kept: how many of the batches given last stay as they are, with the very last.
        pinned: whether a GPU can copy from the memory while the processor does something else.

    Raises InputError for a damaged frame, naming its clip and shard, and where the shared memory is too small.
    """

    def __init__(
        self,
        read: Callable[[Any, Tensor], object],
        shape: tuple[int, ...],
        jobs: Callable[[], Iterator[Any]],
        batch_size: int,
        workers: int,
        kept: int = 1,
        pinned: bool = False,
    ) -> None:
        # While a batch is in use here, the workers have been asked for no more than the next workers * AHEAD.
        slots = workers * AHEAD + kept
        _check_shared_memory(slots * batch_size * math.prod(shape), workers)
        self.memory = torch.empty(slots, batch_size, *shape, dtype=torch.uint8).share_memory_()
        if pinned:
            _pin(self.memory)
        self.loader = DataLoader(
            _IntoMemory(read, self.memory), batch_size=None, sampler=_Numbered(jobs, slots), num_workers=workers,
            prefetch_factor=AHEAD, persistent_workers=True, generator=torch.Generator(),
        )  # fmt: skip

    def __iter__(self) -> Iterator[tuple[Any, Tensor]]:
        for slot, job, error in self.loader:
            if error is not None:
                raise error
            yield job, self.memory[slot, : len(job[0])]


def _check_shared_memory(need: int, workers: int) -> None:
    folder = "/dev/shm"
    if os.path.isdir(folder) and (free := shutil.disk_usage(folder).free) < need:
        raise InputError(
            f"{folder}: {need / 1e6:,.0f} MB of frames are read ahead by {workers} processes, and {free / 1e6:,.0f} MB "
            "are free; give the machine or container more shared memory (docker run --shm-size), or the profile fewer "
            "loader_workers"
        )


def _pin(memory: Tensor) -> None:
    """Have the driver lock memory in its place, until the tensor goes; where it cannot, copies wait, and are right."""
    library, address = torch.cuda.cudart(), memory.data_ptr()
    if int(library.cudaHostRegister(address, memory.nbytes, 0)) == 0:
        weakref.finalize(memory, library.cudaHostUnregister, address)


class _Numbered:
    """Jobs, each with the part of the memory that it goes to: one after the other, also from epoch to epoch."""

    def __init__(self, jobs: Callable[[], Iterator[Any]], slots: int) -> None:
        self.jobs, self.slots, self.next = jobs, slots, 0

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        for job in self.jobs():
            yield self.next % self.slots, job
            self.next += 1


class _IntoMemory(Dataset):
    """What a worker does for a batch: decode it into its part of the memory, and give no more than its number."""

    def __init__(self, read: Callable[[Any, Tensor], object], memory: Tensor) -> None:
        self.read, self.memory = read, memory

    def __getitem__(self, numbered: tuple[int, Any]) -> tuple[int, Any, InputError | None]:
        slot, job = numbered
        try:
            self.read(job, self.memory[slot, : len(job[0])])
        except InputError as error:  # handed over, because PyTorch would bury its message in a traceback
            return slot, job, error
        return slot, job, None
