"""Which frames a clip consists of, and how they are read."""

import os
import struct
import unicodedata
import wave
from pathlib import Path

import av
import numbered
import numpy as np
import pytest
from PIL import Image
from support import make_frames, make_video, one_line, picture

from cityguessr.base.errors import InputError
from cityguessr.data.frames import frame_files
from cityguessr.data.pictures import shrink
from cityguessr.data.sampling import frame_indices
from cityguessr.data.video import pick, read_frames, read_numbered, video_info


def test_uniform_frames_are_the_middles_of_equal_segments() -> None:
    assert frame_indices(16, 16) == list(range(16))
    assert frame_indices(100, 4) == [12, 37, 62, 87]
    assert frame_indices(800, 15)[0] == 26
    for total in range(16, 200):
        chosen = frame_indices(total, 16)
        assert len(set(chosen)) == 16
        assert chosen == sorted(chosen)
        assert chosen[0] + chosen[-1] in (total - 1, total)  # the two ends are treated alike


def test_released_frames_are_every_fifth_file_by_name() -> None:
    numbers = [i + 1 for i in frame_indices(100, 16, "released")]
    assert numbers[:5] == [1, 13, 18, 22, 27]
    assert len(set(numbers)) == 16
    assert [i + 1 for i in frame_indices(100, 15, "released")] == numbers[:15]  # the other reading of the paper's 15
    with pytest.raises(InputError, match="every 5th of 75 frames"):
        frame_indices(75, 16, "released")
    assert len(frame_indices(76, 16, "released")) == 16


def test_frames_of_a_folder_are_ordered_by_number_or_as_released_by_name(tmp_path: Path) -> None:
    folder = make_frames(tmp_path / "Paris_0000", 100)
    assert [int(f.stem) for f in frame_files(folder, 16)] == [i + 1 for i in frame_indices(100, 16)]
    assert [int(f.stem) for f in frame_files(folder, 16, "released")][:4] == [1, 13, 18, 22]
    assert [int(f.stem) for f in frame_files(folder)] == list(range(1, 101))
    values = read_frames(folder, 16, 48).mean(axis=(1, 2, 3))
    assert values == pytest.approx([2 * (i + 1) for i in frame_indices(100, 16)], abs=1.5)


def test_a_video_gives_the_frames_that_were_asked_for(tmp_path: Path) -> None:
    path = make_video(tmp_path / "walk.mp4", frames=40)
    clip = read_frames(path, frames=16, size=32)
    assert clip.shape == (16, 32, 32, 3)
    assert clip.dtype == np.uint8
    assert clip.mean(axis=(1, 2, 3)) == pytest.approx([5 * i + 20 for i in frame_indices(40, 16)], abs=3)
    info = video_info(path)
    assert (info.frames, info.fps, info.width, info.height) == (40, 30.0, 64, 48)


def test_released_sampling_of_a_long_video_first_keeps_100_frames_spread_evenly(tmp_path: Path) -> None:
    path = make_video(tmp_path / "long.mp4", frames=200, width=32, height=32)
    kept = frame_indices(200, 100)
    expected = [(5 * kept[i] + 20) % 256 for i in frame_indices(100, 16, "released")]
    assert read_frames(path, 16, 32, "released").mean(axis=(1, 2, 3)) == pytest.approx(expected, abs=3)


def test_the_whole_frame_is_squeezed_into_the_square_and_antialiased(tmp_path: Path) -> None:
    folder = make_frames(tmp_path / "clip", 1)
    wide = picture(0, 128, 64)
    wide[:, 64:] = 255  # left half black, right half white
    wide[::2, :32] = 255  # fine black and white lines, which only an antialiased reduction turns to grey
    Image.fromarray(wide).save(folder / "1.png")
    (folder / "1.jpg").unlink()
    frame = read_frames(folder, 1, 16)[0, :, :, 0].astype(int)
    assert frame[:, 15].min() == 255
    assert frame[:, 5].max() == 0
    assert np.abs(frame[2:-2, 1] - 127).max() < 25


def test_rotation_noted_in_the_file_is_applied(tmp_path: Path) -> None:
    path = make_video(tmp_path / "phone.mp4", frames=8, width=64, height=48)
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 44  # of the track header box, version 0
    one = 1 << 16
    content[matrix : matrix + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    info = video_info(path)
    assert (info.width, info.height) == (48, 64)


def test_unknown_sampling_and_no_frames_are_refused() -> None:
    with pytest.raises(InputError, match="uniform, released"):
        frame_indices(100, 16, "random")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="at least one frame"):
        frame_indices(100, 0)


def test_a_missing_video_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.mp4: no such file; give the path") as error:
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


CUTTABLE = {
    "mp4, index first": ("a.mp4", {"container": {"movflags": "faststart"}}),
    "mp4 in fragments": ("a.mp4", {"container": {"movflags": "frag_keyframe+empty_moov"}}),
    "mkv": ("a.mkv", {}),
    "live mkv": ("a.mkv", {"container": {"live": "1"}}),
    "avi": ("a.avi", {}),
    "flv": ("a.flv", {}),
    "wmv": ("a.wmv", {"codec": "wmv2"}),
    "gif": ("a.gif", {"codec": "gif", "pixels": "bgr8"}),
    "y4m": ("a.y4m", {"codec": "wrapped_avframe", "kind": "yuv4mpegpipe"}),
    "ts": ("a.ts", {}),
}


