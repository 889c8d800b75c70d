"""The command line: guess a video, list what is trained, and doors to the other commands.

    cityguessr guess my_walk.mp4                      # five likeliest places of each level, and a map beside you
    cityguessr guess my_walk.mp4 --run ~/their_run    # asks a run from elsewhere, or a checkpoint of the authors
    cityguessr guess *.mp4 --json                     # for a program: one line of JSON per video
    cityguessr runs                                   # what is trained on this machine
    cityguessr pages list                             # the notebooks; also train, score, compile, survey

`python -m cityguessr` is the same command.
"""

import argparse
import contextlib
import importlib
import io
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cityguessr.base import paths
from cityguessr.base.errors import CannotRun, InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cityguessr.guessing import Guess
    from cityguessr.model import CityGuessr
    from cityguessr.training.finished import Run

DOORS = {
    "pages": ("notebooks.__main__", "the notebooks: list them, run one, run all"),
    "train": ("training.command", "train experiments or the rows of a table"),
    "score": ("evaluation.score", "score a run or a checkpoint on a validation split"),
    "compile": ("compilation.__main__", "cut long videos of your own into a data set"),
    "survey": ("data.survey", "what is in the folder of a download"),
}
"""Command -> the module whose `main` it calls, and what it is for. `cityguessr train --help` says more."""
OLDER = "older"  # what the list of runs says of a run by code that has changed since

_EXAMPLES = """examples:
  cityguessr guess my_walk.mp4                     prints a table, and writes my_walk-map.png
  cityguessr guess my_walk.mp4 -k 10 --no-map      ten places of each level, and no picture
  cityguessr guess my_walk.mp4 --train             where no model is there yet: trains the small one first
  cityguessr guess my_walk.mp4 --run videomae      asks another experiment that is trained on this machine
  cityguessr guess my_walk.mp4 --run ~/their/seed0-1a2b3c4d
  cityguessr guess drive.mp4 --track               a coordinate for 16 frames too, where a VidTAG is trained
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; see the module's docstring. Returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if given and given[0] in DOORS:
            pages = given[0] == "pages" and not {"-h", "--help"} & set(given)
            if pages and not (paths.root() / "notebooks").is_dir():
                raise InputError(
                    f"{paths.root()}: no notebooks are here; they come with a clone of the project: work in it, "
                    "or name it in the environment variable CITYGUESSR_ROOT"
                )
            door = importlib.import_module(f"cityguessr.{DOORS[given[0]][0]}")
            return door.main(["list"] if given == ["pages"] else given[1:])
        parser = _parser()
        options = parser.parse_args(given)
        if options.command is None:
            parser.print_help()
            return 0
        return _runs() if options.command == "runs" else _guess(options)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped: what is finished is kept, and the same command goes on from there", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `cityguessr runs | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


class _Version(argparse.Action):
    """Prints the version; it is looked up only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from cityguessr.base.versions import version

        print(f"cityguessr {version()}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="cityguessr",
        description="In which city was a video filmed? A companion to CityGuessr (ECCV 2024).",
        epilog="`cityguessr guess --help` has examples; so have the others.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    guess = commands.add_parser(
        "guess",
        help="where was this video filmed?",
        description="The likeliest cities, states, countries and continents of a video, and a map of the cities.",
        epilog=_EXAMPLES,
        formatter_class=as_written,
    )
    add = guess.add_argument
    add("videos", nargs="+", metavar="VIDEO", help="a video file, or a folder of numbered pictures")
    add("--run", metavar="RUN", default="cityguessr", help="who guesses: the folder of a trained run, the name of an "
        "experiment that is trained here, or a checkpoint of the authors (default: cityguessr)")  # fmt: skip
    add("--profile", default="mini", help="for a name: the scale that it was trained at (default: mini)")
    add("-k", type=int, default=5, metavar="K", help="how many places of each level (default: 5)")
    pictures = guess.add_mutually_exclusive_group()
    pictures.add_argument("--map", metavar="FILE.png", help="where the map goes (default: VIDEO-map.png in this "
                          "folder, or a free name like it; nothing else is overwritten)")  # fmt: skip
    pictures.add_argument("--no-map", action="store_true", help="draw no map")
    add("--track", action="store_true", help="ask VidTAG for coordinates too, and draw VIDEO-track.png")
    add("--json", action="store_true", help="print one line of JSON per video; pictures only with --map or --track")
    add("--train", action="store_true", help="train the experiment first, where no run of it is there")
    add("--data-root", metavar="FOLDER", help="the real data set, for a profile that reads one")
    commands.add_parser(
        "runs", help="the trained runs on this machine", description="The trained runs on this machine."
    )
    for name, (_, about) in DOORS.items():
        commands.add_parser(name, help=about, add_help=False)
    return parser


