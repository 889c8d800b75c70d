"""Whether the fast path computes what the plain one does, on this machine: the first section of `check`.

Each check gives one row: what was compared, the largest deviation, the tolerance and whether it held. Deviations are
relative, |a - b| / |b| in the Euclidean norm, unless the row says otherwise.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from cityguessr.checkpoint import load_released_checkpoint
from cityguessr.config import ModelConfig
from cityguessr.speed import rates, reference
from cityguessr.taxonomy import LEVELS, Taxonomy
from cityguessr.training.batches import Batch
from cityguessr.training.execution import Switches
from cityguessr.training.step import TrainingStep, answer, total_loss

NO_GPU = "not run, because there is no GPU"
NO_COMPILER = "not run, because compilation for a processor alone takes longer than this command may"
ROUNDING = 1e-3  # float32 in another order of sums: 24 bits, a thousand terms, twelve layers; 1e-5 is usual
BF16_OUTPUT, BF16_GRADIENT = 0.03, 0.15  # of 8 bits, 0.4 % each; they add up over layers, and gradients cancel


@dataclasses.dataclass(frozen=True)
class Case:
    """What the checks run on.

    Attributes:
        config: a small model.
        steps, curve_steps: of the short comparisons, and of the loss curves.
        layers: of the released checkpoint.
        rate: of learning, in the loss curves.
    """

    config: ModelConfig
    taxonomy: Taxonomy
    device: torch.device
    batch: int = 12
    steps: int = 20
    curve_steps: int = 200
    layers: int = reference.LAYERS
    rate: float = 3e-4

    @property
    def on_gpu(self) -> bool:
        """Whether the device is a GPU."""
        return self.device.type == "cuda"

    def step(self, switches: Switches, seed: int = 0, **options: object) -> TrainingStep:
        """A step of the model with weights drawn from a seed."""
        return rates.training(self.config, self.taxonomy, self.batch, switches, self.device, seed=seed, **options)

    def noise(self, device: torch.device | None = None, count: int = 1) -> list[Batch]:
        """Batches of noise."""
        return rates.noise(self.config, self.taxonomy, self.batch, device or self.device, count)


def checks(case: Case) -> Iterator[dict[str, object]]:
    """One row per comparison, as each is done; a check that cannot be carried out gives a row that says why."""
    for check in (_bf16, _float64, _parts, _recomputed, _graphs, _compiled, _released, _nvjpeg):
        try:
            with float32():
                rows = list(check(case))
            yield from rows
        except Exception as error:  # the next check still counts
            yield failure(check.__name__.strip("_"), error)
        rates.tidy(case.device)


def loss_curves(case: Case, report: Callable[[str], None]) -> tuple[list[dict[str, float]], list[dict[str, object]]]:
    """The losses of the fast path and of the plain one from the same weights, and of the plain one from other weights.

    A training amplifies rounding until two curves differ as those of two seeds do, so nothing tighter than that can be
    asked of its end. The fast path passes where its mean distance from the plain curve is below the distance of the
    plain curve of another seed, and where its first ten steps agree to `BF16_OUTPUT`.

    Returns one row per step, and the rows of the check.
    """
    curves: dict[str, list[float]] = {}
    fast = Switches.fast(case.device)
    ways = (("plain", Switches.plain(), 0), ("plain, another seed", Switches.plain(), 1), ("fast", fast, 0))
    given = _learnable(case, min(50, case.curve_steps))
    failures = []
    for name, switches, seed in ways:
        try:
            curves[name] = _curve(case.step(switches, seed), given, case.curve_steps, case.rate)
        except Exception as error:
            failures.append(failure(f"loss curves, {name}", error))
        else:
            report(f"{name}: loss {curves[name][0]:.3f} -> {curves[name][-1]:.3f} in {case.curve_steps} steps")
        rates.tidy(case.device)
    table = [
        {"step": number + 1} | {name: _digits(curve[number]) for name, curve in curves.items()}
        for number in range(case.curve_steps)
    ]
    if failures:
        return table, failures
    plain, other, quick = (np.array(curves[name]) for name, _, _ in ways)
    spread, distance = np.abs(plain - other), np.abs(plain - quick)
    early = float((distance[:10] / np.abs(plain[:10])).max())
    last = case.curve_steps // 4
    rows = [
        row(
            "loss curves, the first ten steps", early, BF16_OUTPUT,
            "largest relative difference of the fast path's loss from the plain one's",
        ),
        row(
            "loss curves, all steps", float(distance.mean()), float(spread.mean()),
            "mean absolute difference of the fast path's loss from the plain one's; tolerance: that of the plain path "
            "with another seed",
        )
        | {"largest": _digits(distance.max()), "largest_of_another_seed": _digits(spread.max())},
        row(
            "loss curves, both learn", float(max(plain[-last:].mean(), quick[-last:].mean()) / plain[:5].mean()), 0.9,
            "mean loss over the last quarter of the steps as a part of the first five's, the larger of both paths'",
        ),
    ]  # fmt: skip
    return table, rows


def _bf16(case: Case) -> Iterator[dict[str, object]]:
    """The backbone in bfloat16 against float32: logits, and the gradient of each loss."""
    (batch,), outputs, gradients = case.noise(), [], []
    for bf16 in (False, True):
        model, text = rates.new_model(case.config, case.taxonomy, case.device)
        model.use(**_forward(Switches.fast(case.device)))
        with torch.autocast(case.device.type, torch.bfloat16, enabled=bf16):
            output = answer(model, batch[0], batch[2])
        outputs.append(torch.cat([output.logits[level] for level in LEVELS], dim=1).detach())
        _, parts = total_loss(output, batch[1], batch[2], text, case.config)
        gradients.append({name: _gradient(part, model.backbone) for name, part in parts.items()})
    yield row("bf16 against fp32: logits", relative(outputs[1], outputs[0]), BF16_OUTPUT, "same weights, one batch")
    for name in gradients[0]:
        value = relative(gradients[1][name], gradients[0][name])
        yield row(f"bf16 against fp32: gradient of {name}", value, BF16_GRADIENT, "of the backbone's weights together")


def _float64(case: Case) -> Iterator[dict[str, object]]:
    """Float32 on the device, plain and fast, against float64 on the processor: losses and gradient."""
    (batch,) = case.noise(torch.device("cpu"))
    batch = tuple(part[:2] for part in batch)
    model, text = rates.new_model(case.config, case.taxonomy, torch.device("cpu"))
    model.use(**_forward(Switches.plain()))
    model, text = model.double(), text.double()
    output = model.head(model.backbone(batch[0].double() / 255, model.colours))  # its forward ends in float32
    loss, _ = total_loss(output, batch[1], batch[2].double(), text, case.config)
    wanted = _gradient(loss, model)
    for name, switches in (("plain", Switches.plain()), ("fast, in fp32", Switches.fast(case.device))):
        model, text = rates.new_model(case.config, case.taxonomy, torch.device("cpu"))
        model, text, moved = model.to(case.device), text.to(case.device), [part.to(case.device) for part in batch]
        model.use(**_forward(switches))
        given, _ = total_loss(answer(model, moved[0], moved[2]), moved[1], moved[2], text, case.config)
        value = relative(given.detach().cpu(), loss.detach())
        yield row(f"{name}, against float64: loss", value, ROUNDING / 10, "two clips; float64 on the processor")
        value = relative(_gradient(given, model).cpu().double(), wanted)
        yield row(f"{name}, against float64: gradient", value, ROUNDING, "of all weights together")


def _parts(case: Case) -> Iterator[dict[str, object]]:
    """A batch in three parts against the whole batch: gradient."""
    value = relative(_gradient_after(case, accumulate=3), _gradient_after(case))
    yield row("accumulate=3 against 1: gradient", value, ROUNDING, "fp32, one step")


def _recomputed(case: Case) -> Iterator[dict[str, object]]:
    """Layers computed again in the backward pass against kept ones: gradient."""
    value = relative(_gradient_after(case, recompute=True), _gradient_after(case))
    yield row("recompute against kept: gradient", value, ROUNDING, "fp32, one step")


def _graphs(case: Case) -> Iterator[dict[str, object]]:
    """Steps that are replayed as a CUDA graph against steps that are not: loss curves."""
    if not case.on_gpu:
        yield {"check": "CUDA graph against none: losses", "state": NO_GPU, "held": None}
        return
    plain = Switches.fast(case.device).replace(bf16=False, compiled=False, cuda_graphs=False)
    given = _learnable(case, case.steps)
    ways = (plain, plain.replace(cuda_graphs=True))
    curves = [_curve(case.step(switches), given, case.steps, case.rate) for switches in ways]
    value = max(abs(a - b) / abs(a) for a, b in zip(*curves, strict=True))
    what = (
        f"fp32, {case.steps} steps from the same weights, of which the fourth is recorded; largest relative difference"
    )
    yield row("CUDA graph against none: losses", value, ROUNDING, what)


def _compiled(case: Case) -> Iterator[dict[str, object]]:
    """The compiled step against the uncompiled one: losses and gradient."""
    if not case.on_gpu:
        yield {"check": "compiled against plain: gradient", "state": NO_COMPILER, "held": None}
        return
    switches = Switches.fast(case.device).replace(bf16=False, cuda_graphs=False)
    value = relative(_gradient_after(case, switches), _gradient_after(case, switches.replace(compiled=False)))
    yield row("compiled against plain: gradient", value, ROUNDING, "fp32, one step")


def _released(case: Case) -> Iterator[dict[str, object]]:
    """A checkpoint as the authors' script saves it: the loaded model's outputs against its reference in float64."""
    state = reference.released_state(layers=case.layers)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.pth"
        torch.save({"epoch": 12, "state_dict": state, "best_acc1": torch.tensor(69.6)}, path)
        model = load_released_checkpoint(path).to(case.device)
    frames = torch.rand(1, 16, 3, 224, 224, generator=torch.Generator().manual_seed(1)).to(case.device)
    with torch.no_grad():
        logits, scene, text = reference.recompute(state, frames, case.layers)
        wanted = torch.cat([*(logits[level] for level in LEVELS), scene, text], dim=1)
        for name, bf16, tolerance in (("fp32", False, 1e-4), ("bf16", True, BF16_OUTPUT)):
            with torch.autocast(case.device.type, torch.bfloat16, enabled=bf16):
                output = model(frames)
            got = torch.cat([*(output.logits[level] for level in LEVELS), output.scene, output.text], dim=1)
            what = f"ViT-S of {case.layers} layers, random tensors; logits, scene and text together"
            yield row(f"released checkpoint, {name}, against its reference", relative(got, wanted), tolerance, what)


def _nvjpeg(case: Case) -> Iterator[dict[str, object]]:
    """JPEGs decoded on the GPU against Pillow: pixels."""
    name = "nvJPEG against Pillow"
    if not case.on_gpu:
        yield {"check": f"{name}: largest difference", "state": NO_GPU, "held": None}
        return
    from torchvision.io import decode_jpeg

    contents = [jpeg(picture) for picture in pictures(16, 224, seed=0)]
    decoded = decode_jpeg(
        [torch.frombuffer(bytearray(content), dtype=torch.uint8) for content in contents], device="cuda"
    )
    wanted = [np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).transpose(2, 0, 1) for content in contents]
    difference = (torch.stack(decoded).cpu().int() - torch.from_numpy(np.stack(wanted)).int()).abs()
    what = "of 255, over 16 pictures of 224 px; the two round the inverse cosine transform differently"
    yield row(f"{name}: largest difference", float(difference.max()), 8, what)
    yield row(f"{name}: mean difference", float(difference.float().mean()), 0.5, what)


def pictures(count: int, size: int, seed: int) -> list[Image.Image]:
    """Pictures of smooth noise with grain, whose JPEGs are about as large as those of photographs."""
    generator = torch.Generator().manual_seed(seed)
    smooth = torch.zeros(count, 3, size, size)
    for cells in (4, 16, 56):
        coarse = torch.randn(count, 3, cells, cells, generator=generator) * 110 / cells**0.5
        smooth += torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")
    grain = torch.randn(count, 1, size, size, generator=generator) * 9
    frames = (smooth + grain + 128).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return [Image.fromarray(frame) for frame in frames]


def jpeg(picture: Image.Image) -> bytes:
    """A picture as prepared clips keep it."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()


