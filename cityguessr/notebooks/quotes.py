"""Numbers that prose quotes, each a link to the cell of a table that it was read from.

    The full model finds [42.7](../figures/tables/table3.csv#row=cityguessr&metric=top1&level=city&column=measured) % of

The link names a CSV file beside the page and, after `#`, the values of columns that pick one row, and the column to
read. A reader can follow it; a test holds the number against the table; `requote` brings it up to date after a run.
Words around a number are not checked: re-read them when a number moves.
"""

import csv
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl

from cityguessr.base.errors import InputError

_LINK = re.compile(r"\[([−+-]?[\d,]*\.?\d+)\]\(([^)#\s]+\.csv)#([^)\s]+)\)")


@dataclass(frozen=True)
class Quote:
    """One quoted number.

    Attributes:
        text: the number as the prose has it, such as "−1.3" or "2,106".
        link: the file and what is read of it, as in the link.
        actual: the number of that cell, written with as many decimals and the same kind of sign.
    """

    text: str
    link: str
    actual: str

    @property
    def holds(self) -> bool:
        """Whether prose and table agree."""
        return self.text == self.actual


def quotes(text: str, folder: Path) -> Iterator[Quote]:
    """The quoted numbers of a piece of prose in Markdown, in order.

    Args:
        folder: of the page, where its links start.

    Raises InputError for a link that does not lead to exactly one number.
    """
    for match in _LINK.finditer(text):
        number, file, query = match.groups()
        yield Quote(number, f"{file}#{query}", _like(number, value(folder / file, query)))


def requote(text: str, folder: Path) -> str:
    """The prose with every quoted number as its table has it now. Raises InputError as `quotes` does."""

    def renewed(match: re.Match[str]) -> str:
        number, file, query = match.groups()
        return f"[{_like(number, value(folder / file, query))}]({file}#{query})"

    return _LINK.sub(renewed, text)


def value(file: Path, query: str) -> float:
    """The number that a query such as `row=videomae&level=city&column=difference` picks from a CSV file.

    Raises InputError where the file, a column or the row is missing, several rows fit, or the cell holds no number.
    """
    where = f"{file.name}#{query}"
    wanted = dict(parse_qsl(query, keep_blank_values=True))
    column = wanted.pop("column", "")
    rows = _rows(file)
    if unknown := [name for name in (column, *wanted) if name not in rows[0]]:
        raise InputError(f"{where}: no column {unknown[0]!r}; the file has {', '.join(rows[0])}")
    found = [row for row in rows if all(row[name] == wanted[name] for name in wanted)]
    if len(found) != 1:
        raise InputError(f"{where}: {len(found)} rows fit; name the columns that pick one")
    try:
        return float(found[0][column])
    except ValueError:
        raise InputError(f"{where}: the cell holds {found[0][column]!r}, no number") from None


@functools.lru_cache(maxsize=64)
def _rows(file: Path) -> list[dict[str, str]]:
    try:
        with open(file, encoding="utf-8", newline="") as opened:
            rows = list(csv.DictReader(opened))
    except OSError:
        raise InputError(f"{file}: a page quotes a number of this file, and it is not there; run the page") from None
    if not rows:
        raise InputError(f"{file}: a page quotes a number of this file, which is empty; run the page")
    return rows


def _like(text: str, number: float) -> str:
    """A number with as many decimals as another has, and a plus sign where that one shows its sign."""
    decimals = len(text.partition(".")[2])
    written = f"{number:{'+' if text[0] in '+−' else ''},.{decimals}f}"
    zero = f"{0:.{decimals}f}"
    if written.lstrip("+-") == zero:
        return zero
    return written.replace("-", "−")
