"""How trainings that run now get on: which epoch, how accurate, how long still. What is finished is shown by others.

Trainings report lines, on their own logs where several run side by side. Here they are read, and shown in one place
that changes (`base.progress.Board`); where there is no such place, a line for each is reported now and then.
"""

import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from cityguessr.base.progress import Board, left

SELDOM = 30.0  # seconds between two reports of one training where lines cannot change in place
_OFTEN = 1.0  # and between two pictures where they can

_EPOCH = re.compile(r"(?:phase (?P<phase>\d+), )?epoch +(?P<epoch>\d+)/(?P<epochs>\d+)")
_STEP = re.compile(r"step +(?P<step>[\d,]+)/(?P<steps>[\d,]+)")
_CITY = re.compile(r"correct %: city +(?P<city>[\d.]+)")
_RESUMED = re.compile(r"resumed after epoch (?P<epoch>\d+)")


class Standing:
    """Where one training is, from the lines that it reports.

    Attributes:
        name: of the experiment, with its seed.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._words, self._city, self._phase = "preparing", "", ""
        self._resumed = 0  # after so many epochs
        self._share = self._gone = 0.0  # of its epochs, or of those of its phase: done, and done in this session
        self._began = self._last = time.monotonic()

    def read(self, line: str) -> None:
        """Take notice of a line; those of another form are passed over."""
        self._last = time.monotonic()
        if resumed := _RESUMED.search(line):
            self._resumed = int(resumed["epoch"])
        if not (found := _EPOCH.search(line)):
            return
        epoch, epochs, phase = int(found["epoch"]), int(found["epochs"]), found["phase"] or ""
        if self._phase and phase != self._phase:  # its epochs are counted anew
            self._resumed, self._began = 0, self._last
        self._phase = phase
        step = _STEP.search(line)
        done = epoch - 1 + _number(step["step"]) / _number(step["steps"]) if step else epoch
        self._share, self._gone = done / epochs, (done - self._resumed) / epochs
        self._words = f"{f'phase {phase}, ' if phase else ''}epoch {epoch} of {epochs}"
        self._words += f", step {step['step']} of {step['steps']}" if step else ""
        if city := _CITY.search(line):
            self._city = f", city {city['city']} %"

    @property
    def seconds_left(self) -> float | None:
        """Until its last epoch, or that of the phase it is in, as fast as so far; None before any is known."""
        if self._gone <= 0:
            return None
        whole = (1 - self._share) * (self._last - self._began) / self._gone
        return max(0.0, whole - (time.monotonic() - self._last))

    def __str__(self) -> str:
        seconds = self.seconds_left
        about = "" if not seconds else f", {left(seconds)}" + (" in this phase" if self._phase else "")
        return f"{self.name}: {self._words}{self._city}{about}"


def _number(text: str) -> int:
    return int(text.replace(",", ""))


class Live:
    """Shows trainings that run side by side, from the ends of their logs.

    Args:
        logs: name -> the file that its lines go to, which may not be there yet.
        report: gets the lines where none can change in place.
    """

    def __init__(self, logs: Mapping[str, Path], report: Callable[[str], None]) -> None:
        self._logs = dict(logs)
        self._read = {name: _size(log) for name, log in logs.items()}  # what an earlier session left is old
        self._standing: dict[str, Standing] = {}
        self._report, self._board = report, Board()
        self._done, self._began, self._shown = 0, time.monotonic(), time.monotonic()

    def tick(self) -> None:
        """Look at the logs and show what is new, unless that was done a moment ago."""
        now = time.monotonic()
        if now - self._shown < (_OFTEN if self._in_place else SELDOM):
            return
        self._shown = now
        for name, log in self._logs.items():
            self._look(name, log)
        if not self._standing:
            return
        lines = list(map(str, self._standing.values()))
        if self._in_place:
            self._board.show([self._overall(), *(f"  {line}" for line in lines)])
        else:
            for line in lines:
                self._report(f"  {line}")

    def finished(self, name: str) -> None:
        """A training is over: it is shown no longer, and whatever is printed next has the place for itself."""
        self._logs.pop(name, None)
        self._standing.pop(name, None)
        self._done += 1
        self._board.clear()

    def close(self) -> None:
        """Show nothing any more."""
        self._board.clear()

    @property
    def _in_place(self) -> bool:
        return self._board.live and self._report is print

    def _look(self, name: str, log: Path) -> None:
        if (size := _size(log)) <= self._read[name]:
            return
        with open(log, encoding="utf-8", errors="replace") as file:
            file.seek(self._read[name])
            lines = file.read(size - self._read[name])
        whole, _, rest = lines.rpartition("\n")
        self._read[name] = size - len(rest.encode())
        standing = self._standing.setdefault(name, Standing(name))
        for line in whole.splitlines():
            standing.read(line)

    def _overall(self) -> str:
        total = self._done + len(self._logs)
        if not self._done:
            return f"0 of {total} trained"
        each = (time.monotonic() - self._began) / self._done
        return f"{self._done} of {total} trained, about {left(each * len(self._logs))}"


def _size(log: Path) -> int:
    return log.stat().st_size if log.is_file() else 0


def one(report: Callable[[str], None]) -> Callable[[str], None]:
    """What takes the lines of one training in this process: on an open page its epochs are one line that changes.

    Anywhere else they are reported as they come, with the time that is left.
    """
    if report is not print:
        return report
    board, standing = Board(), Standing("")

    def take(line: str) -> None:
        standing.read(line)
        seconds = standing.seconds_left
        with_time = line + (f"  {left(seconds)}" if seconds and _EPOCH.search(line) else "")
        if board.in_page and _EPOCH.search(line):
            board.show([with_time])
            return
        if board.in_page:
            board.clear()
        print(with_time, flush=True)

    return take
