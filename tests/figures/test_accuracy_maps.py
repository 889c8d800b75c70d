"""What the figures of right and wrong answers draw is what the data frames say."""

import socket
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from small_world import BRISTOL, LIMA, LONDON, TOKYO, TREE, made

from cityguessr import figures
from cityguessr.base.errors import InputError
from cityguessr.evaluation import confusions, examples
from cityguessr.figures import accuracy_maps, maps
from cityguessr.measures import metrics
from cityguessr.measures.sphere import great_circle_km
from cityguessr.taxonomy import LEVELS, Taxonomy

pytestmark = pytest.mark.usefixtures("fresh_style")

GENERATOR = np.random.default_rng(1)
TRUTHS = GENERATOR.integers(0, 166, 400).tolist()
ANSWERS = [t if i % 2 else int(a) for i, (t, a) in enumerate(zip(TRUTHS, GENERATOR.integers(0, 166, 400), strict=True))]
PREDICTIONS = made(TRUTHS, ANSWERS)


def everything(truths: list[int], answers: list[int], tree: Taxonomy = TREE) -> dict[str, Figure]:
    """All that the page of world maps draws."""
    predictions = made(truths, answers, tree)
    cities = confusions.by_city(predictions)
    places = metrics.clip_places(predictions.places, predictions.labels["city"], tree)
    km = metrics.distances_km(torch.tensor(answers), places, tree)
    finest = examples.finest_right(predictions)
    dealt = accuracy_maps.dealt_out(np.array(answers), places.numpy(), tree)
    return {
        "fig_s5": accuracy_maps.correct_predictions(cities),
        "cities": accuracy_maps.city_accuracy(cities, confusions.by_class(predictions, draws=50)),
        "arcs": accuracy_maps.confusion_arcs(confusions.commonest(predictions, None), tree),
        "distances": accuracy_maps.error_distances(km, finest, dealt),
    }


def test_the_page_needs_no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr("urllib.request.urlopen", refuse)
    for name, fig in everything(TRUTHS, ANSWERS).items():
        written = figures.save(fig, name, None, synthetic=True, folder=tmp_path)
        assert all(path.stat().st_size < 1_000_000 for path in written)
        sizes = [text.get_fontsize() for text in fig.findobj(mpl.text.Text) if text.get_text() and text.get_visible()]
        assert min(sizes) >= 7


def test_the_maps_of_fig_s5_share_one_scale_and_their_titles_are_the_accuracies() -> None:
    cities = confusions.by_city(PREDICTIONS)
    fig = accuracy_maps.correct_predictions(cities)
    world = [ax for ax in fig.axes if ax.images]
    assert len(world) == 5
    assert len({ax.images[0].norm.vmax for ax in world}) == 1
    assert world[0].get_title(loc="left") == "The data: 400 validation clips"
    shares = {level: 100 * int(PREDICTIONS.right()[level].sum()) / 400 for level in LEVELS}
    titles = [ax.get_title(loc="left") for ax in world[1:]]
    assert titles == [f"{level.capitalize()} right: {shares[level]:.1f} %" for level in reversed(LEVELS)]
    peaks = [float(ax.images[0].get_array().max()) for ax in world]
    assert peaks[0] == pytest.approx(world[0].images[0].norm.vmax, rel=1e-6)
    assert all(a >= b - 1e-12 for a, b in pairwise(peaks))  # fewer clips at each finer level


def test_a_dot_a_city_with_clips_and_an_interval_a_class_and_level() -> None:
    cities = confusions.by_city(PREDICTIONS)
    pooled = confusions.by_class(PREDICTIONS, draws=50)
    upper = accuracy_maps.city_accuracy(cities, pooled).axes[0]
    lower = next(ax for ax in upper.figure.axes if ax.get_xlabel().startswith("accuracy"))
    (dots,) = [c for c in upper.collections if c.get_gid() != "land"]
    drawn = cities[cities["clips"] > 0].sort_values("clips", ascending=False, kind="stable")
    np.testing.assert_allclose(dots.get_array(), drawn["shrunken_city"])
    slope, least = np.polyfit(drawn["clips"], dots.get_sizes(), 1)
    np.testing.assert_allclose(dots.get_sizes(), slope * drawn["clips"] + least)  # area, not width, is clips
    assert 0 < least < slope
    dark = [mpl.colors.to_hex(edge) == figures.TEXT for edge in dots.get_edgecolors()]
    assert dark == (drawn["clips"] >= accuracy_maps.FEW).tolist()
    points = {level: lower.lines[i].get_xdata() for i, level in enumerate(LEVELS)}
    for level in LEVELS:
        np.testing.assert_allclose(points[level], pooled[pooled["level"] == level]["accuracy"])


