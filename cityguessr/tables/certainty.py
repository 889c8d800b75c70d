"""The blocks of a table that say what is certain: differences to a reference, and what the auxiliary heads learned."""

import math
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from cityguessr.evaluation.columns import check_differences, common_words, part_of, shown_parts
from cityguessr.measures.intervals import ONE_SEED
from cityguessr.tables.formats import Cell, Grid, difference, plain
from cityguessr.taxonomy import LEVELS


def seeds_in_words(counts: Sequence[int]) -> str:
    """How many seeds rows have: "3 seeds", "3–5 seeds", a dash for none."""
    if not counts:
        return "–"
    low, high = min(counts), max(counts)
    return "one seed" if high == 1 else f"{low if low == high else f'{low}–{high}'} seeds"


def difference_grid(frame: pd.DataFrame, differences: pd.DataFrame, reference: str) -> Grid:
    """Row minus reference, level by level, with the interval; bold where the interval excludes 0.

    Where clips of seen and unseen videos were compared, each row has a line for both.
    """
    check_differences(differences, frame["row"], reference)
    parts = shown_parts(differences)
    labels = {row: dict.fromkeys(part["label"]) for row, part in frame.groupby("row")}
    compared = set(differences["row"])
    body, gaps = [], False
    for row in dict.fromkeys(frame["row"]):
        if row == reference or row not in compared:
            continue
        for part in parts:
            lines = part_of(differences, part)
            cells = {r["level"]: r for r in lines[lines["row"] == row].to_dict("records")}
            line = [Cell(common_words(labels[row]) if part == parts[0] else "")]
            line += [Cell(part)] if len(parts) > 1 else []
            for level in LEVELS:
                cell = cells.get(level)
                known = cell is not None and not math.isnan(cell["difference"])
                gaps |= not known
                line.append(_difference(cell) if known else Cell("–"))
            body.append(tuple(line))
    heads = ["System", *(["Videos"] if len(parts) > 1 else []), *map(str.capitalize, LEVELS)]
    align = "l" + "l" * (len(parts) > 1) + "rrrr"
    over, text = _words(frame, differences, labels)
    text += " –: the two were not validated on the same clips." if gaps else ""
    title = f"Difference to {common_words(labels[reference])}, top-1, 95 % intervals over {over}"
    return Grid(tuple(map(Cell, heads)), ("",) * len(heads), tuple(body), align, title, text)


def _words(frame: pd.DataFrame, differences: pd.DataFrame, labels: Mapping[str, Iterable[str]]) -> tuple[str, str]:
    """What the intervals go over, and the text below their title."""
    counts = (
        differences["n_seeds"] if "n_seeds" in differences.columns else frame.loc[frame["metric"] == "top1", "n_seeds"]
    )
    seeds = sorted({int(count) for count in counts} - {0})
    over = "source videos"
    text = "Percentage points; bold where the interval excludes 0 (one difference alone, not a list of them). "
    if {"clips", "videos"} <= set(differences.columns) and differences["clips"].max() > 0:
        clips, videos = differences["clips"].max(), differences["videos"].max()
        if clips == videos:  # the source does not say which clips were cut from one video
            over = "clips"
            text += (
                f"{clips:,.0f} clips; where several were cut from one video, the interval is too narrow by "
                "√(1 + (m − 1) ρ), for m clips a video whose answers have a correlation of ρ. "
            )
        else:
            text += f"{clips:,.0f} clips of {videos:,.0f} source videos. "
    if seeds and max(seeds) > 1:
        over = f"seeds and {over}"
        text += f"{seeds_in_words(seeds).capitalize()}, the same for both sides{_fewer(differences, labels)}. "
        text += _spread(differences)
    if 1 in seeds:
        text += f"{ONE_SEED.capitalize()}. "
    return over, text.strip()


def _fewer(differences: pd.DataFrame, labels: Mapping[str, Iterable[str]]) -> str:
    """Which rows have fewer seeds than most, as " (one seed for PlaNet)"."""
    if "n_seeds" not in differences.columns:
        return ""
    counts = differences[differences["n_seeds"] > 0].groupby("row", sort=False)["n_seeds"].max()
    rows: dict[int, list[str]] = {}
    for row, count in counts[counts < counts.max()].items():
        rows.setdefault(int(count), []).append(common_words(labels[row]))
    listed = [f"{seeds_in_words([count])} for {', '.join(of)}" for count, of in rows.items()]
    return f" ({'; '.join(listed)})" if listed else ""


def _spread(differences: pd.DataFrame) -> str:
    """How much the city's differences vary over seeds; row by row the table's CSV says it."""
    if "seed_sd" not in differences.columns:
        return ""
    shown = pd.concat([part_of(differences, part) for part in shown_parts(differences)])
    spreads = shown.loc[shown["level"] == "city", "seed_sd"].dropna()
    if spreads.empty:
        return ""
    sizes = " to ".join(dict.fromkeys(f"{x:.1f}" for x in (spreads.min(), spreads.max())))
    return f"Their standard deviation over seeds is {sizes} points at the city (column `seed_sd` of the CSV). "


def _difference(cell: dict) -> Cell:
    text = difference(cell["difference"], cell["low"], cell["high"])
    return Cell(text, bold=cell["low"] > 0 or cell["high"] < 0)


def learned_grid(learned: pd.DataFrame) -> Grid:
    """What the scene and the text head reach beside the best constant answer, and how much of its loss is gone."""
    cells = {(line["row"], line["head"]): line for line in learned.to_dict("records")}
    labels = dict(zip(learned["row"], learned["label"], strict=True))
    heads = [head for head in ("scenes", "text") if head in set(learned["head"])]
    body = []
    for row, label in labels.items():
        line = [Cell(common_words([label]))]
        for head in heads:
            cell = cells.get((row, head))
            if cell is None:
                line += [Cell("–", pale=True)] * 3
                continue
            digits = 2 if head == "scenes" else 3
            skill = f"{plain(cell['skill'])} [{plain(cell['low'])}, {plain(cell['high'])}]"
            line.append(Cell(f"{cell['constant']:.{digits}f}", pale=True))
            line += [Cell(f"{cell['answer']:.{digits}f}"), Cell(skill, bold=cell["low"] > 0)]
        body.append(tuple(line))
    names = {"scenes": "Scenes: cross-entropy (nats)", "text": "Text: cosine"}
    groups = ("", *(names[head] for head in heads for _ in range(3)))
    columns = (Cell("System"), *[Cell("constant", pale=True), Cell("head"), Cell("learned (%)")] * len(heads))
    text = (
        "On all validation clips. Constant: the one answer that is best for the training clips. Learned: how much of "
        "the way from there to a perfect answer the head has come, with a 95 % interval; 0 is nothing."
    )
    return Grid(columns, groups, tuple(body), "l" + "rrr" * len(heads), "What the auxiliary heads learned", text)
