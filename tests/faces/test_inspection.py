"""A person's marks are read strictly, and an earlier table is never written over."""

from pathlib import Path

import pytest
from PIL import Image

from cityguessr.base.errors import InputError
from cityguessr.faces import inspection
from cityguessr.faces.scan import Scan


def test_the_first_frame_with_faces_of_each_clip_is_inspected(scanned: Scan, marks_file: Path) -> None:
    marks = inspection.read_marks(marks_file, scanned)
    assert marks[["clip", "frame", "face"]].to_numpy().tolist() == [
        ["train/Lyon/Lyon_0000", "2.jpg", 1],
        ["val/Lyon/Lyon_0001", "1.jpg", 1],
    ]
    assert marks.keep.all()
    sheet = Image.open(marks_file.with_name("inspection_001.jpg"))
    assert sheet.width > 1400


def test_marks_are_read_back_and_a_persons_table_is_not_written_over(scanned: Scan, marks_file: Path) -> None:
    marks_file.write_text(marks_file.read_text().replace(",yes", ",No", 1))
    inspection.write_inspection(scanned, marks_file.parent)
    assert inspection.read_marks(marks_file, scanned).keep.tolist() == [False, True]
    assert (
        inspection.reject(inspection.read_marks(marks_file, scanned), ["val/Lyon/Lyon_0001:1"]).keep.tolist()
        == [False] * 2
    )
    with pytest.raises(InputError, match="no face 'val/Lyon/Lyon_0001:2'"):
        inspection.reject(inspection.read_marks(marks_file, scanned), ["val/Lyon/Lyon_0001:2"])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",yes", ",maybe", r"line 2: keep is 'maybe'; write yes .* or no"),
        (",yes", ",", r"line 2: keep is ''"),
        ("keep", "kept", r"line 1: no column keep"),
        ("Lyon_0000,2.jpg,1", "Lyon_0000,2.jpg,7", r"line 2: face 7 of .* is not one of this scan"),
        ("Lyon_0000,2.jpg", "Lyon_0000,3.jpg", r"line 2: .* is not one of this scan"),
        (",yes", ",yes,no", r"line 2: 13 fields"),
    ],
)
def test_marks_are_strict(scanned: Scan, marks_file: Path, old: str, new: str, message: str) -> None:
    marks_file.write_text(marks_file.read_text().replace(old, new, 1))
    with pytest.raises(InputError, match=message.replace("13 fields", r"\d+ fields")):
        inspection.read_marks(marks_file, scanned)


def test_a_lost_or_doubled_row_is_an_error(scanned: Scan, marks_file: Path) -> None:
    lines = marks_file.read_text().splitlines(keepends=True)
    marks_file.write_text("".join(lines[:2]))
    with pytest.raises(InputError, match="face 1 of val/Lyon/Lyon_0001 has no row"):
        inspection.read_marks(marks_file, scanned)
    marks_file.write_text("".join([*lines, lines[1]]))
    with pytest.raises(InputError, match="line 4: face 1 of train/Lyon/Lyon_0000 stands in line 2 already"):
        inspection.read_marks(marks_file, scanned)
