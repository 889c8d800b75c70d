"""Runs that start from other weights than random ones: GeoCLIP as released, asked zero-shot, and GeoCLIP fine-tuned."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from wheels import write_wheel

from cityguessr.base import paths, weights
from cityguessr.base.errors import MissingWeights
from cityguessr.miniworld import TrackConfig, write_tracks
from cityguessr.tracks import Tracks, read_msls
from cityguessr.training import track_asking, track_jobs, track_runs, track_sets
from cityguessr.training.track_experiments import EXPERIMENTS, SCALES
from cityguessr.vidtag import encoders, geoclip
from cityguessr.vidtag.model import VidTAG

REAL = dataclasses.replace(  # real encoders, and a location encoder that is quick to ask
    SCALES["msls"], overrides={"width": 16, "fourier": 8, "location_width": 24}, resolution_km=1.0
)
QUICK = dataclasses.replace(
    SCALES["mini"],
    phases=tuple(dataclasses.replace(phase, epochs=1, batch_size=4) for phase in SCALES["mini"].phases),
    resolution_km=2.0,
)
WORLD = "LAT,LON\n51.5,-0.1\n35.7,139.7\n-33.9,151.2\n35.7,139.7\n"


class FewPixels(nn.Module):
    """A fake CLIP: 768 numbers that are a fixed mixture of the pixels of the corners."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(12, 768)
        with torch.no_grad():
            self.mix.weight.copy_(torch.randn(768, 12, generator=torch.Generator().manual_seed(1)))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.mix(pixels[:, :, :: pixels.shape[2] - 1, :: pixels.shape[3] - 1].flatten(1))


@pytest.fixture(scope="module")
def tracks(tmp_path_factory: pytest.TempPathFactory) -> Tracks:
    root = tmp_path_factory.mktemp("tracks")
    write_tracks(TrackConfig(cities=("london", "tokyo"), sequences_per_city=6, max_frames=18), root / "w", workers=1)
    return read_msls(root / "w", val_share=0.4)


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(paths, "root", lambda: tmp_path)
    return tmp_path


@pytest.fixture
def released(house: Path, monkeypatch: pytest.MonkeyPatch) -> VidTAG:
    """What stands in the wheel; CLIP is a fake."""
    kind = dataclasses.replace(encoders.ENCODERS["clip"], size=16, make=lambda *_: FewPixels())
    monkeypatch.setitem(encoders.ENCODERS, "clip", kind)
    torch.manual_seed(7)
    model = VidTAG(EXPERIMENTS["geoclip_zeroshot"].config(REAL))
    model.logit_scale.data.fill_(3.681)
    place = weights.place(geoclip.WHEEL)
    place.parent.mkdir(parents=True)
    write_wheel(place, model, WORLD)
    return model


def ask(name: str, tracks: Tracks, lines: list[str] | None = None) -> track_runs.TrackRun:
    return track_runs.ensure(name, REAL, 0, tracks=tracks, report=[].append if lines is None else lines.append)


def test_zero_shot_geoclip_is_the_wheel_s_weights_bit_for_bit_and_is_a_run_like_any_other(
    tracks: Tracks, released: VidTAG
) -> None:
    lines: list[str] = []
    run = ask("geoclip_zeroshot", tracks, lines)
    saved = run.weights()
    assert saved.keys() == released.state_dict().keys()
    for name, tensor in released.state_dict().items():
        assert torch.equal(saved[name], tensor), name
    assert run.log.empty
    assert list(run.log) == ["phase", "epoch", "loss", "seconds"]
    assert run.provenance["data"]["trained_on"] == 0
    assert run.provenance["training"]["phases"] == []
    assert [line.split()[0] for line in lines] == ["asking", "answered"]
    lines.clear()
    assert ask("geoclip_zeroshot", tracks, lines).folder == run.folder
    assert not lines

    given, validation = run.predictions, tracks.split("val")
    assert given.refined is None
    points = track_asking.of_scale(REAL, tracks.split("train"))
    assert {tuple(place) for place in given.retrieved.tolist()} <= {tuple(place) for place in points.tolist()}
    (kept,) = track_runs.features_of(track_runs.plan("geoclip_zeroshot", REAL, 0, tracks=tracks))
    with torch.no_grad():  # GeoCLIP's own forward: head of CLIP's features against the gallery
        frames = released.frames(torch.cat([kept.of(track) for track in validation]).transpose(0, 1).float())[0]
        best = (frames.double() @ released.places(torch.from_numpy(points)).double().T).argmax(dim=1)
    assert np.array_equal(given.retrieved, points[best.numpy()])


def test_with_its_own_gallery_it_answers_places_of_the_wheel(tracks: Tracks, released: VidTAG) -> None:
    run = ask("geoclip_zeroshot_100k", tracks)
    assert {tuple(place) for place in run.predictions.retrieved.tolist()} <= {
        (51.5, -0.1),
        (35.7, 139.7),
        (-33.9, 151.2),
    }
    assert run.provenance["training"]["gallery"][0] == "geoclip"
    assert run.predictions.ceiling_km.max() < 50  # from the centres of London and Tokyo
    assert track_runs.plan("geoclip_zeroshot", REAL, 0, tracks=tracks).folder.name != run.folder.name


