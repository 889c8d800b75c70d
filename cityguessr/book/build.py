"""The book, built by Sphinx from what was staged."""

import io
import re
import shutil
from importlib import resources
from pathlib import Path
from typing import Any

from cityguessr.base.errors import InputError
from cityguessr.base.files import make_folder, write_bytes
from cityguessr.book import contents
from cityguessr.book.mathml import font_style
from cityguessr.book.staging import TITLE, stage

_FOOT = (
    "<p>A companion to <em>CityGuessr</em> (Kulkarni, Nayak and Shah, ECCV 2024). The method, the data set and the "
    "numbers in columns called “paper” are theirs; code and pages of this companion are under the MIT license.</p>"
)
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def build(root: Path, target: Path, printed: bool = False) -> Path:
    """Build the book.

    Args:
        root: of the project.
        target: the folder for it; what was there before is replaced once the new one is whole.
        printed: one page for a printer instead of a page for each notebook.

    Returns its first page. Raises InputError where a link is dead, and where Sphinx warns of anything.
    """
    from sphinx.application import Sphinx  # seconds, and only a build needs it
    from sphinx.util.docutils import docutils_namespace, patch_docutils

    work = target.with_name(f".{target.name}")
    shutil.rmtree(work, ignore_errors=True)  # of a build that was stopped
    library = stage(root, work, printed)
    styles = make_folder(work / "style")
    write_bytes(styles / "formulas.css", font_style().encode())
    for name in ("book.css", "print.css"):
        write_bytes(styles / name, (resources.files("cityguessr.book") / "static" / name).read_bytes())
    built = work / "built"
    warnings = io.StringIO()
    with patch_docutils(), docutils_namespace():
        app = Sphinx(
            srcdir=work / "source",
            confdir=None,
            outdir=built,
            doctreedir=work / "doctrees",
            buildername="singlehtml" if printed else "html",
            confoverrides=_settings(work, printed),
            status=None,
            warning=warnings,
            freshenv=True,
            parallel=0,  # side by side, a page that fails to be written would be left out without a word
        )
        app.build(force_all=True)
    said = [_COLOURS.sub("", line) for line in warnings.getvalue().splitlines() if line.strip()]
    if said:
        raise InputError(f"{target.name}: Sphinx warns of {len(said)}: " + " | ".join(said[:12]))
    unwritten = [name for name in library.pages.values() if not (built / f"{name}.html").is_file()]
    if unwritten and not printed:
        raise InputError(f"{target.name}: Sphinx left out {', '.join(unwritten)}")
    _tidy(built)
    if printed:  # Sphinx joins two names where a link leads to a heading of another page
        page = built / f"{contents.FRONT}.html"
        text = page.read_text(encoding="utf-8")
        write_bytes(page, re.sub(r'href="#(document-[\w-]+)#[^"]*"', r'href="#\1"', text).encode())
    shutil.rmtree(target, ignore_errors=True)
    shutil.move(built, target)
    shutil.rmtree(work)
    return target / f"{contents.FRONT}.html"


def _settings(work: Path, printed: bool) -> dict[str, Any]:
    return {
        "project": TITLE,
        "language": "en",
        "root_doc": contents.FRONT,
        "extensions": ["myst_nb", "cityguessr.book.extension"],
        "html_math_renderer": "mathml",
        "nb_execution_mode": "off",
        "nb_merge_streams": True,
        "nb_ipywidgets_js": {},
        "myst_enable_extensions": ["dollarmath", "amsmath", "deflist", "colon_fence"],
        "myst_heading_anchors": 4,
        "myst_dmath_allow_digits": False,
        "myst_links_external_new_tab": True,
        "html_theme": "sphinx_book_theme",
        "html_title": TITLE,
        "html_context": {"default_mode": "auto"},
        "html_theme_options": {
            "home_page_in_toc": False,
            "use_download_button": False,
            "show_toc_level": 2,
            "navigation_with_keys": True,
            "logo": {"text": TITLE},
            "search_bar_text": "Search the book",
            "navbar_persistent": [],
            "footer_content_items": ["extra-footer.html"],
            "extra_footer": _FOOT,
            "pygments_light_style": "a11y-high-contrast-light",
            "pygments_dark_style": "a11y-high-contrast-dark",
        },
        "html_static_path": [str(work / "style")],
        "html_css_files": ["formulas.css", "book.css", *(["print.css"] if printed else [])],
        "html_extra_path": [str(work / "beside")],
        "html_copy_source": False,
        "html_use_index": False,
        "html_show_sourcelink": False,
        "html_show_sphinx": False,
        # A summary of each hit would be fetched, which no browser allows for a page that lies on the disk.
        "html_show_search_summary": False,
        "html_permalinks_icon": "#",
    }


def _tidy(target: Path) -> None:
    """Take out what no page asks for: templates and maps of the theme's own build, Sphinx's records."""
    shutil.rmtree(target / "_sources", ignore_errors=True)
    unneeded = [target / ".buildinfo", target / "objects.inv", *(target / "_static").rglob("*.map")]
    for path in [*unneeded, *(target / "_static").rglob("*macros.html")]:
        path.unlink(missing_ok=True)