def test_arcs_end_at_the_answer() -> None:
    predictions = made([LONDON, LONDON, TOKYO], [LIMA, LIMA, BRISTOL])
    pairs = confusions.commonest(predictions, None)
    ax = accuracy_maps.confusion_arcs(pairs, TREE).axes[0]
    heads = [patch for patch in ax.patches if patch.get_gid() == "head"]
    assert len(heads) == 1  # the pair of one clip is not among the coloured
    assert mpl.colors.to_hex(heads[0].get_facecolor()) == figures.CONTINENT_COLOURS["Europe"].lower()
    end = heads[0]._posA_posB[1]
    np.testing.assert_allclose(end, maps.project(TREE.latlon[[LIMA]].numpy())[0], rtol=1e-6)
    assert "2 wrong answers" in " ".join(text.get_text() for text in ax.get_legend().get_texts())
    assert ax.get_title(loc="left") == "Where 3 wrong answers go, in colour the commonest confusion"


def test_arcs_there_and_back_stay_apart() -> None:
    there, back = (
        maps.arcs(TREE.latlon[[a]], TREE.latlon[[b]], 0.06)[0][0] for a, b in ((LONDON, LIMA), (LIMA, LONDON))
    )
    np.testing.assert_allclose(there[[0, -1]], back[[-1, 0]], atol=1)
    straight = maps.arcs(TREE.latlon[[LONDON]], TREE.latlon[[LIMA]])[0][0]
    assert np.hypot(*(there[32] - back[32])) > np.hypot(*(there[32] - straight[32])) > 1e5
    forward, aside = straight[33] - straight[31], there[32] - straight[32]
    assert forward[0] * aside[1] - forward[1] * aside[0] < 0  # to the right of the direction


def test_the_histogram_of_distances_holds_every_known_clip() -> None:
    km = np.array([0.0, 0.4, 3.0, 900.0, 20_015.0, np.nan])
    table = accuracy_maps.distance_table(km, [0, 0, 0, 3, 4, 4])
    assert table[list(accuracy_maps.FINEST)].to_numpy().sum() == 5
    assert (table["city"].sum(), table["continent"].sum(), table["nowhere"].sum()) == (3, 1, 1)
    assert (table["to_km"] > table["from_km"]).all()
    assert table["city"].iloc[0] == 2  # at the centre of the city, as in a data set without tracks


def test_dealing_answers_out_counts_every_answer_with_every_clip() -> None:
    answers, places = np.array([LONDON, LIMA, LIMA]), TREE.latlon[[TOKYO, LONDON]].numpy()
    dealt = accuracy_maps.dealt_out(answers, np.concatenate([places, [[np.nan, np.nan]]]), TREE)
    pairs = great_circle_km(TREE.latlon[answers].numpy()[:, None], places[None])
    for limit, share in zip(dealt["km"], dealt["share"], strict=True):
        assert share == pytest.approx((pairs <= limit).mean())
    assert dealt["share"][-1] == 1


@pytest.mark.parametrize("right", [True, False])
def test_one_clip_draws_all_figures(right: bool) -> None:
    for fig in everything([LONDON], [LONDON if right else LIMA]).values():
        fig.canvas.draw()


def test_another_tree_with_long_names_and_a_city_without_coordinates() -> None:
    tree = TREE.subset(["London", "Lima", "Tokyo", "Bristol"])
    long = "Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch"
    names = tree.names | {
        "city": (long, *tree.names["city"][1:]),
        "continent": ("Pangaea", *tree.names["continent"][1:]),
    }
    latlon = tree.latlon.clone()
    latlon[3] = float("nan")
    tree = Taxonomy(names, tree.parent, latlon, tree.folders, tree.iso2)
    for fig in everything([0, 0, 1, 2, 3, 3], [1, 1, 2, 2, 0, 3], tree).values():
        fig.canvas.draw()


def test_the_picture_of_the_overlap_shows_which_levels_lie_below_chance() -> None:
    overlap = confusions.overlap(PREDICTIONS, draws=20)
    overlap["overlap"] = overlap["low"] - [1, 1, -1, -1]
    fig = accuracy_maps.overlap_by_chance(overlap)
    (ax,) = fig.axes
    assert "at 2 of 4 levels" in ax.get_title(loc="left")
    assert [label.get_text() for label in ax.get_yticklabels()] == list(reversed(LEVELS))
    dots = [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "o"]
    assert dots == pytest.approx(overlap["overlap"].to_numpy()[::-1])


def test_colours_of_accuracies_end_at_the_next_multiple_of_twenty() -> None:
    assert [accuracy_maps.top_of_scale(shares) for shares in ([56.1, np.nan], [60.0], [88.4], [100.0], [0.0])] == [
        60, 60, 100, 100, 20,
    ]  # fmt: skip


def test_what_cannot_be_drawn_is_named() -> None:
    cities = confusions.by_city(PREDICTIONS)
    with pytest.raises(InputError, match="both clips and coordinates"):
        accuracy_maps.correct_predictions(cities.assign(latitude=np.nan))
    with pytest.raises(InputError, match="one known at least"):
        accuracy_maps.error_distances([np.nan], [4], {})
    with pytest.raises(InputError, match="3 colours for 2 paths"):
        maps.paths(maps.world(), [[0, 0]] * 2, [[1, 1]] * 2, colour=["k"] * 3)
