"""Every number that a page's prose quotes is the one in its table."""

import re
from pathlib import Path

import nbformat
import pytest

from cityguessr.base.errors import InputError
from cityguessr.notebooks.quotes import quotes, requote, value

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"


def prose(page: str) -> str:
    cells = nbformat.read(NOTEBOOKS / page, as_version=4).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


@pytest.mark.parametrize("page", [path.name for path in sorted(NOTEBOOKS.glob("*.ipynb"))])
def test_every_quoted_number_is_the_one_in_its_table(page: str) -> None:
    wrong = [quote for quote in quotes(prose(page), NOTEBOOKS) if not quote.holds]
    assert not wrong, "\n".join(f"{quote.text} is {quote.actual}: {quote.link}" for quote in wrong)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lines = ["row,level,measured,difference", "videomae,city,42.149,-1.25", "planet,city,30,0.04", "planet,state,,0"]
    (tmp_path / "table.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_a_number_is_brought_up_to_date_in_its_own_form(folder: Path) -> None:
    text = (
        "now [40.0](table.csv#row=videomae&column=measured) %, [−9.9](table.csv#row=videomae&column=difference), "
        "[+9](table.csv#row=planet&level=city&column=measured), "
        "[−0.1](table.csv#row=planet&level=city&column=difference) and [a link](table.csv)"
    )
    new = requote(text, folder)
    assert re.findall(r"\[(.*?)\]", new) == ["42.1", "−1.2", "+30", "0.0", "a link"]
    assert [quote.holds for quote in quotes(text, folder)] == [False] * 4
    assert all(quote.holds for quote in quotes(new, folder))


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("row=mae&column=measured", "0 rows fit"),
        ("row=planet&column=measured", "2 rows fit"),
        ("row=planet&level=state&column=measured", "the cell holds ''"),
        ("row=planet&level=city&column=std", "no column 'std'"),
        ("row=planet&level=city", "no column ''"),
    ],
)
def test_a_link_that_leads_to_no_single_number_is_refused(folder: Path, query: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        value(folder / "table.csv", query)


def test_a_table_that_is_not_there_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="not there"):
        value(folder / "none.csv", "row=planet&column=measured")


def what_we_saw(page: str) -> str:
    """The prose of that section, with numbers that are links to a table taken out."""
    text = prose(page)
    section = text[text.index("## What we saw") : text.index("## Exercises")]
    return re.sub(r"\[[^\]]*\]\([^)]*\)", "", section)


@pytest.mark.parametrize("page", [path.name for path in sorted(NOTEBOOKS.glob("3*.ipynb"))])
def test_a_measured_number_stands_in_prose_only_as_a_link_to_its_table(page: str) -> None:
    assert not re.findall(r"\d+\.\d+|(?<![\d.])\d+(?= ?(?:%|points?\b))", what_we_saw(page).replace("95 %", ""))
