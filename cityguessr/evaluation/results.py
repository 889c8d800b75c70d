"""A table's results: the runs behind its rows, how well each of them does, and how certain the differences are.

One training has validation clips of two kinds. The paper's are *seen*: other clips of their source video are in
training. Accuracies on them have the plain names, and those on videos that were held out entirely end in `_unseen`. If
all clips are of one kind, the plain names count them.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cityguessr import hierarchy
from cityguessr.base import paths
from cityguessr.base.errors import CannotRun, InputError, one_of
from cityguessr.evaluation.columns import REFERENCE, UNSEEN, printed_rows
from cityguessr.evaluation.learning import learned
from cityguessr.measures import metrics
from cityguessr.measures.intervals import Interval
from cityguessr.taxonomy import LEVELS
from cityguessr.training import experiments, jobs, profiles
from cityguessr.training.predictions import PARTS, Predictions
from cityguessr.training.runs import Run


@dataclasses.dataclass(frozen=True)
class Results:
    """The runs of a table.

    Attributes:
        table: its id, as in `experiments.TABLES`.
        profile: the scale at which they were run.
        mode: the mode that was asked for, one of `hierarchy.MODES`.
        modes: row -> the mode that its answers are read in.
        runs: row -> one run per seed.
        missing: row -> why it was not run.
    """

    table: str
    profile: str
    mode: str
    modes: Mapping[str, str]
    runs: Mapping[str, tuple[Run, ...]]
    missing: Mapping[str, str]

    @property
    def labels(self) -> dict[str, str]:
        """Row -> label, of the collected rows that the paper lacks."""
        printed, names = dict(printed_rows(self.table)), experiments.TABLES[self.table]
        return {
            row: experiments.get(name).label for row, name in names.items() if row not in printed and row in self.modes
        }

    def measured(self) -> dict[str, dict[tuple[str, str], list[float]]]:
        """Row -> (metric, level) -> one value per seed; for the metrics see `measure`."""
        table = {}
        for row, runs in self.runs.items():
            values = [measure(run.predictions, self.modes[row]) for run in runs]
            if row in experiments.READINGS.get(self.table, ()):  # such a row is about the answers themselves
                for value, run in zip(values, runs, strict=True):
                    value["conflict_rate", "all"] = _conflict_rate(protocol(run.predictions), self.modes[row])
            table[row] = {key: [value[key] for value in values] for key in values[0]}
        return table

    def top_k(self, k: int = 5, mode: str = "none") -> dict[str, dict[tuple[str, str], list[float]]]:
        """Row -> (metric, level) -> one top-k accuracy per seed, `top5` and where there is one `top5_unseen`.

        By default each level's own k answers are counted.
        """
        table = {}
        for row, runs in self.runs.items():
            values = [_accuracies(run.predictions, mode, k) for run in runs]
            table[row] = {key: [value[key] for value in values] for key in values[0]}
        return table

    def intervals(self) -> dict[tuple[str, str, str], tuple[float, float]]:
        """(row, metric, level) -> the 95 % interval of `top1` and `top1_unseen`, over seeds and source videos.

        In percent, cut to what an accuracy can be; NaN where all clips come from one video.
        """
        found = {}
        for row, runs in self.runs.items():
            for part, metric in zip(_parts(runs), ("top1", f"top1{UNSEEN}"), strict=False):
                ids = runs[0].predictions.part(part).video_ids
                for level, hits in right(runs, self.modes[row], part).items():
                    interval = Interval.over(hits, ids)
                    found[row, metric, level] = tuple(np.clip((interval.low, interval.high), 0, 100).tolist())
        return found

    def differences(self, reference: str = REFERENCE) -> pd.DataFrame:
        """How much better each row is than the reference, clip by clip, with 95 % intervals over seeds and videos.

        Columns: row, label, clips_of ("seen", "unseen", "all"; only "all" where the clips are of one kind), level;
        difference, low, high, in percentage points, NaN for a row that is validated on other clips; p, two-sided;
        seed_sd, standard deviation of the paired differences over seeds; n_seeds, which both have; clips and videos.
        With one seed the interval says nothing about other trainings. The reference itself and rows without runs are
        left out; where the reference has no run, the frame is empty.
        """
        names = ["row", "label", "clips_of", "level", "difference", "low", "high", "p", "seed_sd", "n_seeds"]
        labels, lines = dict(printed_rows(self.table)) | self.labels, []
        for row in self.runs if reference in self.runs else ():
            if row == reference:
                continue
            sides = (self.runs[row], self.modes[row]), (self.runs[reference], self.modes[reference])
            parts = _parts(self.runs[reference])
            for part in parts if parts == ("all",) else PARTS:
                found = compare(*sides, part)
                for level in LEVELS:
                    x = found.get(level)
                    numbers = (x.mean, x.low, x.high, x.p, x.seed_sd, x.seeds) if x else (float("nan"),) * 5 + (0,)
                    sizes = (x.clips, x.videos) if x else (0, 0)
                    lines.append((row, labels[row], part, level, *numbers, *sizes))
        return pd.DataFrame(lines, columns=[*names, "clips", "videos"])

    def learned(self) -> pd.DataFrame:
        """What the scene and the text heads of the rows learned beyond a constant, on all validation clips.

        Columns: row, label, and those of `learned`. A row without such heads has no line.
        """
        labels = dict(printed_rows(self.table)) | self.labels
        frames = [learned(runs).assign(row=row, label=labels[row]) for row, runs in self.runs.items()]
        frame = pd.concat(frames, ignore_index=True)
        return frame[["row", "label", *[name for name in frame.columns if name not in ("row", "label")]]]

    def starts(self) -> dict[str, str]:
        """Row -> the weights that its trainings started from, in words."""
        return {row: start(runs[0].config.pretrained) for row, runs in self.runs.items()}

    def circumstances(self) -> dict[str, tuple[str, ...]]:
        """In which of torch version, device and precision the runs differ, and the values that they have.

        Runs that differ in them differ in rounding, which a training amplifies until they differ as two seeds do; so
        they may stand in one table, which says so. A run that did not record one of them has "not recorded".
        """
        known = [_circumstances(run.provenance) for runs in self.runs.values() for run in runs]
        values = {name: tuple(sorted({run[name] for run in known})) for name in ("torch", "device", "precision")}
        return {name: each for name, each in values.items() if len(each) > 1}


def collect(
    table: str,
    profile: str = "mini",
    seeds: Sequence[int] = (0,),
    *,
    mode: str = "codependent",
    only: Sequence[str] | None = None,
    data_root: str | Path | None = None,
    allow_downloads: bool = False,
    cluster: str | None = None,
) -> Results:
    """The runs of a table's rows, trained now where they are not there yet.

    Args:
        mode: how the four heads' answers are read. The paper names codependent evaluation for its own system and for
            Table 3, and leaves it open for the baselines: here it is one for all. In Table 4 each row has its own, and
            a system that is configured as released is read as its code reads it, "traced", in place of "codependent".
        only: rows to take, all of them when left out.
        data_root, allow_downloads: as in `runs.ensure`.
        cluster: the address of a Dask scheduler to train on; this machine's processors or GPUs otherwise.

    Raises InputError for an unknown table, row or mode, no seed, and runs that do not belong together: of another code,
    of other training settings, or validated on other clips than they should be.
    """
    if table not in experiments.TABLES:
        raise one_of("table", table, experiments.TABLES)
    if mode not in hierarchy.MODES:
        raise one_of("evaluation mode", mode, hierarchy.MODES)
    if not seeds or len(set(seeds)) < len(seeds):
        raise InputError(f"seeds {list(seeds)}: give one or more, each once")
    rows = experiments.TABLES[table]
    if unknown := set(only or ()) - set(rows):
        raise InputError(f"{table} has no row {', '.join(sorted(unknown))}; it has {', '.join(rows)}")
    chosen = {row: name for row, name in rows.items() if only is None or row in only}
    done = jobs.ensure_all(
        list(dict.fromkeys(chosen.values())),
        profile,
        seeds,
        data_root=data_root,
        allow_downloads=allow_downloads,
        cluster=cluster,
    )
    outcome = {row: done[name] for row, name in chosen.items()}
    runs = {row: answer for row, answer in outcome.items() if not isinstance(answer, CannotRun)}
    missing = {row: reason(answer) for row, answer in outcome.items() if isinstance(answer, CannotRun)}
    if not runs:
        raise InputError(f"{table}: none of its rows can be run, the first because {next(iter(missing.values()))}")
    _check_agreement(table, chosen, runs, profiles.get(profile))
    modes = dict.fromkeys(chosen, mode)
    if mode == "codependent":
        modes |= {row: trained[0].config.evaluation for row, trained in runs.items()}
    modes |= {row: own for row, own in experiments.READINGS.get(table, {}).items() if row in chosen}
    return Results(table, profile, mode, modes, runs, missing)


def reason(error: CannotRun) -> str:
    """Why a row was not run, in words that hold on every machine: paths from the project's root on."""
    return str(error).replace(f"{paths.root()}/", "").rstrip(".")


