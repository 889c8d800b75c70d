"""What the scene and text heads answer beside the best constant."""

import math

import pytest
import torch
import torch.nn.functional as F

from cityguessr.training import auxiliary


def test_no_constant_answer_is_better_than_the_mean_label_of_the_training_clips() -> None:
    torch.manual_seed(0)
    labels = torch.distributions.Dirichlet(torch.full((16,), 0.3)).sample((500,))
    logits = labels.mean(dim=0).log()
    loss, constant, floor = auxiliary.scenes(logits.expand(500, -1), labels, labels)
    assert torch.allclose(loss, constant, atol=1e-5)
    for _ in range(20):
        other = auxiliary.scenes((logits + 0.3 * torch.randn(16)).expand(500, -1), labels, labels)[0]
        assert other.mean() > constant.mean()
    assert (floor <= loss + 1e-6).all()
    assert auxiliary.scenes(labels.log(), labels, labels)[0] == pytest.approx(floor, abs=1e-5)


def test_the_entropy_of_a_label_of_one_scene_is_zero_and_of_two_equal_ones_that_of_a_coin() -> None:
    labels = torch.zeros(2, 16)
    labels[0, 3] = 1
    labels[1, [2, 5]] = 0.5
    assert auxiliary.scenes(torch.zeros(2, 16), labels, labels)[2].tolist() == pytest.approx([0, math.log(2)])


def test_no_constant_vector_is_nearer_to_the_text_of_the_training_clips_than_the_mean_of_their_directions() -> None:
    torch.manual_seed(0)
    features, cities = torch.randn(7, 12) + 1, torch.randint(7, (400,))
    cosine, constant = auxiliary.texts(features[cities] * 3, cities, cities, features)
    assert cosine == pytest.approx(torch.ones(400), abs=1e-6)  # how long a vector is does not count
    best = F.normalize(features, dim=1)[cities].mean(dim=0)
    for _ in range(20):
        other = (best + 0.1 * torch.randn(12)).expand(400, -1)
        assert auxiliary.texts(other, cities, cities, features)[0].mean() < constant.mean()
