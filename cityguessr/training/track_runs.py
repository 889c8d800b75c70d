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
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from filelock import FileLock
from numpy.typing import NDArray
from safetensors.torch import save

from cityguessr.base import paths, threads, weights
from cityguessr.base.errors import InputError
from cityguessr.base.files import make_folder, write_atomically, write_bytes
from cityguessr.tracks import Track, Tracks
from cityguessr.tracks.gama import BOXES
from cityguessr.training import track_experiments
from cityguessr.training.execution import AUTO, Execution
from cityguessr.training.finished import PROVENANCE, Finished, load_weights, seal, write_json
from cityguessr.training.provenance import VIDTAG_CORE, circumstances, code_version
from cityguessr.training.seeds import check_seed
from cityguessr.training.track_experiments import TrackExperiment, TrackScale
from cityguessr.training.track_sets import TrackSource
from cityguessr.vidtag import answers, encoders, features, gallery
from cityguessr.vidtag import training as phases
from cityguessr.vidtag.config import VidTAGConfig
from cityguessr.vidtag.location import load_geoclip
from cityguessr.vidtag.model import VidTAG

FILES = ("config.json", "log.csv", "model.safetensors", "predictions.npz")
GEOCLIP = "geoclip-1.3.0-py3-none-any.whl"
"""The wheel that GeoCLIP's location weights are taken from, in `data/weights/`."""


@dataclasses.dataclass(frozen=True)
class TrackPredictions:
    """What a run answers for the validation tracks, frame by frame; F frames of N tracks.

    Attributes:
        names, regions: of the N tracks.
        lengths: (N,) frames of each.
        true, retrieved: (F, 2) degrees.
        refined: (F, 2) degrees, or None without GeoRefiner.
        ceiling_km: (F,) how near the gallery comes to the true coordinate.
        centres: (F, 2), the mean of the training coordinates of each frame's region: a floor that sees no picture.
    """

    names: tuple[str, ...]
    regions: tuple[str, ...]
    lengths: NDArray[np.int64]
    true: NDArray[np.float64]
    retrieved: NDArray[np.float64]
    refined: NDArray[np.float64] | None
    ceiling_km: NDArray[np.float64]
    centres: NDArray[np.float64]

    def by_track(self, frames: NDArray) -> list[NDArray]:
        """Something of all F frames, cut into one array a track."""
        return np.split(frames, np.cumsum(self.lengths)[:-1])

    @property
    def final(self) -> NDArray[np.float64]:
        """The system's last word, (F, 2): refined where it refines."""
        return self.retrieved if self.refined is None else self.refined

    def smoothed(self, window: int = 5) -> NDArray[np.float64]:
        """The retrieved tracks after a median filter, (F, 2)."""
        return np.concatenate([answers.smoothed(track, window) for track in self.by_track(self.retrieved)])


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
        return dataclasses.replace(self, seed=check_seed(seed), identity=self.identity | {"seed": seed})


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
    source = TrackSource(scale, None if data_root is None else str(data_root), tracks)
    identity = {
        "experiment": experiment.name,
        "profile": scale.profile,
        "seed": check_seed(seed),
        "model": dataclasses.asdict(config),
        "training": {
            "phases": [dataclasses.asdict(phase) for phase in scale.phases],
            "start": experiment.start or scale.start,
            "gallery": [scale.gallery, scale.resolution_km, scale.pad],
            "threads": scale.threads,
        },
        "encoders": [encoders.version(name) for name in experiment.encoders_at(scale)],
        "code": code_version(core=VIDTAG_CORE),
        "tracks": source.read().fingerprint,
    }
    return TrackPlan(experiment, scale, seed, config, source, identity, paths.root(), allow_downloads, execution)


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

    Args:
        data_root: the real data set, for a profile that reads one.
        tracks: tracks of your own in place of the profile's.
        execution: its device; it does not change which run this is.
        report: gets one line per epoch.

    Raises InputError for unknown names and data that cannot be read, and MissingWeights for an encoder, or a start of
    the location encoder, whose weights are not on this machine.
    """
    options = {"data_root": data_root, "tracks": tracks, "allow_downloads": allow_downloads, "execution": execution}
    return carry_out(plan(experiment, profile, seed, **options), report)


def carry_out(plan: TrackPlan, report: Callable[[str], None] = print) -> TrackRun:
    """Train what is planned, unless it is there already; another process that does it meanwhile is waited for."""
    make_folder(plan.folder.parent)
    with FileLock(plan.folder.with_name(plan.folder.name + ".lock")):
        if not plan.done:
            report(f"training {plan}, profile {plan.scale.profile}")
            with threads.limited(plan.scale.threads):
                _train(plan, report)
    return TrackRun(plan.folder)


def features_of(plan: TrackPlan) -> list[features.Features]:
    """The features that a training learns from, of each of its encoders: computed now, unless they are there already.

    Raises MissingWeights where an encoder's, or those that the location encoder starts from, are not on this machine.
    """
    check_start(plan)
    options = {"device": plan.execution.torch_device, "allow_downloads": plan.allow_downloads}
    return [features.compute(plan.tracks(), name, **options) for name in plan.experiment.encoders_at(plan.scale)]


def check_start(plan: TrackPlan) -> None:
    """Raise MissingWeights where the location encoder starts from GeoCLIP's weights, and these are not here."""
    if plan.identity["training"]["start"] == "geoclip" and not weights.place(GEOCLIP).is_file():
        raise weights.missing(GEOCLIP, "the location encoder's start")


