"""The map to explore: whole, self-contained, safe with names of strangers, and true to its data frame."""

import dataclasses
import json
import re
import socket
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from pages import Reader, check_offline
from small_world import LIMA, LONDON, TREE, made

from cityguessr.base.errors import InputError
from cityguessr.evaluation import confusions
from cityguessr.figures import accuracy_maps, interactive_map
from cityguessr.figures.style import sequential
from cityguessr.taxonomy import LEVELS, Taxonomy

GENERATOR = np.random.default_rng(0)
TRUTHS = np.concatenate([np.arange(166), GENERATOR.integers(0, 166, 400)]).tolist()
ANSWERS = [t if i % 3 else int(a) for i, (t, a) in enumerate(zip(TRUTHS, GENERATOR.integers(0, 166, 566), strict=True))]
PREDICTIONS = made(TRUTHS, ANSWERS)
CITIES = confusions.by_city(PREDICTIONS)
PAIRS = confusions.commonest(PREDICTIONS, None)


def known(page: str) -> dict:
    return json.loads(Reader(page).scripts[0])["cities"]


@pytest.fixture(scope="module")
def page() -> str:
    frames = {i: GENERATOR.integers(0, 255, (6, 9, 3), dtype=np.uint8).repeat(20, 0).repeat(20, 1) for i in range(166)}
    return interactive_map.draw(CITIES, PAIRS, frames, synthetic=True, note="seed 0").document


def test_every_city_with_clips_is_there_and_can_be_found(page: str) -> None:
    circles = Reader(page).all("circle")
    assert {int(circle["data-city"]) for circle in circles} == set(range(166))
    assert all(circle["aria-label"] for circle in circles)
    assert [circle["tabindex"] for circle in circles].count("0") == 1  # one stop for Tab, arrow keys for the rest
    continents = set(CITIES["continent"])
    assert len(Reader(page).all("option")) == 166 + len(LEVELS) + 1 + len(continents)  # the world, and each to zoom to
    assert all(f"<option>{name}</option>" in page for name in ("the world", *continents))


def test_its_numbers_are_those_of_the_data_frame(page: str) -> None:
    cities = known(page)
    assert sum(city["clips"] for city in cities.values()) == len(TRUTHS)
    for row in CITIES.to_dict("records"):
        city = cities[str(row["city_id"])]
        assert city["names"] == [row[level] for level in LEVELS]
        for level, share in zip(LEVELS, city["shares"], strict=True):
            assert share["right"] == row[f"right_{level}"]
            for part in ("accuracy", "low", "high"):
                assert share[part] == round(row[f"{part}_{level}"])
        wrong = sum(answer["clips"] for answer in city["wrong"]) + city["more"]
        assert wrong == row["clips"] - row["right_city"]
    first = PAIRS.iloc[0]
    answer = cities[str(int(first["truth"]))]["wrong"][0]
    assert (answer["city"], answer["clips"], answer["km"]) == (
        str(int(first["answer"])),
        first["clips"],
        round(first["km"]),
    )


def test_its_colours_are_those_of_the_static_map(page: str) -> None:
    """A city has the same colour on both: the scale ends where the best city does."""
    shares = CITIES["shrunken_city"]
    top = accuracy_maps.top_of_scale(shares)
    assert json.loads(Reader(page).scripts[0])["tops"][0] == top
    assert known(page)["0"]["colours"][0] == to_hex(sequential()(shares[0] / top))


def test_an_arc_leads_from_the_city_to_the_answer(page: str) -> None:
    places = {c["data-city"]: (int(c["cx"]), int(c["cy"])) for c in Reader(page).all("circle")}
    for city, record in known(page).items():
        for answer in record["wrong"]:
            pieces = [list(map(int, re.findall(r"-?\d+", piece))) for piece in answer["arc"].split("M")[1:]]
            ends = [(p[0], p[1]) for p in pieces[:1]] + [(sum(p[0::2]), sum(p[1::2])) for p in pieces[-1:]]
            assert ends[0] == pytest.approx(places[city], abs=1)
            assert ends[1] == pytest.approx(places[answer["city"]], abs=1)


def test_it_needs_nothing_but_itself(page: str) -> None:
    check_offline(page)


