"""How a table is laid out: which blocks it has, what is in their cells, and what is bold."""

import math
from collections.abc import Mapping

import pandas as pd

from cityguessr import paper
from cityguessr.base.errors import InputError
from cityguessr.evaluation.columns import COLUMNS, METRICS, OWN_TABLES, UNSEEN, common_words, title
from cityguessr.tables.certainty import difference_grid, learned_grid, seeds_in_words
from cityguessr.tables.formats import Cell, Grid, Layout
from cityguessr.taxonomy import LEVELS
from cityguessr.training import profiles

_BEYOND = {  # metric id -> (heading above, heading, what it is)
    "conflict_rate": (
        "",
        "Conflicts (%)",
        "Conflicts: clips whose city, state, country and continent contradict each other (each head's own answers; in "
        "Table 4, the row's).",
    ),
    "ece": ("", "ECE (%)", "ECE: expected calibration error of the city."),
    "median_km": (
        "",
        "Median (km)",
        "Median and clips within: great-circle distance from the predicted city's centre to the clip.",
    ),
    **{f"within_{km}km": ("Clips within (%)", f"{km} km", "") for km in (25, 200, 750, 2500)},
}


def number(value: float, metric: str = "", spread: float = math.nan) -> str:
    """A value as tables print it, with ± its spread: one decimal, and none for distances of 100 km and more."""
    digits = 0 if metric.endswith("_km") and abs(value) >= 100 else 1
    return f"{value:,.{digits}f}" + ("" if math.isnan(spread) else f" ± {spread:,.{digits}f}")


def lay_out(
    frame: pd.DataFrame,
    caption: str,
    differences: pd.DataFrame | None,
    reference: str,
    learned: pd.DataFrame | None = None,
    starts: Mapping[str, str] | None = None,
) -> Layout:
    """A table laid out; see `tables.Table` for the arguments.

    There is one line per row; under each level are the paper's number and the measured mean ± spread. Where clips of
    unseen videos were counted apart, they have the next block: beside each other, three numbers with two spreads at
    each of four levels would be too wide to read. Metrics that the paper's table does not print follow in blocks of
    their own, then what the auxiliary heads learned, and last the differences to a reference. Bold is only what an
    interval separates from 0: no mean is bold for being the largest.

    Raises InputError for frames of other columns, and a reference or rows of differences that the table lacks.
    """
    if list(frame.columns) != list(COLUMNS) or frame.empty:
        raise InputError("this is not a frame of `tables.beside_paper`, whose columns are " + ", ".join(COLUMNS))
    table, profile = frame["table"].iloc[0], profiles.get(frame["profile"].iloc[0])
    results = paper.results()
    metrics = {"top1"} if table in OWN_TABLES else set(results.loc[results["table"] == table, "metric"])
    printed = frame["metric"].isin(metrics)
    parted = frame["metric"].str.endswith(UNSEEN).any()
    grid, unit = _main(frame[printed], "seen" if parted else "measured")
    grids = [grid, *_beyond(frame, frame[~printed])]
    if learned is not None and len(learned):
        grids.append(learned_grid(learned))
    if differences is not None and len(differences):
        grids.append(difference_grid(frame, differences, reference))
    opening = f"{caption.rstrip('.')}. " if caption else ""
    beside = "Measured" if table in OWN_TABLES else "Paper beside measured"
    full = (
        f"{opening}{beside} {unit}, mean ± sample standard deviation over seeds{_SEEN if parted else ''}. "
        f"Profile {profile.name} ({profile.note})." + _start_words(frame, starts or {})
    )
    return Layout(table, title(table), full, tuple(grids), tuple(_notes(frame)))


_SEEN = ", on clips whose source video has other clips in training (seen), as most of the paper's have"


_MISSING = " are not on this machine"


def _notes(frame: pd.DataFrame) -> list[str]:
    """Why rows were not run, those of one reason together; the commands that bring missing weights stay in the CSV."""
    reasons: dict[str, dict[str, None]] = {}
    shortened = False
    for line in frame[frame["n_seeds"] == 0].to_dict("records"):
        reason, missing, how = line["state"].partition(f"{_MISSING}: ")
        shortened |= bool(how)
        reasons.setdefault(reason + (_MISSING if missing else ""), {})[line["label"]] = None
    notes = [f"{', '.join(labels)}: {reason}." for reason, labels in reasons.items()]
    return notes + (["How to get the weights is in the column `state` of the table's CSV."] if shortened else [])


def _start_words(frame: pd.DataFrame, starts: Mapping[str, str]) -> str:
    """Which weights the rows started from: the commonest first, the others with their rows."""
    rows: dict[str, list[str]] = {}
    for row, words in starts.items():
        rows.setdefault(words, []).append(common_words(dict.fromkeys(frame.loc[frame["row"] == row, "label"])))
    parts = sorted(rows.items(), key=lambda item: -len(item[1]))
    listed = [words if not i else f"{words} for {', '.join(labels)}" for i, (words, labels) in enumerate(parts)]
    return f" Weights at the start: {'; '.join(listed)}." if listed else ""


