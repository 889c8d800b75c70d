"""The release layout of CityGuessr68k: what its label files mean, and what MiniWorld adds."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from making import IDS, LABELS_LIST, label_line, make_release, write_csv

from cityguessr.data.prepare import prepare
from cityguessr.data.release import ReleaseSource
from cityguessr.errors import InputError

SMALL = {"frames": 4, "size": 16, "workers": 1}
SOFT = [0.25, 0.75] + [0.0] * 14


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_release(tmp_path / "world" / "release")


def test_a_clip_is_found_at_its_place_with_its_four_labels(root: Path) -> None:
    source = ReleaseSource(root)
    clips = {clip.clip_id: clip for clip in source.clips()}
    assert len(clips) == 12
    assert source.taxonomy.sizes == {"city": 3, "state": 3, "country": 2, "continent": 2}
    assert clips["Lyon_0003"].labels == IDS["Lyon"] == (2, 2, 1, 1)
    assert clips["Lyon_0003"].split == "val"
    assert Path(clips["Lyon_0003"].path) == root / "val" / "Lyon" / "Lyon_0003"
    assert clips["Abu_Dhabi_0001"].path.endswith("train/Abu_Dhabi/Abu_Dhabi_0001")
    assert source.name == "world"
    assert ReleaseSource(root.parent).root == root


def test_a_line_may_name_its_clip_by_its_folder(root: Path) -> None:
    (root / "val_labels.txt").write_text(label_line("/home/someone/CityGuessr68k/val/Paris/Paris_0003/", IDS["Paris"]))
    (clip,) = (clip for clip in ReleaseSource(root).clips() if clip.split == "val")
    assert clip.clip_id == "Paris_0003"
    assert Path(clip.path) == root / "val" / "Paris" / "Paris_0003"


def test_lines_are_told_apart_by_their_width(root: Path) -> None:
    text = {"Paris_0000": [1.0] * 512, "Paris_0001": [3.0] * 512, "Lyon_0000": [5.0] * 512}
    ids = {clip: IDS[clip.split("_")[0]] for clip in text}
    wide = [label_line(clip, ids[clip], SOFT, text[clip]) for clip in text]
    assert {len(line.split(",")) for line in wide} == {533}
    (root / "train_labels_text.txt").write_text("\n".join(wide))
    (root / "val_labels_text.txt").write_text(label_line("Paris_0003", IDS["Paris"], SOFT, [2.0] * 512))
    source = ReleaseSource(root)
    assert source.label_files["train"].name == "train_labels_text.txt"  # the widest of the split's files
    assert len(source.clips()) == 4
    assert source.clips()[0].clip_scenes == pytest.approx(SOFT)

    features = source.text_features  # one vector a city: the mean of its lines
    assert features.shape == (3, 512)
    assert features[1] == pytest.approx(np.full(512, 2.0))
    assert features[2] == pytest.approx(np.full(512, 5.0))
    assert np.isnan(features[0]).all()

    narrow = [label_line(clip, ids[clip]) for clip in text]
    for file in root.glob("*_labels*.txt"):
        file.unlink()
    (root / "train_labels.txt").write_text("\n".join(narrow))
    (root / "val_labels.txt").write_text(label_line("Paris_0003", IDS["Paris"]))
    source = ReleaseSource(root)
    assert source.text_features is None
    assert source.clips()[0].clip_scenes is None


def test_text_features_are_kept_with_the_prepared_set(root: Path) -> None:
    for split, k in (("train", 0), ("val", 3)):
        lines = [label_line(f"{city}_{k:04d}", ids, SOFT, [float(ids[0])] * 512) for city, ids in IDS.items()]
        (root / f"{split}_labels.txt").write_text("\n".join(lines))
    prepared = prepare(ReleaseSource(root), root.parent / "prepared", **SMALL)
    assert torch.equal(prepared.text_features, torch.arange(3.0)[:, None].expand(3, 512))


def test_a_row_of_scenes_labels_the_clip_as_a_whole(root: Path) -> None:
    prepared = prepare(ReleaseSource(root), root.parent / "prepared", **SMALL)
    scenes = prepared.split("train")[1]["frame_scenes"]
    assert scenes.shape == (1, 16)
    assert scenes[0, [1, 10]].tolist() == [0.25, 0.75]
    assert prepared.split("train").video_ids == prepared.split("train").clip_ids  # the release names no source video


def test_what_miniworld_knows_beyond_the_release_is_used(root: Path) -> None:
    clips = [clip.clip_id for clip in ReleaseSource(root).clips()]
    splits = [clip.split for clip in ReleaseSource(root).clips()]
    write_csv(
        root / "clips.csv",
        ("clip", "video", "first_frame", "split"),
        [(c, c.rsplit("_", 1)[0] + "_v0", 0, s) for c, s in zip(clips, splits, strict=True)],
    )
    numbered = [(c, n) for c in clips for n in range(1, 21)]
    write_csv(root / "frame_scenes.csv", ("clip", "frame", "scene"), [(c, n, n % 16) for c, n in numbered])
    write_csv(root / "gps.csv", ("clip", "frame", "lat", "lon"), [(c, n, 48 + n / 100, 2.5) for c, n in numbered])
    (root / "world.json").write_text(json.dumps({"name": "MiniWorld", "synthetic": True}))
    prepared = prepare(ReleaseSource(root), root.parent / "prepared", **SMALL)
    train = prepared.split("train")
    assert prepared.synthetic
    assert prepared.meta["source"] == "MiniWorld"
    assert train.video_ids[:3] == ["Abu_Dhabi_v0"] * 3
    assert train.frame_scenes(0).argmax(dim=1).tolist() == [3, 8, 13, 18 % 16]  # frames 3, 8, 13 and 18 of 20
    assert train.frame_scenes(0).sum(dim=1).tolist() == [1.0] * 4
    assert train.gps(0).tolist() == pytest.approx(np.array([[48.03, 2.5], [48.08, 2.5], [48.13, 2.5], [48.18, 2.5]]))

    write_csv(root / "frame_scenes.csv", ("clip", "frame", "scene"), [(c, n, 1) for c, n in numbered if n != 13])
    with pytest.raises(InputError, match="no scene is listed for frame 13"):
        prepare(ReleaseSource(root), root.parent / "gap", **SMALL)


@pytest.mark.parametrize(
    ("name", "header", "row", "complaint"),
    [
        ("frame_scenes.csv", ("clip", "frame", "scene"), ("Paris_0000", 1, 16), r"scene '16' is not one of 0\.\.15"),
        ("frame_scenes.csv", ("clip", "frame", "scene"), ("Paris_0000", "one", 1), "frame number 'one'"),
        ("gps.csv", ("clip", "frame", "lat", "lon"), ("Paris_0000", 1, 91, 0), "latitude '91'"),
        ("gps.csv", ("clip", "frame", "lat", "lon"), ("Paris_0000", 1, 48), "3 fields, where the header has 4"),
    ],
)
def test_mistakes_in_the_further_files_are_named(
    root: Path, name: str, header: tuple[str, ...], row: tuple[object, ...], complaint: str
) -> None:
    write_csv(root / name, header, [row])
    with pytest.raises(InputError, match=rf"{name}, line 2: .*{complaint}"):
        ReleaseSource(root)


def test_the_two_splits_may_number_their_clips_apart(root: Path) -> None:
    (root / "val_labels.txt").write_text(label_line("Paris_0000", IDS["Paris"], SOFT))
    ids = [clip.clip_id for clip in ReleaseSource(root).clips()]
    assert {"train/Paris_0000", "val/Paris_0000"} < set(ids)
    assert len(set(ids)) == len(ids)


def test_a_released_mapping_numbers_its_classes_by_first_appearance(root: Path) -> None:
    rows = LABELS_LIST.splitlines()
    (root / "labels_list.csv").write_text("\n".join([rows[0], rows[3], rows[1], rows[2]]))
    with pytest.raises(InputError, match=r"lies in|is not one of"):  # ids that belong to another list
        ReleaseSource(root)
