"""The slides: one Markdown file, its pictures taken from the pages and from `figures/` whenever it is built.

    # A chapter
    ## What the slide says in a line
    One sentence. ![what it shows](../../figures/fig2_data_distribution.png)

    > What to say, and that it is from `11_explore_dataset`.

A picture can be one that a page shows: the page's file, and after `#` the title of the section it stands in, as in
links to headings, or a piece of the code that draws it; `:2` after that takes the second one. Formulas are LaTeX
between dollars.
"""

import functools
import html
import io
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import nbformat
from PIL import Image

from cityguessr.base.errors import InputError
from cityguessr.base.files import write_bytes
from cityguessr.book import contents
from cityguessr.book.links import slug
from cityguessr.book.mathml import font_style, mathml
from cityguessr.book.staging import Picture, pictures

_REVEAL = ("reset.css", "reveal.css", "reveal.js")
_STYLE = '<link rel="stylesheet" href="reveal/reveal.css">\n'
_SCRIPT = """<script src="reveal/reveal.js"></script>
<script src="reveal/notes.js"></script>
<script>
Reveal.initialize({
  width: 1280, height: 720, margin: 0.03, center: false, display: "flex", hash: true, controls: false,
  slideNumber: "c/t", transition: "none", backgroundTransition: "none", plugins: [RevealNotes],
});
</script>"""


@dataclass(frozen=True)
class Slide:
    """One slide.

    Attributes:
        chapter: the title of the chapter it belongs to.
        title: in HTML, as are `words` and `note`.
        words: what stands under the title, pictures and formulas left out.
        shown: pictures, each with its file in the deck, its content and its words.
        others: formulas and tables, in HTML.
        note: what the speaker says.
        sources: names of the pages that it comes from.
    """

    chapter: str
    title: str
    words: str
    shown: Sequence[tuple[str, bytes, str]]
    others: str
    note: str
    sources: Sequence[str]


def build_deck(root: Path, target: Path) -> tuple[Path, int]:
    """Build the slides.

    Args:
        root: of the project.
        target: the folder for them; what was there before is replaced.

    Returns its page, and the number of slides; `paper.html` beside it is for a printer. Raises InputError as
    `read_deck` does.
    """
    slides = read_deck(root / "notebooks" / "guide" / f"{contents.APART[0]}.md")
    shutil.rmtree(target, ignore_errors=True)
    package = resources.files("sphinx_revealjs") / "_static" / "revealjs"
    for name in _REVEAL:
        write_bytes(target / "reveal" / name, (package / "dist" / name).read_bytes())
    write_bytes(target / "reveal" / "notes.js", (package / "plugin" / "notes" / "notes.js").read_bytes())
    write_bytes(target / "reveal" / "LICENSE", (package / "LICENSE").read_bytes())
    write_bytes(target / "formulas.css", font_style().encode())
    here = resources.files("cityguessr.book") / "static"
    write_bytes(target / "slides.css", (here / "slides.css").read_bytes())
    for slide in slides:
        for name, content, _ in slide.shown:
            write_bytes(target / "pictures" / name, content)
    template = (here / "slides.html").read_text(encoding="utf-8")
    sections = "\n".join(map(_section, slides))
    shown = {"style": _STYLE, "script": _SCRIPT, "kind": "shown", "slides": sections}
    for name, parts in (("index.html", shown), ("paper.html", shown | {"style": "", "script": "", "kind": "paper"})):
        write_bytes(target / name, re.sub(r"\{\{(\w+)\}\}", lambda m, parts=parts: parts[m[1]], template).encode())
    return target / "index.html", len(slides)


def read_deck(file: Path) -> list[Slide]:
    """The slides of a Markdown file.

    Raises InputError for a slide without a sentence, without a picture, formula or table, without a note or a page
    that it comes from; and for a picture that is not there.
    """
    if not file.is_file():
        raise InputError(f"{file}: no slides here; write them in Markdown")
    parser = _parser()
    tokens = parser.parse(file.read_text(encoding="utf-8"))
    slides, chapter, start = [], "", None
    for here, token in enumerate(tokens):
        if token.type != "heading_open" or token.level:
            continue
        if start is not None:
            slides.append(_slide(parser, tokens[start:here], chapter, file))
        start = here if token.tag == "h2" else None
        if token.tag == "h1":
            chapter = tokens[here + 1].content
    if start is not None:
        slides.append(_slide(parser, tokens[start:], chapter, file))
    if not slides:
        raise InputError(f"{file.name}: no slide; each begins with a heading of the second level")
    return slides


def _parser() -> Any:
    from markdown_it import MarkdownIt
    from mdit_py_plugins.dollarmath import dollarmath_plugin

    def formula(latex: str, options: dict[str, Any]) -> str:
        return mathml(latex, options.get("display_mode", False))

    parser = MarkdownIt("commonmark").enable("table")
    parser.use(dollarmath_plugin, renderer=formula, allow_digits=False)
    parser.add_render_rule("link_open", lambda *_: '<span class="quote">')
    parser.add_render_rule("link_close", lambda *_: "</span>")
    return parser