def _guess(options: argparse.Namespace) -> int:
    if options.map and len(options.videos) > 1:
        raise InputError("--map names one picture, and there are several videos; leave it out, and each gets its own")
    if options.map:
        _picture(options.map, paths.found(options.videos[0]), "map")  # a name that cannot be taken is said before all
    import matplotlib as mpl

    mpl.use("agg")  # no window
    import matplotlib.pyplot as plt

    from cityguessr import figures, guessing
    from cityguessr.data import video

    for given in options.videos:  # before a model is opened, or even trained
        video.check(given)
    figures.use_style()
    with contextlib.redirect_stdout(sys.stderr if options.json else sys.stdout):
        run = _whom(options)
    for given in options.videos:
        answer = guessing.guess(given, run, options.k, data_root=options.data_root)
        written: dict[str, str] = {}
        if options.map or not (options.no_map or options.json):
            written |= _draw(answer, "map", options.map)
        if options.track:
            written |= _draw(answer, "track", None)
        if options.json:
            about = _as_json(answer, run, options.track) | {"pictures": written}
            print(json.dumps(about), flush=True)
        else:
            _print(answer, run, options.track, written)
        plt.close("all")
    return 0


def _whom(options: argparse.Namespace) -> "Run | CityGuessr":
    """The run that is asked, trained now where that is wanted and none is there."""
    from cityguessr import guessing

    try:
        return guessing.guesser(options.run, options.profile)
    except CannotRun as error:
        if not options.train:
            raise InputError(f"{error}. Or add --train to this command") from None
    from cityguessr.training import runs

    print(f"no run of {options.run} is here: it is trained now, which takes some minutes; Ctrl-C stops it", flush=True)
    return runs.ensure(options.run, options.profile, 0, data_root=options.data_root, report=_say)


def _say(line: str) -> None:
    print(line, flush=True)