def test_it_is_light_with_a_picture_for_every_city(page: str) -> None:
    assert len(page.encode()) <= interactive_map.MAX_BYTES
    assert all("picture" in city for city in known(page).values())


def test_names_are_only_ever_text() -> None:
    evil = '</script><img src=x onerror="alert(1)">&\u2028{{data}}'
    names = TREE.names | {"city": (evil, *TREE.names["city"][1:]), "country": (evil, *TREE.names["country"][1:])}
    tree = Taxonomy(names, TREE.parent, TREE.latlon, TREE.folders, TREE.iso2)
    page = interactive_map.draw(
        confusions.by_city(dataclasses.replace(PREDICTIONS, taxonomy=tree)), PAIRS, synthetic=False, note="<b>bold</b>"
    )._repr_mimebundle_()["text/html"]
    (frame,) = Reader(page).all("iframe")
    assert frame["sandbox"] == "allow-scripts"
    inner = Reader(frame["srcdoc"])
    assert not inner.all("img")
    assert not inner.all("b")
    assert len(inner.scripts) == 2  # the data and the code: no name has ended either
    assert known(frame["srcdoc"])["0"]["names"][0] == evil
    assert evil + ", " in next(c for c in inner.all("circle") if c["data-city"] == "0")["aria-label"]


def test_what_is_left_without_the_frame_is_a_sentence() -> None:
    """JupyterLab takes frames out of notebooks that are not trusted, and keeps what stands in them."""
    bundle = interactive_map.draw(CITIES, PAIRS, synthetic=True)._repr_mimebundle_()
    left = re.sub(r"</?iframe[^>]*>", "", bundle["text/html"])
    text = re.sub(r"<[^>]+>", "", left)
    assert "MiniWorld: synthetic data" in text
    assert "figures/city_map.html" in text
    assert len(text) < 500
    assert bundle["text/plain"] == "Accuracy city by city: 166 cities, 566 validation clips. MiniWorld: synthetic data."


def test_synthetic_data_says_so_and_real_data_does_not(page: str) -> None:
    assert "MiniWorld: synthetic data · seed 0" in page
    assert "synthetic" not in interactive_map.draw(CITIES, PAIRS, synthetic=False).document


def test_cities_without_coordinates_have_no_circle_but_can_be_found() -> None:
    cities = CITIES.copy()
    cities.loc[LONDON, ["latitude", "longitude"]] = np.nan
    page = interactive_map.draw(cities, PAIRS, synthetic=True).document
    assert str(LONDON) not in {circle["data-city"] for circle in Reader(page).all("circle")}
    assert all(answer["arc"] == "" for answer in known(page)[str(LONDON)]["wrong"])
    assert "London, England" in {option.get("value") for option in Reader(page).all("option")}
    nowhere = interactive_map.draw(cities.assign(latitude=np.nan), PAIRS, synthetic=True).document
    assert not Reader(nowhere).all("circle")


def test_one_clip_makes_a_map() -> None:
    predictions = made([LIMA], [LONDON])
    page = interactive_map.draw(
        confusions.by_city(predictions), confusions.commonest(predictions, None), synthetic=True
    ).document
    (circle,) = Reader(page).all("circle")
    assert circle["data-city"] == str(LIMA)
    assert known(page)[str(LIMA)]["wrong"][0]["arc"] == ""  # London has no clip, so no circle to lead to


def test_it_is_drawn_and_saved_without_a_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket, "socket", refuse)
    drawn = interactive_map.draw(CITIES, PAIRS, synthetic=True)
    path = drawn.save(folder=tmp_path)
    assert path.name == "city_map.html"
    assert path.read_text(encoding="utf-8") == drawn.document


def test_bad_input_is_named() -> None:
    with pytest.raises(InputError, match="no city has a clip"):
        interactive_map.draw(CITIES.assign(clips=0), PAIRS, synthetic=True)
    with pytest.raises(InputError, match=r"picture of city 3: expected uint8 \(H, W, 3\), got float64"):
        interactive_map.draw(CITIES, PAIRS, {3: np.zeros((4, 4, 3))}, synthetic=True)
    assert isinstance(CITIES, pd.DataFrame)
