"""Links of the pages: to the page before and the one after, and which links lead nowhere."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import nbformat

from cityguessr.base.errors import InputError

_LINK = re.compile(r"(?<!\\)\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)


def title(page: Path) -> str:
    """The heading of a page. Raises InputError where its first cell has none."""
    cells = nbformat.read(page, as_version=4).cells
    found = re.match(r"# (.+)", cells[0].source) if cells else None
    if not found:
        raise InputError(f"{page}: its first cell begins with no heading; write '# Title' there")
    return found[1].strip()


def navigation(page: Path, pages: list[Path]) -> str:
    """The line below a page: the page before, the first page, and the page after.

    Args:
        pages: all of them, in order; `page` is one.
    """
    at = pages.index(page)
    parts = []
    if at:
        parts.append(f"← [{title(pages[at - 1])}]({pages[at - 1].name})")
    if at > 1:
        parts.append(f"[Start]({pages[0].name})")
    if at + 1 < len(pages):
        parts.append(f"[{title(pages[at + 1])}]({pages[at + 1].name}) →")
    return " · ".join(parts)


def dead(text: str, folder: Path) -> Iterator[str]:
    """The relative links of a piece of prose in Markdown that lead to no file, seen from its folder."""
    for target in _LINK.findall(_CODE.sub("", text)):
        file = unquote(target.partition("#")[0])
        if file and not re.match(r"[a-z]+:", file) and not (folder / file).exists():
            yield target


def unlinked(text: str, names: set[str]) -> list[str]:
    """Names of pages that stand in code font and are no link: `20_model_step_by_step`."""
    return [name for name in re.findall(r"(?<!\[)`([\w/]+)`", text) if name in names]
