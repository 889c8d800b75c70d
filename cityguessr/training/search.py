"""A recorded search for a better recipe, at the compute of the paper's.

    python -m cityguessr.training.search --trials 24 --processes 2 --out figures/search/mini.csv

Trial 0 is the paper's recipe at the profile's scale; every other one is drawn at random from `SPACE`, by its number
alone. All are trained for the same epochs on the same batches and compared on whole source videos that are held out of
the training split, or on single clips of it (`--held-out clip`), as the paper splits. The validation split, on which
tables report, is not looked at. The best few and trial 0 are then trained with further seeds, and the mean over the
seeds decides, for the best of many single results is a lucky one.

The record is a CSV file with one row per training, written as each finishes. Run again, it goes on where it was left.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import hashlib
import math
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from cityguessr.base import threads
from cityguessr.base.errors import InputError, one_of
from cityguessr.base.files import write_csv
from cityguessr.base.tables import read_rows
from cityguessr.data.clips import ClipDataset, PreparedClips
from cityguessr.data.splits import by_video
from cityguessr.taxonomy import LEVELS
from cityguessr.training import executors, runs
from cityguessr.training.execution import AUTO, DEVICES, Execution
from cityguessr.training.loop import train
from cityguessr.training.profiles import Profile
from cityguessr.training.recipe import Recipe
from cityguessr.training.runs import Plan

HELD_OUT = ("video", "clip")

Draw = Callable[[random.Random], object]


def _among(*values: object) -> Draw:
    return lambda dice: dice.choice(values)


def _between(low: float, high: float) -> Draw:
    """A number of two digits, drawn evenly on a logarithmic scale."""
    return lambda dice: float(f"{math.exp(dice.uniform(math.log(low), math.log(high))):.1e}")


SPACE: dict[str, Draw] = {
    "learning_rate": _between(0.25, 4.0),  # times the paper's recipe's
    "weight_decay": _among(0.0, 0.01, 0.05, 0.2),
    "layer_decay": _among(1.0, 0.9, 0.75),
    "schedule": _among("cosine", "cosine", "constant"),
    "warmup_epochs": _among(0.5, 1.0, 2.0),
    "scene_weight": _among(0.3, 1.0, 3.0),
    "text_weight": _among(0.3, 1.0, 3.0),
    "label_smoothing": _among(0.0, 0.1, 0.2),
    "clip_gradients": _among(0.0, 1.0),
    "average": _among(0.0, 0.9, 0.98),
    "crop": _among(0.0, 0.15, 0.3),
    "colour": _among(0.0, 0.2),
    "flip": _among(False, False, True),
}
"""Field of `Recipe` -> how it is drawn. The optimizer is AdamW, which without weight decay is Adam."""

SCORE = "mean"
"""The column that decides: the mean of the four levels' accuracies (%), steadier than that of the cities alone."""


def drawn(trial: int, paper: Recipe, seed: int = 0) -> Recipe:
    """The recipe of a trial, from its number and the seed of the search alone; trial 0 is the paper's."""
    if trial == 0:
        return paper
    dice = random.Random(f"{seed} {trial}")
    values = {name: draw(dice) for name, draw in SPACE.items()}
    values["learning_rate"] = float(f"{paper.learning_rate * values['learning_rate']:.2g}")
    return Recipe(optimizer="adamw", batch_size=paper.batch_size, **values)


def held_out(clips: ClipDataset, by: str = "video") -> tuple[ClipDataset, ClipDataset]:
    """The training split in two: what a trial is trained on, and what it is compared on.

    Args:
        by: "video" holds out whole source videos, as `data.splits` does; "clip" a fifth of the clips, by the hashes of
            their names.

    Raises InputError for another `by`, and where source videos are not known.
    """
    if by not in HELD_OUT:
        raise one_of("way to hold out", by, HELD_OUT)
    if by == "video":
        out = by_video(clips.video_ids, clips.labels["city"].tolist())
    else:
        out = np.array([int(hashlib.sha256(name.encode()).hexdigest(), 16) % 5 == 0 for name in clips.clip_ids])
    return clips.take((~out).nonzero()[0]), clips.take(out.nonzero()[0])


