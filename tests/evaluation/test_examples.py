"""Examples: drawn by seed and name alone, and classes whose sizes are the accuracies of the tables."""

import dataclasses

import numpy as np
import pytest
import torch
from predicted import TREE, made
from torch import Tensor

from cityguessr import hierarchy
from cityguessr.base.errors import InputError
from cityguessr.evaluation import examples
from cityguessr.measures.sphere import great_circle_km
from cityguessr.taxonomy import LEVELS, Taxonomy
from cityguessr.training.predictions import Predictions


def labels_of(cities: Tensor, tree: Taxonomy = TREE) -> dict[str, Tensor]:
    return tree.chain(cities)


@pytest.fixture(scope="module")
def some() -> Predictions:
    return made(torch.randint(0, 166, (900,), generator=torch.Generator().manual_seed(5)))


def every_city(times: int = 5) -> tuple[dict[str, Tensor], list[str]]:
    cities = torch.arange(166).repeat(times)
    return labels_of(cities), [f"{TREE.folders[c]}_{n}" for n, c in enumerate(cities.tolist())]


def test_quartets_show_22_countries_and_24_cities() -> None:
    """Fig. 1: "sample frames of videos from 22 different countries"."""
    labels, ids = every_city()
    for seed in range(5):
        drawn = examples.quartets(labels, TREE, seed, ids)
        assert list(drawn) == ["Asia", "Africa", "Europe", "North America", "South America", "Oceania"]
        assert all(len(clips) == 4 for clips in drawn.values())
        every = [i for clips in drawn.values() for i in clips]
        assert len({int(labels["country"][i]) for i in every}) == 22
        assert len({int(labels["city"][i]) for i in every}) == 24
        for name, clips in drawn.items():
            assert {TREE.names["continent"][labels["continent"][i]] for i in clips} == {name}


def test_every_city_is_there_once_by_name_and_continent() -> None:
    """Fig. S3: Africa has 15 cities, Europe 43, North America 34, South America 7, Asia 61 and Oceania 6."""
    labels, ids = every_city()
    drawn = examples.one_per_city(labels, TREE, 1, ids)
    assert [(name, len(clips)) for name, clips in drawn.items()] == [
        ("Africa", 15),
        ("Europe", 43),
        ("North America", 34),
        ("South America", 7),
        ("Asia", 61),
        ("Oceania", 6),
    ]
    cities = [int(labels["city"][i]) for clips in drawn.values() for i in clips]
    assert sorted(cities) == list(range(166))
    names = [TREE.names["city"][labels["city"][i]] for i in drawn["Europe"]]
    assert names.index("Madrid") < names.index("Málaga") < names.index("Malmö") < names.index("Manchester")


def test_the_draw_is_the_seeds_and_not_the_order_of_the_clips() -> None:
    labels, ids = every_city()
    order = torch.randperm(len(ids), generator=torch.Generator().manual_seed(3))
    mixed, named = {level: values[order] for level, values in labels.items()}, [ids[i] for i in order.tolist()]
    for function in (examples.quartets, examples.one_per_city):
        once, again = function(labels, TREE, 7, ids), function(mixed, TREE, 7, named)
        assert {name: [ids[i] for i in clips] for name, clips in once.items()} == {
            name: [named[i] for i in clips] for name, clips in again.items()
        }
        assert once == function(labels, TREE, 7, ids)
        assert once != function(labels, TREE, 8, ids)
    mask = labels["continent"] == 0
    drawn = examples.draw(mask, 9, 2, cities=labels["city"], clip_ids=ids)
    turned = examples.draw(mask[order], 9, 2, cities=mixed["city"], clip_ids=named)
    assert [ids[i] for i in drawn] == [named[i] for i in turned]
    assert drawn != examples.draw(mask, 9, 3, cities=labels["city"], clip_ids=ids)


