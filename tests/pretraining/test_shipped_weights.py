"""The weights that come with the package, where they come from, and what they are worth."""

import dataclasses
import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
import torch

from cityguessr.backbones import BACKBONES
from cityguessr.base import weights
from cityguessr.base.errors import InputError, MissingWeights
from cityguessr.base.tables import read_json, read_rows
from cityguessr.base.tensors import first_not_finite, read
from cityguessr.folded.blocks import normalised
from cityguessr.miniworld import MiniWorld
from cityguessr.pretraining import making, masked, starts
from cityguessr.pretraining.making import EXPERIMENTS, SETTINGS, STAGES
from cityguessr.pretraining.worlds import configuration
from cityguessr.training import datasets, profiles

MB = 1_000_000


def content(tensor: torch.Tensor) -> tuple[tuple[int, ...], bytes]:
    return tuple(tensor.shape), tensor.numpy().tobytes()


def shipped(backbone: str) -> str:
    return f"{weights.PACKAGED}{backbone}"


@pytest.mark.parametrize("backbone", EXPERIMENTS)
def test_the_shipped_weights_fill_every_weight_of_the_encoder(backbone: str) -> None:
    config = making.config(backbone)
    loaded = BACKBONES[backbone](config.replace(pretrained=shipped(backbone))).encoder.state_dict()
    file = read(weights.place(shipped(backbone)) / "model.safetensors", "")
    assert all(tensor.dtype == torch.float16 for tensor in file.values())
    # The file has the names of published checkpoints; a library's version may call the same weights otherwise.
    assert Counter(map(content, loaded.values())) == Counter(content(tensor.float()) for tensor in file.values())
    assert first_not_finite(loaded) is None


def test_the_network_that_masked_autoencoding_left_fills_in_better_than_a_random_one() -> None:
    rows = torch.linspace(0, 1, 64)
    frames = (255 * torch.stack([rows.outer(rows**power) for power in (0.5, 1.0, 2.0)])).to(torch.uint8)
    frames = frames.expand(4, 8, 3, 64, 64)
    mask = masked.random_mask(masked.load(), 4, torch.Generator().manual_seed(0))
    errors = []
    for model in (masked.load(), masked.network("videomae", making.config("videomae")).eval()):
        with torch.no_grad():
            errors.append(model(normalised(frames, "imagenet"), bool_masked_pos=mask).loss.item())
    assert errors[0] < errors[1]


def test_the_small_profiles_start_from_the_shipped_weights() -> None:
    for profile in (profiles.MINI, profiles.MIDI):
        assert profile.starts == {backbone: shipped(backbone) for backbone in EXPERIMENTS}


def test_the_shipped_weights_are_small() -> None:
    size = sum(path.stat().st_size for path in weights.PACKAGE.rglob("*") if path.is_file())
    assert size < 6 * MB


@pytest.mark.parametrize("backbone", EXPERIMENTS)
def test_the_provenance_names_settings_data_command_and_what_came_out(backbone: str) -> None:
    record = weights.packaged(shipped(backbone))
    assert record["stages"] == list(STAGES[backbone])
    assert record["command"].startswith(f"python -m cityguessr.pretraining {backbone}")
    settings = record["settings"]
    assert settings == json.loads(json.dumps(dataclasses.asdict(SETTINGS[backbone])))
    assert set(map(int, record["data"])) == set(settings["world_seeds"])
    for stage, epochs in (("masked", settings["masked_epochs"]), ("places", settings["places_epochs"])):
        assert len(record["logs"].get(stage, [])) == (epochs if stage in STAGES[backbone] else 0)


def test_no_shipped_weights_have_seen_a_world_that_systems_are_tested_on() -> None:
    tested = {world.seed for world, _ in datasets.WORLDS.values()}
    for backbone in EXPERIMENTS:
        assert not tested & set(weights.packaged(shipped(backbone))["settings"]["world_seeds"])
    for seed in tested:
        with pytest.raises(InputError, match="trained and tested on"):
            configuration(seed, 8)