def _learnable(case: Case, count: int) -> list[Batch]:
    """Batches of clips whose colour is their city: a few cities, so that 200 steps teach something."""
    config, generator = case.config, torch.Generator().manual_seed(7)
    cities = torch.randperm(case.taxonomy.size("city"), generator=generator)[:16]
    colours = torch.randint(256, (len(cities), 1, 3, 1, 1), generator=generator)
    made = []
    for _ in range(count):
        drawn = torch.randint(len(cities), (case.batch,), generator=generator)
        shape = (case.batch, config.input_frames, 3, config.size, config.size)
        frames = (colours[drawn] + torch.randint(-20, 21, shape, generator=generator)).clamp(0, 255).to(torch.uint8)
        chain = case.taxonomy.chain(cities[drawn])
        labels = torch.stack([chain[level] for level in LEVELS], dim=1)
        scenes = torch.nn.functional.one_hot(drawn % config.scene_classes, config.scene_classes).float()
        made.append(tuple(part.to(case.device) for part in (frames, labels, scenes)))
    return made


def _curve(step: TrainingStep, given: list[Batch], steps: int, rate: float) -> list[float]:
    """The loss of every step, on batches that are taken repeatedly."""
    step.start()
    sums = [0.0]
    for batch in itertools.islice(itertools.cycle(given), steps):
        step(*batch, rate)
        sums.append(float(step.totals[0]))
    return [after - before for before, after in itertools.pairwise(sums)]


