"""Soft, majority and first-frame scene labels, of 16 scenes and of 365 categories."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from cityguessr import scenes
from cityguessr.base.errors import InputError
from cityguessr.scenes import SCENE_GROUPS, SCENES, check_scene_classes, scene_label


def rows(*ids: int, confidence: float = 0.6) -> torch.Tensor:
    """Frames of which each is most probably of the scene given, and of all others a little."""
    return torch.stack(
        [torch.full((16,), (1 - confidence) / 15).index_fill(0, torch.tensor(i), confidence) for i in ids]
    )


def test_sixteen_scenes_are_six_indoor_four_natural_and_six_man_made() -> None:
    assert {group: len(names) for group, names in SCENE_GROUPS.items()} == {"indoor": 6, "natural": 4, "urban": 6}
    assert len(set(SCENES)) == 16
    assert SCENES[0] == "shopping and dining"
    assert SCENES[6] == "water, ice, snow"
    assert SCENES[15].startswith("commercial buildings")


def test_a_soft_label_is_the_share_of_frames_of_each_scene() -> None:
    soft = scene_label(rows(10, 10, 10, 6, 8, 10, 6, 10))
    assert soft.tolist() == pytest.approx([0] * 6 + [2 / 8, 0, 1 / 8, 0, 5 / 8] + [0] * 5)
    assert soft.sum() == 1
    assert torch.equal(soft, scene_label(rows(10, 10, 10, 6, 8, 10, 6, 10, confidence=0.99)))  # frames count, not doubt


def test_majority_and_first_frame_labels_are_one_scene_each() -> None:
    clip = rows(6, 10, 10, 8)
    assert scene_label(clip, "majority").tolist() == np.eye(16)[10].tolist()
    assert scene_label(clip, "first").tolist() == np.eye(16)[6].tolist()
    assert scene_label(rows(12, 3), "majority").argmax() == 3  # of equals the one that comes first


def test_a_single_row_is_the_soft_label_of_the_clip_itself() -> None:
    row = torch.zeros(1, 16)
    row[0, [2, 10]] = torch.tensor([0.3, 0.7])
    assert torch.equal(scene_label(row), row[0])
    assert scene_label(row, "majority").argmax() == 10
    assert scene_label(torch.full((1, 16), float("nan"))).isnan().all()  # a clip without scenes


def test_other_shapes_and_kinds_are_refused() -> None:
    with pytest.raises(InputError, match=r"frame scenes are \(n, 16\)"):
        scene_label(torch.zeros(16))
    with pytest.raises(InputError, match="no scene label 'hard'; it is one of soft, majority, first"):
        scene_label(rows(1), "hard")  # type: ignore[arg-type]


def test_our_own_table_gives_each_of_the_365_categories_a_scene_and_each_scene_a_category() -> None:
    table = scenes.own_hierarchy()
    assert table.shape == (365, 16)
    assert set(np.unique(table)) == {0, 1}
    assert table.sum(axis=1).min() == 1
    assert table.sum(axis=0).min() >= 5
    names = scenes.categories()
    assert len(set(names)) == 365
    assert (names[0], names[66], names[319], names[364]) == ("/a/airfield", "/b/bridge", "/s/street", "/z/zen_garden")
    where = {name: {SCENES[k] for k in np.flatnonzero(table[i])} for i, name in enumerate(names)}
    # what the supplement, section 1, says of "transportation (vehicle interiors, stations, etc.)"
    for name in ("/a/airport_terminal", "/c/car_interior", "/c/cockpit", "/t/train_interior"):
        assert where[name] == {"transportation (vehicle interiors, stations)"}
    with open(Path(scenes.__file__).parent / "places365_to_16.csv", newline="") as file:
        assert next(csv.reader(file))[1:] == list(SCENES)


def test_scene_labels_are_the_same_facts_among_365_categories() -> None:
    clip = torch.nn.functional.one_hot(torch.tensor([364, 20, 20, 7]), 365).float()
    soft = scene_label(clip)
    assert soft.shape == (365,)
    assert soft[[7, 20, 364]].tolist() == [0.25, 0.5, 0.25]
    assert scene_label(clip, "majority").argmax() == 20
    assert scene_label(clip, "first").argmax() == 364
    with pytest.raises(InputError, match=r"\(n, 16\) or \(n, 365\) .* not \(4, 100\)"):
        scene_label(clip[:, :100])


def test_a_clip_labelled_as_a_whole_has_no_first_frame_and_shares_that_add_up() -> None:
    counts = torch.zeros(1, 16)
    counts[0, 3], counts[0, 5] = 12, 3  # counts of frames in place of shares
    assert scenes.scene_label(counts, "soft").tolist() == pytest.approx([0, 0, 0, 0.8, 0, 0.2] + [0] * 10)
    with pytest.raises(InputError, match="the scene of the first frame is not known"):
        scenes.scene_label(counts, "first")


def test_there_are_16_or_365_scene_classes() -> None:
    check_scene_classes(16)
    check_scene_classes(365)
    with pytest.raises(InputError, match="scene_classes=17: there are 16 scenes, and 365 categories under them"):
        check_scene_classes(17)
