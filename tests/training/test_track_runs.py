"""VidTAG's runs on disk, from a small world of tracks to answers for every validation frame."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from cityguessr.base import paths
from cityguessr.base.errors import InputError, MissingWeights
from cityguessr.measures.sphere import great_circle_km
from cityguessr.measures.tracks import score_tracks
from cityguessr.miniworld import TrackConfig, write_tracks
from cityguessr.tracks import Tracks, read_msls
from cityguessr.training import track_asking, track_experiments, track_jobs, track_runs, track_sets
from cityguessr.training.track_experiments import SCALES, TrackScale

QUICK = dataclasses.replace(
    SCALES["mini"],
    phases=tuple(dataclasses.replace(phase, epochs=2, batch_size=4) for phase in SCALES["mini"].phases),
    resolution_km=1.0,
)


@pytest.fixture(scope="module")
def tracks(tmp_path_factory: pytest.TempPathFactory) -> Tracks:
    root = tmp_path_factory.mktemp("tracks")
    config = TrackConfig(cities=("london", "tokyo"), sequences_per_city=8, max_frames=18)
    write_tracks(config, root / "world", workers=1)
    return read_msls(root / "world", val_share=0.4)


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(paths, "root", lambda: tmp_path)
    return tmp_path


def ensure(tracks: Tracks, name: str = "vidtag", scale: TrackScale = QUICK, seed: int = 0) -> track_runs.TrackRun:
    return track_runs.ensure(name, scale, seed, tracks=tracks, report=lambda line: None)


def test_every_validation_frame_has_an_answer_from_a_gallery_of_training_coordinates(
    tracks: Tracks, house: Path
) -> None:
    run = ensure(tracks)
    given, validation = run.predictions, tracks.split("val")
    assert given.names == tuple(track.name for track in validation)
    assert np.array_equal(given.true, np.concatenate([track.latlon for track in validation]))
    assert given.retrieved.shape == given.refined.shape == given.centres.shape == given.true.shape
    errors = great_circle_km(given.true, given.final)
    assert (errors >= given.ceiling_km - 1e-9).all()  # no answer is better than the gallery allows
    assert set(run.log["phase"]) == {1, 2}
    assert len(run.log) == 4
    scores = score_tracks(given.by_track(given.true), given.by_track(given.final)).metrics
    assert 0 <= scores["frame_1km"] <= scores["frame_25km"] <= 100
    assert run.provenance["data"]["synthetic"] is True
    assert run.model().config == run.config


def test_a_run_that_is_there_is_not_trained_again_and_what_decides_it_makes_another(
    tracks: Tracks, house: Path
) -> None:
    lines: list[str] = []
    first = track_runs.ensure("geoclip_finetuned", QUICK, 0, tracks=tracks, report=lines.append)
    assert any("epoch" in line for line in lines)
    lines.clear()
    again = track_runs.ensure("geoclip_finetuned", QUICK, 0, tracks=tracks, report=lines.append)
    assert again.folder == first.folder
    assert not lines
    assert first.predictions.refined is None
    others = {
        track_runs.plan("geoclip_finetuned", QUICK, 1, tracks=tracks).folder,
        track_runs.plan("vidtag", QUICK, 0, tracks=tracks).folder,
        track_runs.plan("geoclip_finetuned", dataclasses.replace(QUICK, pad=0.1), 0, tracks=tracks).folder,
        track_runs.plan("geoclip_finetuned", QUICK, 0, tracks=dataclasses.replace(tracks, source="other")).folder,
    }
    crops = dataclasses.replace(QUICK, validation_views="ten_crops")
    others.add(track_runs.plan("geoclip_finetuned", crops, 0, tracks=tracks).folder)
    assert len(others | {first.folder}) == 6


def test_the_gallery_is_the_published_one_of_each_data_set(tracks: Tracks) -> None:
    training = tracks.split("train")
    assert len(track_asking.of_scale(SCALES["gama"], training)) == pytest.approx(1_024_400, rel=0.01)
    centre = np.full((3, 2), 45.0)
    still = [dataclasses.replace(track, latlon=centre, pictures=track.pictures[:3]) for track in training[:2]]
    assert track_asking.of_scale(SCALES["cityguessr68k"], still).tolist() == [[45, 45]]
    grid = track_asking.of_scale(SCALES["msls"], training)
    assert len(grid) > 1000
    assert np.abs(grid[:, 0]).max() < 60  # London and Tokyo alone


def test_a_file_that_was_edited_is_refused(tracks: Tracks, house: Path) -> None:
    run = ensure(tracks, "geoclip_finetuned")
    copy = house / "copy"
    shutil.copytree(run.folder, copy)
    (copy / "predictions.npz").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"predictions\.npz"):
        _ = track_runs.TrackRun(copy).predictions


def test_geoclip_s_released_start_is_asked_for_by_name(tracks: Tracks, house: Path) -> None:
    with pytest.raises(MissingWeights, match=r"location encoder's start: .*geoclip-1\.3\.0.*pip download geoclip"):
        ensure(tracks, "geoclip_finetuned", dataclasses.replace(QUICK, start="geoclip"))
    with pytest.raises(InputError, match="reads a real data set: give its folder"):
        track_runs.ensure("vidtag", "msls")


def test_real_encoders_are_asked_for_by_name(tracks: Tracks, house: Path) -> None:
    with pytest.raises(MissingWeights, match="openai/clip-vit-large-patch14"):
        ensure(tracks, scale=dataclasses.replace(QUICK, stand_ins={}))


def test_several_rows_and_seeds_are_trained_side_by_side_and_a_missing_encoder_stops_none(
    tracks: Tracks, house: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(track_experiments.SCALES, "mini", QUICK)
    monkeypatch.setattr(track_sets, "read_tracks", lambda *_: tracks)
    track_sets._read.cache_clear()
    lines: list[str] = []
    found = track_jobs.ensure_all(
        ["geoclip_finetuned", "clip_siglip", "dinov2"], QUICK, (0, 1), processes=1, report=lines.append
    )
    track_sets._read.cache_clear()
    assert [run.provenance["seed"] for run in found["dinov2"]] == [0, 1]
    assert "siglip has no stand-in" in str(found["clip_siglip"])
    assert lines[0].startswith("4 of 4 trainings to do, 1 at a time; their epochs: runs/mini/vidtag/")
    assert [line.split(" in ")[0] for line in lines[1:]] == [
        "trained geoclip_finetuned seed 0", "trained dinov2 seed 0",
        "trained geoclip_finetuned seed 1", "trained dinov2 seed 1",
    ]  # fmt: skip