def test_zero_shot_computes_no_features_of_training(tracks: Tracks, released: VidTAG) -> None:
    plan = track_runs.plan("geoclip_zeroshot", REAL, 0, tracks=tracks)
    (kept,) = track_runs.features_of(plan)
    assert {track.split for track in tracks.tracks if kept.file(track).is_file()} == {"val"}
    assert kept.of(tracks.split("val")[0]).shape[1:] == (1, 768)
    crops = dataclasses.replace(REAL, validation_views="ten_crops")
    (kept,) = track_runs.features_of(track_runs.plan("geoclip_zeroshot", crops, 0, tracks=tracks))
    assert kept.of(tracks.split("val")[0]).shape[1:] == (10, 768)


def test_what_zero_shot_lacks_is_named(tracks: Tracks, house: Path) -> None:
    with pytest.raises(MissingWeights, match=r"GeoCLIP as it was released: .*geoclip-1\.3\.0.*pip download geoclip"):
        ask("geoclip_zeroshot", tracks)
    place = weights.place(geoclip.WHEEL)
    place.parent.mkdir(parents=True)
    place.write_bytes(b"PK")
    with pytest.raises(MissingWeights, match="openai/clip-vit-large-patch14"):
        ask("geoclip_zeroshot", tracks)
    found = track_jobs.ensure_all(["geoclip_zeroshot", "geoclip_zeroshot_100k"], "mini", report=[].append)
    assert all("released image head reads CLIP's own features" in str(answer) for answer in found.values())


def test_the_reader_of_the_wheel_counts_for_those_who_use_it_alone(
    tracks: Tracks, released: VidTAG, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(track_runs, "code_version", lambda more, core: asked.append(more) or "digest")
    for name in ("geoclip_zeroshot", "geoclip_finetuned", "random_start"):
        track_runs.plan(name, REAL, 0, tracks=tracks)
    assert asked == [("vidtag/geoclip.py",), ("vidtag/geoclip.py",), ()]


def test_a_fine_tuned_start_takes_the_location_encoder_of_that_run_with_scaled_directions(
    tracks: Tracks, house: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[dict[str, torch.Tensor]] = []
    train = track_runs.phases.train

    def watched(model: VidTAG, *arguments: object, **options: object) -> list[dict[str, float]]:
        begun.append({name: tensor.clone() for name, tensor in model.location.state_dict().items()})
        return train(model, *arguments, **options)

    monkeypatch.setattr(track_runs.phases, "train", watched)
    lines: list[str] = []
    run = track_runs.ensure("finetuned_start", QUICK, 3, tracks=tracks, report=lines.append)
    assert [line for line in lines if line.startswith("training")] == [
        "training geoclip_finetuned, seed 3, profile mini",
        "training finetuned_start, seed 3, profile mini",
    ]
    first = track_runs.ensure("geoclip_finetuned", QUICK, 3, tracks=tracks, report=lines.append)
    assert len(begun) == 2  # it was there
    assert (first.config.sigmas, run.config.sigmas) == ((1, 16, 1024), (1, 8, 1024))  # the finest as the scale has it
    for name, tensor in first.model().location.state_dict().items():
        assert torch.equal(begun[1][name], tensor * 0.5 if name == "LocEnc1.capsule.0.b" else tensor), name
    assert run.provenance["started_from"] == f"geoclip_finetuned/{first.folder.name}"
    assert torch.equal(run.weights()["location.LocEnc1.capsule.0.b"], begun[1]["LocEnc1.capsule.0.b"])


def test_a_fine_tuned_start_belongs_to_the_run_that_it_started_from(tracks: Tracks, house: Path) -> None:
    plan = track_runs.plan("finetuned_start", QUICK, 0, tracks=tracks)
    again = plan.with_seed(1)
    assert again.identity == track_runs.plan("finetuned_start", QUICK, 1, tracks=tracks).identity
    assert again.first.identity == track_runs.plan("geoclip_finetuned", QUICK, 1, tracks=tracks).identity
    assert again.first.seed == 1
    assert {plan.identity["started_from"], again.identity["started_from"]} == {
        f"geoclip_finetuned/{each.first.folder.name}" for each in (plan, again)
    }
    assert "started_from" not in track_runs.plan("vidtag", QUICK, 0, tracks=tracks).identity


def test_the_run_to_start_from_is_trained_with_the_others(
    tracks: Tracks, house: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(track_sets, "read_tracks", lambda *_: tracks)
    track_sets._read.cache_clear()
    found = track_jobs.ensure_all(["finetuned_start", "geoclip_finetuned"], QUICK, processes=1, report=[].append)
    track_sets._read.cache_clear()
    (run,), (first,) = found["finetuned_start"], found["geoclip_finetuned"]
    assert run.provenance["started_from"].endswith(first.folder.name)
