"""Long videos become a release: its layout, what is left out, and that it is the same however it was made."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filming import content, film, number, small, table
from support import SMALL, one_line

from cityguessr.base.errors import InputError
from cityguessr.compilation import compiling, segments
from cityguessr.compilation.compiling import compile_videos
from cityguessr.data.cityguessr68k import ReleaseSource
from cityguessr.data.prepare import prepare

ROWS = (
    "Lyon/a.mp4,Lyon,,,,45.7,4.8,",
    "Lyon/b.mp4,Lyon,,,,,,1",
    "c.mp4,Sintra,Lisbon District,Portugal,Europe,,,",
    "cut.mp4,Lyon,,,,,,",
    "short.mp4,Lyon,,,,,,",
    "gone.mp4,Lyon,,,,,,",
)


@pytest.fixture(scope="module")
def filmed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder of videos, some of which are broken, and a table of places."""
    videos = tmp_path_factory.mktemp("filmed") / "videos"
    film(videos / "Lyon" / "a.mp4", 70, blank=range(18, 34))
    film(videos / "Lyon" / "b.mp4", 60)
    film(videos / "c.mp4", 50)
    film(videos / "short.mp4", 15)
    whole = film(videos / "cut.mp4", 60).read_bytes()
    (videos / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    columns = "video,city,state,country,continent,lat,lon,start"
    return videos, table(videos.parent / "places.csv", *ROWS, columns=columns)


@pytest.fixture(scope="module")
def release(filmed: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is compiled of them, in one process."""
    out = tmp_path_factory.mktemp("compiled") / "mine"
    compile_videos(*filmed, out, small(), workers=1)
    return out


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_clips_have_the_layout_of_the_release(release: Path) -> None:
    source = ReleaseSource(release)
    clips = {clip.clip_id: clip for clip in source.clips()}
    assert sorted(clips) == [f"Lyon_{k:04d}" for k in range(len(clips) - 3)] + [f"Sintra_{k:04d}" for k in range(3)]
    assert source.taxonomy.size("city") == 167
    for clip in clips.values():
        city = clip.clip_id.rpartition("_")[0]
        assert Path(clip.path) == release / clip.split / city / clip.clip_id
        assert sorted(os.listdir(clip.path), key=lambda name: int(name[:-4])) == [f"{n}.jpg" for n in range(1, 9)]
        assert source.taxonomy.folders[clip.labels[0]] == city
    assert {clip.video_id for clip in clips.values()} == {"Lyon/a.mp4", "Lyon/b.mp4", "c.mp4"}
    assert clips["Lyon_0000"].gps[1].tolist() == [45.7, 4.8]
    assert clips["Sintra_0000"].gps is None
    assert sum(clip.split == "val" for clip in clips.values()) == 2  # of either city
    assert not [path for path in release.iterdir() if path.name.startswith(".")]


def test_the_frames_are_those_that_the_cuts_say(release: Path) -> None:
    for row in rows(release / "clips.csv"):
        folder = release / row["split"] / row["clip"].rpartition("_")[0] / row["clip"]
        shown = [number(folder / f"{n}.jpg") for n in range(1, 9)]
        first, frames = int(row["first_frame"]), int(row["frames"])
        assert shown == [first + i * frames // 8 for i in range(8)]
    assert min(int(row["first_frame"]) for row in rows(release / "clips.csv") if row["video"] == "Lyon/b.mp4") == 10


def test_what_is_left_out_is_said(release: Path) -> None:
    rejected = {(row["video"], row["first_frame"]): row["reason"] for row in rows(release / "rejected.csv")}
    reasons = {video: reason for (video, first), reason in rejected.items() if not first}
    assert set(reasons) == {"cut.mp4", "short.mp4", "gone.mp4"}
    assert reasons["short.mp4"] == "too short: 15 frames to use, and a clip has 16 at least"
    assert "no such file" in reasons["gone.mp4"]
    assert reasons["cut.mp4"].startswith("cut.mp4: ")  # no path of this machine
    blank = [reason for (video, _), reason in rejected.items() if video == "Lyon/a.mp4"]
    assert any("kept frames are blank" in reason for reason in blank)
    remarks = rows(release / "remarks.csv")
    assert {row["remark"] for row in remarks} <= {"blank", "cut"}
    used = sum(int(row["frames"]) for row in rows(release / "clips.csv"))
    left = sum(int(row["frames"] or 0) for row in rows(release / "rejected.csv"))
    assert used + left == 70 + 50 + 50  # every frame of the three videos that can be read, but the first second of one
    about = json.loads((release / "compilation.json").read_text())
    assert about["counts"]["videos_rejected"] == 3
    assert about["counts"]["clips"] == len(rows(release / "clips.csv"))
    assert [len(video["sha256"] or "") for video in about["videos"]] == [64, 64, 64, 64, 64, 0]


def test_it_is_prepared_like_any_release(release: Path, tmp_path: Path) -> None:
    prepared = prepare(ReleaseSource(release), tmp_path / "prepared", **SMALL)
    assert prepared.taxonomy.size("city") == 167
    assert len(prepared.rejected()) == 0


def test_what_was_stopped_goes_on_and_gives_the_same(
    filmed: tuple[Path, Path], release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, calls = tmp_path / "mine", {"written": 0, "moved": 0}

    def stop_at(what: str, limit: int, function: object) -> object:
        def call(*arguments: object) -> object:
            calls[what] += 1
            if calls[what] == limit:
                raise KeyboardInterrupt
            return function(*arguments)

        return call

    monkeypatch.setattr(segments, "encode", stop_at("written", 40, segments.encode))
    with pytest.raises(KeyboardInterrupt):
        compile_videos(*filmed, out, small(), workers=1)
    assert not list(out.glob("*.csv"))
    assert not (out / "train").exists()
    monkeypatch.setattr(compiling.layout, "_move", stop_at("moved", 3, compiling.layout._move))
    with pytest.raises(KeyboardInterrupt):
        compile_videos(*filmed, out, small(), workers=1)
    compile_videos(*filmed, out, small(), workers=1)
    assert calls["written"] < 40 + 8 * len(rows(out / "clips.csv")) + 8  # what was finished was not made again
    assert content(out) == content(release)


def test_a_killed_command_leaves_no_process_and_goes_on_with_any_number_of_workers(
    filmed: tuple[Path, Path], release: Path, tmp_path: Path
) -> None:
    videos, places = filmed
    command = [sys.executable, "-m", "cityguessr.compilation", videos, places, tmp_path / "mine", "--workers", "2"]
    command += ["--clip-frames", "16", "18", "--kept", "8"]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
    while not (tmp_path / "mine" / ".compiling" / "plan.json").exists() and running.poll() is None:
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    running.wait()
    running.stdout.read()  # ends when every process that inherited it has ended
    assert not (tmp_path / "mine" / "compilation.json").exists()
    compile_videos(*filmed, tmp_path / "mine", small(), workers=2)
    assert content(tmp_path / "mine") == content(release)


def test_a_finished_compilation_stays_until_something_has_changed(
    filmed: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    videos, places = tmp_path / "videos", table(tmp_path / "places.csv", "a.mp4,Lyon,,,", "broken.mp4,Lyon,,,")
    film(videos / "a.mp4", 40)
    (videos / "broken.mp4").write_bytes(b"no video")
    out = tmp_path / "mine"
    compile_videos(videos, places, out, small(), workers=1)
    before = content(out)
    os.utime(videos / "a.mp4")  # another time, the same content
    compile_videos(videos, places, out, small(), workers=1)
    assert "is there already, 2 clips" in capsys.readouterr().out
    assert content(out) == before
    with pytest.raises(InputError, match=r"kept 8, now 4\); give another folder"):
        compile_videos(videos, places, out, small(kept=4), workers=1)
    clip = next(out.glob("*/Lyon/Lyon_0001"))
    clip.rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="Lyon_0001 is gone"):
        compile_videos(videos, places, out, small(), workers=1)
    (tmp_path / "elsewhere").rename(clip)
    film(videos / "broken.mp4", 40)  # mended
    with pytest.raises(InputError, match=r"broken\.mp4 has changed since") as error:
        compile_videos(videos, places, out, small(), workers=1)
    one_line(error)


def test_a_folder_that_holds_anything_else_is_left_alone(filmed: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "letters").touch()
    with pytest.raises(InputError, match=r"holds other files \(letters, "):
        compile_videos(*filmed, tmp_path, small())
    assert [path.name for path in tmp_path.iterdir()] == ["letters"]


def test_clips_of_one_split_alone_are_no_data_set(tmp_path: Path) -> None:
    film(tmp_path / "videos" / "a.mp4", 40)
    places = table(tmp_path / "places.csv", "a.mp4,Lyon,,,")
    with pytest.raises(InputError, match="no clip is left for val, as all 2") as error:
        compile_videos(tmp_path / "videos", places, tmp_path / "mine", small(split="video"), workers=1)
    one_line(error)


def test_pictures_are_shrunk_and_never_enlarged(tmp_path: Path) -> None:
    from PIL import Image

    film(tmp_path / "videos" / "a.mp4", 40)
    places = table(tmp_path / "places.csv", "a.mp4,Lyon,,,")
    for height, size in ((24, (32, 24)), (720, (64, 48))):
        out = tmp_path / str(height)
        compile_videos(tmp_path / "videos", places, out, small(height=height), workers=1)
        assert {Image.open(file).size for file in out.rglob("*.jpg")} == {size}
