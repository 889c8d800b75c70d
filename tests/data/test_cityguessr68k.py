"""The release layout of CityGuessr68k: what its label files mean, and what MiniWorld adds."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from support import IDS, LABELS_LIST, SMALL, label_line, make_release, one_line, small, write_csv

from cityguessr.base.errors import InputError
from cityguessr.data.cityguessr68k import ReleaseSource
from cityguessr.data.clips import PreparedClips
from cityguessr.data.prepare import prepare
from cityguessr.data.release import label_files

SOFT = [0.25, 0.75] + [0.0] * 14
SCENES = [1.0] + [0.0] * 15


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


def test_with_365_scenes_the_category_of_a_frame_is_its_scene(root: Path, tmp_path: Path) -> None:
    clips = [clip.clip_id for clip in ReleaseSource(root).clips()]
    rows = [(c, n, n % 16, 345 + n % 20) for c in clips for n in range(1, 21)]
    write_csv(root / "frame_scenes.csv", ("clip", "frame", "scene", "category"), rows)
    source = ReleaseSource(root, scene_classes=365)
    assert source.clips()[0].frame_scenes[[1, 19]].tolist() == [346, 364]
    assert all(clip.clip_scenes is None for clip in source.clips())  # 16 shares say nothing of 365 categories
    prepared = prepare(source, tmp_path / "fine", **small(scene_classes=365))
    train = prepared.split("train")
    assert (prepared.scene_classes, train.scene_classes, prepared.scenes.name) == (365, 365, "source-365")
    assert train.frame_scenes(0).shape == (4, 365)
    assert train.frame_scenes(0).argmax(dim=1).tolist() == [348, 353, 358, 363]  # frames 3, 8, 13 and 18 of 20
    assert train.frame_scenes(0).sum(dim=1).tolist() == [1.0] * 4
    assert train[0]["frame_scenes"].equal(train.frame_scenes(0))

    shards = {path: path.stat().st_mtime_ns for path in prepared.folder.glob("clips-*")}
    coarse = prepare(ReleaseSource(root), tmp_path / "fine", **SMALL)  # the same frames, labelled otherwise
    assert {path: path.stat().st_mtime_ns for path in prepared.folder.glob("clips-*")} == shards
    assert coarse.split("train").frame_scenes(0).argmax(dim=1).tolist() == [3, 8, 13, 2]
    assert (coarse.scene_classes, coarse.split("val").jpegs(0)) == (16, prepared.split("val").jpegs(0))
    assert coarse.fingerprint != prepared.fingerprint
    assert PreparedClips.load(coarse.folder).fingerprint == coarse.fingerprint
    assert PreparedClips.load(coarse.folder, 365).fingerprint == prepared.fingerprint
    assert coarse.with_scenes("source-365").fingerprint == prepared.fingerprint


def test_where_no_category_is_listed_there_are_no_scenes_of_365_classes(root: Path, tmp_path: Path) -> None:
    unseen = prepare(ReleaseSource(root, scene_classes=365), tmp_path / "plain", **small(scene_classes=365))
    plain = unseen.split("train")
    assert plain.frame_scenes(0) is None
    assert plain[0]["frame_scenes"].shape == (1, 365)
    assert plain[0]["frame_scenes"].isnan().all()
    write_csv(root / "frame_scenes.csv", ("clip", "frame", "scene"), [("Paris_0000", 1, 3)])
    with pytest.raises(InputError, match=r"frame_scenes\.csv, line 1: no column category"):
        ReleaseSource(root, scene_classes=365)
    write_csv(root / "frame_scenes.csv", ("clip", "frame", "scene", "category"), [("Paris_0000", 1, 3, 365)])
    with pytest.raises(InputError, match=r"frame_scenes\.csv, line 2: category '365' is not one of 0\.\.364"):
        ReleaseSource(root, scene_classes=365)
    with pytest.raises(InputError, match="scene_classes=64: there are 16 scenes"):
        ReleaseSource(root, scene_classes=64)


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
    with pytest.raises(InputError, match=r"Abu_Dhabi, city 1, and the line says city 0 \(Lyon\)"):
        ReleaseSource(root)


def add_line(root: Path, line: str) -> str:
    with open(root / "train_labels.txt", "a") as file:
        file.write(line + "\n")
    return f"train_labels.txt, line {len((root / 'train_labels.txt').read_text().splitlines())}"


def test_a_label_line_of_the_wrong_width_is_named(tmp_path: Path) -> None:
    root = make_release(tmp_path / "release")
    where = add_line(root, label_line("Paris_0009", IDS["Paris"], SCENES[:15]))
    with pytest.raises(InputError, match=f"{where}: 20 fields, where a line has 5, 21 or 533") as error:
        ReleaseSource(root)
    one_line(error)


def test_an_id_outside_the_taxonomy_is_named(tmp_path: Path) -> None:
    root = make_release(tmp_path / "release")
    where = add_line(root, label_line("Paris_0009", (3, 1, 1, 1), SCENES))
    with pytest.raises(InputError, match=rf"{where}: the city id '3' is not one of 0\.\.2") as error:
        ReleaseSource(root)
    one_line(error)


def test_ids_that_are_no_path_in_the_tree_are_named(tmp_path: Path) -> None:
    root = make_release(tmp_path / "release")
    where = add_line(root, label_line("Paris_0009", (1, 1, 0, 0), SCENES))
    with pytest.raises(InputError, match=rf"{where}: state 1 \(Ile-de-France\) lies in country 1 \(France\).* says 0"):
        ReleaseSource(root)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (label_line("Paris_0000", IDS["Paris"], SCENES), "'Paris_0000' stands in line 4 already"),
        (label_line("", IDS["Paris"], SCENES), "the clip has no name"),
        (label_line("Paris_0009", IDS["Paris"]), "5 fields, and 21 in the lines above"),
        (
            label_line("Paris_0009", IDS["Paris"], ["x", *SCENES[1:]]),
            "field 6 is 'x'; text and scene columns are numbers",
        ),
        (label_line("Paris_0009", IDS["Paris"], ["nan", *SCENES[1:]]), "a text or scene column is not finite"),
        (label_line("Paris_0009", IDS["Paris"], [0.0] * 16), "scene shares are negative or all zero"),
    ],
)
def test_a_line_that_makes_no_sense_is_named(tmp_path: Path, line: str, complaint: str) -> None:
    root = make_release(tmp_path / "release")
    where = add_line(root, line)
    with pytest.raises(InputError, match=f"{where}: {complaint}") as error:
        ReleaseSource(root)
    one_line(error)


def test_missing_parts_of_a_release_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere: no such folder; give"):
        ReleaseSource(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"no labels_list\.csv; give"):
        ReleaseSource(tmp_path)
    root = make_release(tmp_path / "release")
    (root / "val_labels.txt").write_text("\n")
    with pytest.raises(InputError, match=r"val_labels\.txt: lists no clip"):
        ReleaseSource(root)
    (root / "val_labels.txt").unlink()
    with pytest.raises(InputError, match=r"no val_labels\*\.txt; both splits are needed"):
        ReleaseSource(root)


LONG = "1" * 5000


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (f"Paris_0009,{LONG},1,1,1", r"the city id '1+'\.\.\. \(5,000 characters\) is not one of 0\.\.2"),
        ("Paris_0009,٣,1,1,1", r"the city id '٣' is not one of"),
        ("Paris_0009,0x1,1,1,1", r"the city id '0x1' is not one of"),
        ("Paris_0009,+1,1,1,1", r"the city id '\+1' is not one of"),
        ("Par\x00is_0009,1,1,1,1", r"'Par\\x00is_0009' is no name of a clip"),
        ("Paris\x1b[2J_0009,1,1,1,1", "is no name of a clip"),
        ("../..,1,1,1,1", "is no name of a clip"),
        ("Paris_0009,2,2,1,1", r"'Paris_0009' is of Paris, city 1, and the line says city 2 \(Lyon\)"),
        ("val/Paris/Lyon_0009,2,2,1,1", r"is of Paris, city 1, and the line says city 2 \(Lyon\)"),
        ("Paris_0009" + "9" * 300 + ",1,1,1,1", "is no name of a clip"),
        ("x" * (5 << 20), "more than 262,144 characters, where a line has 533 fields at most"),
    ],
    ids=lambda value: value[:24],
)
def test_a_line_of_five_fields_that_makes_no_sense_is_named(tmp_path: Path, line: str, complaint: str) -> None:
    root = make_release(tmp_path / "release", scenes=False, frames=1)
    where = add_line(root, line)
    with pytest.raises(InputError, match=f"{where}: .*{complaint}") as error:
        ReleaseSource(root)
    assert len(one_line(error)) < 1000


@pytest.mark.parametrize("number", ["1_0", "0x10", "1e400", "1e39", "", "٣", "1,", "-inf", "1" * 400])
def test_a_number_that_is_none_is_named(tmp_path: Path, number: str) -> None:
    root = make_release(tmp_path / "release", frames=1)
    where = add_line(root, label_line("Paris_0009", IDS["Paris"], [number, *SCENES[1:]]))
    with pytest.raises(InputError, match=f"{where}: ") as error:
        ReleaseSource(root)
    assert len(one_line(error)) < 1000


def test_however_its_lines_end_a_label_file_says_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blank lines, blanks around fields, commas and blanks at the end, line ends of any system, blocks of any size."""
    root = make_release(tmp_path / "release", frames=1)
    file = root / "train_labels.txt"
    lines = file.read_text().splitlines()

    def listed() -> list[tuple[object, ...]]:
        return [(c.clip_id, c.labels, c.path, c.clip_scenes.tolist()) for c in ReleaseSource(root).clips()]

    expected = listed()
    forms = ["\r\n".join(lines), "\r".join(lines), "\n\n".join(lines), ",\n".join(lines), " \n".join(lines)]
    forms += ["\n".join(lines).replace(",", " , "), "\ufeff" + "\n".join(lines) + "\n\n\n"]
    for block in (1 << 22, 100):
        monkeypatch.setattr(label_files, "_BLOCK", block)
        for form in forms:
            file.write_bytes(form.encode())
            assert listed() == expected
    file.write_text("\n".join([*lines[:5], "", lines[3], *lines[5:]]))
    with pytest.raises(InputError, match=r"train_labels\.txt, line 7: 'Paris_0000' stands in line 4 already"):
        ReleaseSource(root)


