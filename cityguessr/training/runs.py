"""Trained runs on disk: train unless this exact run is there already, and say where every number comes from."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save
from torch import Tensor

from cityguessr.base import locks, paths, threads, weights
from cityguessr.base.errors import CannotRun, InputError
from cityguessr.base.files import write_atomically, write_bytes
from cityguessr.config import ModelConfig
from cityguessr.data.clips import META, ClipDataset, PreparedClips
from cityguessr.data.sources import SPLITS
from cityguessr.taxonomy import LEVELS
from cityguessr.text.features import text_features
from cityguessr.training import datasets, experiments, live, profiles, scene_labels
from cityguessr.training.execution import AUTO, Execution
from cityguessr.training.experiments import Experiment
from cityguessr.training.finished import PROVENANCE, Run, clips_of, seal, write_json
from cityguessr.training.loop import train
from cityguessr.training.profiles import Profile
from cityguessr.training.provenance import circumstances, run_codes
from cityguessr.training.seeds import check_seed

_DEAL = 20_241_004  # deals the cities' text features to other cities, the same way for every seed


@dataclasses.dataclass(frozen=True)
class Plan:
    """One training before it is run: all that decides its result, and the folder that follows from it.

    It is small and can be sent to a worker that sees the same folders.

    Attributes:
        config: the model at the profile's scale.
        clips: folder of the prepared clips.
        text: (number of cities, text width) text features; None without text alignment.
        identity: what makes two runs the same: configuration, seed, code, weights, data and text features.
        root: the project's folder, which holds `runs/`.
        allow_downloads, execution: as in `ensure`; they do not change the result.
    """

    experiment: Experiment
    profile: Profile
    seed: int
    config: ModelConfig
    clips: Path
    text: Tensor | None
    identity: dict[str, Any]
    root: Path
    allow_downloads: bool = False
    execution: Execution = AUTO

    def __str__(self) -> str:
        return f"{self.experiment.name}, seed {self.seed}"

    @property
    def folder(self) -> Path:
        """`runs/<profile>/<experiment>/seed<k>-<hash>`."""
        digest = hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()[:8]
        return self.root / "runs" / self.profile.name / self.experiment.name / f"seed{self.seed}-{digest}"

    @property
    def name(self) -> str:
        """Of the experiment."""
        return self.experiment.name

    def carry_out(self, report: Callable[[str], None] = print) -> Run:
        """Train it, unless it is there already."""
        return carry_out(self, report)

    @property
    def done(self) -> bool:
        """Whether the run is there, whole."""
        return (self.folder / PROVENANCE).is_file()

    def with_seed(self, seed: int) -> Plan:
        """The same training with another seed."""
        return dataclasses.replace(self, seed=check_seed(seed), identity=self.identity | {"seed": seed})


def plan(
    experiment: str | Experiment,
    profile: str | Profile = "mini",
    seed: int = 0,
    *,
    data_root: str | Path | None = None,
    allow_downloads: bool = False,
    execution: Execution = AUTO,
    workers: int | None = None,
    clips: PreparedClips | None = None,
) -> Plan:
    """What `ensure` would train, with its data prepared but nothing trained; for the arguments and errors see there."""
    check_seed(seed)
    profile = profiles.get(profile)
    experiment = experiments.canonical(experiment, profile)
    profile = experiment.trained_by(profile)
    config = experiment.config(profile)
    if clips is None:
        scenes = scene_labels.needed(config) or "clip"
        options = {"dataset": experiment.dataset, "scenes": scenes}
        clips = datasets.prepared(profile, config.clip_format, data_root, workers, **options)
    else:
        _check_own(clips, experiment, profile, config)
    text = _text(clips, config, allow_downloads)
    identity = {
        "experiment": experiment.name,
        "profile": profile.name,
        "seed": seed,
        "model": dataclasses.asdict(config),
        "training": profile.training(),
        "code": _code(config),
        "weights": weights.version(config.pretrained),
        "data": clips.fingerprint,
        **({"videos": clips.videos_digest} if config.split == "video" else {}),
        "text": None if text is None else hashlib.sha256(text.numpy().tobytes()).hexdigest(),
    }
    return Plan(
        experiment, profile, seed, config, clips.folder, text, identity, paths.root(), allow_downloads, execution
    )


def ensure(
    experiment: str | Experiment,
    profile: str | Profile = "mini",
    seed: int = 0,
    *,
    data_root: str | Path | None = None,
    allow_downloads: bool = False,
    execution: Execution = AUTO,
    workers: int | None = None,
    clips: PreparedClips | None = None,
    report: Callable[[str], None] = print,
) -> Run:
    """The run of an experiment at a profile's scale with a seed: trained now, unless it is there already.

    A run is the same when its configuration, the code that computes it and its data are the same; anything else trains
    anew, in a folder of its own. Experiments that are equal at this scale share one run, under the name of the first.
    An interrupted training goes on after the last step that was saved.

    Args:
        data_root: the real data set, for a profile that reads one.
        execution: on which device, how fast, in how much memory; it does not change which run it is.
        workers: processes that render and prepare clips where these are not there yet; by default as many as cores.
        clips: prepared clips of your own to train on, in place of the profile's; they must be as many frames, of that
            size, as the model takes.
        report: gets one line per epoch; on an open page, `print` shows them in one place.

    Raises InputError for unknown names, data that cannot be prepared, and under a launcher of several processes
    (torchrun), where seeds and experiments are to be spread with `python -m cityguessr.training`; MissingWeights for
    pretrained weights that are not there.

    Example:
        >>> run = ensure("cityguessr", profile="mini", seed=0)
        >>> run.log["val_city"].iloc[-1], run.folder
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError(
            "a run is trained by one process; spread experiments and seeds over GPUs with python -m "
            "cityguessr.training in place of torchrun or accelerate launch"
        )
    options = {"data_root": data_root, "allow_downloads": allow_downloads, "execution": execution, "workers": workers}
    return carry_out(plan(experiment, profile, seed, clips=clips, **options), live.one(report))


