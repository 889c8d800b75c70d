"""Beyond the paper: calibration, error in km and bootstrap intervals, against answers known beforehand."""

import math

import pytest
import torch

from cityguessr.base.errors import InputError
from cityguessr.measures import metrics
from cityguessr.taxonomy import Taxonomy


def sure(*probabilities: float) -> torch.Tensor:
    """Two classes, class 0 with these probabilities."""
    p = torch.tensor(probabilities, dtype=torch.float64)
    return torch.stack([p, 1 - p], dim=1)


def test_calibration_of_a_coin_and_of_a_liar() -> None:
    half = torch.full((100, 2), 0.5)
    assert metrics.calibration_error(half, torch.arange(100) % 2) == pytest.approx(0)
    certain = torch.eye(2)[torch.zeros(10, dtype=torch.long)]
    assert metrics.calibration_error(certain, torch.zeros(10, dtype=torch.long)) == 0
    assert metrics.calibration_error(certain, torch.ones(10, dtype=torch.long)) == 100


def test_calibration_by_hand() -> None:
    """Bins of a tenth: (0.6, 0.7] holds 0.62 (right) and 0.68 (wrong), (0.9, 1] holds 0.95 (right) twice."""
    labels = torch.tensor([0, 1, 0, 0])
    expected = 100 * (2 / 4 * abs(0.5 - 0.65) + 2 / 4 * abs(1 - 0.95))
    assert metrics.calibration_error(sure(0.62, 0.68, 0.95, 0.95), labels, bins=10) == pytest.approx(expected)
    # One bin compares the accuracy with the mean probability.
    assert metrics.calibration_error(sure(0.62, 0.68, 0.95, 0.95), labels, bins=1) == pytest.approx(5)


def test_errors_cancel_inside_a_bin_and_not_between_bins() -> None:
    labels = torch.tensor([0, 1])
    assert metrics.calibration_error(sure(0.5625, 0.9375), labels, bins=1) == pytest.approx(25)
    assert metrics.calibration_error(sure(0.5625, 0.9375), labels, bins=2) == pytest.approx(25)
    assert metrics.calibration_error(sure(0.5625, 0.9375), labels) == pytest.approx(50 * (0.4375 + 0.9375))


def test_logits_are_no_probabilities() -> None:
    with pytest.raises(InputError, match="apply a softmax"):
        metrics.calibration_error(torch.tensor([[3.0, -1.0]]), torch.tensor([0]))
    with pytest.raises(InputError, match="N at least 1"):
        metrics.calibration_error(torch.zeros(0, 2), torch.zeros(0))


def test_distance_of_known_cities(taxonomy: Taxonomy) -> None:
    london, dublin = taxonomy.city_id("London"), taxonomy.city_id("Dublin")
    places = metrics.clip_places(None, torch.tensor([london, london]), taxonomy)
    distances = metrics.distances_km(torch.tensor([london, dublin]), places, taxonomy)
    assert distances[0] == 0
    assert distances[1] == pytest.approx(464, abs=4)


def test_a_clip_stands_where_its_gps_says_or_else_at_the_centre_of_its_city(taxonomy: Taxonomy) -> None:
    labels = torch.tensor([0, 1, 2])
    gps = torch.tensor([[10.0, 20.0], [math.nan, math.nan], [5.0, math.nan]])
    places = metrics.clip_places(gps, labels, taxonomy)
    assert places[0].tolist() == [10, 20]
    assert torch.equal(places[1:], taxonomy.latlon[1:3])
    with pytest.raises(InputError, match=r"\(N, 2\)"):
        metrics.clip_places(gps[:2], labels, taxonomy)
    with pytest.raises(InputError, match=r"\(N, 2\)"):
        metrics.distances_km(labels, places[:2], taxonomy)


def test_summary_of_distances() -> None:
    summary = metrics.distance_summary(torch.tensor([0.0, 25.0, 150.0, 700.0, 9000.0, math.nan]))
    assert summary == {
        "median_km": 150,
        "within_25km": 40,
        "within_200km": 60,
        "within_750km": 80,
        "within_2500km": 80,
    }
    assert metrics.distance_summary(torch.tensor([math.nan])) == {}


def videos(clips: int, each: int) -> list[str]:
    return [f"video {i // each}" for i in range(clips)]


def test_a_system_does_not_differ_from_itself() -> None:
    hits = torch.rand(300, generator=torch.Generator().manual_seed(0)) < 0.4
    assert metrics.paired_bootstrap(hits, hits, videos(300, 3)) == (0, 0, 0)