@pytest.mark.parametrize("kind", CUTTABLE)
def test_what_is_cut_off_anywhere_is_refused(kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    name, how = CUTTABLE[kind]
    path = numbered.make(tmp_path / name, frames=30, **({"options": {}} if "codec" in how else {}), **how)
    assert video_info(path).frames == 30
    content = path.read_bytes()
    for kept in (0.3, 0.7, 0.99, 0.9999):
        path.write_bytes(content[: min(int(len(content) * kept), len(content) - 1)])
        with pytest.raises(InputError, match=rf"{name}: .*(cut off|truncated).* again") as error:
            read_frames(path)
        one_line(error)
    assert capfd.readouterr().err == ""


def test_bytes_that_never_arrived_are_refused(tmp_path: Path) -> None:
    path = numbered.make(tmp_path / "sparse.mp4", container={"movflags": "faststart"})
    content = path.read_bytes()
    path.write_bytes(content[:-2000] + bytes(2000))
    with pytest.raises(InputError, match="nothing but zeros"):
        read_frames(path)


@pytest.mark.parametrize("name", ["12:30 walk.mp4", "http:x.mp4", "pipe:0", b"caf\xe9.mp4", "a%03d.mp4", "-i.mp4"])
def test_a_video_may_have_any_name(name: str | bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_video(tmp_path / "plain.mp4", 16).rename(os.fsdecode(name))
    assert read_frames(name, 16, 16).shape == (16, 16, 16, 3)  # type: ignore[arg-type]


def test_a_name_from_a_mac_is_the_same_name(tmp_path: Path) -> None:
    make_video(tmp_path / unicodedata.normalize("NFD", "São Paulo.mp4"), 16)
    assert video_info(tmp_path / unicodedata.normalize("NFC", "São Paulo.mp4")).frames == 16


def test_what_would_open_other_files_or_never_end_is_refused(tmp_path: Path) -> None:
    part = make_video(tmp_path / "part.ts", 16)
    playlist = tmp_path / "list.mp4"
    playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{part}\n#EXT-X-ENDLIST\n")
    with pytest.raises(InputError, match=r"list\.mp4: not a video that can be read from this file alone"):
        read_frames(playlist)
    os.mkfifo(tmp_path / "pipe.mp4")
    for path in (tmp_path / "pipe.mp4", "/dev/zero"):
        with pytest.raises(InputError, match="a pipe or a device"):
            read_frames(path)


def test_the_film_is_shown_and_not_the_cover(tmp_path: Path) -> None:
    path = tmp_path / "album.mp4"
    with av.open(str(path), "w") as file:
        cover = file.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        film = file.add_stream("libx264", rate=30)
        film.width, film.height, film.pix_fmt = 64, 48, "yuv420p"
        file.mux(cover.encode(av.VideoFrame.from_ndarray(picture(255, 64, 64), "rgb24").reformat(format="yuvj420p")))
        for _ in range(16):
            file.mux(film.encode(av.VideoFrame.from_ndarray(picture(50), "rgb24")))
        file.mux(film.encode())
    assert (video_info(path).frames, video_info(path).height) == (16, 48)


def test_frames_are_picked_by_number_in_order_at_the_size_shown(tmp_path: Path) -> None:
    path = numbered.make(tmp_path / "walk.mp4")
    chosen = list(pick(path, [40, 3, 3, 59]))
    assert [(k, numbered.number(frame)) for k, frame in chosen] == [(3, 3), (40, 40), (59, 59)]
    assert {frame.shape for _, frame in chosen} == {(96, 160, 3)}


@pytest.mark.parametrize("size", [(2, 2), (16, 2)])
def test_a_tiny_video_is_read(size: tuple[int, int], tmp_path: Path) -> None:
    path = make_video(tmp_path / "tiny.mp4", 16, *size)
    assert read_frames(path, 16, 16).mean(axis=(1, 2, 3)) == pytest.approx([5 * k + 20 for k in range(16)], abs=3)


def test_reading_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"walk\.mp4: not read within 0\.0001 s; give a larger limit_s"):
        read_frames(numbered.make(tmp_path / "walk.mp4"), limit_s=0.0001)


def test_frames_come_with_the_numbers_that_they_are_picked_by(tmp_path: Path) -> None:
    file = make_video(tmp_path / "walk.mp4", frames=40)
    numbers, frames = read_numbered(file, 4, 16)
    assert numbers == frame_indices(40, 4) == [5, 15, 25, 35]
    assert np.array_equal(frames, read_frames(file, 4, 16))
    assert frames.mean(axis=(1, 2, 3)) == pytest.approx([5 * n + 20 for n in numbers], abs=2)


def test_a_folder_of_frames_is_read_as_preparation_reads_it(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (90, 160, 3)).astype(np.uint8)
    (tmp_path / "clip").mkdir()
    for n in (1, 2):
        Image.fromarray(noise).resize((1280, 720)).save(tmp_path / "clip" / f"{n}.jpg", quality=90)
    small, _ = shrink(tmp_path / "clip" / "1.jpg", 224)
    assert np.array_equal(read_frames(tmp_path / "clip", 2, 224)[0], np.asarray(small))