def _check_own(clips: PreparedClips, experiment: Experiment, profile: Profile, config: ModelConfig) -> None:
    """Raise InputError, before anything is trained or written, where clips of one's own cannot be trained on."""
    form, meta = config.clip_format, clips.meta
    if (meta["frames"], meta["size"]) != (form.frames, form.size):
        raise InputError(
            f"{clips.folder}: its clips are {meta['frames']} frames of {meta['size']} pixels, and {experiment.name} at "
            f"the profile {profile.name} takes {form.frames} of {form.size}; prepare them in another folder with "
            f"ClipFormat(frames={form.frames}, size={form.size})"
        )
    counts = {split: meta["counts"][split]["clips"] for split in SPLITS}
    for split, other in (("val", "train"), ("train", "val")):
        if not counts[split] and config.split == "clip":
            raise InputError(
                f"{clips.folder}: its {counts[other]:,} clips are all in the split {other!r}, none in {split!r}; name "
                "both in a column `split` of the table, or give two clips or more of a city, of which one is held out"
            )
    if scene_labels.needed(config) and clips.split("train", config.split).frame_scenes(0) is None:
        raise CannotRun(
            f"{clips.folder}: its clips have no scene labels, which {experiment.name} needs; give them some with "
            "cityguessr.data.labelling.label_scenes, or train an experiment without scenes, such as videomae"
        )


def carry_out(plan: Plan, report: Callable[[str], None] = print) -> Run:
    """Train what is planned, unless it is there already; another process that does it meanwhile is waited for.

    Raises InputError where the code or the clips are no longer those of the plan, as on a worker of another version.
    """
    if plan.done:
        return Run(plan.folder)
    with locks.beside(plan.folder):
        if not plan.done:
            meta = plan.clips / META
            written = meta.stat().st_mtime_ns if meta.is_file() else 0
            clips = _clips(plan.clips, plan.config.scene_classes, plan.identity["data"], written)
            if (_code(plan.config), clips.fingerprint) != (plan.identity["code"], plan.identity["data"]):
                raise InputError(f"{plan}: the code or {plan.clips} changed since this was planned; plan it again")
            epochs = plan.config.epochs
            report(f"training {plan.experiment.name}, profile {plan.profile.name}, seed {plan.seed}: {epochs} epochs")
            _train(plan, clips, report)
    return Run(plan.folder)


@functools.lru_cache(maxsize=1)
def _clips(folder: Path, scenes: int, fingerprint: str, written: int) -> PreparedClips:
    """The set that this process trained on last, with its decoded frames: those of one set are kept at a time."""
    return clips_of(folder, scenes, fingerprint)