def test_a_continent_with_few_clips_gives_what_it_has() -> None:
    oslo, rome, lima = (TREE.city_id(name) for name in ("Stockholm", "Milan", "Lima"))
    labels = labels_of(torch.tensor([rome, rome, oslo, rome, lima]))
    drawn = examples.quartets(labels, TREE)
    assert list(drawn) == ["Europe", "South America"]
    assert sorted(drawn["Europe"]) == [0, 1, 2, 3]
    assert 2 in drawn["Europe"][:2]  # the other country comes before a second clip of the same city
    assert drawn["South America"] == [4]
    assert examples.quartets(labels_of(torch.tensor([], dtype=torch.int64)), TREE) == {}


def test_a_country_comes_twice_only_when_all_have_come() -> None:
    """Oceania: two countries, six cities."""
    names = ("Canberra", "Melbourne", "Brisbane", "Adelaide", "Auckland")
    labels = labels_of(torch.tensor([TREE.city_id(name) for name in names]).repeat(3))
    (clips,) = examples.quartets(labels, TREE, 4).values()
    countries = [int(labels["country"][i]) for i in clips]
    assert len(set(countries[:2])) == 2
    assert len({int(labels["city"][i]) for i in clips}) == 4


def test_another_tree_has_its_own_continents() -> None:
    small = TREE.subset(["Lyon", "Marseille", "Cairo"])
    renamed = Taxonomy(
        small.names | {"continent": ("Westland", "Eastland")}, small.parent, small.latlon, small.folders, small.iso2
    )
    labels = renamed.chain(torch.tensor([0, 1, 2, 2]))
    assert list(examples.quartets(labels, renamed)) == ["Eastland", "Westland"]
    assert sum(map(len, examples.one_per_city(labels, renamed).values())) == 3


def test_a_draw_takes_marked_clips_and_a_city_once_while_cities_last() -> None:
    cities = torch.tensor([0, 0, 0, 0, 1, 1, 2, 3])
    mask = torch.tensor([1, 1, 1, 1, 1, 1, 1, 0]).bool()
    for seed in range(8):
        drawn = examples.draw(mask, 5, seed, cities=cities)
        assert len(set(drawn)) == 5
        assert mask[drawn].all()
        assert set(cities[drawn[:3]].tolist()) == {0, 1, 2}
        assert sorted(cities[drawn[3:5]].tolist()) == [0, 1]
    assert sorted(examples.draw(mask, 100)) == [0, 1, 2, 3, 4, 5, 6]
    assert examples.draw(mask, 0) == []
    assert examples.draw(~mask[:7], 3) == []


def test_classes_of_examples_are_differences_of_the_tables_accuracies(some: Predictions) -> None:
    """Figs. S6 to S10: the class of a clip is the finest level at which its codependent answer is right."""
    for mode in ("codependent", "traced"):
        read = dataclasses.replace(some, mode=mode)
        finest = examples.finest_right(read)
        shares = 100 * torch.bincount(finest, minlength=5).double() / len(finest)
        accuracy = hierarchy.accuracy(some.logits, some.labels, TREE, mode)
        steps = np.diff([0, *(accuracy[level] for level in LEVELS), 100])
        np.testing.assert_allclose(shares.numpy(), steps, atol=1e-9)
        assert (shares > 0).all()  # every class is there, or the test would say little
        for level, name in enumerate(LEVELS):
            assert torch.equal(finest <= level, read.answers()[name] == some.labels[name])


def test_outcomes_are_the_top_1_and_top_5_of_the_tables(some: Predictions) -> None:
    """Fig. S1: right, right within five, wrong."""
    shares = 100 * torch.bincount(examples.outcomes(some), minlength=3).double() / len(some.clip_ids)
    first = hierarchy.accuracy(some.logits, some.labels, TREE)["city"]
    five = hierarchy.accuracy(some.logits, some.labels, TREE, k=5)["city"]
    np.testing.assert_allclose(shares.numpy(), [first, five - first, 100 - five], atol=1e-9)


