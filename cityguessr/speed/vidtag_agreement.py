"""Whether VidTAG computes on this device what it computes on the processor: rows as those of `correctness`."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cityguessr.measures.boxes import Box
from cityguessr.speed.correctness import NO_GPU, ROUNDING, failure, float32, relative, row
from cityguessr.vidtag import gallery, losses, retrieval, schedule
from cityguessr.vidtag import training as phases
from cityguessr.vidtag.config import VidTAGConfig
from cityguessr.vidtag.model import VidTAG
from cityguessr.vidtag.temporal import EncoderLayer

TINY = VidTAGConfig(
    features=24, temporal_heads=2, bottleneck=8, head=(16,), width=16, fourier=8, location_width=16,
    refiner_heads=2, refiner_feed_forward=16,
)  # fmt: skip
"""VidTAG at a size for trying the command itself."""
_EMBEDDING = 1e-3
"""Of two embeddings of length 1: 256 turns over the map leave a float32's angle four digits; 5e-5 is usual."""
_KINKS = 0.03
"""Of a gradient of the location encoder: such an angle puts some ReLU on the other side of zero; 5e-3 is usual."""
_STEPS = 5


def checks(
    config: VidTAGConfig, device: torch.device, on_gpu: bool, points: int, queries: int = 64
) -> Iterator[dict[str, object]]:
    """One row per comparison; one that cannot be carried out gives a row that says why.

    Args:
        config: the system, with random weights.
        on_gpu: whether the device is another one than the processor, so that the two can be compared.
        points: of the gallery, about.
        queries: frames that look for their coordinate in it.
    """
    for name, made in (
        ("phase I", lambda: _loss(config, device)),
        ("training", lambda: _curve(config, device, on_gpu)),
        ("retrieval", lambda: _retrieval(config, device, on_gpu, points, queries)),
    ):
        try:
            with float32():
                rows = list(made())
            yield from rows
        except Exception as error:  # the next check still counts
            yield failure(f"VidTAG, {name}", error)


def sequences(config: VidTAGConfig, count: int, frames: int, seed: int = 0) -> list[phases.Example]:
    """Tracks in two cities with random features, float16 as they are kept: (frames, 1, d) and (frames, 2) each."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for number in range(count):
        centre = torch.tensor([(48.85, 2.35), (-33.87, 151.2)][number % 2], dtype=torch.float64)
        start = centre + 0.1 * torch.rand(1, 2, generator=generator, dtype=torch.float64)
        walk = 2e-4 * torch.randn(frames, 2, generator=generator, dtype=torch.float64).cumsum(0)
        features = torch.randn(frames, 1, config.features, generator=generator).half()
        made.append(phases.Example(features, start + walk))
    return made


def _loss(config: VidTAGConfig, device: torch.device) -> Iterator[dict[str, object]]:
    """Eq. 1 in float32 on the device against float64 on the processor: loss and gradient of the same small batch."""
    torch.manual_seed(0)
    model = VidTAG(config).train()
    for module in model.modules():
        if isinstance(module, nn.Dropout | EncoderLayer):  # a GPU draws other numbers; BatchNorm stays as in training
            module.eval()
    examples = sequences(config, 4, 16)
    features = torch.stack([example.features[:, 0] for example in examples]).float()
    latlon = torch.stack([example.latlon for example in examples])
    exact = copy.deepcopy(model).double()
    loss, gradient = _first(exact, features.double(), latlon)
    given, its = _first(model.to(device), features.to(device), latlon.to(device))
    what = f"{features.shape[0]} x 16 frames, no dropout; float64 on the processor"
    yield row("VidTAG, phase I, against float64: loss", relative(given, loss), ROUNDING / 10, what)
    for part, tolerance in (("frames", ROUNDING), ("coordinates", _KINKS)):
        value = relative(its[part], gradient[part])
        what = f"of all weights through which {part} are embedded"
        yield row(f"VidTAG, phase I, against float64: gradient, {part}", value, tolerance, what)


def _first(model: VidTAG, features: Tensor, latlon: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of phase I as the paper writes it, and its gradient on either side, on the processor."""
    frames, places = model.frames(features).flatten(0, 1), model.places(latlon.flatten(0, 1))
    loss = losses.contrastive(frames, places, model.logit_scale.exp())
    sides = {
        "frames": [*model.temporal.parameters(), *model.head.parameters()],
        "coordinates": [*model.location.parameters()],
    }
    gradients = {
        side: torch.cat([part.flatten() for part in torch.autograd.grad(loss, weights, retain_graph=True)]).cpu()
        for side, weights in sides.items()
    }
    return loss.detach().cpu(), gradients


