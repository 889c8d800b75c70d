"""The results behind VidTAG's tables: which run is behind which row, how good its tracks are, and how certain."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from cityguessr.base.errors import CannotRun, InputError, one_of
from cityguessr.evaluation import track_cities
from cityguessr.evaluation.columns import UNSEEN, printed_rows
from cityguessr.evaluation.results import Results, reason
from cityguessr.measures import track_intervals
from cityguessr.measures.tracks import TrackScores, score_tracks
from cityguessr.taxonomy import LEVELS
from cityguessr.training import track_experiments, track_jobs
from cityguessr.training.execution import AUTO, Execution
from cityguessr.training.predictions import Predictions
from cityguessr.training.track_experiments import TrackScale
from cityguessr.training.track_runs import TrackRun

LEVEL = "gps"
"""The level of every number of these tables: a coordinate."""

DIFFERENCES = ("frame_1km", "frame_25km", "video_1km", "dfd")
"""The metrics in which rows are compared with a reference."""

_NOT_PUBLIC = {
    **dict.fromkeys(("planet", "isns", "geodecoder"), "the classes on these data, cells of the map, are not public"),
    **dict.fromkeys(
        ("clip_classification", "dinov2_classification"), "the classes and the coordinate of each are not public"
    ),
}


@dataclasses.dataclass(frozen=True)
class TrackResults:
    """The runs of one of VidTAG's tables.

    Attributes:
        table: its id, as in `track_experiments.TABLES`.
        scale: at which they were run.
        runs: row -> one run per seed.
        missing: row -> why it was not run.
    """

    table: str
    scale: TrackScale
    runs: Mapping[str, tuple[TrackRun, ...]]
    missing: Mapping[str, str]

    @property
    def labels(self) -> dict[str, str]:
        """Row -> label, of the rows that the paper lacks."""
        return {row: label for row, label in _own_labels(self.table).items() if row in {*self.runs, *self.missing}}

    @cached_property
    def scores(self) -> dict[str, tuple[TrackScores, ...]]:
        """Row -> the errors of its answers, one `TrackScores` per seed."""
        found = {}
        for row, runs in self.runs.items():
            kind = track_experiments.TABLES[self.table][row][1]
            given = [run.predictions for run in runs]
            found[row] = tuple(score_tracks(p.by_track(p.true), p.by_track(p.answer(kind))) for p in given)
        return found

    def measured(self) -> dict[str, dict[tuple[str, str], list[float]]]:
        """Row -> (metric, "gps") -> one value per seed; the metrics of `measures.tracks.score_tracks`."""
        return {
            row: {(metric, LEVEL): [score.metrics[metric] for score in scores] for metric in scores[0].metrics}
            for row, scores in self.scores.items()
        }

    def intervals(self) -> dict[tuple[str, str, str], tuple[float, float]]:
        """(row, metric, "gps") -> the 95 % interval over sequences, and over seeds where there are several."""
        return {
            (row, metric, LEVEL): ends
            for row, scores in self.scores.items()
            for metric, ends in track_intervals.intervals(scores).items()
        }

    def differences(self, reference: str = "vidtag") -> pd.DataFrame:
        """How much each row differs from the reference, paired frame by frame or video by video and seed by seed.

        Columns: row, label, metric, difference, low, high (percentage points, or km for "dfd"; 95 % intervals over
        seeds and sequences), p, seed_sd, n_seeds, sequences. Empty where the reference was not run.
        """
        labels, lines = dict(printed_rows(self.table)) | self.labels, []
        for row, scores in self.scores.items() if reference in self.scores else ():
            if row == reference:
                continue
            for metric in DIFFERENCES:
                x = track_intervals.difference(scores, self.scores[reference], metric)
                lines.append((row, labels[row], metric, x.mean, x.low, x.high, x.p, x.seed_sd, x.seeds, x.videos))
        names = ["row", "label", "metric", "difference", "low", "high", "p", "seed_sd", "n_seeds", "sequences"]
        return pd.DataFrame(lines, columns=names)

    @property
    def sizes(self) -> tuple[int, int]:
        """Sequences and frames of validation; zeros where nothing was run."""
        for scores in self.scores.values():
            return len(scores[0].video_km), len(scores[0].frame_km)
        return 0, 0


def collect(
    table: str,
    profile: str | TrackScale = "mini",
    seeds: Sequence[int] = (0,),
    *,
    data_root: str | Path | None = None,
    allow_downloads: bool = False,
    execution: Execution = AUTO,
    cluster: str | None = None,
) -> TrackResults:
    """The runs of a table's rows, trained now where they are not there yet.

    Args:
        data_root, allow_downloads, execution, cluster: as in `track_jobs.ensure_all`.

    A row that cannot be run here, because weights are missing or what it needs is not public, says why, and so do all
    rows of a table about another data set than the profile's. Raises InputError for an unknown table or profile, and
    no seed.
    """
    if table not in track_experiments.TABLES:
        raise one_of("VidTAG table", table, track_experiments.TABLES)
    if not seeds or len(set(seeds)) < len(seeds):
        raise InputError(f"seeds {list(seeds)}: give one or more, each once")
    scale, rows = track_experiments.scale(profile), track_experiments.TABLES[table]
    printed = [row for row, _ in printed_rows(table)]
    missing = {row: _NOT_PUBLIC.get(row, "nothing of it is public") for row in printed if row not in rows}
    if why := track_experiments.unfit(table, scale):
        return TrackResults(table, scale, {}, missing | {row: why for row in printed if row in rows})
    options = {"data_root": data_root, "allow_downloads": allow_downloads, "execution": execution, "cluster": cluster}
    runs, lacking = _trained(table, scale, seeds, **options)
    return TrackResults(table, scale, runs, missing | lacking)


def _trained(
    table: str, scale: TrackScale, seeds: Sequence[int], **options: Any
) -> tuple[dict[str, tuple[TrackRun, ...]], dict[str, str]]:
    """The runs of a table's rows, and why the other rows have none. A row that is not trained has one: seeds agree."""
    rows = {row: track_experiments.get(name) for row, (name, _) in track_experiments.TABLES[table].items()}
    done = track_jobs.ensure_all(list(rows.values()), scale, seeds, **options, report=lambda line: None)
    runs: dict[str, tuple[TrackRun, ...]] = {}
    missing: dict[str, str] = {}
    for row, experiment in rows.items():
        outcome = done[experiment.name]
        if isinstance(outcome, CannotRun):
            missing[row] = reason(outcome)
        else:
            runs[row] = outcome if experiment.trained else outcome[:1]
    return runs, missing


