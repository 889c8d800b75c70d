"""Things to move: what they show is what the package computes, in widgets and on their pages alike."""

import html
import itertools
import json
import math
import random
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ipywidgets
import numpy as np
import pytest
import torch
from page_scripts import drawn, run
from pages import Reader, check_offline

from cityguessr import interactive, losses
from cityguessr.base.errors import InputError
from cityguessr.interactive import panels
from cityguessr.interactive.moving import Moving, Slider, read
from cityguessr.interactive.products import subtree
from cityguessr.model import SelfCrossAttention
from cityguessr.taxonomy import LEVELS, Taxonomy

FRAMES = np.random.default_rng(0).integers(0, 255, (24, 8, 12, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
MADE = {
    "products": interactive.products,
    "tilt": interactive.tilt,
    "tilt of 420 logits": lambda: interactive.tilt(torch.linspace(-9, 12, 420) ** 3 / 144, a=-0.1, b=0.3),
    "labels": interactive.scene_labels,
    "labels with frames": lambda: interactive.scene_labels(scenes(), FRAMES, torch.linspace(-2, 2, 16)),
}
EACH = pytest.mark.parametrize("name", MADE)


def scenes() -> torch.Tensor:
    """24 frames that belong to seven scenes."""
    return torch.nn.functional.one_hot(torch.tensor([14, 10, 10, 3, 15, 12, 8, 8, 11, 10, 14, 14] * 2), 16).float()


def preset(thing: Moving, name: str) -> Moving:
    thing.values |= next(one.values for one in thing.presets if one.name == name)
    return thing


def marks(thing: Moving) -> dict[str, list[str]]:
    """mode -> right or wrong at each level, as the first table says."""
    return {row["cells"][0]: row["marks"][1:5] for row in thing.view()[0]["rows"]}


# --- Eq. 5 ------------------------------------------------------------------------------------------------------------


def test_the_toy_tree_is_a_part_of_the_papers_tree() -> None:
    toy, paper = interactive.products().taxonomy, Taxonomy.cityguessr68k()
    assert list(toy.sizes.values()) == [6, 4, 3, 2]
    for city, name in enumerate(toy.names["city"]):
        assert toy.path(city) == paper.path(paper.city_id(name))


def test_a_product_has_four_factors() -> None:
    toy = preset(interactive.products(), "The country repairs the city")
    _, products, *bars = toy.view()
    for row in products["rows"]:
        factors = [float(factor) for factor in row["cells"][1].split(" × ")]
        assert len(factors) == 4
        assert float(row["cells"][2].split("\u00a0")[0]) == pytest.approx(100 * math.prod(factors), abs=0.3)
    for level in bars:  # a head's own probabilities add up to 1; those of Eq. 5 to at most 1
        assert sum(row["values"][0] for row in level["rows"]) == pytest.approx(1)
        assert sum(row["values"][1] for row in level["rows"]) <= 1 + 1e-9


def test_the_country_repairs_the_city() -> None:
    toy = marks(preset(interactive.products(), "The country repairs the city"))
    assert toy["none"] == ["wrong", "right", "right", "right"]
    assert toy["codependent"] == ["right"] * 4


def test_one_wrong_continent_drags_a_right_city_along() -> None:
    toy = marks(preset(interactive.products(), "One wrong continent drags a right city along"))
    assert toy["none"] == ["right", "right", "right", "wrong"]
    assert toy["codependent"] == ["wrong"] * 4


def test_only_the_codependent_answer_always_fits_together() -> None:
    toy = preset(interactive.products(), "The heads contradict each other")
    fits = {row["cells"][0]: row["cells"][5] for row in toy.view()[0]["rows"]}
    assert fits == {"none": "no", "independent": "no", "codependent": "yes"}


def test_heads_that_know_nothing_give_every_city_the_same_product() -> None:
    toy = preset(interactive.products(), "The heads know nothing")
    assert [row["values"][1] for row in toy.view()[2]["rows"]] == pytest.approx([1 / (6 * 4 * 3 * 2)] * 6)


# --- the tilt ---------------------------------------------------------------------------------------------------------


def test_the_curve_is_that_of_a_head_of_width_1() -> None:
    a, b, c = 0.3, -0.4, 0.8
    module = SelfCrossAttention(1, 1).double()
    one = torch.ones(1, 1, dtype=torch.float64)
    values = {"query": (a, b), "key": (c, 5.0), "value": (1.0, 0.0), "project": (1.0, 0.0)}
    with torch.no_grad():
        for name, (weight, bias) in values.items():
            getattr(module, name).weight.copy_(weight * one)
            getattr(module, name).bias.copy_(bias * one[0])
        module.attention.in_proj_weight.copy_(one.expand(3, 1))
        module.attention.out_proj.weight.copy_(one)
        module.attention.in_proj_bias.zero_()
        module.attention.out_proj.bias.zero_()
        attended, weights = module(torch.tensor([interactive.tilt().logits().tolist()], dtype=torch.float64))
    toy = interactive.tilt(a=a, b=b, c=c)
    torch.testing.assert_close(toy.means(toy.logits()), attended[0])
    dots = toy.view(token=4)[1]["series"][1]["points"]
    torch.testing.assert_close(torch.tensor([w for _, w in dots], dtype=torch.float64), weights[0, 0, 3])


def test_without_a_tilt_every_token_gets_the_plain_mean() -> None:
    toy = preset(interactive.tilt(), "No tilt")
    assert toy.means(toy.logits()).tolist() == pytest.approx([toy.logits().mean().item()] * 12)


def test_only_the_products_of_the_slopes_matter() -> None:
    one, other = interactive.tilt(a=0.5, b=0.2, c=1.0), interactive.tilt(a=-0.5, b=-0.2, c=-1.0)
    torch.testing.assert_close(one.means(one.logits()), other.means(other.logits()))


def test_a_large_tilt_finds_the_largest_logit() -> None:
    toy = preset(interactive.tilt(), "Every token looks at the largest")
    assert toy.view(top=9.0)[2]["series"][3]["points"][0][1] == pytest.approx(9.0, abs=0.01)


# --- scene labels -----------------------------------------------------------------------------------------------------


def cost(thing: Moving, **values: float) -> dict[str, list[float]]:
    """Label -> its cross-entropy, the lowest possible, and their difference."""
    return {row["cells"][0]: [float(x) for x in row["cells"][1:]] for row in thing.view(**values)[0]["rows"]}


def test_the_majority_label_jumps_and_the_soft_label_glides() -> None:
    walk = interactive.scene_labels()
    ends = [walk.values | {"end": end, "sampled": end} for end in range(1, 25)]
    soft = [walk.label("soft", values) for values in ends]
    majority = [int(walk.label("majority", values).argmax()) for values in ends]
    assert majority == [14] * 13 + [10] * 11  # seven frames of houses, then as many of a road
    assert soft[-1].tolist() == pytest.approx([*[0] * 10, 9 / 24, 0, 3 / 24, 0, 7 / 24, 5 / 24])
    assert max(float((x - y).abs().max()) for x, y in itertools.pairwise(soft[7:])) < 0.12


def test_both_labels_cost_what_the_loss_says() -> None:
    walk = interactive.scene_labels()
    for kind, (paid, least, above) in cost(walk, end=20, sampled=7).items():
        label = walk.label(kind, walk.values | {"end": 20, "sampled": 7})
        assert paid == pytest.approx(float(losses.scene(walk.logits()[None], label[None])), abs=5e-4)
        assert above == pytest.approx(paid - least, abs=2e-3)


def test_the_soft_loss_is_lowest_where_the_answer_is_the_shares() -> None:
    walk = interactive.scene_labels()
    even = cost(preset(walk, "A model that answers with the shares"))
    assert even["soft"][2] == pytest.approx(0, abs=0.01)
    assert even["majority"][2] > 0.9
    sure = cost(preset(walk, "A model that is sure of one scene"))
    assert sure["majority"][2] == pytest.approx(0, abs=0.01)
    assert sure["soft"][2] > 4


def test_frames_are_sampled_as_clips_are_prepared() -> None:
    walk = interactive.scene_labels()
    walk.values |= {"end": 20, "sampled": 5}
    assert walk.sampled() == [2, 6, 10, 14, 18]
    states = [frame["state"] for frame in walk.view()[1]["frames"]]
    assert [i for i, state in enumerate(states) if state == "sampled"] == walk.sampled()
    assert states[20:] == ["cut off"] * 4


def test_a_clip_labelled_as_a_whole_is_replaced_by_a_walk_and_says_so() -> None:
    walk = interactive.scene_labels(scenes()[:1], FRAMES[:8], torch.zeros(16))
    assert "This walk and this model are made up." in walk.page().document
    assert walk.view() == interactive.scene_labels().view()
    assert "made up" not in interactive.scene_labels(scenes(), FRAMES).page().document


def test_a_scene_without_a_slider_can_still_be_the_majority() -> None:
    clip = interactive.scene_labels(scenes(), FRAMES)
    assert len(clip.shown) == 4
    assert "“in a vehicle”" in interactive.scene_labels(scenes()[3:], FRAMES[3:]).view(end=1)[2]["text"]


# --- all of them ------------------------------------------------------------------------------------------------------


def states(thing: Moving, count: int = 12) -> list[dict[str, float]]:
    """Where its controls may stand: its presets, and others at random."""
    chance, placed = random.Random(0), [thing.values, *(thing.values | one.values for one in thing.presets)]
    for _ in range(count):
        values = {}
        for control in thing.controls:
            if not isinstance(control, Slider):
                values[control.name] = chance.randrange(len(control.options))
            elif control.step == 1:
                values[control.name] = chance.randint(int(control.low), int(control.high))
            else:
                values[control.name] = chance.uniform(control.low, control.high)
        placed.append(values)
    return placed


def same(ours: Any, theirs: Any, where: str = "") -> None:
    """Numbers agree to seven digits, all else to the letter."""
    if isinstance(ours, float) or isinstance(theirs, float):
        assert math.isclose(theirs, ours, rel_tol=1e-6, abs_tol=1e-6), (where, ours, theirs)
    elif isinstance(ours, dict):
        assert set(ours) == set(theirs), where
        for key, value in ours.items():
            same(value, theirs[key], f"{where}.{key}")
    elif isinstance(ours, list):
        assert len(ours) == len(theirs), where
        for i, value in enumerate(ours):
            same(value, theirs[i], f"{where}[{i}]")
    else:
        assert ours == theirs, where


@EACH
def test_the_script_shows_what_the_package_computes(name: str) -> None:
    thing = MADE[name]()
    script = f"{read('common.js')}{read(f'{thing.name}.js')}var data = {json.dumps(thing.data)};"
    drawn = run(script, f"{json.dumps(states(thing))}.map(function (values) {{ return view(values, data); }})")
    for values, theirs in zip(states(thing), drawn, strict=True):
        same(thing.panels(values), theirs)


def test_axes_have_the_same_round_numbers_on_the_page() -> None:
    ends = [(0.0, 0.7), (-4.6, 6.4), (-1.2, 1.3), (0.0, 0.004), (-120.0, 80.0)]
    theirs = run(read("common.js"), f"{json.dumps(ends)}.map(function (pair) {{ return ticks(pair[0], pair[1]); }})")
    for pair, ticks in zip(ends, theirs, strict=True):
        ours = panels._ticks(*pair)
        assert [text for _, text in ours] == [text for _, text in ticks]
        assert 3 <= len(ours) <= 9


@pytest.mark.parametrize("name", ["products", "tilt", "labels with frames"])
def test_a_browser_draws_what_the_widgets_draw(name: str) -> None:
    thing = MADE[name]()
    page = drawn(thing.page().document)
    assert words(page[page.index('<div id="view"') : page.index("<footer>")]) == words(panels.html_of(thing.view()[1:]))
    answer = page[page.index('<div id="answer"') : page.index('<form id="controls"')]
    assert words(answer) == words(panels.html_of(thing.view()[:1]))
    controls = page[page.index('<form id="controls"') : page.index('<div id="view"')]
    assert controls.count("<label") == controls.count("<input") + controls.count("<select") == len(thing.controls) + 1
    for control in thing.controls:
        assert f"<span>{control.label}</span>" in controls


def words(page: str) -> str:
    """The text of a page, without regard to its spaces."""
    return "".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


@EACH
def test_its_page_is_small_and_needs_nothing_but_itself(name: str) -> None:
    page = MADE[name]().page()
    check_offline(page.document)
    assert len(page._repr_mimebundle_()["text/html"].encode()) < 60_000
    (frame,) = Reader(page._repr_mimebundle_()["text/html"]).all("iframe")
    assert frame["sandbox"] == "allow-scripts"
    assert frame["title"]


@EACH
def test_its_widgets_show_the_same_and_remember_where_they_stand(name: str) -> None:
    thing = MADE[name]()
    found = list(walked(thing.widget()))
    seen = next(part for part in found if isinstance(part, ipywidgets.HTML) and 'class="moving"' in part.value)
    for slider in [part for part in found if isinstance(part, ipywidgets.FloatSlider)][:4]:
        before, where = seen.value, slider.value
        slider.value = slider.min if slider.value > slider.min else slider.max
        assert slider.value in thing.values.values()
        assert seen.value != before
        assert panels.html_of(thing.view(), thing.pictures) in seen.value
        slider.value = where
        assert seen.value == before
    assert all(part.description for part in found if isinstance(part, ipywidgets.FloatSlider | ipywidgets.Dropdown))


@EACH
def test_an_example_moves_every_slider_at_once(name: str) -> None:
    thing = MADE[name]()
    chooser = next(part for part in walked(thing.widget()) if getattr(part, "description", "") == "Example")
    for one in thing.presets:
        chooser.value = one.name
        assert thing.values | one.values == thing.values


def walked(widget: ipywidgets.Widget) -> Any:
    yield widget
    for child in getattr(widget, "children", ()):
        yield from walked(child)


def test_every_kind_of_panel_escapes_what_it_is_given() -> None:
    evil = "<img src=x>"
    row, axis = {"label": evil, "values": [1, 1], "texts": [evil, evil], "strong": False}, {"label": evil}
    axis |= {"low": 0, "high": 1}
    line = {"shape": "line", "points": [[0, 0], [1, 1]], "colour": "#000", "label": evil}
    drawn = panels.html_of(
        [
            panels.note(evil),
            panels.bars(evil, "#000", [evil, evil], [row]),
            panels.table(evil, [evil], [{"cells": [evil], "marks": [""], "strong": False}]),
            panels.plot(evil, axis, axis, [line]),
            panels.strip(evil, [{"frame": 0, "label": evil, "colour": "#000", "state": "sampled"}]),
        ]
    )
    assert not Reader(drawn).all("img")
    assert drawn.count("&lt;img") >= 12


def test_a_page_that_runs_without_a_reader_keeps_no_widgets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Widgets die with their kernel; what papermill keeps must work without one."""
    toy, view = interactive.products(), "application/vnd.jupyter.widget-view+json"
    monkeypatch.setenv("JPY_SESSION_NAME", "20.ipynb")
    request: dict[str, Any] = {"metadata": {}}
    monkeypatch.setattr("IPython.get_ipython", lambda: SimpleNamespace(get_parent=lambda: request))
    assert set(toy._repr_mimebundle_()) == {"text/html", "text/plain"}
    request["metadata"] = {"cellId": "1"}  # as JupyterLab asks
    assert set(toy._repr_mimebundle_()) == {"text/html", "text/plain", view}
    monkeypatch.delenv("JPY_SESSION_NAME")
    assert view not in toy._repr_mimebundle_()


def test_the_kept_notebooks_hold_no_widgets() -> None:
    notebooks = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
    assert notebooks
    for path in notebooks:
        assert "vnd.jupyter.widget-" not in path.read_text(encoding="utf-8"), path.name


def test_bad_values_are_named() -> None:
    with pytest.raises(InputError, match="city0=9: it runs from -4 to 6"):
        interactive.products().view(city0=9)
    with pytest.raises(InputError, match="control 'town'"):
        interactive.products().view(town=1)
    with pytest.raises(InputError, match="give each city once"):
        subtree(Taxonomy.cityguessr68k(), ["London", "London"])
    with pytest.raises(InputError, match="2 to 1,000 finite numbers"):
        interactive.tilt([1.0])
    with pytest.raises(InputError, match="a=3: it runs from -2 to 2"):
        interactive.tilt(a=3)
    with pytest.raises(InputError, match="8 frames and the scenes of 24"):
        interactive.scene_labels(scenes(), FRAMES[:8])
    with pytest.raises(InputError, match="one of each"):
        interactive.scene_labels(scenes(), logits=torch.zeros(3))
    with pytest.raises(InputError, match="no scene for every frame"):
        interactive.scene_labels(torch.full((4, 16), torch.nan))


def test_an_object_says_where_its_controls_stand() -> None:
    assert repr(interactive.tilt()) == "Tilt(a=0.15, b=−0.20, c=1.00, token=1, top=6.0)"
    assert re.match(r"Products\(truth=5, city0=0.0, city1=2.2", repr(interactive.products()))
    assert {level for level in LEVELS if f"{level}0=" in repr(interactive.products())} == set(LEVELS)
