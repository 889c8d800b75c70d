"""What Sphinx is told about this book: formulas as MathML, and where names in code may break."""

import re
from typing import Any

from docutils import nodes

from cityguessr.base.errors import InputError
from cityguessr.book.columns import breaking
from cityguessr.book.mathml import mathml


def setup(app: Any) -> dict[str, Any]:
    """Called by Sphinx, which finds this module by its name in the list of extensions."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    app.connect("html-page-context", _break_names)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


_NAME = re.compile(r'(?<=<span class="pre">)[^<]+')


def names_break(body: str) -> str:
    """HTML in which a name in code, such as `text.features.text_features`, may break after a mark between its parts."""
    return _NAME.sub(lambda name: breaking(name[0], "._/"), body)


def _break_names(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    if "body" in context:
        context["body"] = names_break(context["body"])


def _inline(translator: Any, node: nodes.math) -> None:
    _write(translator, node, block=False)


def _block(translator: Any, node: nodes.math_block) -> None:
    _write(translator, node, block=True)


def _write(translator: Any, node: nodes.Element, block: bool) -> None:
    from sphinx.util import logging

    try:
        formula = mathml(node.astext(), block)
    except InputError as error:
        logging.getLogger(__name__).warning(str(error), location=node)
        formula = ""
    # a word joiner after it: no line begins with the comma that follows a formula
    translator.body.append(f'<div class="formula">{formula}</div>' if block else f"{formula}&#8288;")
    raise nodes.SkipNode
