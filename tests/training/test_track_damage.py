"""Damaged pictures of tracks: left out of track, features and answers alike, counted, named; too many stop it."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from support import make_video

from cityguessr.base import paths
from cityguessr.base.errors import InputError
from cityguessr.data.video import video_info
from cityguessr.tracks import Track, Tracks
from cityguessr.training import track_damage, track_experiments, track_jobs, track_runs, track_sets
from cityguessr.training.track_experiments import SCALES
from cityguessr.training.track_sets import TrackSource
from cityguessr.vidtag import encoders, features

QUICK = dataclasses.replace(
    SCALES["mini"],
    phases=tuple(dataclasses.replace(phase, epochs=1, batch_size=4, frames=5) for phase in SCALES["mini"].phases),
    resolution_km=1.0,
)
LENGTH = 6


@pytest.fixture
def tracks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tracks:
    """Twenty tracks of six frames, a hundred metres from each to the next: a to p for training, q to t to validate."""
    monkeypatch.setattr(paths, "root", lambda: tmp_path)
    monkeypatch.setattr(paths, "data", lambda: tmp_path / "data")
    rng = np.random.default_rng(0)
    made = []
    for number, name in enumerate("abcdefghijklmnopqrst"):
        files = tuple(tmp_path / f"{name}{frame}.jpg" for frame in range(LENGTH))
        for file in files:
            Image.fromarray(rng.integers(0, 256, (48, 64, 3), np.uint8)).save(file)
        latlon = np.stack([45 + np.arange(LENGTH) / 1000, np.full(LENGTH, 5 + number / 100)], axis=1)
        made.append(Track(name, "lyon", "val" if name >= "q" else "train", latlon, files))
    return Tracks(
        "Some Toy", tuple(made), pd.DataFrame(columns=["where", "what", "reason", "count", "kept", "example"])
    )


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def quiet(line: str) -> None:
    pass


def test_a_damaged_frame_leaves_track_coordinate_features_and_answers_alike(tracks: Tracks) -> None:
    cut(tracks.tracks[1].pictures[2])  # of b, in training
    cut(tracks.tracks[16].pictures[0])  # of q, in validation
    lines: list[str] = []
    run = track_runs.ensure("vidtag", QUICK, 0, tracks=tracks, report=lines.append)
    listed = track_damage.list_of(tracks)
    assert any(f"2 frames of Some Toy are left out, see {listed}" in line for line in lines)
    table = pd.read_csv(listed)
    assert list(table.columns) == list(track_damage.COLUMNS)
    assert table[["number", "frame", "track"]].values.tolist() == [[1, 2, "b"], [16, 0, "q"]]
    assert table["file"].tolist() == [str(tracks.tracks[1].pictures[2]), str(tracks.tracks[16].pictures[0])]
    assert table["reason"].str.contains("not a whole image").all()

    plan = track_runs.plan("vidtag", QUICK, 0, tracks=tracks)
    assert plan.folder == run.folder  # it is the training of the rest, and known as that
    rest = plan.tracks()
    b, q = rest.tracks[1], rest.tracks[16]
    assert b.latlon[:, 0].tolist() == [45, 45.001, 45.003, 45.004, 45.005]
    assert b.pictures == tracks.tracks[1].pictures[:2] + tracks.tracks[1].pictures[3:]
    assert rest.fingerprint != tracks.fingerprint
    stores = track_runs.features_of(plan)
    assert [store.encoder for store in stores] == ["semantic", "appearance"]
    assert [len(store.of(track)) for store in stores for track in (b, q)] == [5, 5, 5, 5]
    assert run.predictions.lengths.tolist() == [5, 6, 6, 6]
    assert np.array_equal(run.predictions.by_track(run.predictions.true)[0], tracks.tracks[16].latlon[1:])
    assert run.provenance["data"]["left_out"] == [{"what": "frames", "reason": track_damage.REASON, "count": 2}]
    assert run.provenance["data"]["trained_on"] == 16
    shown = rest.left_out()
    assert (shown["where"].item(), shown["count"].item()) == ("lyon", 2)
    assert str(tracks.tracks[1].pictures[2]) in shown["example"].item()


def test_a_set_without_damage_is_the_same_and_is_not_searched(tracks: Tracks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(track_damage, "search", pytest.fail)
    source = TrackSource(QUICK, None, tracks)
    assert source.read() is tracks
    plan = track_runs.ready(track_runs.plan("vidtag", QUICK, 0, tracks=tracks), quiet)
    assert plan.identity["tracks"] == tracks.fingerprint
    assert not track_damage.list_of(tracks).exists()


def test_whole_tracks_keep_the_features_that_were_computed_before(
    tracks: Tracks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last picture of the last track is damaged: only that track is computed anew."""
    seen: list[str] = []
    pictures = features._pictures
    monkeypatch.setattr(
        features, "_pictures", lambda track, **how: (seen.append(track.name), pictures(track, **how))[1]
    )
    cut(tracks.tracks[19].pictures[5])
    plan = track_runs.ready(track_runs.plan("vidtag", QUICK, 0, tracks=tracks), quiet)
    names = [track.name for track in tracks.tracks]
    # Semantic comes first: all tracks, of which t fails, then t alone, then all by the other encoder.
    assert seen == [*names, "t", *names]
    old = next(path for path in (paths.data() / "features").glob("*semantic*") if tracks.fingerprint in
               (path / "meta.json").read_text())  # fmt: skip
    new = track_runs.features_of(plan)[0]
    kept = dataclasses.replace(new, folder=old)
    assert np.array_equal(kept.of(tracks.tracks[0]), new.of(tracks.tracks[0]))
    assert not kept.file(tracks.tracks[19]).exists()


