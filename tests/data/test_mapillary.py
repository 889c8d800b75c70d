"""Mapillary (MSLS): which sequences the paper keeps of the tree, how they are split, and what is wrong input."""

import csv
import dataclasses
import importlib
import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support import full_after, picture, small, write_csv

from cityguessr.base.errors import InputError, MissingWeights
from cityguessr.config import ClipFormat
from cityguessr.data.clips import PreparedClips
from cityguessr.data.mapillary import MapillarySource, cities, tree
from cityguessr.data.prepare import prepare
from cityguessr.measures.inequality import gini
from cityguessr.miniworld import MapillaryConfig, MapillaryWorld, MiniWorld, MiniWorldConfig, write_mapillary
from cityguessr.taxonomy import LEVELS, Taxonomy
from cityguessr.training import datasets, profiles
from cityguessr.training.datasets import prepared as prepare_profile

SMALL = small(frames=5)
INDEX = ""  # every table of MSLS has a column of numbers without a name first


def make_side(place: Path, lengths: list[int], sequence_column: str = "sequence_key", raw: bool = True) -> None:
    """Query or database of a city; the k-th frame of a sequence is a grey of 4 k, and its file's name says nothing."""
    (place / "images").mkdir(parents=True)
    stem = f"{place.parent.name}{place.name}"
    info, where = [], []
    for number, length in enumerate(lengths):
        for k in range(length):
            key = f"{(k * 37 + 11) % 101:03d}_{stem}{number}"  # in another order than the frames
            Image.fromarray(picture(4 * k, 24, 16)).save(place / "images" / f"{key}.jpg")
            info.append([key, f"{stem}-{number}", k + 3])
            where.append([key, 10 + k / 1000, 50 + k / 1000, 90.0, "2015-06-01", False])
    info.sort()  # nor are the lines
    columns = ["key", "lon", "lat", "ca", "captured_at", "pano"]
    write_csv(place / "seq_info.csv", [INDEX, "key", sequence_column, "frame_number"], _numbered(info))
    write_csv(place / "subtask_index.csv", [INDEX, "all"], _numbered([[True] for _ in info]))
    if raw:
        write_csv(place / "raw.csv", [INDEX, *columns], _numbered(where))
        write_csv(place / "postprocessed.csv", [INDEX, "key", "night"], _numbered([[row[0], False] for row in where]))


def _numbered(rows: list[list]) -> list[list]:
    return [[number, *row] for number, row in enumerate(rows)]


def make_msls(root: Path) -> Path:
    """Three cities of CityGuessr68k and one that is not in it, with sequences of 14 frames and fewer among them."""
    make_side(root / "train_val" / "london" / "query", [15, 14, 16])
    make_side(root / "train_val" / "london" / "database", [20, 15, 15, 9, 17])
    make_side(root / "train_val" / "cph" / "query", [15])
    make_side(root / "train_val" / "cph" / "database", [18])
    make_side(root / "train_val" / "paris" / "query", [15, 3])
    make_side(root / "train_val" / "paris" / "database", [30])
    make_side(root / "test" / "bengaluru" / "query", [15, 15], "sequence_id", raw=False)
    make_side(root / "test" / "bengaluru" / "database", [15, 21, 15], "sequence_id", raw=False)
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_msls(tmp_path_factory.mktemp("tree") / "msls")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return make_msls(tmp_path / "msls")


@pytest.fixture(scope="module")
def prepared(root: Path, tmp_path_factory: pytest.TempPathFactory) -> PreparedClips:
    return prepare(MapillarySource(root), tmp_path_factory.mktemp("set") / "msls", **SMALL)


# ---- what the paper says of the data set


