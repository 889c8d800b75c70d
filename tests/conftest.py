"""Fixtures for every room, and what `make test` prints before pytest's closing line: what was written, how long."""

import os
import time
from collections.abc import Iterator

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest

from cityguessr import figures
from cityguessr.base.progress import duration
from cityguessr.notebooks import runner
from cityguessr.taxonomy import Taxonomy

STARTED = time.time()
mpl.use("agg")  # no window, on any machine


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if folder := os.environ.get("CITYGUESSR_FIGURES"):  # set by `make test`, which runs the notebooks too
        terminalreporter.write_line(
            f"wrote {len(runner.written_since(STARTED))} files under {folder}/ and trained "
            f"{runner.trained_since(STARTED)} runs in {duration(time.time() - STARTED)}"
        )


@pytest.fixture(scope="session")
def taxonomy() -> Taxonomy:
    """The paper's tree of 166 cities."""
    return Taxonomy.cityguessr68k()


@pytest.fixture(autouse=True)
def usual_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures go where they usually do: `make test` sends those of the notebooks, not of the tests, elsewhere."""
    monkeypatch.delenv("CITYGUESSR_FIGURES", raising=False)


@pytest.fixture
def fresh_style() -> Iterator[None]:
    """The house's style during a test, and no figure left open after it."""
    with mpl.rc_context():
        figures.use_style()
        yield
    plt.close("all")
