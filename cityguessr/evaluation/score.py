"""Scores a checkpoint on a validation split, beside the rows of Tables 4 and 5.

    python -m cityguessr.evaluation.score checkpoint.pth --profile cityguessr68k --data-root /data/CityGuessr68k
    python -m cityguessr.evaluation.score runs/mini/cityguessr/seed0-1a2b3c4d --profile mini

A checkpoint is what the authors' script saves, or a run of this project: its folder, or the model.safetensors in it.
Where no whole set has been prepared yet, only the validation split is.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from cityguessr.base import locks, paths
from cityguessr.base.digests import file_digest
from cityguessr.base.errors import InputError
from cityguessr.base.files import write_bytes
from cityguessr.base.progress import track
from cityguessr.checkpoint import load_released_checkpoint
from cityguessr.config import ClipFormat
from cityguessr.data.clips import META, ClipDataset, PreparedClips
from cityguessr.data.prepare import Source, prepare, taken
from cityguessr.data.sources import ClipRef
from cityguessr.evaluation import scoring
from cityguessr.evaluation.scoring import Protocol
from cityguessr.model import System
from cityguessr.taxonomy import LEVELS, Taxonomy
from cityguessr.training import datasets, profiles
from cityguessr.training.batches import Batches, ClipTensors, in_turn
from cityguessr.training.execution import DEVICES, Execution
from cityguessr.training.finished import PROVENANCE, Run
from cityguessr.training.loop import evaluate
from cityguessr.training.profiles import Profile
from cityguessr.training.provenance import circumstances

_BATCH = 32


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A model to be scored.

    Attributes:
        digest: SHA-256 of the file that its weights are in.
        what: where it comes from, in words.
        released: whether it is one of the authors', which is scored as their code does it, in place of its own way.
        split: how its training divided clips, "clip" or "video": it is scored on the clips that it has not seen.
    """

    model: System
    digest: str
    what: str
    released: bool
    split: str = "clip"


def load(path: str | Path) -> Checkpoint:
    """The model in a checkpoint of the authors, in the folder of a run, or in the model.safetensors of one.

    Raises InputError for anything else, and for a file of a run that changed since it was written.
    """
    path = paths.found(path)
    folder = path.parent if path.name == "model.safetensors" and (path.parent / PROVENANCE).exists() else path
    if folder.is_dir():
        run = Run(folder)
        seed, experiment = run.provenance["seed"], run.provenance.get("experiment")
        digest = run.provenance["files"]["model.safetensors"]["sha256"]
        return Checkpoint(run.model(), digest, f"run of {experiment!r}, seed {seed}", False, run.config.split)
    model = load_released_checkpoint(path)
    return Checkpoint(model, file_digest(path), "checkpoint of the authors' script", True)


def validation(
    profile: str | Profile,
    clip_format: ClipFormat,
    data_root: str | Path | None = None,
    workers: int | None = None,
    split: str = "clip",
) -> ClipDataset:
    """The validation split of a profile in a format, prepared now where it is not there yet.

    A set of real clips that is there whole is taken; otherwise the validation split alone is prepared, a fifth of the
    work, in a folder of its own with `-val` after its name.

    Raises InputError as `datasets.prepared` does, and where more than a few clips were rejected.
    """
    profile = profiles.get(profile)
    whole = paths.data() / "prepared" / clip_format.folder(profile.name)
    options = {} if workers is None else {"workers": workers}
    if profile.synthetic or split == "video" or (whole / META).is_file():
        dataset = profile.datasets[0]
        return datasets.prepared(profile, clip_format, data_root, dataset=dataset, **options).split("val", split)
    folder = whole.with_name(f"{whole.name}-val")
    if not data_root and (folder / META).is_file():
        return _checked(PreparedClips.load(folder)).split("val")
    dataset = profile.datasets[0]
    root = datasets.root(profile, data_root, dataset=dataset, **options)
    source, _ = datasets.DATASETS[dataset].read(root, clip_format)
    if clips := taken(_ValidationOnly(source), folder, clip_format):
        return _checked(clips).split("val")
    with locks.beside(folder):
        return _checked(prepare(_ValidationOnly(source), folder, clip_format, **options)).split("val")