def test_text_features_do_not_depend_on_how_a_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, random = make_release(tmp_path / "release", frames=1), np.random.default_rng(0)
    numbers = random.normal(size=(6, 512))
    for split, rows in (("train", range(5)), ("val", range(5, 6))):
        lines = [label_line(f"Paris_{k:04d}", IDS["Paris"], SCENES, numbers[k].tolist()) for k in rows]
        (root / f"{split}_labels.txt").write_text("\n".join(lines))
    features = ReleaseSource(root).text_features
    assert features[1] == pytest.approx(numbers.astype(np.float32).mean(axis=0), abs=1e-6)
    for change in ({"_BLOCK": 7000}, {"_parse": lambda block, width: None}):  # a line at a time; without Arrow
        for name, value in change.items():
            monkeypatch.setattr(label_files, name, value)
        assert ReleaseSource(root).text_features[1].tobytes() == features[1].tobytes()


@pytest.mark.parametrize(
    "name", ["train_labels.txt", "train_labels_more.txt", "labels_list.csv", "gps.csv", "frame_scenes.csv", "clips.csv"]
)
def test_a_pipe_in_place_of_a_file_is_refused_at_once(tmp_path: Path, name: str) -> None:
    root = make_release(tmp_path / "release", frames=1)
    (root / name).unlink(missing_ok=True)
    os.mkfifo(root / name)
    with pytest.raises(
        InputError, match=f"{name}: (no labels_list.csv|a pipe or a device, not a file)|no labels_list.csv"
    ):
        ReleaseSource(root)


