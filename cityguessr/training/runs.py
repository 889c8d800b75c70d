"""Trained runs on disk: train unless this exact run is there already, and say where every number comes from."""

import dataclasses
import hashlib
import json
import math
import os
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from cityguessr.backbones import weights_version
from cityguessr.base import paths, threads
from cityguessr.base.errors import InputError
from cityguessr.base.files import make_folder, write_atomically, write_bytes
from cityguessr.config import ModelConfig
from cityguessr.data.clips import ClipDataset, PreparedClips
from cityguessr.systems import build
from cityguessr.taxonomy import LEVELS, Taxonomy
from cityguessr.text.features import text_features
from cityguessr.training.batches import ClipTensors
from cityguessr.training.datasets import prepared
from cityguessr.training.experiments import Experiment, canonical
from cityguessr.training.experiments import get as get_experiment
from cityguessr.training.predictions import Predictions
from cityguessr.training.profiles import Profile
from cityguessr.training.profiles import get as get_profile
from cityguessr.training.provenance import circumstances, code_version

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True)
class Run:
    """One training, finished: `runs/<profile>/<experiment>/seed<k>-<hash>/`."""

    folder: Path

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """Configuration, seed, commit, versions, hardware, wall time and data of the run."""
        return json.loads((self.folder / "provenance.json").read_text(encoding="utf-8"))

    @cached_property
    def config(self) -> ModelConfig:
        """The model's configuration."""
        saved = json.loads((self.folder / "config.json").read_text(encoding="utf-8"))["model"]
        return ModelConfig(**{k: tuple(v) if isinstance(v, list) else v for k, v in saved.items()})

    @cached_property
    def taxonomy(self) -> Taxonomy:
        """The label tree that it was trained on."""
        return Taxonomy.from_csv(self.folder / "taxonomy.csv")

    @cached_property
    def log(self) -> "pd.DataFrame":
        """A row an epoch: losses on the training split, accuracies (%) on the validation split."""
        import pandas as pd

        return pd.read_csv(self.folder / "log.csv")

    @cached_property
    def predictions(self) -> Predictions:
        """The validation logits, labels and clip ids, with the label tree and how answers are read."""
        return Predictions.load(self.folder / "predictions.npz", self.taxonomy, self.config.evaluation)

    def frame_scenes(self) -> Tensor:
        """The scenes of the frame that an image system sees of each validation clip: (N, scene classes).

        For a system that sees the whole video it is the clip's scene label.
        """
        clips = self.clips().split("val", self.config.split)
        inputs = ClipTensors(clips, self.config, in_memory=False, seed=self.provenance["seed"])
        return inputs.scenes[range(len(inputs)), inputs.positions]

    def model(self) -> torch.nn.Module:
        """The trained model, in evaluation mode on the CPU."""
        from safetensors.torch import load_file

        model = build(self.config.replace(pretrained=None), self.taxonomy)
        model.load_state_dict(load_file(self.folder / "model.safetensors"))
        return model.eval()

    def clips(self) -> PreparedClips:
        """The prepared clips it was trained on. Raises InputError when they changed since, or are gone."""
        clips = PreparedClips.load(paths.root() / self.provenance["data"]["folder"])
        if clips.fingerprint != self.provenance["data"]["fingerprint"]:
            raise InputError(f"{clips.folder}: not the clips that {self.folder} was trained on; train it again")
        return clips


@dataclasses.dataclass(frozen=True)
class Plan:
    """One training before it is run: all that decides its result, and the folder that follows from it."""

    experiment: Experiment
    profile: Profile
    seed: int
    config: ModelConfig
    clips: PreparedClips
    text: Tensor | None

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What makes two runs the same: configuration, seed, code, weights, data and text features."""
        return {
            "experiment": self.experiment.name,
            "profile": self.profile.name,
            "seed": self.seed,
            "model": dataclasses.asdict(self.config),
            "training": self.profile.training(),
            "code": code_version(("hierarchy.py",) if self.config.selection == "best_on_validation" else ()),
            "weights": weights_version(self.config.pretrained),
            "data": self.clips.fingerprint,
            "text": None if self.text is None else hashlib.sha256(self.text.numpy().tobytes()).hexdigest(),
        }

    @cached_property
    def folder(self) -> Path:
        """`runs/<profile>/<experiment>/seed<k>-<hash>`."""
        digest = hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()[:8]
        return paths.runs() / self.profile.name / self.experiment.name / f"seed{self.seed}-{digest}"

    @property
    def done(self) -> bool:
        """Whether the run is there, whole."""
        return (self.folder / "provenance.json").is_file()


def plan(
    experiment: str | Experiment,
    profile: str | Profile = "mini",
    seed: int = 0,
    *,
    data_root: str | Path | None = None,
    allow_downloads: bool = False,
    workers: int = 2,
    clips: PreparedClips | None = None,
) -> Plan:
    """What `ensure` would train, with its data prepared but nothing trained; for the arguments and errors see there."""
    experiment = get_experiment(experiment) if isinstance(experiment, str) else experiment
    profile = get_profile(profile) if isinstance(profile, str) else profile
    experiment = canonical(experiment, profile)
    config = experiment.config(profile)
    if clips is None:
        clips = prepared(profile, config, data_root, workers, dataset=experiment.dataset)
    return Plan(experiment, profile, seed, config, clips, _text(clips, config, allow_downloads))


def ensure(
    experiment: str | Experiment,
    profile: str | Profile = "mini",
    seed: int = 0,
    *,
    data_root: str | Path | None = None,
    allow_downloads: bool = False,
    device: str = "auto",
    workers: int = 2,
    clips: PreparedClips | None = None,
    report: Callable[[str], None] = print,
) -> Run:
    """The run of an experiment at a profile's scale with a seed: trained now, unless it is there already.

    A run is the same when its configuration, the code that computes it and its data are the same; anything else trains
    anew, in a folder of its own. Experiments that are equal at this scale share one run, under the name of the first.
    An interrupted training goes on after its last whole epoch.

    Args:
        data_root: the real data set, for a profile that reads one.
        device: "auto", or "cpu".
        workers: processes that render and prepare clips where these are not there yet.
        clips: prepared clips of your own to train on, in place of the profile's; they must be as many frames, of that
            size, as the model takes.
        report: gets a line an epoch.

    Raises:
        InputError: for unknown names, data that cannot be prepared, and under a launcher of several processes
            (torchrun): a run is one process on one device; spread seeds and experiments over them instead
            (`python -m cityguessr.training`).
        MissingWeights: for pretrained weights that are not there.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError(
            "a run is trained by one process; spread experiments and seeds over GPUs with python -m "
            "cityguessr.training in place of torchrun or accelerate launch"
        )
    todo = plan(
        experiment,
        profile,
        seed,
        data_root=data_root,
        allow_downloads=allow_downloads,
        workers=workers,
        clips=clips,
    )
    make_folder(todo.folder)
    with FileLock(todo.folder.with_name(todo.folder.name + ".lock")):
        if not todo.done:
            name, epochs = todo.experiment.name, todo.config.epochs
            report(f"training {name}, profile {todo.profile.name}, seed {seed}: {epochs} epochs")
            _train(todo, allow_downloads, device, report)
    return Run(todo.folder)


