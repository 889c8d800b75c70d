"""The sections of `check` that are VidTAG's: its frozen encoders, both phases of training, retrieval.

All weights are random, all pictures and features noise. `vidtag_hours` turns the rates into hours.
"""

from __future__ import annotations

import dataclasses
import functools
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from cityguessr.speed import rates
from cityguessr.speed.bench import Bench, value
from cityguessr.speed.vidtag_agreement import TINY, checks, embedded, sequences
from cityguessr.vidtag import encoders, retrieval, schedule
from cityguessr.vidtag import training as phases
from cityguessr.vidtag.config import VidTAGConfig
from cityguessr.vidtag.model import VidTAG

ENCODERS = {"clip": "CLIP ViT-L/14", "dinov2": "DINOv2 ViT-L/14 with registers"}
GALLERY = 2_020_621
"""Points of a gallery of Mapillary's 24 cities at 0.1 km, as an independent implementation counted them."""
FRAMES = 16  # that look for their coordinate in it
_BATCHES, _STEPS, _EPOCHS = (64, 128, 256), 10, 5


def features(bench: Bench) -> str | None:
    """Pictures per second of both encoders at their real size: pictures on the device, and once from the host."""
    names = {"semantic": "stand-in", "appearance": "stand-in"} if bench.smallest else ENCODERS
    batches, seconds = ((2,), 0.02) if bench.smallest else (_BATCHES, 2.0)
    missing = []
    for name, label in names.items():
        rates.tidy(bench.device)
        if bench.has(8):
            missing += _encoder(bench, name, label, batches, seconds)
        else:
            missing.append(label)
    return f"not whole, because the time was short: no {', '.join(missing)}" if missing else None


def _encoder(bench: Bench, name: str, label: str, batches: Sequence[int], seconds: float) -> list[str]:
    """One encoder at each batch size, the last one from the host as well; what there was no time for."""
    with bench.device:  # its weights are drawn there, which takes a processor half a minute
        network = encoders.load(name, random=True).to(bench.device)
    missing = []
    for batch in batches:
        if not bench.has(5):
            missing.append(f"{label} at {batch}")
            continue
        pictures = torch.randint(256, (batch, 3, network.size, network.size), dtype=torch.uint8, device=bench.device)
        call = functools.partial(network, pictures)
        _measured(bench, name, label, batch, "pictures on the device", call, seconds)
    if not bench.has(4):
        return [*missing, f"{label} from the host"]
    host = torch.randint(256, (batches[-1], 3, network.size, network.size), dtype=torch.uint8)
    host = host.pin_memory() if bench.on_gpu else host

    def moved() -> Tensor:
        return network(host.to(bench.device, non_blocking=True)).half().cpu()

    _measured(bench, name, label, batches[-1], "from pinned host memory, features back", moved, seconds)
    return missing


def _measured(
    bench: Bench, name: str, label: str, batch: int, words: str, call: Callable[[], Tensor], seconds: float
) -> None:
    if bench.on_gpu:
        torch.cuda.reset_peak_memory_stats()
    rate = batch * rates.calls_per_second(call, bench.device, seconds)
    row = value(f"{label}, batch {batch}, {words}", rate, "pictures/s")
    precision = "float16 autocast" if bench.on_gpu else "float32"
    about = {"encoder": name, "batch": batch, "precision": precision, "peak_memory_gb": _peak(bench)}
    bench.put("vidtag", row | about | {"from_host": "host" in words})
    bench.say(f"{row['what']}: {row['value']} {row['unit']}")


def training(bench: Bench) -> str | None:
    """What `vidtag_agreement` compares; then both phases at the published size, as `vidtag.training` carries them out.

    A step includes gathering its sequences from memory, which the processor does.
    """
    config = TINY if bench.smallest else VidTAGConfig()
    for row in checks(config, bench.device, bench.on_gpu, 400 if bench.smallest else 6_000):
        bench.put("correctness", row)
        bench.say(f"{row['check']}: {row.get('value', row['state'])}")
    batch, steps, epochs = (4, 2, 2) if bench.smallest else (schedule.MSLS[0].batch_size, _STEPS, _EPOCHS)
    examples = sequences(config, batch * steps, 48)
    for number in (0, 1):
        if not bench.has(6):
            return f"not whole, because the time was short: no phase {'I' * (number + 1)}"
        rates.tidy(bench.device)
        row = _phase(bench, config, number, batch, epochs, examples)
        bench.put("vidtag", row)
        bench.say(f"{row['what']}: {row['value']} {row['unit']}")
    return None


