"""How a table is written: one layout of cells, as Markdown, as LaTeX (booktabs) and as HTML for a notebook."""

import dataclasses
import html
import itertools
import math
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from cityguessr.base.files import write_bytes


class Cell(NamedTuple):
    """A text in a table, `bold` if it is the one to notice, `pale` if it is there to compare with."""

    text: str
    bold: bool = False
    pale: bool = False


@dataclasses.dataclass(frozen=True)
class Grid:
    """One block of lines and columns.

    Attributes:
        columns: the heading of each column, the first one that of the lines' names.
        groups: a heading above each column, empty where there is none; equal neighbours are joined.
        lines: one cell per column.
        align: `l` or `r` for each column.
        title, text: what it is called and what it shows; empty for the first block, which the caption describes.
    """

    columns: tuple[Cell, ...]
    groups: tuple[str, ...]
    lines: tuple[tuple[Cell, ...], ...]
    align: str
    title: str = ""
    text: str = ""

    def spans(self) -> list[tuple[str, int, int]]:
        """The joined groups: (heading, first column, number of columns)."""
        joined = itertools.groupby(range(len(self.groups)), key=lambda i: self.groups[i] or i)
        return [(self.groups[run[0]], run[0], len(run)) for run in (list(columns) for _, columns in joined)]


@dataclasses.dataclass(frozen=True, repr=False)
class Layout:
    """A table laid out: title, caption, blocks, notes below, and the name that LaTeX refers to it by.

    In a notebook it shows itself as HTML that takes its colours from the theme, elsewhere as Markdown.
    """

    name: str
    title: str
    caption: str
    grids: tuple[Grid, ...]
    notes: tuple[str, ...]

    def _repr_html_(self) -> str:
        return as_html(self)

    def __repr__(self) -> str:
        return markdown(self)

    def write(
        self,
        folder: Path,
        name: str,
        frame: pd.DataFrame,
        differences: pd.DataFrame | None = None,
        learned: pd.DataFrame | None = None,
    ) -> list[Path]:
        """Write `<name>.csv` (the frame), `.md`, `.tex` and, where there are any, `<name>_{differences,learned}.csv`.

        Each file is written whole or not at all. Returns the paths. Raises InputError where they cannot be written.
        """
        contents = {f"{name}.csv": _csv(frame), f"{name}.md": markdown(self), f"{name}.tex": latex(self)}
        for what, more in (("differences", differences), ("learned", learned)):
            if more is not None and len(more):
                contents[f"{name}_{what}.csv"] = _csv(more)
        for file, text in contents.items():
            write_bytes(folder / file, text.encode())
        return [folder / file for file in contents]


def markdown(layout: Layout) -> str:
    """The table as GitHub shows it; a column's group stands in its heading."""

    def safe(text: str) -> str:
        return text.replace("\\", "\\\\").replace("|", "\\|").replace("*", "\\*")

    def row(cells: list[str]) -> str:
        return "| " + " | ".join(cells) + " |"

    blocks = [f"**{safe(layout.title)}.** {safe(layout.caption)}"]
    for grid in layout.grids:
        if grid.title:
            blocks.append(f"**{safe(grid.title)}.** {safe(grid.text)}".rstrip())
        headings = zip(grid.groups, grid.columns, strict=True)
        lines = [row([safe(f"{group}: {cell.text}" if group else cell.text) for group, cell in headings])]
        lines.append("|" + "|".join(":--" if side == "l" else "--:" for side in grid.align) + "|")
        lines += [row([f"**{safe(c.text)}**" if c.bold else safe(c.text) for c in cells]) for cells in grid.lines]
        blocks.append("\n".join(lines))
    return "\n\n".join([*blocks, *map(safe, layout.notes)]) + "\n"


def latex(layout: Layout) -> str:
    """The table as one `table` float of booktabs tabulars, in ASCII."""
    special = {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "±": r"$\pm$",
        "√": r"$\surd$",
    }
    special |= {c: f"\\{c}" for c in "&%$#_{}"} | {"ρ": r"$\rho$", "–": "--", "−": "$-$", "×": r"$\times$", "é": r"\'e"}
    special |= {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "[": "{[}", "]": "{]}"}

    def safe(text: str) -> str:
        return _code(text.translate(str.maketrans(special)), r"\\texttt{\1}")

    def row(cells: Iterable[str]) -> str:
        return " & ".join(cells) + r" \\"

    out = ["% needs \\usepackage{booktabs}", r"\begin{table}", r"\centering"]
    for grid in layout.grids:
        if grid.title:
            out += [r"\par\medskip", rf"\textbf{{{safe(grid.title)}}}\par\smallskip"]
        out += [rf"\begin{{tabular}}{{{grid.align}}}", r"\toprule"]
        if any(grid.groups):
            spans = grid.spans()
            out.append(row(rf"\multicolumn{{{n}}}{{c}}{{{safe(name)}}}" if name else "" for name, _, n in spans))
            out.append(" ".join(rf"\cmidrule(lr){{{i + 1}-{i + n}}}" for name, i, n in spans if name))
        out += [row(safe(cell.text) for cell in grid.columns), r"\midrule"]
        out += [row(rf"\textbf{{{safe(c.text)}}}" if c.bold else safe(c.text) for c in cells) for cells in grid.lines]
        out += [r"\bottomrule", r"\end{tabular}"]
    texts = [f"{grid.title}: {grid.text}" for grid in layout.grids if grid.text]
    full = " ".join([f"{layout.title}.", layout.caption, *texts, *layout.notes])
    out += [rf"\caption{{{safe(full)}}}", rf"\label{{tab:{layout.name}}}", r"\end{table}"]
    return "\n".join(out) + "\n"


