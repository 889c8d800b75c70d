"""The command line of the book and the slides.

python -m cityguessr.book            # the book, to runs/book, checked; printed where a browser is found
python -m cityguessr.book slides     # the slides, to runs/slides
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from cityguessr.base import paths
from cityguessr.base.errors import InputError
from cityguessr.base.progress import duration
from cityguessr.book import printing


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; see the module's docstring. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m cityguessr.book", description="Build the book or the slides.")
    parser.add_argument("what", nargs="?", choices=("book", "slides"), default="book")
    parser.add_argument("--no-pdf", action="store_true", help="leave the printed form out")
    options = parser.parse_args(arguments)
    try:
        book() if options.what == "book" else slides()
        if not options.no_pdf:
            _printed(options.what)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def book() -> None:
    """Build and check the book, and print what it is."""
    from cityguessr.book.build import build
    from cityguessr.book.check import check

    start, target = time.time(), paths.runs() / "book"
    first = build(paths.root(), target)
    pages = check(target)
    _report(first, f"{pages} pages, every link alive, nothing asks the network", start)


def slides() -> None:
    """Build and check the slides, and print what they are."""
    from cityguessr.book.check import check
    from cityguessr.book.deck import build_deck

    start, target = time.time(), paths.runs() / "slides"
    first, count = build_deck(paths.root(), target)
    check(target)
    _report(first, f"{count} slides, nothing asks the network", start)


def _printed(what: str) -> None:
    from cityguessr.book.build import build

    if printing.browser() is None:
        print(printing.MISSING)
        return
    start, folder = time.time(), paths.runs() / what
    if what == "slides":
        target = printing.print_page(folder / "paper.html", folder / "slides.pdf")
    else:
        with tempfile.TemporaryDirectory() as place:
            page = build(paths.root(), Path(place) / "printed", printed=True)
            target = printing.print_page(page, folder / "book.pdf")
    _report(target, f"{target.stat().st_size / 1e6:.0f} MB", start)


def _report(file: Path, what: str, start: float) -> None:
    print(f"{file.relative_to(paths.root())}: {what}, in {duration(time.time() - start)}")


if __name__ == "__main__":
    sys.exit(main())
