"""The kernel that a page runs in: what it shows, and how a cell that is interrupted ends.

Outside a kernel, as in a test that calls a page's functions, nothing here does anything but print.
"""

import logging
import sys
import traceback
from types import TracebackType
from typing import Any

GOES_ON = "Stopped. Finished epochs are kept; run the cell again and it goes on from there."
"""For a cell that was training."""

_TRAINING = ("cityguessr.training.", "cityguessr.vidtag.training", "cityguessr.pretraining.")


def shell() -> Any:
    """The shell of the kernel that this process is; None elsewhere."""
    ipython = sys.modules.get("IPython")  # a kernel has it
    found = ipython.get_ipython() if ipython else None
    return found if hasattr(found, "kernel") else None


def show(value: object) -> None:
    """Show a value below the cell that runs; print it where there is no kernel."""
    if shell() is None:
        print(value)
        return
    from IPython.display import display

    display(value)


def prepare() -> None:
    """Have interrupted cells end with one sentence, and the kernel's log without remarks on how it is stopped."""
    if (ours := shell()) is None:
        return
    ours.set_custom_exc((KeyboardInterrupt,), _interrupted)
    log = ours.kernel.log
    if not any(isinstance(each, _Quiet) for each in log.filters):
        log.addFilter(_Quiet())


def _interrupted(shell: Any, kind: type, error: BaseException, trace: TracebackType, tb_offset: object = None) -> None:
    """Called by IPython in place of a traceback; the cell has failed all the same, and those after it do not run."""
    print(stopped(trace))


def stopped(trace: TracebackType | None) -> str:
    """What to say of an interrupt that came there: whether a training goes on, or at which line of the cell it was."""
    frames = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(trace)]
    if any(f"{name}.".startswith(_TRAINING) for name in frames):
        return GOES_ON
    steps = [step for step in traceback.extract_tb(trace) if step.name.startswith("<") and step.line]
    at = f" at: {steps[-1].line}" if steps else "."
    return f"Stopped{at}"


class _Quiet(logging.Filter):
    """Leaves out the kernel's remark that it was interrupted, as papermill does at the end of every good run."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "KeyboardInterrupt caught in kernel" not in record.getMessage()