_PAGE = "var(--jp-layout-color0,var(--vscode-editor-background,Canvas))"
_SHADE = "rgba(128,128,128,.55),rgba(128,128,128,0)"
_BOX = (
    "overflow-x:auto;background:"
    f"linear-gradient(to right,{_PAGE} 30%,transparent) left/3em 100% no-repeat local,"
    f"linear-gradient(to left,{_PAGE} 30%,transparent) right/3em 100% no-repeat local,"
    f"linear-gradient(to right,{_SHADE}) left/1em 100% no-repeat scroll,"
    f"linear-gradient(to left,{_SHADE}) right/1em 100% no-repeat scroll;"
)
"""A box that a table scrolls in where it is too wide. The shades at its edges stay where they are, and what covers them
moves with the table: one is seen wherever columns are out of sight."""


def as_html(layout: Layout) -> str:
    """The table for a notebook. It sets no colour: text and rules take the theme's, pale is the same ink.

    A value may break before its interval or spread and nowhere else. Where even that is too wide, a block scrolls in a
    box of its own, whose edge is shaded while columns are out of sight.
    """
    rule, pale = "border-bottom:1px solid currentColor;", "opacity:.62;"
    sides = {"l": "text-align:left;padding:3px 10px;", "r": "text-align:right;padding:3px 5px;"}

    def row(tag: str, cells: Iterable[Cell], align: str, style: Callable[[Cell, int], str]) -> str:
        """The cells of one line: what the side of a column asks for, then `style` of the cell and its column."""
        looks = [(cell, sides[side] + style(cell, i)) for i, (cell, side) in enumerate(zip(cells, align, strict=True))]
        return "".join(
            f'<{tag} style="{look}">{html.escape(_unbroken(cell.text) if i else cell.text)}</{tag}>'
            for i, (cell, look) in enumerate(looks)
        )

    def heading(cell: Cell, column: int) -> str:
        return rule + pale * cell.pale + "font-weight:normal;" * (column > 0) + "vertical-align:bottom;"

    def value(cell: Cell, column: int) -> str:
        look = "min-width:10em;" * (not column)  # a long name may wrap, a short one need not
        return look + "font-weight:bold;" * cell.bold + pale * cell.pale + "vertical-align:top;"

    def words(text: str) -> str:
        return _code(html.escape(text), r"<code>\1</code>")

    out = [f'<div style="max-width:60em;"><b>{words(layout.title)}.</b> {words(layout.caption)}</div>']
    for grid in layout.grids:
        if grid.title:
            text = f"<b>{words(grid.title)}.</b> {words(grid.text)}"
            out.append(f'<div style="max-width:60em;margin-top:.8em;">{text}</div>')
        out.append(f'<div style="{_BOX}"><table style="border-collapse:collapse;margin:.5em 0;')
        out.append('font-variant-numeric:tabular-nums;"><thead>')
        if any(grid.groups):
            look = "text-align:center;padding:3px 5px;"
            spans = [
                f'<th colspan="{n}" style="{look}">{html.escape(_united(name))}</th>' for name, _, n in grid.spans()
            ]
            out.append(f"<tr>{''.join(spans)}</tr>")
        out.append(f"<tr>{row('th', grid.columns, grid.align, heading)}</tr></thead><tbody>")
        lines = [row("td", cells, grid.align, value) for cells in grid.lines]
        out += [*(f'<tr style="background:transparent;">{line}</tr>' for line in lines), "</tbody></table></div>"]
    out += [f'<div style="{pale}">{words(note)}</div>' for note in layout.notes]
    return "".join(out)


def _unbroken(text: str) -> str:
    """A value whose line may end only before "[", "(", "±" and "to"."""
    return re.sub(r" (?!\[|\(|±|to )", "\N{NO-BREAK SPACE}", text)


def _united(text: str) -> str:
    """A heading whose numbers keep their unit beside them."""
    return re.sub(r"(?<=\d) (?=\w)", "\N{NO-BREAK SPACE}", text)


def _code(text: str, form: str) -> str:
    """A text in which what stands in backticks is set in another form, whose `\\1` it is."""
    return re.sub("`([^`]+)`", form, text)


def signed(value: object) -> object:
    """A difference as tables print it: "+1.2", "−0.3" with a true minus, "0.0", "–" for NaN; other things as they are.

    It also serves `Styler.format`, for frames whose numbers are all differences.
    """
    if not isinstance(value, float | int) or isinstance(value, bool):
        return value
    if math.isnan(value):
        return "–"
    return re.sub(r"^[+-]0\.0$", "0.0", f"{value:+,.1f}").replace("-", "−")


def difference(value: float, low: float, high: float) -> str:
    """A difference with its interval: "+1.2 [−0.3, +2.7]"; alone where the interval is not known."""
    if math.isnan(low) or math.isnan(high):
        return str(signed(value))
    return f"{signed(value)} [{signed(low)}, {signed(high)}]"


def differences(frame: pd.DataFrame, value: str, low: str = "low", high: str = "high") -> list[str]:
    """`difference` of every line of a frame, of these columns."""
    return [difference(*ends) for ends in zip(frame[value], frame[low], frame[high], strict=True)]


def plain(value: float) -> str:
    """A number with one decimal and a true minus, never "−0.0"."""
    return re.sub(r"^-0\.0$", "0.0", f"{value:.1f}").replace("-", "−")


def write_frame(path: Path, frame: pd.DataFrame) -> Path:
    """Write a frame as CSV, whole or not at all. Returns the path; raises InputError where it cannot be written."""
    write_bytes(path, _csv(frame).encode())
    return path


def _csv(frame: pd.DataFrame) -> str:
    return frame.to_csv(index=False, lineterminator="\n", float_format="%.6g")
