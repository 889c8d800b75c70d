"""Run the notebooks with parameters, strictly.

    python -m cityguessr.notebooks list
    python -m cityguessr.notebooks run table4 --profile cityguessr68k --seeds 0,1,2 -p epochs 2
    python -m cityguessr.notebooks run figures    # those that draw the paper's figures
    python -m cityguessr.notebooks paper          # all of them, from the embedded default
    python -m cityguessr.notebooks refresh [NAME...]   # run with three seeds, and keep the outputs in notebooks/

papermill does the running. An unknown parameter or a value of the wrong type is an error before anything runs, here and
in plain papermill, where `notebooks.check_parameters(globals())` is the first statement after a notebook's parameters
cell.
"""

import argparse
import contextlib
import io
import logging
import multiprocessing
import os
import re
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, TextIO

from cityguessr.base import paths
from cityguessr.base.errors import InputError
from cityguessr.base.files import make_folder
from cityguessr.base.progress import duration
from cityguessr.notebooks.parameters import bind, check_parameters, declared, read_parameters, unknown

__all__ = ["available", "check_parameters", "execute", "find", "main", "run_all", "written_since"]

KEPT_SEEDS = "0,1,2"  # of the outputs in notebooks/, for each notebook that has `seeds`
NICKNAMES = {"ledger": "90_paper_vs_measured", "table1": "11_explore_dataset"}