@dataclasses.dataclass(frozen=True)
class Trial:
    """One training of the search, small enough to be sent to another process.

    Attributes:
        plan: of the experiment by the paper's recipe: model, clips and text.
        by: as in `held_out`.
    """

    number: int
    seed: int
    recipe: Recipe
    plan: Plan
    by: str = "video"

    def __str__(self) -> str:
        return f"trial {self.number}, seed {self.seed}"

    def train(self) -> dict[str, object]:
        """The row of this trial in the record, but for what all rows share."""
        plan, start = self.plan, time.perf_counter()
        kept, out = _parts(plan.clips, plan.config.split, self.by)
        profile = dataclasses.replace(plan.profile, recipe=self.recipe)
        arguments = plan.config, kept.taxonomy, kept, out, plan.text, profile, self.seed
        try:
            with threads.limited(profile.threads):
                last = train(*arguments, execution=plan.execution, allow_downloads=plan.allow_downloads).log[-1]
        except InputError as error:
            if "not finite" not in str(error):
                raise
            last = {"loss": math.nan, **{f"val_{level}": 0.0 for level in LEVELS}}  # a result, too: it cannot be used
        row = {"trial": self.number, "seed": self.seed} | {level: round(last[f"val_{level}"], 4) for level in LEVELS}
        row |= {SCORE: round(statistics.fmean(row[level] for level in LEVELS), 4)}
        row |= {"loss": round(last["loss"], 5), "clips_trained": len(kept), "clips_held_out": len(out)}
        return row | {"seconds": round(time.perf_counter() - start, 2)}


@functools.lru_cache(maxsize=1)
def _parts(folder: Path, split: str, by: str) -> tuple[ClipDataset, ClipDataset]:
    """`held_out` of a prepared set; a process that does several trials decodes its frames once."""
    return held_out(PreparedClips.load(folder).split("train", split), by)


class Record:
    """The CSV file of a search: one row per training, with all that its result depends on.

    Args:
        shared: what all rows have in common.

    Raises InputError for a file that is none, or of another search.
    """

    def __init__(self, path: Path, shared: dict[str, str]) -> None:
        self.path, self.shared = path, shared
        self.rows: dict[tuple[int, int], dict[str, object]] = {}
        for line, row in read_rows(path, _COLUMNS) if path.is_file() else ():
            for name, value in shared.items():
                if row[name] != value:
                    raise InputError(
                        f"{path}, line {line}: {name} is {row[name]}, and {value} now; results of the two cannot be "
                        "compared: give another file as --out, or delete this one"
                    )
            self.rows[int(row["trial"]), int(row["seed"])] = row

    def add(self, trial: Trial, row: dict[str, object]) -> None:
        """Add the row of a trial, and write the file anew, in the order of trials and seeds."""
        recipe = dataclasses.asdict(trial.recipe)
        self.rows[trial.number, trial.seed] = row | recipe | self.shared
        rows = [self.rows[key] for key in sorted(self.rows)]
        write_csv(self.path, [_COLUMNS, *([row[name] for name in _COLUMNS] for row in rows)])

    def score(self, trial: int) -> tuple[float, int]:
        """The mean score of a trial over its seeds, and how many these are."""
        scores = [float(row[SCORE]) for (number, _), row in self.rows.items() if number == trial]
        return statistics.fmean(scores), len(scores)

    def ranking(self) -> list[int]:
        """The trials, the one of the highest mean score first."""
        return sorted({number for number, _ in self.rows}, key=lambda trial: (-self.score(trial)[0], trial))


_SHARED = ("experiment", "profile", "held_out", "search_seed", "epochs", "code", "data", "torch", "device")
_COLUMNS = ("trial", "seed", SCORE, *LEVELS, "loss", "clips_trained", "clips_held_out", "seconds")
_COLUMNS += (*(field.name for field in dataclasses.fields(Recipe)), *_SHARED)


