"""From plans straight to prepared clips: the frames that training reads, rendered at training size.

The way over files renders long videos at full size, encodes them, keeps some frames of each clip and shrinks some of
these: at the paper's size well over a terabyte. Here the very frames that are left in the end are rendered, with the
same field of view, squeezed into the same square. Clips, labels, scenes and places are those of the other way; the
pictures differ from its, as nothing was lost to H.264, so the set bears the name of another source.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import shutil
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cityguessr.base import paths, threads
from cityguessr.base.errors import InputError
from cityguessr.base.progress import duration
from cityguessr.config import ClipFormat
from cityguessr.data.clips import PreparedClips
from cityguessr.data.prepare import prepare, taken
from cityguessr.data.sampling import frame_indices
from cityguessr.data.shards import rendered_rows
from cityguessr.data.sources import SPLITS, ClipRef
from cityguessr.miniworld.plan import Clip, VideoPlan
from cityguessr.miniworld.world import MiniWorld
from cityguessr.miniworld.write import categories
from cityguessr.scenes import SCENES
from cityguessr.taxonomy import LEVELS

VERSION = 1  # part of what a set is held against: raise it when the same world would give other frames
SAMPLE_CITIES = 12
SAMPLE_CLIPS, GPU_SAMPLE_CLIPS = 2, 16  # of each of these cities
_ROW_BYTES = 1500  # of labels, scenes and places of a clip, and of its line in a footer, roughly

_rendering = threading.Lock()  # one clip after another on a device, however many threads encode
_worlds: dict[str, MiniWorld] = {}  # by fingerprint: the world that this process renders


def write_prepared(
    world: MiniWorld,
    out: str | os.PathLike[str],
    clip_format: ClipFormat,
    *,
    device: str = "cpu",
    samples: int = 1,
    workers: int | None = None,
    cluster: str | None = None,
    **options: Any,
) -> PreparedClips:
    """Render a world to prepared clips; an interrupted call goes on where it stopped.

    How long it will take and how large it will be is measured on a few clips and printed first. One seed gives the same
    set on one kind of processor, however the work is divided; the pictures of a GPU may differ from them by a shade.

    Args:
        device: "cpu", with `workers` processes (by default one per core), or a GPU such as "cuda", with one.
        samples: rays per pixel along each side.
        cluster, options: as for `cityguessr.data.prepare.prepare`.

    Returns the prepared set. Raises InputError for what `prepare` raises it for, where a clip of the world has too few
    frames, where there is no such device, and where the disk is too small.
    """
    _check_device(device)
    source = RenderedSource(world, clip_format, device, samples)
    return prepare(source, out, clip_format, workers=workers, cluster=cluster, **options)


def taken_prepared(
    world: MiniWorld, out: str | os.PathLike[str], clip_format: ClipFormat, *, device: str = "cpu", samples: int = 1
) -> PreparedClips | None:
    """The set in `out` where `write_prepared` would find nothing to do, else None; see `data.prepare.taken`."""
    _check_device(device)
    return taken(RenderedSource(world, clip_format, device, samples), out, clip_format)


class RenderedSource:
    """The clips of a world, in the order of its release, with frames that are rendered when they are prepared.

    Attributes:
        name, taxonomy, synthetic, text_features, scene_classes, renderer: see `data.prepare.Source`.
    """

    name = "MiniWorld, rendered directly"
    synthetic = True
    text_features = None

    def __init__(self, world: MiniWorld, clip_format: ClipFormat, device: str = "cpu", samples: int = 1) -> None:
        self.world, self.taxonomy, self.scene_classes = world, world.taxonomy, clip_format.scene_classes
        self.renderer = ClipRenderer(world, device, samples)
        self._numbers = np.array(self.renderer.wanted(clip_format)) + 1  # of the wanted frames in the release

    def clips(self) -> list[ClipRef]:
        """Every clip: those of train, then those of val, city by city."""
        by_split: dict[str, list[ClipRef]] = {split: [] for split in SPLITS}
        chain = self.taxonomy.chain(torch.arange(self.taxonomy.size("city")))
        labels = [tuple(ids) for ids in torch.stack([chain[level] for level in LEVELS], 1).tolist()]
        for plan in self.world.videos:
            video = dataclasses.replace(plan)  # a copy, since what it knows of every frame is a megabyte
            scenes = self._scenes(video)
            for clip in video.clips:
                by_split[clip.split].append(self._reference(video, clip, labels[video.city], scenes))
        return [clip for split in SPLITS for clip in by_split[split]]

    def _scenes(self, video: VideoPlan) -> np.ndarray:
        """The scene of every frame of a video, of as many classes as are wanted."""
        if self.scene_classes == len(SCENES):
            return video.scenes.numpy().astype(np.int8)
        return categories.label_frames(video, self.world.effects.style(video.city)).numpy().astype(np.int16)

    def _reference(self, video: VideoPlan, clip: Clip, labels: tuple[int, ...], scenes: np.ndarray) -> ClipRef:
        """A clip with the scenes and places of the wanted frames, rounded as the release rounds them."""
        kept = self.world.kept_frames(clip)
        shown = [kept[number - 1] for number in self._numbers]
        frame_scenes, gps = np.full(len(kept) + 1, -1, scenes.dtype), np.full((len(kept) + 1, 2), np.nan)
        frame_scenes[self._numbers] = scenes[shown]
        gps[self._numbers] = [[round(degrees, 6) for degrees in place] for place in video.gps.numpy()[shown].tolist()]
        return ClipRef(
            clip_id=clip.clip_id,
            video_id=video.video_id,
            split=clip.split,
            labels=labels,
            path="",
            frame_scenes=frame_scenes,
            gps=None if np.isnan(video.start[0]) else gps,
        )


class ClipRenderer:
    """Renders the frames of a world's clips; see `data.sources.Renderer`.

    A copy in another process makes the world anew, once, which costs less than to send it.
    """

    def __init__(self, world: MiniWorld, device: str, samples: int) -> None:
        self.config, self.taxonomy, self.fingerprint = world.config, world.taxonomy, world.fingerprint
        self.device, self.samples, self.on_gpu = device, samples, torch.device(device).type != "cpu"
        self.encoders = (os.cpu_count() or 1) if self.on_gpu else 1
        self.settings = {"world": self.fingerprint, "samples": samples, "rendering": VERSION}
        _worlds.clear()
        _worlds[self.fingerprint] = world

    def wanted(self, clip_format: ClipFormat) -> list[int]:
        """Which of the kept frames of a clip make its frames in a format, from 0."""
        try:
            return frame_indices(self.config.kept_frames, clip_format.frames, clip_format.sampling)
        except InputError as error:
            raise InputError(f"MiniWorld, kept_frames={self.config.kept_frames}: {error}") from None

    def __call__(
        self, clips: Sequence[ClipRef], clip_format: ClipFormat
    ) -> Iterator[tuple[Sequence[int | None], np.ndarray]]:
        """The frames of each clip in turn: their numbers in the release, and uint8 (frames, size, size, 3)."""
        wanted, size = self.wanted(clip_format), clip_format.size
        with _rendering, threads.limited(1):  # what is left to the processor is small
            world = self._world()
            for _, group in itertools.groupby(clips, key=lambda clip: clip.video_id):
                plans, of_video = zip(*(world.find(clip.clip_id) for clip in group), strict=True)
                video = dataclasses.replace(plans[0])  # a copy, as above
                # A GPU is fast with much at a time. A processor gets clip after clip: there the last bit of a picture
                # may depend on what is rendered with it.
                for some in [of_video] if self.on_gpu else [(clip,) for clip in of_video]:
                    yield from self._render(world, video, some, wanted, size)

    def _render(
        self, world: MiniWorld, video: VideoPlan, clips: Sequence[Clip], wanted: list[int], size: int
    ) -> Iterator[tuple[Sequence[int | None], np.ndarray]]:
        """Some clips of one video."""
        kept = [world.kept_frames(clip) for clip in clips]
        shown = [frames[index] for frames in kept for index in wanted]
        field = self.config.height, self.config.width
        try:
            pictures = world.render(video, size, size, self.device, shown, self.samples, field, apart=True)
        except torch.OutOfMemoryError:
            raise InputError(
                f"{self.device}: too little free memory to render; end what else uses it, or render with device='cpu'"
            ) from None
        numbers = [index + 1 for index in wanted]
        for frames in pictures.numpy().reshape(len(clips), len(wanted), size, size, 3):
            yield numbers, frames

    def announce(self, clips: Sequence[ClipRef], clip_format: ClipFormat, out: Path, workers: int, more: bool) -> None:
        """Print how large so many clips will be and how long they take, by a sample; see `data.sources.Renderer`."""
        clip_bytes, clip_seconds, city_seconds = self._measure(clips, clip_format)
        need, free = clip_bytes * len(clips), shutil.disk_usage(out).free
        if need > free:
            raise InputError(
                f"{out}: the clips take about {_size(need)} {'more ' if more else ''}and {_size(free)} are free; free "
                "some space, or give a folder on a larger disk"
            )
        turns = sum(1 for _ in itertools.groupby(clips, key=lambda clip: clip.labels[0]))
        seconds = (clip_seconds * len(clips) + city_seconds * turns) / workers
        where = f"{workers} process{'es' if workers > 1 else ''}"
        if self.on_gpu:
            where = torch.cuda.get_device_name(self.device)
        print(
            f"{out.name}: {len(clips):,} {'more ' if more else ''}clips x {clip_format.frames} frames of "
            f"{clip_format.size} px, about {_size(need)} in {os.path.relpath(out, paths.root())}, about "
            f"{duration(seconds)} on {where}; it can be stopped and goes on where it stopped",
            flush=True,
        )

    def _measure(self, clips: Sequence[ClipRef], clip_format: ClipFormat) -> tuple[float, float, float]:
        """Bytes and seconds of a clip, and the seconds that a city's textures take, by some clips of some cities."""
        cities = list(dict.fromkeys(clip.labels[0] for clip in clips))
        sizes, clip_seconds, city_seconds = [], [], []
        for city in cities[:: -(-len(cities) // SAMPLE_CITIES)]:
            of_city = (clip for clip in clips if clip.labels[0] == city)
            sample = tuple(itertools.islice(of_city, GPU_SAMPLE_CLIPS if self.on_gpu else SAMPLE_CLIPS))
            start = time.perf_counter()
            self._try(sample[:1], clip_format)
            ready = time.perf_counter()
            rows = self._try(sample, clip_format)
            clip_seconds.append((time.perf_counter() - ready) / len(sample))
            city_seconds.append(max(0.0, ready - start - clip_seconds[-1]))
            sizes += [sum(map(len, row["frames"])) + _ROW_BYTES for row in rows]
        # the median of the cities: what the first one takes besides, to warm up, does not count
        return sum(sizes) / len(sizes), statistics.median(clip_seconds), statistics.median(city_seconds)

    def _try(self, clips: tuple[ClipRef, ...], clip_format: ClipFormat) -> list[dict[str, Any]]:
        return rendered_rows(clips, clip_format, self)

    def _world(self) -> MiniWorld:
        if self.fingerprint not in _worlds:
            _worlds.clear()
            _worlds[self.fingerprint] = MiniWorld(self.config, self.taxonomy)
        return _worlds[self.fingerprint]


def _check_device(device: str) -> None:
    try:
        kind = torch.device(device).type
    except RuntimeError:
        raise InputError(f"no device {device!r}; it is cpu, cuda, or cuda:1 for the second of several GPUs") from None
    if kind == "cuda" and not torch.cuda.is_available():
        raise InputError(f"no GPU for device={device!r} on this machine; render with device='cpu'")


def _size(count: float) -> str:
    """Bytes in words: `20.7 GB`, or `4.1 MB`."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"
