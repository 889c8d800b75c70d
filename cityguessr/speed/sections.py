"""The sections of `check`, each of which measures one thing and puts its rows into the JSON file as they come."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from cityguessr.speed import clips, cost, rates, vidtag
from cityguessr.speed.bench import COMPILATION, PAPER, SMALL, TAXONOMY, TINY, Bench, Section, value
from cityguessr.speed.correctness import NO_GPU, Case, checks, loss_curves
from cityguessr.training.batches import Batch
from cityguessr.training.execution import Switches
from cityguessr.training.recipe import Recipe
from cityguessr.training.step import TrainingStep


def _correctness(bench: Bench) -> str | None:
    small = PAPER.replace(**(TINY if bench.smallest else SMALL))
    case = Case(small, TAXONOMY, bench.device)
    if bench.smallest:
        case = dataclasses.replace(case, batch=6, steps=4, curve_steps=24, layers=1, rate=3e-3)
    for row in checks(case):
        bench.put("correctness", row)
        bench.say(f"{row['check']}: {row.get('value', row['state'])}")
    table, rows = loss_curves(case, bench.say)
    bench.put("loss_curves", *table)
    bench.put("correctness", *rows)
    return None


def _ceilings(bench: Bench) -> None:
    size, memory = (256, 2**20) if bench.smallest else (8192, 2**30)
    seconds = 0.05 if bench.smallest else 0.7
    peak, copy = rates.matrix_peak(bench.device, size, seconds), rates.copy_rate(bench.device, memory, seconds)
    bench.put(
        "ceilings",
        value(f"product of two bfloat16 matrices of {size} rows, random numbers", peak, "TFLOP/s"),
        value("copy on the device, bytes read and written", copy, "GB/s"),
    )
    bench.yardstick = dataclasses.replace(bench.yardstick, measured_peak=peak)
    if flops := _yardstick(bench).flops_per_clip:
        what = "operations of a clip's forward pass, from shapes; a step is reckoned at three times that"
        bench.put("ceilings", value(what, flops / 1e9, "GFLOP"))


def _references(bench: Bench) -> None:
    """The released-style loop and the plain path at batch 12."""
    device, batch, config, plain = bench.device, bench.batch, bench.config, Switches.plain()
    host = rates.noise(config, TAXONOMY, batch, "cpu")
    given = [tuple(part.to(device) for part in one) for one in host]
    steps = (lambda few: 2) if bench.smallest else (lambda few: few)
    words = "none, frames from the host"
    _made(
        bench, lambda: rates.released_loop(config, TAXONOMY, device), host, steps(30), "as the released script", words
    )
    _made(bench, lambda: _training(bench, batch, plain), given, steps(40), "plain path", plain)


def _throughput(bench: Bench) -> str | None:
    """The fast path at batch 12; its step is kept for what comes next."""
    given = rates.noise(bench.config, TAXONOMY, bench.batch, bench.device)

    def make() -> TrainingStep:
        bench.fast = _training(bench, bench.batch, _fast(bench))
        return bench.fast

    row = _made(bench, make, given, 2 if bench.smallest else 500, "fast path", _fast(bench))
    if row is None:
        bench.fast = None
        return "failed: the fast path did not run"
    bench.noise_rate = row.clips_per_second
    return None


def _switches(bench: Bench) -> str | None:
    """The fast path with one switch off, where that needs no other compilation."""
    if bench.fast is None:
        return "not run, because the fast path did not run"
    fast, steps = _fast(bench), (lambda few: 2) if bench.smallest else (lambda few: few)
    given = rates.noise(bench.config, TAXONOMY, bench.batch, bench.device)
    for name in ("cuda_graphs", "fused_adam"):
        if getattr(fast, name) and bench.has(10):
            switches = fast.replace(**{name: False})
            make_again = functools.partial(_again, bench, switches)
            _made(bench, make_again, given, steps(200), f"fast, {name} off", switches, alone=False)
    if fast.compiled and bench.has(15):
        switches = fast.replace(compiled=False)
        make = functools.partial(_training, bench, bench.batch, switches)
        _made(bench, make, given, steps(150), "fast, compiled off", switches, alone=False)
    return None


def _profile(bench: Bench) -> str | None:
    """Where the time of the fast step goes, with CUDA graphs and without."""
    if not bench.on_gpu:
        return NO_GPU
    if bench.fast is None:
        return "not run, because the fast path did not run"
    given = rates.noise(bench.config, TAXONOMY, bench.batch, bench.device)
    without = _fast(bench).replace(cuda_graphs=False)
    for path, step in (("fast", bench.fast), ("fast, cuda_graphs off", _again(bench, without))):
        train = rates.on_batches(step)
        row = rates.steady(train, given, 50, label=path, switches="", device=bench.device)
        with profile(activities=[ProfilerActivity.CUDA]) as recorded:
            for number in range(5):
                train(given[number % len(given)])
            torch.cuda.synchronize()
        kernels = [
            (event.name, event.time_range.start, event.time_range.end)
            for event in recorded.events()
            if event.device_type == DeviceType.CUDA and not getattr(event, "is_user_annotation", False)
        ]
        rows = rates.kernel_groups(kernels, 5, 5 * row.ms_per_step)
        bench.put("profile", *({"path": path, "batch": bench.batch} | part for part in rows))
        names: dict[str, float] = {}
        for name, begin, end in kernels:
            names[name] = names.get(name, 0.0) + (end - begin) / 5e3
        longest = sorted(names.items(), key=lambda item: -item[1])[:25]
        bench.put(
            "kernels",
            *(
                {"path": path, "kernel": name[:120], "group": rates.kernel_group(name), "ms_per_step": round(ms, 4)}
                for name, ms in longest
            ),
        )
        times = ", ".join(f"{part['group']} {part['ms_per_step']}" for part in rows)
        bench.say(f"{path}: {times}")
    return None


def _batch_sizes(bench: Bench) -> str | None:
    """The fast path at larger batches; each is compiled anew."""
    bench.fast = None
    wanted = (4,) if bench.smallest else (48, 96, 24, 128)
    for number, batch in enumerate(wanted):
        if not bench.has(COMPILATION):
            return f"not whole, because the time was short: no batch of {', '.join(map(str, wanted[number:]))}"
        rates.tidy(bench.device)
        given = rates.noise(bench.config, TAXONOMY, batch, bench.device, count=2)
        fast = _fast(bench)
        steps = 2 if bench.smallest else max(40, 3000 // batch)
        _made(bench, lambda batch=batch: _training(bench, batch, _fast(bench)), given, steps, "fast path", fast)
    return None


def _ablations(bench: Bench) -> str | None:
    """What memory two settings save; then the switches that are compiled anew, as far as time allows."""
    fast = _fast(bench)
    if bench.on_gpu:
        plain = fast.replace(compiled=False, cuda_graphs=False)
        for label, options in (("", {}), ("recompute, ", {"recompute": True}), ("accumulate=4, ", {"accumulate": 4})):
            given = rates.noise(bench.config, TAXONOMY, 48, bench.device, count=1)
            _made(
                bench, lambda options=options: _training(bench, 48, plain, **options), given, 10,
                f"{label}bf16, not compiled", plain,
            )  # fmt: skip
    given = rates.noise(bench.config, TAXONOMY, bench.batch, bench.device)
    skipped = []
    for name in ("fused_attention", "folded", "bf16"):
        if not getattr(fast, name):
            continue
        if not bench.has(COMPILATION + 15):
            skipped.append(name)
            continue
        switches = fast.replace(**{name: False})
        make, steps = lambda switches=switches: _training(bench, bench.batch, switches), 2 if bench.smallest else 60
        _made(bench, make, given, steps, f"fast, {name} off", switches)
    return f"not whole, because the time was short: {', '.join(skipped)} not measured" if skipped else None


SECTIONS = {
    "correctness": Section(_correctness, ("correctness", "loss_curves"), 40, 110),
    "ceilings": Section(_ceilings, ("ceilings",), 4, 10),
    "references": Section(_references, ("throughput",), 20, 40),
    "throughput": Section(_throughput, ("throughput",), 55, 80),
    "profile": Section(_profile, ("profile", "kernels"), 10, 20),
    "loader": Section(clips.loader, ("loader",), 20, 45),
    "vidtag_training": Section(vidtag.training, ("correctness", "vidtag"), 15, 35),
    "vidtag_features": Section(vidtag.features, ("vidtag",), 15, 35),
    "vidtag_retrieval": Section(vidtag.retrieved, ("vidtag",), 10, 20),
    "switches": Section(_switches, ("throughput",), 15, 30),
    "batch_sizes": Section(_batch_sizes, ("throughput",), 50, 60),
    "training": Section(clips.real_training, ("training", "training_summary"), 35, 75),
    "rendering": Section(clips.rendering, ("rendering",), 10, 30),
    "ablations": Section(_ablations, ("throughput",), 15, 200),
}
"""A name -> a section, in the order in which they run: what counts most comes first."""


def _fast(bench: Bench) -> Switches:
    return Switches.fast(bench.device)


def _training(bench: Bench, batch: int, switches: Switches, **options: object) -> TrainingStep:
    rates.tidy(bench.device)
    return rates.training(bench.config, TAXONOMY, batch, switches, bench.device, **options)


def _again(bench: Bench, switches: Switches) -> TrainingStep:
    """A step with other switches on the model of the fast one, whose compiled losses serve it too."""
    rates.tidy(bench.device)
    model, first = bench.fast.model, bench.fast
    step = TrainingStep(model, first.text, Recipe(batch_size=bench.batch), switches.replace(compiled=False))
    step.losses = first.losses
    return step


def _made(
    bench: Bench,
    make: Callable[[], Callable[..., object]],
    given: list[Batch],
    steps: int,
    label: str,
    switches: Switches | str,
    alone: bool = True,
) -> rates.Row | None:
    """Make a step, measure it, and put its row into the file; None where that failed, which the row then says.

    Args:
        alone: whether no other step keeps memory meanwhile, so that the peak is this one's.
    """
    options = {"label": label, "switches": switches, "device": bench.device, "yardstick": _yardstick(bench)}
    try:
        step = make()
        step = rates.on_batches(step) if isinstance(step, TrainingStep) else step
        row = rates.steady(step, given, steps, warm=1 if bench.smallest else 6, **options)
        if not alone:
            row = dataclasses.replace(row, peak_memory_gb=None, reserved_memory_gb=None)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        bench.put("throughput", {"label": label, "batch": len(given[0][1]), "state": f"failed: {reason}"})
        bench.say(f"{label}: failed: {reason}")
        return None
    bench.put("throughput", {"state": "done"} | dataclasses.asdict(row))
    bench.say(f"{label}, batch {row.batch}: {row.ms_per_step} ms, {row.clips_per_second} clips/s")
    return row


def _yardstick(bench: Bench) -> rates.Yardstick:
    """What rates are compared with; without the operations of a clip where these cannot be counted."""
    if bench.yardstick.flops_per_clip is None:
        known = {"papers_model": not bench.smallest}
        known["datasheet_peak"] = rates.datasheet_peak(torch.cuda.get_device_name()) if bench.on_gpu else None
        try:
            known["flops_per_clip"] = cost.size_of(bench.config, TAXONOMY).flops
        except Exception as error:
            bench.say(f"the operations of a clip cannot be counted ({error})")
        bench.yardstick = dataclasses.replace(bench.yardstick, **known)
    return bench.yardstick
