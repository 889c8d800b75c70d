"""The classifier of Places365: from 365 categories to 16 scenes, with weights and a sheet that must be right."""

import csv
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from cityguessr.base.errors import InputError
from cityguessr.data.places365 import Places365Labeller, read_hierarchy
from cityguessr.scenes import SCENES, categories, own_hierarchy


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
        for name, row in zip(categories(), table.astype(int), strict=True):
            upper = [int(row[:6].any()), int(row[6:10].any()), int(row[10:].any())]
            out.writerow([f"'{name}'", *upper, *row])
    return path


def test_scenes_of_a_frame_are_the_probabilities_of_its_categories_shared_among_their_scenes(
    weights: Path, tmp_path: Path
) -> None:
    table = np.roll(own_hierarchy(), 1, axis=1)  # told apart from the table that ships
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


def test_with_365_scene_classes_the_categories_themselves_are_the_labels(weights: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 40, 40, 3), dtype=np.uint8)
    fine, coarse = Places365Labeller(weights, scene_classes=365), Places365Labeller(weights)
    assert fine(frames).shape == (3, 365)
    assert fine(frames) == pytest.approx(coarse.categories(frames))
    assert fine(frames) @ coarse.hierarchy == pytest.approx(coarse(frames), abs=1e-6)  # the one way from 365 to 16
    assert fine.name == "Places365 ResNet-50, 365 categories"
    with pytest.raises(InputError, match=r"scene_classes=17: there are 16 scenes, and 365 categories under them"):
        Places365Labeller(weights, scene_classes=17)


def test_missing_or_wrong_weights_are_named_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CITYGUESSR_ROOT", str(tmp_path))
    with pytest.raises(
        InputError,
        match=r"data/weights/resnet50_places365\.pth\.tar \(about 97 MB\) is missing; .*`curl .*csail",
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
    path = write_sheet(tmp_path / "sheet.csv", own_hierarchy())
    assert np.array_equal(read_hierarchy(path), own_hierarchy())
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:-1]))
    with pytest.raises(InputError, match=r"1 of the 365 categories are missing \(/z/zen_garden"):
        read_hierarchy(path)
    path.write_text("\n".join([*lines[:9], lines[9].replace("1", "0"), *lines[10:]]))
    with pytest.raises(InputError, match=r"sheet\.csv, line 10: not a name"):
        read_hierarchy(path)
    path.write_text("\n".join([*lines, lines[9]]))
    with pytest.raises(InputError, match=r"sheet\.csv, line 368: .* stands in line 10 already"):
        read_hierarchy(path)
    path.write_text("\n".join([*lines[:9], "x" * 200_000, *lines[10:]]))
    with pytest.raises(InputError, match=r"sheet\.csv, line 10: field larger than field limit"):
        read_hierarchy(path)
