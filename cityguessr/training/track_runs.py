"""Trained runs of VidTAG's systems on disk: the same folders, records and locks as those of CityGuessr's.

What a run answers is kept for every validation frame, so that tables and figures are computed from it: the coordinate
that phase I retrieves, the refined one, the true one, and the best that its gallery allows.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import io
import json
import os
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save

from cityguessr.base import locks, paths, threads
from cityguessr.base.errors import CannotRun, InputError
from cityguessr.base.files import write_atomically, write_bytes
from cityguessr.tracks import Tracks
from cityguessr.training import live, track_asking, track_damage, track_experiments, track_starts
from cityguessr.training.execution import AUTO, Execution
from cityguessr.training.finished import PROVENANCE, Finished, load_weights, seal, write_json
from cityguessr.training.provenance import FEATURE_CODE, VIDTAG_CORE, circumstances, code_version
from cityguessr.training.seeds import check_seed
from cityguessr.training.track_experiments import TrackExperiment, TrackScale
from cityguessr.training.track_predictions import TrackPredictions as TrackPredictions
from cityguessr.training.track_sets import TrackSource
from cityguessr.vidtag import encoders, features
from cityguessr.vidtag import training as phases
from cityguessr.vidtag.config import VidTAGConfig
from cityguessr.vidtag.model import VidTAG

_LOG = ("phase", "epoch", "loss", "seconds")
FILES = ("config.json", "log.csv", "model.safetensors", "predictions.npz")


class TrackRun(Finished):
    """A training of one of VidTAG's systems: its `log` has the phase, the epoch and the loss."""

    @cached_property
    def config(self) -> VidTAGConfig:
        """The system's configuration."""
        saved = json.loads(self.content("config.json"))["model"]
        try:
            return VidTAGConfig(**{k: tuple(v) if isinstance(v, list) else v for k, v in saved.items()})
        except TypeError as error:
            path = self.folder / "config.json"
            raise InputError(
                f"{path}: of a version of this code with other settings ({error}); {self._remedy}"
            ) from None

    @cached_property
    def predictions(self) -> TrackPredictions:
        """Its answers for the validation tracks."""
        with np.load(io.BytesIO(self.content("predictions.npz")), allow_pickle=False) as file:
            arrays = dict(file)
        names, regions = (tuple(arrays.pop(key).tolist()) for key in ("names", "regions"))
        return TrackPredictions(names, regions, refined=arrays.pop("refined", None), **arrays)

    def model(self) -> VidTAG:
        """The trained system, in evaluation mode on the CPU."""
        model = VidTAG(self.config)
        load_weights(model, self.weights(), self.folder / "model.safetensors", self._remedy)
        return model.eval()


@dataclasses.dataclass(frozen=True)
class TrackPlan:
    """One training before it is run: all that decides its result, and the folder that follows from it.

    It is small and can be sent to a worker that sees the same folders.

    Attributes:
        source: where its tracks are read from.
        identity: what makes two runs the same: configuration, seed, code, encoders, data and gallery.
        first: the training whose location encoder this one starts from; None for another start.
    """

    experiment: TrackExperiment
    scale: TrackScale
    seed: int
    config: VidTAGConfig
    source: TrackSource
    identity: dict[str, Any]
    root: Path
    allow_downloads: bool = False
    execution: Execution = AUTO
    first: TrackPlan | None = None

    @property
    def name(self) -> str:
        """Of the experiment."""
        return self.experiment.name

    def tracks(self) -> Tracks:
        """The set. Raises InputError where it is no longer the one that was planned."""
        tracks = self.source.read()
        if tracks.fingerprint != self.identity["tracks"]:
            raise InputError(f"{self}: its tracks changed since this was planned; plan it again")
        return tracks

    def carry_out(self, report: Callable[[str], None] = print) -> TrackRun:
        """Train it, unless it is there already."""
        return carry_out(self, report)

    def __str__(self) -> str:
        return f"{self.experiment.name}, seed {self.seed}"

    @property
    def folder(self) -> Path:
        """`runs/<profile>/vidtag/<experiment>/seed<k>-<hash>`."""
        digest = hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()[:8]
        place = self.root / "runs" / self.scale.profile / "vidtag" / self.experiment.name
        return place / f"seed{self.seed}-{digest}"

    @property
    def done(self) -> bool:
        """Whether the run is there, whole."""
        return (self.folder / PROVENANCE).is_file()

    def with_seed(self, seed: int) -> TrackPlan:
        """The same training with another seed."""
        if not self.experiment.trained:  # no seed changes it
            return self
        first = None if self.first is None else self.first.with_seed(seed)
        identity = self.identity | {"seed": seed} | _started_from(first)
        return dataclasses.replace(self, seed=check_seed(seed), identity=identity, first=first)


