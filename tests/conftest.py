"""What `make test` says before pytest's closing line: what was written, and how long it all took."""

import os
import time

import pytest

from cityguessr import notebooks, paths


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if started := os.environ.get("CITYGUESSR_STARTED"):
        start = float(started)
        runs = [path for path in paths.runs().rglob("config.json") if path.stat().st_mtime >= start]
        terminalreporter.write_line(
            f"wrote {len(notebooks.written_since(start))} files under figures/ and {len(runs)} runs under runs/, "
            f"in {notebooks.duration(time.time() - start)} with the environment"
        )