def test_the_thirty_cities_and_their_tree_are_those_of_table_1() -> None:
    whole = tree()
    assert list(whole.sizes.values()) == [30, 29, 24, 6]
    assert Counter(row["part"] for row in cities().values()) == {"train_val": 24, "test": 6}
    full, kept = Taxonomy.cityguessr68k(), [row["city"] for row in cities().values() if row["kept"] == "1"]
    assert list(full.subset(kept).sizes.values()) == [21, 21, 19, 6]  # supplement, section 4
    assert {row["city"] for row in cities().values()} & set(full.folders) == set(kept)
    ours = {row["city"]: row for row in whole.rows()}
    for row in full.subset(kept).rows():  # names and coordinates as in the tree of 166 cities
        assert {k: v for k, v in row.items() if not k.endswith("_id")}.items() <= ours[str(row["city"])].items()


def test_query_and_database_train_and_test_are_taken_together(root: Path) -> None:
    source = MapillarySource(root)
    clips = {clip.clip_id: clip for clip in source.clips()}
    assert len(clips) == 13
    assert {"London_query_londonquery-0", "London_database_londondatabase-0", "Banglore_query_bengaluruquery-1"} <= set(
        clips
    )
    assert source.taxonomy == Taxonomy.cityguessr68k().subset(["London", "Copenhagen", "Banglore"])
    for clip in clips.values():
        city = source.taxonomy.city_id(clip.clip_id.split("_")[0])
        assert clip.labels == tuple(int(source.taxonomy.ancestors[level][city]) for level in LEVELS)


def test_short_sequences_and_other_cities_are_left_out_and_the_counts_add_up(root: Path) -> None:
    counts = MapillarySource(root).counts
    assert (counts.sequences, counts.short, counts.other_city, counts.alone, counts.kept) == (18, 3, 2, 0, 13)
    assert counts.sequences == counts.short + counts.other_city + counts.alone + counts.kept
    assert counts.kept == counts.train + counts.val
    assert counts.long == {"cph": 2, "london": 6, "paris": 2, "bengaluru": 5}
    longer = MapillarySource(root, min_frames=16).counts  # one frame more, and two cities have a single sequence left
    assert (longer.sequences, longer.alone) == (18, 2)
    assert longer.sequences == longer.short + longer.other_city + longer.alone + longer.kept


def test_a_fifth_of_every_city_is_for_validation_and_the_draw_is_the_seeds(root: Path) -> None:
    source = MapillarySource(root)
    halves = {split: Counter(c.labels[0] for c in source.clips() if c.split == split) for split in ("train", "val")}
    assert halves["val"] == {source.taxonomy.city_id(city): n for city, n in _expected(0.2).items()}
    assert set(halves["train"]) == set(halves["val"]) == set(range(3))  # every class is in both
    assert [c.split for c in MapillarySource(root).clips()] == [c.split for c in source.clips()]
    others = [[c.split for c in MapillarySource(root, seed=seed).clips()] for seed in range(1, 6)]
    assert any(splits != [c.split for c in source.clips()] for splits in others)
    assert all(splits.count("val") == source.counts.val for splits in others)