def _code(config: ModelConfig) -> str:
    """The version of the code that decides a run; where validation picks the epoch, evaluation is part of it."""
    return run_codes()[config.selection == "best_on_validation"]


def _text(clips: PreparedClips, config: ModelConfig, allow_downloads: bool) -> Tensor | None:
    """The text features of every city, from an encoder or, for "release", from the columns of the label files."""
    if not config.text_labels:
        return None
    if config.text_encoder != "release":
        encoder, labels = config.text_encoder, config.text_labels
        width = {"dimension": config.text_width} if encoder == "random" else {}
        features = text_features(clips.taxonomy, encoder, labels, allow_downloads=allow_downloads, **width)
    elif clips.text_features is None or clips.text_features.isnan().any():
        raise InputError(
            f"{clips.folder}: its label files carry no text features for every city; choose another text_encoder"
        )
    else:
        features = clips.text_features
    if config.text_targets == "own":
        return features
    return features[torch.randperm(len(features), generator=torch.Generator().manual_seed(_DEAL))]


def _train(plan: Plan, clips: PreparedClips, report: Callable[[str], None]) -> None:
    """Train, and write the run's folder; `provenance.json` comes last, and says that the run is whole."""
    folder, config = plan.folder, plan.config
    write_json(folder / "config.json", plan.identity)
    write_bytes(folder / "taxonomy.csv", clips.taxonomy.csv().encode())
    train_clips, val = (clips.split(split, config.split) for split in ("train", "val"))
    with threads.limited(plan.profile.threads):
        trained = train(
            config,
            clips.taxonomy,
            train_clips,
            val,
            plan.text,
            plan.profile,
            plan.seed,
            folder / "state.pt",
            execution=plan.execution,
            allow_downloads=plan.allow_downloads,
            report=report,
        )
    table = pd.DataFrame(trained.log).to_csv(index=False, float_format="%.6g")
    write_bytes(folder / "log.csv", table.encode())
    tensors = {key: value.detach().cpu().contiguous() for key, value in trained.model.state_dict().items()}
    write_bytes(folder / "model.safetensors", save(tensors))
    arrays = {f"logits_{level}": trained.answers.logits[level].numpy() for level in LEVELS}
    arrays |= {f"labels_{level}": val.labels[level].numpy() for level in LEVELS}
    arrays |= {"clip_ids": np.array(val.clip_ids), "video_ids": np.array(val.video_ids), "places": _places(val)}
    arrays["seen"] = _seen(val.video_ids, train_clips.video_ids)
    if trained.answers.scene is not None:
        arrays["scene"] = trained.answers.scene.numpy()
    auxiliary = dataclasses.asdict(trained.auxiliary)
    arrays |= {name: values.numpy() for name, values in auxiliary.items() if values is not None}
    write_atomically(folder / "predictions.npz", lambda file: np.savez_compressed(file, **arrays))
    seconds = sum(row["seconds"] for row in trained.log)  # of every session that had a part in it
    record = plan.identity | {
        "epoch": trained.epoch,
        "parameters": sum(p.numel() for p in trained.model.parameters()),
        "seconds": round(seconds, 1),
        "execution": plan.execution.described(),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "data": {
            "folder": os.path.relpath(clips.folder, plan.root),
            "fingerprint": clips.fingerprint,
            "synthetic": clips.synthetic,
            "clips": clips.meta["clips"],
        },
    }
    seal(folder, record | circumstances())
    (folder / "state.pt").unlink(missing_ok=True)  # a finished run is not resumed
    report(f"trained in {seconds:.0f} s: {os.path.relpath(folder, plan.root)}")


def _seen(videos: Sequence[str], in_training: Sequence[str]) -> np.ndarray:
    """Whether the source video of each validation clip has clips in training too: bool (N,)."""
    known = set(in_training)
    return np.array([video in known for video in videos], dtype=bool)


def _places(clips: ClipDataset) -> np.ndarray:
    """Latitude and longitude in degrees of each clip's middle frame, (N, 2); NaN where not known."""
    tracks = [clips.gps(i) for i in range(len(clips))]
    middles = [(math.nan, math.nan) if track is None else track[len(track) // 2].tolist() for track in tracks]
    return np.array(middles, dtype=np.float64).reshape(len(clips), 2)
