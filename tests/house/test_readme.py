"""The README and the guide: short enough to be read, and nothing that they point to is missing."""

import functools
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
GUIDE = [page for page in sorted((ROOT / "notebooks" / "guide").glob("*.md")) if page.name != "slides.md"]
TEXTS = [README, *GUIDE]
each_text = pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)

FENCE = re.compile(r"^( *)(`{3,}).*?^\1\2 *$", re.M | re.S)
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")  # a link may have an image for its text
TAG = re.compile(r"<(a|img)\s[^>]*?(?:href|src)=\"([^\"]+)\"[^>]*>")


@functools.cache
def prose(path: Path) -> str:
    """A page without its blocks of code."""
    return FENCE.sub("", path.read_text(encoding="utf-8"))


@functools.cache
def anchors(path: Path) -> list[str]:
    """What a page's headings are called in links, as on code hosts and in the book: small letters, with hyphens."""
    headings = re.findall(r"^#+ (.*)", prose(path), re.M)
    plain = [LINK.sub(r"\2", heading).replace("`", "").lower() for heading in headings]
    return [re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain]


def links(path: Path) -> list[str]:
    return [match[3] for match in LINK.finditer(prose(path))] + [match[2] for match in TAG.finditer(prose(path))]


def target(path: Path, link: str) -> Path:
    return (path.parent / link.partition("#")[0]).resolve() if not link.startswith("#") else path


def linked(path: Path) -> set[Path]:
    return {target(path, link) for link in links(path) if ":" not in link}


def test_the_readme_has_at_most_900_words() -> None:
    """Counted as `wc -w` does, with tables, code, markup and alternative texts."""
    assert len(README.read_text(encoding="utf-8").split()) <= 900


def test_the_readme_links_every_notebook() -> None:
    assert [path.stem for path in NOTEBOOKS if path not in linked(README)] == []


def test_the_welcome_page_links_every_page_of_the_guide() -> None:
    welcome = ROOT / "notebooks" / "guide" / "index.md"
    assert [path.name for path in GUIDE if path not in linked(welcome) | {welcome}] == []


@each_text
def test_every_link_leads_somewhere(path: Path) -> None:
    dead = []
    for link in links(path):
        if link.startswith("https://"):
            continue
        where, anchor = target(path, link), link.partition("#")[2]
        if not where.is_relative_to(ROOT) or not where.exists() or (anchor and anchor not in anchors(where)):
            dead.append(link)
    assert dead == []


@each_text
def test_a_file_is_linked_where_it_is_first_named(path: Path) -> None:
    """A name in code font that is one of our files, from the root, from the page or among the notebooks, is a link."""
    unlinked, known = [], set()
    text = prose(path)
    for match in re.finditer(r"(?<!`)`(\w[\w./-]*)`(?!`)|" + LINK.pattern, text):
        if match[4]:
            known.add(target(path, match[4]))
            continue
        name = match[1]
        places = (ROOT / name, path.parent / name, ROOT / "notebooks" / f"{name}.ipynb")
        for place in places:
            if place.is_file() and place.resolve() not in known:
                unlinked.append(name)
                known.add(place.resolve())
    assert unlinked == []


@each_text
def test_every_picture_has_alternative_text(path: Path) -> None:
    text = prose(path)
    described = [match[2] for match in LINK.finditer(text) if match[1]]
    described += [
        (re.search(r'alt="([^"]*)"', match[0]) or ("", ""))[1] for match in TAG.finditer(text) if match[1] == "img"
    ]
    assert [words for words in described if len(words.split()) < 5] == []


@each_text
def test_headings_are_told_apart(path: Path) -> None:
    names = anchors(path)
    assert sorted(names) == sorted(set(names))


def rows(text: str) -> list[list[str]]:
    """The rows of the tables in a text, without heads and rules."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip(" |") for cell in cells] for cells in lines if re.match(r"\d", cells[0])]


PATHS = re.split(r"^#{2,3} ", (ROOT / "notebooks" / "guide" / "paths.md").read_text(encoding="utf-8"), flags=re.M)
TIMED = {text.splitlines()[0]: text for text in PATHS if rows(text)}


def test_the_minutes_of_a_path_add_up() -> None:
    wanted = {"One lecture": 90, "An afternoon": 240, "Lecture 1": 90, "Lecture 2": 90}
    minutes = {title: sum(int(row[0]) for row in rows(text)) for title, text in TIMED.items()}
    assert len(minutes) == len(wanted)
    assert {title: next(minutes[name] for name in minutes if name.startswith(title)) for title in wanted} == wanted


def test_a_path_names_sections_that_the_pages_have() -> None:
    missing = []
    for row in [row for text in TIMED.values() for row in rows(text) if LINK.search(row[1])]:
        page = (ROOT / "notebooks" / "guide" / LINK.search(row[1])[3]).resolve()
        cells = [
            cell for cell in json.loads(page.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "markdown"
        ]
        headings = re.findall(r"^#+ (.*?)\s*$", "\n".join("".join(cell["source"]) for cell in cells), re.M)
        for section in re.findall(r"\*([^*]+)\*", row[2] + " " + row[3]):
            if section not in headings:
                missing.append(f"{page.stem}: {section}")
    assert missing == []


def test_the_glossary_lists_its_terms_by_letter_and_defines_each_in_a_few_sentences_with_a_link() -> None:
    path = ROOT / "notebooks" / "guide" / "glossary.md"
    head, _, text = path.read_text(encoding="utf-8").partition("\n## ")
    terms = re.findall(r"^### (.+)\n((?:(?!#).*\n?)*)", text, re.M)
    assert len(terms) > 50
    assert [match[2] for match in LINK.finditer(head)] == sorted((term for term, _ in terms), key=str.lower)
    lengths = {term: len(LINK.sub(r"\2", words).split()) for term, words in terms}
    assert {term: length for term, length in lengths.items() if not 6 <= length <= 60} == {}
    assert [term for term, words in terms if not LINK.search(words)] == []


def test_the_layout_names_every_folder_and_every_module_at_the_root() -> None:
    text = (ROOT / "notebooks" / "guide" / "structure.md").read_text(encoding="utf-8")
    package = [
        path for path in (ROOT / "cityguessr").iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()
    ]
    names = {path.name + "/" * path.is_dir() for path in package} - {"__init__.py"}
    assert sorted(name for name in names if not re.search(rf"(?<![\w/]){re.escape(name)}", text)) == []


def test_no_page_sends_its_reader_to_the_readme() -> None:
    """Details are in the guide, which is a part of the book; the README is not."""
    senders = [path.stem for path in NOTEBOOKS if "README" in path.read_text(encoding="utf-8")]
    assert senders == []