def test_a_track_that_is_too_short_for_the_rest_of_it_is_left_out(tracks: Tracks) -> None:
    for frame in (0, 3):
        cut(tracks.tracks[0].pictures[frame])  # 4 of 6 are left of a, and a training sequence has 5
        cut(tracks.tracks[16].pictures[frame])  # a validation track of 4 has 4 answers
    one = dataclasses.replace(tracks.tracks[17], latlon=tracks.tracks[17].latlon[:1],
                              pictures=tracks.tracks[17].pictures[:1])  # fmt: skip
    cut(one.pictures[0])
    tracks = dataclasses.replace(tracks, tracks=(*tracks.tracks[:17], one, *tracks.tracks[18:]))
    assert track_damage.search(tracks)
    rest = TrackSource(QUICK, None, tracks).read()
    assert [track.name for track in rest.tracks] == list("bcdefghijklmnopqst")
    assert len(rest.tracks[15]) == 4
    left = rest.left_out().set_index("reason")["count"].to_dict()
    assert left == {track_damage.REASON: 5, "fewer than 5 frames can be read": 1, "no frame can be read": 1}
    assert len(track_damage.without(tracks, 4).tracks) == 19  # where four frames do, a stays


def test_more_than_one_in_twenty_stops_it_and_says_where_they_are_listed(tracks: Tracks) -> None:
    frames = [path for track in tracks.tracks for path in track.pictures]
    assert len(frames) == 120
    for path in frames[::20]:
        cut(path)
    plan = track_runs.ready(track_runs.plan("vidtag", QUICK, 0, tracks=tracks), quiet)
    assert sum(map(len, plan.tracks().tracks)) == 114  # 6 of 120 is 5 %, and allowed
    cut(frames[1])
    assert track_damage.search(tracks)
    with pytest.raises(InputError, match=r"7 of 120 pictures of Some Toy cannot be read, more than 5%.*damaged-"):
        track_runs.plan("vidtag", QUICK, 0, tracks=tracks)


def test_a_picture_that_was_mended_is_in_its_track_again(tracks: Tracks) -> None:
    path = tracks.tracks[2].pictures[1]
    whole = path.read_bytes()
    cut(path)
    path.with_name("c3.jpg").unlink()
    assert track_damage.search(tracks)
    source = TrackSource(QUICK, None, tracks)
    assert len(source.read()) == 19  # of c, 4 frames are left
    assert not track_damage.search(tracks)  # nothing new
    path.write_bytes(whole)
    assert len(source.read().tracks[2]) == 5
    path.with_name("c3.jpg").write_bytes(whole)
    assert source.read() is tracks
    assert source.read().fingerprint == tracks.fingerprint
    assert len(pd.read_csv(track_damage.list_of(tracks))) == 0


def test_a_video_that_ends_too_soon_loses_its_last_frames(tracks: Tracks, tmp_path: Path) -> None:
    video = make_video(tmp_path / "ride.mp4")
    info = video_info(video)
    seconds = np.array([0, 0.5 * info.frames / info.fps, info.frames / info.fps, 1000])
    ride = Track("ride", "lyon", "val", np.full((4, 2), 45.0), video=video, seconds=seconds)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video at all")
    gone = dataclasses.replace(ride, name="gone", video=broken)
    with_rides = dataclasses.replace(tracks, tracks=(*tracks.tracks, ride, gone))
    assert track_damage.search(with_rides)
    table = pd.read_csv(track_damage.list_of(with_rides))
    assert table[table["track"] == "ride"]["frame"].tolist() == [2, 3]
    assert table[table["track"] == "ride"]["reason"].str.contains("ends after").all()
    assert table[table["track"] == "gone"]["frame"].tolist() == [0, 1, 2, 3]
    rest = track_damage.without(with_rides, 5)
    assert rest.tracks[-1].name == "ride"
    assert rest.tracks[-1].seconds.tolist() == seconds[:2].tolist()


def test_what_is_wrong_with_no_picture_starts_no_search(tracks: Tracks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(track_damage, "search", pytest.fail)

    def load(*_: object, **__: object) -> encoders.FrameEncoder:
        raise InputError("/mnt/features: the disk is full")

    monkeypatch.setattr(features.compute, "__kwdefaults__", features.compute.__kwdefaults__ | {"load": load})
    with pytest.raises(InputError, match="the disk is full"):
        track_runs.ensure("vidtag", QUICK, 0, tracks=tracks, report=quiet)


def test_a_list_of_something_else_is_refused(tracks: Tracks) -> None:
    cut(tracks.tracks[0].pictures[0])
    track_damage.search(tracks)
    path = track_damage.list_of(tracks)
    content = path.read_text()
    for wrong in ("", "nothing", content.replace("\n0,0,a", "\n0,6,a"), content.replace("\n0,0,a", "\n20,0,a")):
        path.write_text(wrong)
        with pytest.raises(InputError, match="no list of damaged frames of this set; delete it"):
            track_damage.without(tracks, 5)


def test_side_by_side_all_trainings_are_of_the_rest(tracks: Tracks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(track_experiments.SCALES, "mini", QUICK)
    monkeypatch.setattr(track_sets, "_read", lambda *_: tracks)
    cut(tracks.tracks[5].pictures[5])
    runs = track_jobs.ensure_all(["geoclip_finetuned", "dinov2"], QUICK, (0, 1), processes=1, report=quiet)
    fingerprints = {run.provenance["tracks"] for group in runs.values() for run in group}
    assert len(fingerprints) == 1
    assert tracks.fingerprint not in fingerprints
    folders = {os.path.basename(run.folder.parent) for group in runs.values() for run in group}
    assert folders == {"geoclip_finetuned", "dinov2"}
