"""The book: links lead somewhere, pictures have words, nothing asks the network; built here from two small pages."""

import base64
import io
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from cityguessr.base.errors import InputError
from cityguessr.book import contents
from cityguessr.book.build import build
from cityguessr.book.check import Page, check, problems
from cityguessr.book.links import Library, slug
from cityguessr.book.staging import pictures, stage

ROOT = Path(__file__).resolve().parents[2]


def png() -> str:
    file = io.BytesIO()
    Image.new("RGB", (40, 30), "navy").save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def project(root: Path) -> Path:
    """Two pages, a front page, a table and a figure, linked in all the ways that the real pages use."""
    tables = root / "figures" / "tables"
    tables.mkdir(parents=True)
    (tables / "table2.csv").write_text("row,level,measured\nvideomae,city,64.04\nvideomae,state,65.1\n")
    Image.new("RGB", (40, 30)).save(root / "figures" / "fig2.png")
    (root / "figures" / "timings.json").write_text("{}")
    link = "../figures/tables/table2.csv#row=videomae&level=state&column=measured"
    first = [
        new_markdown_cell(f"# The first page\n`21_second` finds [65.1]({link}) % of $x_1$, [as below](#A-toy,-first)."),
        new_markdown_cell(
            "## A toy, first\n$$\\frac{a}{b}$$\n\n<details><summary>Hint</summary>\n\nTry $c$.\n\n</details>"
        ),
        new_code_cell(
            'ax.set_title("Nine dots")',
            execution_count=1,
            outputs=[new_output("display_data", {"image/png": png(), "text/plain": "<Figure>"})],
        ),
        new_code_cell(
            "widget",
            execution_count=2,
            outputs=[
                new_output(
                    "display_data",
                    {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "text/html": "<b>still</b>"},
                )
            ],
        ),
    ]
    second = [
        new_markdown_cell(
            "# The second page\nBack to [the toy](20_first.ipynb#a-toy-first) and to [a file](../setup.py)."
        ),
        new_code_cell(
            "show()",
            execution_count=1,
            outputs=[
                new_output("display_data", {"image/png": png()}, metadata={"image/png": {"alt": "A map of errors"}})
            ],
        ),
    ]
    (root / "setup.py").touch()
    (root / "notebooks" / "guide").mkdir(parents=True)
    nbformat.write(new_notebook(cells=first), root / "notebooks" / "20_first.ipynb")
    nbformat.write(new_notebook(cells=second), root / "notebooks" / "21_second.ipynb")
    guide = root / "notebooks" / "guide"
    (guide / "index.md").write_text(
        "# Welcome\n![Where the clips are](../../figures/fig2.png)\n\nTo [words](glossary.md).\n"
    )
    (guide / "glossary.md").write_text(
        "# Glossary\nSee [the second page](../21_second.ipynb) ([its results](../../figures/timings.json)).\n"
    )
    return root


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = project(tmp_path_factory.mktemp("project"))
    return build(root, root / "runs" / "book").parent


def test_a_built_book_has_no_fault(book: Path) -> None:
    assert check(book) == 6  # two notebooks, the guide's two pages, the table, the search


def test_a_number_leads_to_its_cell_of_the_table(book: Path) -> None:
    assert 'href="tables/table2.html#r1-2"' in (book / "20_first.html").read_text()
    assert '<td id="r1-2">65.1</td>' in (book / "tables" / "table2.html").read_text()


def test_a_page_in_code_font_is_a_link_and_a_file_outside_the_book_is_none(book: Path) -> None:
    assert 'href="21_second.html"' in (book / "20_first.html").read_text()
    page = (book / "21_second.html").read_text()
    assert 'href="20_first.html#a-toy-first"' in page
    assert "setup.py" not in page
    assert 'href="files/timings.json"' in (book / "glossary.html").read_text()
    assert "←" not in page  # the book has its own way to the page before


def test_every_picture_has_words(book: Path) -> None:
    words = [dict(a)["alt"] for a in images(book / "20_first.html") + images(book / "21_second.html")]
    assert words == ["A toy, first. Nine dots", "A map of errors"]