class _ValidationOnly:
    """A source that lists the clips of its validation split alone."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._source, name)

    def clips(self) -> list[ClipRef]:
        """Every clip of the validation split, in the order of the list."""
        return [clip for clip in self._source.clips() if clip.split == "val"]


def _checked(clips: PreparedClips) -> PreparedClips:
    counts = clips.meta["clips"]
    if counts["rejected"] > datasets.REJECTED_SHARE * counts["listed"]:
        raise InputError(
            f"{clips.folder}: {counts['rejected']:,} of {counts['listed']:,} clips were rejected, the first because "
            f"{clips.rejected()[0]['reason']}; mend the source (rejected.csv names every clip), delete the folder, and "
            "run again"
        )
    return clips


def logits(
    model: System, clips: ClipDataset, given: Protocol, profile: Profile, batch: int = _BATCH, device: str = "auto"
) -> dict[str, Tensor]:
    """The model's logits of a split, on the CPU in float32: level -> (N, number of classes).

    Args:
        given: which frames the model is given.
        batch: clips at a time.
        device: "auto" takes a GPU where there is one.

    Raises InputError where the model's label tree is not that of the clips.
    """
    if batch < 1:
        raise InputError(f"batch is {batch}; it must be at least 1")
    _check_tree(model.taxonomy, clips.taxonomy)
    needs_scenes = model.routed or model.config.system == "geodecoder"  # these have no form without
    bare = given.config if needs_scenes else given.config.replace(scene_labels=None)
    workers = 0 if len(clips) <= batch else profile.loader_workers  # one batch is read sooner than a process starts
    data = ClipTensors(clips, bare, workers == 0)
    place = Execution(device).torch_device
    order = in_turn(range(len(clips)), batch)
    own, model.config = model.config, given.config
    try:
        batches: Iterator = track(Batches(data, order, batch, workers, place), "scoring, batches", total=len(order))
        return evaluate(model.to(place), batches).logits
    finally:
        model.config = own


def _check_tree(of_model: Taxonomy, of_clips: Taxonomy) -> None:
    """Class ids must mean the same on both sides; how a place is spelt, or where its centre lies, may differ."""
    same = of_model.folders == of_clips.folders and all(
        of_model.ancestors[level].equal(of_clips.ancestors[level]) for level in LEVELS
    )
    if not same:
        raise InputError(
            f"the model was trained on another label tree ({of_model}) than the clips have ({of_clips}); score it on "
            "the data set that it was trained for"
        )


def score(
    checkpoint: str | Path,
    profile: str | Profile = "cityguessr68k",
    data_root: str | Path | None = None,
    protocols: Sequence[str] = (),
    *,
    batch: int = _BATCH,
    device: str = "auto",
    workers: int | None = None,
) -> tuple[pd.DataFrame, list[str]]:
    """The scores of a checkpoint under one or more protocols, and notes: what could not be run and why, and sources.

    Logits are computed once for each protocol that gives the model other frames.

    Args:
        protocols: of `scoring.PROTOCOLS`; left out, an authors' checkpoint is scored as "released", a run as "own".

    Returns a frame with the columns `scoring.COLUMNS` and what identifies checkpoint, clips and program. Raises
    InputError where no protocol can be run, and as `load` and `validation` do.
    """
    profile, loaded = profiles.get(profile), load(checkpoint)
    own = loaded.model.config
    frames: list[pd.DataFrame] = []
    notes = [f"{checkpoint}: {loaded.what}, sha256 {loaded.digest[:16]}"]
    reasons: list[str] = []
    done: dict[tuple[ClipFormat, str | None], tuple[ClipDataset, dict[str, Tensor]]] = {}
    facts = {"checkpoint": Path(checkpoint).name, "sha256": loaded.digest, "profile": profile.name}
    machine = circumstances()
    facts |= {"commit": (machine["git"] or {}).get("commit", ""), "torch": machine["versions"]["torch"]}
    facts["device"] = str(Execution(device).torch_device)
    for name in dict.fromkeys(protocols or (["released"] if loaded.released else ["own"])):
        given = scoring.protocol(name, own)
        if isinstance(given, str):
            reasons.append(f"not run: {given}")
            continue
        key = given.clip_format, own.frame
        if key not in done:
            clips = validation(profile, given.clip_format, data_root, workers, loaded.split)
            done[key] = clips, logits(loaded.model, clips, given, profile, batch, device)
        clips, answers = done[key]
        table = scoring.scores(answers, clips.labels, clips.taxonomy, clips.video_ids, given)
        frames.append(table.assign(**facts, fingerprint=clips.fingerprint, synthetic=clips.synthetic))
        videos = len(set(clips.video_ids))
        over = f"{videos:,} source videos" if videos < len(clips) else "clips, for no source video is named"
        notes.append(
            f"{name}: {len(clips):,} validation clips, {given.config.frames} frames ({given.config.sampling}), colours "
            f"normalised: {given.config.normalise_eval}; 95 % intervals over {over}; clips {clips.fingerprint[:16]}"
        )
        notes += [given.note] if given.note else []
        if clips.synthetic:
            notes.append("these clips are synthetic: the numbers say nothing about the paper's")
    if not frames:
        raise InputError(f"{checkpoint}: no protocol can be run ({'; '.join(reasons)}); choose own")
    return pd.concat([scoring.printed(), *frames], ignore_index=True), notes + reasons


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; see the module's docstring. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m cityguessr.evaluation.score", description="Score a checkpoint beside Tables 4 and 5."
    )
    parser.add_argument("checkpoint", help="the authors' checkpoint, the folder of a run, or its model.safetensors")
    parser.add_argument("--profile", default="cityguessr68k", help="scale and data")
    parser.add_argument("--data-root", metavar="FOLDER", help="the real data set, for a profile that reads one")
    parser.add_argument(
        "--protocol", action="append", default=[], choices=scoring.PROTOCOLS, help="may be given more than once"
    )
    parser.add_argument("--batch", type=int, default=_BATCH, help="clips at a time")
    parser.add_argument("--device", default="auto", choices=DEVICES)
    parser.add_argument("--workers", type=int, help="processes that prepare clips")
    parser.add_argument("--csv", metavar="FILE", help="write the scores with their provenance there")
    options = parser.parse_args(arguments)
    try:
        frame, notes = score(
            options.checkpoint,
            options.profile,
            options.data_root,
            options.protocol,
            batch=options.batch,
            device=options.device,
            workers=options.workers,
        )
        print(scoring.text(frame), *notes, sep="\n")
        if options.csv:
            write_bytes(options.csv, frame.to_csv(index=False, lineterminator="\n", float_format="%.6g").encode())
            print(f"written: {os.path.relpath(options.csv)}")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
