"""Trained runs on disk: train unless this exact run is there already, and say where every number comes from."""

import ast
import dataclasses
import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from cityguessr import paths
from cityguessr.backbones import weights_version
from cityguessr.data.clips import PreparedClips
from cityguessr.data.files import make_folder, write_atomically, write_bytes
from cityguessr.data.text import text_features
from cityguessr.errors import InputError
from cityguessr.experiments import Experiment
from cityguessr.experiments import get as get_experiment
from cityguessr.model import CityGuessr, ModelConfig
from cityguessr.preparation import prepared
from cityguessr.profiles import Profile
from cityguessr.profiles import get as get_profile
from cityguessr.taxonomy import LEVELS, Taxonomy

if TYPE_CHECKING:
    import pandas as pd

# The modules whose code decides what a run computes. Evaluation is not among them: it is done from predictions.
_CORE = ("model.py", "backbones.py", "losses.py", "training.py", "data/scenes.py", "data/clips.py")
_PACKAGES = ("cityguessr", "torch", "transformers", "accelerate", "datasets", "numpy")


@dataclasses.dataclass(frozen=True)
class Predictions:
    """What a run said of the validation split.

    Attributes:
        logits: level -> float32 (N, number of classes).
        labels: level -> LongTensor (N,).
        scene: float32 (N, scenes) logits, or None for a system without scene recognition.
        clip_ids, video_ids: of the N clips; several clips may come from one video.
    """

    logits: dict[str, Tensor]
    labels: dict[str, Tensor]
    scene: Tensor | None
    clip_ids: tuple[str, ...]
    video_ids: tuple[str, ...]


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

    def predictions(self) -> Predictions:
        """The validation logits, labels and clip ids."""
        with np.load(self.folder / "predictions.npz", allow_pickle=False) as file:
            return Predictions(
                logits={level: torch.from_numpy(file[f"logits_{level}"]) for level in LEVELS},
                labels={level: torch.from_numpy(file[f"labels_{level}"]) for level in LEVELS},
                scene=torch.from_numpy(file["scene"]) if "scene" in file else None,
                clip_ids=tuple(file["clip_ids"].tolist()),
                video_ids=tuple(file["video_ids"].tolist()),
            )

    def model(self) -> CityGuessr:
        """The trained model, in evaluation mode on the CPU."""
        from safetensors.torch import load_file

        model = CityGuessr(self.config.replace(pretrained=None), self.taxonomy)
        model.load_state_dict(load_file(self.folder / "model.safetensors"))
        return model.eval()

    def clips(self) -> PreparedClips:
        """The prepared clips it was trained on. Raises InputError when they changed since, or are gone."""
        clips = PreparedClips.load(paths.root() / self.provenance["data"]["folder"])
        if clips.fingerprint != self.provenance["data"]["fingerprint"]:
            raise InputError(f"{clips.folder}: not the clips that {self.folder} was trained on; train it again")
        return clips


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
    anew, in a folder of its own. An interrupted training goes on after its last whole epoch.

    Args:
        data_root: the real release, for a profile that reads one.
        device: "auto", or "cpu".
        workers: processes that render and prepare clips where these are not there yet.
        clips: prepared clips of your own to train on, in place of the profile's; they must be as many frames, of that
            size, as the model takes.
        report: gets a line an epoch.

    Raises:
        InputError: for unknown names, data that cannot be prepared, weights that are not there, and where several
            processes (`accelerate launch`) would train one run: spread seeds and experiments over them instead.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError(
            "a run is trained by one process; start one per seed or experiment (each with its own GPU in "
            "CUDA_VISIBLE_DEVICES) in place of accelerate launch"
        )
    experiment = get_experiment(experiment) if isinstance(experiment, str) else experiment
    profile = get_profile(profile) if isinstance(profile, str) else profile
    config = experiment.config(profile)
    clips = prepared(profile, config, data_root, workers) if clips is None else clips
    text = _text(clips, config, allow_downloads)
    identity = {
        "experiment": experiment.name,
        "profile": profile.name,
        "seed": seed,
        "model": dataclasses.asdict(config),
        "training": profile.training(),
        "code": code_version(("hierarchy.py",) if config.selection == "best_on_validation" else ()),
        "weights": weights_version(config.pretrained),
        "data": clips.fingerprint,
        "text": None if text is None else hashlib.sha256(text.numpy().tobytes()).hexdigest(),
    }
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
    folder = paths.runs() / profile.name / experiment.name / f"seed{seed}-{digest}"
    make_folder(folder)
    with FileLock(folder.with_name(folder.name + ".lock")):
        if not (folder / "provenance.json").is_file():
            report(f"training {experiment.name}, profile {profile.name}, seed {seed}: {config.epochs} epochs")
            _train(folder, identity, config, clips, text, profile, seed, allow_downloads, device, report)
    return Run(folder)