def _train(plan: TrackPlan, report: Callable[[str], None]) -> None:
    folder, device, start = plan.folder, plan.execution.torch_device, time.perf_counter()
    write_json(folder / "config.json", plan.identity)
    tracks = plan.tracks()
    stores = features_of(plan)
    training, validation = tracks.split("train"), tracks.split("val")
    least = max(phase.frames for phase in plan.scale.phases)
    examples = [
        phases.Example(features.joined(stores, track), torch.from_numpy(track.latlon))
        for track in training
        if len(track) >= least
    ]
    torch.manual_seed(plan.seed)
    model = VidTAG(plan.config)
    if plan.identity["training"]["start"] == "geoclip":
        load_geoclip(model.location, weights.place(GEOCLIP))
    log = phases.train(model, examples, plan.scale.phases, plan.seed, folder / "state.pt", device=device, report=report)
    write_bytes(folder / "log.csv", pd.DataFrame(log).to_csv(index=False, float_format="%.6g").encode())
    # A BatchNorm's count of batches goes as a float too: what is read back as weights holds nothing else.
    tensors = {name: tensor.detach().cpu().float().contiguous() for name, tensor in model.state_dict().items()}
    write_bytes(folder / "model.safetensors", save(tensors))
    model.cpu()  # a gallery is embedded where its coordinates are
    arrays = _answers(plan, model, training, validation, functools.partial(features.joined, stores))
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
        },
    }
    seal(folder, record | circumstances(), FILES)
    (folder / "state.pt").unlink(missing_ok=True)
    report(f"trained in {record['seconds']:.0f} s: {os.path.relpath(folder, plan.root)}")


def _answers(
    plan: TrackPlan,
    model: VidTAG,
    training: Sequence[Track],
    validation: Sequence[Track],
    of: Callable[[Track], torch.Tensor],
) -> dict[str, NDArray]:
    """The arrays of `predictions.npz`; the gallery is built from training coordinates alone."""
    points = gallery_points(plan.scale, training)
    asked = answers.Gallery(model, points)
    given = [answers.answer(model, of(track), asked) for track in validation]
    true = _coordinates(validation)
    centres = answers.centres([t.latlon for t in training], [t.region for t in training])
    arrays = {
        "names": np.array([track.name for track in validation]),
        "regions": np.array([track.region for track in validation]),
        "lengths": np.array([len(track) for track in validation]),
        "true": true,
        "retrieved": np.concatenate([answer.retrieved for answer in given]),
        "ceiling_km": gallery.ceiling_km(true, points),
        "centres": np.concatenate([np.tile(centres[t.region], (len(t), 1)) for t in validation]),
    }
    if model.refiner is not None:
        arrays["refined"] = np.concatenate([answer.refined for answer in given])
    return arrays


def gallery_points(scale: TrackScale, training: Sequence[Track]) -> NDArray[np.float64]:
    """The gallery of a scale, (n, 2) degrees, from the training tracks or the published boxes."""
    if scale.gallery == "gama":
        return gallery.of_boxes(BOXES.values(), scale.resolution_km)
    if scale.gallery == "centres":
        return gallery.distinct([_coordinates(training)])
    regions = dict.fromkeys(track.region for track in training)
    known = {region: _coordinates([t for t in training if t.region == region]) for region in regions}
    return gallery.build(known, scale.resolution_km, scale.pad)


def _coordinates(tracks: Sequence[Track]) -> NDArray[np.float64]:
    return np.concatenate([track.latlon for track in tracks]) if tracks else np.empty((0, 2))
