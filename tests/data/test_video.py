"""Which frames a clip consists of, and how they are read."""

import struct
import wave
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import make_frames, make_video, one_line, picture

from cityguessr.base.errors import InputError
from cityguessr.data.frames import frame_files
from cityguessr.data.sampling import frame_indices
from cityguessr.data.video import read_frames, video_info


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
