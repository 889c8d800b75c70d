"""Where long videos are cut, which frames are kept, and which clips are for validation."""

import itertools
from collections import Counter

import pytest

from cityguessr.base.errors import InputError
from cityguessr.compilation.cuts import cut
from cityguessr.compilation.settings import Settings
from cityguessr.compilation.splitting import draw_splits


@pytest.mark.parametrize("frames", [800, 900, 1700, 7200, 7201, 18_000, 36_123])
def test_kept_frames_are_8_or_9_apart_within_clips_and_across_their_borders(frames: int) -> None:
    clips, left = cut(0, frames, "walk.mp4", Settings())
    kept = [number for clip in clips for number in clip.kept(100)]
    assert len(kept) == 100 * len(clips)
    assert {b - a for a, b in itertools.pairwise(kept)} <= {8, 9}
    assert all(800 <= clip.frames <= 900 for clip in clips)
    assert sum(clip.frames for clip in clips) + left == frames
    assert left < 800


@pytest.mark.parametrize("frames", range(7200, 20_000, 613))
def test_nothing_of_a_video_of_four_minutes_or_more_is_left_over(frames: int) -> None:
    assert cut(0, frames, "walk.mp4", Settings())[1] == 0


def test_a_stretch_begins_where_it_is_told_and_a_short_one_gives_no_clip() -> None:
    clips, left = cut(500, 2300, "walk.mp4", Settings())
    assert (clips[0].first, clips[-1].first + clips[-1].frames, left) == (500, 2300, 0)
    assert cut(500, 1299, "walk.mp4", Settings()) == ([], 799)


def test_cuts_depend_on_the_seed_and_the_video_alone() -> None:
    assert cut(0, 18_000, "a.mp4", Settings()) == cut(0, 18_000, "a.mp4", Settings())
    assert cut(0, 18_000, "a.mp4", Settings()) != cut(0, 18_000, "b.mp4", Settings())
    assert cut(0, 18_000, "a.mp4", Settings()) != cut(0, 18_000, "a.mp4", Settings(seed=1))


def test_a_fifth_of_the_clips_of_every_city_is_for_validation() -> None:
    cities = ["Lyon"] * 50 + ["Paris"] * 10 + ["Rome"] * 2 + ["Oslo"]
    splits = draw_splits(cities, ["v"] * 63, [""] * 63, Settings())
    held_out = Counter(city for city, split in zip(cities, splits, strict=True) if split == "val")
    assert held_out == {"Lyon": 10, "Paris": 2, "Rome": 1}


def test_a_split_by_video_holds_out_whole_videos() -> None:
    videos = [f"lyon_{i // 5}" for i in range(50)] + ["paris"] * 5
    splits = draw_splits(["Lyon"] * 50 + ["Paris"] * 5, videos, [""] * 55, Settings(split="video"))
    sides = {(video, split) for video, split in zip(videos, splits, strict=True)}
    assert len(sides) == 11  # every video on one side
    assert splits[:50].count("val") == 10
    assert splits[50:] == ["train"] * 5  # the only video of its city


def test_a_split_that_the_table_gives_stays() -> None:
    splits = draw_splits(["Lyon"] * 6, ["v"] * 6, ["val", "", "", "", "", ""], Settings())
    assert splits[0] == "val"
    assert splits[1:].count("val") == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"clip_frames": (900, 800)}, {"clip_frames": (0, 10)}, {"kept": 801}, {"kept": 0}, {"val_share": 1.0},
        {"split": "city"}, {"tree": "mine"}, {"height": 4}, {"quality": 0}, {"blank_share": 0.0},
        {"blank_share": float("nan")},
    ],
    ids=str,
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        Settings(**wrong)
