"""How many clips per second a loader gives, beside the loader as it is usually written."""

from __future__ import annotations

import io
import statistics
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cityguessr.data.clips import ClipDataset
from cityguessr.taxonomy import LEVELS
from cityguessr.training.loading import AHEAD, FrameBatches


def clips_per_second(
    clips: ClipDataset, workers: int, batch_size: int = 12, batches: int = 100, usual: bool = False
) -> float:
    """How many clips per second a loader gives when nothing makes it wait, in random order, after it got going.

    Args:
        workers: processes that decode.
        batches: how many are timed.
        usual: the loader as it is usually written, in place of `FrameBatches`: each clip decoded by Pillow and stacked
            into a dictionary, batches put together by PyTorch's default.
    """
    first = 2 * AHEAD * workers  # batches until every worker is started and all memory in use
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
    """Clips per second of `FrameBatches` and of the usual loader, measured in turns: the medians, and their ratio.

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
        f"{workers} workers, {frames} frames of {size} px per clip: {result['clips_per_second']:.0f} clips/s, "
        f"the usual loader {result['usual']:.0f}, ratio {result['ratio']:.2f}"
    )
    return result


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