def images(page: Path) -> list[list[tuple[str, str | None]]]:
    """The attributes of the pictures among a page's outputs."""
    found: list[list[tuple[str, str | None]]] = []

    class Images(Page):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            super().handle_starttag(tag, attrs)
            if tag == "img" and (dict(attrs).get("src") or "").startswith("pictures/"):
                found.append(attrs)

    Images(page.read_text())
    return found


def test_the_side_bar_has_parts_and_titles(book: Path) -> None:
    page = (book / "index.html").read_text()
    for words in ("Method and training", "20 · The first page", "Guide", "Glossary"):
        assert words in page


def test_formulas_are_set_and_hints_fold(book: Path) -> None:
    page = (book / "20_first.html").read_text()
    assert page.count("<math ") == 3
    assert "<details>" in page
    assert "widget-view" not in page


def test_on_paper_nothing_is_folded_and_a_number_is_no_link(tmp_path: Path) -> None:
    stage(project(tmp_path), tmp_path / "work", printed=True)
    first = (tmp_path / "work" / "source" / "20_first.ipynb").read_text()
    assert "<details open>" in first
    assert "table2" not in first
    assert not (tmp_path / "work" / "source" / "tables").exists()


FAULTS = {
    '<script src="https://cdn.example/x.js"></script>': "asks the network",
    "<style>@font-face { src: url(//fonts.example/a.woff) }</style>": "asks the network",
    '<iframe title="map" srcdoc="&lt;img alt=a src=http://x.example/a.png&gt;"></iframe>': "asks the network",
    '<img src="data:image/png;base64,AA">': "no words",
    '<a href="gone.html">there</a>': "which is not there",
    '<a href="#gone">there</a>': "no such place",
    '<img alt="a map" src="pictures/gone.png">': "loads pictures/gone.png",
    r"<p>the loss \frac{1}{2}</p>": "a formula that was not set",
}


@pytest.mark.parametrize("fault", FAULTS, ids=FAULTS.values())
def test_a_fault_is_found(tmp_path: Path, fault: str) -> None:
    (tmp_path / "index.html").write_text(
        '<p id="here">all <a href="#here">well</a> and <a href="https://x.example">far</a></p>'
    )
    assert list(problems(tmp_path)) == []
    (tmp_path / "faulty.html").write_text(fault)
    with pytest.raises(InputError, match=FAULTS[fault]):
        check(tmp_path)


def test_a_dead_link_stops_the_book(tmp_path: Path) -> None:
    page = tmp_path / "notebooks" / "20_first.ipynb"
    library = Library(tmp_path, {page: "20_first"})
    with pytest.raises(InputError, match=r"20_first.ipynb: a link leads to ../gone.png"):
        library.relink("See ![a map](../gone.png)", page)
    kept = "Code `[a](gone.md)`, and\n```sh\n[b](gone.md)\n```\nand [far](https://x.example)."
    assert library.relink(kept, page) == kept


def test_a_heading_has_one_name_however_a_link_writes_it() -> None:
    assert slug("8. From probabilities to a place (section 4.6)") == slug(
        "8.-From-probabilities-to-a-place-(section-4.6)"
    )


def test_the_links_of_all_pages_lead_somewhere_and_all_pictures_have_words(tmp_path: Path) -> None:
    library = stage(ROOT, tmp_path)
    assert len(library.pages) >= len(list((ROOT / "notebooks").glob("*.ipynb")))
    for page in library.pages:
        if page.suffix == ".ipynb":
            shown = pictures(nbformat.read(page, as_version=4), page)
            assert [p.name for p in shown if len(p.alt.split()) < 3] == []


def test_every_page_has_a_part_of_the_book() -> None:
    placed = [page for part in contents.parts(ROOT / "notebooks") for page in part.pages]
    assert {page.name for page in placed} >= {page.name for page in (ROOT / "notebooks").glob("*.ipynb")}
    assert len({part.caption for part in contents.parts(ROOT / "notebooks")}) >= 8
