"""A built book or deck, checked: links lead somewhere, nothing is loaded from a network, every picture has words."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cityguessr.base.errors import InputError

_LOADS = {
    "script": ("src",),
    "link": ("href",),
    "img": ("src", "srcset"),
    "iframe": ("src",),
    "source": ("src", "srcset"),
    "video": ("src", "poster"),
    "audio": ("src",),
    "object": ("data",),
    "embed": ("src",),
    "image": ("href", "xlink:href"),
    "use": ("href", "xlink:href"),
}
_FAR = re.compile(r"^\s*(?:[a-z][a-z0-9+.-]*:)?//|^\s*https?:", re.IGNORECASE)
_IN_STYLE = re.compile(
    r"url\(\s*['\"]?\s*((?:https?:)?//[^)'\"]+)|@import\s+['\"]((?:https?:)?//[^'\"]+)", re.IGNORECASE
)
_LATEX = re.compile(r"\$\$|\\(?:frac|sum|mathrm|text|hat|left|begin|cdot|sqrt)\b")
_NO_TEXT = ("script", "style", "code", "pre", "math", "annotation")
_NO_END = ("img", "br", "hr", "input", "meta", "link", "source", "col", "area", "base", "embed", "wbr", "track")


@dataclass
class Page(HTMLParser):
    """What matters of a page: names in it, what it loads, where it leads, its pictures, text that was to be a formula.

    Attributes:
        text: the page.
        names: of places in it, which a link can lead to.
        loads: addresses that a browser fetches to show it.
        links: addresses that a reader can follow.
        wordless: pictures and frames without words.
        latex: pieces of text that look like a formula in its source.
    """

    text: str
    names: set[str] = field(default_factory=set)
    loads: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    wordless: list[str] = field(default_factory=list)
    latex: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.feed(self.text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag not in _NO_END:
            self.open.append(tag)
        self.names |= {given[name] for name in ("id", "name") if given.get(name)}
        self.loads += [given[name] for name in _LOADS.get(tag, ()) if given.get(name)]
        self.loads += [a or b for a, b in _IN_STYLE.findall(given.get("style", ""))]
        if tag in ("a", "area") and given.get("href"):
            self.links.append(given["href"])
        if (tag == "img" and not given.get("alt", "").strip()) or (tag == "iframe" and not given.get("title")):
            self.wordless.append(given.get("src") or f"a frame of {len(given.get('srcdoc', ''))} characters")
        if frame := given.get("srcdoc"):
            inside = Page(frame)
            self.loads += [address for address in inside.loads if _FAR.match(address)]
            self.wordless += [picture for picture in inside.wordless if picture in inside.loads]

    def handle_endtag(self, tag: str) -> None:
        if tag in self.open:
            while self.open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            self.loads += [a or b for a, b in _IN_STYLE.findall(data)]
        if not set(self.open) & set(_NO_TEXT) and (found := _LATEX.search(data)):
            self.latex.append(data[max(0, found.start() - 20) : found.end() + 20].strip())


def problems(folder: Path) -> Iterator[str]:
    """What is wrong with the pages of a folder, each in a line that begins with the page.

    A link to another site is a reader's choice, and a picture that a frame's script will fill has its words from there.
    """
    pages = {file: Page(file.read_text(encoding="utf-8")) for file in sorted(folder.rglob("*.html"))}
    for file, page in pages.items():
        where = file.relative_to(folder).as_posix()
        for address in page.loads:
            if _FAR.match(address):
                yield f"{where}: asks the network for {address[:120]}"
            elif not address.startswith(("data:", "#")) and not _target(file, address).is_file():
                yield f"{where}: loads {address[:120]}, which is not there"
        for address in page.links:
            yield from (f"{where}: {problem}" for problem in _followed(file, address, pages))
        yield from (f"{where}: no words for {picture}" for picture in page.wordless)
        yield from (f"{where}: a formula that was not set: {text!r}" for text in page.latex)
    for file in sorted(folder.rglob("*.css")):
        for a, b in _IN_STYLE.findall(file.read_text(encoding="utf-8")):
            yield f"{file.relative_to(folder).as_posix()}: asks the network for {a or b}"


def _followed(file: Path, address: str, pages: dict[Path, Page]) -> Iterator[str]:
    parts = urlsplit(address)
    if parts.scheme or parts.netloc:
        if parts.scheme not in ("http", "https", "mailto"):
            yield f"a link to {address[:120]}, of a kind that no reader can follow"
        return
    target = _target(file, address) if parts.path else file
    if not target.is_file():
        yield f"a link leads to {address[:120]}, which is not there"
    elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].names:
        yield f"a link leads to {address[:120]}, and that page has no such place"


def _target(file: Path, address: str) -> Path:
    return (file.parent / unquote(urlsplit(address).path)).resolve()


def check(folder: Path) -> int:
    """Check all pages of a folder; returns how many there are. Raises InputError with the first dozen problems."""
    found = list(problems(folder.resolve()))
    if found:
        more = f"; and {len(found) - 12} more" if len(found) > 12 else ""
        raise InputError(f"{folder.name}: {len(found)} faults: {'; '.join(found[:12])}{more}")
    return len(list(folder.rglob("*.html")))
