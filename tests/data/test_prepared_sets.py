"""A prepared set that was edited, swapped or cut is refused by name, and mended by the next preparation."""

import dataclasses
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from support import SMALL, make_release, one_line, renumber, small

from cityguessr.base.errors import InputError
from cityguessr.data import prepared as files
from cityguessr.data import scene_tables
from cityguessr.data.cityguessr68k import ReleaseSource
from cityguessr.data.clips import PreparedClips
from cityguessr.data.prepare import prepare, taken

TEXT = np.ones((3, 5), np.float32)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release whose frames are all different."""
    root, noise = make_release(tmp_path_factory.mktemp("noise") / "world"), np.random.default_rng(0)
    for file in sorted(root.rglob("*.jpg")):
        Image.fromarray(noise.integers(0, 256, (16, 16, 3)).astype(np.uint8)).save(file)
    return root


@pytest.fixture(scope="module")
def whole(root: Path, tmp_path_factory: pytest.TempPathFactory) -> PreparedClips:
    return prepare(ReleaseSource(root), tmp_path_factory.mktemp("whole") / "set", shard_clips=5, text=TEXT, **SMALL)


@pytest.fixture
def broken(whole: PreparedClips, tmp_path: Path) -> Path:
    """A copy to break."""
    return shutil.copytree(whole.folder, tmp_path / "set")


def read_all(folder: Path) -> None:
    """Everything that can be asked of a set."""
    clips = PreparedClips.load(folder)
    for split in ("train", "val"):
        clips.split(split).frames_tensor()
        [clips.split(split).frame_scenes(i) for i in range(len(clips.split(split)))]
    _ = clips.rejected(), clips.text_features, clips.fingerprint


def edit_meta(folder: Path, edit: Callable[[dict], object], hashed: bool = False) -> None:
    """Change `meta.json`, with `hashed` as someone who knows how its own hash is made."""
    meta = json.loads((folder / "meta.json").read_text())
    edit(meta)
    if hashed:
        files.write_meta(folder, meta)
    else:
        (folder / "meta.json").write_text(json.dumps(meta))


def edit_index(folder: Path, edit: Callable[[pa.Table], pa.Table]) -> None:
    path = folder / "index.parquet"
    pq.write_table(edit(pq.read_table(path)), path)


def swap(folder: Path) -> None:
    first, second = folder / "clips-00000.parquet", folder / "clips-00001.parquet"
    os.replace(first, folder / "between")
    os.replace(second, first)
    os.replace(folder / "between", second)


def with_city(table: pa.Table, city: int) -> pa.Table:
    return table.set_column(3, table.schema.field("city"), pa.array([city] * len(table), pa.int32()))


BREAKS = {
    "meta_list": (r"meta\.json: holds no JSON object", lambda f: (f / "meta.json").write_text("[]")),
    "meta_deep": (r"meta\.json: cannot be read", lambda f: (f / "meta.json").write_text("[" * 100_000)),
    "meta_edited": (r"meta\.json: was edited", lambda f: edit_meta(f, lambda m: m["content"].update(frames="0" * 32))),
    "meta_shards_swapped": (r"meta\.json: was edited", lambda f: edit_meta(f, lambda m: m["shards"].reverse())),
    "meta_shards_swapped_hashed": (
        r"clips-00000\.parquet: not the shard",
        lambda f: edit_meta(f, lambda m: m["shards"][0].update(m["shards"][1], file="clips-00000.parquet"), True),
    ),
    "traversal": (
        r"meta\.json: shards is",
        lambda f: edit_meta(f, lambda m: m["shards"][0].update(file="../set/clips-00000.parquet"), True),
    ),
    "frames_99": (r"damaged, or not the one written", lambda f: edit_meta(f, lambda m: m.update(frames=99), True)),
    "classes_7": (
        r"meta\.json: scenes is",
        lambda f: edit_meta(f, lambda m: m["scenes"]["source-16"].update(classes=7), True),
    ),
    "shards_swapped": (r"clips-00000\.parquet: not the shard that meta\.json names", swap),
    "labels_edited": (r"index\.parquet: not the file", lambda f: edit_index(f, lambda t: with_city(t, 1))),
    "labels_out_of_range": (r"index\.parquet: not the file", lambda f: edit_index(f, lambda t: with_city(t, 99))),
    "index_reversed": (r"index\.parquet: not the file", lambda f: edit_index(f, lambda t: t.take([*range(12)][::-1]))),
    "taxonomy": (r"taxonomy\.csv: not the file", lambda f: (f / "taxonomy.csv").write_bytes(b"city,state\n")),
    "text_features": (
        r"text_features\.safetensors: not the file",
        lambda f: (f / "text_features.safetensors").write_bytes(b"garbage" * 9),
    ),
    "fifo": (r"rejected\.csv: not the file", lambda f: ((f / "rejected.csv").unlink(), os.mkfifo(f / "rejected.csv"))),
    "scenes_gone": (r"source-16\.parquet: missing, or cut", lambda f: (f / "scenes/source-16.parquet").unlink()),
}  # fmt: skip


@pytest.mark.parametrize("kind", BREAKS)
def test_what_was_done_to_a_set_is_named_and_mended_by_the_next_preparation(
    root: Path, whole: PreparedClips, broken: Path, kind: str
) -> None:
    message, damage = BREAKS[kind]
    damage(broken)
    with pytest.raises(InputError, match=message) as error:
        read_all(broken)
    one_line(error)
    assert taken(ReleaseSource(root), broken, SMALL["clip_format"], text=TEXT) is None
    assert prepare(ReleaseSource(root), broken, text=TEXT, **SMALL).fingerprint == whole.fingerprint
    read_all(broken)


@pytest.mark.parametrize("field", sorted(files._FIELDS))
def test_every_field_of_meta_is_asked_for(broken: Path, field: str) -> None:
    edit_meta(broken, lambda meta: meta.pop(field))
    with pytest.raises(InputError, match=rf"meta\.json: the field '{field}' is missing"):
        PreparedClips.load(broken)
    for value in (None, -1, [None], {"a": None}):
        edit_meta(broken, lambda meta, value=value: meta.update({field: value}))
        with pytest.raises(InputError, match=rf"meta\.json: {field} is "):
            PreparedClips.load(broken)


def test_a_single_bit_or_the_end_that_is_missing_is_found_in_any_file(whole: PreparedClips, broken: Path) -> None:
    draw = random.Random(7)
    everything = sorted(path for path in broken.rglob("*") if path.is_file() and path.name != "plan.json")
    for turn in range(80):
        path = everything[turn % len(everything)]
        content = path.read_bytes()
        if turn % 4:
            changed = bytearray(content)
            changed[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        else:
            changed = content[: draw.randrange(len(content))]
        path.write_bytes(changed)
        with pytest.raises(InputError) as error:
            read_all(broken)
        one_line(error)
        path.write_bytes(content)
    read_all(broken)


def test_frames_of_two_clips_that_changed_places_are_found(broken: Path) -> None:
    path = broken / "clips-00000.parquet"
    with pq.ParquetFile(path) as file:
        table, footer = file.read(), {k: v for k, v in file.metadata.metadata.items() if k != b"ARROW:schema"}
    frames = table["frames"].to_pylist()
    frames[0], frames[1] = frames[1], frames[0]
    table = table.set_column(1, table.schema.field("frames"), pa.array(frames, pa.list_(pa.binary())))
    with pq.ParquetWriter(path, table.schema, compression="none") as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(footer)
    edit_meta(broken, lambda meta: meta["shards"][0].update(files.shard_entry(path)), hashed=True)
    with pytest.raises(InputError, match=r"00000\.parquet: a frame of the clip Abu_Dhabi_0000 is damaged, or not the"):
        PreparedClips.load(broken).split("train").frame(0, 2)


# --- what changed in the source since ---------------------------------------------------------------------------------


@pytest.fixture
def copy(root: Path, tmp_path: Path) -> Path:
    return shutil.copytree(root, tmp_path / "world")  # keeps the times


def shard_times(folder: Path) -> list[int]:
    return [path.stat().st_mtime_ns for path in sorted(folder.glob("clips-*"))]


def test_a_replaced_frame_makes_its_shard_anew_and_says_so(
    whole: PreparedClips, copy: Path, broken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare(ReleaseSource(copy), broken, text=TEXT, **SMALL).fingerprint == whole.fingerprint  # elsewhere
    before = shard_times(broken)
    frame = copy / "train" / "Lyon" / "Lyon_0000" / "13.jpg"
    found = frame.stat()
    Image.fromarray(np.full((16, 16, 3), 9, np.uint8)).save(frame)
    frame.write_bytes(frame.read_bytes().ljust(found.st_size, b"\0"))
    assert frame.stat().st_size == found.st_size  # its time alone tells
    assert taken(ReleaseSource(copy), broken, SMALL["clip_format"], text=TEXT) is None
    capsys.readouterr()
    mended = prepare(ReleaseSource(copy), broken, text=TEXT, **SMALL)
    assert "set: 1 clips changed in the source since they were read (Lyon_0000); 1 of 3" in capsys.readouterr().out
    assert [then == now for then, now in zip(before, shard_times(broken), strict=True)] == [True, False, True]
    assert mended.fingerprint != whole.fingerprint
    assert mended.fingerprint == prepare(ReleaseSource(copy), broken.parent / "new", text=TEXT, **SMALL).fingerprint


def test_a_mended_clip_is_no_longer_rejected(copy: Path, tmp_path: Path) -> None:
    frame, folder = copy / "val" / "Paris" / "Paris_0003" / "8.jpg", copy / "train" / "Lyon" / "Lyon_0001"
    content = frame.read_bytes()
    frame.write_bytes(content[:50])
    folder.rename(copy / "elsewhere")
    clips = prepare(ReleaseSource(copy), tmp_path / "set", shard_clips=5, **SMALL)
    assert [row["clip_id"] for row in clips.rejected()] == ["Lyon_0001", "Paris_0003"]
    frame.write_bytes(content)
    assert [row["clip_id"] for row in prepare(ReleaseSource(copy), clips.folder, **SMALL).rejected()] == ["Lyon_0001"]
    (copy / "elsewhere").rename(folder)
    assert prepare(ReleaseSource(copy), clips.folder, **SMALL).rejected() == []


def test_other_times_alone_change_nothing_and_are_remembered(
    whole: PreparedClips, copy: Path, broken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = shard_times(broken)
    for file in copy.rglob("*.jpg"):
        os.utime(file, ns=(1, 1))
    wanted = ReleaseSource(copy), broken, SMALL["clip_format"]
    assert taken(*wanted, text=TEXT) is None
    assert prepare(ReleaseSource(copy), broken, text=TEXT, **SMALL).fingerprint == whole.fingerprint
    assert shard_times(broken) == before
    monkeypatch.setattr("cityguessr.data.source_files._content_digest", lambda _: pytest.fail("read again"))
    assert taken(*wanted, text=TEXT).fingerprint == whole.fingerprint


def test_corrected_labels_are_taken_over_without_reading_a_picture(
    whole: PreparedClips, copy: Path, broken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = shard_times(broken)
    renumber(copy)
    monkeypatch.setattr("cityguessr.data.prepare.write_shard", lambda _: pytest.fail("a picture is read"))
    corrected = prepare(ReleaseSource(copy), broken, text=TEXT, **SMALL)
    assert corrected.split("val").labels["city"].tolist() == [0, 2, 1]
    assert corrected.fingerprint != whole.fingerprint
    assert shard_times(broken) == before


def test_a_set_of_the_format_before_is_made_anew(
    root: Path, broken: Path, whole: PreparedClips, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("plan.json", "meta.json"):
        content = json.loads((broken / name).read_text())
        (broken / name).write_text(json.dumps(content | {"format": 1}))
    (broken / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"an older prepared set with other files \(notes\.txt"):
        prepare(ReleaseSource(root), broken, text=TEXT, **SMALL)
    (broken / "notes.txt").unlink()
    assert prepare(ReleaseSource(root), broken, text=TEXT, **SMALL).fingerprint == whole.fingerprint
    assert "set: prepared by an earlier version of this project; made anew" in capsys.readouterr().out


# --- tables of scenes -------------------------------------------------------------------------------------------------


def test_tables_of_scenes_share_the_frames_and_go_with_them(broken: Path, copy: Path) -> None:
    clips = PreparedClips.load(broken)
    rows = [(name, np.eye(365, dtype=np.float32)[[k, 5, 6, 7]]) for k, name in enumerate(clips.clip_ids)]
    rows[1] = (rows[1][0], None)
    table = scene_tables.write(broken, "seen", iter(rows), 365, "a classifier")
    again = PreparedClips.load(broken, "seen")
    assert (again.scene_classes, again.labelled, table.origin) == (365, False, "a classifier")
    assert again.split("train").frame_scenes(0).argmax(dim=1).tolist() == [0, 5, 6, 7]
    assert again.split("train").frame_scenes(1) is None
    assert PreparedClips.load(broken, 365).fingerprint == again.fingerprint != clips.fingerprint
    assert PreparedClips.load(broken).fingerprint == clips.fingerprint
    (broken / "meta.json").unlink()
    prepare(ReleaseSource(copy), broken, text=TEXT, **SMALL)
    assert PreparedClips.load(broken, "seen").fingerprint == again.fingerprint  # of the same frames: it stays
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(copy / "val" / "Paris" / "Paris_0003" / "8.jpg")
    assert list(prepare(ReleaseSource(copy), broken, text=TEXT, **SMALL).meta["scenes"]) == ["source-16"]
    with pytest.raises(InputError, match=r"no table of scenes 'seen' \(there are: source-16\)"):
        PreparedClips.load(broken, "seen")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[::-1], r"row 1: the clip 'Lyon_0003' where the index has 'Abu_Dhabi_0000'"),
        (lambda rows: rows[:-1], r"11 rows, where the index has 12"),
        (lambda rows: [*rows, rows[0]], r"row 13: the clip 'Abu_Dhabi_0000' where the index has None"),
        (lambda rows: [(name, np.ones((3, 16))) for name, _ in rows], r"\(3, 16\), not \(1, 16\) or \(4, 16\)"),
        (lambda rows: [(name, np.full((1, 16), np.nan)) for name, _ in rows], "not finite or all zero"),
    ],
)
def test_labels_that_do_not_fit_the_index_are_refused(broken: Path, change: Callable, message: str) -> None:
    rows = [(name, np.ones((1, 16))) for name in PreparedClips.load(broken).clip_ids]
    with pytest.raises(InputError, match=message) as error:
        scene_tables.write(broken, "mine", change(rows), 16, "me")
    one_line(error)
    assert list(PreparedClips.load(broken).meta["scenes"]) == ["source-16"]


def test_source_videos_are_not_in_the_fingerprint_but_have_a_digest(root: Path, tmp_path: Path) -> None:
    class OfOneVideo(ReleaseSource):
        def clips(self) -> list:
            return [dataclasses.replace(clip, video_id=clip.clip_id[:4]) for clip in super().clips()]

    plain, known = (prepare(kind(root), tmp_path / kind.__name__, **small()) for kind in (ReleaseSource, OfOneVideo))
    assert plain.fingerprint == known.fingerprint
    assert plain.videos_digest != known.videos_digest
    assert torch.equal(plain.split("train").frames_tensor(), known.split("train").frames_tensor())
