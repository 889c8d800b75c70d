"""VidTAG's tables: errors of coordinates, the paper's number beside the measured one, with floors and ceiling."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import pandas as pd
from pandas.io.formats.style import Styler

from cityguessr.base import paths
from cityguessr.evaluation.columns import printed_rows, title
from cityguessr.evaluation.track_results import DIFFERENCES, CityResults, TrackResults
from cityguessr.measures.intervals import ONE_SEED
from cityguessr.tables.certainty import seeds_in_words
from cityguessr.tables.formats import Cell, Grid, Layout
from cityguessr.tables.table import Table, beside_paper
from cityguessr.training.track_experiments import UNRIVALLED
from cityguessr.vidtag.encoders import ENCODERS

METRICS = {
    f"{who}_{km}": (f"{name} within (%)" if "median" not in km else f"{name} (km)", heading)
    for who, name in (("frame", "Frames"), ("video", "Videos"))
    for km, heading in {
        "0.5km": "0.5 km",
        "1km": "1 km",
        "5km": "5 km",
        "25km": "25 km",
        "median_km": "median",
    }.items()
} | {
    "dfd": ("Fréchet distance (km)", "mean"),
    "dfd_median": ("Fréchet distance (km)", "median"),
    "mrd": ("Tracks (km)", "range difference"),
}
"""Metric id -> heading above its column and heading."""

BLOCKS = {
    "": [name for name in METRICS if name.startswith("frame")],
    "Videos": [name for name in METRICS if name.startswith("video")],
    "Shape of the tracks": ["dfd", "dfd_median", "mrd"],
}
_TEXTS = {
    "Videos": "A video's answer is that of the frame nearest to the centroid of its answers; its place, the mean of "
    "its coordinates.",
    "Shape of the tracks": "Fréchet: the discrete Fréchet distance, a mean that a few tracks with a frame on another "
    "continent decide; the paper prints no median. Range difference: how much longer or shorter a track is, north to "
    "south and west to east; a single point's is the extent of the true track.",
}
_CERTAIN = ("frame_1km", "frame_25km", "frame_median_km", "video_1km", "dfd", "dfd_median")
"""The metrics whose intervals a table shows."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class TrackTable:
    """One of VidTAG's tables beside what was measured: it shows itself in a notebook and writes itself.

    Attributes:
        results: the runs behind it.
        caption: what it shows; a note on how far the profile's numbers go is added to it.
        reference: the row that the others are compared with.
    """

    results: TrackResults
    caption: str = ""
    reference: str = "vidtag"

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One number per line, in the columns of `evaluation.columns.COLUMNS`."""
        found = self.results
        return beside_paper(found.table, found.measured(), found.scale.profile, found.missing, found.labels)

    @cached_property
    def intervals(self) -> dict[tuple[str, str, str], tuple[float, float]]:
        """(row, metric, "gps") -> the 95 % interval."""
        return self.results.intervals()

    @cached_property
    def differences(self) -> pd.DataFrame:
        """As from `TrackResults.differences`."""
        return self.results.differences(self.reference)

    @cached_property
    def layout(self) -> Layout:
        """Its blocks and cells."""
        return lay_out(self.frame, self.results, self.caption, self.intervals, self.differences, self.reference)

    def _repr_html_(self) -> str:
        return self.layout._repr_html_()

    def __repr__(self) -> str:
        return repr(self.layout)

    def write(self, folder: Path | None = None) -> list[Path]:
        """Write `tables/<table>.csv` (numbers with their intervals), `.md`, `.tex`, `<table>_differences.csv`.

        `folder` replaces `tables` in `paths.figures`. Returns the paths. Raises InputError where it cannot.
        """
        target = folder or paths.figures(self.results.scale.profile) / "tables"
        ends = [self.intervals.get(key, (math.nan,) * 2) for key in zip(*(self.frame[c] for c in _KEY), strict=True)]
        low, high = zip(*ends, strict=True)
        frame = self.frame.assign(low=low, high=high)
        return self.layout.write(target, self.results.table, frame, self.differences if len(self.differences) else None)


_KEY = ("row", "metric", "level")


def number(value: float, metric: str, spread: float = math.nan, width: float = math.nan) -> str:
    """A value as these tables print it, with ± its spread: percent with one decimal, km with at most two.

    Of a distance no more digits are printed than its spread leaves, which is printed with two.

    Args:
        width: how uncertain the value is, in place of a spread that is not printed: half an interval.
    """
    digits, width = _digits(value, metric), spread if math.isnan(width) else width
    if _in_km(metric) and width > 1e-9 * abs(value):  # an interval of no width differs from zero by rounding alone
        digits = min(2, 1 - math.floor(math.log10(width)))
    words = [f"{round(x, digits) + 0:,.{max(digits, 0)}f}" for x in (value, spread) if not math.isnan(x)]
    return " ± ".join(words)


def of_interval(value: float, low: float, high: float, metric: str) -> str:
    """A value, or an end, of the interval from `low` to `high` as these tables print it.

    The lower end of a lopsided interval may be smaller than the interval is wide, and so may the value: they keep their
    own first two digits, for no distance is 0.
    """
    return number(value, metric, width=min((high - low) / 2, value))


def words(metric: str) -> str:
    """A metric as a heading: "Frames within 1 km (%)", "Fréchet distance, median (km)"."""
    above, heading = METRICS[metric]
    what, unit = above.rsplit(" ", 1)
    return f"{what}{' ' if what.endswith('within') else ', '}{heading} {unit}"


def measures(frame: pd.DataFrame) -> Styler:
    """Systems by metrics, as a page shows them that looks at one training: headings in words, the tables' digits.

    Other columns than metrics keep their names and have one decimal.
    """
    formats = {words(m): functools.partial(number, metric=m) for m in frame.columns if m in METRICS}
    formats |= {name: "{:,.1f}" for name in frame.columns if name not in METRICS}
    return frame.rename(columns=lambda m: words(m) if m in METRICS else m).style.format(formats, na_rep="–")


def _in_km(metric: str) -> bool:
    return not metric.endswith("km") or "median" in metric


def _digits(value: float, metric: str) -> int:
    return 1 if not _in_km(metric) else 2 if abs(value) < 10 else int(abs(value) < 100)


def lay_out(
    frame: pd.DataFrame,
    results: TrackResults,
    caption: str,
    intervals: Mapping[tuple[str, str, str], tuple[float, float]],
    differences: pd.DataFrame,
    reference: str,
) -> Layout:
    """One of VidTAG's tables laid out; see `TrackTable` for the arguments.

    Frames, videos and the shape of the tracks have a block each, with the paper's numbers beside those that it prints.
    The intervals follow, and the differences to a reference, bold where the interval excludes 0.
    """
    scale, (sequences, frames) = results.scale, results.sizes
    cells = {(line["row"], line["metric"]): line for line in frame.to_dict("records")}
    labels = {row: part["label"].iloc[0] for row, part in frame.groupby("row", sort=False)}
    grids = []
    for name, metrics in BLOCKS.items():
        shown = [m for m in metrics if any(_there(cells.get((row, m))) for row in labels)]
        if shown:
            grids.append(_block(name, shown, labels, cells, first=not grids))
    if intervals:
        grids.append(_certainty(labels, intervals, results))
    if len(differences):
        grids.append(_differences(labels, differences, reference))
    opening = f"{caption.rstrip('.')}. " if caption else ""
    counts = set().union(*_seeds(cells).values())
    spread = "mean ± sample standard deviation over " + (
        seeds_in_words(sorted(counts)) if len(counts) == 1 else "seeds"
    )
    over = f" {frames:,} frames of {sequences:,} validation sequences." if sequences else ""
    full = (
        f"{opening}Paper beside measured, {'one seed' if counts == {1} else spread}.{over} "
        f"Profile {scale.profile} ({scale.note})."
    )
    return Layout(results.table, title(results.table), full, tuple(grids), tuple(_notes(results, labels)))


def _notes(results: TrackResults, labels: Mapping[str, str]) -> list[str]:
    """What the encoders are where they are not themselves, and why rows were not run, rows of one reason together."""
    by_reason: dict[str, list[str]] = {}
    for row, why in results.missing.items():
        by_reason.setdefault(why, []).append(labels[row])
    notes = [f"{', '.join(rows)}: not run, because {why}." for why, rows in by_reason.items()]
    if results.runs and (stand_ins := results.scale.stand_ins):
        names = [f"{ENCODERS[name].words} for {ENCODERS[of].words}" for of, name in stand_ins.items()]
        notes.insert(0, f"Stand-ins under the names of the encoders: {'; '.join(names)}.")
    return notes


def _there(line: Mapping | None) -> bool:
    return line is not None and (line["n_seeds"] > 0 or not math.isnan(line["paper"]))


def _seeds(cells: Mapping[tuple[str, str], dict]) -> dict[str, set[int]]:
    """Row -> the numbers of seeds that its values have; none for a row that was not run."""
    found: dict[str, set[int]] = {}
    for (row, _), cell in cells.items():
        found.setdefault(row, set()).update({int(cell["n_seeds"])} - {0})
    return found


def _block(
    name: str, metrics: Sequence[str], labels: Mapping[str, str], cells: Mapping[tuple[str, str], dict], first: bool
) -> Grid:
    """Some metrics of every row: the paper's number, where it prints that metric at all, and the measured one."""
    printed = {m: any(not math.isnan(cells[row, m]["paper"]) for row in labels if (row, m) in cells) for m in metrics}
    columns, groups, align = [Cell("System")], [""], "l"
    for metric in metrics:
        shown = [Cell("paper", pale=True), Cell("measured")] if printed[metric] else [Cell("measured")]
        columns, groups, align = columns + shown, groups + [words(metric)] * len(shown), align + "r" * len(shown)
    lines, seeds = [], _seeds(cells)
    several = first and len(set().union(*seeds.values())) > 1  # or the caption says it of all
    for row, label in labels.items():
        line = [Cell(label)]
        for metric in metrics:
            cell = cells.get((row, metric))
            if printed[metric]:
                known = cell is not None and not math.isnan(cell["paper"])
                line.append(Cell(number(cell["paper"], metric) if known else "–", pale=True))
            if cell is None or not cell["n_seeds"]:
                ran = any(c["n_seeds"] for (other, _), c in cells.items() if other == row)
                line.append(Cell("–" if ran else "not run", pale=True))
            else:
                line.append(Cell(number(cell["measured"], metric, cell["std"])))
        lines.append((*line, *([Cell(seeds_in_words(sorted(seeds[row])), pale=True)] if several else [])))
    if several:
        columns, groups, align = [*columns, Cell("Seeds")], [*groups, ""], align + "l"
    return Grid(tuple(columns), tuple(groups), tuple(lines), align, "" if first else name, _TEXTS.get(name, ""))


