"""What `make test` says before pytest's closing line: what was written, and how long it all took."""

import os
import time
from collections.abc import Iterator

import pytest

from cityguessr.base import paths
from cityguessr.notebooks import runner


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if started := os.environ.get("CITYGUESSR_STARTED"):
        start = float(started)
        runs = [path for path in paths.runs().rglob("config.json") if path.stat().st_mtime >= start]
        figures = os.path.relpath(paths.figures(), paths.root())
        terminalreporter.write_line(
            f"wrote {len(runner.written_since(start))} files under {figures}/ and {len(runs)} runs under runs/, "
            f"in {runner.duration(time.time() - start)} with the environment"
        )


@pytest.fixture(autouse=True)
def usual_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures go where they usually do: `make test` sends those of the notebooks, not of the tests, elsewhere."""
    monkeypatch.delenv("CITYGUESSR_FIGURES", raising=False)


@pytest.fixture
def fresh_style() -> Iterator[None]:
    """The house's style during a test, and no figure left open after it."""
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    from cityguessr import figures

    with mpl.rc_context():
        figures.use_style()
        yield
    plt.close("all")