def measure(predictions: Predictions, mode: str | None = None) -> dict[tuple[str, str], float]:
    """How well a run does on its validation split: (metric, level) -> value.

    - `top1` at the four levels, in percent, of clips whose source video is seen in training, and `top1_unseen` of those
      whose is not; where all clips are of one kind, `top1` is theirs, and so is everything below;
    - `conflict_rate` ("all"): how often the four heads' own answers contradict each other, in percent, whatever the
      mode: codependent answers never do. In Table 4, whose rows are modes, it is that of the row's answers;
    - `ece` ("city"): expected calibration error in percent, of the probability with which the city is given: softmax of
      the city's head, or the products of Eq. 5 divided by their sum;
    - `median_km`, `within_25km` ... `within_2500km` ("city"): great-circle error of the predicted city's centre from
      where the clip was filmed; the true city's centre where that is not known.

    Args:
        mode: one of `hierarchy.MODES`; the run's own when left out.
    """
    mode = mode or predictions.mode
    values = _accuracies(predictions, mode)
    predictions = protocol(predictions)
    taxonomy, cities = predictions.taxonomy, predictions.labels["city"]
    values["conflict_rate", "all"] = _conflict_rate(predictions, "none")
    probabilities = hierarchy.probabilities(predictions.logits, taxonomy, mode)["city"]
    values["ece", "city"] = metrics.calibration_error(probabilities, cities)
    places = metrics.clip_places(predictions.places, cities, taxonomy)
    distances = metrics.distances_km(predictions.answers(mode)["city"], places, taxonomy)
    return values | {(name, "city"): value for name, value in metrics.distance_summary(distances).items()}


