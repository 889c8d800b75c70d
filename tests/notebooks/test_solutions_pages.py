"""Every exercise of a page that names a solutions page is solved there, by cells that ran; what they show has words."""

import re
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
SOLUTIONS = sorted((NOTEBOOKS / "solutions").glob("*.ipynb"))


def prose(path: Path) -> str:
    cells = nbformat.read(path, as_version=4).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def exercises(page: Path) -> tuple[set[int], str | None]:
    """The numbers of a page's exercises, and the solutions page that it names."""
    text = prose(page)
    section = text[text.index("## Exercises") :]
    named = re.search(r"`solutions/(\w+)`", section)
    return {int(n) for n in re.findall(r"^(?:\*\*)?(\d+)\.", section, re.M)}, named and named[1]


@pytest.mark.parametrize("page", sorted(NOTEBOOKS.glob("[0-9]*.ipynb")), ids=lambda path: path.stem)
def test_the_named_solutions_page_has_every_exercise(page: Path) -> None:
    numbers, named = exercises(page)
    if named is None:
        pytest.skip("this page names no solutions page")
    solved = re.findall(
        rf"^## Page {page.stem[:2]}, exercise (\d+)$", prose(NOTEBOOKS / "solutions" / f"{named}.ipynb"), re.M
    )
    assert numbers
    assert {int(n) for n in solved} == numbers


@pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)
def test_solutions_were_run_from_top_to_bottom_without_an_error(path: Path) -> None:
    code = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert "parameters" in code[0].metadata.tags
    assert "notebooks.check_parameters(globals())" in code[1].source
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]


def cells(html: str, kind: str) -> list[list[str]]:
    """The texts of the cells `th` or `td` of a table, row by row."""
    rows = [re.findall(rf"<{kind}\b.*?</{kind}>", row, re.S) for row in re.findall(r"<tr.*?</tr>", html, re.S)]
    return [[re.sub(r"<[^>]*>", "", cell).strip() for cell in row] for row in rows if row]


@pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)
def test_tables_of_solutions_have_words_at_their_heads_and_whole_numbers_where_they_count(path: Path) -> None:
    """No id such as `val_city` or `mrd`, no True, and no 593.0 frames."""
    outputs = [output for cell in nbformat.read(path, as_version=4).cells for output in cell.get("outputs", [])]
    tables = [html for output in outputs if "<table" in (html := output.get("data", {}).get("text/html", ""))]
    raw = re.compile(r"[a-z0-9]+(_[a-z0-9.]+)+( .*)?|True|False|dfd|mrd|ece|km|NaN")  # Lyon_0001 is the name of a clip
    assert [head for html in tables for row in cells(html, "th") for head in row if raw.fullmatch(head)] == []
    for html in tables:
        for column in zip(*cells(html, "td"), strict=True):
            counts = [float(value.replace(",", "")) for value in column if re.fullmatch(r"[\d,]+\.0+", value)]
            assert len(counts) < len(column) or max(counts) <= 100, column  # up to 100 it may be a share


@pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)
def test_pictures_of_solutions_have_words_beside_them(path: Path) -> None:
    outputs = [output for cell in nbformat.read(path, as_version=4).cells for output in cell.get("outputs", [])]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    words = [output.metadata.get("image/png", {}).get("alt", "") for output in pictures]
    assert [alt for alt in words if len(alt.split()) < 3] == []
