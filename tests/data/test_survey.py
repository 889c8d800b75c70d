"""Before a release is prepared: what is there, how large it will be and how long it takes; after it: what is short."""

import shutil
from pathlib import Path

import pytest
from support import make_release, one_line

from cityguessr.base.errors import InputError
from cityguessr.config import ClipFormat
from cityguessr.data import survey as module
from cityguessr.data.cityguessr68k import ReleaseSource
from cityguessr.data.release.layout import archive_of, split_roots
from cityguessr.data.shortfalls import shortfalls
from cityguessr.data.survey import main, survey

FORMAT = ClipFormat(4, 16)


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    return make_release(tmp_path / "whole")


@pytest.fixture
def mounted(tmp_path: Path) -> list[Path]:
    """The same release as five archives are mounted: cities by their first letter, and the label files."""
    whole = make_release(tmp_path / "mnt" / "ac")
    parts = {name: tmp_path / "mnt" / name for name in ("lo", "pz", "meta")}
    for name, city in (("lo", "Lyon"), ("pz", "Paris")):
        for split in ("train", "val"):
            (parts[name] / split).mkdir(parents=True)
            (whole / split / city).rename(parts[name] / split / city)
    parts["meta"].mkdir()
    for file in [*whole.glob("*_labels.txt"), whole / "labels_list.csv"]:
        file.rename(parts["meta"] / file.name)
    return [whole, *parts.values()]


def test_mounted_archives_side_by_side_are_one_release(whole: Path, mounted: list[Path]) -> None:
    def listed(source: ReleaseSource) -> list[tuple[object, ...]]:
        return [(c.clip_id, c.labels, c.split, c.clip_scenes.tolist(), c.path.split("/")[-3:]) for c in source.clips()]

    expected = listed(ReleaseSource(whole))
    for roots in (mounted, mounted[::-1], ",".join(map(str, mounted)), mounted[0].parent):
        source = ReleaseSource(roots)
        assert listed(source) == expected
        assert all(Path(clip.path).is_dir() for clip in source.clips())
        assert set(source.roots) == set(mounted)
    assert source.name == "mnt"


def test_a_comma_in_a_folders_name_is_part_of_it(tmp_path: Path) -> None:
    odd = make_release(tmp_path / "a, b")
    assert ReleaseSource(str(odd)).roots == (odd,)
    assert split_roots("/x, /y,") == (Path("/x"), Path("/y"))


def test_parts_that_do_not_make_a_release_are_named(tmp_path: Path, mounted: list[Path]) -> None:
    for roots, complaint in (
        (mounted[:-1], r"no labels_list\.csv"),
        ([*mounted, mounted[0]], "given twice"),
        ([*mounted, tmp_path / "nowhere"], "nowhere: no such folder"),
        ([*mounted, make_release(tmp_path / "other")], r"both have labels_list\.csv"),
        ("", "no such folder|no labels_list"),
        ([], "no folder in"),
    ):
        with pytest.raises(InputError, match=complaint) as error:
            ReleaseSource(roots)
        one_line(error)
    download = tmp_path / "download"
    download.mkdir()
    (download / "CityGuessr68k-ac.sq").write_bytes(b"hsqs")
    with pytest.raises(InputError, match=r"1 archives: mount each .*squashfuse \S+-ac\.sq .*unsquashfs -f -d") as error:
        ReleaseSource(download)
    one_line(error)


def test_every_city_of_the_paper_is_in_one_of_the_four_archives() -> None:
    assert [archive_of(city) for city in ("Abu_Dhabi", "Cairo", "Dhaka", "Kyoto", "London", "Paris", "Zurich")] == [
        "ac", "ac", "dk", "dk", "lo", "pz", "pz",
    ]  # fmt: skip


def test_a_survey_says_what_is_there_and_what_preparing_it_takes(whole: Path, tmp_path: Path) -> None:
    shutil.rmtree(whole / "val" / "Paris")
    found = survey(ReleaseSource(whole), FORMAT, tmp_path / "set", workers=2)
    parts = {part.archive: part for part in found.archives}
    assert {name: (part.there, part.cities) for name, part in parts.items()} == {
        "ac": (1, 1), "lo": (1, 1), "pz": (1, 1),
    }  # fmt: skip
    assert parts["pz"].absent == ("val/Paris",)
    assert (found.clips_there, found.listed, found.fields) == (11, {"train": 9, "val": 3}, 21)
    assert found.measured > 0
    assert 0 < found.seconds < 600
    assert 500 < found.clip_bytes < 50_000  # four even pictures of 16 pixels, and what a file costs
    text = str(found)
    assert "the paper has 54,614 train, 13,655 val, 166 cities" in text
    assert "pz: 1 of 1 cities are there; without a folder: val/Paris" in text
    assert not list(tmp_path.glob("set*"))  # nothing is left behind


def test_the_size_of_the_releases_clips_is_known_without_a_frame(whole: Path, tmp_path: Path) -> None:
    for split in ("train", "val"):
        shutil.rmtree(whole / split)
    found = survey(ReleaseSource(whole), ClipFormat(15, 224), tmp_path / "set")
    assert found.clip_bytes == pytest.approx(733e3)
    assert (found.measured, found.clips_there) == (0, 0)
    assert "pz: 0 of 1 cities are there; without a folder: train/Paris, val/Paris (unpack or mount *-pz.sq)" in str(
        found
    )


def test_a_disk_that_is_too_small_is_said_before_anything_is_prepared(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_free", lambda out: 10_000)
    with pytest.raises(InputError, match=r"0\.0 GB are free, and 12 clips of 4 frames of 16 pixels take about"):
        survey(ReleaseSource(whole), FORMAT, tmp_path / "set").check()


def test_clips_that_are_short_missing_or_not_listed_are_named(whole: Path, tmp_path: Path) -> None:
    shutil.rmtree(whole / "train" / "Lyon" / "Lyon_0000")
    for n in range(1, 21):
        (whole / "train" / "Lyon" / "Lyon_0001" / f"{n}.jpg").unlink()
    for n in range(1, 4):
        (whole / "val" / "Paris" / "Paris_0003" / f"{n}.jpg").unlink()
    (whole / "val" / "Nice" / "Nice_0001").mkdir(parents=True)
    (whole / "val" / ".trash" / "x").mkdir(parents=True)
    found = shortfalls(ReleaseSource(whole), tmp_path / "folders.csv")
    assert found.usual == 20
    assert set(found.rows) == {
        ("missing", "train", "Lyon", "Lyon_0000", 0),
        ("empty", "train", "Lyon", "Lyon_0001", 0),
        ("short", "val", "Paris", "Paris_0003", 17),
        ("not listed", "val", "Nice", "Nice_0001", -1),
    }
    lines = (tmp_path / "folders.csv").read_text().splitlines()
    assert lines[0] == "what,split,city,clip,frames"
    assert "short,val,Paris,Paris_0003,17" in lines
    text = str(found)
    assert "train: 7 clips have frames, 9 are listed, the paper has 54,614" in text
    assert "1 without a folder, 1 without a frame, 1 short, 1 on the disk and not listed" in text


def test_the_survey_is_a_command(whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "set")
    assert main([str(whole), "--frames", "4", "--size", "16", "--out", out]) == 0
    assert "listed: 12 clips = 9 train + 3 val, 3 / 3 / 2 / 2 classes, 21 fields per line" in capsys.readouterr().out
    assert main([str(tmp_path / "nowhere"), "--out", out]) == 1
    assert "nowhere: no such folder" in capsys.readouterr().err
