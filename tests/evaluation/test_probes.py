"""Probes of single cues: what they read, that they find what is there, and that they cannot find what is not."""

import pytest
import torch
from torch import Tensor

from cityguessr.base.errors import InputError
from cityguessr.evaluation import probes


def _clips(colours: Tensor, seed: int = 0) -> Tensor:
    """Noisy clips of 2 frames of 8 x 8 pixels around a colour in [0, 255] each: uint8 (N, 2, 3, 8, 8)."""
    noise = torch.randn(len(colours), 2, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    return (colours[:, None, :, None, None] + 12 * noise).clamp(0, 255).to(torch.uint8)


def test_cues_read_colours_where_they_are() -> None:
    clip = torch.zeros(1, 2, 3, 8, 8, dtype=torch.uint8)
    clip[:, :, 0, :4] = 255  # red above, black below
    assert probes.mean_colour(clip).tolist() == [[0.5, 0, 0]]
    assert probes.upper_colour(clip).tolist() == [[1, 0, 0]]
    assert probes.lower_colour(clip).tolist() == [[0, 0, 0]]
    assert probes.half_colours(clip).tolist() == [[1, 0, 0, 0, 0, 0]]
    assert probes.brightness(clip)[0].tolist() == pytest.approx([1 / 6, 1 / 6])
    histogram = probes.colour_histogram(clip)[0]
    assert histogram[0].item() == histogram[3 * 16].item() == 0.5
    assert histogram.sum().item() == 1


@pytest.mark.parametrize("cue", ["mean colour", "colour histogram"])
def test_a_probe_finds_cities_that_differ_in_colour_and_no_others(cue: str) -> None:
    labels = torch.arange(120) % 4
    told = torch.tensor([[40, 90, 90], [90, 40, 150], [160, 90, 40], [200, 200, 200]])[labels].float()
    grey = torch.full((120, 3), 120.0)
    fitted, asked = slice(0, 60), slice(60, 120)
    for colours, least, most in ((told, 95, 100), (grey, 5, 50)):  # four classes: a guess is right in 25 %
        clips = _clips(colours)
        right = probes.accuracy(probes.CUES[cue], clips[fitted], labels[fitted], clips[asked], labels[asked])
        assert least <= right <= most


def test_a_probe_answers_in_the_labels_it_was_given_and_each_time_the_same() -> None:
    labels = torch.tensor([7, 90, 7, 90])
    features = torch.tensor([[0.0, 1], [1, 0], [0.1, 1], [1, 0.1]])
    answers = [probes.linear_probe(features, labels, features) for _ in range(2)]
    assert answers[0].tolist() == answers[1].tolist() == labels.tolist()


@pytest.mark.parametrize(
    ("features", "labels", "others", "message"),
    [
        (torch.zeros(3, 2), torch.zeros(2, dtype=torch.int64), torch.zeros(1, 2), "features"),
        (torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64), torch.zeros(1, 2), "at least 1"),
        (torch.zeros(3, 2), torch.zeros(3, dtype=torch.int64), torch.zeros(1, 5), "fitted on 2 features"),
        (torch.full((3, 2), float("nan")), torch.zeros(3, dtype=torch.int64), torch.zeros(1, 2), "finite"),
    ],
)
def test_features_that_cannot_be_probed_are_refused(
    features: Tensor, labels: Tensor, others: Tensor, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        probes.linear_probe(features, labels, others)


@pytest.mark.parametrize("clips", [torch.zeros(2, 2, 3, 8, 8), torch.zeros(2, 3, 8, 8, dtype=torch.uint8)])
@pytest.mark.parametrize("cue", probes.CUES)
def test_pictures_of_another_kind_are_refused(cue: str, clips: Tensor) -> None:
    with pytest.raises(InputError, match="a probe reads uint8"):
        probes.CUES[cue](clips)