@pytest.mark.parametrize(
    ("name", "header", "values"),
    [("frame_scenes.csv", ("clip", "frame", "scene"), (1,)), ("gps.csv", ("clip", "frame", "lat", "lon"), (1, 2))],
)
def test_frame_numbers_that_no_clip_has_take_no_memory(
    tmp_path: Path, name: str, header: tuple[str, ...], values: tuple[int, ...]
) -> None:
    root = make_release(tmp_path / "release", frames=1)
    for frame in (10**5, 10**9, 10**11, "9" * 5000):
        write_csv(root / name, header, [("Paris_0000", 1, *values), ("Paris_0001", frame, *values)])
        with pytest.raises(InputError, match=rf"{name}, line 3: .*(below 100,000|of more than 4,096)") as error:
            ReleaseSource(root)
        assert len(one_line(error)) < 1000
    write_csv(root / name, header, [("Paris_0000", n, *values) for n in (1, 2, 1)])
    with pytest.raises(InputError, match=rf"{name}, line 4: frame 1 of Paris_0000 stands in line 2 already"):
        ReleaseSource(root)
    (root / "val_labels.txt").write_text(label_line("Paris_0000", IDS["Paris"], SOFT))
    with pytest.raises(InputError, match=rf"{name}, line 2: both splits have a clip Paris_0000"):
        ReleaseSource(root)


def test_a_clip_comes_from_one_video(root: Path) -> None:
    header = ("clip", "video", "first_frame", "split")
    for rows, complaint in (
        ([("Paris_0000", "v0", 0, "train"), ("Paris_0000", "v1", 0, "train")], "line 3: Paris_0000 comes from v0"),
        ([("Paris_0000", "", 0, "train")], "line 2: Paris_0000 has no video"),
    ):
        write_csv(root / "clips.csv", header, rows)
        with pytest.raises(InputError, match=rf"clips\.csv, {complaint}"):
            ReleaseSource(root)
