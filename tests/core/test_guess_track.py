"""Guess your own clip with a track: a VidTAG run that is there answers for any video, and nothing is trained."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import torch
from PIL import Image
from support import make_video

mpl.use("agg")

import matplotlib.pyplot as plt

from cityguessr.base import paths
from cityguessr.base.errors import CannotRun, InputError
from cityguessr.evaluation import own_tracks
from cityguessr.evaluation.own_tracks import Locator
from cityguessr.figures import own_track
from cityguessr.guessing import Guess, NoTrack, TrackGuess, guess_track
from cityguessr.miniworld import TrackConfig, write_tracks
from cityguessr.taxonomy import Taxonomy
from cityguessr.tracks import Tracks, read_msls
from cityguessr.training import track_experiments, track_runs, track_sets
from cityguessr.training.track_experiments import SCALES
from cityguessr.vidtag import features

QUICK = dataclasses.replace(
    SCALES["mini"],
    phases=tuple(dataclasses.replace(phase, epochs=2, batch_size=4) for phase in SCALES["mini"].phases),
    resolution_km=1.0,
)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project with a small world of two cities, a run trained on it, and no other."""
    root = tmp_path_factory.mktemp("house")
    config = TrackConfig(cities=("london", "tokyo"), sequences_per_city=8, max_frames=18)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "root", lambda: root)
        patch.setattr(paths, "data", lambda: root / "data")
        patch.setitem(track_experiments.SCALES, "mini", QUICK)
        patch.setitem(track_sets.WORLDS, "mini", config)
        write_tracks(config, root / "data" / "miniworld" / "mini-tracks", workers=1)
        tracks = read_msls(root / "data" / "miniworld" / "mini-tracks", cities=config.cities)
        patch.setattr(track_sets, "_read", lambda *_: tracks)
        track_runs.ensure("vidtag", "mini", 0, report=lambda line: None)
        yield root


@pytest.fixture(scope="module")
def tracks(house: Path) -> Tracks:
    return track_sets.TrackSource(QUICK).read()


@pytest.fixture(scope="module")
def locator(house: Path) -> Locator:
    return own_tracks.load("mini")


def folder_of(pictures: tuple[Path, ...], folder: Path) -> Path:
    folder.mkdir()
    for number, picture in enumerate(pictures, 1):
        (folder / f"{number}.jpg").write_bytes(picture.read_bytes())
    return folder


def test_the_pictures_of_a_validation_track_are_answered_as_the_run_answered_them(
    locator: Locator, tracks: Tracks, tmp_path: Path
) -> None:
    """Features on the fly and the gallery made anew are those of the run, bit for bit."""
    given, stores = locator.run.predictions, track_runs.features_of(track_runs.plan("vidtag", "mini", 0))
    for number, track in enumerate(tracks.split("val")):
        assert torch.equal(locator.features(track), features.joined(stores, track))
        own = locator(folder_of(track.pictures, tmp_path / str(number)), frames=None)
        assert len(own) == len(track)
        assert np.array_equal(own.retrieved, given.by_track(given.retrieved)[number])
        assert np.array_equal(own.refined, given.by_track(given.refined)[number])
        assert np.array_equal(own.final, own.refined)
        assert set(own.regions) <= {"london", "tokyo"}
        # London lies at 51 degrees north, Tokyo at 36
        assert [region == "london" for region in own.regions] == (own.final[:, 0] > 45).tolist()


def test_frames_of_a_video_are_spread_evenly_and_stand_in_the_order_of_time(locator: Locator, tmp_path: Path) -> None:
    video = make_video(tmp_path / "walk.mp4")
    own = locator(video, frames=4)
    seconds = [float(text.removesuffix(" s")) for text in own.frames]
    assert len(own) == 4
    assert seconds == sorted(seconds)
    assert own.final.shape == (4, 2)
    every = locator(video, frames=10_000)  # all of them where there are fewer
    assert len(every) < 10_000
    assert [picture.shape[:2] for picture in own.pictures] == [own.pictures[0].shape[:2]] * 4
    assert min(own.pictures[0].shape[:2]) == own_tracks.SMALL
    a_second = locator(video, frames=None)
    assert list(a_second.frames) == [f"{second}.0 s" for second in range(len(a_second))]
    assert {tuple(place) for place in own.final} <= {tuple(place) for place in own.gallery}


