"""Accuracy by city, confusions, and whether a region is favoured, on predictions made by hand."""

import dataclasses

import numpy as np
import pytest
import torch
from small_world import BRISTOL, LIMA, LONDON, LYON, TOKYO, TREE, made

from cityguessr.base.errors import InputError
from cityguessr.evaluation import confusions
from cityguessr.measures.sphere import great_circle_km
from cityguessr.taxonomy import LEVELS

# Three right, two of another city of the country, one of the continent, one of another continent.
TRUTHS = [LONDON, LONDON, TOKYO, LONDON, LONDON, BRISTOL, LIMA]
ANSWERS = [LONDON, LONDON, TOKYO, BRISTOL, BRISTOL, LYON, TOKYO]


def test_accuracy_by_city_counts_every_clip_once() -> None:
    frame = confusions.by_city(made(TRUTHS, ANSWERS))
    assert len(frame) == 166
    assert frame["clips"].sum() == len(TRUTHS)
    assert [frame[f"right_{level}"].sum() for level in LEVELS] == [3, 3, 5, 6]
    london = frame.loc[LONDON]
    assert (london["city"], london["country"], london["continent"]) == ("London", "England", "Europe")
    assert (london["clips"], london["right_city"], london["accuracy_city"]) == (4, 2, 50)
    assert london["accuracy_country"] == 100
    assert frame.loc[LYON, ["accuracy_city", "low_city", "high_city", "shrunken_city"]].isna().all()


def test_answers_are_codependent() -> None:
    """The country that counts is that of the answered city, whatever the country's own head says."""
    predictions = made([TOKYO], [TOKYO])
    predictions.logits["country"][0] = 0.0
    predictions.logits["country"][0, TREE.ancestors["country"][LIMA]] = 1.0
    assert predictions.right()["country"].item()


def test_a_released_system_is_read_as_its_code_reads_it() -> None:
    """Traced: the city that its own head finds likeliest, whatever the continents' head says against it."""
    predictions = made([TOKYO], [TOKYO])
    predictions.logits["continent"][0] = 99.0 * torch.eye(6)[int(TREE.ancestors["continent"][LIMA])]
    assert confusions.by_city(predictions)["right_city"].sum() == 0
    assert confusions.by_city(dataclasses.replace(predictions, mode="traced"))["right_city"].sum() == 1


def test_the_commonest_confusions_come_first() -> None:
    pairs = confusions.commonest(made(TRUTHS, ANSWERS))
    assert list(pairs.columns) == ["truth", "answer", "clips", "share", "km"]
    assert pairs["clips"].tolist() == [2, 1, 1]
    assert pairs["clips"].sum() == sum(t != a for t, a in zip(TRUTHS, ANSWERS, strict=True))
    first = pairs.iloc[0]
    assert (first["truth"], first["answer"], first["share"]) == (LONDON, BRISTOL, 50)
    assert first["km"] == pytest.approx(great_circle_km(TREE.latlon[LONDON], TREE.latlon[BRISTOL]))
    assert len(confusions.commonest(made(TRUTHS, ANSWERS), count=2)) == 2
    assert len(confusions.commonest(made(TRUTHS, ANSWERS), count=None)) == 3


def test_a_system_without_errors_has_no_confusions() -> None:
    pairs = confusions.commonest(made([LIMA, TOKYO], [LIMA, TOKYO]))
    assert len(pairs) == 0
    assert list(pairs.columns) == ["truth", "answer", "clips", "share", "km"]


def test_the_matrix_of_continents_adds_up() -> None:
    matrix = confusions.between(made(TRUTHS, ANSWERS))
    assert matrix.to_numpy().sum() == len(TRUTHS)
    assert matrix.loc["Europe", "Europe"] == 5
    assert matrix.loc["South America", "Asia"] == 1
    right = np.diag(matrix).sum() / len(TRUTHS)
    everything = confusions.by_class(made(TRUTHS, ANSWERS)).query("continent == 'all' and level == 'continent'")
    assert everything["accuracy"].item() == pytest.approx(100 * right)


def test_classes_pool_their_clips() -> None:
    frame = confusions.by_class(made(TRUTHS, ANSWERS), draws=200)
    assert list(dict.fromkeys(frame["continent"])) == ["Europe", "Asia", "South America", "all"]
    europe = frame[frame["continent"] == "Europe"].set_index("level")
    assert (europe["clips"] == 5).all()
    assert europe.loc["country", "accuracy"] == pytest.approx(80)
    assert (frame["low"].isna() | (frame["low"] <= frame["accuracy"])).all()
    assert frame[frame["continent"] == "Asia"]["low"].isna().all()  # one video says nothing of its spread


