"""Spoilt checkpoints, finished runs and prepared sets: each is refused by name, or read as written, to the bit."""

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from support import SMALL, make_release
from torch import Tensor
from trials import Trial, spoil_bytes, spoil_table, survey

from cityguessr.checkpoint import load_released_checkpoint
from cityguessr.config import ModelConfig
from cityguessr.data import prepared as files
from cityguessr.data.cityguessr68k import ReleaseSource
from cityguessr.data.clips import PreparedClips
from cityguessr.data.prepare import prepare
from cityguessr.speed import reference
from cityguessr.systems import build
from cityguessr.taxonomy import LEVELS, Taxonomy
from cityguessr.training.finished import FILES, PROVENANCE, Run, seal, write_json

# --- checkpoints ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """A state dict of the authors' network, of one layer and one head."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference, "WIDTH", 64)
        return reference.released_state(layers=1)


def spoil_tensor(state: dict[Any, Any], rng: random.Random) -> str:
    """Change one tensor, or a name, of a state dict: what was done."""
    name = rng.choice(list(state))
    tensor = state[name]
    number = float(rng.choice(("nan", "inf", "-inf", "1e300")))
    ways: dict[str, Callable[[], object]] = {
        f"{number} in it": lambda: state.update({name: spotted(tensor, number, rng)}),
        "transposed": lambda: state.update({name: tensor[:-1].transpose(0, -1)}),
        "without its last row": lambda: state.update({name: tensor[:-1]}),
        "empty": lambda: state.update({name: tensor[:0]}),
        "one number": lambda: state.update({name: tensor.flatten()[0]}),
        "one dimension more": lambda: state.update({name: tensor[None]}),
        "gone": lambda: state.pop(name),
        "renamed": lambda: state.update({rng.choice((f"{name}.", name.upper(), f"x.{name}", "")): state.pop(name)}),
        "a number for a name": lambda: state.update({rng.randrange(9): tensor}),
        "None": lambda: state.update({name: None}),
        "text": lambda: state.update({name: "text"}),
        "a list": lambda: state.update({name: tensor.flatten()[:3].tolist()}),
        "int8": lambda: state.update({name: tensor.to(torch.int8)}),
        "bool": lambda: state.update({name: tensor > 0}),
        "complex": lambda: state.update({name: tensor.to(torch.complex64)}),
        "double": lambda: state.update({name: tensor.double()}),
        "half": lambda: state.update({name: tensor.half()}),
        "bfloat16": lambda: state.update({name: tensor.bfloat16()}),
        "sparse": lambda: state.update({name: tensor.to_sparse()}),
        "without content": lambda: state.update({name: tensor.to("meta")}),
        "expanded": lambda: state.update({name: torch.zeros(1).expand(2, *tensor.shape)}),
        "huge": lambda: state.update({name: torch.zeros(1).expand(10**6, 10**6)}),
        "a parameter": lambda: state.update({name: torch.nn.Parameter(tensor)}),
        "another layer": lambda: state.update({name.replace("layer.0", f"layer.{rng.choice((1, 7, 10**9))}"): tensor}),
        "wrapped": lambda: rewrap(state, rng.choice(("module.", "_orig_mod.", "model.", "net."))),
        "in another order": lambda: reorder(state, rng),
        "besides": lambda: state.update({"note": torch.zeros(3)}),
    }
    way = rng.choice(list(ways))
    ways[way]()
    return f"{name}: {way}"


def spotted(tensor: Tensor, number: float, rng: random.Random) -> Tensor:
    changed = (tensor.double() if abs(number) == 1e300 else tensor).clone()
    changed.view(-1)[rng.randrange(changed.numel())] = number
    return changed


def rewrap(state: dict[Any, Any], prefix: str) -> None:
    items = [(prefix + name, tensor) for name, tensor in state.items()]
    state.clear()
    state.update(items)


def reorder(state: dict[Any, Any], rng: random.Random) -> None:
    items = list(state.items())
    rng.shuffle(items)
    state.clear()
    state.update(items)