def test_the_guess_says_that_it_knows_nothing_of_the_real_world(house: Path, tmp_path: Path) -> None:
    answer = guess_track(make_video(tmp_path / "a $tranger's <walk>.mp4"), "mini", frames=5)
    text = str(answer)
    assert text.startswith("a $tranger's <walk>.mp4: 5 frames, a coordinate for each; nearest city: ")
    assert "knows nothing of the real one" in text
    assert "stand-ins" in text
    page = answer._repr_html_()
    assert "<walk>" not in page
    assert "data:image/png;base64," in page
    assert "knows nothing of the real one" in page
    table = answer.table()
    assert list(table.index) == [1, 2, 3, 4, 5]
    assert set(table["near"]) <= {"London", "Tokyo"}
    assert np.isnan(table["step_km"].iloc[0])
    figure = answer.draw()
    assert any("of a real video this means nothing" in text.get_text() for sub in figure.subfigs for text in sub.texts)
    plt.close(figure)


def test_frames_with_one_answer_share_a_mark_with_all_their_numbers(locator: Locator, tmp_path: Path) -> None:
    own = locator(make_video(tmp_path / "walk.mp4"), frames=6)
    a, b = [51.5, 0.0], [51.5, 0.1]
    moved = dataclasses.replace(own, refined=np.array([a, a, b, a, a, a]), regions=("london",) * 5 + ("tokyo",))
    assert moved.counts == {"london": 5, "tokyo": 1}
    groups = own_track.same_answer(moved, np.arange(5))  # the sixth is in another city
    assert [(text, place.tolist()) for text, place in groups] == [("1-2, 4-5", a), ("3", b)]


def test_a_guess_has_a_track_where_a_run_is_there_and_a_line_where_none_is(
    house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = make_video(tmp_path / "walk.mp4")
    taxonomy = Taxonomy.cityguessr68k()
    guess = Guess(video, taxonomy, {}, {}, {}, np.zeros((1, 2, 2, 3), np.uint8), True, "mini")
    assert isinstance(guess.track, TrackGuess)
    assert guess.track is guess.track  # asked once
    assert guess.track.answer.path == video
    for profile, reason in {
        "midi": "no track: VidTAG has no profile midi, which is one of mini",
        "msls": 'no finished run of vidtag at the profile msls is here; `track_runs.ensure("vidtag", "msls")` trains',
        None: "made of no video",
    }.items():
        other = dataclasses.replace(guess, profile=profile)
        assert isinstance(other.track, NoTrack)
        assert reason in str(other.track)
        assert "\n" not in str(other.track)
    monkeypatch.setattr(track_runs, "ensure", pytest.fail)  # nothing is trained, and the folder says so
    monkeypatch.setattr(paths, "root", lambda: tmp_path / "empty")
    assert "no finished run" in str(dataclasses.replace(guess).track)
    assert not (tmp_path / "empty").exists()


def test_a_run_of_other_tracks_is_not_asked(house: Path, tracks: Tracks, tmp_path: Path) -> None:
    with pytest.raises(CannotRun, match="learnt from other tracks, encoders or a gallery than those of now"):
        own_tracks.load("mini", tracks=dataclasses.replace(tracks, source="another world"))
    with pytest.raises(CannotRun, match="learnt from other tracks"):  # another gallery
        own_tracks.load(dataclasses.replace(QUICK, resolution_km=0.5))


def test_runs_of_the_present_code_come_first(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (run,) = own_tracks.finished("mini")
    old = run.folder.with_name("seed0-older000")
    old.mkdir()
    record = {**run.provenance, "code": "an older one", "finished": "2099-01-01T00:00:00Z"}
    track_runs.seal(old, {k: v for k, v in record.items() if k not in ("files", "digest")}, files=())
    assert [one.folder for one in own_tracks.finished("mini")] == [run.folder, old]
    (old / "provenance.json").write_text("{}")  # no record of a run: passed over
    assert [one.folder for one in own_tracks.finished("mini")] == [run.folder]


def test_what_is_no_video_is_refused_by_name(locator: Locator, tracks: Tracks, tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("not a video")
    with pytest.raises(InputError, match=r"notes\.mp4"):
        locator(tmp_path / "notes.mp4")
    with pytest.raises(InputError, match=r"missing\.mp4"):
        locator(tmp_path / "missing.mp4")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: this is a folder, and no picture is in it"):
        locator(tmp_path / "empty")
    pictures = folder_of(tracks.tracks[0].pictures, tmp_path / "clip")
    with pytest.raises(InputError, match="frames is 0; a track has at least 1 frame"):
        locator(pictures, frames=0)
    content = (pictures / "3.jpg").read_bytes()
    (pictures / "3.jpg").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"3\.jpg: not a whole image"):
        locator(pictures)
    one = tmp_path / "one"
    one.mkdir()
    Image.fromarray(np.full((48, 64, 3), 90, np.uint8)).save(one / "1.png")
    assert len(locator(one)) == 1  # a single picture has a coordinate too
    plt.close(TrackGuess(locator(one)).draw())
