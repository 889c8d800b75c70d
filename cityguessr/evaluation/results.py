"""A table's results: the runs behind its rows, what each of them is worth, and how sure the differences are."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cityguessr import hierarchy, paper
from cityguessr.base import paths
from cityguessr.base.errors import CannotRun, InputError
from cityguessr.measures import metrics
from cityguessr.taxonomy import LEVELS
from cityguessr.training import experiments, jobs, profiles
from cityguessr.training.runs import Run

if TYPE_CHECKING:
    import pandas as pd

REFERENCE = "cityguessr"  # the full model, which other rows are compared with


@dataclasses.dataclass(frozen=True)
class Results:
    """The runs of a table.

    Attributes:
        table: its id, as in `experiments.TABLES`.
        profile: the scale at which they were run.
        modes: row -> how its answers are read, one of `hierarchy.MODES`.
        runs: row -> a run a seed.
        missing: row -> why it was not run.
    """

    table: str
    profile: str
    modes: Mapping[str, str]
    runs: Mapping[str, tuple[Run, ...]]
    missing: Mapping[str, str]

    @property
    def labels(self) -> dict[str, str]:
        """Row -> label, of the rows that the paper lacks."""
        printed = {row for row, _ in paper.rows(self.table)} if self.table in paper.TITLES else set()
        names = experiments.TABLES[self.table]
        return {row: experiments.get(name).label for row, name in names.items() if row not in printed}

    def measured(self) -> dict[str, dict[tuple[str, str], list[float]]]:
        """Row -> (metric, level) -> a value a seed, as `tables.build` takes it; for the metrics see `measure`."""
        found = {}
        for row, runs in self.runs.items():
            values = [measure(run, self.modes[row]) for run in runs]
            if self.table == "table4":  # its rows are about the answers themselves
                rates = [_conflicts(run, self.modes[row]) for run in runs]
                values = [value | {("conflict_rate", "all"): rate} for value, rate in zip(values, rates, strict=True)]
            found[row] = {key: [value[key] for value in values] for key in values[0]}
        return found

    def hits(self, row: str) -> dict[str, Tensor]:
        """Whether each validation clip is right: level -> bool (seeds, N)."""
        return hits(self.runs[row], self.modes[row])

    def intervals(self) -> dict[tuple[str, str], tuple[float, float]]:
        """(row, level) -> the 95 % interval of the top-1 accuracy over source videos, in percent."""
        found = {}
        for row, runs in self.runs.items():
            videos = runs[0].predictions().video_ids
            for level, right in self.hits(row).items():
                found[row, level] = metrics.bootstrap(right, videos)[1:]
        return found

    def differences(self, reference: str = REFERENCE) -> "pd.DataFrame":
        """How much better each row is than the reference, clip by clip, with 95 % intervals over source videos.

        Columns: row, label, level, difference, low, high, in percentage points, NaN for a row that is validated on
        other clips, as one split by source video is; clips and videos, how many of them the reference was validated on.
        The reference itself and rows without runs are left out; where the reference has no run, the frame is empty.
        """
        import pandas as pd

        columns = ["row", "label", "level", "difference", "low", "high"]
        if reference not in self.runs:
            return pd.DataFrame(columns=[*columns, "clips", "videos"])
        labels = (dict(paper.rows(self.table)) if self.table in paper.TITLES else {}) | self.labels
        lines = []
        for row in self.runs:
            if row != reference:
                gains = gain((self.runs[row], self.modes[row]), (self.runs[reference], self.modes[reference]))
                lines += [(row, labels[row], level, *gains[level]) for level in LEVELS]
        frame = pd.DataFrame(lines, columns=columns)
        said = self.runs[reference][0].predictions()
        return frame.assign(clips=len(said.clip_ids), videos=len(set(said.video_ids)))


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
            Table 3, and leaves it open for the baselines: here it is one for all. In Table 4 each row has its own.
        only: rows to take, all of them when left out.
        data_root, allow_downloads: as in `runs.ensure`.
        cluster: the address of a Dask scheduler to train on; this machine's processors or GPUs otherwise.

    Raises:
        InputError: for an unknown table or row, no seed, and runs that do not belong together: of another code, of
            other training settings, or validated on other clips than they should be.
    """
    if table not in experiments.TABLES:
        raise InputError(f"no table {table!r}; there are {', '.join(experiments.TABLES)}")
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
    found = {row: done[name] for row, name in chosen.items()}
    runs = {row: answer for row, answer in found.items() if not isinstance(answer, CannotRun)}
    if not runs:
        raise InputError(
            f"{table}: no row of it can be run here, the first because {reason(next(iter(found.values())))}"
        )
    _check_agreement(table, chosen, runs, profiles.get(profile))
    return Results(
        table,
        profile,
        {row: row if table == "table4" else mode for row in chosen},
        runs,
        {row: reason(answer) for row, answer in found.items() if isinstance(answer, CannotRun)},
    )