def _phase(
    bench: Bench, config: VidTAGConfig, number: int, batch: int, epochs: int, examples: list[phases.Example]
) -> dict[str, object]:
    """Steps per second of one phase, from the median epoch after the first."""
    settings = [dataclasses.replace(phase, epochs=0, batch_size=batch) for phase in schedule.MSLS]
    settings[number] = dataclasses.replace(settings[number], epochs=epochs)
    torch.manual_seed(0)
    log = phases.train(VidTAG(config), examples, tuple(settings), 0, device=bench.device, report=lambda line: None)
    seconds = statistics.median(line["seconds"] for line in log[1:])
    phase = settings[number]
    row = value(
        f"VidTAG, phase {'I' * (number + 1)}, {batch} x {phase.frames} frames",
        len(examples) / batch / max(seconds, 1e-3), "steps/s",
    )  # fmt: skip
    about = {"phase": number + 1, "batch": batch, "frames": phase.frames, "features": config.features}
    # TF32 is off by default, and should be: it would round the angles of the Fourier features to 10 bits
    precision = "TF32" if bench.on_gpu and torch.backends.cuda.matmul.allow_tf32 else "float32"
    return row | about | {"precision": precision, "peak_memory_gb": _peak(bench)}


def retrieved(bench: Bench) -> str | None:
    """Embedding two million points, and finding the best of them for each frame of a video."""
    config, points = (TINY, 3000) if bench.smallest else (VidTAGConfig(), GALLERY)
    torch.manual_seed(0)
    model = VidTAG(config).eval().to(bench.device)
    generator = np.random.default_rng(0)
    places = np.stack([generator.uniform(-60, 70, points), generator.uniform(-180, 180, points)], axis=1)
    embedded(model, places[: retrieval.CHUNK], bench.device)  # sets buffers up
    rates.tidy(bench.device)
    there, seconds = _timed(bench, lambda: embedded(model, places, bench.device))
    what, common = f"gallery of {points:,} points", {"points": points, "frames": FRAMES}
    bench.put("vidtag", value(f"{what}: embedding it", seconds, "s") | common | {"peak_memory_gb": _peak(bench)})
    queries = torch.nn.functional.normalize(torch.randn(FRAMES, config.width), dim=1)
    ways: list[tuple[str, Callable[[], object]]] = [
        ("embeddings on the device", lambda: retrieval.nearest(queries.to(bench.device), there))
    ]
    if bench.on_gpu:
        here = there.cpu()
        ways += [
            (
                "embeddings in main memory, moved piece by piece",
                lambda: retrieval.nearest(queries.to(bench.device), here),
            ),
            ("on the processor", lambda: retrieval.nearest(queries, here)),
        ]
    for words, call in ways:
        if not bench.has(3):
            return f"not whole, because the time was short: not {words}"
        rates.tidy(bench.device)
        call()
        seconds = statistics.median(_timed(bench, call)[1] for _ in range(3))
        row = value(f"{what}: {FRAMES} frames in it, {words}", seconds, "s")
        bench.put("vidtag", row | common | {"peak_memory_gb": _peak(bench)})
        bench.say(f"{row['what']}: {row['value']} s")
    return None


def _timed(bench: Bench, call: Callable[[], object]) -> tuple[object, float]:
    """What a call gives, and its seconds."""
    rates.wait_for(bench.device)
    start = time.perf_counter()
    answer = call()
    rates.wait_for(bench.device)
    return answer, time.perf_counter() - start


def _peak(bench: Bench) -> float | None:
    """The most GB of the GPU that tensors took since it was last reset; None on a processor."""
    return round(torch.cuda.max_memory_allocated() / 1e9, 2) if bench.on_gpu else None