def _slide(parser: Any, tokens: Sequence[Any], chapter: str, file: Path) -> Slide:
    """A slide from its tokens, the heading first."""
    title = parser.renderer.render([tokens[1]], parser.options, {})
    where = f"{file.name}, line {tokens[0].map[0] + 1}, {tokens[1].content!r}"
    words, others, note, shown = [], [], [], []
    for block in _blocks(tokens[3:]):
        kind = block[0].type
        images = [child for child in (block[1].children or []) if child.type == "image"] if len(block) > 1 else []
        if kind == "blockquote_open":
            note += block[1:-1]
        elif images:
            shown += [_shown(image, file, where) for image in images]
            rest = [child for child in block[1].children if child.type != "image"]
            if any(child.content.strip() for child in rest):
                block[1].children = rest
                words += block
        elif kind in ("math_block", "table_open", "math_block_label"):
            others += block
        else:
            words += block
    rendered = {
        name: parser.renderer.render(part, parser.options, {}).replace(" %", "\N{NO-BREAK SPACE}%")
        for name, part in (("words", words), ("others", others), ("note", note))
    }
    sources = re.findall(r"<code>(\d\d_\w+)</code>", rendered["note"])
    for lacking, what in (
        (not re.search(r"\w", rendered["words"]), "no sentence"),
        (not shown and not others, "no picture, formula or table"),
        (not note, "no note for the speaker, a paragraph that begins with >"),
        (not sources, "no page in its note, such as `20_model_step_by_step`"),
    ):
        if lacking:
            raise InputError(f"{where}: the slide has {what}; add it")
    for page in sources:
        if not (file.parent.parent / f"{page}.ipynb").is_file():
            raise InputError(f"{where}: there is no page {page}; correct the note")
    return Slide(chapter, title, rendered["words"], shown, rendered["others"], rendered["note"], sources)


def _blocks(tokens: Sequence[Any]) -> list[list[Any]]:
    """The blocks of the outermost level: each from its opening token to its closing one."""
    blocks: list[list[Any]] = []
    depth = 0
    for token in tokens:
        if depth == 0:
            blocks.append([])
        blocks[-1].append(token)
        depth += token.nesting
    return blocks


def _shown(image: Any, file: Path, where: str) -> tuple[str, bytes, str]:
    """A picture's file in the deck, its content, and its words. Raises InputError where there is none."""
    words = image.content.strip()
    if not words:
        raise InputError(f"{where}: a picture has no words; write them between the brackets of ![]")
    name, _, fragment = image.attrs["src"].partition("#")
    path = (file.parent / name).resolve()
    if not path.is_file():
        raise InputError(f"{where}: there is no {name}; name a file of figures/, or a page and a section of it")
    if path.suffix != ".ipynb":
        return path.name, path.read_bytes(), words
    section, _, number = fragment.partition(":")
    shown = _pictures(path)
    found = [picture for picture in shown if slug(picture.section) == section]
    found = found or [picture for picture in shown if unquote(section) in picture.code]
    if len(found) < int(number or 1):
        known = ", ".join(dict.fromkeys(slug(picture.section) for picture in shown))
        raise InputError(f"{where}: {path.stem} shows no picture {number or 1} in #{section}; it has some in {known}")
    picture = found[int(number or 1) - 1]
    return picture.name, picture.content, words


@functools.lru_cache(maxsize=64)
def _pictures(page: Path) -> list[Picture]:
    return list(pictures(nbformat.read(page, as_version=4), page))


def _section(slide: Slide) -> str:
    pictures = "".join(f'<img src="pictures/{name}" alt="{html.escape(words)}">' for name, _, words in slide.shown)
    shown = f'<div class="shown">{pictures}</div>' if pictures else ""
    others = f'<div class="others">{slide.others}</div>' if slide.others else ""
    sources = " · ".join(html.escape(name) for name in dict.fromkeys(slide.sources))
    body = f'<div class="beside">{others}{shown}</div>' if others and shown else others + shown
    return (
        f'<section class="{"tall" if _is_tall(slide) else "wide"}">\n<h2>{slide.title}</h2>\n'
        f'<div class="words">{slide.words}</div>\n{body}\n'
        f"<footer><span>{html.escape(slide.chapter)}</span><span>{sources}</span></footer>\n"
        f'<aside class="notes">{slide.note}</aside>\n</section>'
    )


def _is_tall(slide: Slide) -> bool:
    """Whether all that a slide shows is one picture that is hardly wider than high."""
    if len(slide.shown) != 1 or slide.others:
        return False
    with Image.open(io.BytesIO(slide.shown[0][1])) as image:
        return image.width < 1.25 * image.height
