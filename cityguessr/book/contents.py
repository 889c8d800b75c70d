"""What the book holds, in order: notebooks by decade, the solutions of their exercises, the guide."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

DECADES = {
    "0": "Start",
    "1": "Data",
    "2": "Method and training",
    "3": "The paper's tables",
    "4": "Maps, examples, faces",
    "5": "VidTAG: coordinates and tracks",
    "6": "Speed and scale",
    "7": "Build it yourself",
    "8": "Build it yourself",
    "9": "Paper beside measured",
}
FRONT = "index"  # of the guide: the page that the book opens with
GUIDE = (
    "paths",
    "glossary",
    "command_line",
    "own_videos",
    "real_data",
    "gpu",
    "clusters",
    "environment",
    "structure",
    "contributing",
    "responsible_use",
)
APART = ("slides",)  # in the guide's folder and no page of the book


@dataclass(frozen=True)
class Part:
    """A part of the book: a caption in the side bar, and its pages."""

    caption: str
    pages: Sequence[Path]


def parts(notebooks: Path) -> list[Part]:
    """The parts of the book, from a folder of notebooks with folders `solutions` (notebooks) and `guide` (Markdown).

    Notebooks follow their numbers; pages of the guide the order of `GUIDE`, those it does not name after the others.
    """
    decades: dict[str, list[Path]] = {}
    for page in sorted(notebooks.glob("[0-9][0-9]_*.ipynb")):
        decades.setdefault(DECADES[page.name[0]], []).append(page)
    guide = [page for page in sorted((notebooks / "guide").glob("*.md")) if page.stem not in (FRONT, *APART)]
    guide.sort(key=lambda page: GUIDE.index(page.stem) if page.stem in GUIDE else len(GUIDE))
    solutions = sorted((notebooks / "solutions").glob("[0-9][0-9]_*.ipynb"))
    found = [Part(caption, pages) for caption, pages in decades.items()]
    return [*found, *(Part(*part) for part in (("Solutions", solutions), ("Guide", guide)) if part[1])]


def front(notebooks: Path) -> Path | None:
    """The Markdown page that the book opens with; None where there is none."""
    page = notebooks / "guide" / f"{FRONT}.md"
    return page if page.is_file() else None