@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_weights_whose_provenance_names_another_digest_are_refused(
    file: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(weights.place(shipped("mae")), tmp_path / "mae")
    monkeypatch.setattr(weights, "PACKAGE", tmp_path)
    record = read_json(tmp_path / "mae" / weights.PROVENANCE)
    record["files"][file]["sha256"] = "0" * 64
    (tmp_path / "mae" / weights.PROVENANCE).write_text(json.dumps(record))
    with pytest.raises(
        InputError, match=rf"{file}: changed since it was written.*python -m cityguessr.pretraining mae"
    ):
        BACKBONES["mae"](making.config("mae").replace(pretrained=shipped("mae")))


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "provenance.json"])
def test_packaged_weights_that_lack_a_file_are_missing_and_never_fetched(
    file: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(weights.place(shipped("mae")), tmp_path / "mae")
    monkeypatch.setattr(weights, "PACKAGE", tmp_path)
    (tmp_path / "mae" / file).unlink()
    with pytest.raises(MissingWeights, match=rf"lacks {file}.*come with the package"):
        BACKBONES["mae"](making.config("mae").replace(pretrained=shipped("mae")), allow_downloads=True)


def test_written_weights_are_those_of_the_encoder_in_half_precision(tmp_path: Path) -> None:
    encoder = BACKBONES["videomae"](making.config("videomae"))
    making.write(encoder.encoder, tmp_path / "own", {"backbone": "videomae"})
    assert sorted(path.name for path in (tmp_path / "own").iterdir()) == [
        "config.json",
        "model.safetensors",
        "provenance.json",
    ]
    again = BACKBONES["videomae"](making.config("videomae").replace(pretrained=str(tmp_path / "own")))
    for name, tensor in encoder.encoder.state_dict().items():
        assert torch.equal(tensor.half().float(), again.encoder.state_dict()[name]), name


def test_the_comparison_of_starts_was_made_with_the_shipped_weights() -> None:
    rows = [row for _, row in read_rows(weights.PACKAGE / "starts.csv", starts.COLUMNS)]
    digests = {backbone: (weights.version(shipped(backbone)) or "")[:12] for backbone in EXPERIMENTS}
    for backbone, stages in STAGES.items():
        mine = [row for row in rows if row["backbone"] == backbone]
        assert {row["weights"] for row in mine if row["start"] == "+".join(stages)} == {digests[backbone]}
        by_start = {
            start: {row["seed"] for row in mine if row["start"] == start} for start in (row["start"] for row in mine)
        }
        assert len(set(map(frozenset, by_start.values()))) == 1  # every start with the same seeds
    assert {row["start"] for row in rows if row["backbone"] == "videomae"} == {
        "random",
        "masked",
        "places",
        "masked+places",
    }
    assert len({row["data"] for row in rows}) == 1


def test_a_linear_probe_finds_what_is_linear_in_the_features() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(300) % 3
    features = 2.0 * torch.nn.functional.one_hot(labels, 5).float() + 0.1 * torch.randn(300, 5, generator=generator)
    assert torch.equal(starts.probe(features[:200], labels[:200], features[200:]), labels[200:])
    nearest = starts.nearest(features[:200], features[200:])[:, 0]
    assert (labels[:200][nearest] == labels[200:]).float().mean() > 0.9


@pytest.mark.parametrize("clips", [0, 2])
def test_a_world_too_small_to_hold_a_video_out_is_refused(clips: int) -> None:
    with pytest.raises(InputError, match="give 3 or more"):
        configuration(101, clips)


def test_every_city_of_a_pretraining_world_gives_one_video_to_the_held_out_clips() -> None:
    world = MiniWorld(configuration(101, 3))
    held_out = [clip for video in world.videos for clip in video.clips if clip.split == "val"]
    assert len(held_out) == world.taxonomy.size("city")
    assert {len(video.clips) for video in world.videos} == {1}
