"""Links of the pages, led to where the book has what they name: pages, quoted numbers, pictures, files."""

import csv
import html
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote

from cityguessr.base.errors import InputError

# What is read as one piece: code, of which nothing is a link, or a link, whose text may have code in it.
_PIECE = re.compile(
    r"(?P<fence>^ {0,3}(`{3,}|~{3,}).*?^ {0,3}\2[`~]*[ \t]*$)"
    r"|(?P<link>(?P<image>!?)\[(?P<text>(?:[^\[\]`]|`[^`]*`|\[[^\]]*\])*)\]\((?P<target>[^)\s]+)(?P<title>\s+\"[^\"]*\")?\))"
    r"|(?P<code>(?P<ticks>`+)(?P<inside>.+?)(?<!`)(?P=ticks)(?!`))"
    r"|(?P<attribute>\b(?:src|href)=\")(?P<raw>[^\"]+)\"",
    re.MULTILINE | re.DOTALL,
)
_FOLDER = re.compile(r"^(?:notebooks/)?(?:solutions/|guide/)?|\.ipynb$|\.md$")
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)


@dataclass
class Library:
    """What the book has, and what its pages turned out to need beside themselves.

    Attributes:
        root: of the project.
        pages: each page's file, as an absolute path -> its name in the book, without a suffix.
        printed: whether the book is one printed page: then numbers lead nowhere.
        tables: CSV files that are linked -> their names in the book.
        files: other files that are linked or shown -> where they lie in the book.
    """

    root: Path
    pages: Mapping[Path, str]
    printed: bool = False
    tables: dict[Path, str] = field(default_factory=dict)
    files: dict[Path, str] = field(default_factory=dict)

    def relink(self, text: str, page: Path) -> str:
        """Markdown with its links led to places in the book.

        The name of a page in code font becomes a link to that page. A link to a file that is not in the book becomes
        its text.

        Args:
            page: the file that the text is from; links start in its folder.

        Raises InputError for a link to a file that does not exist.
        """
        return _PIECE.sub(lambda match: self._piece(match, page), text)

    def _piece(self, match: re.Match[str], page: Path) -> str:
        if match["code"] and (name := _FOLDER.sub("", match["inside"])) in self.pages.values():
            return match[0] if self.pages.get(page.resolve()) == name else f"[{match[0]}]({name}{self._suffix(name)})"
        if match["link"]:
            return self._link(match, page)
        if match["attribute"] and not _ELSEWHERE.match(match["raw"]) and match["raw"][0] != "#":
            return f'{match["attribute"]}{self._place(match["raw"], page) or "#"}"'
        return match[0]

    def _link(self, match: re.Match[str], page: Path) -> str:
        target, text = match["target"], match["text"]
        if _ELSEWHERE.match(target):
            return match[0]
        name, _, fragment = target.partition("#")
        if not name:
            return f"[{text}](#{slug(fragment)})"
        file = self._file(name, page)
        if known := self.pages.get(file):
            return f"[{text}]({known}{file.suffix}{'#' + slug(fragment) if fragment else ''})"
        place = self._place(target, page)
        if match["image"]:
            if place is None:
                raise InputError(
                    f"{page.name}: {name} is no picture of figures/, and the book carries no other; move it"
                )
            return f'<img src="{html.escape(place)}" alt="{html.escape(text)}">'
        if place is None or (file.suffix == ".csv" and self.printed):
            return text
        kind = ' class="quote"' if fragment else ""
        return f'<a{kind} href="{html.escape(place)}" title="{html.escape(_shown(file, self.root))}">{text}</a>'

    def _suffix(self, name: str) -> str:
        return next(page.suffix for page, known in self.pages.items() if known == name)

    def _file(self, name: str, page: Path) -> Path:
        file = (page.parent / unquote(name)).resolve()
        if not file.exists():
            raise InputError(f"{page.name}: a link leads to {name}, which does not exist; correct it")
        return file

    def _place(self, target: str, page: Path) -> str | None:
        """Where in the book a file is, which is noted as needed; None for a file that the book does not carry."""
        name, _, fragment = target.partition("#")
        file = self._file(name, page)
        if known := self.pages.get(file):
            return f"{known}.html{'#' + slug(fragment) if fragment else ''}"
        inside = file.is_relative_to(self.root / "figures")
        if file.suffix == ".csv" and inside:
            parts = file.relative_to(self.root / "figures").with_suffix("").parts
            self.tables[file] = "tables/" + "-".join(part for part in parts if part != "tables")
            return f"{self.tables[file]}.html{'#' + cell(file, fragment) if fragment else ''}"
        if inside and file.suffix in (".png", ".pdf", ".html", ".svg", ".jpg", ".gif", ".json"):
            self.files[file] = f"files/{file.name}"
            return self.files[file]
        return None


def slug(title: str) -> str:
    """The name of a heading in links, as the book writes it, from a heading's text or from another way to name it."""
    return re.sub(r"[^\w\- ]", "", unquote(title).strip().lower()).replace(" ", "-")


def cell(file: Path, query: str) -> str:
    """The name of the cell that a query such as `row=videomae&level=city&column=difference` picks from a CSV file.

    Raises InputError where it does not pick one.
    """
    wanted = dict(parse_qsl(query, keep_blank_values=True))
    column = wanted.pop("column", "")
    rows = read_table(file)
    found = [n for n, row in enumerate(rows) if all(row.get(name) == value for name, value in wanted.items())]
    if len(found) != 1 or column not in rows[0]:
        raise InputError(f"{file.name}#{query}: picks no single cell; name the columns that pick one")
    return f"r{found[0]}-{list(rows[0]).index(column)}"


def read_table(file: Path) -> list[dict[str, str]]:
    """The rows of a CSV file, as text."""
    with open(file, encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


def table_page(file: Path, root: Path) -> str:
    """A page in Markdown that shows a CSV file, each cell with the name by which `cell` finds it."""
    rows = read_table(file)
    head = "".join(f"<th>{html.escape(name)}</th>" for name in rows[0]) if rows else ""
    lines = []
    for n, row in enumerate(rows):
        cells = [f'<td id="r{n}-{k}">{html.escape(value or "")}</td>' for k, value in enumerate(row.values())]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    body = "\n".join(lines)
    return (
        f"---\norphan: true\n---\n# {_shown(file, root)}\n\nThe numbers that pages quote, as the last run wrote them. "
        f'The quoted cell is marked.\n\n<div class="wide">\n<table class="numbers">\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table>\n</div>\n"
    )


def _shown(file: Path, root: Path) -> str:
    return file.relative_to(root).as_posix()
