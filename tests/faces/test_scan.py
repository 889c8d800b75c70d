"""A scan looks at every frame, goes on where it was stopped, and no bad file stops it."""

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from portraits import contents, street

from cityguessr.base.errors import InputError
from cityguessr.faces import blur, folders, scan
from cityguessr.faces.detectors import YuNet


def test_every_frame_of_every_clip_is_looked_at(release: Path, tmp_path: Path) -> None:
    scanned = scan.find_faces(release, YuNet(), tmp_path / "scan")
    assert {clip: faces.frames for clip, faces in scanned.clips.items()} == {
        "train/Lyon/Lyon_0000": ("1.jpg", "2.jpg", "3.jpg"),
        "val/Lyon/Lyon_0001": ("1.jpg", "2.jpg"),
        "val/Oslo/Oslo_0000": ("1.jpg", "2.jpg"),
    }
    table = scanned.table()
    assert table.groupby(["clip", "frame"]).size().to_dict() == {
        ("train/Lyon/Lyon_0000", "2.jpg"): 1,
        ("train/Lyon/Lyon_0000", "3.jpg"): 2,
        ("val/Lyon/Lyon_0001", "1.jpg"): 1,
    }
    assert "3 clips, 7 frames looked at, 0 unreadable; 4 faces in 3 frames" in str(scanned)


def test_a_resumed_scan_equals_an_uninterrupted_one(release: Path, tmp_path: Path) -> None:
    whole = scan.find_faces(release, YuNet(), tmp_path / "whole")
    lines = (tmp_path / "whole" / scan.LOG).read_bytes().splitlines(keepends=True)
    torn = tmp_path / "torn"
    torn.mkdir()
    (torn / scan.LOG).write_bytes(b"".join(lines[:2]) + lines[2][:40])  # cut off in the middle of the second clip
    resumed = scan.find_faces(release, YuNet(), torn, workers=2)
    assert resumed.table().equals(whole.table())
    assert contents(torn) == contents(tmp_path / "whole")


def test_a_clip_that_changed_is_looked_at_again_and_others_are_not(release: Path, tmp_path: Path) -> None:
    class Counting(YuNet):
        looks = 0

        def __call__(self, frame: np.ndarray) -> np.ndarray:
            Counting.looks += 1
            return super().__call__(frame)

    scan.find_faces(release, Counting(), tmp_path / "scan")
    Image.fromarray(street((50, 50, 60))).save(release / "val/Oslo/Oslo_0000/2.jpg")
    scanned = scan.find_faces(release, Counting(), tmp_path / "scan")
    assert Counting.looks == 7 + 2
    assert list(scanned.clips["val/Oslo/Oslo_0000"].boxes) == ["2.jpg"]


def test_a_frame_exchanged_for_one_of_the_same_size_is_noticed(release: Path, tmp_path: Path) -> None:
    frame = release / "val/Oslo/Oslo_0000/2.jpg"
    before, size = scan.files_digest(frame.parent), frame.stat().st_size
    frame.write_bytes(frame.read_bytes()[::-1])
    os.utime(frame, ns=(0, frame.stat().st_mtime_ns + 1))
    assert frame.stat().st_size == size
    assert scan.files_digest(frame.parent) != before


def test_a_clip_that_is_a_link_belongs_to_the_release_and_a_link_upwards_is_no_circle(
    release: Path, tmp_path: Path
) -> None:
    (release / "val/Oslo/Oslo_0000").rename(tmp_path / "Oslo_0000")
    (release / "val/Oslo/Oslo_0000").symlink_to(tmp_path / "Oslo_0000")
    (release / "train").rename(tmp_path / "train")
    (release / "train").symlink_to(tmp_path / "train")
    (release / "val/round").symlink_to(release)
    scanned = scan.find_faces(release, YuNet(), tmp_path / "scan")
    assert list(scanned.clips) == ["train/Lyon/Lyon_0000", "val/Lyon/Lyon_0001", "val/Oslo/Oslo_0000"]
    before = contents(tmp_path / "Oslo_0000")
    assert blur.anonymise(scanned, tmp_path / "out")["frames"] == 7
    assert contents(tmp_path / "out/val/Oslo/Oslo_0000") == before
    assert not (tmp_path / "out/val/Oslo/Oslo_0000").is_symlink()
    with pytest.raises(InputError, match="originals"):
        blur.anonymise(scanned, tmp_path / "Oslo_0000/blurred")
    assert contents(tmp_path / "Oslo_0000") == before