def _certainty(
    labels: Mapping[str, str], intervals: Mapping[tuple[str, str, str], tuple[float, float]], results: TrackResults
) -> Grid:
    """The interval of some metrics, row by row."""
    heads = [Cell("System"), *(Cell(METRICS[metric][1]) for metric in _CERTAIN)]
    groups = ["", *(METRICS[metric][0] for metric in _CERTAIN)]
    lines = []
    for row in results.runs:
        line = [Cell(labels[row])]
        for metric in _CERTAIN:
            low, high = intervals[row, metric, "gps"]
            # Where all sequences agree, their spread is zero and says nothing about the next one.
            unknown = math.isnan(low) or math.isnan(high) or (low == high and metric.endswith("km") and low in (0, 100))
            line.append(
                Cell("–" if unknown else " to ".join(of_interval(end, low, high, metric) for end in (low, high)))
            )
        lines.append(tuple(line))
    several = max(len(runs) for runs in results.runs.values()) > 1
    over = "seeds and sequences" if several else f"sequences alone ({ONE_SEED})"
    text = (
        f"95 % intervals over {over}. Means by crossed random effects, medians by a bootstrap. –: all sequences agree."
    )
    return Grid(tuple(heads), tuple(groups), tuple(lines), "l" + "r" * len(_CERTAIN), "How certain they are", text)


