"""What each training of the paper's tables takes: operations, hours of a GPU, memory, and the command."""

from __future__ import annotations

import functools

import pandas as pd

from cityguessr import paper
from cityguessr.config import ModelConfig
from cityguessr.speed import cost, memory, records
from cityguessr.speed.rates import BACKWARD
from cityguessr.speed.records import FAST, GpuResults
from cityguessr.taxonomy import Taxonomy
from cityguessr.training import experiments, profiles
from cityguessr.training.experiments import Experiment

NOT_MEASURED = "not measured"

_SPLIT = {"cityguessr68k": "cityguessr68k", "msls": "msls_filtered"}  # data set -> what `paper.dataset` calls its split
_MEASURED_MODEL = ModelConfig(pretrained=None, text_encoder="minilm")  # `check` measures the speed of this one


def training_clips(dataset: str) -> int:
    """Clips of the paper's training split of a data set: 54,614 of CityGuessr68k."""
    counts = paper.dataset()
    chosen = (counts["where"] == "split") & (counts["dataset"] == _SPLIT[dataset]) & (counts["quantity"] == "train")
    return int(counts.loc[chosen, "value"].iloc[0])


def operations(experiment: Experiment) -> float:
    """Floating-point operations of a whole training: forward and backward of every clip in every epoch."""
    config = experiment.config(_profile(experiment))
    return float(BACKWARD * _forward(memory.same_shapes(config))) * training_clips(experiment.dataset) * config.epochs


def hours(experiment: Experiment, results: GpuResults) -> tuple[float, bool]:
    """Hours that a training takes on a GPU, and whether the speed of this very model was measured on it.

    Of another model it is computed from its operations, at the operations per second of the measured one. That assumes
    that the GPU never waits for a batch, and that its products use the GPU as well.
    """
    fast = results.way(FAST)
    config = experiment.config(_profile(experiment))
    if config.replace(pretrained=None, text_encoder=_MEASURED_MODEL.text_encoder) == _MEASURED_MODEL:
        clips = training_clips(experiment.dataset) * config.epochs
        return clips / fast["clips_per_second"] / 3600, True
    return operations(experiment) / (fast["tflops"] * 1e12) / 3600, False


def table(results: GpuResults | None = None) -> pd.DataFrame:
    """One row per training of the paper's tables, in the order in which these first need it.

    Two experiments that are one model are trained once, so they are one row.

    Args:
        results: of a GPU; without them hours are NaN.

    Returns the columns experiment, system, tables, paper (top-1 at the city, %; several where tables print several),
    petaflops (operations of the training / 1e15), hours, measured (whether the hours are), gigabytes.
    """
    printed = paper.results()
    printed = printed[(printed["metric"] == "top1") & (printed["level"] == "city")]
    values = printed.set_index(["table", "row"])["value"]
    labels: dict[str, str] = {}
    places: dict[str, dict[str, list[float]]] = {}
    for number, rows in experiments.TABLES.items():
        for row, name in rows.items():
            reading = experiments.READINGS.get(number, {}).get(row, "codependent")
            if number.startswith("vidtag") or (number, row) not in values.index or reading != "codependent":
                continue
            first = experiments.canonical(name, _profile(experiments.get(name)))
            labels.setdefault(first.name, first.label)
            places.setdefault(first.name, {}).setdefault(_short(number), []).append(values[number, row])
    lines = []
    for name, printed_in in places.items():
        experiment = experiments.get(name)
        took, measured = (float("nan"), False) if results is None else hours(experiment, results)
        lines.append(
            {
                "experiment": name,
                "system": labels[name],
                "tables": ", ".join(printed_in),
                "paper": ", ".join(dict.fromkeys(f"{v:.1f}" for values in printed_in.values() for v in values)),
                "petaflops": operations(experiment) / 1e15,
                "hours": took,
                "measured": measured,
                "gigabytes": memory.needed(experiment.config(_profile(experiment))),
            }
        )
    return pd.DataFrame(lines)


def markdown(results: GpuResults | None = None) -> str:
    """The table of recipes as notebooks/guide/gpu.md prints it.

    Args:
        results: of a GPU; the newest of `figures/gpu` when left out.
    """
    results = results or records.latest()
    heading = "GPU hours" if results is None else f"GPU hours, {results.gpu}"
    rows = [f"| system | tables | command | paper, city (%) | operations | {heading} | memory |"]
    rows.append("|---|---|---|--:|--:|--:|--:|")
    for line in table(results).itertuples():
        known = NOT_MEASURED if results is None else f"{'' if line.measured else '~'}{line.hours:.2f}"
        variable = "$TRAIN_MSLS" if experiments.get(line.experiment).dataset == "msls" else "$TRAIN"
        rows.append(
            f"| {line.system} | {line.tables} | `{variable} {line.experiment}` | {line.paper} | "
            f"{line.petaflops:,.0f}e15 | {known} | {line.gigabytes:.1f} GB |"
        )
    return "\n".join(rows)


@functools.lru_cache
def _forward(config: ModelConfig) -> int:
    return cost.size_of(config, Taxonomy.cityguessr68k()).flops


def _profile(experiment: Experiment) -> profiles.Profile:
    return profiles.get("msls" if experiment.dataset == "msls" else profiles.PAPER)


def _short(table: str) -> str:
    """`table_s1` -> S1, `table3` -> 3."""
    return table.removeprefix("table").lstrip("_").upper()
