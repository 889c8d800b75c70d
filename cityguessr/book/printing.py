"""Pages printed to PDF by a browser of the Chromium kind, where the machine has one."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from cityguessr.base.errors import InputError

BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "microsoft-edge",
    "brave-browser",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
MISSING = "no PDF: no Chromium, Chrome or Edge was found here; install one, or print the page from your browser"


def browser() -> str | None:
    """The first browser that is on the machine; the environment variable BROWSER_PATH, where set, comes first."""
    chosen = os.environ.get("BROWSER_PATH")
    return next((found for name in (chosen, *BROWSERS) if name and (found := shutil.which(name))), None)


def print_page(page: Path, target: Path, minutes: float = 8) -> Path:
    """Print a page to a PDF file.

    Args:
        page: a page of HTML on the disk.
        minutes: after which the browser is stopped.

    Returns the file. Raises InputError where there is no browser, and where it makes no file.
    """
    found = browser()
    if found is None:
        raise InputError(MISSING)
    target.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as profile:
        command = [found, "--headless", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage"]
        command += [f"--user-data-dir={profile}", "--no-pdf-header-footer", "--virtual-time-budget=20000"]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            command.append("--no-sandbox")  # Chromium has none for root, as in a container
        command += [f"--print-to-pdf={target}", page.resolve().as_uri()]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60 * minutes, check=False)
        except subprocess.TimeoutExpired:
            raise InputError(f"{target.name}: {found} did not end within {minutes:g} minutes") from None
    if not target.is_file():
        last = (done.stderr.strip().splitlines() or ["it gave no reason"])[-1]
        raise InputError(f"{target.name}: {found} wrote no file: {last}")
    return target
