"""The noise floor of the calibration error: what chance alone shows of a system that is calibrated."""

import pytest
import torch

from cityguessr.base.errors import InputError
from cityguessr.evaluation.calibration import noise_floor, reliability
from cityguessr.measures.metrics import calibration_error


def system(clips: int, sharper: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities of a system, and labels drawn from its probabilities before they were made sharper."""
    random = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(clips, 20, generator=random, dtype=torch.float64)
    labels = torch.multinomial(logits.softmax(1), 1, generator=random)[:, 0]
    return (sharper * logits).softmax(1), labels


def test_a_calibrated_system_lies_within_the_interval_about_as_often_as_it_says() -> None:
    inside = 0
    for world in range(40):
        probabilities, labels = system(300, 1.0, world)
        _, low, high = noise_floor(probabilities, draws=200, seed=world)
        inside += low <= calibration_error(probabilities, labels) <= high
    assert 34 <= inside <= 40


def test_a_system_that_is_too_sure_lies_above_it() -> None:
    probabilities, labels = system(300, 3.0, 0)
    assert calibration_error(probabilities, labels) > 2 * noise_floor(probabilities, draws=200)[2]


def test_the_floor_falls_as_one_over_the_root_of_the_clips() -> None:
    few, many = (noise_floor(system(clips, 1.0, 0)[0], draws=200)[0] for clips in (300, 4800))
    assert few / many == pytest.approx(4, rel=0.2)


def test_of_clips_that_are_certain_there_is_no_noise() -> None:
    assert noise_floor(torch.eye(5), draws=10) == (0, 0, 0)


def test_two_coins_by_hand() -> None:
    """Of two clips of 50 %, both or none are right in half the draws, an error of 50; else one is, an error of 0."""
    mean, low, high = noise_floor(torch.full((2, 2), 0.5), draws=4000)
    assert (low, high) == (0, 50)
    assert mean == pytest.approx(25, abs=2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.rand(4), 10), r"probabilities \(N, n\), N at least 1; got \(4,\)"),
        ((torch.rand(0, 3), 10), "N at least 1"),
        ((torch.rand(4, 3), 0), "at least 1 draw"),
        ((torch.randn(4, 3) * 9, 1), "apply a softmax"),
        ((torch.full((4, 3), torch.nan), 1), "apply a softmax"),
    ],
)
def test_what_are_no_probabilities_is_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(InputError, match=message):
        noise_floor(*arguments)


def test_reliability_counts_what_the_calibration_error_sums() -> None:
    """The error is the mean gap of the bins, weighed by their clips."""
    generator = torch.Generator().manual_seed(0)
    shares = (3 * torch.randn(500, 6, generator=generator)).softmax(1)
    labels = torch.randint(0, 6, (500,), generator=generator)
    table = reliability(shares, labels, bins=15)
    assert table["clips"].sum() == 500
    gaps = (table["right"] - table["probability"]).abs()
    assert (gaps * table["clips"]).sum() / 500 == pytest.approx(calibration_error(shares, labels), rel=1e-6)


def test_two_bins_by_hand() -> None:
    shares = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.45, 0.35]])
    table = reliability(shares, torch.tensor([0, 1, 0]), bins=2)
    assert table["probability"].tolist() == pytest.approx([45, 85])
    assert table["right"].tolist() == [100, 50]
    assert table["clips"].tolist() == [1, 2]