def plan(
    experiment: str | TrackExperiment,
    profile: str | TrackScale = "mini",
    seed: int = 0,
    *,
    data_root: str | Path | None = None,
    tracks: Tracks | None = None,
    allow_downloads: bool = False,
    execution: Execution = AUTO,
) -> TrackPlan:
    """What `ensure` would train, with its tracks listed but no feature computed; arguments and errors as there."""
    experiment, scale = track_experiments.get(experiment), track_experiments.scale(profile)
    config = experiment.config(scale)
    experiment.check(scale)
    seed = check_seed(seed) if experiment.trained else 0
    source = TrackSource(scale, None if data_root is None else str(data_root), tracks)
    first = None
    if experiment.start == "finetuned":
        options = {"data_root": data_root, "tracks": tracks, "allow_downloads": allow_downloads, "execution": execution}
        first = plan("geoclip_finetuned", scale, seed, **options)
    identity = {
        "experiment": experiment.name,
        "profile": scale.profile,
        "seed": check_seed(seed),
        "model": dataclasses.asdict(config),
        "training": {
            "phases": [dataclasses.asdict(phase) for phase in experiment.phases_at(scale)],
            "start": experiment.start_at(scale),
            "gallery": [experiment.gallery_at(scale), scale.resolution_km, scale.pad],
            "validation_views": scale.validation_views,
            "threads": scale.threads,
        },
        "encoders": [encoders.version(name) for name in experiment.encoders_at(scale)],
        "code": code_of(experiment, scale),
        "tracks": source.read().fingerprint,
    } | _started_from(first)
    return TrackPlan(experiment, scale, seed, config, source, identity, paths.root(), allow_downloads, execution, first)


def code_of(experiment: TrackExperiment, scale: TrackScale) -> str:
    """A digest of the code that decides what an experiment computes at a scale."""
    more = ("vidtag/geoclip.py",) if track_starts.uses_release(experiment, scale) else ()
    return code_version(more, core=VIDTAG_CORE)


def _started_from(first: TrackPlan | None) -> dict[str, str]:
    """What the identity of a training says of the one that it starts from."""
    return {} if first is None else {"started_from": f"{first.name}/{first.folder.name}"}


def ensure(
    experiment: str | TrackExperiment,
    profile: str | TrackScale = "mini",
    seed: int = 0,
    *,
    data_root: str | Path | None = None,
    tracks: Tracks | None = None,
    allow_downloads: bool = False,
    execution: Execution = AUTO,
    report: Callable[[str], None] = print,
) -> TrackRun:
    """The run of an experiment with a seed: trained now, unless it is there already.

    Frames whose picture cannot be read are left out, counted and listed by name, and it is then the run of the rest:
    see `track_damage`.

    Args:
        data_root: the real data set, for a profile that reads one.
        tracks: tracks of your own in place of the profile's.
        execution: its device; it does not change which run this is.
        report: gets one line per epoch.

    Raises InputError for unknown names and data that cannot be read, and MissingWeights for an encoder, or a start of
    the location encoder, whose weights are not on this machine.
    """
    options = {"data_root": data_root, "tracks": tracks, "allow_downloads": allow_downloads, "execution": execution}
    planned, report = plan(experiment, profile, seed, **options), live.one(report)
    if not planned.done:
        with locks.beside(planned.folder):
            planned = planned if planned.done else ready(planned, report)
    return carry_out(planned, report)


def carry_out(plan: TrackPlan, report: Callable[[str], None] = print) -> TrackRun:
    """Train what is planned, unless it is there already; another process that does it meanwhile is waited for."""
    if plan.done:
        return TrackRun(plan.folder)
    with locks.beside(plan.folder):
        if not plan.done:
            if plan.first is not None:
                carry_out(plan.first, report)
            report(f"{'training' if plan.experiment.trained else 'asking'} {plan}, profile {plan.scale.profile}")
            with threads.limited(plan.scale.threads):
                _train(plan, report)
    return TrackRun(plan.folder)


