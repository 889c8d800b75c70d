"""A finished run on disk: what is in its folder, and whether that is still what its training wrote.

`provenance.json` is written last. It records size and digest of every other file, and a digest of itself, so that a
file which was edited, cut, or came from another run is refused by name and never read as a result.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import safetensors
import torch
from safetensors.torch import load
from torch import Tensor

from cityguessr.base import digests, paths, tensors
from cityguessr.base.errors import InputError
from cityguessr.base.files import write_bytes
from cityguessr.config import ModelConfig
from cityguessr.data.clips import PreparedClips
from cityguessr.systems import build
from cityguessr.taxonomy import Taxonomy
from cityguessr.training.batches import ClipTensors
from cityguessr.training.predictions import Predictions

PROVENANCE = "provenance.json"
FILES = ("config.json", "taxonomy.csv", "log.csv", "model.safetensors", "predictions.npz")
"""What a finished run holds besides its provenance."""

_LARGEST = 16 * 1024**2  # bytes of a provenance; it has about 3 kB
_NEEDED = {"seed": int, "code": str, "training": dict, "data": dict, "files": dict}


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file, its keys sorted."""
    write_bytes(path, (json.dumps(content, indent=2, sort_keys=True) + "\n").encode())


def seal(folder: Path, provenance: dict[str, Any], files: Sequence[str] = FILES) -> None:
    """Write `provenance.json`, with the digests of the other files: the last step of a training."""
    content = provenance | {"files": {name: digests.record(folder / name) for name in files}}
    write_json(folder / PROVENANCE, content | {"digest": _digest(content)})


