"""Soft, majority and first-frame scene labels, and the classifier's way from 365 categories to 16 scenes."""

import csv
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from cityguessr import scenes
from cityguessr.base.errors import InputError
from cityguessr.scenes import SCENE_GROUPS, SCENES, Places365Labeller, scene_label


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
    with pytest.raises(InputError, match="soft, majority or first"):
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


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with random numbers in the released format."""
    from torchvision.models import resnet50

    torch.manual_seed(0)
    state = {f"module.{key}": value for key, value in resnet50(weights=None, num_classes=365).state_dict().items()}
    path = tmp_path_factory.mktemp("weights") / "resnet50_places365.pth.tar"
    torch.save({"epoch": 90, "arch": "resnet50", "state_dict": state, "best_prec1": 54.7}, path)
    return path


def write_sheet(path: Path, table: np.ndarray) -> Path:
    """The sheet's layout: two header rows, a name in quotes, 3 + 16 columns."""
    with open(path, "w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["", "Level 1", "", "", "Level 2"])
        out.writerow(["category", "indoor", "outdoor, natural", "outdoor, man-made", *SCENES])
        for name, row in zip(scenes.categories(), table.astype(int), strict=True):
            upper = [int(row[:6].any()), int(row[6:10].any()), int(row[10:].any())]
            out.writerow([f"'{name}'", *upper, *row])
    return path


def test_scenes_of_a_frame_are_the_probabilities_of_its_categories_shared_among_their_scenes(
    weights: Path, tmp_path: Path
) -> None:
    table = np.roll(scenes.own_hierarchy(), 1, axis=1)  # told apart from the table that ships
    labeller = Places365Labeller(weights, write_sheet(tmp_path / "scene_hierarchy_places365.csv", table))
    frames = np.random.default_rng(0).integers(0, 256, (2, 40, 40, 3), dtype=np.uint8)
    probabilities = labeller(frames)
    assert probabilities.shape == (2, 16)
    assert probabilities.sum(axis=1) == pytest.approx([1, 1], abs=1e-5)
    fine = labeller.categories(frames)
    by_hand = np.zeros((2, 16))
    for category in range(365):
        for scene in np.flatnonzero(table[category]):
            by_hand[:, scene] += fine[:, category] / table[category].sum()
    assert probabilities == pytest.approx(by_hand, abs=1e-6)
    assert (labeller.name, Places365Labeller(weights).name) == (
        "Places365 ResNet-50, official hierarchy",
        "Places365 ResNet-50, own table",
    )
    content = pickle.dumps(labeller)
    assert len(content) < 100_000  # workers load the weights themselves
    assert pickle.loads(content)(frames) == pytest.approx(probabilities)


def test_at_level_365_the_categories_themselves_are_the_labels(weights: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 40, 40, 3), dtype=np.uint8)
    fine, coarse = Places365Labeller(weights, level=365), Places365Labeller(weights)
    assert fine(frames).shape == (3, 365)
    assert fine(frames) == pytest.approx(coarse.categories(frames))
    assert fine(frames) @ coarse.hierarchy == pytest.approx(coarse(frames), abs=1e-6)  # the one way from 365 to 16
    assert fine.name == "Places365 ResNet-50, 365 categories"
    with pytest.raises(InputError, match=r"scenes=17: there are 16 scenes, and 365 categories under them"):
        Places365Labeller(weights, level=17)


def test_scene_labels_are_the_same_facts_among_365_categories() -> None:
    clip = torch.nn.functional.one_hot(torch.tensor([364, 20, 20, 7]), 365).float()
    soft = scene_label(clip)
    assert soft.shape == (365,)
    assert soft[[7, 20, 364]].tolist() == [0.25, 0.5, 0.25]
    assert scene_label(clip, "majority").argmax() == 20
    assert scene_label(clip, "first").argmax() == 364
    with pytest.raises(InputError, match=r"\(n, 16\) or \(n, 365\) .* not \(4, 100\)"):
        scene_label(clip[:, :100])


def test_missing_or_wrong_weights_are_named_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CITYGUESSR_ROOT", str(tmp_path))
    with pytest.raises(
        InputError, match=r"data/weights/resnet50_places365\.pth\.tar: missing.* 97 MB.* put it there"
    ) as e:
        Places365Labeller()
    assert "\n" not in str(e.value)
    (tmp_path / "weights.pth.tar").write_bytes(b"<html>404 not found</html>")
    with pytest.raises(InputError, match="not the ResNet-50 of Places365") as e:
        Places365Labeller(tmp_path / "weights.pth.tar")
    torch.save({"state_dict": {"module.conv1.weight": torch.zeros(3)}}, tmp_path / "weights.pth.tar")
    with pytest.raises(InputError, match="not the ResNet-50 of Places365") as e:
        Places365Labeller(tmp_path / "weights.pth.tar")
    assert "\n" not in str(e.value)


def test_another_sheet_is_refused(tmp_path: Path) -> None:
    path = write_sheet(tmp_path / "sheet.csv", scenes.own_hierarchy())
    assert np.array_equal(scenes.read_hierarchy(path), scenes.own_hierarchy())
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:-1]))
    with pytest.raises(InputError, match=r"1 of the 365 categories are missing \(/z/zen_garden"):
        scenes.read_hierarchy(path)
    path.write_text("\n".join([*lines[:9], lines[9].replace("1", "0"), *lines[10:]]))
    with pytest.raises(InputError, match=r"sheet\.csv, line 10: not a name"):
        scenes.read_hierarchy(path)


def test_a_clip_labelled_as_a_whole_has_no_first_frame_and_shares_that_add_up() -> None:
    counts = torch.zeros(1, 16)
    counts[0, 3], counts[0, 5] = 12, 3  # counts of frames in place of shares
    assert scenes.scene_label(counts, "soft").tolist() == pytest.approx([0, 0, 0, 0.8, 0, 0.2] + [0] * 10)
    with pytest.raises(InputError, match="the scene of the first frame is not known"):
        scenes.scene_label(counts, "first")
