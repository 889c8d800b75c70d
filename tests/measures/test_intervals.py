"""How certain a difference is: intervals that cross seeds and videos, a list of claims, what could be detected."""

import math

import pytest
import torch
from scipy import stats

from cityguessr.base.errors import InputError
from cityguessr.measures.intervals import Interval, holm


def test_one_seed_is_the_interval_of_a_mean_of_videos() -> None:
    """1.96 standard errors of a proportion on each side, where each clip is its own video."""
    hits = torch.arange(2000) % 10 < 3
    found = Interval.over(hits, range(2000))
    error = 100 * math.sqrt(0.3 * 0.7 / 1999)
    assert found.error == pytest.approx(error)
    assert (found.low, found.high) == pytest.approx((30 - 1.961 * error, 30 + 1.961 * error), abs=1e-3)
    assert math.isnan(found.seed_sd)
    assert found.over_clips
    assert found.detectable == pytest.approx(2.8 * error, rel=2e-3)


def test_copies_of_a_clip_add_no_certainty() -> None:
    values = torch.rand(3, 60, generator=torch.Generator().manual_seed(3))
    once = Interval.over(values, range(60))
    copied = Interval.over(values.repeat_interleave(10, dim=1), [i // 10 for i in range(600)])
    assert copied.error == pytest.approx(once.error)
    assert copied.freedom == pytest.approx(once.freedom)
    assert not copied.over_clips


def test_seeds_that_differ_alike_on_every_clip_are_a_t_interval_of_the_seeds() -> None:
    """Videos say nothing then: 2.776 sd / sqrt(5), and a two-sided p of Student's t with 4 degrees."""
    gains = torch.tensor([0.01, 0.03, 0.02, 0.05, 0.04], dtype=torch.float64)
    found = Interval.over(gains[:, None].expand(5, 90), range(90))
    sd = 100 * gains.std().item()
    assert found.seed_sd == pytest.approx(sd)
    assert found.mean == pytest.approx(3)
    assert found.high - found.mean == pytest.approx(2.7764 * sd / math.sqrt(5), rel=1e-4)
    assert found.p == pytest.approx(2 * stats.t.sf(3 / (sd / math.sqrt(5)), 4))


def test_a_system_does_not_differ_from_itself_and_a_constant_gain_is_sure() -> None:
    same = Interval.over(torch.zeros(3, 30), range(30))
    assert (same.mean, same.low, same.high, same.p) == (0, 0, 0, 1)
    gain = Interval.over(torch.full((3, 30), 0.25), range(30))
    assert (gain.mean, gain.low, gain.high, gain.p) == (25, 25, 25, 0)
    dust = torch.full((2, 100), 0.3, dtype=torch.float64) - (0.1 + 0.2)
    assert Interval.over(dust, range(100)).p == 1


@pytest.mark.parametrize(("seeds", "sd"), [(3, 0.0), (3, 0.02), (5, 0.01), (5, 0.02)])
def test_intervals_cover_the_truth_about_as_often_as_they_say(seeds: int, sd: float) -> None:
    """Systems that differ on three clips of ten, by seeds and by videos, in smaller worlds than the docstring's."""
    generator = torch.Generator().manual_seed(seeds)
    covered, worlds, videos = 0, 300, 200
    for _ in range(worlds):
        mean = sd * torch.randn(seeds, 1, generator=generator) + 0.15 * torch.randn(1, videos, generator=generator)
        shares = torch.rand(2, seeds, videos, 2, generator=generator)
        differs = mean.abs().clamp_min(0.3)[..., None]
        up = shares[1] < 0.5 + mean[..., None] / (2 * differs)
        values = (shares[0] < differs) * (2.0 * up - 1)
        found = Interval.over(values.flatten(1), torch.arange(videos).repeat_interleave(2))
        covered += found.low <= 0 <= found.high
    assert 0.92 <= covered / worlds <= 0.99


def test_holms_thresholds_step_down() -> None:
    adjusted = holm([0.01, 0.04, math.nan, 0.03, 0.005])
    assert adjusted[:2] + adjusted[3:] == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert math.isnan(adjusted[2])
    assert holm([0.9, 0.8]) == [1, 1]


def test_one_video_gives_no_interval() -> None:
    found = Interval.over(torch.ones(2, 4), ["only"] * 4)
    assert found.mean == 100
    assert all(map(math.isnan, (found.low, found.high, found.p, found.detectable)))


def test_what_has_no_mean_is_refused() -> None:
    for values, videos, says in (
        (torch.ones(4), range(3), "one source video per clip"),
        (torch.ones(0), [], "not empty"),
        (torch.ones(4) * math.nan, range(4), "not finite numbers"),
    ):
        with pytest.raises(InputError, match=says):
            Interval.over(values, videos)
    with pytest.raises(InputError, match="confidence=100"):
        Interval.over(torch.ones(4), range(4), confidence=100)