def _text(clips: PreparedClips, config: ModelConfig, allow_downloads: bool) -> Tensor | None:
    """The text features of every city, from an encoder or, for "release", from the columns of the label files."""
    if not config.text_labels:
        return None
    if config.text_encoder != "release":
        encoder, labels = config.text_encoder, config.text_labels
        return text_features(clips.taxonomy, encoder, labels, allow_downloads=allow_downloads)
    if clips.text_features is None or clips.text_features.isnan().any():
        raise InputError(
            f"{clips.folder}: its label files carry no text features for every city; choose another text_encoder"
        )
    return clips.text_features


def code_version(more: tuple[str, ...] = ()) -> str:
    """A digest of the code that decides what a run computes, blind to comments, docstrings and layout.

    `more` names further modules that do so for this run.
    """
    digest = hashlib.sha256()
    for name in _CORE + more:
        tree = ast.parse((Path(__file__).parent / name).read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list) and body and isinstance(body[0], ast.Expr):  # a docstring, as a rule
                body[0].value = ast.Constant(None)
        digest.update(ast.dump(tree).encode())
    return digest.hexdigest()[:16]


def _train(
    folder: Path,
    identity: dict[str, Any],
    config: ModelConfig,
    clips: PreparedClips,
    text: Tensor | None,
    profile: Profile,
    seed: int,
    allow_downloads: bool,
    device: str,
    report: Callable[[str], None],
) -> None:
    import pandas as pd
    from safetensors.torch import save

    from cityguessr.training import train

    _write_json(folder / "config.json", identity)
    write_bytes(folder / "taxonomy.csv", clips.taxonomy.csv().encode())
    val = clips.split("val")
    trained = train(
        config,
        clips.taxonomy,
        clips.split("train"),
        val,
        text,
        profile,
        seed,
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
    arrays |= {"clip_ids": np.array(val.clip_ids), "video_ids": np.array(val.video_ids)}
    if trained.scene is not None:
        arrays["scene"] = trained.scene.numpy()
    write_atomically(folder / "predictions.npz", lambda file: np.savez_compressed(file, **arrays))
    seconds = sum(row["seconds"] for row in trained.log)  # of every session that had a part in it
    provenance = identity | {
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
        "git": _git(),
        "versions": {"python": platform.python_version()} | {p: importlib.metadata.version(p) for p in _PACKAGES},
        "hardware": _hardware(),
        "command": Path(sys.argv[0]).name,
    }
    _write_json(folder / "provenance.json", provenance)  # last: its presence says that the run is whole
    report(f"trained in {seconds:.0f} s: {os.path.relpath(folder, paths.root())}")


def _write_json(path: Path, content: dict[str, Any]) -> None:
    text = json.dumps(content, indent=2, sort_keys=True) + "\n"
    write_bytes(path, text.encode())


def _git() -> dict[str, Any] | None:
    """The commit and whether the work tree differs from it; None outside a checkout."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain", "--", str(here)))}
    except (OSError, subprocess.CalledProcessError):
        return None


def _hardware() -> dict[str, Any]:
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"machine": platform.machine(), "cores": os.cpu_count(), "gpu": gpu, "threads": torch.get_num_threads()}
