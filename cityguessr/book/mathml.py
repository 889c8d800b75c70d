"""Formulas as MathML: written when the book is built, set by the browser, without a script and without a network.

LaTeX becomes MathML with latex2mathml. Browsers set it with the font that a page names if that font has a table of
mathematics: a part of STIX Two Math, which the package ziamath carries, goes into the style sheet itself.
"""

import base64
import importlib.util
import io
import logging
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from latex2mathml.converter import convert

from cityguessr.base.errors import InputError

_SPACE = "{http://www.w3.org/1998/Math/MathML}"
FUNCTIONS = ("arcsin", "arccos", "arctan", "arg", "cos", "exp", "ln", "log", "max", "min", "sin", "softmax", "tan")
_ROWS = [_SPACE + name for name in ("math", "mrow", "mtd", "mstyle", "msqrt")]
_WITH_INDEX = [_SPACE + name for name in ("msup", "msub", "msubsup", "munder", "munderover", "mrow")]
_LETTERS = [_SPACE + name for name in ("mi", "mn", "msub", "msup", "msubsup", "mfrac")]
# Letters, Greek, punctuation, letterlike signs, arrows, operators, brackets, mathematical alphabets.
_RANGES = ((0x20, 0xFF), (0x2B0, 0x3FF), (0x2000, 0x206F), (0x2070, 0x209F), (0x2100, 0x22FF), (0x2308, 0x230B))
_MORE = ((0x239B, 0x23B7), (0x23DC, 0x23E1), (0x27E6, 0x27EF), (0x1D400, 0x1D4CF), (0x1D538, 0x1D56B))


def mathml(latex: str, block: bool = False) -> str:
    """A formula as a MathML element.

    Args:
        latex: without the dollars around it.
        block: whether it stands on a line of its own.

    Raises InputError where a command of it is not known.
    """
    source = re.sub(r"\\(?:d|t)frac(?![a-zA-Z])", r"\\frac", latex) if block else latex
    source = re.sub(r"\\arg(?![a-zA-Z])", r"\\operatorname{arg}", source)
    source = re.sub(r"\\(begin|end)\{aligned\}", r"\\\1{align*}", source)
    try:
        root = ElementTree.fromstring(convert(source.strip(), display="block" if block else "inline"))
    except Exception as error:  # latex2mathml has a dozen exceptions without a common base, and writes some bad XML
        raise InputError(f"formula {latex!r}: {type(error).__name__} {error}; write it in plainer LaTeX") from None
    for element in root.iter():
        if element.text and "\\" in element.text:
            raise InputError(f"formula {latex!r}: {element.text} is not known here; write it in plainer LaTeX")
        if element.tag == f"{_SPACE}mtext" and element.text:
            element.text = element.text.replace(" ", "\N{NO-BREAK SPACE}")  # a browser drops others at the ends
    for parent in list(root.iter()):
        _join_letters(parent)
        if block and parent.tag == f"{_SPACE}msub" and _name(parent) in ("max", "min"):
            parent.tag = f"{_SPACE}munder"
    for row in list(root.iter()):
        if row.tag in _ROWS:
            _space_functions(row)
    ElementTree.register_namespace("", _SPACE[1:-1])
    root.set("alttext", latex.strip())
    return ElementTree.tostring(root, encoding="unicode")


def _join_letters(parent: Any) -> None:
    """A word of upright letters, one element each, becomes one element: it is one name, and is set as one."""
    children = list(parent)
    if len(children) > 1 and all(c.tag == f"{_SPACE}mi" and c.get("mathvariant") == "normal" for c in children):
        children[0].text = "".join(child.text or "" for child in children)
        for child in children[1:]:
            parent.remove(child)


def _space_functions(row: Any) -> None:
    """A thin space between the name of a function and an argument without brackets, as in `sin 2x`, and before it."""
    children = list(row)
    for here, child in enumerate(children):
        if _name(child) not in FUNCTIONS:
            continue
        if not len(child):
            child.tag, child.attrib = f"{_SPACE}mi", {}
        after = children[here + 1] if here + 1 < len(children) else None
        if after is not None and after.tag != f"{_SPACE}mspace" and "".join(after.itertext())[:1] not in "([":
            row.insert(list(row).index(child) + 1, _thin())
        if here and children[here - 1].tag in _LETTERS and _name(children[here - 1]) not in FUNCTIONS:
            row.insert(list(row).index(child), _thin())


def _name(element: Any) -> str:
    """What an element is called, without what is written above or below it."""
    while len(element) and element.tag in _WITH_INDEX:
        element = element[0]
    return "" if len(element) > 1 else "".join(element.itertext()).strip()


def _thin() -> Any:
    return ElementTree.Element(f"{_SPACE}mspace", {"width": "0.167em"})


def font_style() -> str:
    """A style sheet that carries the font of the formulas, and sets them with it."""
    return (
        "@font-face { font-family: 'STIX Two Math'; font-display: block; "
        f"src: url(data:font/woff;base64,{base64.b64encode(_font()).decode()}) format('woff'); }}\n"
        "math { font-family: 'STIX Two Math', math; font-size: 1.06em; }\n"
        "math[display='block'] { margin: 0.9em 0; }\n"
        "mtd { text-align: left; }\n"
        "mtd[columnalign='right'] { text-align: right; padding-right: 0; }\n"
        "mtd[columnalign='right'] + mtd { padding-left: 0; }\n"
    )


def _font() -> bytes:
    """STIX Two Math, cut down to the signs that a formula of the pages can have."""
    from fontTools import subset, ttLib  # half a second, and only a build needs it

    logging.getLogger("fontTools").setLevel(logging.ERROR)  # or it tells each sign that the font does not have
    package = importlib.util.find_spec("ziamath")  # found and not imported, which would open all its fonts
    if package is None or not package.origin:
        raise InputError("the package ziamath is not installed, which carries the font of the formulas; run make env")
    font = ttLib.TTFont(Path(package.origin).parent / "fonts" / "STIXTwoMath-Regular.ttf")
    options = subset.Options(
        layout_features=["ccmp", "ssty", "mark", "mkmk"], flavor="woff", drop_tables=["DSIG"], notdef_outline=True
    )
    cutter = subset.Subsetter(options)
    cutter.populate(unicodes=[sign for first, last in (*_RANGES, *_MORE) for sign in range(first, last + 1)])
    cutter.subset(font)
    font.flavor = "woff"
    written = io.BytesIO()
    font.save(written)
    return written.getvalue()
