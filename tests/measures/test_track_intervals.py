"""Intervals of the measures of tracks: what was drawn are sequences, not frames."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from cityguessr.base.errors import InputError
from cityguessr.measures import track_intervals
from cityguessr.measures.tracks import KM_PER_DEGREE, TrackScores, score_tracks


def scores(errors_km: Sequence[NDArray]) -> TrackScores:
    """Of tracks along the equator, some metres long, whose answers are so far north of each frame."""
    true = [np.stack([np.zeros(len(e)), np.arange(len(e)) / 1e6], axis=1) for e in errors_km]
    given = [t + np.stack([e / KM_PER_DEGREE, np.zeros(len(e))], axis=1) for t, e in zip(true, errors_km, strict=True)]
    return score_tracks(true, given)


def test_a_system_that_is_always_as_far_off_is_certain() -> None:
    found = track_intervals.intervals([scores([np.full(8, 0.7)] * 12)])
    assert found["frame_1km"] == pytest.approx((100, 100))
    assert found["frame_0.5km"] == pytest.approx((0, 0))
    for metric in ("frame_median_km", "video_median_km", "dfd", "dfd_median"):
        assert found[metric] == pytest.approx((0.7, 0.7), abs=1e-5)


def test_frames_of_one_sequence_count_as_one() -> None:
    generator = np.random.default_rng(1)
    right = generator.random(40) < 0.5
    alike = scores([np.full(10, 0.5 if hit else 30.0) for hit in right])
    apart = scores([np.array([0.5 if hit else 30.0]) for hit in np.repeat(right, 10)])
    assert alike.metrics["frame_1km"] == apart.metrics["frame_1km"]
    wide, narrow = (track_intervals.intervals([x])["frame_1km"] for x in (alike, apart))
    assert (wide[1] - wide[0]) / (narrow[1] - narrow[0]) == pytest.approx(10**0.5, rel=0.1)


def test_a_difference_is_paired_sequence_by_sequence() -> None:
    ours = scores([np.full(4, 0.5)] * 6 + [np.full(4, 30.0)] * 4)
    theirs = scores([np.full(4, 0.5)] * 5 + [np.full(4, 30.0)] * 5)
    found = track_intervals.difference([ours], [theirs], "frame_1km")
    assert found.mean == pytest.approx(10)
    assert found.low < 0 < found.high  # one sequence of ten is no proof
    assert track_intervals.difference([theirs], [ours], "video_25km").mean == pytest.approx(-10)
    km = track_intervals.difference([ours], [theirs], "dfd").mean
    assert km == pytest.approx(ours.metrics["dfd"] - theirs.metrics["dfd"])


def test_a_third_seed_of_another_training_widens_the_interval() -> None:
    good, bad = [np.full(4, 0.5)] * 20, [np.full(4, 30.0)] * 20
    half = scores(good[:10] + bad[:10])
    same = track_intervals.intervals([half] * 3)["frame_1km"]
    other = track_intervals.intervals([half, half, scores(good)])["frame_1km"]
    assert other[1] - other[0] > same[1] - same[0]


def test_the_interval_of_a_median_covers_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(track_intervals, "DRAWS", 200)
    generator, hits, trials = np.random.default_rng(2), 0, 150
    for _ in range(trials):  # the median of exp(N(0, 1) of the sequence + N(0, 1) of the frame) is 1
        errors = [np.exp(generator.normal() + generator.normal(size=5)) for _ in range(40)]
        low, high = track_intervals.intervals([scores(errors)])["frame_median_km"]
        hits += low <= 1 <= high
    assert 0.88 <= hits / trials <= 0.99


def test_what_cannot_be_compared_is_refused() -> None:
    one, other = scores([np.ones(3)] * 4), scores([np.ones(3)] * 5)
    with pytest.raises(InputError, match="other validation tracks"):
        track_intervals.difference([one], [other], "frame_1km")
    with pytest.raises(InputError, match="frame_median_km"):
        track_intervals.difference([one], [one], "frame_median_km")


def test_a_difference_of_medians_is_drawn_in_pairs() -> None:
    """Two systems whose errors differ by 2 km on every clip: each median is uncertain, their difference is not."""
    errors = np.random.default_rng(0).uniform(0, 1000, (2, 60))
    videos = np.arange(60)
    low, high = track_intervals.median(errors, videos)
    assert high - low > 50
    assert track_intervals.median(errors, videos, minus=errors + 2) == pytest.approx((-2, -2))