def test_one_clip_leaves_nearly_everything_open() -> None:
    low, high = confusions.wilson([0, 1, 0, 50], [1, 1, 0, 100])
    assert low[0] == pytest.approx(0, abs=1e-9)
    assert high[0] == pytest.approx(79.3, abs=0.1)
    assert (low[1], high[1]) == (pytest.approx(100 - high[0]), pytest.approx(100))
    assert np.isnan(low[2])
    assert np.isnan(high[2])
    assert (low[3], high[3]) == (pytest.approx(40.4, abs=0.1), pytest.approx(59.6, abs=0.1))


def test_shares_of_few_clips_are_drawn_to_the_middle() -> None:
    hits, clips = np.array([1, 0, 90, 10, 0]), np.array([1, 1, 100, 100, 0])
    shares, strength = confusions.shrink(hits, clips)
    mean = 100 * hits.sum() / clips.sum()
    assert strength < 20  # two large cities differ widely, so cities are taken to differ
    assert mean < shares[0] < 100
    assert 0 < shares[1] < mean
    assert shares[2] == pytest.approx(90, abs=3)
    assert np.isnan(shares[4])


def test_where_counts_cannot_tell_cities_apart_all_are_alike() -> None:
    shares, strength = confusions.shrink([1, 0, 0, 0], [1, 1, 1, 1])
    assert strength == pytest.approx(1e4)
    np.testing.assert_allclose(shares, 25, atol=0.1)
    np.testing.assert_allclose(confusions.shrink([2, 1], [2, 1])[0], 100)
    np.testing.assert_allclose(confusions.shrink([0, 0], [2, 1])[0], 0)


def test_overlap_is_whole_where_all_or_an_even_share_is_right() -> None:
    cities = list(range(40)) * 4
    whole = confusions.overlap(made(cities, cities), draws=5)
    np.testing.assert_allclose(whole[["accuracy", "overlap", "expected"]], 100, atol=1e-6)
    elsewhere = [c if i < 40 else (c + 1) % 40 for i, c in enumerate(cities)]  # one clip in four of each city
    even = confusions.overlap(made(cities, elsewhere), draws=20).set_index("level").loc["city"]
    assert even["accuracy"] == 25
    assert even["overlap"] == pytest.approx(100)
    assert even["expected"] < 95  # by chance some cities get more than their share


def test_a_favoured_region_shows_as_an_overlap_below_chance() -> None:
    asia = TREE.ancestors["continent"] == TREE.names["continent"].index("Asia")
    truths = list(range(166)) * 2
    answers = [c if asia[c] else LONDON if c != LONDON else LYON for c in truths]
    city = confusions.overlap(made(truths, answers), draws=50).set_index("level").loc["city"]
    assert city["overlap"] < city["low"] - 10
    lots = torch.rand(len(truths), generator=torch.Generator().manual_seed(0)) < 0.5
    fair = [c if right else (c + 1) % 166 for c, right in zip(truths, lots.tolist(), strict=True)]
    city = confusions.overlap(made(truths, fair), draws=50).set_index("level").loc["city"]
    assert city["low"] <= city["overlap"] <= 100


def test_clips_of_cities_without_coordinates_are_left_out_of_distances_and_maps() -> None:
    tree = TREE.subset(["London", "Lyon", "Tokyo"])
    tree.latlon[tree.city_id("Lyon")] = float("nan")
    lyon, london = tree.city_id("Lyon"), tree.city_id("London")
    predictions = made([lyon, london, london], [london, london, lyon], tree)
    assert confusions.commonest(predictions)["km"].isna().all()
    assert confusions.overlap(predictions, draws=3).set_index("level").loc["city", "accuracy"] == 50
    with pytest.raises(InputError, match="lat and lon"):
        confusions.overlap(made([lyon], [london], tree))


def test_no_clip_is_an_error() -> None:
    with pytest.raises(InputError, match="no clip"):
        confusions.by_city(made([], []))
    with pytest.raises(InputError, match="no level 'planet'"):
        confusions.by_class(made([LIMA], [LIMA]), "planet")
    with pytest.raises(InputError, match="at least one clip"):
        confusions.shrink([0], [0])
