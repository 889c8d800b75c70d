"""The first cells of a page: misspelled names, impossible values, parameters that the text is not about, interrupts."""

import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.manager import KernelManager

from cityguessr import notebooks
from cityguessr.base.errors import InputError
from cityguessr.notebooks import checking, kernel, parameters

ROOT = Path(__file__).resolve().parents[2]
CELL = """profile: str = "mini"  # mini | midi
seeds: list[int] = [0]  # one training each; the outputs kept here hold seeds 0 to 4
mode: str = "codependent"  # how answers are read: none | independent | codependent | traced
clip: int = 12  # which clip, counted from 0
video: str | None = None  # the path of a video of your own
workers: int = 2  # processes"""
CHECK = "from cityguessr import notebooks\n\nnotebooks.check_parameters(globals())"


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one page, whose parameters cell is `CELL`."""
    (tmp_path / "notebooks").mkdir()
    source = "".join(f"{line}\\n".replace('"', '\\"') for line in CELL.splitlines())
    page = f'{{"cells": [{{"metadata": {{"tags": ["parameters"]}}, "source": ["{source}"]}}]}}'
    (tmp_path / "notebooks" / "32_small.ipynb").write_text(page)
    monkeypatch.setenv("CITYGUESSR_ROOT", str(tmp_path))
    return tmp_path


def names(*cells: str) -> dict[str, Any]:
    """The names of a page after some cells, as IPython has them when the next one checks the parameters."""
    namespace: dict[str, Any] = {}
    for cell in cells:
        exec(cell, namespace)
    return namespace | {"In": ["", *cells, CHECK]}


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (CELL + "\nclpi = 3", "no parameter 'clpi'. Did you mean clip?"),
        (CELL + "\nseeds, modes = [1], 'none'", "no parameter 'modes'. Did you mean mode?"),
        (CELL.replace("clip: int", "clpi: int"), "no parameter 'clpi'. Did you mean clip?"),
        (CELL.replace('"codependent"', '"codep"'), "mode is 'codep'; it is one of none, independent, codependent"),
        (CELL.replace('"mini"', '"minni"'), "profile is 'minni'; it is one of mini, midi"),
        (CELL.replace("[0]", "[-1]"), "parameter seeds: a seed is a whole number from 0"),
        (CELL.replace("[0]", "[]"), r"seeds is \[\]; give one or more, each once"),
        (CELL.replace("[0]", "[3, 3]"), r"seeds is \[3, 3\]; give one or more, each once"),
        (CELL.replace("= 12", "= '12'"), "clip must be int, and '12' is not"),
        (CELL.replace("= 12", "= -1"), "parameter clip is -1; it is at least 0"),
        (
            CELL.replace("None = None", "None = 'gone.mp4'"),
            r"parameter video: .*gone\.mp4: no such file; give",
        ),
        (CELL.replace("None = None", "None = '.'"), "parameter video: .*: this is a folder, and no picture is in it"),
    ],
)
def test_what_is_typed_in_the_parameters_cell_is_checked_before_anything_runs(
    house: Path, cell: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        notebooks.check_parameters(names(cell))


def test_the_corrected_cell_passes_in_the_same_kernel(house: Path, capsys: pytest.CaptureFixture) -> None:
    """What was typed wrongly before is still among the kernel's names, and so are those that later cells made."""
    notebooks.check_parameters(names(CELL + "\nclpi = 3", "rows = 7", CELL))
    notebooks.check_parameters(names(CELL.replace("clip: int", "clpi: int"), CELL))
    with pytest.raises(InputError, match="rows"):
        notebooks.check_parameters(names(CELL, "# Parameters\nrows = 7\n"))


