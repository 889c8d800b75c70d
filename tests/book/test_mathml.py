"""Every formula of the pages is set without a script: LaTeX becomes MathML, and what is unknown is refused."""

import re
from pathlib import Path

import nbformat
import pytest

from cityguessr.base.errors import InputError
from cityguessr.book.mathml import font_style, mathml

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
CODE = re.compile(r"```.*?```|`[^`]*`", re.DOTALL)
FORMULA = re.compile(r"\$\$(.+?)\$\$|\$([^$\n]+?)\$", re.DOTALL)


def shape(formula: str) -> str:
    """The tags and texts of a formula, without its attributes."""
    return re.sub(r" [a-z]+=\"[^\"]*\"", "", re.sub(r"^<math[^>]*>", "<math>", formula))


def formulas(text: str) -> list[tuple[str, bool]]:
    return [(block or inline, bool(block)) for block, inline in FORMULA.findall(CODE.sub("", text))]


@pytest.mark.parametrize("page", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda page: page.stem)
def test_every_formula_of_a_page_is_set(page: Path) -> None:
    cells = nbformat.read(page, as_version=4).cells
    for latex, block in formulas("\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")):
        formula = mathml(latex, block)
        assert formula.startswith("<math")
        assert "\\" not in shape(formula)


def test_a_name_of_letters_is_one_name_and_stands_apart_from_what_follows() -> None:
    assert "<mi>softmax</mi>" in shape(mathml(r"\mathrm{softmax}(x)"))
    assert "<mi>sin</mi><mspace /><mn>2</mn>" in shape(mathml(r"\sin 2x"))
    assert "<mi>cos</mi><mo>(" in shape(mathml(r"\cos(x)"))


def test_a_maximum_on_a_line_of_its_own_has_its_condition_below() -> None:
    assert "<munder><mo>max</mo><mi>j</mi></munder>" in shape(mathml(r"\max_j f_j", block=True))


def test_equations_in_a_column_are_a_table() -> None:
    formula = shape(mathml(r"\begin{aligned} a &= b\\ c &= d \end{aligned}", block=True))
    assert formula.count("<mtr>") == 2
    assert "&amp;" not in formula


def test_a_formula_keeps_its_source_for_those_who_hear_it() -> None:
    assert 'alttext="a &lt; b_1"' in mathml("a < b_1")


@pytest.mark.parametrize("latex", [r"\nosuchcommand x", r"\frac{1}{", "a & b"])
def test_what_cannot_be_set_is_refused(latex: str) -> None:
    with pytest.raises(InputError, match="plainer LaTeX"):
        mathml(latex)


def test_the_font_of_the_formulas_comes_with_the_page() -> None:
    style = font_style()
    assert style.count("url(data:font/woff;base64,") == style.count("url(") == 1
    assert len(style) < 500_000