def _differences(labels: Mapping[str, str], differences: pd.DataFrame, reference: str) -> Grid:
    """Row minus reference with the interval, bold where it excludes 0; floors and ceiling are left out."""
    heads = [Cell("System"), *(Cell(METRICS[metric][1]) for metric in DIFFERENCES)]
    groups = ["", *(METRICS[metric][0].replace("(%)", "(points)") for metric in DIFFERENCES)]
    cells = {(line["row"], line["metric"]): line for line in differences.to_dict("records")}
    lines = []
    for row in dict.fromkeys(differences["row"]):
        if row in UNRIVALLED:
            continue
        line = [Cell(labels[row])]
        for metric in DIFFERENCES:
            cell = cells[row, metric]
            line.append(Cell(difference(cell, metric), bold=cell["low"] > 0 or cell["high"] < 0))
        lines.append(tuple(line))
    text = (
        "Row minus reference, paired on the same frames, videos and seeds; bold where the 95 % interval excludes 0 "
        "(one difference alone, not a list of them)."
    )
    name = f"Difference to {labels[reference]}"
    return Grid(tuple(heads), tuple(groups), tuple(lines), "l" + "r" * len(DIFFERENCES), name, text)


def difference(line: Mapping[str, float], metric: str) -> str:
    """A difference with its interval, "+3.9 [−2.8, +10.5]", from a line with `difference`, `low` and `high`."""
    width = (line["high"] - line["low"]) / 2
    middle, low, high = (_signed(line[end], metric, width) for end in ("difference", "low", "high"))
    return middle if math.isnan(width) else f"{middle} [{low}, {high}]"