def test_a_stray_picture_is_looked_at_and_blurred_too(release: Path, tmp_path: Path) -> None:
    Image.fromarray(street((200, 60, 50))).save(release / "val/Oslo/Oslo_0000/cover.jpg")
    scanned = scan.find_faces(release, YuNet(), tmp_path / "scan")
    assert list(scanned.clips["val/Oslo/Oslo_0000"].boxes) == ["cover.jpg"]


def test_a_pipe_and_an_endless_device_are_recorded_and_stop_nothing(release: Path, tmp_path: Path) -> None:
    os.mkfifo(release / "val/Oslo/Oslo_0000/3.jpg")
    (release / "val/Oslo/Oslo_0000/4.jpg").symlink_to("/dev/zero")
    scanned = scan.find_faces(release, YuNet(), tmp_path / "scan")
    assert scanned.failed().frame.tolist() == ["3.jpg", "4.jpg"]
    assert blur.anonymise(scanned, tmp_path / "out")["frames_left_out"] == 2


def test_a_damaged_jpeg_is_recorded_and_stops_nothing(release: Path, tmp_path: Path) -> None:
    bad = release / "val/Lyon/Lyon_0001/1.jpg"
    bad.write_bytes(bad.read_bytes()[:500])
    scanned = scan.find_faces(release, YuNet(), tmp_path / "scan")
    assert scanned.failed()[["clip", "frame"]].to_numpy().tolist() == [["val/Lyon/Lyon_0001", "1.jpg"]]
    assert "not a whole image (500 bytes)" in (tmp_path / "scan" / scan.FAILED).read_text()
    assert scanned.clips["val/Lyon/Lyon_0001"].frames == ("2.jpg",)
    counts = blur.anonymise(scanned, tmp_path / "out")
    assert counts["frames_left_out"] == 1
    assert not (tmp_path / "out/val/Lyon/Lyon_0001/1.jpg").exists()  # nobody knows who is on it


def test_a_link_that_leads_nowhere_is_recorded_and_stops_nothing(release: Path, tmp_path: Path) -> None:
    (release / "val/Oslo/Oslo_0000/3.jpg").symlink_to(tmp_path / "gone.jpg")
    scanned = scan.find_faces(release, YuNet(), tmp_path / "scan")
    assert scanned.failed()[["clip", "frame"]].to_numpy().tolist() == [["val/Oslo/Oslo_0000", "3.jpg"]]
    assert blur.anonymise(scanned, tmp_path / "out")["frames_left_out"] == 1


def test_a_full_disk_stops_a_scan_with_a_message_and_keeps_what_was_found(release: Path, tmp_path: Path) -> None:
    log = tmp_path / "scan" / scan.LOG
    scan.find_faces(release, YuNet(), log.parent, limit=1)
    kept = log.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(kept) + 10, limits[1]))
        with pytest.raises(InputError, match=r"cannot be written .*finished clips are kept"):
            scan.find_faces(release, YuNet(), log.parent)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert log.read_bytes().startswith(kept)
    resumed = scan.find_faces(release, YuNet(), log.parent)
    assert resumed.table().equals(scan.find_faces(release, YuNet(), tmp_path / "whole").table())