def _gradient_after(case: Case, switches: Switches | None = None, **options: object) -> Tensor:
    """The gradient that a step of no length leaves."""
    step = case.step(switches or Switches.plain(), **options)
    step(*case.noise()[0], 0.0)
    return torch.cat([parameter.grad.flatten() for parameter in step.trained() if parameter.grad is not None])


def _gradient(loss: Tensor, model: nn.Module) -> Tensor:
    parameters = list(model.parameters())
    parts = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return torch.cat([part.flatten() for part in parts if part is not None]).detach()


@contextlib.contextmanager
def float32() -> Iterator[None]:
    """Where float32 means float32: by default, cuDNN's convolutions round what they multiply to 10 bits."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def _forward(switches: Switches) -> dict[str, bool]:
    return {"folded": switches.folded, "fused_attention": switches.fused_attention}


def relative(value: Tensor, wanted: Tensor) -> float:
    """|value - wanted| / |wanted| in the Euclidean norm."""
    return float((value.double() - wanted.double()).norm() / wanted.double().norm())


def row(check: str, value: float, tolerance: float, what: str) -> dict[str, object]:
    """The row of a comparison that was carried out."""
    held = bool(value <= tolerance)  # not so for NaN
    return {
        "check": check,
        "state": "done",
        "value": _digits(value),
        "tolerance": _digits(tolerance),
        "held": held,
        "what": what,
    }


def failure(check: str, error: Exception) -> dict[str, object]:
    """The row of one that could not be."""
    reason = f"{type(error).__name__}: {error}".splitlines()[0]
    return {"check": check, "state": f"failed: {reason}", "held": False}


def _digits(value: float) -> float:
    return float(f"{float(value):.4g}")