def _conflict_rate(predictions: Predictions, mode: str) -> float:
    return hierarchy.conflict_rate(predictions.logits, predictions.taxonomy, mode)


def protocol(predictions: Predictions) -> Predictions:
    """The clips that stand for the paper's validation split: those of seen videos, or all where there is one kind."""
    return predictions.part(predictions.parts[0])


def _accuracies(predictions: Predictions, mode: str, k: int = 1) -> dict[tuple[str, str], float]:
    """(metric, level) -> top-k accuracy in percent, of both parts."""
    values = {}
    for part, metric in zip(predictions.parts, (f"top{k}", f"top{k}{UNSEEN}"), strict=False):
        values |= {(metric, level): x for level, x in predictions.part(part).accuracy(mode, k).items()}
    return values


def _parts(runs: Sequence[Run]) -> tuple[str, ...]:
    return runs[0].predictions.parts


def start(pretrained: str | None) -> str:
    """The weights that a training started from, `ModelConfig.pretrained`, in words."""
    if pretrained is None:
        return "random weights"
    return "pretrained on other MiniWorlds" if pretrained.startswith("miniworld/") else pretrained


def right(runs: Sequence[Run], mode: str | None = None, part: str = "all") -> dict[str, Tensor]:
    """Whether each validation clip is right, seed by seed: level -> bool (seeds, N); `mode` as in `measure`.

    Args:
        part: whose clips, one of `predictions.PARTS`.
    """
    seeds = [run.predictions.part(part).right(mode) for run in runs]
    return {level: torch.stack([seed[level] for seed in seeds]) for level in LEVELS}