def search(
    experiment: str,
    profile: str | Profile,
    trials: int,
    out: Path,
    *,
    data_root: str | Path | None = None,
    by: str = "video",
    finalists: int = 4,
    seeds: Sequence[int] = (0, 1, 2),
    search_seed: int = 0,
    processes: int = 1,
    execution: Execution = AUTO,
    report: Callable[[str], None] = print,
) -> Recipe:
    """The best recipe that was found, with every trial in a record.

    Args:
        trials: recipes that are tried with the first seed, the paper's among them.
        out: the record, a CSV file; what it has is not trained again.
        data_root: the real data set, for a profile that reads one.
        by: as in `held_out`.
        finalists: how many of the best are trained with the other seeds, besides the paper's.
        processes: trainings at a time.

    Raises InputError for a record of another search, and for data whose source videos are not known.
    """
    if trials < 2 or finalists < 1 or not seeds:
        raise InputError(f"{trials} trials, {finalists} finalists, seeds {list(seeds)}: at least 2, 1 and one seed")
    plan = runs.plan(experiment, profile, data_root=data_root, execution=execution)
    paper, described = plan.profile.recipe, plan.execution.described()
    shared = {"experiment": plan.experiment.name, "profile": plan.profile.name, "search_seed": search_seed}
    shared |= {"held_out": by, "epochs": plan.config.epochs}
    shared |= {name: plan.identity[name] for name in ("code", "data")}
    shared |= {name: described[name] for name in ("torch", "device")}
    logs = plan.root / "runs" / "search"
    record = Record(out, {name: str(shared[name]) for name in _SHARED})

    def carry_out(numbers: Iterable[int], seeds: Sequence[int]) -> None:
        todo = [
            Trial(number, seed, drawn(number, paper, search_seed), plan, by)
            for seed in seeds
            for number in numbers
            if (number, seed) not in record.rows
        ]
        by_name = {str(trial): trial for trial in todo}
        tasks = [executors.Task(name, trial.train, str(logs / f"{name}.log")) for name, trial in by_name.items()]
        if processes > 1:
            done = executors.in_processes(tasks, processes, plan.execution.device, f"finished trials are in {out}")
        else:
            done = executors.in_this_process(tasks)
        for name, row in done:
            record.add(by_name[name], row)
            report(f"{name}: {row[SCORE]:.2f} % in {row['seconds']:.0f} s ({len(record.rows)} trainings)")

    carry_out(range(trials), seeds[:1])
    carry_out(dict.fromkeys([0, *record.ranking()[:finalists]]), seeds[1:])
    complete = [number for number in record.ranking() if record.score(number)[1] == len(seeds)]
    best = drawn(complete[0], paper, search_seed)
    for number in complete:
        report(f"trial {number}: {record.score(number)[0]:.2f} %, over {len(seeds)} seeds")
    report(f"best: trial {complete[0]}, {best}")
    return best


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; see the module's docstring. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m cityguessr.training.search", description="Search for a recipe; every trial is recorded."
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the record, a CSV file")
    parser.add_argument("--experiment", default="cityguessr", help="what is trained")
    parser.add_argument("--profile", default="mini", help="scale and data")
    parser.add_argument("--data-root", metavar="FOLDER", help="the real data set, for a profile that reads one")
    parser.add_argument("--held-out", default="video", choices=HELD_OUT, help="what trials are compared on")
    parser.add_argument("--trials", type=int, default=24, help="recipes that are tried with the first seed")
    parser.add_argument("--finalists", type=int, default=4, help="the best of them are tried with the other seeds")
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds that makes")
    parser.add_argument("--processes", type=int, default=1, help="trainings at a time")
    parser.add_argument("--device", default="auto", choices=DEVICES)
    options = parser.parse_args(arguments)
    try:
        search(
            options.experiment,
            options.profile,
            options.trials,
            options.out,
            data_root=options.data_root,
            by=options.held_out,
            finalists=options.finalists,
            seeds=range(options.seeds),
            processes=options.processes,
            execution=Execution(options.device),
        )
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