def available() -> list[Path]:
    """The notebooks, in the order in which they run."""
    return sorted((paths.root() / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def find(name: str) -> Path:
    """The notebook of that name: `32`, `table4`, `table_s3`, `ledger`, its path, `32_table4_hierarchical_evaluation`,
    or the beginning of a figure's name that it saves (`fig_s5`).

    Raises:
        InputError: no notebook goes by that name, or several do.
    """
    stem = Path(name).name.removesuffix(".ipynb")
    stem = NICKNAMES.get(stem, stem)
    every = available()
    found = [path for path in every if path.stem == stem or path.stem[:2] == stem]
    found = found or [path for path in every if f"_{stem}_" in f"{path.stem}_"]
    if not found and stem.startswith("fig"):
        found = [path for path in every if re.search(rf'\\"{re.escape(stem)}(?!\d)', path.read_text(encoding="utf-8"))]
    if len(found) == 1:
        return found[0]
    problem = f"could be {' or '.join(path.stem for path in found)}" if found else "is no notebook"
    raise InputError(f"{name!r} {problem}. There are: {', '.join(path.stem for path in every) or 'none yet'}.")


def drawing() -> list[Path]:
    """The notebooks that save figures of the paper, by what their cells name."""
    return [path for path in available() if re.search(r'\\"fig(_s)?\d', path.read_text(encoding="utf-8"))]


def profile_file(name: str) -> Path:
    """The papermill parameter file of a profile: `env/profiles/<name>.yaml`."""
    folder = paths.root() / "env" / "profiles"
    if not (folder / f"{name}.yaml").is_file():
        known = ", ".join(sorted(path.stem for path in folder.glob("*.yaml")))
        raise InputError(f"there is no profile {name!r} in env/profiles. There are: {known}.")
    return folder / f"{name}.yaml"


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
    """Raise unless the kernel named python3 is this interpreter's own: another one would run another environment."""
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

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

    Raises:
        papermill.PapermillExecutionError: a cell failed; what ran stands beside `output` as `<name>.failed.ipynb`.
    """
    import papermill
    from traitlets.config import Config

    # It warns about a declared `str | None`, which its inspection overlooks; here every name has been checked.
    logging.getLogger("papermill").setLevel(logging.ERROR)
    make_folder(output.parent)
    failed = output.with_name(f"{output.stem}.failed.ipynb")
    papermill.execute_notebook(
        str(notebook),
        str(failed),
        parameters=dict(parameters),
        kernel_name="python3",
        cwd=str(paths.root()),
        progress_bar=False,
        stdout_file=echo,
        stderr_file=echo,
        # A kernel listens on a port of this machine: encrypted, or it says at each start that it is not.
        config=Config(KernelManager={"transport_encryption": "auto"}),
    )
    os.replace(failed, output)


def keep_outputs(executed: Path, notebook: Path) -> None:
    """Put the executed notebook in the place of its source, without papermill's traces (its cell, paths, times)."""
    import nbformat

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
    part = notebook.with_suffix(".part")
    nbformat.write(page, part)
    os.replace(part, notebook)


def written_since(start: float) -> list[Path]:
    """Figures and tables that were written after `start` (seconds since the epoch), relative to the root."""
    root = paths.root()
    files = {path for folder in (paths.figures(), paths.runs() / "figures") for path in folder.rglob("*")}
    recent = [path for path in sorted(files) if path.is_file() and path.stat().st_mtime >= start]
    return [path.relative_to(root) if path.is_relative_to(root) else path for path in recent]


def run_all(plan: Sequence[tuple[Path, dict[str, Any]]], refresh: bool = False, side_by_side: bool = False) -> bool:
    """Run notebooks, a progress line each; stop at the first that fails. True when all ran.

    Args:
        refresh: put the executed pages in the place of their sources.
        side_by_side: two at a time, in no fixed order; those from 90 on last, for they read what the others write.
            Their data and runs must be there already (`train_ahead`).
    """
    check_kernel()
    jobs = [(f"{n}/{len(plan)}", notebook, given, refresh) for n, (notebook, given) in enumerate(plan, start=1)]
    if not side_by_side:
        return all(_run_page(*job) for job in jobs)
    last = [job for job in jobs if job[1].stem >= "90"]
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        for group in ([job for job in jobs if job not in last], last):
            futures = [pool.submit(_run_silently, *job) for job in group]
            for future in as_completed(futures):
                ran, said = future.result()
                print(said, end="", flush=True)
                if not ran:
                    pool.shutdown(cancel_futures=True)
                    return False
    return True


def _run_silently(*job: Any) -> tuple[bool, str]:
    """`_run_page`, and what it printed."""
    # Two pages share the processors; threads in excess of them wait for one another more than they work.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 2) // 2)))
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        return _run_page(*job), said.getvalue()


def _run_page(number: str, notebook: Path, parameters: dict[str, Any], refresh: bool) -> bool:
    """Run one notebook and say how it went; False where a cell failed."""
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    root = paths.root()
    profile = parameters.get("profile") or getattr(declared(notebook).get("profile"), "default", "mini")
    output = paths.runs() / "notebooks" / profile / notebook.name
    given = " ".join(f"{name}={value}" for name, value in parameters.items())
    print(f"[{number}] {notebook.stem} {given}".rstrip(), end=" ", flush=True)
    start, echo = time.perf_counter(), _Echo("|")
    try:
        execute(notebook, parameters, output, echo)
        echo.close()
    except (papermill.PapermillExecutionError, DeadKernelError, CellTimeoutError) as error:
        print(f"\nFAILED after {duration(time.perf_counter() - start)}", end=" ")
        if isinstance(error, papermill.PapermillExecutionError):
            cell = "\n".join(f"    {line}" for line in error.source.splitlines())
            print(f"in cell [{error.exec_count}]:\n{cell}\n{error.ename}: {error.evalue}")
        else:
            print(f"({type(error).__name__}): the kernel died or hung; too little memory is the usual cause")
        print(f"Its pages up to there: {(output.parent / f'{output.stem}.failed.ipynb').relative_to(root)}")
        return False
    if refresh:
        keep_outputs(output, notebook)
    place = notebook if refresh else output
    indent = "   " if echo.used else ""
    print(f"{indent} {duration(time.perf_counter() - start)} -> {place.relative_to(root)}", flush=True)
    return True


def train_ahead(plan: Sequence[tuple[Path, dict[str, Any]]]) -> None:
    """Train what the pages of a plan will ask for, as many at a time as the machine takes.

    Page by page, a processor would often wait for the last training of a table.
    """
    from cityguessr.training import jobs, profiles

    names = ("profile", "seeds", "data_root", "allow_downloads", "cluster")
    asked: dict[str, Any] = {}
    for notebook, given in plan:
        page = {name: parameter.default for name, parameter in declared(notebook).items()} | given
        if "seeds" in page:
            asked |= {name: page[name] for name in names if name in page}  # one plan gives all pages the same values
    if asked:
        jobs.ensure_all(jobs.chosen(["all"], profiles.get(asked["profile"])), **asked)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; see the module's docstring. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m cityguessr.notebooks", description="Run the notebooks, strictly.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="the notebooks and their parameters")
    refresh = commands.add_parser("refresh", help="run at the default scale and keep the outputs in notebooks/")
    refresh.add_argument("names", nargs="*", metavar="NAME", help="as for run; all of them when left out")
    run = commands.add_parser("run", help="run the named notebooks")
    named = "32, table4, table_s3, fig_s5, 40_world_maps, ...; figures: all that draw figures of the paper"
    run.add_argument("names", nargs="+", metavar="NAME", help=named)
    paper = commands.add_parser("paper", help="run all")
    train = commands.add_parser("train", help="train what all of them ask for, and run none")
    for command in (run, paper, refresh, train):
        usual = f" (by default {KEPT_SEEDS})" if command is refresh else ""
        command.add_argument("--seeds", help=f"0,1,2: for each notebook that has `seeds`{usual}")
        command.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), dest="texts")
    for command in (run, paper, train):
        command.add_argument("--profile", help="scale and data: a file of env/profiles, for each notebook that has it")
        command.add_argument("-f", action="append", default=[], type=Path, metavar="FILE", dest="files")
    options = parser.parse_args(arguments)
    start = float(os.environ.get("CITYGUESSR_STARTED") or time.time())
    try:
        if options.command == "list":
            for notebook in available():
                lines = [f"    {parameter}  # {parameter.comment}" for parameter in declared(notebook).values()]
                print("\n".join([notebook.stem, *lines]))
            return 0
        names = getattr(options, "names", None)
        wanted = [path for name in names or () for path in (drawing() if name == "figures" else [find(name)])]
        plan = _plan(wanted if names else available(), options)
        if not names:
            train_ahead(plan)
        if options.command == "train":
            return 0
        done = run_all(plan, refresh=options.command == "refresh", side_by_side=names in (None, [], ["figures"]))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    files = written_since(start)
    print(f"files written for figures and tables: {len(files)}" + "".join(f"\n    {file}" for file in files))
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / (1e9 if sys.platform == "darwin" else 1e6)
    print(f"{'done' if done else 'stopped'} after {duration(time.time() - start)}; largest notebook {memory:.1f} GB")
    return 0 if done else 1


