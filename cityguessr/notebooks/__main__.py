"""The command line of the notebooks.

    python -m cityguessr.notebooks list
    python -m cityguessr.notebooks run table4 --profile cityguessr68k --seeds 0,1,2 -p epochs 2
    python -m cityguessr.notebooks run figures    # those that draw the paper's figures
    python -m cityguessr.notebooks paper          # all of them, from the embedded default
    python -m cityguessr.notebooks refresh [NAME...]   # run with five seeds; keep notebooks/ and figures/, for git
    python -m cityguessr.notebooks requote [NAME...]   # numbers that prose quotes from tables, brought up to date

papermill does the running. What pages draw and tabulate goes to `runs/figures/<profile>`; `refresh` alone writes into
`figures/`, which is in git. An unknown parameter or a value of the wrong type is an error before anything runs, with
these commands and with plain papermill, where `notebooks.check_parameters(globals())` is the first statement after a
notebook's parameters cell.
"""

import argparse
import contextlib
import os
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import nbformat

from cityguessr.base import paths
from cityguessr.base.errors import InputError
from cityguessr.base.progress import STOPPED, WATCHED, duration
from cityguessr.notebooks import runner, summary
from cityguessr.notebooks.checking import kept_seeds
from cityguessr.notebooks.parameters import Parameter, bind, declared, read_parameters, unknown
from cityguessr.notebooks.quotes import quotes, requote

KEPT_SEEDS = "0,1,2,3,4"  # of the outputs in notebooks/, where the comment of `seeds` names no others
KEPT_SEEDS_LARGER = "0,1,2"  # of the tables in figures/midi
INTERRUPTED = 130  # the exit code of a program that SIGINT ended


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; see the module's docstring. Returns the exit code."""
    options = _parser().parse_args(arguments)
    for name in WATCHED:  # a page that is run from an open page is not open
        os.environ.pop(name, None)
    try:
        with summary.listing() as listed, _figures_into(options):
            return _main(options, listed)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\n{STOPPED}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # what reads our lines, such as head, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _main(options: argparse.Namespace, listed: Path) -> int:
    start = time.time()
    if options.command == "list":
        return _list()
    names = getattr(options, "names", None)
    if options.command == "requote":
        return _requote(_named(names) if names else runner.available())
    plan = make_plan(_named(names) if names else runner.available(), options)
    if not names:
        train_ahead(plan)
    if options.command == "train":
        trained = summary.count(runner.trained_since(start), "run")
        print(f"{trained} trained in {duration(time.time() - start)}")
        return 0
    several = not names or names == ["figures"]
    refresh = options.command == "refresh"
    pages = refresh and (options.profile or "mini") == "mini"  # those in notebooks/ are the default's
    finished = runner.run_all(plan, pages, side_by_side=several, show=not (several or refresh))
    _print_summary(start, finished, summary.figures_in(listed))
    return 0 if finished else 1


@contextlib.contextmanager
def _figures_into(options: argparse.Namespace) -> Iterator[None]:
    """While a command refreshes what is in git, figures go there."""
    before = os.environ.get("CITYGUESSR_FIGURES")
    if options.command == "refresh":
        os.environ["CITYGUESSR_FIGURES"] = paths.KEPT
    try:
        yield
    finally:
        if options.command == "refresh":
            os.environ.pop("CITYGUESSR_FIGURES")
            if before is not None:
                os.environ["CITYGUESSR_FIGURES"] = before


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m cityguessr.notebooks", description="Run the notebooks, strictly.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="the notebooks and their parameters")
    refresh = commands.add_parser("refresh", help="run with five seeds; keep notebooks/ and figures/ for git")
    refresh.add_argument("names", nargs="*", metavar="NAME", help="as for run; all of them when left out")
    requote = commands.add_parser("requote", help="bring the numbers that prose quotes from tables up to date")
    requote.add_argument("names", nargs="*", metavar="NAME", help="as for run; all of them when left out")
    run = commands.add_parser("run", help="run the named notebooks")
    named = "32, table4, table_s3, fig_s5, 40_world_maps, ...; figures: all that draw figures of the paper"
    run.add_argument("names", nargs="+", metavar="NAME", help=named)
    paper = commands.add_parser("paper", help="run all")
    train = commands.add_parser("train", help="train what all of them ask for, and run none")
    for command in (run, paper, refresh, train):
        usual = f" (by default those of the kept outputs, {KEPT_SEEDS})" if command is refresh else ""
        command.add_argument("--seeds", help=f"0,1,2: for each notebook that has `seeds`{usual}")
        one = {"nargs": 2, "metavar": ("NAME", "VALUE"), "help": "a parameter, for each notebook that has it"}
        command.add_argument("-p", action="append", default=[], dest="texts", **one)
    larger = "midi: the tables of the larger world, to figures/midi, and no page"
    refresh.add_argument("--profile", choices=paths.KEPT_PROFILES, help=larger)
    for command in (run, paper, train):
        command.add_argument("--profile", help="scale and data: a file of env/profiles, for each notebook that has it")
        file = {"metavar": "FILE", "help": "a YAML file of parameters, as papermill reads them"}
        command.add_argument("-f", action="append", default=[], type=Path, dest="files", **file)
    return parser


def _list() -> int:
    for notebook in runner.available():
        lines = [f"    {parameter}  # {parameter.comment}" for parameter in declared(notebook).values()]
        print("\n".join([notebook.stem, *lines]))
    return 0


