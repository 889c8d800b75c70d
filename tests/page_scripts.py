"""Running a page's own script, where this machine has something that runs one."""

import html
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

_TIMEOUT = 100  # seconds
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def run(script: str, result: str) -> Any:
    """The value of an expression after a script has run. Skips the test where nothing here runs JavaScript."""
    if node := shutil.which("node"):
        whole = f"{script}\nconsole.log(JSON.stringify({result}));"
        done = subprocess.run([node, "-"], input=whole, capture_output=True, text=True, timeout=_TIMEOUT)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)
    page = f"<!doctype html><meta charset=utf-8><pre></pre><script>{script}\n"
    page += f"document.querySelector('pre').textContent = JSON.stringify({result});</script>"
    return json.loads(html.unescape(re.search(r"<pre>(.*?)</pre>", drawn(page), re.S)[1]))


def drawn(page: str) -> str:
    """A page after its script has run, as HTML. Skips the test where no browser is on this machine."""
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if browser is None:
        pytest.skip("no chromium is on this machine to open the page with")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.html"
        path.write_text(page, encoding="utf-8")
        options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/user", "--dump-dom"]
        done = subprocess.run([browser, *options, path.as_uri()], capture_output=True, text=True, timeout=_TIMEOUT)
    assert done.returncode == 0, done.stderr
    return done.stdout