def _own_labels(table: str) -> dict[str, str]:
    """Row -> label, of the rows of a table that the paper lacks."""
    printed, rows = dict(printed_rows(table)), track_experiments.TABLES[table]
    return {
        row: track_experiments.LABELS.get(row) or track_experiments.get(name).label
        for row, (name, _) in rows.items()
        if row not in printed
    }


CITIES = "vidtag_cityguessr68k"
"""VidTAG's table of accuracies by level, on the clips of CityGuessr68k."""


@dataclasses.dataclass(frozen=True)
class CityResults:
    """VidTAG's systems on CityGuessr's clips, beside CityGuessr's own (`results.collect`).

    Attributes:
        beside: the results of the systems of the paper's Table 5, on the same clips.
        runs: row of `CITIES` -> one run per seed.
        missing: row -> why it was not run.
    """

    beside: Results
    runs: Mapping[str, tuple[TrackRun, ...]]
    missing: Mapping[str, str]

    @property
    def clips(self) -> Predictions:
        """The clips of all rows, with their labels and source videos."""
        return next(iter(self.beside.runs.values()))[0].predictions

    @property
    def labels(self) -> dict[str, str]:
        """Row -> label, of the rows that the paper lacks."""
        return self.beside.labels | _own_labels(CITIES)

    def measured(self) -> dict[str, dict[tuple[str, str], list[float]]]:
        """Row -> (metric, level) -> one value per seed, of the rows of both kinds."""
        table = self.beside.measured()
        for row, runs in self.runs.items():
            values = [track_cities.measure(run, self.clips) for run in runs]
            table[row] = {key: [value[key] for value in values] for key in values[0]}
        return table

    def intervals(self) -> dict[tuple[str, str, str], tuple[float, float]]:
        """(row, metric, level) -> the 95 % interval of top-1, over seeds and source videos; rows of both kinds."""
        found = self.beside.intervals()
        for row, runs in self.runs.items():
            lines = track_cities.accuracies(runs, self.clips).set_index(["clips_of", "level"])
            for part, metric in zip(self.clips.parts, ("top1", f"top1{UNSEEN}"), strict=False):
                found |= {(row, metric, level): tuple(lines.loc[(part, level), ["low", "high"]]) for level in LEVELS}
        return found


def collect_cities(
    beside: Results,
    seeds: Sequence[int] = (0,),
    *,
    data_root: str | Path | None = None,
    allow_downloads: bool = False,
    execution: Execution = AUTO,
    cluster: str | None = None,
) -> CityResults:
    """VidTAG's systems on the very clips of some results, trained now where they are not there yet.

    Args:
        beside: from `results.collect("vidtag_cityguessr68k", ...)`, of at least one row that was run.
        data_root, allow_downloads, execution, cluster: as in `track_jobs.ensure_all`.
    """
    rows = track_experiments.TABLES[CITIES]
    if not beside.runs:
        return CityResults(beside, {}, dict.fromkeys(rows, "no system of CityGuessr was run on these clips"))
    scale = track_experiments.CLIPS.get(beside.profile)
    if scale is None:
        return CityResults(beside, {}, dict.fromkeys(rows, f"the profile {beside.profile} has no scale for its clips"))
    options = {"data_root": data_root, "allow_downloads": allow_downloads, "execution": execution, "cluster": cluster}
    return CityResults(beside, *_trained(CITIES, track_experiments.scale(scale), seeds, **options))
