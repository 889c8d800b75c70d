"""Running a page's own script, where this machine has something that runs one."""

import functools
import html
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

_TIMEOUT = 60  # seconds


@functools.cache
def engine() -> tuple[str, str] | None:
    """What runs JavaScript here: its kind, "node" or "browser", and its program; None for nothing."""
    for kind, names in {"node": ("node",), "browser": ("chromium", "chromium-browser", "google-chrome")}.items():
        for name in names:
            if program := shutil.which(name):
                return kind, program
    return None


def run(script: str, result: str) -> Any:
    """The value of an expression after a script has run. Skips the test where nothing here runs JavaScript."""
    found = engine()
    if found is None:
        pytest.skip("neither node nor chromium is on this machine to run the page's script with")
    kind, program = found
    if kind == "node":
        program_text = f"{script}\nconsole.log(JSON.stringify({result}));"
        done = subprocess.run([program, "-"], input=program_text, capture_output=True, text=True, timeout=_TIMEOUT)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)
    page = f"<!doctype html><meta charset=utf-8><pre></pre><script>{script}\n"
    page += f"document.querySelector('pre').textContent = JSON.stringify({result});</script>"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.html"
        path.write_text(page, encoding="utf-8")
        options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/user", "--dump-dom"]
        done = subprocess.run([program, *options, path.as_uri()], capture_output=True, text=True, timeout=_TIMEOUT)
    return json.loads(html.unescape(re.search(r"<pre>(.*?)</pre>", done.stdout, re.S)[1]))
