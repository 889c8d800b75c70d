"""Source videos recovered from the frames at the ends of clips."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from support import SMALL, make_release, write_csv

from cityguessr.base.errors import InputError
from cityguessr.data.cityguessr68k import ReleaseSource
from cityguessr.data.leakage import junctions, likeness, recovery
from cityguessr.data.leakage.junctions import Distances, measure, runs_of
from cityguessr.data.leakage.recovery import read_table, recover, true_links, with_videos, write_table
from cityguessr.data.prepare import prepare
from cityguessr.data.sources import ClipRef

FRAMES = 6  # of a clip
STEP = 2  # pixels that the picture moves from frame to frame


def film(folder: Path, city: str, lengths: Sequence[int], pause: int = 0, split: str = "train") -> list[ClipRef]:
    """Clips of one city, cut one after another from videos of so many clips each, with a pause of frames between.

    A video is a window that moves along a street of its own: coarse blocks in its own colours.
    """
    clips = []
    for video, length in enumerate(lengths):
        rng = np.random.default_rng([*map(ord, city), video])
        span = length * (FRAMES + pause) * STEP + 64
        tint, blocks = rng.uniform(0.3, 1, 3), rng.uniform(0, 1, (8, -(-span // 8), 1))
        street = (255 * np.kron(blocks, np.ones((8, 8, 1)))[:, :span] * tint).astype(np.uint8)
        for part in range(length):
            clip = f"{city}_{len(clips):04d}"
            place = folder / split / city / clip
            place.mkdir(parents=True)
            for n in range(FRAMES):
                start = (part * (FRAMES + pause) + n) * STEP
                Image.fromarray(street[:, start : start + 64]).save(place / f"{n + 1}.jpg", quality=92)
            clips.append(ClipRef(clip, f"{city}_v{video}", split, (0, 0, 0, 0), str(place)))
    return clips


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[ClipRef], Path]:
    """Three cities of several videos each, and the folder of what was read."""
    folder = tmp_path_factory.mktemp("film")
    cities = {"Lyon": (3, 4, 2, 5), "Bern": (2, 2, 3), "New_York": (6, 4)}
    clips = [clip for city, lengths in cities.items() for clip in film(folder, city, lengths)]
    measure(clips, folder / "cache", workers=1)
    return clips, folder / "cache"


def partition(videos: dict[str, str]) -> set[frozenset[str]]:
    return {frozenset(c for c in videos if videos[c] == video) for video in videos.values()}


def samples(across: np.ndarray, within: np.ndarray, apart: np.ndarray) -> Distances:
    """Distances made by hand: one run of numbers, whose first clip has no junction; one column each."""
    rows = {"run": "Lyon", "clip": [f"Lyon_{i:04d}" for i in range(len(across) + 1)], "split": "train"}
    rows |= {"number": np.arange(len(across) + 1), "gap": [0, *[1] * len(across)], "detail": [np.nan, *across]}
    return Distances(("detail",), pd.DataFrame(rows), within[:, None], apart[:, None], {})


def test_clips_of_one_video_are_chained_and_a_cut_between_videos_is_found(world: tuple[list[ClipRef], Path]) -> None:
    clips, cache = world
    found = recover(measure(clips, cache, workers=1))
    assert partition(found.videos()) == partition({clip.clip_id: clip.video_id for clip in clips})
    assert ((found.links["probability"] > 0.5) == true_links(found, clips)).all()
    assert found.videos()["Lyon_0003"] == "Lyon_r0003"  # the second video's first clip
    assert found.expected_videos()[0] == pytest.approx(9, abs=1)


def test_the_splits_of_a_city_are_one_row_of_numbers(world: tuple[list[ClipRef], Path]) -> None:
    clips, cache = world
    turns = [("train", "val")[i % 2] for i in range(len(clips))]
    mixed = [ClipRef(c.clip_id, c.video_id, s, c.labels, c.path) for c, s in zip(clips, turns, strict=True)][::-1]
    assert recover(measure(mixed, cache, workers=1)).videos() == recover(measure(clips, cache, workers=1)).videos()


def test_splits_that_number_their_clips_apart_are_runs_of_their_own(tmp_path: Path) -> None:
    clips = []
    for split in ("train", "val"):
        for city in ("Lyon", "Bern"):
            part = film(tmp_path, city, (4, 3, 3), split=split)
            clips += [ClipRef(f"{split}/{c.clip_id}", "", split, c.labels, c.path) for c in part]
    assert [run.name for run in runs_of(clips)] == ["train/Bern", "train/Lyon", "val/Bern", "val/Lyon"]
    videos = recover(measure(clips, tmp_path / "cache", workers=1)).videos()
    assert videos["train/Lyon_0004"] == videos["train/Lyon_0006"] == "train/Lyon_r0004"
    assert videos["val/Lyon_0004"] == "val/Lyon_r0004"


def test_a_city_whose_numbers_are_only_partly_in_both_splits_is_read_split_by_split() -> None:
    ids = [("train/Lyon_0000", "train"), ("val/Lyon_0000", "val"), ("Lyon_0001", "train"), ("Bern_0001", "val")]
    runs = runs_of(ClipRef(clip, clip, split, (0, 0, 0, 0), "") for clip, split in ids)
    assert {run.name: [clip.clip_id for clip in run.clips] for run in runs} == {
        "Bern": ["Bern_0001"],
        "train/Lyon": ["train/Lyon_0000", "Lyon_0001"],
        "val/Lyon": ["val/Lyon_0000"],
    }


def test_ids_without_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="does not end in a number"):
        runs_of([ClipRef("holiday", "holiday", "train", (0, 0, 0, 0), "")])


def test_a_gap_and_a_clip_that_cannot_be_read_are_not_tested_and_cost_nothing_else(tmp_path: Path) -> None:
    clips = film(tmp_path, "Lyon", (8, 9)) + film(tmp_path, "Bern", (5, 7))
    Path(clips[3].path, "1.jpg").write_bytes(b"no picture")
    del clips[12:14]  # Lyon_0012, Lyon_0013
    distances = measure(clips, tmp_path / "cache", workers=1)
    found = recover(distances)
    links = found.links.set_index("clip")
    assert list(distances.unread) == ["Lyon_0003"]
    assert "1.jpg: " in distances.unread["Lyon_0003"]
    assert links.index[~links["tested"]].tolist() == ["Lyon_0003", "Lyon_0004", "Lyon_0014"]
    assert links.loc["Lyon_0003", "probability"] == pytest.approx(found.whole)
    assert links.loc["Lyon_0014", "probability"] == pytest.approx(found.whole**3)  # three junctions that must hold
    assert links.loc["Lyon_0008", "probability"] < 0.5 < links.loc["Lyon_0007", "probability"]


def test_what_was_read_is_not_read_again_unless_it_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = film(tmp_path, "Lyon", (6, 6)) + film(tmp_path, "Bern", (5,))
    first, read = measure(clips, tmp_path / "cache", workers=1), []
    original = junctions._read_clip
    monkeypatch.setattr(junctions, "_read_clip", lambda clip, size: read.append(clip.clip_id) or original(clip, size))
    again = measure(clips, tmp_path / "cache", workers=1)
    assert not read
    pd.testing.assert_frame_equal(again.junctions, first.junctions)
    os.utime(Path(clips[-1].path, "1.jpg"), (1, 1))  # a frame that was mended
    measure(clips, tmp_path / "cache", workers=1)
    assert set(read) == {f"Bern_{n:04d}" for n in range(5)}


def test_probabilities_are_calibrated_on_a_mixture_that_is_known() -> None:
    rng = np.random.default_rng(0)
    within, apart = np.exp(rng.normal(-2, 0.6, 3000)), np.exp(rng.normal(-0.6, 0.6, 2000))
    truth = rng.random(6000) < 0.7
    found = recover(samples(np.exp(rng.normal(np.where(truth, -2, -0.6), 0.6)), within, apart))
    p = found.links["probability"].to_numpy()
    assert found.whole == pytest.approx(0.7, abs=0.02)
    for low, high in ((0.05, 0.35), (0.35, 0.65), (0.65, 0.95)):
        inside = (p >= low) & (p < high)
        assert inside.sum() > 200
        assert truth[inside].mean() == pytest.approx(p[inside].mean(), abs=0.06)
    assert found.misfit < found.noise
    counts = [len(set(videos.values())) for videos in found.draws(50)]
    expected, spread = found.expected_videos()
    assert np.mean(counts) == pytest.approx(expected, abs=4 * spread / 50**0.5)
    assert np.std(counts) == pytest.approx(spread, rel=0.4)


def test_junctions_that_fit_neither_spread_are_noticed() -> None:
    rng = np.random.default_rng(1)
    within, apart = np.exp(rng.normal(-3, 0.4, 1000)), np.exp(rng.normal(-0.5, 0.3, 1000))
    between = np.exp(rng.normal(-1.7, 0.3, 800))  # cut with a pause
    found = recover(samples(between, within, apart))
    assert found.misfit > 3 * found.noise


def test_a_few_odd_frames_prove_nothing() -> None:
    """A black frame is as unlike as nothing else: the evidence from it stays bounded."""
    rng = np.random.default_rng(2)
    within, apart = np.exp(rng.normal(-3, 0.3, 500)), np.exp(rng.normal(-0.5, 0.3, 500))
    found = recover(samples(np.array([*np.exp(rng.normal(-3, 0.3, 200)), 1e3, 0.0]), within, apart))
    assert np.abs(found.links["evidence"]).max() < 12


def test_too_few_clips_are_refused() -> None:
    with pytest.raises(InputError, match="too few for their spreads"):
        recover(samples(np.ones(3), np.ones(4), np.ones(2)))


def test_an_even_change_of_exposure_is_not_a_change_of_detail() -> None:
    rng = np.random.default_rng(0)
    a = likeness.torch.from_numpy(rng.integers(40, 100, (5, 32, 32, 3)).astype(np.uint8))
    other = likeness.torch.from_numpy(rng.integers(40, 100, (5, 32, 32, 3)).astype(np.uint8))
    assert likeness.detail_distance(a, a * 2 + 10).max() < 0.01
    assert likeness.detail_distance(a, other).min() > 0.5


def test_frames_can_be_compared_by_any_feature(world: tuple[list[ClipRef], Path], tmp_path: Path) -> None:
    how = likeness.of_features(lambda frames: frames.float().flatten(1) - frames.float().mean(), size=16)
    found = recover(measure(world[0], tmp_path, workers=1, how=how))
    assert (((found.links["probability"] > 0.5) == true_links(found, world[0])).mean()) > 0.9


def test_the_table_comes_back_as_it_was_written(world: tuple[list[ClipRef], Path], tmp_path: Path) -> None:
    clips, cache = world
    found = recover(measure(clips, cache, workers=1))
    videos = read_table(write_table(tmp_path, found))
    assert videos == found.videos()
    named = with_videos(clips, videos)
    assert [clip.video_id for clip in named] == [videos[clip.clip_id] for clip in clips]
    with pytest.raises(InputError, match="1 of 31 clips have no recovered video, the first Lyon_0000"):
        with_videos(clips, {clip: video for clip, video in videos.items() if clip != "Lyon_0000"})


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("Lyon_0000,Lyon_r0000,train,0.5", "listed already"),
        ("Lyon_0002,,train,0.5", "no name of a clip or of a video"),
        ("Lyon_0002,Lyon_r0000,train,nan", "not from 0 to 1"),
        ("Lyon_0002,Lyon_r0000,train,half", "not from 0 to 1"),
    ],
)
def test_a_table_that_was_edited_wrongly_is_refused_by_line(tmp_path: Path, row: str, message: str) -> None:
    path = tmp_path / "recovered_videos.csv"
    path.write_text(f"clip,video,split,probability\nLyon_0000,Lyon_r0000,train,0\n{row}\n")
    with pytest.raises(InputError, match=f"line 3: .*{message}"):
        read_table(path)


def test_a_release_with_recovered_videos_can_be_split_by_video(tmp_path: Path) -> None:
    release = ReleaseSource(make_release(tmp_path / "release", clips=4, frames=6))
    assert not recovery.knows_videos(release.clips())
    videos = {clip.clip_id: f"{clip.clip_id[:-4]}v{int(clip.clip_id[-1]) // 2}" for clip in release.clips()}
    rows = [(clip.clip_id, videos[clip.clip_id], clip.split, 0.5) for clip in release.clips()]
    write_csv(tmp_path / "recovered_videos.csv", recovery.COLUMNS, rows)
    assert recovery.applied(release, tmp_path / "elsewhere") is release
    source = recovery.applied(release, tmp_path)
    assert (source.name, recovery.knows_videos(source.clips())) == (release.name, True)
    assert recovery.applied(source, tmp_path) is source  # a release that knows its videos keeps them
    prepared = prepare(source, tmp_path / "prepared", **SMALL)
    val, train = (prepared.split(split, by="video") for split in ("val", "train"))
    assert len(val) == len(train) == 6
    assert not set(val.video_ids) & set(train.video_ids)