def ready(planned: TrackPlan, report: Callable[[str], None] = print) -> TrackPlan:
    """A plan whose features are computed.

    Where one of its pictures cannot be read, all of them are looked at, once, and what is planned is a training on the
    rest; see `track_damage`.

    Raises InputError where more are damaged than may be, and as `features_of` does.
    """
    try:
        features_of(planned)
    except CannotRun:
        raise
    except InputError as error:
        before, listed = planned.tracks(), planned.source.listed()
        if not track_damage.is_about(error, before):
            raise
        report(f"{error}; looking at all pictures of {listed.name}")
        if not track_damage.search(listed):
            raise
        options = {"data_root": planned.source.data_root, "tracks": planned.source.given}
        options |= {"allow_downloads": planned.allow_downloads, "execution": planned.execution}
        planned = plan(planned.experiment, planned.scale, planned.seed, **options)
        lost = sum(map(len, listed.tracks)) - sum(map(len, planned.tracks().tracks))
        report(f"{lost:,} frames of {listed.name} are left out, see {track_damage.list_of(listed)}")
        track_damage.adopt(before, planned.tracks())
        features_of(planned)
    return planned


def features_of(plan: TrackPlan) -> list[features.Features]:
    """The features that a training learns from, of each of its encoders: computed now, unless they are there already.

    Where nothing is trained, those of validation alone.

    Raises MissingWeights where an encoder's, or those that the location encoder starts from, are not on this machine.
    """
    track_starts.check(plan.experiment, plan.scale)
    if plan.first is not None:
        features_of(plan.first)
    options = {"device": plan.execution.torch_device, "allow_downloads": plan.allow_downloads}
    options |= {"validation": plan.scale.validation_views, "split": None if plan.experiment.trained else "val"}
    options |= {"code": code_version(core=FEATURE_CODE)}
    return [features.compute(plan.tracks(), name, **options) for name in plan.experiment.encoders_at(plan.scale)]


def _train(plan: TrackPlan, report: Callable[[str], None]) -> None:
    folder, device, start = plan.folder, plan.execution.torch_device, time.perf_counter()
    write_json(folder / "config.json", plan.identity)
    tracks = plan.tracks()
    stores = features_of(plan)
    training, validation = tracks.split("train"), tracks.split("val")
    settings = plan.experiment.phases_at(plan.scale)
    least = max((phase.frames for phase in settings), default=0)
    examples = [
        phases.Example(features.joined(stores, track), torch.from_numpy(track.latlon))
        for track in training
        if settings and len(track) >= least
    ]
    torch.manual_seed(plan.seed)
    model = VidTAG(plan.config)
    before = None if plan.first is None else TrackRun(plan.first.folder).model()
    track_starts.begin(model, plan.experiment, plan.scale, before)
    log: list[dict[str, float]] = []
    if settings:
        log = phases.train(model, examples, settings, plan.seed, folder / "state.pt", device=device, report=report)
    model.to(device).eval()
    write_bytes(folder / "log.csv", pd.DataFrame(log, columns=_LOG).to_csv(index=False, float_format="%.6g").encode())
    # A BatchNorm's count of batches goes as a float too: what is read back as weights holds nothing else.
    tensors = {name: tensor.detach().cpu().float().contiguous() for name, tensor in model.state_dict().items()}
    write_bytes(folder / "model.safetensors", save(tensors))
    places = track_asking.points(plan.experiment, plan.scale, training)
    arrays = track_asking.ask(model, places, training, validation, functools.partial(features.joined, stores))
    write_atomically(folder / "predictions.npz", lambda file: np.savez_compressed(file, **arrays))
    record = plan.identity | {
        "parameters": sum(p.numel() for p in model.parameters()),
        "seconds": round(sum(row["seconds"] for row in log), 1),
        "with_features": round(time.perf_counter() - start, 1),
        "execution": plan.execution.described(),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "data": {
            "tracks": len(tracks),
            "fingerprint": tracks.fingerprint,
            "synthetic": tracks.synthetic,
            "trained_on": len(examples),
            "left_out": track_damage.summary(tracks),
        },
    }
    seal(folder, record | circumstances(), FILES)
    (folder / "state.pt").unlink(missing_ok=True)
    how = f"trained in {record['seconds']:.0f} s" if settings else f"answered in {record['with_features']:.0f} s"
    report(f"{how}: {os.path.relpath(folder, plan.root)}")