def test_a_page_run_with_other_parameters_says_that_its_text_is_not_about_them(
    house: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(cell: str) -> str:
        notebooks.check_parameters(names(cell))
        return capsys.readouterr().out

    fewer = said(CELL)
    assert "describes its kept outputs (seeds 0 to 4). You run it with seeds = [0]:" in fewer
    assert fewer.count("\n") == 1
    kept = CELL.replace("[0]", "[0, 1, 2, 3, 4]")
    assert said(kept.replace("workers: int = 2", "workers: int = 8")) == ""  # it changes no number
    assert "(clip = 12). You run it with clip = 3:" in said(kept.replace("= 12", "= 3"))
    assert "(profile = 'mini', mode = 'codependent')" in said(
        kept.replace('"mini"', '"midi"').replace('"codependent"', '"none"')
    )
    monkeypatch.setenv("CITYGUESSR_FIGURES", "figures")  # it is these outputs that are being made
    assert said(CELL) == ""


@pytest.mark.parametrize("page", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_every_page_is_quiet_with_the_parameters_of_its_kept_outputs(page: Path) -> None:
    lines = parameters.declared(page)
    assert "seeds" not in lines or checking.kept_seeds(lines["seeds"]), "its comment says of which seeds they are"
    values = {name: list(checking.kept_seeds(line) or ()) or line.default for name, line in lines.items()}
    assert checking.difference(values, lines) is None
    assert "seed" not in lines or checking.difference(values | {"seed": 7}, lines)


# --- in a kernel, as in JupyterLab ------------------------------------------------------------------------------------


class Page:
    """A kernel, and what its cells show."""

    def __init__(self, folder: Path) -> None:
        settings = folder / "ipython" / "profile_default"
        settings.mkdir(parents=True)
        shutil.copy(ROOT / "env" / "ipython_kernel_config.py", settings)  # as in .venv/etc
        self.errors = folder / "errors"
        self.manager = KernelManager(kernel_name="python3")
        environment = os.environ | {"IPYTHONDIR": str(settings.parent), "PYTHONPATH": str(ROOT)}
        environment["JPY_SESSION_NAME"] = "32_small.ipynb"  # as JupyterLab says it
        self.kinds: list[str] = []
        self.manager.start_kernel(cwd=str(folder), env=environment, stderr=self.errors.open("w"))
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=120)

    def run(self, code: str, interrupt_at: str = "") -> tuple[str, str, list[str]]:
        """The reply's status, what a cell prints, and its tracebacks; interrupted once it has printed a word."""
        sent, text, traces = self.client.execute(code), "", []
        while True:
            message = self.client.get_iopub_msg(timeout=120)
            if message["parent_header"].get("msg_id") != sent:
                continue
            content = message["content"]
            self.kinds.append(message["msg_type"])
            text += content.get("text", "") + content.get("data", {}).get("text/plain", "")
            traces += content.get("traceback", [])
            if interrupt_at and interrupt_at in text:
                time.sleep(1)  # it goes on from what it printed
                self.manager.interrupt_kernel()
                interrupt_at = ""
            if content.get("execution_state") == "idle":
                break
        while (reply := self.client.get_shell_msg(timeout=120))["parent_header"].get("msg_id") != sent:
            pass
        return reply["content"]["status"], text, traces

    def end(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel()


@pytest.fixture
def page(house: Path) -> Iterator[Page]:
    page = Page(house)
    yield page
    page.manager.shutdown_kernel(now=True)


TRAIN = """import os
import re
import shutil
import time
from cityguessr.training import executors

def work():
    print("training", flush=True)
    time.sleep(120)

list(executors.in_this_process([executors.Task("a", work, "")]))"""


BOARD = """from cityguessr.base import progress

board = progress.Board()
for epoch in range(3):
    board.show([f"<{epoch}>"])
board.clear()
_ = list(progress.track(range(3), "counting", total=3))"""


def test_an_open_page_has_progress_in_one_place_a_stop_in_one_sentence_and_typing_errors_as_errors(page: Page) -> None:
    assert page.run(CELL)[0] == "ok"
    status, shown, _ = page.run(CHECK)
    assert status == "ok"
    assert "You run it with seeds = [0]" in shown
    start = time.monotonic()
    status, shown, traces = page.run(TRAIN, interrupt_at="training")
    assert time.monotonic() - start < 60
    assert status == "error"  # the cells after it do not run
    assert traces == []
    assert shown.splitlines() == ["training", kernel.GOES_ON]
    status, shown, traces = page.run('print("drawing", flush=True)\ntime.sleep(120)', interrupt_at="drawing")
    assert (status, traces) == ("error", [])
    assert shown.splitlines() == ["drawing", "Stopped at: time.sleep(120)"]
    page.kinds.clear()
    shown = page.run(BOARD)[1]
    assert re.fullmatch(r"<0><1><2>counting: 1 of 3, .* left" + r"counting: 3 in .* s\n", shown)
    changing = ["display_data", *["update_display_data"] * 3]
    assert [kind for kind in page.kinds if "display" in kind] == [*changing, *changing[:2]]
    page.run(CELL + "\nclpi = 3")
    status, _, traces = page.run(CHECK)
    assert status == "error"
    assert "Did you mean clip?" in traces[-1]
    page.end()  # interrupted first, as at the end of every page that papermill runs
    assert page.errors.read_text() == ""
