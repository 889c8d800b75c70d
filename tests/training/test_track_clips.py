"""CityGuessr and VidTAG on the same clips: CityGuessr68k's as tracks, and tracks as clips."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from support import make_release

from cityguessr.base.errors import InputError
from cityguessr.config import ClipFormat
from cityguessr.data.cityguessr68k import ReleaseSource
from cityguessr.data.mapillary import MapillarySource
from cityguessr.data.prepare import prepare
from cityguessr.miniworld import TrackConfig, write_tracks
from cityguessr.tracks import Tracks, read_cityguessr68k, read_msls
from cityguessr.training import datasets, track_clips, track_sets
from cityguessr.training.track_experiments import SCALES


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tracks") / "world"
    config = TrackConfig(cities=("london", "tokyo"), sequences_per_city=5, max_frames=17, height=32, width=32)
    write_tracks(config, root, workers=1)
    return root


@pytest.fixture(scope="module")
def tracks(tree: Path) -> Tracks:
    return read_msls(tree, val_share=0.4)


def test_vidtag_s_clips_are_cityguessr_s_in_its_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_release(tmp_path / "release", frames=20)
    monkeypatch.setattr(datasets, "root", lambda profile, *_: root if profile == "mini" else None)
    tracks = track_sets.read_tracks(SCALES["mini_clips"])
    clips = {clip.clip_id: clip for clip in ReleaseSource(root).clips() if "Paris" not in clip.clip_id}
    assert {track.name: track.split for track in tracks.tracks} == {name: clip.split for name, clip in clips.items()}
    assert {len(track) for track in tracks.tracks} == {4}
    prepared = prepare(ReleaseSource(root), tmp_path / "prepared", ClipFormat(8, 16), workers=1)
    validated = [name for name in prepared.split("val").clip_ids if "Paris" not in name]
    assert [track.name for track in tracks.split("val")] == validated


def test_another_world_of_the_same_clips_is_another_set(tmp_path: Path) -> None:
    root = make_release(tmp_path / "release", frames=4)
    before = read_cityguessr68k(root, 4)
    (root / "world.json").write_text('{"synthetic": true, "name": "release", "fingerprint": "abc"}')
    after = read_cityguessr68k(root, 4)
    assert (before.source, after.source) == ("", "abc")
    assert before.fingerprint != after.fingerprint


def test_a_track_is_one_clip_of_its_city_in_its_split(tree: Path, tracks: Tracks, tmp_path: Path) -> None:
    source = track_clips.TrackClips(tracks, tree / "scenes.csv")
    made = prepare(source, tmp_path / "prepared", ClipFormat(8, 32), workers=1)
    assert made.meta["clips"] == {"listed": 10, "prepared": 10, "rejected": 0}
    for split in ("train", "val"):
        clips = made.split(split)
        assert list(clips.clip_ids) == [track.name for track in tracks.split(split)]
        cities = [made.taxonomy.names["city"][city] for city in clips.labels["city"].tolist()]
        assert [name.lower() for name in cities] == [track.region for track in tracks.split(split)]
        places = clips.gps(0)
        assert places is not None
        assert np.abs(places.numpy() - tracks.split(split)[0].latlon.mean(0)).max() < 0.1
    mapillary = {clip.files: clip for clip in MapillarySource(tree).clips()}
    for clip in source.clips():  # scenes and places frame by frame, as the reader of Mapillary has them
        other = mapillary[clip.files]
        assert np.array_equal(clip.frame_scenes, other.frame_scenes)
        assert np.array_equal(clip.gps, other.gps)
        assert clip.labels == other.labels


def test_regions_are_cities_of_one_tree(tracks: Tracks) -> None:
    taxonomy = track_clips.TrackClips(tracks).taxonomy
    ids = track_clips.city_ids(["tokyo", "london"], taxonomy)
    assert {region: taxonomy.folders[city] for region, city in ids.items()} == {"tokyo": "Tokyo", "london": "London"}
    with pytest.raises(InputError, match="no city 'California'"):
        track_clips.city_ids(["California"], taxonomy)


def test_a_video_and_a_profile_without_tracks_are_refused(tracks: Tracks) -> None:
    seconds = np.arange(len(tracks.tracks[0]), dtype=float)
    video = dataclasses.replace(tracks.tracks[0], pictures=(), video=Path("ride.mov"), seconds=seconds)
    with pytest.raises(InputError, match="its frames are in a video"):
        track_clips.TrackClips(dataclasses.replace(tracks, tracks=(video,)))
    with pytest.raises(InputError, match="'mini_clips' has no world of tracks; give one of mini"):
        track_clips.prepared("mini_clips")