def _measured(cell: dict | None) -> Cell:
    if cell is None or not cell["n_seeds"]:
        return Cell("–") if cell is None else Cell("not run", pale=True)
    return Cell(number(cell["measured"], cell["metric"], cell["std"]))


def _main(frame: pd.DataFrame, measured: str = "measured") -> tuple[Grid, str]:
    """The block that the paper prints, paper beside what is headed `measured`, and what its numbers are."""
    metrics = list(dict.fromkeys(frame["metric"]))
    # Table S3 has one line for top-1 and one for top-5: where every line has one metric, columns are levels alone.
    one_metric = frame.groupby(["row", "label"])["metric"].nunique().max() == 1
    keys = [(None if one_metric else m, v) for m, v in zip(frame["metric"], frame["level"], strict=True)]
    cells = {((r["row"], r["label"]), key): r for r, key in zip(frame.to_dict("records"), keys, strict=True)}
    columns, lines = list(dict.fromkeys(keys)), list(dict.fromkeys(line for line, _ in cells))
    body, own = [], frame["table"].iloc[0] in OWN_TABLES
    for line in lines:
        row = [Cell(line[1])]
        for key in columns:
            cell = cells.get((line, key))
            known = cell is not None and not math.isnan(cell["paper"])
            if not own:
                row.append(Cell(number(cell["paper"], cell["metric"]) if known else "–", pale=True))
            row.append(_measured(cell))
        counts = sorted({int(c["n_seeds"]) for (other, _), c in cells.items() if other == line} - {0})
        body.append((*row, Cell(seeds_in_words(counts), pale=True)))
    groups = []
    for metric, level in columns:
        plain = metric is None or metric == metrics[0]  # the caption says what the first metric is
        groups += (2 - own) * [level.capitalize() if plain else f"{level.capitalize()}, {METRICS.get(metric, metric)}"]
    heads = (Cell("System"), *[Cell("paper", pale=True), Cell(measured)][own:] * len(columns), Cell("Seeds"))
    names = [METRICS.get(metric, metric) for metric in metrics]
    unit = " and ".join(names) if one_metric else f"{names[0]} (or as the heading says)"
    return Grid(heads, ("", *groups, ""), tuple(body), "l" + "rr"[own:] * len(columns) + "l"), unit


def _beyond(frame: pd.DataFrame, extra: pd.DataFrame) -> list[Grid]:
    """The blocks of what the paper's table lacks: one for each metric of several levels, and one for all others.

    Rows that were not run have a line in the first block alone.
    """
    rows = {row: common_words(dict.fromkeys(part["label"])) for row, part in frame.groupby("row", sort=False)}
    ran = set(frame.loc[frame["n_seeds"] > 0, "row"])
    levels = {
        metric: [v for v in (*LEVELS, "all") if v in set(part["level"])] for metric, part in extra.groupby("metric")
    }
    unseen = [metric for metric in levels if metric.endswith(UNSEEN)]
    others = [metric for metric in dict.fromkeys(extra["metric"]) if metric not in (*_BEYOND, *unseen)]
    order = [*unseen, *(metric for metric in _BEYOND if metric in levels), *others]
    blocks = [[(m, level) for level in levels[m]] for m in order if len(levels[m]) > 1]
    blocks.append([(m, level) for m in order if len(levels[m]) == 1 for level in levels[m]])
    cells = {(r["row"], (r["metric"], r["level"])): r for r in extra.to_dict("records")}
    grids = []
    for columns in filter(None, blocks):
        wide = len({m for m, _ in columns}) == 1 < len(columns)
        body = [
            (Cell(label), *(_measured(cells.get((row, key))) for key in columns))
            for row, label in rows.items()
            if row in ran
        ]
        words = [_BEYOND.get(metric, ("", METRICS.get(metric, metric), "")) for metric, _ in columns]
        heads = [level.capitalize() for _, level in columns] if wide else [heading for _, heading, _ in words]
        groups = ("", *([""] * len(columns) if wide else [group for group, _, _ in words]))
        name, text = (
            "Beyond the paper",
            " ".join(
                [
                    "Measured alone, on the clips of the first block.",
                    *dict.fromkeys(text for _, _, text in words if text),
                ]
            ),
        )
        if columns[0][0] in unseen:
            name, text = "Unseen source videos", "The same systems on clips of videos that were held out whole."
        title = name + (f": {METRICS.get(columns[0][0], columns[0][0])}" if wide else "")
        heads = (Cell("System"), *map(Cell, heads))
        grids.append(Grid(heads, groups, tuple(body), "l" + "r" * len(columns), title, text))
    return grids