def test_checkpoints(tmp_path: Path, state: dict[str, Tensor]) -> None:
    whole = tmp_path / "whole.pth"
    torch.save({"epoch": 12, "state_dict": state}, whole)
    content, right = whole.read_bytes(), load_released_checkpoint(whole).state_dict()

    def spoil(rng: random.Random, folder: Path) -> Trial:
        path, exact = folder / "spoilt.pth", True
        if rng.random() < 0.4:
            done, spoilt = spoil_bytes(content, rng)
            path.write_bytes(spoilt)
        else:
            changed: dict[Any, Any] = dict(state)
            done = spoil_tensor(changed, rng)
            exact = not done.endswith(("half", "bfloat16"))
            held = rng.choice(
                ({"state_dict": changed}, changed, {"model": changed}, {"state_dict": changed, "args": [1]})
            )
            torch.save(held, path)

        def wrong(model: torch.nn.Module) -> str | None:
            found = model.state_dict()
            if found.keys() != right.keys() or model.training:
                return "another network"
            for name, tensor in right.items():
                if found[name].dtype != torch.float32 or found[name].shape != tensor.shape:
                    return f"{name} is {found[name].dtype} {tuple(found[name].shape)}"
                if not torch.allclose(found[name], tensor, rtol=0 if exact else 1e-2, atol=0 if exact else 1e-3):
                    return f"{name} holds other numbers"
            return None

        return Trial(done, (str(path),), lambda: load_released_checkpoint(path), wrong)

    survey("checkpoints", 40, spoil, tmp_path / "spoilt")


# --- finished runs ----------------------------------------------------------------------------------------------------

TINY = {"pretrained": None, "frames": 4, "size": 32, "width": 24, "depth": 1, "heads": 2, "text_encoder": "random"}


def finished(folder: Path, seed: int) -> Path:
    """A folder as a training leaves it: its files have the right form, and random numbers."""
    folder.mkdir(parents=True)
    config = ModelConfig.as_described().replace(**TINY)
    tree = Taxonomy.cityguessr68k().subset(["London", "Lyon", "Tokyo"])
    torch.manual_seed(seed)
    write_json(folder / "config.json", {"model": vars(config), "seed": seed})
    tree.to_csv(folder / "taxonomy.csv")
    pd.DataFrame({"epoch": [1, 2], "loss": [3.0, 2.5 + seed]}).to_csv(folder / "log.csv", index=False)
    save_file(build(config, tree).state_dict(), folder / "model.safetensors")
    cities = torch.arange(6) % 3
    arrays = {f"logits_{level}": torch.randn(6, tree.size(level)).numpy() for level in LEVELS}
    arrays |= {f"labels_{level}": ids.numpy() for level, ids in tree.chain(cities).items()}
    names = np.array([f"clip{i}" for i in range(6)])
    np.savez_compressed(
        folder / "predictions.npz",
        clip_ids=names,
        video_ids=names,
        places=np.zeros((6, 2)),
        seen=names == "clip0",
        **arrays,
    )
    seal(folder, {"seed": seed, "code": "one", "training": {}, "data": {"fingerprint": "x", "folder": "none"}})
    return folder


def everything(run: Run) -> dict[str, Any]:
    """What a run says, in a form that can be compared."""
    predictions = run.predictions
    return {
        "provenance": run.provenance,
        "config": run.config,
        "taxonomy": run.taxonomy.rows(),
        "log": run.log.to_dict(),
        "model": {name: tensor.numpy().tobytes() for name, tensor in run.model().state_dict().items()},
        "logits": {level: tensor.numpy().tobytes() for level, tensor in predictions.logits.items()},
        "labels": {level: tensor.tolist() for level, tensor in predictions.labels.items()},
        "clips": (predictions.clip_ids, predictions.video_ids, predictions.places.tolist()),
    }


def test_runs(tmp_path: Path) -> None:
    whole, other = finished(tmp_path / "whole", 0), finished(tmp_path / "other", 1)
    right = everything(Run(whole))

    def spoil(rng: random.Random, folder: Path) -> Trial:
        run = Path(shutil.copytree(whole, folder / "run"))
        name = rng.choice((*FILES, PROVENANCE))
        done = spoil_file(run, name, (*FILES, PROVENANCE), other, rng)

        def wrong(found: dict[str, Any]) -> str | None:
            differs = [part for part in right if found[part] != right[part]]
            return f"{', '.join(differs)} differ" if differs else None

        return Trial(done, tuple(str(run / file) for file in (*FILES, PROVENANCE)), lambda: everything(Run(run)), wrong)

    survey("runs", 30, spoil, tmp_path / "spoilt")


def spoil_file(folder: Path, name: str, names: tuple[str, ...], other: Path, rng: random.Random) -> str:
    """Spoil one file of a folder whose files belong together: what was done."""
    path, twin = folder / name, folder / rng.choice(names)
    content = path.read_bytes()
    way = rng.choice(
        ("bytes", "bytes", "bytes", "table", "json", "json", "swap", "of another", "gone", "folder", "link")
    )
    if way == "json" and name.endswith("json"):
        meta = json.loads(content)
        done = spoil_json(meta, rng)
        path.write_text(json.dumps(meta))
    elif way == "table" and name.endswith(("csv", "json")):
        done, spoilt = spoil_table(content.decode(), rng)
        path.write_bytes(spoilt)
    elif way == "swap" and twin != path:
        done = f"swapped with {twin.name}"
        path.write_bytes(twin.read_bytes())
        twin.write_bytes(content)
    elif way == "of another":
        done = "from another folder"
        path.write_bytes((other / name).read_bytes())
    elif way == "gone":
        done = "gone"
        path.unlink()
    elif way == "folder":
        done = "a folder"
        path.unlink()
        path.mkdir()
    elif way == "link":
        done = rng.choice(("a pipe", "a link to /dev/zero", "a link to itself"))
        path.unlink()
        os.mkfifo(path) if done == "a pipe" else path.symlink_to("/dev/zero" if done.endswith("zero") else path)
    else:
        done, spoilt = spoil_bytes(content, rng, (other / name).read_bytes())
        path.write_bytes(spoilt)
    return f"{name}: {done}"