def _requote(notebooks: Sequence[Path]) -> int:
    for notebook in notebooks:
        page = nbformat.read(notebook, as_version=4)
        moved = []
        for cell in page.cells:
            if cell.cell_type == "markdown":
                moved += [quote for quote in quotes(cell.source, notebook.parent) if not quote.holds]
                cell.source = requote(cell.source, notebook.parent)
        if moved:
            runner.replace(notebook, page)
            print(f"{notebook.stem}: re-read the words around")
            print("\n".join(f"    {quote.text} -> {quote.actual}  {quote.link}" for quote in moved))
    return 0


def _named(names: Sequence[str]) -> list[Path]:
    return [path for name in names for path in (runner.drawing() if name == "figures" else [runner.find(name)])]


def make_plan(notebooks: Sequence[Path], options: argparse.Namespace) -> list[tuple[Path, dict[str, Any]]]:
    """Each notebook with its checked parameters.

    A parameter reaches the notebooks that declare it; at least one must. Raises InputError where none does, or where a
    value does not fit.
    """
    shared, texts = _given(options)
    for name in shared | texts:
        if not any(name in declared(notebook) for notebook in notebooks):
            known = {name: None for notebook in notebooks for name in declared(notebook)}
            raise unknown(name, known, ", ".join(notebook.stem for notebook in notebooks) or "notebooks/")
    plan = []
    for notebook in notebooks:
        known = declared(notebook)
        profile = shared.get("profile")
        optional = options.command in ("paper", "train", "refresh") and "profile" in known
        if optional and profile and profile not in known["profile"].choices:
            print(f"{notebook.stem}: left out, for it has no profile {profile}")
            continue
        values, typed = ({k: v for k, v in given.items() if k in known} for given in (shared, texts))
        if options.command == "refresh" and "seeds" in known and "seeds" not in texts:
            values.setdefault("seeds", _kept_seeds(known["seeds"], profile))
        plan.append((notebook, bind(notebook, values, typed)))
    return plan


def _kept_seeds(parameter: Parameter, profile: str | None) -> list[int] | str:
    """The seeds whose outputs are kept: what the parameter's comment says of its page, or the usual ones."""
    if profile not in (None, "mini"):
        return KEPT_SEEDS_LARGER
    return list(kept_seeds(parameter) or ()) or KEPT_SEEDS


def _given(options: argparse.Namespace) -> tuple[dict[str, Any], dict[str, str]]:
    """The parameters of a command line: those from files and options, and those typed after `-p`."""
    shared: dict[str, Any] = {}
    if profile := getattr(options, "profile", None):
        shared |= read_parameters(runner.profile_file(profile))
    if options.seeds:
        shared["seeds"] = options.seeds
    for file in getattr(options, "files", ()):
        shared |= read_parameters(file)
    return shared, dict(options.texts)


def train_ahead(plan: runner.Plan) -> None:
    """Train what the pages of a plan will ask for, as many at a time as the machine takes.

    Page by page, a processor would often wait for the last training of a table. The pages from 50 to 59 ask for
    VidTAG's tables, with the seeds of `seeds` or `seed`; all others that have `seeds` for CityGuessr's experiments.
    """
    # seconds of imports, which a misspelled parameter need not wait for
    from cityguessr.training import command, track_experiments

    names = ("profile", "data_root", "allow_downloads", "cluster")
    shared: dict[str, Any] = {}
    seeds: dict[str, dict[int, None]] = {"cityguessr": {}, "vidtag": {}}
    for notebook, given in plan:
        page = {name: parameter.default for name, parameter in declared(notebook).items()} | given
        vidtag = notebook.stem.startswith("5")
        mine = page.get("seeds") or ([page["seed"]] if vidtag and "seed" in page else [])
        seeds["vidtag" if vidtag else "cityguessr"] |= dict.fromkeys(mine)
        if mine:
            shared |= {name: page[name] for name in names if name in page}  # one plan gives all pages the same values
    if not shared:
        return
    profile, asked = shared.pop("profile"), []
    for kind, wanted in ((command.CITYGUESSR, [command.ALL]), (command.VIDTAG, [*command.VIDTAG.tables])):
        if chosen := [*seeds[kind.whose.lower()]]:
            asked += command.chosen(wanted, profile, chosen, [kind])
    if seeds["vidtag"] and (clips := track_experiments.CLIPS.get(profile)) not in (None, profile):
        # VidTAG on CityGuessr's own clips
        asked += command.chosen(["vidtag_cityguessr68k"], clips, [*seeds["vidtag"]], [command.VIDTAG])
    command.ensure_all(asked, **shared)


def _print_summary(start: float, finished: bool, files: Sequence[Path]) -> None:
    """What this command wrote, how it differs from what is kept in git, how long it took, and how much memory."""
    print(f"figures and tables written: {summary.count(len(files), 'file')}")
    print("".join(f"    {line}\n" for line in summary.grouped(files)), end="")
    kept = paths.kept_figures()
    if files and not paths.keeping():
        differences = summary.beside_kept(files)
        words = " Beside the tables there:" if differences else ""
        print(f"{summary.relative(kept)}/, what is kept in git, is as it was.{words}")
        print("".join(f"    {line}\n" for line in differences), end="")
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / (1e9 if sys.platform == "darwin" else 1e6)
    print(
        f"{'done' if finished else 'stopped'} after {duration(time.time() - start)}; "
        f"{summary.count(runner.trained_since(start), 'run')} trained; largest notebook {memory:.1f} GB"
    )


if __name__ == "__main__":
    sys.exit(main())