def reason(error: CannotRun) -> str:
    """Why a row was not run, in words that hold on every machine: paths from the project's root on."""
    return str(error).replace(f"{paths.root()}/", "").rstrip(".")


def measure(run: Run, mode: str = "codependent") -> dict[tuple[str, str], float]:
    """What a run is worth on its validation split: (metric, level) -> value.

    - `top1` at the four levels, in percent;
    - `conflict_rate` ("all"): how often the four heads' own answers are no path in the tree, in percent, whatever the
      mode: codependent answers never conflict. In Table 4, whose rows are modes, it is that of the row's answers;
    - `ece` ("city"): expected calibration error in percent, of the probability with which the city is given: softmax of
      the city's head, or the products of Eq. 5 divided by their sum;
    - `median_km`, `within_25km` ... `within_2500km` ("city"): great-circle error of the predicted city's centre from
      where the clip was filmed; the true city's centre where that is not known.
    """
    said, taxonomy, products = run.predictions(), run.taxonomy, run.config.products
    found = {
        ("top1", level): value
        for level, value in hierarchy.accuracy(said.logits, said.labels, taxonomy, mode, products=products).items()
    }
    found["conflict_rate", "all"] = _conflicts(run, "none")
    multiplied = mode == "independent" or (mode == "codependent" and products)
    scores = hierarchy.path_scores(said.logits, taxonomy) if multiplied else said.logits
    found["ece", "city"] = metrics.calibration_error(scores["city"].softmax(dim=1), said.labels["city"])
    cities = hierarchy.predict(said.logits, taxonomy, mode, products)["city"]
    places = metrics.clip_places(said.places, said.labels["city"], taxonomy)
    summary = metrics.distance_summary(metrics.distances_km(cities, places, taxonomy))
    return found | {(name, "city"): value for name, value in summary.items()}


def _conflicts(run: Run, mode: str) -> float:
    return hierarchy.conflict_rate(run.predictions().logits, run.taxonomy, mode)


def hits(runs: Sequence[Run], mode: str = "codependent", products: bool | None = None) -> dict[str, Tensor]:
    """Whether each validation clip is right, seed by seed: level -> bool (seeds, N).

    `products` says whether codependent answers use the products of Eq. 5; by default as the runs' configuration does.
    """
    right: dict[str, list[Tensor]] = {level: [] for level in LEVELS}
    for run in runs:
        said = run.predictions()
        multiply = run.config.products if products is None else products
        answers = hierarchy.predict(said.logits, run.taxonomy, mode, multiply)
        for level in LEVELS:
            right[level].append(answers[level] == said.labels[level])
    return {level: torch.stack(seeds) for level, seeds in right.items()}


Answers = tuple[Sequence[Run], str]
"""The runs of a system, one a seed, and the mode in which they are read."""


def gain(a: Answers, b: Answers) -> dict[str, tuple[float, float, float]]:
    """How much better system a is than b on the same clips: level -> (difference, low, high) in percentage points.

    The interval is that of `measures.paired_bootstrap`; NaN where the two were not validated on the same clips.
    """
    said = [runs[0].predictions() for runs, _ in (a, b)]
    if said[0].clip_ids != said[1].clip_ids:
        return dict.fromkeys(LEVELS, (float("nan"),) * 3)
    right = [hits(*answers) for answers in (a, b)]
    return {level: metrics.paired_bootstrap(right[0][level], right[1][level], said[0].video_ids) for level in LEVELS}


def _check_agreement(
    table: str, names: Mapping[str, str], runs: Mapping[str, tuple[Run, ...]], profile: profiles.Profile
) -> None:
    """Refuse to put runs side by side that were not made by one code, with one protocol, on the same clips."""
    first: dict[object, tuple[str, object]] = {}
    for row, seeds in runs.items():
        dataset = experiments.get(names[row]).dataset
        for run in seeds:
            said = run.predictions()
            facts = {
                f"code ({run.config.selection})": run.provenance["code"],
                "training settings": run.provenance["training"],
                f"validation clips of {dataset}, split by {run.config.split}": (
                    said.clip_ids,
                    said.labels["city"].tolist(),
                ),
            }
            for what, value in facts.items():
                there, known = first.setdefault(what, (str(run.folder), value))
                if value != known:
                    raise InputError(
                        f"{table}, profile {profile.name}: {run.folder} and {there} differ in their {what}; remove the "
                        "older one and run the table again"
                    )