CHANGES = {
    "a box removed": lambda row: row["boxes"].clear(),
    "NaN": lambda row: row["boxes"]["2.jpg"][0].__setitem__(0, float("nan")),
    "infinity": lambda row: row["boxes"]["2.jpg"][0].__setitem__(2, 1e999),
    "a number too large": lambda row: row["boxes"]["2.jpg"][0].__setitem__(1, 10**400),
    "a width below zero": lambda row: row["boxes"]["2.jpg"][0].__setitem__(2, -5),
    "a frame removed": lambda row: row["frames"].remove("2.jpg"),
    "a frame twice": lambda row: row["frames"].append("1.jpg"),
    "frames that are a number": lambda row: row.update(frames=3),
    "faces of no frame": lambda row: row["boxes"].update({"9.jpg": [[1, 2, 3, 4, 0.9]]}),
    "a frame elsewhere": lambda row: row["frames"].append("../../../1.jpg"),
    "boxes that are a list": lambda row: row.update(boxes=[]),
    "nesting": lambda row: row.update(failed=json.loads("[" * 500 + "]" * 500)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_edited_or_damaged_log_is_refused_by_its_line(change: str, release: Path, tmp_path: Path) -> None:
    log = tmp_path / "scan" / scan.LOG
    scan.find_faces(release, YuNet(), log.parent)
    lines = log.read_bytes().splitlines(keepends=True)
    row = json.loads(lines[1])
    checksum = row.pop("sum")
    CHANGES[change](row)
    text = json.dumps(row, separators=(",", ":")).encode()
    # as somebody edits it, who knows nothing of the checksum, and as a program writes it that knows it
    for ending in (b',"sum":"%s"}' % checksum.encode(), scan._tail(text)):
        log.write_bytes(b"".join([lines[0], text[:-1] + ending + b"\n", *lines[2:]]))
        if change in ("a box removed",) and ending == scan._tail(text):
            continue  # nothing tells it from a true one
        with pytest.raises(InputError, match=r"scan\.jsonl, line 2: damaged"):
            scan.find_faces(release, YuNet(), log.parent)


KILLED = """
import os, signal, sys
from cityguessr.faces import blur, scan
from cityguessr.faces.detectors import YuNet
module, name, calls = sys.argv[1], sys.argv[2], int(sys.argv[3])
module = {"blur": blur, "scan": scan}[module]
right = getattr(module, name)
def until(*arguments):
    global calls
    calls -= 1
    if calls < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return right(*arguments)
setattr(module, name, until)
found = scan.find_faces("release", YuNet(), "scan")
blur.anonymise(found, "out")
"""


@pytest.mark.parametrize("moment", [("scan", "_append", 1), ("blur", "encode", 1)], ids=["scanning", "blurring"])
def test_after_a_kill_it_goes_on_and_leaves_nothing_half_written(
    moment: tuple[str, str, int], release: Path, tmp_path: Path
) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, *map(str, moment)], cwd=tmp_path)
    assert killed.returncode == -signal.SIGKILL
    blur.anonymise(scan.find_faces(release, YuNet(), tmp_path / "scan"), tmp_path / "out")
    blur.anonymise(scan.find_faces(release, YuNet(), tmp_path / "scan2"), tmp_path / "out2")
    assert contents(tmp_path / "scan") == contents(tmp_path / "scan2")
    assert contents(tmp_path / "out") == contents(tmp_path / "out2")
    assert not list(tmp_path.rglob("*.partial"))


def test_two_processes_do_not_write_to_one_folder(release: Path, tmp_path: Path) -> None:
    with folders.alone(tmp_path), pytest.raises(InputError, match="another process"), folders.alone(tmp_path):
        pass
    scanned = scan.find_faces(release, YuNet(), tmp_path / "scan")
    for name in ("scan", "out"):
        (tmp_path / name).mkdir(exist_ok=True)
    with folders.alone(tmp_path / "scan"), pytest.raises(InputError, match="another process"):
        scan.find_faces(release, YuNet(), tmp_path / "scan")
    with folders.alone(tmp_path / "out"), pytest.raises(InputError, match="another process"):
        blur.anonymise(scanned, tmp_path / "out")


def test_what_cannot_be_scanned_is_said_clearly(release: Path, tmp_path: Path) -> None:
    scan.find_faces(release, YuNet(), tmp_path / "scan", limit=1)
    with pytest.raises(InputError, match="other settings"):
        scan.find_faces(release, YuNet(threshold=0.6), tmp_path / "scan")
    with pytest.raises(InputError, match="no such folder"):
        scan.find_faces(tmp_path / "nowhere", YuNet(), tmp_path / "scan")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no frames"):
        scan.find_clips(tmp_path / "empty")
    with pytest.raises(InputError, match="give each clip its own"):
        scan.find_clips(release / "val/Oslo/Oslo_0000")
    (tmp_path / "bad" / "a_0").mkdir(parents=True)
    (tmp_path / "bad" / "a_0" / "1.jpg").write_bytes(b"no picture")
    with pytest.raises(InputError, match="not one frame"):
        scan.find_faces(tmp_path / "bad", YuNet(), tmp_path / "scan2")
    log = tmp_path / "scan" / scan.LOG
    log.write_bytes(log.read_bytes() + b"{}\n")
    with pytest.raises(InputError, match=r"scan\.jsonl, line 3: damaged"):
        scan.find_faces(release, YuNet(), tmp_path / "scan")


def test_a_limit_spreads_over_the_data_set(release: Path) -> None:
    assert list(scan.find_clips(release, 2)) == ["train/Lyon/Lyon_0000", "val/Lyon/Lyon_0001"]
    assert len(scan.find_clips(release, 99)) == len(scan.find_clips(release)) == 3
