"""The guessing game: fair options, a hidden answer, a score that counts as the paper does."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ipywidgets
import numpy as np
import pytest
import torch
from page_scripts import drawn, run
from pages import Reader, check_offline
from small_world import LIMA, LONDON, LYON, TOKYO, TREE, made

from cityguessr import interactive
from cityguessr.base.errors import InputError
from cityguessr.figures import interactive_map, pictures
from cityguessr.interactive import game as room
from cityguessr.interactive import rules
from cityguessr.interactive.moving import read
from cityguessr.interactive.rules import Round
from cityguessr.taxonomy import LEVELS, Taxonomy

PREDICTIONS = made(list(range(0, 166, 4)), [(7 * i) % 166 for i in range(0, 166, 4)])
PREDICTIONS.logits["city"].add_(torch.randn(42, 166, generator=torch.Generator().manual_seed(0)))
ROUNDS = [
    Round(0, (LONDON, LYON, TOKYO), LONDON, LYON, LYON, 0.6),
    Round(1, (LIMA, LYON, TOKYO), TOKYO, TOKYO, LIMA, 0.3),
]
PICTURE = np.random.default_rng(0).integers(0, 255, (16, 24, 3), dtype=np.uint8).repeat(10, 0).repeat(10, 1)


def played(tree: Taxonomy = TREE) -> interactive.Game:
    frames, faces = {0: [PICTURE] * 4, 1: [PICTURE] * 4}, {(0, LONDON): PICTURE, (0, LYON): PICTURE}
    return interactive.Game(tree, ROUNDS, frames, faces, synthetic=True, note="seed 0")


def data(page: str) -> dict[str, Any]:
    return json.loads(Reader(page).scripts[0])


def test_a_round_has_the_truth_and_the_two_likeliest_wrong_cities() -> None:
    rounds = rules.deal(PREDICTIONS, 10)
    assert len({one.clip for one in rounds}) == 10
    for one in rounds:
        assert one.truth == PREDICTIONS.labels["city"][one.clip]
        assert len(set(one.options)) == 5
        logits = sum(PREDICTIONS.logits[level][one.clip][TREE.ancestors[level]] for level in LEVELS)  # Eq. 5, as sums
        order = [city for city in logits.argsort(descending=True).tolist() if city != one.truth]
        assert {one.truth, *order[:2]} <= set(one.options)
        assert one.free == logits.argmax()
        assert one.model == max(one.options, key=lambda city: logits[city])


def test_the_truth_stands_anywhere_among_the_options() -> None:
    places = {one.options.index(one.truth) for one in rules.deal(PREDICTIONS, 40)}
    assert places == set(range(5))


def test_a_seed_gives_a_game_and_another_one_another() -> None:
    assert rules.deal(PREDICTIONS, 10, seed=1) == rules.deal(PREDICTIONS, 10, seed=1)
    assert rules.deal(PREDICTIONS, 10, seed=1) != rules.deal(PREDICTIONS, 10, seed=2)


def test_clips_can_be_named() -> None:
    """Page 00 begins with the one clip that it then follows."""
    (one,) = rules.deal(PREDICTIONS, [7])
    assert one.clip == 7
    assert len(one.options) == 5
    assert one == next(same for same in rules.deal(PREDICTIONS, len(PREDICTIONS)) if same.clip == 7)
    with pytest.raises(InputError, match="clip=9999"):
        rules.deal(PREDICTIONS, [9999])
    with pytest.raises(InputError, match="one clip at least"):
        rules.deal(PREDICTIONS, [])


def test_cities_that_nobody_can_show_are_no_options() -> None:
    shown = set(range(0, 166, 3))
    for one in rules.deal(PREDICTIONS, 12, cities=shown):
        assert set(one.options) - {one.truth} <= shown
    assert len(rules.deal(PREDICTIONS, 1, cities=[0, 1])[0].options) <= 3


def test_the_score_counts_a_city_and_all_above_it() -> None:
    rows = {row["cells"][0]: row["cells"][1:] for row in rules.score(ROUNDS, [1, None], TREE)["rows"]}
    # You took Lyon for London, and nothing for Tokyo. The model took Lyon too, then Tokyo; of all cities, Lima.
    assert rows["city"] == ["0 of 2", "1 of 2", "0 of 2", "0.7"]
    assert rows["country"] == ["0 of 2", "1 of 2", "0 of 2", "0.7"]
    assert rows["continent"] == ["1 of 2", "2 of 2", "1 of 2", "1.0"]


def test_the_page_counts_the_same() -> None:
    known = data(played().page().document)
    for chosen in ([0], [1, None], [0, 2], [None, 0]):
        call = f"score({json.dumps(known['rounds'])}, {json.dumps(chosen)}, {json.dumps(LEVELS)}, 166)"
        assert run(read("common.js") + read("game.js"), call) == rules.score(ROUNDS, chosen, TREE)


def test_an_answer_says_where_it_is_and_what_the_model_took() -> None:
    words = rules.verdict(ROUNDS[1], TREE)
    assert words["truth"] == "It is Tokyo, Tokyo Metropolis, Japan, Asia."
    answer = "Of all 166 cities the model's answer is Lima, Peru (30\u00a0%)."
    assert words["model"] == f"{answer} Of these 3 it takes Tokyo, Japan."


def test_its_page_needs_nothing_but_itself_and_says_that_it_is_synthetic() -> None:
    page = played().page().document
    check_offline(page)
    assert "MiniWorld: synthetic data · seed 0" in page
    assert "Options: the true city, the 2 wrong cities" in page
    assert len(data(page)["rounds"]) == 2
    assert data(page)["rounds"][1]["options"][0]["picture"] == ""  # a city without a picture is an option all the same


def test_a_browser_hides_the_answer_until_it_is_asked_for() -> None:
    page = drawn(played().page().document)
    shown = page[page.index("<body") : page.index('<script type="application/json"')]
    assert shown.count("Frame ") == 4
    assert [name for name in ("London", "Lyon", "Tokyo", "Lima") if f">{name}<" in shown] == ["London", "Lyon", "Tokyo"]
    assert "Clip 1 of 2" in shown
    assert "Greater London" not in shown
    assert '<div id="verdict" role="status"></div>' in shown


def test_ten_clips_with_all_their_pictures_stay_small() -> None:
    noise = np.random.default_rng(1)
    grain = [noise.integers(96, 160, (180, 270, 3), dtype=np.uint8) for _ in range(4)]  # worse than any street
    face = noise.integers(96, 160, (80, 120, 3), dtype=np.uint8)
    rounds = rules.deal(PREDICTIONS, 10)
    frames = {one.clip: grain for one in rounds}
    faces = {(one.clip, city): face for one in rounds for city in one.options}
    page = interactive.Game(TREE, rounds, frames, faces, synthetic=True).page()
    assert len(page._repr_mimebundle_()["text/html"].encode()) < 700_000


def test_names_of_places_are_only_ever_text() -> None:
    evil = '</script><img src=x onerror="alert(1)">'
    names = TREE.names | {"city": tuple(evil if i == LYON else name for i, name in enumerate(TREE.names["city"]))}
    page = played(Taxonomy(names, TREE.parent, TREE.latlon, TREE.folders, TREE.iso2)).page().document
    assert not Reader(page).all("img")
    assert len(Reader(page).scripts) == 2
    assert data(page)["rounds"][0]["options"][1]["name"] == evil


def test_a_game_can_be_played_with_its_widgets() -> None:
    game = played()
    widget = game.widget()
    head, clip, choices, button, verdict, _ = widget.children
    assert clip.value.count("<img") == 4
    assert verdict.value == ""  # the answer is hidden until asked
    toggles = [box.children[1] for box in choices.children]
    assert [toggle.description for toggle in toggles] == ["London", "Lyon", "Tokyo"]
    toggles[1].value = True
    toggles[0].value = True
    assert not toggles[1].value  # one choice at a time
    button.click()
    assert "You are right. It is London, Greater London, England, Europe." in verdict.value
    assert "you 1, the model 0" in head.value
    button.click()
    assert "Clip 2 of 2" in head.value
    button.click()
    assert "You did not choose. It is Tokyo" in verdict.value
    assert game.chosen == [0, None]
    button.click()
    assert "1 of 2" in verdict.value
    assert [row["cells"][1] for row in game.score()["rows"]] == ["1 of 2"] * 4
    button.click()
    assert game.chosen == []
    assert isinstance(widget, ipywidgets.VBox)


class Split:
    """As much of a `ClipDataset` as a game asks for: the truths of the predictions, in videos of two clips."""

    synthetic = True

    def __init__(self, cities: list[int], name: str) -> None:
        self.labels = {"city": torch.tensor(cities)}
        self.video_ids = [f"{name}{city}_{i % 2}" for i, city in enumerate(cities)]

    def frame_scenes(self, clip: int) -> torch.Tensor:
        return torch.nn.functional.one_hot(torch.tensor([3 if clip % 5 == 0 else 10] * 8), 16).float()


def test_a_run_gives_a_game_of_its_own_clips(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    val, train = Split(PREDICTIONS.labels["city"].tolist(), "v"), Split(sorted([*range(166)] * 6), "v")
    monkeypatch.setattr(pictures, "of", lambda clips, which, *_, at, width: [np.full((8, 12, 3), which[0], np.uint8)])
    shown: list[tuple[int, int]] = []

    def thumbnails(clips: Split, which: list[int], *_: object) -> dict[int, np.ndarray]:
        shown.extend((clip, int(clips.labels["city"][clip])) for clip in which)
        return {int(clips.labels["city"][clip]): PICTURE for clip in which}

    monkeypatch.setattr(interactive_map, "thumbnails", thumbnails)
    trained = SimpleNamespace(
        clips=lambda: SimpleNamespace(split=lambda name, by: {"val": val, "train": train}[name]),
        config=SimpleNamespace(split="clip"),
        predictions=PREDICTIONS,
        taxonomy=TREE,
        provenance={"profile": "mini"},
    )
    game = interactive.guessing_game(trained, clips=3, seed=5)
    assert game.rounds == tuple(rules.deal(PREDICTIONS, 3, seed=5))
    assert len(shown) == 15
    wanted = [(one, city) for one in game.rounds for city in one.options]
    for (clip, city), (one, option) in zip(shown, wanted, strict=True):
        assert city == option
        assert train.video_ids[clip] != val.video_ids[one.clip]  # the picture does not give the clip away
        assert clip % 5  # out of doors
    assert game.save(tmp_path).name == "guessing_game.html"


def test_bad_games_are_named() -> None:
    with pytest.raises(InputError, match="a game has one clip at least"):
        rules.deal(PREDICTIONS, 0)
    with pytest.raises(InputError, match="give 2 to 8 cities"):
        rules.deal(PREDICTIONS, options=1)
    with pytest.raises(InputError, match="hold no clip"):
        rules.deal(PREDICTIONS.subset(torch.tensor([], dtype=torch.long)))
    with pytest.raises(InputError, match="needs at least one clip"):
        interactive.Game(TREE, [], {}, {}, synthetic=True)
    with pytest.raises(InputError, match="clip 1 has no frame"):
        interactive.Game(TREE, ROUNDS, {0: [PICTURE]}, {}, synthetic=True)
    assert room.MAX_BYTES < 700_000
