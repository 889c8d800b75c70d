"""Hierarchical evaluation: Eq. 5, the modes of Table 4 and of the released code, and their speed against a loop."""

import itertools
import math

import pytest
import torch

from cityguessr import hierarchy
from cityguessr.base.errors import InputError
from cityguessr.taxonomy import LEVELS, Taxonomy

VALIDATION_CLIPS = 13_655  # section 5.1


@pytest.fixture(scope="module")
def four_cities(taxonomy: Taxonomy) -> Taxonomy:
    """A tree small enough to print: Texas holds Austin and Dallas, Florida Miami, and England London."""
    return taxonomy.subset(["Austin", "Dallas", "London", "Miami"])


def random_logits(taxonomy: Taxonomy, clips: int, seed: int = 0, scale: float = 3.0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {level: scale * torch.randn(clips, n, generator=generator) for level, n in taxonomy.sizes.items()}


def log(*probabilities: float) -> torch.Tensor:
    return torch.tensor([probabilities]).log()


def test_eq5_by_hand(four_cities: Taxonomy) -> None:
    assert four_cities.sizes == {"city": 4, "state": 3, "country": 2, "continent": 2}
    logits = {
        "city": log(0.4, 0.1, 0.3, 0.2),  # Austin, Dallas, London, Miami
        "state": log(0.2, 0.3, 0.5),  # Texas, Greater London, Florida
        "country": log(0.6, 0.4),  # United States, England
        "continent": log(0.7, 0.3),  # North America, Europe
    }
    refined = hierarchy.refine(logits, four_cities)
    expected = {
        "continent": [0.7, 0.3],
        "country": [0.6 * 0.7, 0.4 * 0.3],
        "state": [0.2 * 0.6 * 0.7, 0.3 * 0.4 * 0.3, 0.5 * 0.6 * 0.7],
        "city": [0.4 * 0.2 * 0.6 * 0.7, 0.1 * 0.2 * 0.6 * 0.7, 0.3 * 0.3 * 0.4 * 0.3, 0.2 * 0.5 * 0.6 * 0.7],
    }
    for level in LEVELS:
        assert refined[level][0].tolist() == pytest.approx(expected[level], abs=1e-6)
    # Alone, Austin is the likeliest city; once its state is doubted, Miami is, and Florida follows from it.
    assert hierarchy.predict(logits, four_cities, "none")["city"].item() == 0
    codependent = hierarchy.predict(logits, four_cities, "codependent")
    assert {level: codependent[level].item() for level in LEVELS} == {
        "city": 3,
        "state": 2,
        "country": 0,
        "continent": 0,
    }
    # The released code leaves the products out: it traces the likeliest city as it is.
    assert hierarchy.predict(logits, four_cities, "traced")["city"].item() == 0


def test_a_codependent_prediction_is_always_a_path_in_the_tree(taxonomy: Taxonomy) -> None:
    logits = random_logits(taxonomy, 500)
    for mode in ("codependent", "traced"):
        predicted = hierarchy.predict(logits, taxonomy, mode)
        for below, level in itertools.pairwise(LEVELS):
            assert torch.equal(taxonomy.parent[below][predicted[below]], predicted[level])
        assert hierarchy.conflict_rate(logits, taxonomy, mode) == 0
    assert hierarchy.conflict_rate(logits, taxonomy, "none") > 50  # random heads hardly ever agree


def test_conflicts_are_the_clips_whose_answers_are_no_path(four_cities: Taxonomy) -> None:
    logits = {"city": log(0.4, 0.3, 0.2, 0.1), "country": log(0.6, 0.4), "continent": log(0.7, 0.3)}
    logits = {level: scores.repeat(2, 1) for level, scores in logits.items()}
    logits["state"] = torch.cat([log(0.8, 0.1, 0.1), log(0.1, 0.8, 0.1)])
    assert hierarchy.conflicts(logits, four_cities).tolist() == [False, True]  # Austin in Texas, and in Greater London
    assert hierarchy.conflict_rate(logits, four_cities) == 50


def test_probabilities_are_what_a_mode_ranks_by(taxonomy: Taxonomy) -> None:
    """Eq. 5 divided by its sum, or the softmax alone; the likeliest city is the answer."""
    logits = random_logits(taxonomy, 40)
    refined = hierarchy.refine(logits, taxonomy)
    for mode in hierarchy.MODES:
        shares = hierarchy.probabilities(logits, taxonomy, mode, torch.float64)
        answers = hierarchy.predict(logits, taxonomy, mode)
        assert torch.equal(shares["city"].argmax(dim=1), answers["city"])
        multiplied = mode in ("independent", "codependent")
        for level in LEVELS:
            wanted = refined[level] if multiplied else logits[level].softmax(dim=1)
            torch.testing.assert_close(shares[level].float(), wanted / wanted.sum(dim=1, keepdim=True))


def test_products_change_nothing_at_the_continents(taxonomy: Taxonomy) -> None:
    logits = random_logits(taxonomy, 300)
    labels = taxonomy.chain(torch.arange(300) % 166)
    none, independent = (hierarchy.accuracy(logits, labels, taxonomy, mode) for mode in ("none", "independent"))
    assert none["continent"] == independent["continent"]
    assert none["city"] != independent["city"]


def test_city_of_independent_and_codependent_is_the_same(taxonomy: Taxonomy) -> None:
    """Table 4 prints 69.6 for both: the modes part only above the cities."""
    logits = random_logits(taxonomy, 300)
    predicted = {mode: hierarchy.predict(logits, taxonomy, mode) for mode in ("independent", "codependent")}
    assert torch.equal(predicted["independent"]["city"], predicted["codependent"]["city"])


def test_path_scores_rank_as_the_products_do(taxonomy: Taxonomy) -> None:
    logits = {level: scores.double() for level, scores in random_logits(taxonomy, 200).items()}
    refined, scores = hierarchy.refine(logits, taxonomy), hierarchy.path_scores(logits, taxonomy)
    for level in LEVELS:
        assert torch.equal(refined[level].argsort(dim=1), scores[level].argsort(dim=1))


def test_top5_of_five_traced_cities_and_of_five_own_classes(four_cities: Taxonomy) -> None:
    logits = {"city": log(0.4, 0.3, 0.2, 0.1), "state": log(0.05, 0.15, 0.8), "country": log(0.6, 0.4)}
    logits["continent"] = log(0.5, 0.5)
    labels = four_cities.chain(torch.tensor([2]))  # London
    own = hierarchy.accuracy(logits, labels, four_cities, "none", k=2)
    assert own == {"city": 0, "state": 100, "country": 100, "continent": 100}
    traced = hierarchy.top_k(logits, four_cities, 2, "traced")
    assert traced["state"].tolist() == [[0, 0]]  # Austin and Dallas share Texas
    assert hierarchy.accuracy(logits, labels, four_cities, "traced", k=2)["state"] == 0


def test_eq5_can_be_trained_through(taxonomy: Taxonomy) -> None:
    logits = {level: scores.requires_grad_() for level, scores in random_logits(taxonomy, 3).items()}
    hierarchy.refine(logits, taxonomy)["city"][:, 0].sum().backward()
    assert all(logits[level].grad.abs().sum() > 0 for level in LEVELS)


def test_every_label_is_in_the_top_k_of_all_classes(taxonomy: Taxonomy) -> None:
    logits = random_logits(taxonomy, 50)
    labels = taxonomy.chain(torch.arange(50))
    for mode in hierarchy.MODES:
        assert hierarchy.accuracy(logits, labels, taxonomy, mode, k=166) == dict.fromkeys(LEVELS, 100.0)


def by_loop(
    logits: dict[str, torch.Tensor], labels: dict[str, torch.Tensor], taxonomy: Taxonomy
) -> tuple[list[dict[str, dict[str, float]]], dict[str, float]]:
    """Eq. 5 and codependent accuracy as one writes them first: clip by clip, from name to probability."""
    names = {level: [f"{level} {i}" for i in range(n)] for level, n in taxonomy.sizes.items()}
    up = {
        names[below][i]: names[level][int(p)]
        for below, level in itertools.pairwise(LEVELS)
        for i, p in enumerate(taxonomy.parent[below])
    }
    values = {level: logits[level].tolist() for level in LEVELS}
    truth = {level: labels[level].tolist() for level in LEVELS}
    refined, right = [], dict.fromkeys(LEVELS, 0)
    for clip in range(len(values["city"])):
        p = {}
        for level in LEVELS:
            exponentials = {name: math.exp(v) for name, v in zip(names[level], values[level][clip], strict=True)}
            total = sum(exponentials.values())
            p[level] = {name: e / total for name, e in exponentials.items()}
        for below, level in reversed(list(itertools.pairwise(LEVELS))):
            p[below] = {name: value * p[level][up[name]] for name, value in p[below].items()}
        refined.append(p)
        guess = max(p["city"], key=p["city"].get)
        for level in LEVELS:
            right[level] += guess == names[level][truth[level][clip]]
            guess = up.get(guess)
    return refined, {level: 100 * n / len(refined) for level, n in right.items()}


def validation_split(taxonomy: Taxonomy) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Logits and labels of as many clips as the paper validates on."""
    cities = torch.randint(166, (VALIDATION_CLIPS,), generator=torch.Generator().manual_seed(1))
    return random_logits(taxonomy, VALIDATION_CLIPS), taxonomy.chain(cities)


def test_equal_to_a_loop_over_dictionaries(taxonomy: Taxonomy) -> None:
    logits, labels = validation_split(taxonomy)
    refined, accuracy = hierarchy.refine(logits, taxonomy), hierarchy.accuracy(logits, labels, taxonomy, "codependent")
    loop_refined, loop_accuracy = by_loop(logits, labels, taxonomy)
    assert accuracy == pytest.approx(loop_accuracy, abs=1e-6)
    for level in LEVELS:
        loop = torch.tensor([list(p[level].values()) for p in loop_refined], dtype=torch.float64)
        assert (refined[level].double() - loop).abs().max() < 1e-6


def test_unknown_mode_and_wrong_width_are_refused(taxonomy: Taxonomy, four_cities: Taxonomy) -> None:
    logits = random_logits(four_cities, 2)
    labels = four_cities.chain(torch.tensor([0, 1]))
    with pytest.raises(InputError, match="no evaluation mode 'dependent'; it is one of none, independent"):
        hierarchy.accuracy(logits, labels, four_cities, "dependent")
    with pytest.raises(InputError, match="city logits have 4 classes, the taxonomy has 166"):
        hierarchy.accuracy(logits, labels, taxonomy)
