"""Running notebooks with papermill: which there are, one at a time or two side by side, and keeping their outputs."""

import contextlib
import functools
import io
import logging
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import nbformat
from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
from nbformat import NotebookNode
from traitlets.config import Config

from cityguessr.base import paths, pools
from cityguessr.base.errors import InputError, one_of
from cityguessr.base.files import make_folder
from cityguessr.base.progress import duration
from cityguessr.notebooks import summary
from cityguessr.notebooks.parameters import declared
from cityguessr.notebooks.summary import relative

Plan = Sequence[tuple[Path, dict[str, Any]]]  # notebooks with their parameters, in the order in which they run
_KEPT = "pages that ran are kept"
_PATIENCE = 10.0  # seconds that papermill has to notice that its kernel was ended
NICKNAMES = {"ledger": "90_paper_vs_measured", "table1": "11_explore_dataset"}


def available() -> list[Path]:
    """The notebooks, in the order in which they run."""
    return sorted((paths.root() / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def find(name: str) -> Path:
    """The notebook that goes by a name.

    Args:
        name: `32`, `table4`, `table_s3`, `ledger`, its path, `32_table4_hierarchical_evaluation`, or the beginning of
            the name of a figure that it saves (`fig_s5`).

    Raises InputError where no notebook goes by that name, or several do.
    """
    stem = Path(name).name.removesuffix(".ipynb")
    stem = NICKNAMES.get(stem, stem)
    notebooks = available()
    matches = [path for path in notebooks if path.stem == stem or path.stem[:2] == stem]
    matches = matches or [path for path in notebooks if f"_{stem}_" in f"{path.stem}_"]
    if not matches and stem.startswith("fig"):
        matches = [path for path in notebooks if _saves(path, re.escape(stem) + r"(?!\d)")]
        if not matches:
            raise one_of("figure", name, figures())
    if not matches:
        raise one_of("notebook", name, [path.stem for path in notebooks], "cityguessr pages")
    if len(matches) > 1:
        raise InputError(f"{name!r} could be {' or '.join(path.stem for path in matches)}; give more of the name")
    return matches[0]


def drawing() -> list[Path]:
    """The notebooks that save figures of the paper, by what their cells name."""
    return [path for path in available() if _saves(path, r"fig(_s)?\d")]


def figures() -> list[str]:
    """The figures that have a name to run them by, in order: fig1, ..., fig_s10."""
    named = re.compile(r'\\"(fig(?:_s)?\d+)')
    found = {name for path in available() for name in named.findall(path.read_text(encoding="utf-8"))}
    return sorted(found, key=lambda name: (name.startswith("fig_s"), int(re.sub(r"\D", "", name))))


def _saves(notebook: Path, figure: str) -> bool:
    """Whether a text in its cells begins with a figure's name, a regular expression."""
    return re.search(rf'\\"{figure}', notebook.read_text(encoding="utf-8")) is not None


def profile_file(name: str) -> Path:
    """The papermill parameter file of a profile, `env/profiles/<name>.yaml`. Raises InputError for an unknown name."""
    files = {path.stem: path for path in sorted((paths.root() / "env" / "profiles").glob("*.yaml"))}
    if name not in files:
        raise one_of("profile", name, files)
    return files[name]


class _Echo:
    """Shows a notebook's output lines under its progress line."""

    def __init__(self, mark: str) -> None:
        self.mark, self.used, self.rest = mark, False, ""

    def write(self, text: str) -> None:
        *lines, self.rest = (self.rest + text).split("\n")
        for line in lines:
            print(f"{'' if self.used else chr(10)}    {self.mark} {line}", flush=True)
            self.used = True

    def flush(self) -> None:
        """Nothing to do: only an unfinished line is held back."""

    def close(self) -> None:
        """Show the unfinished line, if there is one."""
        if self.rest:
            self.write("\n")


def check_kernel() -> None:
    """Raise unless the kernel named python3 runs this interpreter: another one would run another environment."""
    os.environ.setdefault("JUPYTER_PREFER_ENV_PATH", "1")
    try:
        program = KernelSpecManager().get_kernel_spec("python3").argv[0]
    except NoSuchKernel:
        raise InputError("this environment has no kernel named python3: run make env") from None
    # Jupyter replaces a bare name by the running interpreter.
    if Path(program).name != program and Path(program).parent != Path(sys.executable).parent:
        raise InputError(
            f"the Jupyter kernel python3 is {program}, not {sys.executable}: run make env, and use its .venv"
        )


def execute(notebook: Path, parameters: Mapping[str, Any], output: Path, echo: TextIO | _Echo) -> None:
    """Run one notebook in the project's root and write it, executed, to `output`; nothing half-run is left there.

    Raises papermill.PapermillExecutionError where a cell failed; what ran stands beside `output` as
    `<name>.failed.ipynb`. Where this process is interrupted, the kernel is ended first, with all that it started.
    """
    import papermill
    from jupyter_client.manager import AsyncKernelManager
    from jupyter_client.utils import run_sync

    # It warns about a declared `str | None`, which its inspection overlooks; every name has been checked already.
    logging.getLogger("papermill").setLevel(logging.ERROR)
    make_folder(output.parent)
    failed = output.with_name(f"{output.stem}.failed.ipynb")
    # A kernel listens on a port of this machine: encrypted, or it says at each start that it is not.
    kernel = AsyncKernelManager(kernel_name="python3", config=Config(KernelManager={"transport_encryption": "auto"}))
    errors: list[BaseException] = []

    def work() -> None:
        try:
            papermill.execute_notebook(
                str(notebook),
                str(failed),
                parameters=dict(parameters),
                kernel_name="python3",
                cwd=str(paths.root()),
                progress_bar=False,
                stdout_file=echo,
                stderr_file=echo,
                km=kernel,
            )
        except BaseException as error:  # the caller's thread raises it
            errors.append(error)
        finally:
            if kernel.has_kernel:
                run_sync(kernel.shutdown_kernel)(now=True)

    # In the main thread nbclient would take interrupts for itself, and report that the kernel has died.
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        thread.join()
    except BaseException:
        _end(kernel)
        thread.join(_PATIENCE)
        raise
    if errors:
        raise errors[0]
    os.replace(failed, output)


def _end(kernel: Any) -> None:
    """Kill a kernel and what it started, from whichever thread."""
    if kernel.has_kernel:
        with contextlib.suppress(OSError, AttributeError):  # it has ended; there are no groups on this system
            os.killpg(os.getpgid(kernel.provisioner.pid), signal.SIGKILL)


def keep_outputs(executed: Path, notebook: Path) -> None:
    """Put the executed notebook in the place of its source, without papermill's traces (its cell, paths, times)."""
    page = nbformat.read(executed, as_version=4)
    page.metadata.pop("papermill", None)
    page.metadata.get("language_info", {}).pop("version", None)
    page.cells = [cell for cell in page.cells if "injected-parameters" not in cell.metadata.get("tags", [])]
    for count, cell in enumerate((cell for cell in page.cells if cell.cell_type == "code"), start=1):
        cell.execution_count = count  # as if the values had stood in the parameters cell
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = count
    for cell in page.cells:
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        if not cell.metadata.get("tags", True):
            cell.metadata.pop("tags")
    replace(notebook, page)


def replace(notebook: Path, page: NotebookNode) -> None:
    """Write a notebook in the place of the one there is, whole or not at all."""
    part = notebook.with_suffix(".part")
    nbformat.write(page, part)
    os.replace(part, notebook)


def written_since(start: float) -> list[Path]:
    """Figures and tables that were written after `start` (seconds since the epoch), relative to the root."""
    files = {path for folder in (paths.figures(), paths.runs() / "figures") for path in folder.rglob("*")}
    return [relative(path) for path in sorted(files) if path.is_file() and path.stat().st_mtime >= start]


def trained_since(start: float) -> int:
    """How many runs were trained after `start` (seconds since the epoch)."""
    return sum(path.stat().st_mtime >= start for path in paths.runs().rglob("config.json"))


def run_all(plan: Plan, refresh: bool = False, side_by_side: bool = False, show: bool = False) -> bool:
    """Run notebooks, with one progress line each, and stop at the first that fails.

    Args:
        refresh: put the executed pages in the place of their sources.
        show: print the tables that a page shows, once it has run.
        side_by_side: two at a time, in no fixed order; those from 90 on last, for they read what the others write.
            Their data and runs must be there already (`train_ahead`).

    Returns True when all ran.
    """
    check_kernel()
    jobs = [(f"{n}/{len(plan)}", notebook, given, refresh, show) for n, (notebook, given) in enumerate(plan, start=1)]
    if not side_by_side:
        return all(_run_page(*job) for job in jobs)
    last = [job for job in jobs if job[1].stem >= "90"]
    # Two pages share the processors; threads in excess of them wait for one another more than they work.
    few = os.environ.get("OMP_NUM_THREADS", str(max(1, pools.cores() // 2)))
    for group in ([job for job in jobs if job not in last], last):
        failed: list[str] = []  # looked at before each page is begun; one that runs beside it is run to its end
        tasks = ((job[1].stem, functools.partial(_run_silently, *job)) for job in group if not failed)
        for name, (ran, printed) in pools.in_processes(tasks, [{"OMP_NUM_THREADS": few}] * min(2, len(group)), _KEPT):
            print(printed, end="", flush=True)
            failed += [] if ran else [name]
        if failed:
            return False
    return True


def _run_silently(*job: Any) -> tuple[bool, str]:
    """What `_run_page` returns, and what it printed."""
    printed = io.StringIO()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the one that started this process ends it: the kernel too
    with contextlib.redirect_stdout(printed):
        return _run_page(*job), printed.getvalue()


def _run_page(number: str, notebook: Path, parameters: dict[str, Any], refresh: bool, show: bool) -> bool:
    """Run one notebook and print how it went; False where a cell failed."""
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    profile = parameters.get("profile") or getattr(declared(notebook).get("profile"), "default", "mini")
    output = paths.runs() / "notebooks" / profile / notebook.name
    given = " ".join(f"{name}={value}" for name, value in parameters.items())
    print(f"[{number}] {notebook.stem} {given}".rstrip(), end=" ", flush=True)
    start, echo = time.perf_counter(), _Echo("|")
    try:
        execute(notebook, parameters, output, echo)
        echo.close()
    except (papermill.PapermillExecutionError, DeadKernelError, CellTimeoutError) as error:
        print(f"\nFAILED after {duration(time.perf_counter() - start)} {_reason(error)}")
        print(f"Its cells up to there: {relative(output.with_name(f'{output.stem}.failed.ipynb'))}")
        return False
    if refresh:
        keep_outputs(output, notebook)
    indent = "   " if echo.used else ""
    took = duration(time.perf_counter() - start)
    print(f"{indent} {took} -> {relative(notebook if refresh else output)}", flush=True)
    for table in summary.tables(output) if show else ():
        print(f"\n{table}\n", flush=True)
    return True


def _reason(error: Exception) -> str:
    """Why a notebook stopped: the cell and its error, or a kernel that is gone."""
    if not hasattr(error, "exec_count"):
        return f"({type(error).__name__}): the kernel died or hung; too little memory is the usual cause"
    cell = "\n".join(f"    {line}" for line in error.source.splitlines())
    return f"in cell [{error.exec_count}]:\n{cell}\n{error.ename}: {error.evalue}"
