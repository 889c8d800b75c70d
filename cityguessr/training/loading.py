"""Frames of whole batches, decoded ahead by worker processes, and how many clips a second that gives."""

from __future__ import annotations

import io
import math
import os
import shutil
import statistics
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cityguessr.base.errors import InputError
from cityguessr.data.clips import ClipDataset
from cityguessr.taxonomy import LEVELS

_AHEAD = 2  # batches that a worker has in work or waiting, as PyTorch's own default


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
        # While a batch is in use here, the workers have been asked for no more than the next workers * _AHEAD.
        slots = workers * _AHEAD + kept
        _check_shared_memory(slots * batch_size * math.prod(shape), workers)
        self.memory = torch.empty(slots, batch_size, *shape, dtype=torch.uint8).share_memory_()
        if pinned:
            _pin(self.memory)
        self.loader = DataLoader(
            _IntoMemory(read, self.memory), batch_size=None, sampler=_Numbered(jobs, slots), num_workers=workers,
            prefetch_factor=_AHEAD, persistent_workers=True, generator=torch.Generator(),
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


def clips_per_second(
    clips: ClipDataset, workers: int, batch_size: int = 12, batches: int = 100, usual: bool = False
) -> float:
    """How many clips a loader gives in a second when nobody makes it wait, in random order, after it got going.

    Args:
        workers: processes that decode.
        batches: how many are timed.
        usual: the loader as it is usually written, in place of `FrameBatches`: each clip decoded by Pillow and stacked
            into a dictionary, batches put together by PyTorch's default.
    """
    first = 2 * _AHEAD * workers  # batches until every worker is started and all memory in use
    generator = torch.Generator().manual_seed(0)
    wanted = (first + batches) * batch_size
    rounds = [torch.randperm(len(clips), generator=generator) for _ in range(-(-wanted // len(clips)))]
    order = torch.cat(rounds)[:wanted].reshape(-1, batch_size).tolist()
    if usual:
        loader: Iterable[Any] = DataLoader(_Usual(clips), num_workers=workers, batch_sampler=order)
    else:
        jobs = [(batch,) for batch in order]
        loader = FrameBatches(AllFrames(clips), clips.shape, lambda: iter(jobs), batch_size, workers)
    start = 0.0
    for number, _ in enumerate(loader, 1):
        if number == first:
            start = time.perf_counter()
    return batches * batch_size / (time.perf_counter() - start)


def compare(
    clips: ClipDataset,
    workers: int,
    batch_size: int = 12,
    batches: int = 100,
    rounds: int = 3,
    report: Callable[[str], None] = print,
) -> dict[str, float]:
    """Clips a second of `FrameBatches` and of the usual loader, measured in turns: the medians, and their ratio.

    Args:
        rounds: how often each is measured.
        report: gets one line for each round and one for the result.
    """
    ours, usual = [], []
    for number in range(rounds):
        ours.append(clips_per_second(clips, workers, batch_size, batches))
        usual.append(clips_per_second(clips, workers, batch_size, batches, usual=True))
        report(f"round {number + 1} of {rounds}: {ours[-1]:.0f} clips/s, the usual loader {usual[-1]:.0f}")
    result = {"clips_per_second": statistics.median(ours), "usual": statistics.median(usual)}
    result["ratio"] = result["clips_per_second"] / result["usual"]
    frames, _, size, _ = clips.shape
    report(
        f"{workers} workers, {frames} frames of {size} px a clip: {result['clips_per_second']:.0f} clips/s, "
        f"the usual loader {result['usual']:.0f}, ratio {result['ratio']:.2f}"
    )
    return result


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


class AllFrames:
    """Reads all frames of clips, as `FrameBatches` asks for them."""

    def __init__(self, clips: ClipDataset) -> None:
        self.clips = clips

    def __call__(self, job: tuple[list[int]], out: Tensor) -> None:
        self.clips.frames_of(job[0], out)


class _Usual(Dataset):
    """One clip after the other, as data sets are usually written: what `FrameBatches` is compared with."""

    def __init__(self, clips: ClipDataset) -> None:
        self.clips = clips

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, i: int) -> dict[str, Any]:
        frames = [
            np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB")).transpose(2, 0, 1) for jpeg in self.clips.jpegs(i)
        ]
        labels = torch.stack([self.clips.labels[level][i] for level in LEVELS])
        return {"frames": torch.from_numpy(np.stack(frames)), "labels": labels, "index": i}
