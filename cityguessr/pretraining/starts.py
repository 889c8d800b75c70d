"""What a start is worth: one system, finetuned at equal compute from random weights and from pretrained ones."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from cityguessr import hierarchy
from cityguessr.backbones import BACKBONES, Encoder
from cityguessr.base import pools, threads, weights
from cityguessr.config import ModelConfig
from cityguessr.data.clips import ClipDataset, PreparedClips
from cityguessr.pretraining import places
from cityguessr.pretraining.making import EXPERIMENTS
from cityguessr.training import experiments, profiles
from cityguessr.training.loop import train

COLUMNS = ("backbone", "start", "seed", "probe_seen", "probe_unseen", "seen", "unseen", "weights", "data")
"""Of `weights/starts.csv`: accuracy at the city in %, of a linear probe and after finetuning, on both kinds of clips.

Seen are clips whose source video has other clips in training, unseen those of videos held out whole; `weights` and
`data` are the digests of what the row was trained from.
"""

_RIDGE = 1.0  # the penalty of the probe, for features of mean 0 and deviation 1


def seen_videos(train_clips: ClipDataset, clips: ClipDataset) -> Tensor:
    """Bool (N,): which clips come from a video that training has other clips of."""
    known = set(train_clips.video_ids)
    return torch.tensor([video in known for video in clips.video_ids])


def probe(train_features: Tensor, train_labels: Tensor, features: Tensor, ridge: float = _RIDGE) -> Tensor:
    """What a linear classifier on features answers, the features as they are: LongTensor (N,).

    It is a ridge regression onto the classes, in closed form: no learning rate, no epochs, no seed.

    Args:
        train_features, features: (M, width) and (N, width).
        train_labels: (M,) class ids.
        ridge: the penalty per training clip and feature, for features scaled to deviation 1.
    """
    mean, deviation = train_features.mean(dim=0), train_features.std(dim=0) + 1e-6
    known, asked = ((part - mean).div(deviation).double() for part in (train_features, features))
    targets = F.one_hot(train_labels).double()
    gram = known.T @ known + ridge * torch.eye(known.shape[1], dtype=torch.float64)
    return (asked @ torch.linalg.solve(gram, known.T @ (targets - targets.mean(dim=0))) + targets.mean(dim=0)).argmax(
        dim=1
    )


def nearest(train_features: Tensor, features: Tensor, count: int = 1) -> Tensor:
    """The training clips whose features are most alike, by cosine: LongTensor (N, count), the nearest first."""
    return (F.normalize(features, dim=1) @ F.normalize(train_features, dim=1).T).topk(count).indices


def measure_probe(encoder: Encoder, clips: PreparedClips) -> dict[str, float]:
    """City accuracy (%) of the linear probe on an encoder's features: `probe_seen` and `probe_unseen`."""
    parts = [clips.split(name) for name in ("train", "val")]
    known, asked = (places.features(encoder, part.frames_tensor()) for part in parts)
    right = probe(known, parts[0].labels["city"], asked) == parts[1].labels["city"]
    return {f"probe_{name}": 100 * right[which].float().mean().item() for name, which in _kinds(*parts)}


def measure(
    backbone: str, start: str, pretrained: str | None, seed: int, folder: Path, epochs: int | None = None
) -> dict[str, object]:
    """One row of `COLUMNS`: probe, then finetune the backbone's experiment from a start.

    Args:
        start: what the row calls it.
        pretrained: as in `ModelConfig`.
        folder: the prepared clips.
        epochs: of finetuning; the profile's by default.
    """
    clips, profile = PreparedClips.load(folder), profiles.MINI
    config: ModelConfig = experiments.get(EXPERIMENTS[backbone]).config(profile).replace(pretrained=pretrained)
    config = config if epochs is None else config.replace(epochs=epochs)
    with threads.limited(profile.threads):
        torch.manual_seed(seed)
        probed = measure_probe(BACKBONES[backbone](config), clips)
        parts = [clips.split(name) for name in ("train", "val")]
        trained = train(config, clips.taxonomy, *parts, None, profile, seed, report=lambda _: None)
    answers = hierarchy.predict(trained.answers.logits, clips.taxonomy, config.evaluation)["city"]
    right = answers == parts[1].labels["city"]
    finetuned = {name: 100 * right[which].float().mean().item() for name, which in _kinds(*parts)}
    digests = {"weights": (weights.version(pretrained) or "")[:12], "data": clips.fingerprint[:12]}
    return {"backbone": backbone, "start": start, "seed": seed, **probed, **finetuned, **digests}


def measure_all(
    starts: Sequence[tuple[str, str, str | None]],
    seeds: Sequence[int],
    folder: Path,
    processes: int = 2,
    report: Callable[[str], Any] = print,
) -> Iterator[dict[str, object]]:
    """`measure` for each (backbone, start, pretrained) and seed, several at a time, in no particular order."""
    tasks = [
        (f"{backbone} from {start}, seed {seed}", functools.partial(measure, backbone, start, name, seed, folder))
        for seed in seeds
        for backbone, start, name in starts
    ]
    for name, row in pools.in_processes(tasks, processes, "nothing is lost but this row"):
        report(f"{name}: seen {row['seen']:.1f} %, unseen {row['unseen']:.1f} %")
        yield row


def _kinds(train_clips: ClipDataset, clips: ClipDataset) -> list[tuple[str, Tensor]]:
    seen = seen_videos(train_clips, clips)
    return [("seen", seen), ("unseen", ~seen)]