def _text(clips: PreparedClips, config: ModelConfig, allow_downloads: bool) -> Tensor | None:
    """The text features of every city, from an encoder or, for "release", from the columns of the label files."""
    if not config.text_labels:
        return None
    if config.text_encoder != "release":
        encoder, labels = config.text_encoder, config.text_labels
        width = {"dimension": config.text_dim} if encoder == "random" else {}
        return text_features(clips.taxonomy, encoder, labels, allow_downloads=allow_downloads, **width)
    if clips.text_features is None or clips.text_features.isnan().any():
        raise InputError(
            f"{clips.folder}: its label files carry no text features for every city; choose another text_encoder"
        )
    return clips.text_features


def _train(todo: Plan, allow_downloads: bool, device: str, report: Callable[[str], None]) -> None:
    import pandas as pd
    from safetensors.torch import save

    from cityguessr.training.loop import train

    folder, clips = todo.folder, todo.clips
    _write_json(folder / "config.json", todo.identity)
    write_bytes(folder / "taxonomy.csv", clips.taxonomy.csv().encode())
    val = clips.split("val", todo.config.split)
    with threads.limited(todo.profile.threads):
        trained = train(
            todo.config,
            clips.taxonomy,
            clips.split("train", todo.config.split),
            val,
            todo.text,
            todo.profile,
            todo.seed,
            folder / "state.pt",
            device=device,
            allow_downloads=allow_downloads,
            report=report,
        )
    table = pd.DataFrame(trained.log).to_csv(index=False, float_format="%.6g")
    write_bytes(folder / "log.csv", table.encode())
    tensors = {key: value.detach().cpu().contiguous() for key, value in trained.model.state_dict().items()}
    write_bytes(folder / "model.safetensors", save(tensors))
    arrays = {f"logits_{level}": trained.logits[level].numpy() for level in LEVELS}
    arrays |= {f"labels_{level}": val.labels[level].numpy() for level in LEVELS}
    arrays |= {"clip_ids": np.array(val.clip_ids), "video_ids": np.array(val.video_ids), "places": _places(val)}
    if trained.scene is not None:
        arrays["scene"] = trained.scene.numpy()
    write_atomically(folder / "predictions.npz", lambda file: np.savez_compressed(file, **arrays))
    seconds = sum(row["seconds"] for row in trained.log)  # of every session that had a part in it
    record = todo.identity | {
        "epoch": trained.epoch,
        "parameters": sum(p.numel() for p in trained.model.parameters()),
        "seconds": round(seconds, 1),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "data": {
            "folder": os.path.relpath(clips.folder, paths.root()),
            "fingerprint": clips.fingerprint,
            "synthetic": clips.synthetic,
            "clips": clips.meta["clips"],
        },
    }
    _write_json(folder / "provenance.json", record | circumstances())  # last: its presence says that the run is whole
    report(f"trained in {seconds:.0f} s: {os.path.relpath(folder, paths.root())}")


def _places(clips: ClipDataset) -> np.ndarray:
    """Latitude and longitude in degrees of each clip's middle frame, (N, 2); NaN where not known."""
    tracks = [clips.gps(i) for i in range(len(clips))]
    middles = [(math.nan, math.nan) if track is None else track[len(track) // 2].tolist() for track in tracks]
    return np.array(middles, dtype=np.float64).reshape(len(clips), 2)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    text = json.dumps(content, indent=2, sort_keys=True) + "\n"
    write_bytes(path, text.encode())