def test_lists_are_eq_5_divided_by_its_sum(some: Predictions) -> None:
    which = [3, 800, 41]
    table = examples.likeliest(some, which)
    assert list(table["clip_id"]) == [some.clip_ids[i] for i in which for _ in range(5)]
    assert list(table["rank"]) == [1, 2, 3, 4, 5] * 3
    products = hierarchy.refine({level: x[which].double() for level, x in some.logits.items()}, TREE)["city"]
    shares = products / products.sum(dim=1, keepdim=True)
    np.testing.assert_allclose(table["probability"], shares.topk(5).values.flatten(), rtol=1e-5)
    whole = examples.likeliest(some, which, k=166)
    np.testing.assert_allclose(whole.groupby("clip_id")["probability"].sum(), 1)
    assert (whole.groupby("clip_id")["right"].sum() == 1).all()
    assert set(examples.likeliest(dataclasses.replace(some, mode="traced"), which)["rank"]) == {1, 2, 3, 4, 5}


def test_a_right_answer_is_marked_and_near(some: Predictions) -> None:
    table = examples.likeliest(some, range(len(some.clip_ids)))
    by_clip = table.groupby("clip_id", sort=False)
    assert (by_clip["right"].any() == (by_clip["outcome"].first() != "wrong")).all()
    assert (table["right"] == (table["city"] == table["answer"])).all()  # no two cities of the tree share a name
    assert (table.loc[table["right"], "km"] < 1e-6).all()  # these clips stand at their city's centre
    assert (table.loc[~table["right"], "km"] > 1).all()


def test_distances_go_to_where_the_clip_was_recorded() -> None:
    tokyo = TREE.city_id("Tokyo")
    predictions = made(torch.tensor([tokyo]))
    predictions.places[0] = torch.tensor([35.0, 139.0])
    table = examples.likeliest(predictions, [0])
    for row in table.itertuples():
        assert row.km == pytest.approx(float(great_circle_km([row.latitude, row.longitude], [35.0, 139.0])))


def test_unknown_places_have_no_distance() -> None:
    nowhere = Taxonomy(TREE.names, TREE.parent, TREE.latlon * float("nan"), TREE.folders, TREE.iso2)
    predictions = made(torch.tensor([4, 5]), nowhere)
    assert examples.likeliest(predictions, [0, 1])["km"].isna().all()
    assert examples.describe(predictions, [1])["km"].isna().all()


def test_a_description_holds_truth_answer_and_class(some: Predictions) -> None:
    which = list(range(0, 900, 50))
    table = examples.describe(some, which)
    finest = examples.finest_right(some)
    assert list(table["finest_right"]) == [examples.RIGHT[finest[i]] for i in which]
    for row in table.to_dict("records"):
        right = [level for level in LEVELS if row[level] == row[f"answer_{level}"]]
        assert [*right, "nowhere"][0] == row["finest_right"]
    np.testing.assert_allclose(table["probability"], examples.likeliest(some, which, 1)["probability"])
    none = examples.describe(some, [])
    assert len(none) == 0
    assert list(none.columns) == list(table.columns)


def test_bad_input_is_refused_in_one_sentence(some: Predictions) -> None:
    labels, ids = every_city(1)
    with pytest.raises(InputError, match="165 for 166 clips"):
        examples.quartets(labels, TREE, 0, ids[:-1])
    with pytest.raises(InputError, match="city ids run from 0 to 2; got 0 to 165"):
        examples.one_per_city(labels, TREE.subset(["Lyon", "Marseille", "Cairo"]))
    with pytest.raises(InputError, match="bool"):
        examples.draw(torch.ones(3), 2)
    with pytest.raises(InputError, match="-1"):
        examples.draw(torch.ones(3).bool(), -1)
    with pytest.raises(InputError, match="one city per clip"):
        examples.draw(torch.ones(3).bool(), 1, cities=torch.zeros(2))
    with pytest.raises(InputError, match="clips 0 to 899"):
        examples.likeliest(some, [900])