def _signed(value: float, metric: str, width: float) -> str:
    text = number(abs(value), metric, width=width)
    return text if not float(text.replace(",", "")) else ("−" if value < 0 else "+") + text


def beside(errors: pd.DataFrame) -> Styler:
    """The frame of `KmErrors.table` as a page shows it: all clips together, each number with its interval."""
    first, lines = errors["system"].iloc[0], []
    for line in errors[errors["clips_of"] == "all"].to_dict("records"):
        name = line["metric"]
        what = "median (km)" if name == "median_km" else f"within {name[7:-2]} km (%)"
        metric = name if name == "median_km" else "frame_25km"
        ends = line["low"], line["high"]
        value, low, high = (of_interval(x, *ends, metric) for x in (line["value"], *ends))
        gain = {"difference": line["difference"], "low": line["difference_low"], "high": line["difference_high"]}
        beyond = "" if line["system"] == first else difference(gain, metric)
        lines.append((line["system"], what, f"{value} [{low}, {high}]" if low else value, beyond))
    columns = ["system", "measure", "value [95 % interval]", f"minus {first} [95 % interval]"]
    return pd.DataFrame(lines, columns=columns).style.hide()


def build(results: TrackResults, caption: str = "", reference: str = "vidtag") -> TrackTable:
    """The table of collected results.

    Example:
        >>> table = track_table.build(track_results.collect("vidtag_msls", "mini"), "Errors on Mapillary's tracks")
        >>> table.write()
        >>> table  # in a notebook: paper beside measured, with floors and ceiling
    """
    return TrackTable(results, caption, reference)


def build_cities(found: CityResults, caption: str = "") -> Table:
    """VidTAG's table on CityGuessr68k: accuracies at the four levels, CityGuessr's systems and VidTAG's on one set."""
    beside = found.beside
    printed = [row for row, _ in printed_rows(beside.table)]
    measured = found.measured()
    missing = {**beside.missing, **found.missing}
    missing |= {row: _ELSEWHERE for row in printed if row not in measured and row not in missing}
    frame = beside_paper(beside.table, measured, beside.profile, missing, found.labels)
    return Table(frame, caption, intervals=found.intervals(), mode=beside.mode, starts=beside.starts())


_ELSEWHERE = (
    "it is the system of another paper (GeoReasoner: Li et al., ICML 2024; Qwen2.5-VL: Bai et al., 2025; OSV: "
    "Astruc et al., CVPR 2024; StreetCLIP: Haas et al., 2023), which this project does not build"
)
