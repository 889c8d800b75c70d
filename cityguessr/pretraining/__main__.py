"""The command line of pretraining.

    python -m cityguessr.pretraining videomae       # the weights that come with the package, made anew
    python -m cityguessr.pretraining mae --out data/weights/my-mae --world-seeds 201 202 --places-epochs 4
    python -m cityguessr.pretraining starts         # what each start is worth on the default world: weights/starts.csv

Other weights than the package's go to a folder of `data/weights`, and `ModelConfig(pretrained="my-mae")` finds them.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from cityguessr.base import weights
from cityguessr.base.errors import InputError
from cityguessr.base.files import write_csv
from cityguessr.base.progress import duration
from cityguessr.base.tables import read_json
from cityguessr.pretraining import starts
from cityguessr.pretraining.making import EXPERIMENTS, SETTINGS, STAGES, Settings, config, make
from cityguessr.training import datasets

STARTS = "starts.csv"
_LABELS_ALONE = "videomae-places"  # in data/weights: for comparison, not shipped


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; see the module's docstring. Returns the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(arguments)
    try:
        if options.what == "starts":
            _starts(options)
        else:
            _make(options, "python -m cityguessr.pretraining " + shlex.join(arguments))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m cityguessr.pretraining",
        description="Pretrain small encoders on other worlds. What is left out is as for the shipped weights.",
    )
    parser.add_argument("what", choices=(*EXPERIMENTS, "starts"), help="a backbone, or the comparison of starts")
    parser.add_argument("--out", type=Path, help="folder (of starts: CSV file) to write; by default in the package")
    seeds = {"type": int, "nargs": "+", "metavar": "SEED"}
    parser.add_argument("--world-seeds", **seeds, help="worlds to learn from")
    parser.add_argument("--clips-per-city", type=int, help="of each of these worlds")
    parser.add_argument("--seed", type=int, help="of weights, order, masks and augmentation")
    parser.add_argument("--masked-epochs", type=int)
    parser.add_argument("--places-epochs", type=int)
    parser.add_argument(
        "--stages", nargs="+", choices=("masked", "places"), help="those of the shipped weights if left out"
    )
    parser.add_argument("--workers", type=int, help="processes that render, and of starts: that train")
    parser.add_argument("--seeds", default=(0, 1, 2), **seeds, help="of starts: seeds of the finetuning")
    return parser


def _settings(options: argparse.Namespace, backbone: str) -> Settings:
    """What the shipped weights were made with, but for what was given."""
    names = ("world_seeds", "clips_per_city", "seed", "masked_epochs", "places_epochs")
    given = {name: value for name in names if (value := getattr(options, name)) is not None}
    if "world_seeds" in given:
        given["world_seeds"] = tuple(given["world_seeds"])
    return SETTINGS[backbone].replace(**given)


def _make(options: argparse.Namespace, command: str) -> None:
    stages = tuple(options.stages) if options.stages else None
    folder = make(options.what, _settings(options, options.what), options.out, stages, options.workers, command)
    record = read_json(folder / weights.PROVENANCE)
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{folder}: {size / 1e6:.2f} MB in {duration(record['seconds'])}")


def _starts(options: argparse.Namespace) -> None:
    """Finetune from every start that there is; VideoMAE's from labels alone is made where it is not there."""
    clips = datasets.prepared("mini", config("videomae").clip_format, workers=options.workers)
    given: list[tuple[str, str, str | None]] = []
    for backbone in EXPERIMENTS:
        given += [(backbone, "random", None)]
        given += [(backbone, "+".join(STAGES[backbone]), f"{weights.PACKAGED}{backbone}")]
    given.append(("videomae", "masked", f"{weights.PACKAGED}videomae-masked"))
    if not (weights.place(_LABELS_ALONE) / weights.PROVENANCE).is_file():
        make("videomae", _settings(options, "videomae"), weights.place(_LABELS_ALONE), ("places",), options.workers)
    given.append(("videomae", "places", _LABELS_ALONE))
    rows = list(starts.measure_all(given, options.seeds, clips.folder, options.workers or 2))
    order = {(backbone, start): number for number, (backbone, start, _) in enumerate(given)}
    rows.sort(
        key=lambda row: (list(EXPERIMENTS).index(row["backbone"]), order[row["backbone"], row["start"]], row["seed"])
    )
    out = options.out or weights.PACKAGE / STARTS
    write_csv(out, [starts.COLUMNS, *([_shown(row[name]) for name in starts.COLUMNS] for row in rows)])
    print(f"{out}: {len(rows)} rows")


def _shown(value: object) -> object:
    return f"{value:.2f}" if isinstance(value, float) else value


if __name__ == "__main__":  # a worker process imports this file anew
    sys.exit(main())
