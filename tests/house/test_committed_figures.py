"""Every figure of the paper and of the supplement is drawn by one notebook, and what is kept of it is light and whole.

`figures/` is what `make notebooks` renders; nothing here draws.
"""

import ast
import base64
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from PIL import Image

from cityguessr.notebooks import runner

ROOT = Path(__file__).resolve().parents[2]
FIGURES = ROOT / "figures"
PAGES = sorted((ROOT / "notebooks").glob("*.ipynb"))
OF_THE_PAPER = [f"fig{n}" for n in range(1, 6)] + [f"fig_s{n}" for n in range(1, 11)]
KEPT = sorted(FIGURES.glob("*.png"))
MEGABYTE = 1_000_000


def of(number: str, suffix: str) -> list[Path]:
    """The files of a figure: `fig_s3_...` and its parts, `fig_s3a_...`."""
    return sorted(path for path in FIGURES.glob(f"{number}*{suffix}") if re.match(rf"{number}[a-z]?_", path.name))


@functools.cache
def code(page: Path) -> str:
    return "\n".join(cell.source for cell in nbformat.read(page, as_version=4).cells if cell.cell_type == "code")


@functools.cache
def sources() -> dict[Path, str]:
    """All code, of the package and of the notebooks, by its path from the root."""
    modules = (ROOT / "cityguessr").rglob("*.py")
    texts = {path.relative_to(ROOT): path.read_text(encoding="utf-8") for path in modules}
    return texts | {page.relative_to(ROOT): code(page) for page in PAGES}


@functools.cache
def pages_saving(number: str) -> list[str]:
    """The notebooks in whose code a string, plain or formatted, begins with the figure's name."""
    savers = []
    for page in PAGES:
        texts = [node.value for node in ast.walk(ast.parse(code(page))) if isinstance(node, ast.Constant)]
        if any(isinstance(text, str) and re.match(rf"{number}(?:[a-z]?_|$)", text) for text in texts):
            savers.append(page.stem)
    return savers


@pytest.mark.parametrize("number", OF_THE_PAPER)
def test_one_notebook_draws_it(number: str) -> None:
    pages = pages_saving(number)
    assert len(pages) == 1, f"{number} is drawn by {', '.join(pages) or 'no notebook'}"
    assert runner.find(number).stem == pages[0], f"`make {number}` runs another notebook"
    assert "figures.save(" in code(ROOT / "notebooks" / f"{pages[0]}.ipynb")


@pytest.mark.parametrize("number", OF_THE_PAPER)
def test_it_is_there_as_picture_as_vectors_and_as_numbers(number: str) -> None:
    pictures = of(number, ".png")
    assert pictures, f"figures/ has no {number}_*.png: make {number}"
    for picture in pictures:
        for kind in (".pdf", ".csv"):
            assert picture.with_suffix(kind).is_file(), f"{picture.stem} has no {kind}"


@pytest.mark.parametrize("picture", KEPT, ids=lambda path: path.stem)
def test_a_kept_figure_is_light_wide_enough_and_whole(picture: Path) -> None:
    assert picture.stat().st_size <= MEGABYTE
    with Image.open(picture) as image:
        width = image.width / image.info["dpi"][0]
        assert image.info["dpi"][0] >= 100, "too coarse to print"
        assert 2.4 <= width <= 7.7, f"{width:.1f} inches wide: neither a column nor a text width"
        assert image.height / image.info["dpi"][1] <= 10.2, "taller than a page"
        image.load()
    assert picture.with_suffix(".pdf").read_bytes().rstrip().endswith(b"%%EOF")


@pytest.mark.parametrize("picture", KEPT, ids=lambda path: path.stem)
def test_the_numbers_of_a_kept_figure_can_be_read(picture: Path) -> None:
    path = picture.with_suffix(".csv")
    assert path.is_file(), f"{picture.stem} has no CSV: give figures.save what it shows"
    frame = pd.read_csv(path)
    may_be_empty = re.match(r"fig_s(6|7|8|9|10)_", picture.stem)  # of answers of one kind, and there may be none
    assert len(frame) or may_be_empty, f"{path.name} has no row"
    assert not [name for name in frame if name.startswith("Unnamed")], f"{path.name} has a column without a name"
    assert frame.notna().any(axis=1).all(), f"{path.name} has an empty row"


def test_what_is_kept_is_not_heavy() -> None:
    heavy = sum(path.stat().st_size for path in FIGURES.rglob("*") if path.is_file())
    assert heavy <= 23 * MEGABYTE, f"figures/ has {heavy / MEGABYTE:.1f} MB"
    assert not [path.name for path in FIGURES.iterdir() if path.suffix not in (".png", ".pdf", ".csv", ".html", "")]


def shown(page: Path) -> Iterator[tuple[int, str, str]]:
    """Each image among the outputs of a page: the cell's number, its kind, its content."""
    for number, cell in enumerate(nbformat.read(page, as_version=4).cells):
        for output in cell.get("outputs", []):
            for kind, content in output.get("data", {}).items():
                if kind.startswith("image/"):
                    yield number, kind, content


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_no_image_on_a_page_is_heavy(page: Path) -> None:
    for number, kind, content in shown(page):
        heavy = len(content) if kind == "image/svg+xml" else len(base64.b64decode(content))
        assert heavy <= MEGABYTE, f"the image of cell {number} has {heavy / MEGABYTE:.1f} MB"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_a_page_that_draws_wears_the_house_s_style(page: Path) -> None:
    if re.search(r"\bfigures\.|\bplt\.|\bmaps\.", code(page)):
        assert "figures.use_style()" in code(page)


def test_colours_are_named_in_one_place() -> None:
    """One palette: a colour typed by hand elsewhere would escape the tests for colour-blind readers."""
    hand = re.compile(r"[\"']#(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6}|[0-9a-fA-F]{8})[\"']")
    typed = {
        str(path): hand.findall(text) for path, text in sources().items() if path != Path("cityguessr/figures/style.py")
    }
    assert {path: colours for path, colours in typed.items() if colours} == {}


SIZES = re.compile(r"(?:\bfontsize|\blabelsize|\btitlesize|[\"'(, ]size)=\s*(\d+(?:\.\d+)?)\b")


def test_no_type_is_set_below_seven_points() -> None:
    """What the code asks for; the tests of each figure measure what is drawn."""
    assert SIZES.findall('fontsize=6.5, labelsize=8, ax.text(0, 0, "a", size=7)') == ["6.5", "8", "7"]
    small = {
        str(path): sizes
        for path, text in sources().items()
        if "miniworld" not in path.parts and (sizes := [size for size in SIZES.findall(text) if 1.5 < float(size) < 7])
    }
    assert small == {}
    style = (ROOT / "cityguessr" / "figures" / "cityguessr.mplstyle").read_text(encoding="utf-8")
    given = re.findall(r"^(?:font\.size|.*(?:labelsize|titlesize|fontsize)): *([\d.]+)", style, re.MULTILINE)
    assert min(map(float, given)) >= 7


def test_mean_colour_alone_finds_less_than_a_third_of_the_cities_that_a_video_model_finds() -> None:
    """No city of MiniWorld is given away by the colour of its pictures."""
    cues = pd.read_csv(FIGURES / "single_cues.csv").set_index("cue").loc["mean colour"]
    table = pd.read_csv(FIGURES / "tables" / "table3.csv").query("row == 'videomae' and level == 'city'")
    measured = table.set_index("metric")["measured"]
    assert cues["seen"] < measured["top1"] / 3
    assert cues["unseen"] < measured["top1_unseen"] / 3