def _digest(content: dict[str, Any]) -> str:
    """The digest of a provenance without its own."""
    rest = {key: value for key, value in content.items() if key != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


@dataclasses.dataclass(frozen=True)
class Finished:
    """One training of any kind, finished: `runs/<profile>/<experiment>/seed<k>-<hash>/`.

    Every file is held against its digest when it is read. All attributes raise InputError, naming the file and what to
    do, where it is missing or no longer what the training wrote.
    """

    folder: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder).expanduser())  # a text will do

    @property
    def _remedy(self) -> str:
        return f"delete the folder {self.folder} and run the experiment again"

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """Configuration, seed, commit, versions, hardware, wall time and data of the run."""
        path = self.folder / PROVENANCE
        if not path.exists():  # it may be any folder: nobody should be told to delete it
            raise InputError(f"{path}: no such file, so this is no finished run; run the experiment again")
        if digests.regular(path, self._remedy) > _LARGEST:
            raise InputError(f"{path}: not the record of a run; {self._remedy}")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            raise InputError(f"{path}: cannot be read as JSON; {self._remedy}") from None
        if not isinstance(content, dict) or not isinstance(content.get("digest"), str):
            raise InputError(f"{path}: not the record of a run that says what its files hold; {self._remedy}")
        if content["digest"] != _digest(content):
            raise InputError(f"{path}: changed since it was written; {self._remedy}")
        for name, kind in _NEEDED.items():
            if not isinstance(content.get(name), kind):
                raise InputError(f"{path}: no {name!r} in it; {self._remedy}")
        return content

    def content(self, name: str) -> bytes:
        """One of `FILES`, as its training wrote it."""
        return digests.read_recorded(self.folder / name, self.provenance["files"].get(name), self._remedy)

    @cached_property
    def log(self) -> pd.DataFrame:
        """One row per epoch: what its training reports."""
        return pd.read_csv(io.BytesIO(self.content("log.csv")))

    def weights(self) -> dict[str, Tensor]:
        """The tensors of the trained model, as they are in `model.safetensors`."""
        path = self.folder / "model.safetensors"
        try:
            return load(self.content(path.name))
        except (safetensors.SafetensorError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{path}: no weights in the format of safetensors ({error}); {self._remedy}") from None


@dataclasses.dataclass(frozen=True)
class Run(Finished):
    """A training of a system on clips: its `log` has losses on those of training and accuracies (%) on validation."""

    @cached_property
    def config(self) -> ModelConfig:
        """The model's configuration."""
        try:
            saved = json.loads(self.content("config.json"))["model"]
            if unknown := set(saved) - {field.name for field in dataclasses.fields(ModelConfig)}:
                raise InputError(f"{', '.join(sorted(unknown))} unknown here")
            return ModelConfig(**{k: tuple(v) if isinstance(v, list) else v for k, v in saved.items()})
        except (TypeError, KeyError, AttributeError, InputError) as error:
            if isinstance(error, InputError) and str(self.folder) in str(error):
                raise
            version = (self.provenance.get("versions") or {}).get("cityguessr")
            raise InputError(
                f"{self.folder / 'config.json'}: of a version of this code with other settings ({error}): open it with "
                f"{'that version' if version is None else f'version {version}'}, or train the experiment again"
            ) from None

    @cached_property
    def taxonomy(self) -> Taxonomy:
        """The label tree that it was trained on."""
        self.content("taxonomy.csv")
        return Taxonomy.from_csv(self.folder / "taxonomy.csv")

    @cached_property
    def predictions(self) -> Predictions:
        """The validation logits, labels and clip ids, with the label tree and how answers are read."""
        path = self.folder / "predictions.npz"
        return Predictions.load(path, self.taxonomy, self.config.evaluation, self.content(path.name), self._remedy)

    def frame_scenes(self) -> Tensor:
        """The scenes of the frame that an image system sees of each validation clip: (N, scene classes).

        For a system that sees the whole video it is the clip's scene label.
        """
        clips = self.clips().split("val", self.config.split)
        inputs = ClipTensors(clips, self.config, in_memory=False, seed=self.provenance["seed"])
        return inputs.scenes[range(len(inputs)), inputs.positions]

    def model(self) -> torch.nn.Module:
        """The trained model, in evaluation mode on the CPU."""
        model = build(self.config.replace(pretrained=None), self.taxonomy)
        load_weights(model, self.weights(), self.folder / "model.safetensors", self._remedy)
        return model.eval()

    def clips(self) -> PreparedClips:
        """The prepared clips it was trained on: of this project or, where it has none, of the one that the run is in.

        Raises InputError when they changed since, or are gone.
        """
        data = self.provenance["data"]
        above = self.folder.absolute().parents  # <project>/runs/<profile>/<experiment>/<run>
        places = [root / data["folder"] for root in (paths.root(), *above[3:4])]
        there = [place for place in places if place.is_dir()]
        for place in there:
            clips = clips_of(place, self.config.scene_classes, data["fingerprint"])
            if clips.fingerprint == data["fingerprint"]:
                return clips
        if there:
            raise InputError(f"{there[0]}: not the clips that {self.folder} was trained on; train it again")
        raise InputError(
            f"{places[0]}: no such folder; the run {self.folder} was trained on these clips, which are not on this "
            "machine. Its model can guess without them"
        )


def clips_of(folder: Path, scenes: int, fingerprint: str) -> PreparedClips:
    """A prepared set, with that one of its tables of so many scenes in use that makes this fingerprint, if one does."""
    clips = PreparedClips.load(folder, scenes)
    if clips.fingerprint == fingerprint:
        return clips
    others = (clips.with_scenes(name) for name, table in clips.meta["scenes"].items() if table["classes"] == scenes)
    return next((other for other in others if other.fingerprint == fingerprint), clips)


def load_weights(model: torch.nn.Module, state: dict[str, Any], path: object, remedy: str) -> None:
    """Give a model the weights of a file, every one of them.

    Raises InputError, naming tensor and file, where one is missing, unknown, misshapen, or not finite.
    """
    shapes = {name: weight.shape for name, weight in model.state_dict().items()}
    for what, names in (("lacks", set(shapes) - set(state)), ("has the unknown", set(state) - set(shapes))):
        if names:
            raise InputError(f"{path}: {what} {min(map(str, names))}: the weights of another model; {remedy}")
    model.load_state_dict(tensors.weights(path, state, remedy, shapes))
