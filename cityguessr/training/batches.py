"""What a training draws its batches from: frames, labels and scene labels of a split, in an order set by a seed."""

import collections
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cityguessr.base import threads
from cityguessr.base.errors import InputError
from cityguessr.config import ModelConfig
from cityguessr.data.clips import ClipDataset
from cityguessr.data.jpeg import decode_on_device
from cityguessr.scenes import scene_label
from cityguessr.taxonomy import LEVELS
from cityguessr.training.loading import FrameBatches

STEPS_AHEAD = 2  # steps that the host may have launched before the GPU has done them
KEPT = STEPS_AHEAD + 2  # batches given last whose frames must stay as they are: those steps', and the two in between
IN_MEMORY = 2 * 1024**3  # bytes of decoded frames that a training without workers may keep

Batch = tuple[Tensor, Tensor, Tensor]
"""Frames uint8 (B, T, 3, H, W), labels (B, 4) in the order of `LEVELS`, scenes (B, scene classes)."""


class ClipTensors(Dataset[Batch]):
    """A split of prepared clips as the loop wants it: `data[[3, 1]]` is the `Batch` of those two clips.

    A video system gets all frames of a clip and the clip's scene label; so does an image system that averages over
    them. Any other image system gets one frame, T = 1, and that frame's scenes: the first, the middle, the last, or a
    random one, which in training is drawn anew every epoch and for evaluation once, from the seed and the clip's place
    in the split.

    Args:
        in_memory: whether all frames are decoded at once and kept; otherwise each batch is read from the disk.
        encoded: whether a batch read from the disk is left as JPEG files for the GPU to decode; its frames are then
            (the files one after another, uint8 (bytes,); the length of each, int64 (B T,)).
        training: whether random frames change with the epoch (`start_epoch`).
        device: where frames in memory, labels and scenes are kept.
    """

    def __init__(
        self,
        clips: ClipDataset,
        config: ModelConfig,
        in_memory: bool,
        encoded: bool = False,
        seed: int = 0,
        training: bool = False,
        device: torch.device | str = "cpu",
    ) -> None:
        self.clips, self.encoded = clips, encoded and not in_memory
        self.frame = None if config.frame == "all" else config.frame  # None: all of them
        self.labels = torch.stack([clips.labels[level] for level in LEVELS], dim=1)
        self.seed, self.training = seed, training
        self.positions = torch.tensor([(config.frames - 1) // 2 if config.frame == "mid" else 0]).repeat(len(clips))
        if config.frame == "last":
            self.positions += config.frames - 1
        self.frames_a_clip = config.frames
        self.scenes = torch.zeros(len(clips), config.frames if self.frame else 1, config.scene_classes)
        if config.scene_labels or config.system == "isns":
            for index in range(len(clips)):
                self.scenes[index] = self._scenes(index, config)
        if training and config.scene_targets != "own":
            self.scenes = _unrelated(self.scenes, config.scene_targets, seed)
        size = len(clips) * config.frames * 3 * config.size**2
        if in_memory and size > IN_MEMORY:
            raise InputError(f"{size / 1e9:.1f} GB of frames do not fit in memory; give the profile loader_workers > 0")
        self.frames = None
        if in_memory:
            self.frames = clips.frames_tensor().to(device)
            self.labels, self.scenes = self.labels.to(device), self.scenes.to(device)
        self.start_epoch(0)

    def start_epoch(self, epoch: int) -> None:
        """Draw the random frames of an epoch; without effect on any other choice of frames."""
        if self.frame == "random":
            draw = self.seed * 1_000_003 + (epoch if self.training else 999_983)
            generator = torch.Generator().manual_seed(draw)
            self.positions = torch.randint(self.frames_a_clip, (len(self),), generator=generator)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, indices: Sequence[int]) -> Batch:
        rows = torch.as_tensor(indices)
        if self.encoded:
            frames = self._files(indices)
        elif self.frames is None:
            frames = self.read((indices, self.positions[rows].tolist()))
        elif self.frame is None:
            frames = self.frames[rows.to(self.frames.device)]
        else:
            frames = self.frames[rows.to(self.frames.device), self.positions[rows].to(self.frames.device)].unsqueeze(1)
        return frames, *self.targets(indices)

    def targets(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Labels and scenes of some clips."""
        rows = torch.as_tensor(indices)
        at = self.positions[rows] if self.frame else torch.zeros_like(rows)
        rows, at = rows.to(self.labels.device), at.to(self.labels.device)
        return self.labels[rows], self.scenes[rows, at]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a clip's frames: (T, 3, H, W)."""
        frames, *picture = self.clips.shape
        return (1 if self.frame else frames, *picture)

    def read(self, job: tuple[Sequence[int], Sequence[int]], out: Tensor | None = None) -> Tensor:
        """The frames of clips, read from the disk: uint8 (B, T, 3, H, W).

        Args:
            job: the clips, and which frame of each an image system is given.
            out: where to decode them to.
        """
        indices, positions = job
        if self.frame is None:
            return self.clips.frames_of(indices, out)
        frames = torch.stack([self.clips.frame(i, at) for i, at in zip(indices, positions, strict=True)]).unsqueeze(1)
        return frames if out is None else out.copy_(frames)

    def _files(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        files: list[Tensor] = []
        for i in indices:
            of_clip = self.clips.jpeg_tensors(i)
            files += of_clip if self.frame is None else [of_clip[int(self.positions[i])]]
        return torch.cat(files), torch.tensor([len(file) for file in files])

    def _scenes(self, index: int, config: ModelConfig) -> Tensor:
        """The clip's scene label (1, scene classes), or for an image system those of each frame (T, scene classes)."""
        scenes = self.clips.frame_scenes(index)
        if scenes is None or scenes.isnan().any():
            raise InputError(
                f"clip {self.clips.clip_ids[index]}: no scene labels, which this system needs; label the set with a "
                "classifier (cityguessr.data.labelling.label_scenes), or train a system without scenes"
            )
        if scenes.shape[1] != config.scene_classes:
            raise InputError(
                f"clip {self.clips.clip_ids[index]}: labelled with {scenes.shape[1]} scenes, the model has "
                f"{config.scene_classes}; prepare the data for that number"
            )
        if self.frame is None:
            return scene_label(scenes, config.scene_labels)[None]
        return scenes / scenes.sum(dim=1, keepdim=True)  # one row stands for every frame of a clip labelled as a whole


def _unrelated(scenes: Tensor, how: str, seed: int) -> Tensor:
    """Scene labels (N, T, scene classes) that say nothing of their clips: dealt anew among them, or drawn at random."""
    generator = torch.Generator().manual_seed(seed)
    if how == "shuffled":
        return scenes[torch.randperm(len(scenes), generator=generator)]
    drawn = torch.randint(scenes.shape[2], scenes.shape[:2], generator=generator)
    return torch.nn.functional.one_hot(drawn, scenes.shape[2]).to(scenes)


class EpochOrder:
    """The batches of an epoch, lists of clips: a permutation that depends on the seed and the epoch alone.

    Attributes:
        epoch: which one, counted from 0.
        first: the batch that it begins with, so that a resumed epoch goes on with the very batches that are left.
    """

    def __init__(self, length: int, batch_size: int, seed: int) -> None:
        self.length, self.batch_size, self.seed = length, batch_size, seed
        self.epoch = self.first = 0

    def __len__(self) -> int:
        """How many batches an epoch has."""
        return math.ceil(self.length / self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        clips = torch.randperm(self.length, generator=generator).tolist()
        for start in range(self.first * self.batch_size, self.length, self.batch_size):
            yield clips[start : start + self.batch_size]


def in_turn(clips: Sequence[int], batch_size: int) -> list[Sequence[int]]:
    """Clips in batches, one after another."""
    return [clips[start : start + batch_size] for start in range(0, len(clips), batch_size)]


class Batches:
    """The batches of a split on a device, in an order; each pass over them is an epoch.

    Frames that are not in memory are read by worker processes, ahead of what is asked for.

    Args:
        order: gives lists of clips, anew for each pass.
        batch_size: the length of the longest.
        workers: how many processes read, where the machine has the cores; none for frames in memory.
        prefetch: whether a batch is copied to the GPU while the one before it is worked on.

    Raises InputError for a damaged frame, and where the shared memory is too small for what is read ahead.
    """

    def __init__(
        self,
        data: ClipTensors,
        order: Iterable[Sequence[int]],
        batch_size: int,
        workers: int,
        device: torch.device,
        prefetch: bool = False,
    ) -> None:
        self.data, self.order, self.device, self.prefetch = data, order, device, prefetch
        self._on_gpu, workers = device.type == "cuda", min(workers, max(1, threads.cores() - 1))
        self._loader: Iterable | None = None
        if data.frames is None and data.encoded:
            options = {"num_workers": workers, "pin_memory": self._on_gpu, "generator": torch.Generator()}
            self._loader = DataLoader(data, sampler=order, batch_size=None, **options)
        elif data.frames is None and workers:
            self._loader = FrameBatches(data.read, data.shape, self._jobs, batch_size, workers, KEPT, self._on_gpu)

    def __iter__(self) -> Iterator[Batch]:
        given = self._read()
        if self._on_gpu and self._loader is not None and (self.prefetch or self.data.encoded):
            return _ahead(given, self.device)
        return (tuple(part.to(self.device) for part in batch) for batch in given)

    def _read(self) -> Iterator[tuple]:
        if self._loader is None:
            yield from (self.data[clips] for clips in self.order)
        elif self.data.encoded:
            yield from self._loader
        else:
            for (clips, _), frames in self._loader:
                yield frames, *self.data.targets(clips)

    def _jobs(self) -> Iterator[tuple[list[int], list[int]]]:
        for clips in self.order:
            yield list(clips), self.data.positions[torch.as_tensor(clips)].tolist()


def _ahead(given: Iterator[tuple], device: torch.device) -> Iterator[Batch]:
    """Batches on a GPU; while one is worked on, the next is copied, or decoded, on a stream of its own.

    The host stays two steps ahead of the GPU at most: further ahead it would fill the GPU's memory with batches, and
    the workers would write over frames that are not copied yet.
    """
    stream, steps = torch.cuda.Stream(device), collections.deque()
    coming: tuple[Batch, torch.cuda.Event] | None = None
    for batch in itertools.chain(given, [None]):
        ready, coming = coming, None
        if batch is not None:
            with torch.cuda.stream(stream):
                copied = _on_device(*batch, device)
                arrived = torch.cuda.Event()
                arrived.record(stream)
            coming = copied, arrived
        if ready is not None:
            torch.cuda.current_stream().wait_event(ready[1])
            for part in ready[0]:
                part.record_stream(torch.cuda.current_stream())
            yield ready[0]
            steps.append(torch.cuda.Event())
            steps[-1].record()
            if len(steps) > STEPS_AHEAD:
                steps.popleft().synchronize()


def _on_device(frames: Tensor | tuple[Tensor, Tensor], labels: Tensor, scenes: Tensor, device: torch.device) -> Batch:
    if isinstance(frames, Tensor):
        frames = frames.to(device, non_blocking=True)
    else:
        files, lengths = frames
        frames = decode_on_device(files.split(lengths.tolist()), device).unflatten(0, (len(labels), -1))
    return frames, labels.to(device, non_blocking=True), scenes.to(device, non_blocking=True)