def _curve(config: VidTAGConfig, device: torch.device, on_gpu: bool) -> Iterator[dict[str, object]]:
    """The training itself on the device and on the processor: the losses of its first steps."""
    name = "VidTAG, phase I, GPU against processor: losses"
    if not on_gpu:
        yield {"check": name, "state": NO_GPU, "held": None}
        return
    config = config.replace(temporal="none", refiner=False)  # the part that has no dropout
    phase = schedule.Phase(epochs=_STEPS, batch_size=4, learning_rate=1e-4, gap=1)
    curves = []
    for place in (device, torch.device("cpu")):
        torch.manual_seed(0)
        log = phases.train(
            VidTAG(config), sequences(config, 4, 20), (phase, phase), 0, device=place, report=lambda line: None
        )
        curves.append([line["loss"] for line in log])
    value = max(abs(a - b) / abs(b) for a, b in zip(*curves, strict=True))
    what = f"{_STEPS} steps of 4 x 16 frames from the same weights, without TempGeo; largest relative difference"
    yield row(name, value, ROUNDING, what)


def _retrieval(
    config: VidTAGConfig, device: torch.device, on_gpu: bool, points: int, queries: int
) -> Iterator[dict[str, object]]:
    """Embeddings of a gallery, and what frames find in it, on the device against the processor."""
    torch.manual_seed(0)
    model = VidTAG(config).eval()
    places = small_gallery(points)
    generator = torch.Generator().manual_seed(1)
    chosen = torch.randint(len(places), (queries,), generator=generator)
    near = torch.from_numpy(places)[chosen] + 3e-4 * torch.rand(queries, 2, generator=generator, dtype=torch.float64)
    exact = copy.deepcopy(model).double()
    with torch.no_grad():
        frames = exact.places(near)  # as a frame's embedding would be that knows where it is within 50 m
        reference = torch.cat([exact.places(torch.from_numpy(part)) for part in np.array_split(places, 8)])
        there = embedded(model.to(device), places, device)
    what = f"of {len(places):,} points 100 m apart; the largest distance of two embeddings of length 1"
    value = float((there.cpu().double() - reference).norm(dim=1).max())
    yield row("VidTAG, coordinates' embeddings, against float64", value, _EMBEDDING, what)
    index, _ = retrieval.nearest(frames.float().to(device), there)
    scores = frames @ reference.mT
    best = scores.max(dim=1)
    same = int((index == best.indices).sum())
    lost = float((best.values - scores.gather(1, index[:, None])[:, 0]).max())
    what = f"cosine that its answers lose at most; {same} of {queries} answers are the same point"
    yield row("VidTAG, retrieval, against float64", lost, ROUNDING / 10, what)
    name = "VidTAG, retrieval, GPU against processor: other answers"
    if not on_gpu:
        yield {"check": name, "state": NO_GPU, "held": None}
        return
    again, _ = retrieval.nearest(frames.float(), there.cpu())
    what = f"of {queries}, of the same embeddings"
    yield row(name, float((index != again).sum()), 0.0, what)


def small_gallery(points: int) -> NDArray[np.float64]:
    """About so many points, 100 m apart, around Paris: (n, 2) degrees."""
    half = 0.05 * points**0.5 / 111.2
    return gallery.grid(Box(48.85 - half, 2.35 - 1.5 * half, 48.85 + half, 2.35 + 1.5 * half), 0.1)


@torch.no_grad()
def embedded(model: VidTAG, places: NDArray[np.float64], device: torch.device) -> Tensor:
    """The embeddings of a gallery, kept on the device: (n, 2) degrees -> (n, e)."""
    answer = torch.empty(len(places), model.config.width, device=device)
    for first in range(0, len(places), retrieval.CHUNK):
        part = torch.from_numpy(places[first : first + retrieval.CHUNK]).to(device)
        answer[first : first + len(part)] = model.places(part)
    return answer
