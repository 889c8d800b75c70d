"""The README and the guide: short enough to be read, and nothing that they point to is missing."""

import functools
import importlib
import inspect
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SOLUTIONS = sorted((ROOT / "notebooks" / "solutions").glob("*.ipynb"))
GUIDE = [page for page in sorted((ROOT / "notebooks" / "guide").glob("*.md")) if page.name != "slides.md"]
TEXTS = [README, *GUIDE]
each_text = pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)

LONGEST_LINE = 88  # characters of code that the book shows in one line
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


def markdown(path: Path) -> str:
    """All prose of a page of the guide, or of a notebook, with its blocks of code."""
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


@pytest.mark.parametrize("path", [*TEXTS, *NOTEBOOKS, *SOLUTIONS], ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_line_of_code_to_copy_fits_the_width_of_the_book(path: Path) -> None:
    text = markdown(path)
    blocks = [match[0] for match in FENCE.finditer(text)]
    blocks += re.findall(r"(?:^|\n\n)((?: {4}.*(?:\n|$))+)", FENCE.sub("", text)) if path.suffix == ".md" else []
    assert [line for block in blocks for line in block.splitlines() if len(line) > LONGEST_LINE] == []


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


def headings(page: Path) -> list[str]:
    return re.findall(r"^#+ (.*?)\s*$", markdown(page), re.M)


def test_a_path_calls_a_page_by_its_number_and_title_and_names_sections_that_it_has() -> None:
    missing = []
    for row in [row for text in TIMED.values() for row in rows(text) if LINK.search(row[1])]:
        link = LINK.search(row[1])
        page = (ROOT / "notebooks" / "guide" / link[3]).resolve()
        title, *sections = headings(page)
        if link[2] != f"{page.stem[:2]} · {title}":  # a name without spaces would break inside a word
            missing.append(link[2])
        missing += [
            f"{page.stem}: {section}"
            for section in re.findall(r"\*([^*]+)\*", row[2] + " " + row[3])
            if section not in sections
        ]
    assert missing == []


def named(name: str) -> object:
    """What goes by a dotted name inside the package. Raises AttributeError or ImportError where there is none."""
    *modules, last = f"cityguessr.{name}".split(".")
    return getattr(importlib.import_module(".".join(modules)), last)


def test_each_equation_figure_and_table_has_a_section_of_a_page_and_a_function() -> None:
    text = (ROOT / "notebooks" / "guide" / "structure.md").read_text(encoding="utf-8")
    section = re.search(r"^## Where each equation is\n(.*?)^## ", text, re.M | re.S)[1]
    lines = [line.strip("| ").split(" | ") for line in section.splitlines() if re.match(r"\| .*\]\(", line)]
    wrong = []
    for _, where, name in lines:
        page = (ROOT / "notebooks" / "guide" / LINK.search(where)[3]).resolve()
        if re.search(r"\*(.+)\*$", where)[1] not in headings(page)[1:] or LINK.search(where)[2] != page.stem[:2]:
            wrong.append(where)
        thing = named(name.strip("`"))
        if not inspect.isfunction(thing) and not inspect.isclass(thing):
            wrong.append(name)
    assert wrong == []
    listed = " ".join(what for what, *_ in lines)
    wanted = [*(f"Eq. {n}:" for n in range(1, 6)), *(f"Fig. {n}" for n in range(1, 6)), "S6 to S10", "S1 to S3"]
    wanted += [*(f"Fig. S{n}" for n in range(1, 6)), *(f"4.{n}" for n in (1, 2, 3, 4, 6)), "Table 1", "Tables 2 to 6"]
    assert [name for name in wanted if name not in listed] == []


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
