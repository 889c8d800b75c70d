"""Parameter files and typed parameters are read in one way, or refused."""

import os
from pathlib import Path

import pytest
from support import one_line

from cityguessr import notebooks
from cityguessr.base.errors import InputError
from cityguessr.notebooks import parameters


def read(path: Path, content: bytes) -> dict[str, object]:
    """What a parameter file with this content gives."""
    path.write_bytes(content)
    return parameters.read_parameters(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_plain_values_are_read_in_any_unicode(tmp_path: Path, encoding: str) -> None:
    text = "# a run\nprofile: mini\nseeds: [0, 17]\nrate: 1.5e-3\nname: 'São'\nok: true\nroot: null\nolder: '010'\n"
    expected = {"profile": "mini", "seeds": [0, 17], "rate": 0.0015, "name": "São", "ok": True, "root": None}
    assert read(tmp_path / "p.yaml", text.encode(encoding)) == {**expected, "older": "010"}
    assert read(tmp_path / "p.yaml", b"# nothing yet\n") == {}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("profile: mini\nprofile: world68k\n", "line 2: 'profile' is given twice"),
        ("seed: 010\n", "line 1: '010' is a number .* reads in two ways"),
        ("seed: 1:30\n", "line 1: '1:30' is a number"),
        ("rate: 1:30.5\n", "line 1: '1:30.5' is no decimal"),
        ("seed: 0x10\n", "line 1: '0x10' is a number"),
        ("seed: 1_000\n", "line 1: '1_000' is a number"),
        ("seed: 999999999999999999999999999999\n", "line 1: '9+' is a number of more than 19 digits"),
        (f"seed: {'9' * 5000}\n", "line 1: '9+' is a number of more than 19 digits"),
        ("rate: .nan\n", "line 1: '.nan' is no decimal"),
        ("rate: -.inf\n", "line 1: '-.inf' is no decimal"),
        ("rate: 1.0e+999\n", "line 1: '1.0e.999' is no decimal"),
        ("ok: no\n", "line 1: 'no' is false, true or text"),
        ("day: 2020-01-01\n", "line 1: a timestamp is no parameter"),
        ("1: mini\n", "line 1: a name is text"),
        ("[a]: mini\n", "line 1: a name is text"),
        ("a: &x [1]\nb: *x\n", "line 1: a reference"),
        ("a: !!python/object/apply:os.system [true]\n", "line 1: a .* is no parameter"),
        ("a: !!set {x}\n", "line 1: a set is no parameter"),
        ("<<: {a: 1}\n", "line 1: a merge is no parameter"),
        ("a: [1\nb: 2\n", "line 2: "),
        ("a: 1\n---\nb: 2\n", "line 2: "),
        ("a: \t- b\n\tc\n", "line "),
        ("a: " + "[" * 10_000, "brackets within brackets"),
        ("- a\n", "holds lines of the form name: value"),
        ("false\n", "holds lines of the form name: value"),
        ("''\n", "holds lines of the form name: value"),
        ("a: b\0c\n", "unacceptable character"),
        ("a: " + "b" * 100_001, "longer than 100,000 characters"),
    ],
    ids=lambda text: text[:24].strip(),
)
def test_what_is_read_in_two_ways_is_refused_by_line(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(InputError, match=rf"p\.yaml.*{complaint}") as error:
        read(tmp_path / "p.yaml", text.encode())
    assert len(one_line(error)) < 400


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    for content in ("name: São\n".encode("latin-1"), b"\x96\x00\xff\xfe", bytes(range(256))):
        with pytest.raises(InputError, match=r"p\.yaml, line \d+: not text in UTF-8"):
            read(tmp_path / "p.yaml", content)
    (tmp_path / "p.yaml").unlink()
    os.mkfifo(tmp_path / "p.yaml")
    with pytest.raises(InputError, match="a pipe or a device, not a file"):
        parameters.read_parameters(tmp_path / "p.yaml")


@pytest.mark.parametrize("text", ["٣", "1_0", "nan", "inf", "9" * 5000, "", "0x1"])
def test_a_typed_number_is_a_plain_one(text: str) -> None:
    assert parameters.from_text("1e-3", float) == 0.001
    assert parameters.from_text(" -7 ", int) == -7
    assert not parameters.fits(parameters.from_text("1e999", float), float)
    for kind in (int, float):
        with pytest.raises(ValueError, match=r"is no number") as error:
            parameters.from_text(text, kind)
        assert len(str(error.value)) < 100


PAGE = '{"cells": [{"metadata": {"tags": ["parameters"]}, "source": ["%s"]}]}'


@pytest.mark.parametrize(("value", "at"), [(-1, "-1"), (2**32, "4294967296"), (10**30, "seeds must be")])
def test_a_seed_that_no_training_can_have_is_refused_before_anything_runs(tmp_path: Path, value: int, at: str) -> None:
    page = tmp_path / "page.ipynb"
    page.write_text(PAGE % "seeds: list[int] = [0]  # one each")
    assert parameters.bind(page, {"seeds": [5_000_000, 2**32 - 1]}, {}) == {"seeds": [5_000_000, 2**32 - 1]}
    for given in ({"values": {"seeds": [0, value]}, "texts": {}}, {"values": {}, "texts": {"seeds": f"0,{value}"}}):
        with pytest.raises(InputError, match=f"page: parameter .*{at}") as error:
            parameters.bind(page, **given)
        assert len(one_line(error)) < 200


def test_a_video_is_looked_for_before_anything_runs_and_named_as_the_page_will_find_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page runs in the project's root, and a command is given anywhere."""
    page = tmp_path / "page.ipynb"
    page.write_text(PAGE % "video: str | None = None  # yours")
    monkeypatch.setenv("CITYGUESSR_ROOT", str(tmp_path / "root"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here" / "walk.mp4").touch()
    assert parameters.bind(page, {}, {"video": "walk.mp4"}) == {"video": str(tmp_path / "here" / "walk.mp4")}
    assert parameters.bind(page, {}, {"video": "null"}) == {"video": None}
    with pytest.raises(InputError, match=r"page: parameter video: .*gone\.mp4: no such file"):
        parameters.bind(page, {"video": "gone.mp4"}, {})


def test_the_least_number_is_read_from_the_comment(tmp_path: Path) -> None:
    page = tmp_path / "page.ipynb"
    page.write_text(
        PAGE % "track: int | None = 3  # which, counted from 1\\nshare: float = 1.0  # at least 0.5; of all"
    )
    assert parameters.bind(page, {"track": None, "share": 0.5}, {}) == {"track": None, "share": 0.5}
    for name, value, least in (("track", 0, "1"), ("share", 0.4, "0.5")):
        with pytest.raises(InputError, match=f"parameter {name} is {value}; it is at least {least}"):
            parameters.bind(page, {}, {name: str(value)})


@pytest.mark.parametrize(
    "content", ["[]", '{"cells": 3}', '{"cells": [{"source": 1}]}', PAGE % "a: int = (", PAGE % "a: int = 1\\u0000"]
)
def test_what_is_no_page_is_said_to_be_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "page.ipynb").write_text(content)
    with pytest.raises(InputError, match=r"page\.ipynb: "):
        parameters.declared(tmp_path / "page.ipynb")


def test_a_number_that_only_the_data_knows_is_checked_with_the_numbers_there_are() -> None:
    """Clip 9999 was an IndexError of Python's."""
    notebooks.check_number("clip", 330, 331)
    notebooks.check_number("clips", [0, 330], 331)
    for value in (331, -1, 9999, [0, 9999]):
        with pytest.raises(InputError, match=r"clip must be 0 to 330, and (331|-1|9,999) is not"):
            notebooks.check_number("clip", value, 331)
    with pytest.raises(InputError, match="frame must be 1 to 24, and 0 is not"):
        notebooks.check_number("frame", 0, 24, first=1)
