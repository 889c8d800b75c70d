"""A plain folder of videos with a table of labels."""

from collections import Counter
from pathlib import Path

import pytest
from support import make_frames, make_video, write_csv

from cityguessr.base.errors import InputError
from cityguessr.config import ClipFormat
from cityguessr.data.folder import FolderSource
from cityguessr.data.prepare import prepare
from cityguessr.taxonomy import LEVELS, Taxonomy


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    for name in ("a", "b", "c", "d"):
        make_video(folder / f"{name}.mp4", 20, 32, 32)
    return folder


def test_a_folder_of_videos_becomes_prepared_clips(videos: Path, tmp_path: Path) -> None:
    table = write_csv(
        tmp_path / "labels.csv",
        ("video", "city", "split", "video_id", "lat", "lon"),
        [
            ("a.mp4", "Athens", "train", "walk", 37.98, 23.73),
            ("b.mp4", "Athens", "val", "walk", 37.97, 23.72),
            ("c.mp4", "Abu_Dhabi", "train", "", "", ""),
            ("d.mp4", "Abu Dhabi", "val", "", "", ""),  # its folder name and its usual name are both known
        ],
    )
    tree = Taxonomy.cityguessr68k()
    prepared = prepare(FolderSource(videos, table), tmp_path / "prepared", ClipFormat(4, 16), workers=1)
    train, val = prepared.split("train"), prepared.split("val")
    assert (train.clip_ids, val.clip_ids) == (["a", "c"], ["b", "d"])
    assert train.video_ids == ["walk", "c"]
    assert {level: tree.names[level][train[0]["labels"][k]] for k, level in enumerate(LEVELS)} == {
        "city": "Athens",
        "state": "Attica",
        "country": "Greece",
        "continent": "Europe",
    }
    assert train[0]["frames"].shape == (4, 3, 16, 16)
    assert train.gps(0).tolist() == [[37.98, 23.73]] * 4  # one place stands for the whole clip
    assert train.gps(1) is None
    assert train[0]["frame_scenes"].isnan().all()
    assert not prepared.synthetic


def test_bad_videos_are_rejected_with_their_reason(videos: Path, tmp_path: Path) -> None:
    (videos / "b.mp4").write_bytes((videos / "b.mp4").read_bytes()[:500])
    (videos / "c.mp4").write_text("no video at all")
    make_video(videos / "e.mp4", 3)
    (videos / "f.mp4").touch()
    rows = [(f"{name}.mp4", "Athens", "val" if name == "d" else "train") for name in "abcdefg"]
    table = write_csv(tmp_path / "labels.csv", ("video", "city", "split"), rows)
    prepared = prepare(FolderSource(videos, table), tmp_path / "prepared", ClipFormat(4, 16), workers=1)
    reasons = {row["clip_id"]: row["reason"] for row in prepared.rejected()}
    assert list(reasons) == ["b", "c", "e", "f", "g"]
    for clip, reason in zip(
        reasons,
        ["cut off", "not a video", "4 frames are needed", "is empty", "no such file"],
        strict=True,
    ):
        assert f"{clip}.mp4: " in reasons[clip]
        assert reason in reasons[clip]
    assert prepared.split("train").clip_ids == ["a"]


def test_clips_without_a_split_are_divided_80_to_20_within_each_city(tmp_path: Path) -> None:
    sizes = {"Athens": 50, "London": 10, "Tokyo": 3, "Vienna": 2, "Lima": 1}
    rows = [(f"{city}/{k}.mp4", city) for city, n in sizes.items() for k in range(n)]
    table = write_csv(tmp_path / "labels.csv", ("video", "city"), rows)
    clips = FolderSource(tmp_path, table, seed=3).clips()
    val = Counter(clip.clip_id.split("/")[0] for clip in clips if clip.split == "val")
    assert val == {"Athens": 10, "London": 2, "Tokyo": 1, "Vienna": 1}
    assert [c.split for c in clips] == [c.split for c in FolderSource(tmp_path, table, seed=3).clips()]
    assert [c.split for c in clips] != [c.split for c in FolderSource(tmp_path, table, seed=4).clips()]


