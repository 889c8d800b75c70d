"""A reader can go from page to page: each links the one before and the one after, and every page that it names."""

from pathlib import Path

import nbformat
import pytest

from cityguessr.notebooks import links

FOLDER = Path(__file__).parents[2] / "notebooks"
PAGES = sorted(FOLDER.glob("[0-9][0-9]_*.ipynb"))
SOLUTIONS = sorted((FOLDER / "solutions").glob("*.ipynb"))
NAMES = {page.stem for page in PAGES} | {f"solutions/{page.stem}" for page in SOLUTIONS}


def prose(page: Path) -> list[str]:
    return [cell.source for cell in nbformat.read(page, as_version=4).cells if cell.cell_type == "markdown"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_ends_with_its_neighbours(page: Path) -> None:
    assert prose(page)[-1].splitlines()[-1] == links.navigation(page, PAGES)


@pytest.mark.parametrize("page", [*PAGES, *SOLUTIONS], ids=lambda page: page.stem)
def test_no_link_is_dead_and_every_page_named_is_linked(page: Path) -> None:
    for text in prose(page):
        assert list(links.dead(text, page.parent)) == []
        assert links.unlinked(text, NAMES - {page.stem}) == []


def test_every_page_with_exercises_names_its_solutions() -> None:
    for page in PAGES:
        text = "\n".join(prose(page))
        assert "## Exercises" in text, page.stem
        assert "(solutions/" in text, page.stem


def test_navigation_of_the_first_the_second_and_the_last(tmp_path: Path) -> None:
    pages = []
    for name, heading in (("00_a", "Start"), ("01_b", "Second"), ("02_c", "Third")):
        pages.append(tmp_path / f"{name}.ipynb")
        cell = nbformat.v4.new_markdown_cell(f"# {heading}\nWhat?")
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), pages[-1])
    first, second, last = (links.navigation(page, pages) for page in pages)
    assert first == "[Second](01_b.ipynb) →"
    assert second == "← [Start](00_a.ipynb) · [Third](02_c.ipynb) →"
    assert last == "← [Second](01_b.ipynb) · [Start](00_a.ipynb)"


def test_a_dead_link_is_found_and_code_is_none(tmp_path: Path) -> None:
    (tmp_path / "here.csv").touch()
    text = "[a](here.csv#x=1), [b](gone.csv#x), [c](https://example.org/x), [d](#below), `[e](code)`"
    assert list(links.dead(text, tmp_path)) == ["gone.csv#x"]
    assert links.unlinked("`20_a` and [`20_a`](20_a.ipynb), `other`", {"20_a"}) == ["20_a"]