def test_a_constant_gain_is_that_gain_in_every_draw() -> None:
    hits = torch.rand(3, 300, generator=torch.Generator().manual_seed(0)).round() / 2
    assert metrics.paired_bootstrap(hits + 0.25, hits, videos(300, 7)) == (25, 25, 25)
    assert metrics.paired_bootstrap(torch.ones(10), torch.zeros(10), range(10)) == (100, 100, 100)


def test_seeds_are_averaged_clip_by_clip() -> None:
    a = torch.tensor([[1, 0, 1, 1], [1, 0, 0, 0]])
    b = torch.tensor([0, 1, 0, 1])
    seeds = metrics.paired_bootstrap(a, b, range(4))
    assert seeds == metrics.paired_bootstrap(torch.tensor([1, 0, 0.5, 0.5]), b, range(4))
    assert seeds[0] == 0
    mean, low, high = metrics.bootstrap(a, range(4))
    assert mean == 50
    assert 0 <= low < 50 < high <= 100


def test_the_interval_of_independent_clips_is_the_textbooks() -> None:
    """1.96 standard errors of a proportion on each side, where each clip is its own video."""
    hits = torch.arange(2000) % 10 < 3
    mean, low, high = metrics.bootstrap(hits, range(2000), draws=4000)
    error = 100 * math.sqrt(0.3 * 0.7 / 2000)
    assert mean == pytest.approx(30)
    assert low == pytest.approx(30 - 1.96 * error, abs=0.15)
    assert high == pytest.approx(30 + 1.96 * error, abs=0.15)


def test_less_confidence_is_a_narrower_interval() -> None:
    hits = torch.arange(300) % 10 < 3
    (_, low, high), (_, low_half, high_half) = (metrics.bootstrap(hits, range(300), confidence=c) for c in (95, 50))
    assert low < low_half < 30 < high_half < high
    with pytest.raises(InputError, match="confidence=100"):
        metrics.bootstrap(hits, range(300), confidence=100)


def test_copies_of_a_clip_add_no_certainty() -> None:
    """Ten clips of each video that are right or wrong together: the interval is that of the videos."""
    hits = torch.rand(60, generator=torch.Generator().manual_seed(3)) < 0.5
    once = metrics.bootstrap(hits, range(60))
    copied = hits.repeat_interleave(10)
    assert metrics.bootstrap(copied, videos(600, 10))[1:] == pytest.approx(once[1:], abs=2)
    alone = metrics.bootstrap(copied, range(600))
    clustered = metrics.bootstrap(copied, videos(600, 10))
    assert clustered[2] - clustered[1] > 2.5 * (alone[2] - alone[1])  # sqrt(10) = 3.2


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    """Clustered worlds whose true difference is known: both systems share a difficulty of each video."""
    generator = torch.Generator().manual_seed(0)
    worlds, count, each, gain = 300, 80, 5, 0.08
    groups, covered = videos(count * each, each), 0
    for world in range(worlds):
        easy = torch.rand(count, generator=generator) * 0.75 + 0.05  # with the gain still a probability
        p = easy.repeat_interleave(each)
        video_gain = 2 * gain * torch.rand(count, generator=generator).repeat_interleave(each)
        b = torch.rand(count * each, generator=generator) < p
        a = torch.rand(count * each, generator=generator) < p + video_gain
        _, low, high = metrics.paired_bootstrap(a, b, groups, draws=400, seed=world)
        covered += low <= 100 * gain <= high
    assert 0.91 <= covered / worlds <= 0.985


def test_one_video_gives_no_interval() -> None:
    difference, low, high = metrics.paired_bootstrap(torch.ones(4), torch.zeros(4), ["only"] * 4)
    assert difference == 100
    assert math.isnan(low)
    assert math.isnan(high)


def test_what_cannot_be_compared_is_refused() -> None:
    ones = torch.ones(4)
    for arguments, says in (
        ((ones, torch.ones(5), range(4)), "same clips; got 4 and 5"),
        ((ones, ones, range(3)), "one source video per clip"),
        ((torch.ones(0), torch.ones(0), []), "not empty"),
        ((ones * math.nan, ones, range(4)), "not finite numbers"),
    ):
        with pytest.raises(InputError, match=says):
            metrics.paired_bootstrap(*arguments)


def test_an_end_that_is_zero_but_for_rounding_does_not_exclude_zero() -> None:
    """A tenth and two tenths are not quite three tenths: the dust must not decide a claim."""
    a, b = torch.full((100,), 0.3, dtype=torch.float64), torch.full((100,), 0.1 + 0.2, dtype=torch.float64)
    assert not torch.equal(a, b)
    _, low, high = metrics.paired_bootstrap(a, b, list(range(100)))
    assert low == high == 0
