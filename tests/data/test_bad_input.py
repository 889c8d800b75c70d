"""Every kind of bad input gives one clear message with the place and the remedy, and nothing half-written stays."""

import errno
import os
import wave
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import IDS, label_line, make_frames, make_release, make_video

from cityguessr.base import files
from cityguessr.base.errors import InputError
from cityguessr.data.cityguessr68k import ReleaseSource
from cityguessr.data.clips import PreparedClips
from cityguessr.data.prepare import prepare
from cityguessr.data.video import read_frames

SCENES = [1.0] + [0.0] * 15
SMALL = {"frames": 4, "size": 16, "workers": 1}


def one_line(error: pytest.ExceptionInfo[InputError]) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message


def add_line(root: Path, line: str) -> str:
    with open(root / "train_labels.txt", "a") as file:
        file.write(line + "\n")
    return f"train_labels.txt, line {len((root / 'train_labels.txt').read_text().splitlines())}"


# --- video files


def test_a_missing_video_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.mp4: cannot be read \(No such file") as error:
        read_frames(tmp_path / "gone.mp4")
    one_line(error)


def test_a_zero_byte_video_is_called_empty(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(InputError, match=r"empty\.mp4: the file is empty .* again") as error:
        read_frames(tmp_path / "empty.mp4")
    one_line(error)
    assert capfd.readouterr().err == ""


def test_a_text_file_named_mp4_is_no_video(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.mp4").write_text("turn left at the bakery\n" * 100)
    with pytest.raises(InputError, match=r"notes\.mp4: not a video") as error:
        read_frames(tmp_path / "notes.mp4")
    one_line(error)
    assert capfd.readouterr().err == ""  # in a notebook anything on standard error reads as a fault


@pytest.mark.parametrize("index_first", [False, True], ids=["index lost", "frames lost"])
@pytest.mark.parametrize("kept", [0.5, 0.9])
def test_a_truncated_video_is_refused(
    tmp_path: Path, index_first: bool, kept: float, capfd: pytest.CaptureFixture[str]
) -> None:
    path = make_video(tmp_path / "cut.mp4", 60, index_first=index_first)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(InputError, match=r"cut\.mp4: .*(cut off|truncated).* again") as error:
        read_frames(path)
    one_line(error)
    assert capfd.readouterr().err == ""


def test_a_file_without_pictures_is_refused(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "birds.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(16000))
    with pytest.raises(InputError, match=r"birds\.wav: has no video stream"):
        read_frames(tmp_path / "birds.wav")


def test_a_clip_of_too_few_frames_says_how_many_it_has(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"short\.mp4: 16 frames are needed and there are 15"):
        read_frames(make_video(tmp_path / "short.mp4", 15))
    with pytest.raises(InputError, match="Paris_0000: 16 frames are needed and there are 15"):
        read_frames(make_frames(tmp_path / "Paris_0000", 15))


# --- the release


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
        (label_line("Paris_0000", IDS["Paris"], SCENES), "Paris_0000 stands in line 4 already"),
        (label_line("", IDS["Paris"], SCENES), "the clip has no name"),
        (label_line("Paris_0009", IDS["Paris"]), "5 fields, and 21 in the lines above"),
        (label_line("Paris_0009", IDS["Paris"], ["x", *SCENES[1:]]), "could not convert string to float: 'x'"),
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


def test_clips_that_cannot_be_read_are_rejected_with_their_reason_and_stop_nothing(tmp_path: Path) -> None:
    root = make_release(tmp_path / "release")
    make_frames(root / "train" / "Paris" / "Paris_0001").rename(root / "elsewhere")
    for file in list((root / "train" / "Lyon" / "Lyon_0000").iterdir())[3:]:
        file.unlink()
    broken = root / "val" / "Abu_Dhabi" / "Abu_Dhabi_0003"
    for file in broken.iterdir():
        file.write_bytes(file.read_bytes()[:200])
    prepared = prepare(ReleaseSource(root), tmp_path / "prepared", **SMALL)
    reasons = {row["clip_id"]: row["reason"] for row in prepared.rejected()}
    assert reasons.keys() == {"Paris_0001", "Lyon_0000", "Abu_Dhabi_0003"}
    assert "Paris_0001: cannot be read (No such file or directory)" in reasons["Paris_0001"]
    assert "Lyon_0000: 4 frames are needed and there are 3" in reasons["Lyon_0000"]
    assert "not a whole image (200 bytes)" in reasons["Abu_Dhabi_0003"]
    assert prepared.meta["clips"] == {"listed": 12, "prepared": 9, "rejected": 3}
    assert len(prepared.split("train")) + len(prepared.split("val")) == 9


def test_a_release_of_which_nothing_can_be_read_is_no_prepared_set(tmp_path: Path) -> None:
    source = ReleaseSource(make_release(tmp_path / "release", frames=3))
    with pytest.raises(InputError, match=r"none of the 12 clips .* 4 frames are needed and there are 3"):
        prepare(source, tmp_path / "prepared", **SMALL)
    with pytest.raises(InputError, match="did not finish"):
        PreparedClips.load(tmp_path / "prepared")


# --- the disk


@pytest.fixture
def no_rights(tmp_path: Path) -> Iterator[Path]:
    """A folder that this process may not write into, whoever runs the tests."""
    (tmp_path / "locked").mkdir(mode=0o500)
    user = os.geteuid()
    if user == 0:  # root may write anywhere
        os.seteuid(65534)
    try:
        yield tmp_path / "locked"
    finally:
        os.seteuid(user)


def test_no_write_permission_is_said_once_and_clearly(no_rights: Path) -> None:
    with pytest.raises(InputError, match="prepared: no permission to write here; change the folder's mode") as error:
        files.make_folder(no_rights / "prepared")
    one_line(error)
    with pytest.raises(InputError, match=r"meta\.json: no permission to write here"):
        files.write_atomically(no_rights / "meta.json", lambda file: file.write(b"{}"))


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    source = ReleaseSource(make_release(tmp_path / "release"))
    (tmp_path / "prepared").write_text("not a folder")
    with pytest.raises(InputError, match="prepared: cannot be written"):
        prepare(source, tmp_path / "prepared", **SMALL)


def test_a_full_disk_leaves_nothing_half_written_and_a_second_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = ReleaseSource(make_release(tmp_path / "release"))
    out = tmp_path / "prepared"
    whole = prepare(source, tmp_path / "undisturbed", **SMALL)
    written = 0

    def sync(_: int) -> None:
        nonlocal written
        written += 1
        if written > 2:  # the plan and the first shard fit
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", sync)
    with pytest.raises(InputError, match=r"clips-00001\.parquet: the disk is full; free some space") as error:
        prepare(source, out, shard_clips=4, **SMALL)
    one_line(error)
    assert sorted(path.name for path in out.iterdir()) == ["clips-00000.parquet", "plan.json"]
    with pytest.raises(InputError, match="did not finish; run it again"):
        PreparedClips.load(out)

    monkeypatch.undo()
    first = (out / "clips-00000.parquet").stat()
    continued = prepare(source, out, shard_clips=4, **SMALL)
    assert (out / "clips-00000.parquet").stat().st_mtime_ns == first.st_mtime_ns
    assert continued.fingerprint == whole.fingerprint


def test_a_full_device_is_told_apart_from_other_faults() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with pytest.raises(OSError, match="No space left") as error, open("/dev/full", "wb", buffering=0) as device:
        device.write(b"x")
    assert "the disk is full" in files._explain(Path("clips-00000.parquet"), error.value)