def _print(answer: "Guess", run: "Run | CityGuessr", track: bool, written: dict[str, str]) -> None:
    """The path, the table of every level, the warning, who was asked, and where the pictures are."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # the name of a file may be in any encoding
    path, *warning = str(answer).splitlines()
    table = answer.table().reset_index()
    widths = [max(len(str(cell)) for cell in (name, *table[name])) for name in table]
    print(path, end="\n\n")
    for row in (list(table), *table.itertuples(index=False)):
        print("  ".join(f"{cell!s:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
    print()
    for line in warning:
        print(f"note: {line}")
    if track:
        for line in str(answer.track).splitlines():
            if line not in warning:
                print(line)
        if len(coordinates := answer.track.table().reset_index()):
            print("\n" + coordinates.to_string(index=False, float_format="{:.4f}".format, na_rep="") + "\n")
    if folder := getattr(run, "folder", None):
        print(f"run: {folder}")
    for what, file in written.items():
        print(f"{what}: {file}")
    sys.stdout.flush()


def _as_json(answer: "Guess", run: "Run | CityGuessr", track: bool) -> dict[str, Any]:
    """The same for a program."""
    from cityguessr.taxonomy import LEVELS

    names, folder = answer.taxonomy.names, getattr(run, "folder", None)
    likeliest = {
        level: [
            {"name": names[level][i], "probability": round(p, 6)}
            for i, p in zip(answer.ids[level].tolist(), answer.probabilities[level].tolist(), strict=True)
        ]
        for level in LEVELS
    }
    about = {"video": str(answer.path), "run": None if folder is None else str(folder), "synthetic": answer.synthetic}
    about |= {"answer": answer.names, "likeliest": likeliest}
    if track:
        rows = answer.track.table().reset_index().to_json(orient="records", double_precision=6)
        about["track"] = json.loads(rows)
        about["track_note"] = str(answer.track)
    return about


def _draw(answer: "Guess", what: str, given: str | None) -> dict[str, str]:
    """Draw the map or the track to a file; `what` -> its name, or why there is none."""
    import matplotlib.pyplot as plt

    if what == "map":
        try:
            figure = answer.draw().figure
        except InputError as error:  # a tree of one's own may be without coordinates
            return {what: f"none, {error}"}
        count = len(answer.ids["city"])
        which = "The likeliest city" if count == 1 else f"The {count} likeliest cities"
        name = os.fsencode(answer.path.name).decode(errors="backslashreplace")  # it may be in any encoding
        plt.gca().set_title(f"{which} for {name}")
    elif (figure := answer.track.draw()) is None:
        return {}
    target = _picture(given, answer.path, what)
    try:
        _write(figure, target, answer.path)
    except InputError as error:
        if given:
            raise
        return {what: f"not written ({error}); --map FILE.png names another place"}
    return {what: os.path.relpath(target) if given is None else str(target)}


def _write(figure: "Figure", target: Path, video: Path) -> None:
    from cityguessr.base.files import write_bytes

    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=150, metadata={"Software": "cityguessr", "Source": _source(video)})
    write_bytes(target, content.getvalue())


def _picture(given: str | None, video: Path, what: str) -> Path:
    """The file for a picture of a video: it is free, or has what an earlier call drew of the same video.

    Raises InputError where `given` names any other file.
    """
    if given is None:
        names = (f"{video.stem}-{what}{'' if n == 1 else f'-{n}'}.png" for n in range(1, 1_000_000))
        return next(path for path in map(Path.cwd().joinpath, names) if _free(path, video))
    path = Path(given).expanduser()
    if path.suffix.lower() != ".png":
        raise InputError(f"--map {given}: the map is a PNG; give a name that ends in .png")
    if not _free(path, video):
        raise InputError(f"{path.absolute()}: this file is there already; give another name, or remove it")
    return path


def _free(path: Path, video: Path) -> bool:
    """Whether a picture of a video may be written to a path."""
    if not os.path.lexists(path):
        return True
    from PIL import Image

    try:
        with Image.open(path) as picture:
            return picture.info.get("Software") == "cityguessr" and picture.info.get("Source") == _source(video)
    except (OSError, ValueError, SyntaxError):
        return False


def _source(video: Path) -> str:
    """What a picture notes of its video: a digest of its place, which tells videos of one name apart."""
    import hashlib

    return hashlib.sha256(os.fsencode(os.path.abspath(video))).hexdigest()[:16]


def _runs() -> int:
    from cityguessr.training import opening

    rows = [("profile", "experiment", "seed", "code", "folder")]
    for profile, experiment, run in opening.everything():
        folder = run.folder.relative_to(paths.root()) if run.folder.is_relative_to(paths.root()) else run.folder
        code = OLDER if opening.is_older(run) else "present"
        rows.append((profile, experiment, str(run.provenance["seed"]), code, str(folder)))
    if len(rows) == 1:
        print(f"no run is trained in {paths.runs()}; `cityguessr train cityguessr` trains the small model")
        return 0
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    print(f"in {paths.root()}:")
    for row in rows:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
    older = [experiment for _, experiment, _, code, _ in rows[1:] if code == OLDER]
    if older:
        print(
            f"older: code that has changed since trained {len(older)} of these {len(rows) - 1} runs. They can be "
            f"asked, but a table trains their systems anew, as `cityguessr train {older[0]}` does"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