def _plan(notebooks: Sequence[Path], options: argparse.Namespace) -> list[tuple[Path, dict[str, Any]]]:
    """Each notebook with its checked parameters. A name reaches the notebooks that declare it; one at least must."""
    shared: dict[str, Any] = {}
    texts = dict(getattr(options, "texts", ()))
    if profile := getattr(options, "profile", None):
        shared |= read_parameters(profile_file(profile))
    if seeds := getattr(options, "seeds", None):
        shared["seeds"] = seeds
    for file in getattr(options, "files", ()):
        shared |= read_parameters(file)
    for name in shared | texts:
        if not any(name in declared(notebook) for notebook in notebooks):
            every = {known: None for notebook in notebooks for known in declared(notebook)}
            raise unknown(name, every, ", ".join(notebook.stem for notebook in notebooks) or "notebooks/")
    if options.command == "refresh":
        shared.setdefault("seeds", KEPT_SEEDS)
    plan = []
    for notebook in notebooks:
        known = declared(notebook)
        profile = shared.get("profile")
        if (
            options.command in ("paper", "train")
            and "profile" in known
            and profile
            and profile not in known["profile"].choices
        ):
            print(f"{notebook.stem}: left out, for it has no profile {profile}")
            continue
        values, typed = ({k: v for k, v in given.items() if k in known} for given in (shared, texts))
        plan.append((notebook, bind(notebook, values, typed)))
    return plan
