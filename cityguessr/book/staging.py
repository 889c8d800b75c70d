"""From the project's pages to a folder that Sphinx can read: links led into the book, pictures as files with words.

Pictures in the outputs of a notebook become files beside the pages, with alternative text: what the page gave, or else
the title of its section and the titles in the code that drew it. A widget becomes what it shows without a kernel.
"""

import base64
import html
import io
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from PIL import Image

from cityguessr.base.errors import InputError
from cityguessr.base.files import make_folder, write_bytes
from cityguessr.book import contents
from cityguessr.book.columns import aligned
from cityguessr.book.links import Library, table_page

_TITLE = re.compile(r"(?:set_title|suptitle)\(\s*f?\"([^\"]+)\"|\btitle=\s*f?\"([^\"]+)\"")
# The last line of a page, to the page before and the page after: the book has its own.
_WAY = re.compile(r"\n+^(?=←|.*→$)(?:← )?(?:\[[^\]\n]*\]\([^)\n]*\)(?: · )?)+(?: →)?\s*\Z", re.MULTILINE)
_KINDS = {"image/png": "png", "image/jpeg": "jpg", "image/gif": "gif"}
_WIDGET = "application/vnd.jupyter.widget-view+json"
TITLE = "CityGuessr, reproducible"


def stage(root: Path, target: Path, printed: bool = False) -> Library:
    """Write all pages of the book and the files that they need.

    Args:
        root: of the project, with its `notebooks` and `figures`.
        target: a folder for `source`, what Sphinx reads, and `beside`, what is copied into the book as it is. Both are
            made anew.
        printed: whether for one page that is printed: what is folded is open, and numbers have no links.

    Returns what the book has. Raises InputError for a dead link, and where there is no page.
    """
    source, beside = target / "source", target / "beside"
    for folder in (source, beside):
        shutil.rmtree(folder, ignore_errors=True)
        make_folder(folder)
    parts, front = contents.parts(root / "notebooks"), contents.front(root / "notebooks")
    pages = {page.resolve(): page.stem for part in parts for page in part.pages}
    if not pages:
        raise InputError(f"{root / 'notebooks'}: no notebooks here; run this in the project's folder")
    library = Library(root.resolve(), pages | ({front.resolve(): contents.FRONT} if front else {}), printed)
    for page in map(Path, pages):
        if page.suffix == ".ipynb":
            notebook = staged(nbformat.read(page, as_version=4), page, library, beside)
            nbformat.write(notebook, source / page.name)
        else:
            text = library.relink(page.read_text(encoding="utf-8"), page)
            write_bytes(source / page.name, _unfolded(text, printed).encode())
    opening = library.relink(front.read_text(encoding="utf-8"), front) if front else f"# {TITLE}\n"
    write_bytes(source / f"{contents.FRONT}.md", (opening + _trees(parts)).encode())
    for file, name in library.tables.items():
        if not printed:
            write_bytes(source / f"{name}.md", table_page(file, library.root).encode())
    for file, name in library.files.items():
        write_bytes(beside / name, file.read_bytes())
    return library


def _trees(parts: list[contents.Part]) -> str:
    """The side bar: a tree of pages for each part."""
    text = ""
    for part in parts:
        lines = [page.stem if page.suffix != ".ipynb" else _numbered(page) for page in part.pages]
        text += f"\n```{{toctree}}\n:hidden:\n:caption: {part.caption}\n\n" + "\n".join(lines) + "\n```\n"
    return text


def _numbered(page: Path) -> str:
    number = "" if page.parent.name == "solutions" else f"{page.stem[:2]} · "
    return f"{number}{page_title(page)} <{page.stem}>"


def page_title(page: Path) -> str:
    """The first heading of a notebook. Raises InputError where it has none."""
    for cell in nbformat.read(page, as_version=4).cells:
        if cell.cell_type == "markdown" and (found := re.search(r"^# +(.+?)\s*$", cell.source, re.MULTILINE)):
            return re.sub(r"[`*]", "", found[1])
    raise InputError(f"{page.name}: no heading of the first level; begin the page with `# Title`")


def staged(notebook: NotebookNode, page: Path, library: Library, beside: Path) -> NotebookNode:
    """A notebook as the book takes it; its pictures are written into `beside/pictures`.

    Args:
        page: its file.
        library: leads its links, and learns which files they need.
    """
    for place in pictures(notebook, page):
        write_bytes(beside / "pictures" / place.name, place.content)
        place.output.data = {"text/html": place.element()}
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = _unfolded(library.relink(_WAY.sub("", cell.source), page), library.printed)
        for output in cell.get("outputs", []):
            if _WIDGET in output.get("data", {}):
                del output.data[_WIDGET]
            if "text/html" in output.get("data", {}):
                output.data["text/html"] = aligned(output.data["text/html"])
    notebook.metadata.pop("widgets", None)
    notebook.metadata["language_info"] = {"name": "python", "pygments_lexer": "ipython3"}  # a page may lack it
    return notebook


def _unfolded(text: str, printed: bool) -> str:
    return text.replace("<details>", "<details open>") if printed else text


class Picture:
    """A picture among the outputs of a notebook.

    Attributes:
        name: of its file in the book.
        content: that file's bytes.
        alt: in words.
        section: the title of the section it stands in.
        code: of the cell that drew it.
        output: of the notebook's cell.
    """

    def __init__(self, output: NotebookNode, kind: str, name: str, alt: str, section: str, code: str) -> None:
        self.output, self.alt, self.section, self.code = output, alt, section, code
        self.name = f"{name}.{_KINDS[kind]}"
        self.content = base64.b64decode(output.data[kind])

    def element(self) -> str:
        """As an element of HTML, with its size, so that a page does not move while it loads."""
        with Image.open(io.BytesIO(self.content)) as image:
            width, height = image.size
        return f'<img src="pictures/{self.name}" width="{width}" height="{height}" alt="{html.escape(self.alt)}">'


def pictures(notebook: NotebookNode, page: Path) -> Iterator[Picture]:
    """The pictures among the outputs of a notebook, in order."""
    section = page.stem
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            headings = re.findall(r"^#{1,4} +(.+?)\s*$", cell.source, re.MULTILINE)
            section = headings[-1] if headings else section
        for k, output in enumerate(cell.get("outputs", [])):
            kind = next((kind for kind in _KINDS if kind in output.get("data", {})), None)
            if kind:
                given = output.get("metadata", {}).get(kind, {}).get("alt", "")
                alt = given or alternative(section, cell.source)
                yield Picture(output, kind, f"{page.stem}-{number}-{k}", alt, section, cell.source)


def alternative(section: str, code: str) -> str:
    """Words for a picture that came without: the title of its section, and the titles in the code that drew it."""
    titles = [a or b for a, b in _TITLE.findall(code)]
    whole = [title for title in titles if not re.search(r"[{}$\\]", title)]
    return ". ".join(dict.fromkeys([re.sub(r"[`*$]", "", section).rstrip("."), *whole[:2]]))
