"""Weights from beginning to end: worlds, masked autoencoding, places, and three files that come with the package."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cityguessr.backbones import BACKBONES
from cityguessr.base import digests, paths, tensors, threads, weights
from cityguessr.base.errors import InputError, one_of
from cityguessr.base.files import make_folder, write_bytes
from cityguessr.config import ModelConfig
from cityguessr.pretraining import masked, places
from cityguessr.pretraining.worlds import Clips, read
from cityguessr.training import experiments, profiles
from cityguessr.training.provenance import circumstances
from cityguessr.training.recipe import Recipe

EXPERIMENTS = {"videomae": "videomae", "mae": "mae_random", "timesformer": "timesformer"}
"""Backbone -> the experiment whose encoder is pretrained: its sizes at the scale of the profile mini."""

STAGES = {"videomae": ("masked", "places"), "mae": ("masked", "places"), "timesformer": ("images", "places")}
"""Backbone -> the stages that its weights went through, in order.

As the published ones: VideoMAE's were masked and then finetuned on Kinetics; TimeSformer's began as an encoder of
images, here MAE's, and then had labels. The published MAE is masked alone; here it gets places as well, so that rows of
images and of videos start alike.
"""


@dataclasses.dataclass(frozen=True)
class Settings:
    """Everything that decides what the weights become.

    Attributes:
        world_seeds, clips_per_city: the worlds, see `worlds.configuration`.
        seed: of the first weights, the order of clips, masks and augmentation.
        masked_epochs, masked_recipe: of masked autoencoding.
        places_epochs, places_recipe: of the labels.
    """

    world_seeds: tuple[int, ...] = tuple(range(101, 111))
    clips_per_city: int = 9
    seed: int = 0
    masked_epochs: int = 4
    masked_recipe: Recipe = Recipe(  # noqa: RUF009 - frozen
        optimizer="adamw",
        batch_size=64,
        learning_rate=4e-3,
        weight_decay=0.05,
        schedule="cosine",
        warmup_epochs=1,
        clip_gradients=1.0,
    )
    places_epochs: int = 18
    places_recipe: Recipe = Recipe(  # noqa: RUF009 - frozen
        optimizer="adamw",
        batch_size=64,
        learning_rate=4e-3,
        weight_decay=0.05,
        schedule="cosine",
        warmup_epochs=1,
        label_smoothing=0.1,
        clip_gradients=1.0,
        crop=0.1,
        colour=0.2,
    )

    def replace(self, **changes: Any) -> Settings:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)


SETTINGS = {
    "videomae": Settings(),
    "mae": Settings(masked_epochs=20, places_epochs=30),  # it sees one frame of a clip in an epoch, and is quick
    # an epoch takes twice VideoMAE's time, and at VideoMAE's learning rate it learns next to nothing
    "timesformer": Settings(places_epochs=6, places_recipe=Settings().places_recipe.replace(learning_rate=2e-3)),
}
"""Backbone -> what the shipped weights were made with; the trainings take about as long."""


def config(backbone: str) -> ModelConfig:
    """The model whose encoder is pretrained, from random weights. Raises InputError for a backbone that is none."""
    if backbone not in EXPERIMENTS:
        raise one_of("backbone", backbone, EXPERIMENTS)
    return experiments.get(EXPERIMENTS[backbone]).config(profiles.MINI).replace(pretrained=None)


def model_for_images() -> ModelConfig:
    """The model whose encoder is the small MAE, with the weights of the package."""
    return config("mae").replace(pretrained=f"{weights.PACKAGED}mae")


def make(
    backbone: str,
    settings: Settings | None = None,
    out: str | Path | None = None,
    stages: tuple[str, ...] | None = None,
    workers: int | None = None,
    command: str = "",
    report: Callable[[str], Any] = print,
) -> Path:
    """Pretrain an encoder and write its weights; the worlds and the masked stage are kept and not made twice.

    One seed gives the same weights on one machine. Training takes one thread, so that two may run side by side.
    Beside VideoMAE's, in a folder with `-masked` after its name, stands the whole network that masked autoencoding
    left, decoder and all, for a look at what it fills in.

    Args:
        settings: those of the shipped weights by default.
        out: the folder; by default the one in the package that `ModelConfig.pretrained` finds them in.
        stages: "masked" or, for TimeSformer, "images", and "places" after it, or one of them; those of `STAGES` by
            default. "images" takes the weights of the small MAE, which must be there.
        workers: processes that render.
        command: what was typed, for the record.

    Returns the folder. Raises InputError for a backbone or stages that there are not.
    """
    model_config, stages = config(backbone), STAGES[backbone] if stages is None else stages
    settings, found = settings or SETTINGS[backbone], circumstances()
    first = "images" if backbone == "timesformer" else "masked"
    if stages not in ((first,), ("places",), (first, "places")):
        raise InputError(f"stages {stages}: give {first}, places, or both in this order")
    out = Path(out) if out else weights.place(f"{weights.PACKAGED}{backbone}")
    start = time.perf_counter()
    train, held_out = read(settings.world_seeds, settings.clips_per_city, model_config.clip_format, workers=workers)
    report(f"{len(train):,} clips of {len(settings.world_seeds)} worlds, {len(held_out):,} held out")
    logs: dict[str, masked.Log] = {}
    model = None
    with threads.limited(1):
        torch.manual_seed(settings.seed)
        encoder = BACKBONES[backbone](model_config)
        if "masked" in stages:
            model, logs["masked"] = masked_network(backbone, settings, train, held_out, report)
            encoder.encoder.load_state_dict(masked.encoder_weights(model))
        if "images" in stages:
            places.start_from_images(encoder, BACKBONES["mae"](model_for_images()))
        if "places" in stages:
            epochs, recipe = settings.places_epochs, settings.places_recipe
            logs["places"] = places.train(encoder, train, held_out, recipe, epochs, settings.seed, report)
    record = {
        "backbone": backbone,
        "settings": dataclasses.asdict(settings),
        "clips": {"learned_from": len(train), "held_out": len(held_out)},
        "data": dict(zip(map(str, settings.world_seeds), train.fingerprints, strict=True)),
        "seconds": round(time.perf_counter() - start, 1),
        **found,
        **({"command": command} if command else {}),
    }
    write(encoder.encoder, out, record | {"stages": list(stages), "logs": logs})
    if model is not None and backbone == "videomae":
        part = {"stages": ["masked"], "logs": {"masked": logs["masked"]}}
        write(model, out.with_name(f"{out.name}-masked"), record | part)
    return out


def masked_network(
    backbone: str, settings: Settings, train: Clips, held_out: Clips, report: Callable[[str], Any] = print
) -> tuple[nn.Module, masked.Log]:
    """The network after masked autoencoding and its log; kept in `data/pretraining` for the next call."""
    parts = (backbone, settings.clips_per_city, settings.seed, settings.masked_epochs, settings.masked_recipe)
    key = hashlib.sha256(repr((*parts, train.fingerprints)).encode()).hexdigest()[:12]
    file = paths.data() / "pretraining" / f"{backbone}-masked-{key}.pt"
    torch.manual_seed(settings.seed)
    model = masked.network(backbone, config(backbone))
    if file.is_file():
        kept = tensors.read(file, "delete it, and it is made again")
        model.load_state_dict(kept["model"])
        report(f"{file.name}: masked autoencoding was done before")
        return model, kept["log"]
    recipe = settings.masked_recipe
    log = masked.train(model, train, held_out, recipe, settings.masked_epochs, settings.seed, report)
    make_folder(file.parent)
    temporary = file.with_suffix(".partial")
    torch.save({"model": model.state_dict(), "log": log}, temporary)
    temporary.replace(file)
    return model, log


def write(network: nn.Module, folder: Path, record: dict[str, Any]) -> None:
    """Write a network's weights in half precision, its configuration, and where they come from, the latter last.

    `provenance.json` has the digests of the other two files: without it, or with others, they are refused.
    """
    fresh = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(fresh, ignore_errors=True)
    make_folder(fresh)
    with weights.quietly():
        halves = {name: tensor.detach().half().contiguous() for name, tensor in network.state_dict().items()}
        network.save_pretrained(fresh, state_dict=halves)
    files = {path.name: digests.record(path) for path in sorted(fresh.iterdir())}
    content = json.dumps(record | {"files": files}, indent=1) + "\n"
    write_bytes(fresh / weights.PROVENANCE, content.encode())
    make_folder(folder)
    (folder / weights.PROVENANCE).unlink(missing_ok=True)
    for name in (*files, weights.PROVENANCE):
        (fresh / name).chmod(0o644)  # safetensors writes files for their owner alone
        (fresh / name).replace(folder / name)
    fresh.rmdir()
