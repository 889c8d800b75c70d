"""What a command of the notebooks has to show at its end: its files, its tables, and how they differ from the kept."""

import contextlib
import csv
import math
import os
import re
import tempfile
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

import nbformat

from cityguessr.base import paths
from cityguessr.base.errors import InputError
from cityguessr.base.files import WRITTEN

WIDTH = 110  # characters of a line of text in a terminal

_KEY = ("row", "metric", "level")


@contextlib.contextmanager
def listing() -> Iterator[Path]:
    """A list that grows by every file that this process and those that it starts write; gone after the block."""
    handle, name = tempfile.mkstemp(prefix="cityguessr-written-")
    os.close(handle)
    before = os.environ.get(WRITTEN)
    os.environ[WRITTEN] = name
    try:
        yield Path(name)
    finally:
        os.environ.pop(WRITTEN)
        if before is not None:
            os.environ[WRITTEN] = before
        Path(name).unlink(missing_ok=True)


def figures_in(listed: Path) -> list[Path]:
    """The figures and tables of a list of files, each once, in order."""
    places = (paths.figures(), paths.runs() / "figures", paths.kept_figures())
    files = {Path(line) for line in listed.read_text(encoding="utf-8").splitlines()}
    return sorted(file for file in files if file.is_file() and any(file.is_relative_to(place) for place in places))


def grouped(files: Sequence[Path]) -> list[str]:
    """Files from the project's root on, those that differ in their ending alone in one line: `table4.{csv,md,tex}`."""
    endings: dict[Path, list[str]] = {}
    for file in files:
        endings.setdefault(file.with_suffix(""), []).append(file.suffix[1:])
    lines = []
    for stem, kinds in endings.items():
        ending = f".{kinds[0]}" if len(kinds) == 1 else f".{{{','.join(kinds)}}}"
        lines.append(f"{relative(stem)}{ending}")
    return lines


def beside_kept(files: Sequence[Path]) -> list[str]:
    """A line for each written table of which another one is kept in git: whether its numbers differ, and how much."""
    lines = []
    for profile in paths.KEPT_PROFILES:
        own, kept = paths.figures(profile) / "tables", paths.kept_figures(profile) / "tables"
        for file in files:
            named = file.suffix == ".csv" and file.stem != "ledger"  # which is read from the other tables
            if named and file.parent == own != kept and (kept / file.name).is_file():
                with contextlib.suppress(KeyError, ValueError):  # a table of another form, such as Table 1's
                    lines.append(f"{file.stem}: {_compared(_numbers(file), _numbers(kept / file.name))}")
    return lines


_Numbers = dict[tuple[str, ...], tuple[float, int]]


def _numbers(file: Path) -> _Numbers:
    """(row, metric, level) -> measured value and number of seeds, of a table's CSV."""
    with open(file, encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    return {
        tuple(row[name] for name in _KEY): (float(row["measured"]), int(float(row["n_seeds"])))
        for row in rows
        if row["measured"]
    }


def _compared(mine: _Numbers, kept: _Numbers) -> str:
    shared = [key for key in mine if key in kept]
    seeds = [max((numbers[key][1] for key in shared), default=0) for numbers in (mine, kept)]
    counted = f"{count(seeds[0], 'seed')} here, {count(seeds[1], 'seed')} there"
    moved = [key for key in shared if not math.isclose(mine[key][0], kept[key][0], rel_tol=1e-5, abs_tol=1e-6)]
    if not moved:
        return f"the same {count(len(shared), 'number')}" + ("" if seeds[0] == seeds[1] else f" ({counted})")
    first = moved[0][1]  # numbers of one metric are comparable
    most = max((key for key in moved if key[1] == first), key=lambda key: abs(mine[key][0] - kept[key][0]))
    return (
        f"{len(moved)} of {count(len(shared), 'number')} differ ({counted}), {first} most for {most[0]} at {most[2]}: "
        f"{mine[most][0]:.1f} here, {kept[most][0]:.1f} there"
    )


def count(number: int, noun: str) -> str:
    """`1 seed`, `5 seeds`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def relative(path: Path) -> Path:
    """A path as a reader in the project's root would write it."""
    return path.relative_to(paths.root()) if path.is_relative_to(paths.root()) else path


# --- tables, as a terminal shows them ---------------------------------------------------------------------------------


def tables(executed: Path) -> list[str]:
    """The tables that an executed notebook shows, as plain text with aligned columns: of each its first block."""
    shown = []
    for cell in nbformat.read(executed, as_version=4).cells:
        for output in cell.get("outputs", []):
            text = output.get("data", {}).get("text/plain", "")
            if re.match(r"\*\*.+?\.\*\* ", text) and "\n|" in text:
                shown.append(plain(text))
    return shown


def plain(markdown: str) -> str:
    """The caption and the first block of a table in Markdown, as `tables.formats.markdown` writes it, in plain text."""
    blocks = markdown.strip().split("\n\n")
    first = next((number for number, block in enumerate(blocks) if block.startswith("|")), None)
    if first is None:
        raise InputError("this text has no table in Markdown")
    caption = textwrap.fill(_unescaped(" ".join(blocks[:first])), WIDTH)
    lines = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in blocks[first].splitlines()]
    right = [cell.endswith(":") for cell in lines[1]]
    heads = [cell.rpartition(": ")[::2] for cell in map(_unescaped, lines[0])]
    groups = ["" if number and heads[number - 1][0] == group else group for number, (group, _) in enumerate(heads)]
    body = [[_unescaped(cell) for cell in line] for line in lines[2:]]
    rows = [*([groups] if any(groups) else []), [head for _, head in heads], *body]
    below = rows[1:] if any(groups) else rows  # a group's name may reach over the columns that it heads
    widths = [max(len(row[column]) for row in below) for column in range(len(heads))]
    for start in (number for number, group in enumerate(groups) if group):
        last = start
        while last + 1 < len(heads) and heads[last + 1][0] == heads[start][0]:
            last += 1
        widths[last] += max(0, len(groups[start]) - sum(widths[start : last + 1]) - 2 * (last - start))
    out = []
    if any(groups):
        out.append(_group_line(groups, heads, widths))
    out += [_line(row, widths, right) for row in below]
    out.insert(len(out) - len(body), "-" * (sum(widths) + 2 * (len(widths) - 1)))
    return "\n".join([caption, "", *out])


def _group_line(groups: Sequence[str], heads: Sequence[tuple[str, str]], widths: Sequence[int]) -> str:
    line, column = "", 0
    while column < len(heads):
        last = column
        while groups[column] and last + 1 < len(heads) and heads[last + 1][0] == heads[column][0]:
            last += 1
        line += groups[column].center(sum(widths[column : last + 1]) + 2 * (last - column)) + "  "
        column = last + 1
    return line.rstrip()


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    placed = [c.rjust(w) if r else c.ljust(w) for c, w, r in zip(cells, widths, right, strict=True)]
    return "  ".join(placed).rstrip()


def _unescaped(text: str) -> str:
    """Without the marks of bold type and the backslashes of Markdown."""
    return re.sub(r"\\([\\|*])", r"\1", re.sub(r"(?<!\\)\*\*", "", text))