@pytest.mark.parametrize(
    ("header", "row", "complaint"),
    [
        (("video", "city"), ("b.mp4", "Atlantis"), "no city 'Atlantis'"),
        (("video", "city"), ("a.mp4", "Athens"), "a stands in line 2 already"),
        (("video", "city"), ("", "Athens"), "the field video is empty"),
        (("video", "city"), ("b.mp4",), "1 fields, where the header has 2"),
        (("video", "city", "split"), ("b.mp4", "Athens", "test"), "split 'test' is not train, val or empty"),
        (("video", "city", "lat", "lon"), ("b.mp4", "Athens", "37.9", "east"), "longitude 'east'"),
        (("video", "city", "lat", "lon"), ("b.mp4", "Athens", "37.9", ""), "longitude ''"),
        (("video", "city"), ("./a.mp4", "Athens"), "a stands in line 2 already"),
        (("video", "city"), ("a.mov", "Athens"), "a stands in line 2 already; .* differ in their suffix alone"),
        (("video", "city"), ("..\\b.mp4", "Athens"), "leads out of"),
        (("video", "city"), ("x/../../b.mp4", "Athens"), "leads out of"),
        (("video", "city"), ("/etc/b.mp4", "Athens"), "leads out of"),
        (("video", "city"), ("C:\\b.mp4", "Athens"), "leads out of"),
        (("video", "city"), (".", "Athens"), "the field video is empty"),
        (("video", "city"), ("b\0.mp4", "Athens"), "has the control character"),
        (("video", "city"), ("b" * 200_000, "Athens"), "field larger than field limit"),
        (("video", "city"), ("b" * 2_000, "Athens"), "a field of more than 1,000 characters"),
        (("video", "city", "country"), ("b.mp4", "Athens", "United States"), "no city 'Athens' in United States"),
    ],
)
def test_mistakes_in_the_table_are_named(
    tmp_path: Path, header: tuple[str, ...], row: tuple[str, ...], complaint: str
) -> None:
    first = {"video": "a.mp4", "city": "Athens"}
    table = write_csv(tmp_path / "labels.csv", header, [[first.get(name, "") for name in header], row])
    with pytest.raises(InputError, match=rf"labels\.csv, line 3: .*{complaint}") as error:
        FolderSource(tmp_path, table)
    assert "\n" not in str(error.value)


def test_missing_parts_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere: no such folder"):
        FolderSource(tmp_path / "nowhere", tmp_path / "labels.csv")
    with pytest.raises(InputError, match=r"labels\.csv: cannot be read"):
        FolderSource(tmp_path, tmp_path / "labels.csv")
    with pytest.raises(InputError, match=r"labels\.csv, line 1: no column city"):
        FolderSource(tmp_path, write_csv(tmp_path / "labels.csv", ("video", "place"), []))
    with pytest.raises(InputError, match=r"labels\.csv: no rows"):
        FolderSource(tmp_path, write_csv(tmp_path / "labels.csv", ("video", "city"), []))


def test_names_that_look_the_same_are_the_same(tmp_path: Path) -> None:
    """A Mac writes an accent as a character of its own, in names on the disk or in the table; Windows knows no case."""
    folder = tmp_path / "videos"
    for name in ("São Paulo/a.mp4", "Sa\u0303o Paulo 2/b.mp4", "C.MP4"):
        make_video(folder / name, 8, 32, 32)
    rows = [("Sa\u0303o Paulo\\a.mp4", "Malmo\u0308"), ("São Paulo 2/b.mp4", "Malmö"), ("c.mp4", "bogotá")]
    rows += [(str(folder.resolve() / "missing.mp4"), "Malmö")]
    table = tmp_path / "labels.csv"
    table.write_text("video;city\n" + "".join(f"{video};{city}\n" for video, city in rows), encoding="utf-16")
    source = FolderSource(folder, table)
    assert [clip.clip_id for clip in source.clips()] == ["São Paulo/a", "São Paulo 2/b", "c", "missing"]
    assert [Path(clip.path).is_file() for clip in source.clips()] == [True, True, True, False]
    table.write_text("video,city\nc.mp4,Lima\nC.mp4,Lima\n", encoding="utf-8")
    with pytest.raises(InputError, match="line 3: C stands in line 2 already"):
        FolderSource(folder, table)


def test_a_column_that_is_almost_read_is_not_passed_over(tmp_path: Path) -> None:
    table = write_csv(
        tmp_path / "labels.csv", ("video", "city", "Latitude", "lng", "notes"), [("a.mp4", "Lima", 1, 2, 3)]
    )
    gps = FolderSource(tmp_path, table).clips()[0].gps
    assert gps is not None
    assert gps.tolist() == [[1, 2]]
    write_csv(table, ("video", "city", "splits"), [("a.mp4", "Lima", "val")])
    with pytest.raises(InputError, match=r"labels\.csv: the column 'splits' is not read; call it split"):
        FolderSource(tmp_path, table)


def test_a_path_tells_cities_of_the_same_name_apart(tmp_path: Path) -> None:
    ontario = {"city": "London", "state": "Ontario", "country": "Canada", "continent": "North America"}
    tree = Taxonomy.cityguessr68k().extended([("here", ontario)])
    rows = [("a.mp4", "London", "Canada"), ("b.mp4", "London", "England"), ("c.mp4", "London, Ontario", "")]
    table = write_csv(tmp_path / "labels.csv", ("video", "city", "country"), rows)
    clips = FolderSource(tmp_path, table, tree).clips()
    assert [tree.folders[clip.labels[0]] for clip in clips] == ["London_Ontario", "London", "London_Ontario"]
    write_csv(table, ("video", "city"), [("a.mp4", "London")])
    with pytest.raises(InputError, match="line 2: 2 cities are called 'London'"):
        FolderSource(tmp_path, table, tree)


def test_a_folder_called_like_a_video_is_a_clip_of_frames(tmp_path: Path) -> None:
    make_frames(tmp_path / "videos" / "x.mp4", 8)
    table = write_csv(tmp_path / "labels.csv", ("video", "city", "split"), [("x.mp4", "Lima", "Train")])
    prepared = prepare(FolderSource(tmp_path / "videos", table), tmp_path / "prepared", ClipFormat(4, 16), workers=1)
    assert prepared.split("train").clip_ids == ["x"]
