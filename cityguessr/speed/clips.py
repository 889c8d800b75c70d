"""The sections of `check` about clips: the loader, MiniWorld's rendering, a short training of the default world."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch

from cityguessr.base.errors import InputError
from cityguessr.config import ClipFormat
from cityguessr.data.clips import ClipDataset, PreparedClips
from cityguessr.data.prepare import prepare
from cityguessr.data.sources import ClipRef
from cityguessr.speed import rates
from cityguessr.speed.bench import TAXONOMY, WORLD_FRAMES, Bench, value
from cityguessr.speed.correctness import jpeg, pictures
from cityguessr.taxonomy import LEVELS
from cityguessr.text.features import text_features
from cityguessr.training import experiments, profiles
from cityguessr.training.batches import Batch, Batches, ClipTensors
from cityguessr.training.execution import Execution
from cityguessr.training.loop import train


def loader(bench: Bench) -> str | None:
    """Prepared clips of noise read, decoded and moved, without a model and with the fast step."""
    config, batch = bench.config, bench.batch
    clips = _noise_clips(bench, 8 if bench.smallest else 200).split("train")
    size = sum(map(len, clips.jpegs(0))) / config.frames / 1e3
    bench.put("loader", value(f"mean JPEG of {config.size} px", size, "KB"))
    seconds = 0.2 if bench.smallest else 3.0
    ways = {f"decoded by {bench.workers} processes": False} | ({"decoded by the GPU": True} if bench.on_gpu else {})
    for way, encoded in ways.items():
        data = ClipTensors(clips, config, in_memory=False, encoded=encoded)
        rate = _rate(_batches(bench, data), lambda given: None, batch, seconds, bench)
        bench.put("loader", value(f"loader alone, {way}", rate, "clips/s"))
        bench.say(f"{way}: {rate:.0f} clips/s")
        if bench.fast is not None:
            bench.fast.start()
            rate = _rate(_batches(bench, data), lambda given: bench.fast(*given, 1e-3), batch, 2 * seconds, bench)
            bench.put("loader", value(f"end to end, {way}: fast path fed by this loader", rate, "clips/s"))
            bench.say(f"{way}, with the fast path: {rate:.0f} clips/s")
            if bench.noise_rate:
                waited = max(0.0, 1 - rate / bench.noise_rate)
                what = f"end to end, {way}: share of the time lost against frames that are on the device"
                bench.put("loader", value(what, waited, "of 1"))
    if bench.on_gpu:
        for count in (batch, 4 * batch):
            rate = _nvjpeg_rate(clips.jpegs(0), count)
            bench.put("loader", value(f"nvJPEG, {count} clips per call, bytes in memory", rate, "clips/s"))
        bench.put(
            "loader", value("read by one process, decoded by nvJPEG", _read_and_nvjpeg_rate(bench, clips), "clips/s")
        )
    if bench.fast is None:
        return "not whole, because the fast path did not run: no end to end"
    return None


def rendering(bench: Bench) -> str | None:
    """MiniWorld's frames at training size, and what the whole of world68k would take."""
    try:
        miniworld = importlib.import_module("cityguessr.miniworld")
    except ImportError as error:
        return f"not run, because MiniWorld cannot be imported ({error})"
    settings = miniworld.MiniWorldConfig
    world = miniworld.MiniWorld(settings.mini() if bench.smallest else settings.paper_scale())
    bench.say(f"{len(world.videos):,} videos are planned")
    size, count, cities = (32, 4, 2) if bench.smallest else (224, 240, 4)
    videos = list({video.city: video for video in world.videos}.values())
    first, later = [], []
    for video in videos[:: len(videos) // cities][:cities]:
        frames = list(range(0, video.frames, max(1, video.frames // count)))[:count]
        begin = time.perf_counter()
        world.render(video, size, size, bench.device, frames[:1], samples=1)
        ready = time.perf_counter()
        world.render(video, size, size, bench.device, frames, samples=1)
        first.append(ready - begin)
        later.append((time.perf_counter() - ready) / len(frames))
        bench.say(f"a city's first frame {first[-1]:.2f} s, then {1 / later[-1]:.0f} frames/s")
        if not bench.has(first[-1] + later[-1] * count):
            break
    per_frame, per_city = float(np.median(later)), float(np.median(first))
    whole = WORLD_FRAMES * per_frame + TAXONOMY.size("city") * per_city
    bench.put(
        "rendering",
        value(f"frames of {size} px, one ray per pixel, on {bench.device.type}", 1 / per_frame, "frames/s"),
        value("the first frame of a city, its textures among it", per_city, "s"),
    )
    if not bench.smallest:
        what = f"world68k by this rate, computed: {WORLD_FRAMES:,} frames of 166 cities"
        bench.put("rendering", value(what, whole / 60, "min"))
    return None


def real_training(bench: Bench) -> str | None:
    """The default world, rendered and trained on; stopped in the middle of an epoch and resumed."""
    try:
        begin = time.perf_counter()
        clips = _default_world(bench)
    except ImportError as error:
        return f"not run, because the default world cannot be rendered without files of videos ({error})"
    rendered = time.perf_counter() - begin
    bench.put("training_summary", value("rendering the default world", rendered, "s"))
    bench.say(f"{clips}, in {rendered:.1f} s")
    scale = profiles.get("mini")
    config = experiments.get("cityguessr").config(scale)
    if bench.smallest:
        config = config.replace(epochs=3, width=24, depth=1, pretrained=None)
        scale = dataclasses.replace(scale, recipe=scale.recipe.replace(batch_size=4))
    text = text_features(clips.taxonomy, config.text_encoder, config.text_labels)
    lines: list[str] = []

    def report(line: str) -> None:
        lines.append(line)
        bench.say(line)

    arguments = config, clips.taxonomy, clips.split("train"), clips.split("val"), text, scale, 0
    state = bench.folder / "state.pt"
    device = "auto" if bench.on_gpu else "cpu"
    begin = time.perf_counter()
    try:
        with _interrupted_in_the_second_epoch(state):
            train(*arguments, state, execution=Execution(device, checkpoint_minutes=0), report=report)
    except _Interrupted:
        bench.say("stopped in the middle of an epoch")
    result = train(*arguments, state, execution=Execution(device), report=report)
    seconds = time.perf_counter() - begin
    resumed = [line for line in lines if line.startswith("resumed")]
    if not resumed:
        raise InputError("the training was not interrupted, so nothing was resumed")
    bench.put("training", *result.log)
    bench.put(
        "training_summary",
        value(f"{config.epochs} epochs of {len(arguments[2]):,} clips with an interruption", seconds, "s"),
        value("an epoch, the median", float(np.median([row["seconds"] for row in result.log])), "s"),
        {"what": f"interrupted and {resumed[0]}"},
    )
    return None


class _Interrupted(Exception):
    """Stops a training as a signal would."""


@contextlib.contextmanager
def _interrupted_in_the_second_epoch(state: Path) -> Iterator[None]:
    """Sends this process a signal once the checkpoint is of the middle of an epoch after the first."""

    def interrupt(number: int, frame: object) -> None:
        raise _Interrupted

    def watch() -> None:
        while not over.wait(0.02):
            if state.is_file():
                progress = torch.load(state, map_location="cpu", weights_only=True)["progress"]
                if progress["epoch"] and progress["step"]:
                    os.kill(os.getpid(), signal.SIGUSR1)
                    return

    over, before = threading.Event(), signal.signal(signal.SIGUSR1, interrupt)
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
        signal.signal(signal.SIGUSR1, before)


class _Noise:
    """A source of clips that are folders of JPEG files."""

    name, taxonomy, synthetic, text_features = "noise", TAXONOMY, True, None

    def __init__(self, folder: Path, clips: int, frames: int, size: int) -> None:
        self._folders = [folder / f"clip_{number}" for number in range(clips)]
        contents = [jpeg(picture) for picture in pictures(min(clips * frames, 180), size, seed=3)]
        for number, path in enumerate(self._folders):
            path.mkdir(parents=True)
            for frame in range(frames):
                (path / f"{frame + 1}.jpg").write_bytes(contents[(7 * number + frame) % len(contents)])

    def clips(self) -> list[ClipRef]:
        """All of them; every eighth is for validation."""
        scenes = np.full(16, 1 / 16, np.float32)
        made = []
        for number, path in enumerate(self._folders):
            city = torch.tensor([number % TAXONOMY.size("city")])
            labels = tuple(int(TAXONOMY.chain(city)[level]) for level in LEVELS)
            split = "train" if number % 8 else "val"
            made.append(ClipRef(path.name, path.name, split, labels, str(path), clip_scenes=scenes))
        return made


def _noise_clips(bench: Bench, count: int) -> PreparedClips:
    wanted = ClipFormat(bench.config.frames, bench.config.size)
    source = _Noise(bench.folder / "pictures", count, wanted.frames, wanted.size)
    return prepare(source, bench.folder / "noise", wanted, workers=1)


def _default_world(bench: Bench) -> PreparedClips:
    """The default world as prepared clips. Raises ImportError where a video library would be needed for it."""
    miniworld = importlib.import_module("cityguessr.miniworld")
    if not hasattr(miniworld, "write_prepared"):
        raise ImportError("cityguessr.miniworld has no write_prepared")
    wanted = experiments.get("cityguessr").config("mini").clip_format
    world, taxonomy = miniworld.MiniWorldConfig.mini(), None
    if bench.smallest:
        taxonomy = TAXONOMY.subset(["London", "Tokyo", "Lima", "Osaka"])
    world = miniworld.MiniWorld(world, taxonomy)
    return miniworld.write_prepared(world, bench.folder / "world", wanted, workers=bench.workers)


def _batches(bench: Bench, data: ClipTensors) -> Iterable[Batch]:
    generator = torch.Generator().manual_seed(0)
    count = 12 if bench.smallest else 10**6
    order = (torch.randint(len(data), (bench.batch,), generator=generator).tolist() for _ in range(count))
    return Batches(data, order, bench.batch, bench.workers, bench.device, prefetch=bench.on_gpu)


def _rate(given: Iterable[Batch], use: Callable[[Batch], object], batch: int, seconds: float, bench: Bench) -> float:
    """Clips per second that come through, once the loader runs."""
    count, warm = 0, 2 if bench.smallest else 2 * bench.workers
    begin = 0.0
    for number, one in enumerate(given):
        use(one)
        if number == warm:
            rates.wait_for(bench.device)
            begin, count = time.perf_counter(), 0
        elif number > warm:
            count += 1
            if time.perf_counter() - begin > seconds:
                break
    rates.wait_for(bench.device)
    return count * batch / (time.perf_counter() - begin)


def _read_and_nvjpeg_rate(bench: Bench, clips: ClipDataset) -> float:
    """Clips per second where the GPU decodes what the main process reads, one batch after another."""
    from torchvision.io import decode_jpeg

    def use(one: list[torch.Tensor]) -> None:
        decode_jpeg(one, device="cuda")

    generator = torch.Generator().manual_seed(0)
    drawn = (torch.randint(len(clips), (bench.batch,), generator=generator).tolist() for _ in range(10**6))
    given = ([frame for i in some for frame in clips.jpeg_tensors(i)] for some in drawn)
    return _rate(given, use, bench.batch, 2.0, bench)


def _nvjpeg_rate(contents: list[bytes], clips: int) -> float:
    """Clips per second that the GPU decodes."""
    from torchvision.io import decode_jpeg

    encoded = [torch.frombuffer(bytearray(content), dtype=torch.uint8) for content in contents] * clips
    return clips * rates.calls_per_second(lambda: decode_jpeg(encoded, device="cuda"), torch.device("cuda"), 1.5)
