"""Tables as people save them are read right, or refused by line."""

import os
from pathlib import Path

import pytest
from support import one_line

from cityguessr.base import tables
from cityguessr.base.errors import InputError

ROWS = [{"video": "São.mp4", "city": "São Paulo", "lat": "-23,5"}, {"video": "b.mp4", "city": "Nice", "lat": "43,7"}]


def written(path: Path, text: str, encoding: str = "utf-8") -> Path:
    """A file with exactly this text."""
    path.write_bytes(text.encode(encoding))
    return path


def rows(path: Path) -> list[dict[str, str]]:
    """The rows that the reader gives, without their lines."""
    return [row for _, row in tables.read_rows(path, ("video", "city"))]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_tables_of_any_spreadsheet_are_read_right(tmp_path: Path, encoding: str, end: str, delimiter: str) -> None:
    quoted = '"' if delimiter == "," else ""
    lines = [
        "Video, City ,lat",
        f"São.mp4,São Paulo ,{quoted}-23+5{quoted}",
        ",,",
        "",
        f"b.mp4,Nice,{quoted}43+7{quoted}",
    ]
    text = end.join(line.replace(",", delimiter) for line in lines).replace("+", ",") + end
    assert rows(written(tmp_path / "t.csv", text, encoding)) == ROWS
    assert [tables.decimal(row["lat"], "here", -90, 90) for row in ROWS] == [-23.5, 43.7]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("sep=;\nvideo;city\na;b\n", {"video": "a", "city": "b"}),
        ("\n,,\nvideo,city,\na,b,\n", {"video": "a", "city": "b", "": ""}),
        ("video,city\na,b,,\n", {"video": "a", "city": "b"}),
        ('video,city\na, "b, c"\n', {"video": "a", "city": "b, c"}),
        ('video,city,Video ID\na,"the ""b""",1\n', {"video": "a", "city": 'the "b"', "video_id": "1"}),
        ("video,city\n\ufeffa,b\u200b\n", {"video": "a", "city": "b"}),
    ],
)
def test_what_spreadsheets_add_is_not_data(tmp_path: Path, text: str, read: dict[str, str]) -> None:
    assert rows(written(tmp_path / "t.csv", text)) == [read]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "line 1: no column video, city"),
        (b"video,city,City\n", "line 1: the column city is there twice"),
        (b"video,city\na,b\nc\n", "line 3: 1 fields"),
        (b"video,city\na,b,c\n", "line 2: 3 fields"),
        ("video,city\na,São\n".encode("latin-1"), "line 2: not text in UTF-8; save it as UTF-8"),
        ("video,city\na,b\n".encode("utf-16-le"), "line 1: has the control character '.x00'"),
        (b"\xff\xfev\x00i\x00d", "not text in UTF-8"),
        (b"video,city\na,b\x00c\n", "line 2: has the control character '.x00'"),
        (b'video,city\na,"b\nc,d\n', "line 2: a quote is opened"),
        (b'video,city\n"a,b\nc",d\n', "line 2: a quote is opened"),
        (b'video,city\n"a"b,c\n', "line 2: "),
        (b"video,city\n" + b"a" * 200_000 + b",b\n", "line 2: field larger than field limit"),
        (b"video,city\n" + b"a,b" * 1_000_000 + b"\n", "line 2: longer than 1,000,000 characters"),
    ],
)
def test_what_cannot_be_read_for_certain_is_refused_by_line(tmp_path: Path, content: bytes, complaint: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(InputError, match=rf"t\.csv.*({complaint})") as error:
        rows(tmp_path / "t.csv")
    assert len(one_line(error)) < 400


def test_a_table_of_too_many_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 4: more than 2 rows"):
        list(tables.read_rows(written(tmp_path / "t.csv", "a\n1\n2\n3\n"), ("a",), most=2))


def test_pipes_devices_and_folders_are_refused_without_a_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, kind in [(tmp_path / "pipe", "a pipe"), ("/dev/zero", "a pipe or a device"), (tmp_path, "a folder")]:
        with pytest.raises(InputError, match=kind):
            list(tables.read_lines(path))
    with pytest.raises(InputError, match=r"no such\.csv: cannot be read \(No such file"):
        list(tables.read_lines(tmp_path / "no such.csv"))
    with pytest.raises(InputError, match="no path of a file"):
        list(tables.read_lines("a\0b"))


def test_a_file_is_read_where_python_can_load_nothing_more(tmp_path: Path) -> None:
    """As a process that has opened all the files it may cannot: no module is loaded while a table is read."""
    assert {"encodings.utf_16_le", "encodings.utf_16_be"} <= set(__import__("sys").modules)


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("12.0", 12), ("007", 7), ("+5", 5), ("99", 99)])
def test_whole_numbers(text: str, number: int) -> None:
    assert tables.whole_number(text, "here", 0, 99) == number


@pytest.mark.parametrize(
    "text", ["", "-1", "100", "1.5", "1e1", "nan", "inf", "٣", "²", "0x1", "1_0", "9" * 5000, " 1"]
)
def test_what_is_no_whole_number_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"here: the frame .* is not a whole number from 0 to 99; correct") as error:
        tables.whole_number(text, "here", 0, 99, what="the frame")
    assert len(one_line(error)) < 150


@pytest.mark.parametrize(("text", "number"), [("48.85", 48.85), ("48,85", 48.85), ("-.5", -0.5), ("1e1", 10), ("7", 7)])
def test_decimal_numbers(text: str, number: float) -> None:
    assert tables.decimal(text, "here") == number


@pytest.mark.parametrize("text", ["", "north", "nan", "inf", "-Infinity", "1.234,5", "1e999", "1_0", "٣", "9" * 5000])
def test_what_is_no_decimal_number_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"here: the number .* is not a number; correct"):
        tables.decimal(text, "here")


@pytest.mark.parametrize(("lat", "lon"), [("91", "0"), ("0", "-180.1"), ("", "1"), ("48.8 N", "2"), ("nan", "nan")])
def test_no_place_on_earth(lat: str, lon: str) -> None:
    assert tables.place("-90", "180,0", "here") == (-90, 180)
    with pytest.raises(InputError, match="here: the l"):
        tables.place(lat, lon, "here")


@pytest.mark.parametrize(
    "text",
    ["", "[1]", "null", '{"a": 1', '{"a": 1, "a": 2}', '{"a": NaN}', '{"a": 1e999}', '{"a": "\\ud800"}', "{} {}",
     '{"a": ' + "9" * 5000 + "}", '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", '{"a": "' + "b" * (33 << 20) + '"}'],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_what_is_no_json_object_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"t\.json: not a JSON object") as error:
        tables.read_json(written(tmp_path / "t.json", text))
    one_line(error)


def test_a_json_object_is_read_from_any_unicode(tmp_path: Path) -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        assert tables.read_json(written(tmp_path / "t.json", '{"ä": [1.5, null]}', encoding)) == {"ä": [1.5, None]}


def test_a_sheet_may_wrap_its_headers(tmp_path: Path) -> None:
    sheet = written(tmp_path / "t.csv", 'category,"indoor:\nshops"\n,\n/a/airfield, 0\n')
    assert list(tables.split_rows(sheet)) == [(2, ["category", "indoor:\nshops"]), (4, ["/a/airfield", "0"])]
    with pytest.raises(InputError, match="line 2: a quote is opened and not closed"):
        list(tables.split_rows(written(tmp_path / "t.csv", 'a,b\n"c,d\n')))