def _expected(share: float) -> dict[str, int]:
    return {city: -int(-share * n // 1) for city, n in (("London", 6), ("Copenhagen", 2), ("Banglore", 5))}


def test_the_counts_are_held_against_the_papers_and_a_difference_is_said(root: Path) -> None:
    source = MapillarySource(root)
    table = datasets.against_paper(source).set_index("quantity")
    assert table.loc["msls_filtered samples", ["paper", "counted"]].tolist() == [11320, 13]
    assert table.loc["msls_filtered train", "paper"] == 9049
    assert table.loc["msls samples", ["paper", "counted"]].tolist() == [14965, 15]
    assert table.loc["msls countries", ["paper", "counted"]].tolist() == [24, 4]
    assert not table.loc["msls_filtered val", "agrees"]
    assert "msls_filtered samples 13, in the paper 11,320" in datasets.agreement(source)


def test_counts_as_in_the_paper_are_said_to_be(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cityguessr import paper

    source = MapillarySource(root)
    ours = datasets.against_paper(source).set_index("quantity")["counted"]
    frame = paper.dataset()
    names = frame["dataset"] + " " + frame["quantity"]
    frame["value"] = [ours.get(name, value) for name, value in zip(names, frame["value"], strict=True)]
    monkeypatch.setattr(paper, "dataset", lambda: frame)
    assert datasets.agreement(source).endswith(f"all {len(ours)} counts as in the paper")


# ---- frames


def test_frames_follow_their_numbers_and_not_their_files_names(root: Path, prepared: PreparedClips) -> None:
    clip = next(clip for clip in MapillarySource(root).clips() if clip.clip_id == "London_database_londondatabase-0")
    assert clip.files is not None
    assert len(clip.files) == 20
    assert list(clip.files) != sorted(clip.files)
    split = prepared.split(clip.split)
    greys = split[split.clip_ids.index(clip.clip_id)]["frames"].float().mean((1, 2, 3))
    assert greys.tolist() == pytest.approx([4 * k for k in (2, 6, 10, 14, 18)], abs=1.5)  # spread over all 20 frames


def test_every_frame_has_its_place_where_raw_csv_gives_one(root: Path, prepared: PreparedClips) -> None:
    london = next(clip for clip in MapillarySource(root).clips() if clip.clip_id == "London_database_londondatabase-0")
    assert london.gps is not None
    assert london.gps[:3] == pytest.approx(np.array([[50, 10], [50.001, 10.001], [50.002, 10.002]]))
    gps = {clip_id: track for s in ("train", "val") for clip_id, track in _gps(prepared, s).items()}
    assert gps[london.clip_id][1] == pytest.approx((50.006, 10.006))
    assert gps["Banglore_query_bengaluruquery-0"] is None  # the test part has no places


def _gps(prepared: PreparedClips, split: str) -> dict[str, list[tuple[float, float]] | None]:
    import pyarrow.parquet as pq

    rows = pq.read_table(prepared.folder / "index.parquet", columns=["clip_id", "split", "gps"]).to_pylist()
    return {
        row["clip_id"]: None if row["gps"] is None else [(p["lat"], p["lon"]) for p in row["gps"]]
        for row in rows
        if row["split"] == split
    }


@pytest.mark.parametrize("absent", ["", "nan", "NULL"])
def test_an_image_without_coordinates_keeps_its_clip(copy: Path, tmp_path: Path, absent: str) -> None:
    path = copy / "train_val" / "london" / "query" / "raw.csv"
    path.write_text(path.read_text().replace(",10.0,", f",{absent},"))  # the first frame of every sequence
    path = copy / "train_val" / "london" / "database" / "raw.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *lines[2:]]))
    source = MapillarySource(copy)
    clip = next(clip for clip in source.clips() if clip.clip_id == "London_query_londonquery-0")
    assert clip.gps is not None
    assert np.isnan(clip.gps).any(axis=1).tolist() == [True] + [False] * 14
    assert source.counts.unplaced == 3  # two of London's queries are long enough, and a line of its database is lost
    assert "3 images without coordinates" in datasets.agreement(source)
    found = prepare(source, tmp_path / "set", **SMALL)
    assert found.meta["clips"]["rejected"] == 0


def test_panoramas_are_kept_and_said_or_left_out(copy: Path) -> None:
    path = copy / "train_val" / "london" / "query" / "raw.csv"
    path.write_text(path.read_text().replace("10.0,50.0,90.0,2015-06-01,False", "10.0,50.0,90.0,2015-06-01,True"))
    source = MapillarySource(copy)
    assert (source.counts.kept, source.counts.panoramic) == (13, 2)
    assert "2 of them with panoramas, which the paper does not leave out" in datasets.agreement(source)
    without = MapillarySource(copy, panoramas=False)  # 15 - 1 frames are too few, 16 - 1 are enough
    assert (without.counts.kept, without.counts.short, without.counts.panoramic) == (12, 4, 0)
    clip = next(clip for clip in without.clips() if clip.clip_id == "London_query_londonquery-2")
    assert clip.gps is not None
    assert clip.files is not None
    assert len(clip.files) == len(clip.gps) == 15


def test_frame_numbers_may_be_written_as_decimals(root: Path, copy: Path) -> None:
    path = copy / LONDON / "seq_info.csv"
    path.write_text(
        "".join(f"{line}.0\n" if k else f"{line}\n" for k, line in enumerate(path.read_text().splitlines()))
    )
    assert [clip.files for clip in MapillarySource(copy).clips()] == [
        clip.files for clip in MapillarySource(root).clips()
    ]


def test_damaged_images_of_the_real_tree_name_the_patch(
    prepared: PreparedClips, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = copy_of(prepared, {"listed": 100, "prepared": 99, "rejected": 1})
    datasets._checked(damaged, datasets.PATCH)
    assert "1 of 100 clips rejected, see rejected.csv there (images that MSLS" in capsys.readouterr().out


def copy_of(prepared: PreparedClips, clips: dict[str, int]) -> PreparedClips:
    """The set with other counts."""
    other = PreparedClips.__new__(PreparedClips)
    other.__dict__ = {**prepared.__dict__, "meta": {**prepared.meta, "clips": clips}}
    return other


def test_parts_of_one_sequence_are_one_source_video(copy: Path) -> None:
    for side in ("query", "database"):
        path = copy / "train_val" / "cph" / side / "seq_info.csv"
        path.write_text(path.read_text().replace(f"cph{side}-0", "same"))
        if side == "query":  # images have keys of their own, sequences need not
            assert "same" in path.read_text()
    clips = [clip for clip in MapillarySource(copy).clips() if clip.clip_id.startswith("Copenhagen")]
    assert {clip.clip_id for clip in clips} == {"Copenhagen_query_same", "Copenhagen_database_same"}
    assert {clip.video_id for clip in clips} == {"Copenhagen_same"}


def test_scenes_are_read_where_the_tree_has_them(copy: Path, tmp_path: Path) -> None:
    rows = [[Path(file).stem, k % 16, k % 365] for clip in MapillarySource(copy).clips() for k, file in _numbers(clip)]
    write_csv(copy / "scenes.csv", ["key", "scene", "category"], rows)
    clip = MapillarySource(copy).clips()[0]
    assert clip.frame_scenes is not None
    assert clip.frame_scenes.tolist() == [k % 16 for k in range(len(clip.files or ()))]
    finer = prepare(MapillarySource(copy, scene_classes=365), tmp_path / "finer", **small(frames=5, scene_classes=365))
    assert finer.split("train")[0]["frame_scenes"].shape == (5, 365)
    write_csv(copy / "scenes.csv", ["key", "scene", "category"], [*rows[1:], ["x", 16, 3]])
    with pytest.raises(InputError, match=r"scenes.csv, line \d+: scene '16' is not one of 0..15"):
        MapillarySource(copy)


def _numbers(clip: object) -> list[tuple[int, str]]:
    return list(enumerate(clip.files))  # type: ignore[attr-defined]


# ---- what can be wrong


def test_a_missing_or_damaged_image_costs_its_clip_alone(copy: Path, tmp_path: Path) -> None:
    clips = MapillarySource(copy).clips()
    assert clips[0].files is not None
    assert clips[1].files is not None
    (Path(clips[0].path) / clips[0].files[len(clips[0].files) // 2]).unlink()
    (Path(clips[1].path) / clips[1].files[len(clips[1].files) // 2]).write_bytes(b"\xff\xd8 half a picture")
    found = prepare(MapillarySource(copy), tmp_path / "set", **SMALL)
    assert found.meta["clips"] == {"listed": 13, "prepared": 11, "rejected": 2}
    reasons = {row["clip_id"]: row["reason"] for row in found.rejected()}
    assert "cannot be read (No such file" in reasons[clips[0].clip_id]
    assert "not a whole image" in reasons[clips[1].clip_id]


def test_too_few_frames_for_a_model_are_said_by_the_clip(root: Path, tmp_path: Path) -> None:
    found = prepare(MapillarySource(root), tmp_path / "set", **small(frames=16))
    reasons = {row["clip_id"]: row["reason"] for row in found.rejected()}
    assert "16 frames are needed and there are 15" in reasons["London_query_londonquery-0"]
    whole = prepare(MapillarySource(root, min_frames=16), tmp_path / "other", **small(frames=16))
    assert whole.meta["clips"]["rejected"] == 0


LONDON = Path("train_val") / "london" / "query"


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_a_folder_that_is_no_tree_is_said_to_be_none(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere: no such folder; give the folder of MSLS"):
        MapillarySource(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"neither train_val/ nor test/ is in it"):
        MapillarySource(copy / "train_val")
    (tmp_path / "empty" / "test").mkdir(parents=True)
    with pytest.raises(InputError, match=r"test: no city in it; unpack the archives"):
        MapillarySource(tmp_path / "empty")
    (copy / "test" / "london").mkdir()
    with pytest.raises(InputError, match=r"test/london: .*train_val/london is the same city"):
        MapillarySource(copy)


def test_parts_of_a_city_that_are_missing_are_named(copy: Path) -> None:
    images = copy / LONDON / "images"
    images.rename(images.with_name("elsewhere"))
    with pytest.raises(InputError, match=r"london/query: no images/; unpack the archives of images there"):
        MapillarySource(copy)
    (copy / LONDON / "seq_info.csv").unlink()
    with pytest.raises(InputError, match=r"london/query: no seq_info.csv"):
        MapillarySource(copy)


@pytest.mark.parametrize(
    ("table", "old", "new", "complaint"),
    [
        ("seq_info.csv", ",sequence_key,", ",sequence,", r"line 1: no column sequence_key or sequence_id"),
        ("seq_info.csv", ",frame_number", ",frame", r"line 1: no column frame_number"),
        ("seq_info.csv", "-0,13", "-0,x", r"line \d+: the frame number 'x' is not a whole number"),
        ("seq_info.csv", "-0,13", "-0,-13", r"line \d+: the frame number '-13' is not a whole number"),
        ("seq_info.csv", "-0,13", "-0,nan", r"line \d+: the frame number 'nan' is not a whole number"),
        ("seq_info.csv", "-0,13", "-0,", r"line \d+: the frame number '' is not a whole number"),
        ("seq_info.csv", "-0,13", "-0," + "9" * 5000, r"line \d+: a field of more than 200 characters"),
        ("seq_info.csv", "-0,13", "-0,12.0", r"line \d+: image \S+ is frame 12 of londonquery-0, as in line \d+"),
        ("seq_info.csv", "0,004_", "0,\0004_", r"line 2: has the control character '\\x00'"),
        ("seq_info.csv", "0,004_", "0," + "k" * 200_000, r"line 2: field larger than field limit"),
        ("raw.csv", ",10.0,", ",inf,", r"line 2: the longitude 'inf' is not a number"),
        ("raw.csv", ",False", ",maybe", r"line 2: pano is 'maybe'; write True or False"),
        ("seq_info.csv", "londonquery-0,13", ",13", r"line \d+: the field sequence_key is empty"),
        ("seq_info.csv", "0,004_", "0,../004_", r"line 2: '../004_londonquery\d' is no key of an image"),
        ("raw.csv", ",10.0,", ",ten,", r"line 2: the longitude 'ten' is not a number from -180 to 180"),
        ("raw.csv", ",10.0,", ",", r"line 2: 6 fields, where the header has 7"),
        ("raw.csv", ",lon,", ",longitude,", r"line 1: no column lon"),
    ],
)
def test_a_table_that_makes_no_sense_is_named_with_its_line(
    copy: Path, table: str, old: str, new: str, complaint: str
) -> None:
    _edit(copy / LONDON / table, old, new)
    with pytest.raises(InputError, match=f"{table}, {complaint}") as error:
        MapillarySource(copy)
    assert "\n" not in str(error.value)


def test_an_image_listed_twice_is_named_with_both_lines(copy: Path) -> None:
    path = copy / LONDON / "seq_info.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, lines[4]]) + "\n")
    with pytest.raises(InputError, match=rf"line {len(lines) + 1}: image \S+ stands in line 5 already"):
        MapillarySource(copy)


def test_a_tree_of_which_nothing_is_kept_is_refused(tmp_path: Path) -> None:
    for side in ("query", "database"):
        make_side(tmp_path / "msls" / "train_val" / "paris" / side, [15, 16])
    with pytest.raises(InputError, match="no city has two sequences of 15 frames or more that CityGuessr68k also has"):
        MapillarySource(tmp_path / "msls")


# ---- MiniWorld's own tree

TINY = MapillaryConfig(sequences_per_city=3, mean_frames=15, max_frames=16, short_share=0.34, height=16)


@pytest.fixture(scope="module")
def mini() -> MapillaryWorld:
    return MapillaryWorld(MapillaryConfig.mini())


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mapillary(TINY, tmp_path_factory.mktemp("tiny") / "msls", workers=2)


def _files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_sequences_are_as_uneven_over_cities_as_mapillarys(mini: MapillaryWorld) -> None:
    counts = mini.config.sequence_counts()
    kept = [counts[folder] for folder, row in cities().items() if row["kept"] == "1"]
    assert 600 <= sum(kept) <= 660
    assert gini(kept) == pytest.approx(0.65, abs=0.02)  # supplement, section 6.3
    assert gini(list(counts.values())) == pytest.approx(0.65, abs=0.02)
    assert min(kept) >= 2
    long = Counter(s.folder for s in mini.sequences.values() if s.video.frames >= 15)
    assert long == counts


def test_lengths_and_cameras_differ_within_a_city(mini: MapillaryWorld) -> None:
    lengths = [sequence.video.frames for sequence in mini.sequences.values()]
    assert 6 <= min(lengths) < 15
    assert 2 * min(lengths) < max(lengths) <= 40
    largest = Counter(s.folder for s in mini.sequences.values()).most_common(1)[0][0]
    here = [sequence for sequence in mini.sequences.values() if sequence.folder == largest]
    assert len({mini.size(sequence) for sequence in here}) >= 3
    assert len({sequence.video.fov for sequence in here}) >= 3
    assert len({sequence.video.eye for sequence in here}) >= 3
    assert {sequence.side for sequence in here} == {"query", "database"}


def test_a_shared_city_looks_as_in_the_main_world(mini: MapillaryWorld) -> None:
    main = MiniWorld(MiniWorldConfig.mini())
    for row in cities().values():
        if row["kept"] == "1":
            here = mini.world.effects.style(mini.taxonomy.city_id(row["city"]))
            there = main.effects.style(main.taxonomy.city_id(row["city"]))
            assert vars(dataclasses.replace(here, city=0, traits={})) == vars(
                dataclasses.replace(there, city=0, traits={})
            )
            assert here.traits == pytest.approx(there.traits, abs=1e-6)
    names = {video.video_id for video in main.videos}
    assert not names & {video.video_id for video in mini.videos}  # the same places, other recordings


def test_the_tree_has_the_thirty_folders_and_tables_of_the_real_one(written: Path) -> None:
    train_val = {folder for folder, row in cities().items() if row["part"] == "train_val"}
    assert {path.name for path in (written / "train_val").iterdir()} == train_val
    assert len(list((written / "test").iterdir())) == 6
    header = {
        path.name: next(csv.reader([path.read_text().splitlines()[0]]))
        for path in (written / "train_val" / "london" / "query").glob("*.csv")
    }
    assert header["seq_info.csv"] == ["", "key", "sequence_key", "frame_number"]
    assert header["raw.csv"] == ["", "key", "lon", "lat", "ca", "captured_at", "pano"]
    assert set(header) == {"seq_info.csv", "raw.csv", "subtask_index.csv", "postprocessed.csv"}
    test = written / "test" / "miami" / "query"
    assert {path.name for path in test.iterdir()} == {"images", "seq_info.csv", "subtask_index.csv"}
    assert "sequence_id" in (test / "seq_info.csv").read_text().splitlines()[0]
    images = {path.stem for path in written.rglob("*.jpg")}
    assert images == {row["key"] for row in csv.DictReader((written / "scenes.csv").read_text().splitlines())}
    assert not list(written.rglob("*.part"))
    assert json.loads((written / "world.json").read_text())["synthetic"] is True


def test_the_real_preparation_reads_it_and_twenty_one_cities_stay(written: Path, tmp_path: Path) -> None:
    source = MapillarySource(written)
    assert source.synthetic
    assert list(source.taxonomy.sizes.values()) == [21, 21, 19, 6]
    assert source.counts.short == 30  # one in every city
    assert (source.counts.kept, source.counts.other_city, source.counts.alone) == (63, 27, 0)
    clips = prepare(source, tmp_path / "set", **small(frames=8))
    assert clips.meta["clips"] == {"listed": 63, "prepared": 63, "rejected": 0}
    assert clips.synthetic
    for split in ("train", "val"):
        assert set(clips.split(split).labels["city"].tolist()) == set(range(21))
    world = MapillaryWorld(TINY)
    sequence = next(s for s in world.sequences.values() if s.folder == "tokyo" and s.video.frames >= 15)
    clip = next(c for c in source.clips() if c.clip_id == f"Tokyo_{sequence.side}_{sequence.video.video_id}")
    assert clip.frame_scenes is not None
    assert clip.gps is not None
    assert clip.frame_scenes.tolist() == sequence.video.scenes.tolist()
    assert clip.gps == pytest.approx(sequence.video.gps.numpy(), abs=1e-6)
    picture_ = np.asarray(Image.open(Path(clip.path) / clip.files[3])).astype(float)  # type: ignore[index]
    rendered = world.render(sequence, frames=torch.tensor([3]))[0].numpy().astype(float)
    assert np.abs(picture_ - rendered).mean() < 8


def test_an_interrupted_tree_goes_on_and_workers_change_no_byte(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing = importlib.import_module("cityguessr.miniworld.write.mapillary")
    real, calls = writing.write_sequence, []

    def stops(*arguments: object) -> None:
        calls.append(arguments)
        if len(calls) == 20:
            raise KeyboardInterrupt
        real(*arguments)

    monkeypatch.setattr(writing, "write_sequence", stops)
    with pytest.raises(KeyboardInterrupt):
        write_mapillary(TINY, tmp_path / "tree", workers=1)
    assert not (tmp_path / "tree" / "world.json").exists()
    write_mapillary(TINY, tmp_path / "tree", workers=1)
    assert len(calls) == 20 + 120 - 19  # nothing that was finished is made again
    assert _files(tmp_path / "tree") == _files(written)
    calls.clear()
    write_mapillary(TINY, written)
    assert not calls
    with pytest.raises(InputError, match="another MiniWorld"):
        write_mapillary(dataclasses.replace(TINY, seed=1), written)


def test_a_full_disk_says_how_far_it_came(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writing = importlib.import_module("cityguessr.miniworld.write.mapillary")
    monkeypatch.setattr(writing, "write_sequence", full_after(2, writing.write_sequence))
    with pytest.raises(InputError, match=r"disk is full after 2 of 120 videos .* free some space"):
        write_mapillary(TINY, tmp_path, workers=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sequences_min": 1}, "sequences_min=1; a city needs 2"),
        ({"sequences_per_city": 2}, "is below sequences_min=3"),
        ({"mean_frames": 12}, "mean_frames=12 must lie between 15"),
        ({"inequality": 1.0}, "inequality=1.0 must lie in"),
        ({"height": 8}, "height=8 must be 16 or more"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        MapillaryConfig(**change)


def test_the_paper_scale_has_about_the_papers_sequences() -> None:
    counts = MapillaryConfig.paper_scale().sequence_counts()
    kept = [counts[folder] for folder, row in cities().items() if row["kept"] == "1"]
    assert sum(kept) == pytest.approx(11320, rel=0.01)


# ---- by profile


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder of its own, whose small Mapillary is the tiny one."""
    monkeypatch.setenv("CITYGUESSR_ROOT", str(tmp_path))
    monkeypatch.setitem(datasets.WORLDS, "mini", (MiniWorldConfig.mini(), TINY))
    return tmp_path


FORMAT = ClipFormat(frames=8, size=16)


def test_the_offline_profile_renders_and_prepares_its_own_mapillary(home: Path, written: Path) -> None:
    shutil.copytree(written, home / "data" / "miniworld" / "mini-msls")
    clips = prepare_profile(profiles.get("mini"), FORMAT, dataset="msls", workers=1)
    assert clips.folder == home / "data" / "prepared" / "mini-msls-uniform-8x16"
    assert list(clips.taxonomy.sizes.values()) == [21, 21, 19, 6]
    finer = prepare_profile(
        profiles.get("mini"), dataclasses.replace(FORMAT, scene_classes=365), dataset="msls", workers=1
    )
    assert finer.folder == clips.folder
    assert finer.split("train")[0]["frame_scenes"].shape == (8, 365)


def test_the_real_profile_reads_a_tree_and_says_how_it_compares(
    home: Path, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    msls = profiles.get("msls")
    with pytest.raises(InputError, match="'msls' reads the real data set; give its folder as data_root"):
        prepare_profile(msls, FORMAT, dataset="msls")
    with pytest.raises(
        InputError, match="'msls' has msls and not cityguessr68k; profiles that have it: mini, midi, world68k"
    ):  # a Table 3 of it would be no Table 3
        prepare_profile(msls, FORMAT, data_root=root)
    clips = prepare_profile(msls, FORMAT, data_root=root, workers=1, dataset="msls")
    assert clips.folder == home / "data" / "prepared" / "msls-uniform-8x16"
    assert not clips.synthetic
    said = capsys.readouterr().out
    assert "msls: 13 = 9 + 4 sequences" in said
    assert "samples 13, in the paper 11,320" in said
    assert "without scenes" in said
    assert "resnet50_places365" in said
    assert prepare_profile(msls, FORMAT, dataset="msls").fingerprint == clips.fingerprint  # taken as it is
    with pytest.raises(MissingWeights, match="resnet50_places365"):
        prepare_profile(msls, dataclasses.replace(FORMAT, scene_classes=365), data_root=root, dataset="msls")


def test_a_model_of_more_frames_leaves_out_what_is_shorter(home: Path, root: Path) -> None:
    longer = dataclasses.replace(FORMAT, frames=16)
    clips = prepare_profile(profiles.get("msls"), longer, data_root=root, workers=1, dataset="msls")
    assert clips.meta["clips"] == {"listed": 3, "prepared": 3, "rejected": 0}


def test_a_data_set_that_a_profile_does_not_have_is_refused(home: Path, root: Path) -> None:
    with pytest.raises(InputError, match="and not msls; profiles that have it: mini, midi, world68k, msls"):
        prepare_profile(profiles.get("cityguessr68k"), FORMAT, data_root=root, dataset="msls")
    with pytest.raises(InputError, match="no data set 'gama'; it is one of cityguessr68k, msls"):
        prepare_profile(profiles.get("mini"), FORMAT, dataset="gama")
    released = dataclasses.replace(FORMAT, sampling="released")
    with pytest.raises(InputError, match="most sequences of Mapillary are shorter"):
        prepare_profile(profiles.get("msls"), released, data_root=root, dataset="msls")