Answers = tuple[Sequence[Run], str | None]
"""The runs of a system, one per seed, and the mode in which they are read: None for the runs' own."""


def compare(a: Answers, b: Answers, part: str = "all") -> dict[str, Interval]:
    """How much better system a is than b on the same clips: level -> its mean and interval, over seeds and videos.

    The same seed gives both systems the same first weights where shapes agree, and the same order of clips, so that a
    seed of one is paired with the same seed of the other; a seed that only one has is left out. Empty where the two
    were not validated on the same clips, have no seed in common, or there are no clips of that part.

    Args:
        part: whose clips, one of `predictions.PARTS`.
    """
    seeds = [{run.provenance["seed"]: run for run in runs} for runs, _ in (a, b)]
    shared = [seed for seed in seeds[0] if seed in seeds[1]]
    sides = [[known[seed] for seed in shared] for known in seeds]
    if not shared or sides[0][0].predictions.clip_ids != sides[1][0].predictions.clip_ids:
        return {}
    videos = sides[1][0].predictions.part(part).video_ids
    if not videos:
        return {}
    first, second = (right(runs, mode, part) for runs, (_, mode) in zip(sides, (a, b), strict=True))
    return {level: Interval.over(first[level].double() - second[level].double(), videos) for level in LEVELS}


def gain(a: Answers, b: Answers, part: str = "all") -> dict[str, tuple[float, float, float]]:
    """`compare` as numbers alone: level -> (difference, low, high) in percentage points, NaN where there are none."""
    found = compare(a, b, part)
    return {
        level: (found[level].mean, found[level].low, found[level].high) if found else (float("nan"),) * 3
        for level in LEVELS
    }


def _circumstances(provenance: Mapping[str, Any]) -> dict[str, str]:
    """Torch version, device and precision of a run; of one that did not record them, what follows from the rest."""
    if "execution" in provenance:
        recorded = provenance["execution"]
    else:
        recorded = {"torch": provenance.get("versions", {}).get("torch")}
        if provenance.get("hardware", {}).get("gpu", "unknown") is None:  # without a GPU there was one way
            recorded |= {"device": "cpu", "precision": "fp32"}
    texts = {name: recorded.get(name) or "not recorded" for name in ("torch", "device", "precision")}
    return texts | {"torch": texts["torch"].split("+")[0]}  # the same version built for other devices is the same


def _check_agreement(
    table: str, names: Mapping[str, str], runs: Mapping[str, tuple[Run, ...]], profile: profiles.Profile
) -> None:
    """Refuse to put runs side by side that were not made by one code, with one protocol, on the same clips."""
    first: dict[object, tuple[str, object]] = {}
    for row, seeds in runs.items():
        system = experiments.get(names[row])
        dataset, recipe = system.dataset, system.recipe
        named = ("" if recipe == "paper" else f" ({recipe})") + (f" {dict(system.weights)}" if system.weights else "")
        how = "" if system.base == "described" else f", as {system.base}"  # other frames: other clips may lack some
        for run in seeds:
            clips = run.predictions.clip_ids, run.predictions.labels["city"].tolist()
            facts = {
                f"code ({run.config.selection})": run.provenance["code"],
                f"training settings{named}": run.provenance["training"],
                f"validation clips of {dataset}, split by {run.config.split}{how}": clips,
            }
            for what, value in facts.items():
                there, known = first.setdefault(what, (str(run.folder), value))
                if value != known:
                    raise InputError(
                        f"{table}, profile {profile.name}: {run.folder} and {there} differ in their {what}; remove the "
                        "older one and run the table again"
                    )
