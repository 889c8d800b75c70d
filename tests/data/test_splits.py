"""The split by source video."""

import numpy as np
import pytest

from cityguessr.base.errors import InputError
from cityguessr.data.splits import by_video

VIDEOS = [f"{city}_v{video}" for city in range(8) for video in range(2 + city) for _ in range(3)]
CITIES = [city for city in range(8) for video in range(2 + city) for _ in range(3)]


def test_no_video_is_in_both_halves_and_every_city_is() -> None:
    held_out = by_video(VIDEOS, CITIES)
    train = {v for v, h in zip(VIDEOS, held_out, strict=True) if not h}
    val = {v for v, h in zip(VIDEOS, held_out, strict=True) if h}
    assert not train & val
    for city in range(8):
        halves = held_out[np.array(CITIES) == city]
        assert halves.any()
        assert not halves.all()


def test_about_a_fifth_is_held_out() -> None:
    videos = [f"{city}_v{video}" for city in range(5) for video in range(20) for _ in range(4)]
    cities = [city for city in range(5) for video in range(20) for _ in range(4)]
    assert by_video(videos, cities).mean() == pytest.approx(0.2)


def test_the_split_does_not_depend_on_the_order_of_clips() -> None:
    order = np.random.default_rng(0).permutation(len(VIDEOS))
    there = by_video([VIDEOS[i] for i in order], [CITIES[i] for i in order])
    assert (by_video(VIDEOS, CITIES)[order] == there).all()


def test_a_source_that_does_not_know_its_videos_is_refused() -> None:
    with pytest.raises(InputError, match="use the split by clip"):
        by_video(["a", "b", "c", "d"], [0, 0, 1, 1])


def test_a_city_with_one_video_cannot_be_split() -> None:
    with pytest.raises(InputError, match="only the source video a"):
        by_video(["a", "a", "b", "b", "c"], [0, 0, 1, 1, 1])
