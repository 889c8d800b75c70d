"""Tables with the paper's number beside the measured mean and spread over seeds.

`build` gives one long frame, which `write`, `show` and `compare` read. Nothing in it is typed by hand: the paper's side
comes from `cityguessr.paper`, the measured side from runs, and a row without a run says why.
"""

import html
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cityguessr import figures, paper, paths, profiles
from cityguessr.data.files import write_bytes
from cityguessr.errors import InputError
from cityguessr.taxonomy import LEVELS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = ("table", "row", "label", "metric", "level", "paper", "measured", "std", "n_seeds", "profile", "state")
METRICS = {
    "top1": "top-1 accuracy (%)",
    "top5": "top-5 accuracy (%)",
    "conflict_rate": "conflict rate (%)",
    "ece": "expected calibration error (%)",
    "median_km": "median error (km)",
}
"""Metric id -> how a heading calls it; another metric goes by its id."""

Measured = Mapping[str, Mapping[tuple[str, str], Sequence[float]]]
"""Row -> (metric, level) -> a value a seed."""


def build(
    table: str,
    measured: Measured,
    profile: str,
    missing: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Put measurements beside the paper's numbers.

    Args:
        table: a table of `paper.TITLES`.
        measured: row -> (metric, level) -> one value a seed, accuracies in [0, 100].
        profile: the profile that they were measured under.
        missing: row -> why it was not run, such as `the weights of TimeSformer are not on this machine`.
        labels: row -> label of the rows that the paper lacks; they follow the paper's, in this order.

    Returns the columns of `COLUMNS`, a number a line, in the paper's order. `paper` is NaN where the paper has no such
    number; `measured` and `std` (sample standard deviation over seeds) are NaN where there is none; `state` is
    `measured` or `not run, because ...`.

    Raises InputError for a row without measurement and reason, or with both, an unknown row or profile, and a value
    that is no finite number.
    """
    profiles.get(profile)
    missing, labels = dict(missing or {}), dict(labels or {})
    printed = paper.results()
    order = [row for row, _ in paper.rows(table)]
    printed = printed[printed["table"] == table]
    rows = [*dict.fromkeys([*order, *labels])]
    for row in (*measured, *missing):
        if row not in rows:
            raise InputError(f"{table} has no row {row!r} (it has {', '.join(rows)}); give an own row a label")
    for row in rows:
        if (row in measured) == (row in missing):
            found = "both a measurement and a reason" if row in measured else "neither a measurement nor a reason"
            raise InputError(f"{table}, row {row}: {found} for not having one; give exactly one of the two")
    lines = []
    for row in rows:
        known = printed[printed["row"] == row]
        numbers = dict(zip(zip(known["metric"], known["level"], strict=True), known["value"], strict=True))
        texts = dict(zip(known["metric"], known["label"], strict=True))
        first = labels.get(row) or known["label"].iloc[0]
        values = measured.get(row, {})
        expected = numbers or dict.fromkeys(zip(printed["metric"], printed["level"], strict=True))
        for metric, level in dict.fromkeys([*(expected if numbers or not values else ()), *values]):
            seeds = values.get((metric, level), ())
            reason = missing.get(row, f"no {metric} at {level} was computed")
            lines.append(
                {"table": table, "row": row, "label": texts.get(metric, first), "metric": metric, "level": level}
                | {"paper": numbers.get((metric, level), math.nan)}
                | _summary(seeds, f"{table}, row {row}, {metric} at {level}")
                | {"profile": profile, "state": "measured" if len(seeds) else f"not run, because {reason}"}
            )
    return pd.DataFrame(lines, columns=list(COLUMNS))


def _summary(seeds: Sequence[float], where: str) -> dict[str, float]:
    values = np.asarray(list(seeds), dtype=float)
    if not np.isfinite(values).all():
        raise InputError(f"{where}: {values.tolist()} has a value that is no finite number; run that seed again")
    return {
        "measured": values.mean() if len(values) else math.nan,
        "std": values.std(ddof=1) if len(values) > 1 else math.nan,
        "n_seeds": len(values),
    }


def write(frame: pd.DataFrame, caption: str, folder: Path | None = None) -> list[Path]:
    """Write a table as `figures/tables/<table>.csv` (every column), `.md` and `.tex` (booktabs), each whole or not.

    The caption is followed by what the profile's numbers are worth. `folder` replaces `figures/tables`. Returns the
    paths. Raises InputError where they cannot be written.
    """
    grid = _Grid(frame)
    target = (folder or paths.figures(frame["profile"].iloc[0]) / "tables") / grid.table
    contents = {
        "csv": frame.to_csv(index=False, lineterminator="\n", float_format="%.6g"),
        "md": _markdown(grid, caption),
        "tex": _latex(grid, caption),
    }
    written = []
    for ending, text in contents.items():
        written.append(target.with_name(f"{grid.table}.{ending}"))
        write_bytes(written[-1], text.encode())
    return written


class Shown:
    """A table as a notebook shows it: HTML that takes its colours from the theme, Markdown elsewhere."""

    def __init__(self, page: str, text: str) -> None:
        self._page, self._text = page, text

    def _repr_html_(self) -> str:
        return self._page

    def __repr__(self) -> str:
        return self._text


def show(frame: pd.DataFrame, caption: str = "") -> Shown:
    """One line a row; under each level the paper's number and the measured mean ± spread; the best measured in bold."""
    grid = _Grid(frame)
    return Shown(_html(grid, caption), _markdown(grid, caption))


class _Grid:
    """A table laid out: lines (one a row and label), columns (one a level, or metric and level), and their cells."""

    def __init__(self, frame: pd.DataFrame) -> None:
        if list(frame.columns) != list(COLUMNS) or frame.empty:
            raise InputError("this is no table of `tables.build`: its columns are " + ", ".join(COLUMNS))
        self.table, self.profile = frame["table"].iloc[0], profiles.get(frame["profile"].iloc[0])
        one_metric = frame.groupby(["row", "label"])["metric"].nunique().max() == 1
        self.metrics = list(dict.fromkeys(frame["metric"]))
        # Table S3 has a line for top-1 and one for top-5: where every line has one metric, columns are levels alone.
        keys = [(None if one_metric else m, v) for m, v in zip(frame["metric"], frame["level"], strict=True)]
        self.columns = list(dict.fromkeys(keys))
        records = frame.to_dict("records")
        self.cells = {((r["row"], r["label"]), key): r for r, key in zip(records, keys, strict=True)}
        self.lines = list(dict.fromkeys(line for line, _ in self.cells))  # (row, label)
        self.best = {key: self._best([c for (_, k), c in self.cells.items() if k == key]) for key in self.columns}
        reasons = {r["label"]: r["state"].removeprefix("not run, because ") for r in records if r["n_seeds"] == 0}
        self.notes = [f"{label}: not run, because {reason}." for label, reason in reasons.items()]

    @staticmethod
    def _best(cells: list[dict]) -> set[tuple[str, str]]:
        """The lines with the best measured value of a column: none if there is nothing to be better than."""
        best = set()
        for metric in {c["metric"] for c in cells}:
            same = [c for c in cells if c["metric"] == metric and c["n_seeds"]]
            rounded = {(c["row"], c["label"]): round(c["measured"], 1) for c in same}
            if len(rounded) > 1 and len(set(rounded.values())) > 1:
                top = (min if lower_is_better(metric) else max)(rounded.values())
                best |= {line for line, value in rounded.items() if value == top}
        return best

    def heading(self, column: tuple[str | None, str]) -> str:
        metric, level = column
        plain = metric is None or metric == self.metrics[0]  # the caption says what the first metric is
        return level.capitalize() if plain else f"{level.capitalize()}, {METRICS.get(metric, metric)}"

    def unit(self) -> str:
        names = [METRICS.get(metric, metric) for metric in self.metrics]
        return " and ".join(names) if self.columns[0][0] is None else f"{names[0]} (or as the heading says)"

    def paper(self, line: tuple[str, str], column: tuple) -> str:
        cell = self.cells.get((line, column))
        return "–" if cell is None or math.isnan(cell["paper"]) else f"{cell['paper']:.1f}"

    def measured(self, line: tuple[str, str], column: tuple) -> str:
        cell = self.cells.get((line, column))
        if cell is None or not cell["n_seeds"]:
            return "not run" if cell else "–"
        spread = "" if math.isnan(cell["std"]) else f" ± {cell['std']:.1f}"
        return f"{cell['measured']:.1f}{spread}"

    def seeds(self, line: tuple[str, str]) -> str:
        counts = sorted({int(c["n_seeds"]) for (other, _), c in self.cells.items() if other == line} - {0})
        if not counts:
            return "–"
        return "one seed" if counts == [1] else f"{'–'.join(map(str, dict.fromkeys((counts[0], counts[-1]))))} seeds"

    def caption(self, caption: str) -> str:
        said = f"{caption.rstrip('.')}. " if caption else ""
        return (
            f"{said}Paper beside measured {self.unit()}, mean ± sample standard deviation over seeds. "
            f"Profile {self.profile.name} ({self.profile.note})."
        )


def lower_is_better(metric: str) -> bool:
    """Whether a smaller value is the better one: errors in km, calibration error, conflicts, trajectory distances."""
    return "median" in metric or metric in {"ece", "conflict_rate", "dfd", "mrd"}


def _markdown(grid: _Grid, caption: str) -> str:
    def safe(text: str) -> str:
        return text.replace("\\", "\\\\").replace("|", "\\|").replace("*", "\\*")

    head = ["System", *(f"{grid.heading(c)}: {side}" for c in grid.columns for side in ("paper", "measured")), "Seeds"]
    lines = [f"**{safe(paper.TITLES[grid.table])}.** {safe(grid.caption(caption))}", ""]
    lines += ["| " + " | ".join(head) + " |", "|" + "|".join([":--", *["--:"] * (len(head) - 2), ":--"]) + "|"]
    for line in grid.lines:
        cells = [safe(line[1])]
        for column in grid.columns:
            value = grid.measured(line, column)
            cells += [grid.paper(line, column), f"**{value}**" if line in grid.best[column] else value]
        lines.append("| " + " | ".join([*cells, grid.seeds(line)]) + " |")
    return "\n".join([*lines, *(f"\n{safe(note)}" for note in grid.notes)]) + "\n"


def _latex(grid: _Grid, caption: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$"}
    special |= {c: f"\\{c}" for c in "&%$#_{}"} | {"–": "--", "é": r"\'e", "<": r"\textless{}", ">": r"\textgreater{}"}

    def safe(text: str) -> str:
        return "".join(special.get(c, c) for c in text)

    n = len(grid.columns)
    groups = " & ".join(rf"\multicolumn{{2}}{{c}}{{{safe(grid.heading(c))}}}" for c in grid.columns)
    rules = " ".join(rf"\cmidrule(lr){{{2 * i + 2}-{2 * i + 3}}}" for i in range(n))
    lines = ["% needs \\usepackage{booktabs}", r"\begin{table}", r"\centering", r"\begin{tabular}{l" + "rr" * n + "l}"]
    lines += [r"\toprule", f" & {groups} & \\\\", rules, "System & " + "paper & measured & " * n + r"Seeds \\"]
    lines.append(r"\midrule")
    for line in grid.lines:
        cells = [safe(line[1])]
        for column in grid.columns:
            value = safe(grid.measured(line, column))
            bold = line in grid.best[column]
            cells += [safe(grid.paper(line, column)), rf"\textbf{{{value}}}" if bold else value]
        lines.append(" & ".join([*cells, safe(grid.seeds(line))]) + r" \\")
    full = " ".join([f"{paper.TITLES[grid.table]}.", grid.caption(caption), *grid.notes])
    lines += [r"\bottomrule", r"\end{tabular}", rf"\caption{{{safe(full)}}}", rf"\label{{tab:{grid.table}}}"]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def _html(grid: _Grid, caption: str) -> str:
    # No colour of its own: text and rules take the theme's, the paper's side is the same ink, paler.
    rule, pale = "border-bottom:1px solid currentColor;", "opacity:.62;"
    right, left = "text-align:right;padding:3px 6px;", "text-align:left;padding:3px 10px;"
    first, second = [f'<th style="{left}"></th>'], [f'<th style="{left}{rule}">System</th>']
    for column in grid.columns:
        name = html.escape(grid.heading(column))
        first.append(f'<th colspan="2" style="text-align:center;padding:3px 6px;">{name}</th>')
        second.append(f'<th style="{right}{rule}{pale}font-weight:normal;">paper</th>')
        second.append(f'<th style="{right}{rule}font-weight:normal;">measured</th>')
    first.append("<th></th>")
    second.append(f'<th style="{left}{rule}font-weight:normal;"></th>')
    body = []
    for line in grid.lines:
        cells = [f'<td style="{left}">{html.escape(line[1])}</td>']
        for column in grid.columns:
            weight = "font-weight:bold;" if line in grid.best[column] else ""
            faint = pale if grid.measured(line, column) == "not run" else ""
            cells.append(f'<td style="{right}{pale}">{grid.paper(line, column)}</td>')
            cells.append(f'<td style="{right}{weight}{faint}white-space:nowrap;">{grid.measured(line, column)}</td>')
        cells.append(f'<td style="{left}{pale}white-space:nowrap;">{grid.seeds(line)}</td>')
        body.append(f'<tr style="background:transparent;">{"".join(cells)}</tr>')
    title = f"<b>{html.escape(paper.TITLES[grid.table])}.</b> {html.escape(grid.caption(caption))}"
    notes = "".join(f'<div style="{pale}">{html.escape(note)}</div>' for note in grid.notes)
    return (
        f'<div style="max-width:60em;">{title}</div>'
        '<table style="border-collapse:collapse;margin:.5em 0;font-variant-numeric:tabular-nums;">'
        f"<thead><tr>{''.join(first)}</tr><tr>{''.join(second)}</tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table>{notes}"
    )


def compare(frame: pd.DataFrame, metric: str | None = None, levels: Sequence[str] = LEVELS) -> "Figure":
    """Paper and measured at a glance: a panel a level, a line a row, bars of one standard deviation over seeds.

    Args:
        frame: from `build`.
        metric: which metric; the table's first when left out.
        levels: the panels.

    Raises InputError where the table has no number of that metric at these levels.
    """
    import matplotlib.pyplot as plt

    grid = _Grid(frame)
    metric = metric or grid.metrics[0]
    part = frame[(frame["metric"] == metric) & frame["level"].isin(levels)]
    if part.empty:
        raise InputError(f"{grid.table} has no {metric} at {', '.join(levels)}; it has {', '.join(grid.metrics)}")
    levels = [level for level in levels if level in set(part["level"])]
    lines = list(dict.fromkeys(zip(part["row"], part["label"], strict=True)))
    fig, axes = plt.subplots(
        1, len(levels), figsize=(7.2, 1.15 + 0.3 * len(lines)), sharey=True, squeeze=False, layout="constrained"
    )
    for ax, level in zip(axes[0], levels, strict=True):
        cells = part[part["level"] == level].set_index(["row", "label"]).reindex(lines)
        y = np.arange(len(lines))
        ax.hlines(y, cells["paper"], cells["measured"], color="#d5d5d5", lw=1.2, zorder=1)
        printed = ax.scatter(
            cells["paper"], y, marker="D", s=20, facecolor="white", edgecolor=figures.PAPER, linewidth=1.1, zorder=2
        )
        ours = {"fmt": "o", "ms": 4.5, "lw": 1.3, "capsize": 2.5, "zorder": 3}
        colour = figures.LEVEL_COLOURS.get(level, figures.INK)
        ax.errorbar(cells["measured"], y, xerr=cells["std"].fillna(0), color=colour, **ours)
        middle = np.nanmean([cells[["paper", "measured"]].min().min(), cells[["paper", "measured"]].max().max()])
        for at in np.flatnonzero(cells["measured"].isna() & cells["paper"].notna()):
            x = cells["paper"].iloc[at]
            side = {"xytext": (-6, 0), "ha": "right"} if x > middle else {"xytext": (6, 0), "ha": "left"}
            ax.annotate(
                "not run", (x, at), textcoords="offset points", va="center", size=7, color=figures.MUTED, **side
            )
        ax.set_title(level.capitalize(), fontsize=9)
        ax.grid(axis="x")
        ax.spines["left"].set_visible(False)
        ax.tick_params(axis="y", length=0)
        ax.margins(x=0.16)
        ax.set_ylim(len(lines) - 0.5, -0.5)
        ax.locator_params(axis="x", nbins=4)
    axes[0, 0].set_yticks(np.arange(len(lines)), [label for _, label in lines])
    fig.supxlabel(METRICS.get(metric, metric), fontsize=8.5)
    bars = " ± one standard deviation over seeds" if part["std"].notna().any() else ""
    key = axes[0, 0].errorbar([], [], xerr=[], color=figures.INK, **ours)  # of no level's colour
    fig.legend([printed, key], ["paper", f"measured{bars}"], loc="outside upper right", ncols=2)
    return fig
