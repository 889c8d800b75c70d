"""The frames of a clip's folder come in the order of time, and a name whose place in it is not certain is refused."""

import os
from pathlib import Path

import pytest
from support import make_frames, one_line

from cityguessr.base.errors import InputError
from cityguessr.data.frames import frame_files, frame_number, in_order


@pytest.mark.parametrize(
    "names",
    [
        ["1.jpg", "2.jpg", "10.jpg", "11.jpg", "100.jpg"],
        ["0001.png", "0002.png", "0010.png"],
        ["frame1.jpg", "frame2.jpg", "frame10.jpg"],
        ["img-1.jpg", "img-2.jpg", "img-10.jpg"],
        ["walk 2024-05-01 0.JPG", "walk 2024-05-01 5.jpg", "walk 2024-05-01 12.JPEG"],
        ["7.jpg", "19.jpg", "1000000.jpg"],  # gaps, and no first frame
        ["shot_v2.0001.png", "shot_v2.0010.png"],  # padded: the same order as decimals
        ["1714567890123456789.jpg", "1714567890156789012.jpg"],  # nanoseconds
        ["Z\u00fcrich_1.jpg", "Z\u00fcrich_2.jpg", "Z\u00fcrich_10.jpg"],
        ["a\udcff1.jpg", "a\udcff2.jpg", "a\udcff10.jpg"],  # bytes that are no UTF-8
    ],
)
def test_names_that_differ_in_their_number_alone_are_in_the_order_of_time(names: list[str]) -> None:
    assert in_order(sorted(names), "clip") == names
    numbers = [frame_number(name) for name in names]
    assert numbers == sorted(numbers)


@pytest.mark.parametrize(
    ("stray", "message"),
    [
        ("cover.jpg", "'cover.jpg' ends in no number"),
        ("7 (1).jpg", r"'7 \(1\).jpg' ends in no number"),
        ("7 - Copy.jpg", "ends in no number"),
        ("7 .jpg", "ends in no number"),
        ("frame7.jpg", "'frame7.jpg' does not begin as the others do, with ''"),
        (" 7.jpg", "does not begin"),
        ("-7.jpg", "does not begin"),
        ("7.5.jpg", "does not begin"),
        ("1e9.jpg", "does not begin"),
        ("\u0667.jpg", "ends in no number"),  # Arabic-Indic seven
        ("\uff17.jpg", "ends in no number"),  # full-width seven
        ("\u00b2.jpg", "ends in no number"),
        ("07.jpg", "frame 7 is there twice, as '07.jpg' and '7.jpg'"),
        ("7.png", "frame 7 is there twice, as '7.jpg' and '7.png'"),
        ("7.JPG", "frame 7 is there twice"),
        ("9" * 200 + ".jpg", "is above"),
        ("caf\udce9.jpg", r"'caf\\udce9.jpg' ends in no number"),
    ],
)
def test_a_name_that_does_not_fit_is_refused_and_named(stray: str, message: str, tmp_path: Path) -> None:
    folder = make_frames(tmp_path / "clip", 20, (8, 8))
    os.rename(folder / "20.jpg", folder / stray)
    with pytest.raises(InputError, match=message) as error:
        frame_files(folder, 4)
    one_line(error).encode()  # can be printed


@pytest.mark.parametrize(
    "names", [["-1.jpg", "-2.jpg", "-10.jpg"], ["0.25.jpg", "0.5.jpg"], ["t=1.125.jpg", "t=1.5.jpg"]]
)
def test_numbers_that_may_be_below_zero_or_decimals_are_refused(names: list[str]) -> None:
    with pytest.raises(InputError, match="decimal or as a number below zero"):
        in_order(names, "clip")


def test_what_is_no_picture_and_what_is_hidden_does_not_count(tmp_path: Path) -> None:
    folder = make_frames(tmp_path / "clip", 12, (8, 8))
    for name in ("Thumbs.db", "._1.jpg", ".DS_Store", ".hidden.jpg", "notes.txt", "clip.mp4", "desktop.ini", "jpg"):
        (folder / name).write_bytes(b"x")
    assert [file.name for file in frame_files(folder)] == [f"{n}.jpg" for n in range(1, 13)]


def test_a_folder_that_is_linked_or_has_bytes_in_its_name_is_a_folder(tmp_path: Path) -> None:
    folder = make_frames(tmp_path / os.fsdecode(b"Malm\xf6_0000"), 3, (8, 8))
    (tmp_path / "link").symlink_to(folder)
    assert [file.name for file in frame_files(tmp_path / "link")] == ["1.jpg", "2.jpg", "3.jpg"]
    assert len(frame_files(folder)) == 3


def test_no_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path in ("gone", "file", "loop", "nul\0"):
        with pytest.raises(InputError, match="cannot be read"):
            frame_files(tmp_path / path)
