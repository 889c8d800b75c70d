"""Progress on standard output: in a notebook, anything on standard error looks like an error."""

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from tqdm import tqdm

T = TypeVar("T")

_OFTEN = 0.5  # seconds between two counts below a cell


def track(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Yield from `items` with a progress bar in a terminal, and one closing line (count and seconds) anywhere else.

    Below a cell of an open notebook the count stands meanwhile, with the time that is left.
    """
    if sys.stdout.isatty():
        yield from tqdm(items, desc=description, total=total, file=sys.stdout)
        return
    start, count, board, shown = time.perf_counter(), 0, Board(), 0.0
    for item in items:
        yield item
        count += 1
        if board.in_page and time.perf_counter() - shown > _OFTEN:
            shown = time.perf_counter()
            more = f" of {total:,}, {left((shown - start) / count * (total - count))}" if total else ""
            board.show([f"{description}: {count:,}{more}"])
    board.clear()
    print(f"{description}: {count:,} in {time.perf_counter() - start:.1f} s", flush=True)


def duration(seconds: float) -> str:
    """`7.4 s`, `3 min 05 s`, or `2 h 40 min`."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{seconds:.1f} s"
    return f"{minutes} min {rest:02d} s" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def left(seconds: float) -> str:
    """A time to come, which nobody knows to tenths of a second: `27 s left`, `3 min 05 s left`."""
    return f"{duration(seconds) if seconds >= 59.5 else f'{seconds:.0f} s'} left"


STOPPED = "Stopped. Finished epochs are kept; the same command goes on from there."
"""What a command says that was interrupted."""

WATCHED = ("JPY_SESSION_NAME", "VSCODE_PID")
"""The environment variables by which a kernel knows that somebody has its page open."""


def page_is_watched() -> bool:
    """Whether this is the kernel of a notebook that somebody has open, in JupyterLab or the like, not papermill's."""
    if not any(name in os.environ for name in WATCHED):
        return False
    ipython = sys.modules.get("IPython")  # a kernel has it
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


def _terminal() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


class Board:
    """A few lines that stand in one place and change: in a terminal, and below a cell of an open notebook.

    Attributes:
        in_page: whether it stands below a cell.
        live: whether there is a place for it at all; there is none under papermill, or where output goes to a file.
    """

    def __init__(self) -> None:
        self.in_page, self._up, self._handle = page_is_watched(), 0, None
        self.live = self.in_page or _terminal()

    def show(self, lines: Sequence[str]) -> None:
        """Show lines in place of those before."""
        if self.in_page:
            self._display("\n".join(lines))
        elif self.live:
            self.clear()
            width = shutil.get_terminal_size().columns - 1
            print("\n".join(line[:width] for line in lines), flush=True)
            self._up = len(lines)

    def clear(self) -> None:
        """Show nothing; in a terminal what is printed next stands there."""
        if self.in_page and self._handle is not None:
            self._display("")
        elif self._up:
            print(f"\x1b[{self._up}F\x1b[J", end="", flush=True)
            self._up = 0

    def _display(self, text: str) -> None:
        from IPython import display

        content: dict[str, Any] = {"text/plain": text}
        if self._handle is None:
            self._handle = display.display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)


def passing() -> Callable[[str], None]:
    """What shows each line in place of the one before, below a cell of an open notebook, and nothing anywhere else."""
    board = Board()

    def take(line: str) -> None:
        if board.in_page:
            board.show([line])

    return take