def spoil_json(value: Any, rng: random.Random) -> str:
    """Change one field somewhere inside a JSON object: what was done."""
    new = rng.choice((None, -1, 0, 1, 10**30, 1.5, "", "x", "../x", "0" * 32, [], {}, True, [[]], float("nan")))
    while True:
        key = rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
        if isinstance(value[key], dict | list) and value[key] and rng.random() < 0.7:
            value = value[key]
            continue
        if isinstance(value, dict) and rng.random() < 0.3:
            del value[key]
            return f"{key!r} gone"
        value[key] = new
        return f"{key!r} is {new!r}"


# --- prepared sets ----------------------------------------------------------------------------------------------------


def a_set(folder: Path, seed: int) -> Path:
    """A prepared set in three shards, with scenes, places and text features, every frame another noise."""
    root, noise = make_release(folder / "world", frames=8), np.random.default_rng(seed)
    from PIL import Image

    for file in sorted(root.rglob("*.jpg")):
        Image.fromarray(noise.integers(0, 256, (16, 16, 3)).astype(np.uint8)).save(file)
    rows = [f"{clip.clip_id},{n},48.{n},2.{n}" for clip in ReleaseSource(root).clips() for n in range(1, 9)]
    (root / "gps.csv").write_text("\n".join(("clip,frame,lat,lon", *rows)))
    text = noise.random((3, 5)).astype(np.float32)
    return prepare(ReleaseSource(root), folder / "set", shard_clips=5, text=text, **SMALL).folder


ABOUT = {"fingerprint", "videos", "synthetic", "scenes of train", "scenes of val"}
"""What follows from `meta.json`, and is another where someone writes it anew with its own hash."""


def all_of(folder: Path) -> dict[str, Any]:
    """Everything that a set says, in a form that can be compared."""
    clips = PreparedClips.load(folder)
    said: dict[str, Any] = {
        "fingerprint": clips.fingerprint,
        "videos": clips.videos_digest,
        "taxonomy": clips.taxonomy.rows(),
        "text": clips.text_features.tolist() if clips.text_features is not None else None,
        "rejected": clips.rejected(),
        "synthetic": clips.synthetic,
    }
    for split in ("train", "val"):
        part = clips.split(split)
        scenes = [part.frame_scenes(i) for i in range(len(part))]
        said[f"scenes of {split}"] = [None if rows is None else rows.tolist() for rows in scenes]
        said[split] = {
            "ids": (part.clip_ids, part.video_ids),
            "labels": {level: part.labels[level].tolist() for level in LEVELS},
            "frames": part.frames_tensor().numpy().tobytes(),
            "one by one": [part[i]["frames"].numpy().tobytes() for i in range(len(part))],
            "gps": [None if part.gps(i) is None else part.gps(i).tolist() for i in range(len(part))],
        }
    return said


def test_prepared_sets(tmp_path: Path) -> None:
    whole, other = a_set(tmp_path / "one", 0), a_set(tmp_path / "two", 1)
    names = tuple(str(p.relative_to(whole)) for p in sorted(whole.rglob("*")) if p.is_file() and p.name[0] != ".")
    right = all_of(whole)
    assert {"clips-00002.parquet", "index.parquet", "scenes/source-16.parquet", "meta.json"} <= set(names)

    def spoil(rng: random.Random, folder: Path) -> Trial:
        copy = Path(shutil.copytree(whole, folder / "set"))
        forged = rng.random() < 0.15
        if forged:
            meta = json.loads((copy / "meta.json").read_text())
            done = f"meta.json, with its own hash: {spoil_json(meta, rng)}"
            files.write_meta(copy, meta)
        else:
            done = spoil_file(copy, rng.choice(names), names, other, rng)

        def wrong(found: dict[str, Any]) -> str | None:
            about = ABOUT if forged else set()
            differs = [part for part in right if found[part] != right[part] and part not in about]
            return f"{', '.join(differs)} differ" if differs else None

        return Trial(done, (str(copy),), lambda: all_of(copy), wrong)

    survey("sets", 60, spoil, tmp_path / "spoilt")
