"""Frame k is the k-th frame that a player shows, whatever the container, the codec and the engine."""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numbered import OPEN, REFRESHED, copy, make, number, picture

from cityguessr.base.errors import InputError
from cityguessr.data.video import engines, packets

FULL = {"libx265": {"x265-params": "log-level=none:keyint=12:min-keyint=12:bframes=3"}}
VP9 = {"cpu-used": "8", "deadline": "realtime", "auto-alt-ref": "1", "lag-in-frames": "16", "g": "20"}
PLAIN = {"b": "3M", "g": "12"}
INTERLACED = {"x264-params": "interlaced=1:keyint=12:bframes=2", "flags": "+ildct+ilme"}
UNEVEN = [40 * k + 200 * (k // 7) for k in range(60)]  # milliseconds

# What is made, and which engines can tell the numbers: d(ecord), k(ey frames), s(tart to end, always).
KINDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "mp4": ("a.mp4", "dks", {}),
    "mov": ("a.mov", "dks", {}),
    "mkv": ("a.mkv", "dks", {}),
    "variable rate": ("a.mkv", "dks", {"times": UNEVEN}),
    "fragmented": ("a.mp4", "dks", {"container": {"movflags": "frag_keyframe+empty_moov"}}),
    "vp9 with hidden frames": ("a.webm", "dks", {"codec": "libvpx-vp9", "options": VP9}),
    "4:4:4": ("a.mp4", "dks", {"pixels": "yuv444p"}),
    "full range": ("a.mp4", "dks", {"pixels": "yuvj420p"}),
    "interlaced": ("a.mp4", "ks", {"options": INTERLACED}),
    "10 bit": ("a.mp4", "ks", {"pixels": "yuv420p10le"}),
    "open groups": ("a.mp4", "ks", {"options": OPEN}),
    "hevc with open groups": ("a.mp4", "ks", {"codec": "libx265", "options": FULL["libx265"]}),
    "vp8 with hidden frames": ("a.webm", "ks", {"codec": "libvpx", "options": VP9}),
    "av1": ("a.mp4", "ks", {"codec": "libsvtav1", "options": {"preset": "12"}, "frames": 30}),
    "ts": ("a.ts", "ks", {}),
    "no key frames": ("a.mp4", "s", {"options": REFRESHED}),
    "avi": ("a.avi", "s", {}),
    "avi of mpeg4": ("b.avi", "s", {"codec": "mpeg4", "options": {**PLAIN, "bf": "2"}}),
    "programme stream": ("a.mpg", "s", {"codec": "mpeg2video", "options": {**PLAIN, "bf": "2"}}),
    "wmv": ("a.wmv", "s", {"codec": "wmv2", "options": PLAIN}),
    "flv": ("a.flv", "s", {}),
    "gif": ("a.gif", "s", {"codec": "gif", "pixels": "bgr8", "options": {}}),
    "raw h264": ("a.h264", "s", {}),
    "raw mpeg2": ("a.m2v", "s", {"codec": "mpeg2video", "options": {**PLAIN, "bf": "2"}}),
    "y4m": ("a.y4m", "s", {"codec": "wrapped_avframe", "kind": "yuv4mpegpipe", "options": {}}),
}
ENGINES = {"d": engines.with_decord, "k": engines.with_keys, "s": engines.from_start}


def numbers(path: Path) -> list[int]:
    """What all frames of the file show."""
    look = packets.look(str(path))
    return [number(frame) for _, frame in engines.pick(look, range(engines.count(look)))]


@pytest.mark.parametrize("kind", KINDS)
def test_the_engines_agree_where_their_numbers_hold(kind: str, tmp_path: Path) -> None:
    name, able, how = KINDS[kind]
    look = packets.look(str(make(tmp_path / name, **how)))
    wanted = [2, 3, 7, 11, 12, 13, 22, 29] + ([31, 47, 59] if "frames" not in how else [])
    assert engines.count(look) == how.get("frames", 60)
    pictures = {}
    for letter, engine in ENGINES.items():
        if letter == "d" and not engines.has_decord():
            continue
        if letter in able:
            pictures[letter] = dict(engine(look, wanted))
            assert [(k, number(frame)) for k, frame in pictures[letter].items()] == [(k, k) for k in wanted]
        else:
            with pytest.raises(engines._Unsure):
                list(engine(look, wanted))
    for frames in pictures.values():  # the same colours as well
        assert max(np.abs(frames[k].astype(int) - pictures["s"][k]).max() for k in wanted) <= 2
        if kind != "gif":
            assert np.abs(frames[3][5, 5].astype(int) - (200, 60, 40)).max() <= 8


def edit(source: Path, path: Path, entries: Sequence[tuple[int, int]]) -> Path:
    """The MP4 with another edit list: durations in ms, and the media time that each starts from or -1 for a wait."""
    content = bytearray(source.read_bytes())
    at = content.index(b"elst") - 4
    old = struct.unpack_from(">I", content, at)[0]
    body = b"".join(struct.pack(">Iihh", duration, start, 1, 0) for duration, start in entries)
    new = struct.pack(">I4sII", 16 + len(body), b"elst", 0, len(entries)) + body
    for box in (b"moov", b"trak", b"edts"):
        size = content.rindex(box, 0, at) - 4
        struct.pack_into(">I", content, size, struct.unpack_from(">I", content, size)[0] + len(new) - old)
    content[at : at + old] = new
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("entries", "shown"),
    [
        ([(1000, 20)], range(20, 50)),
        ([(1500, -1), (1000, 20)], range(20, 50)),
        ([(500, 10), (500, 40)], [*range(10, 25), *range(40, 55)]),
        ([(500, 40), (500, 10)], [*range(40, 55), *range(10, 25)]),
    ],
    ids=["trimmed", "delayed", "two parts", "turned round"],
)
def test_an_edit_list_says_what_is_shown(entries: list[tuple[int, int]], shown: Sequence[int], tmp_path: Path) -> None:
    first, step = 1024, 512  # of the media's time: where frame 0 stands, and one frame
    timed = [(duration, start if start < 0 else first + step * start) for duration, start in entries]
    path = edit(make(tmp_path / "long.mp4"), tmp_path / "edited.mp4", timed)
    assert numbers(path) == list(shown)


def test_a_copy_from_within_a_scene_starts_with_the_first_whole_frame(tmp_path: Path) -> None:
    source = make(tmp_path / "long.mp4")
    assert numbers(copy(source, tmp_path / "cut.mkv", lambda k: k >= 17)) == list(range(24, 60))
    source = make(tmp_path / "open.mp4", options=OPEN)
    first = next(k for k, row in enumerate(packets.look(str(source)).keys) if row > 0)
    assert first == 1
    shown = numbers(copy(source, tmp_path / "open.mkv", lambda k: k >= 13))
    assert shown == list(range(shown[0], 60))


@pytest.mark.parametrize("name", ["a.ts", "a.h264"])
def test_files_that_were_joined_are_played_one_after_the_other_at_any_size(name: str, tmp_path: Path) -> None:
    one = make(tmp_path / name, frames=30)
    other = make(tmp_path / f"small_{name}", frames=30, size=(80, 48))
    both = tmp_path / f"both_{name}"
    both.write_bytes(one.read_bytes() + other.read_bytes())
    assert numbers(both) == [*range(30), *range(30)]


MATRICES = {
    "quarter": ((0, 1, -1, 0), lambda frame: np.rot90(frame, -1)),
    "half": ((-1, 0, 0, -1), lambda frame: np.rot90(frame, 2)),
    "three quarters": ((0, -1, 1, 0), lambda frame: np.rot90(frame, 1)),
    "mirrored": ((-1, 0, 0, 1), lambda frame: frame[:, ::-1]),
    "upside down": ((1, 0, 0, -1), lambda frame: frame[::-1]),
    "transposed": ((0, 1, 1, 0), lambda frame: frame.swapaxes(0, 1)),
}


@pytest.mark.parametrize("turn", MATRICES)
def test_a_picture_stands_as_the_display_matrix_says(turn: str, tmp_path: Path) -> None:
    (a, b, c, d), expected = MATRICES[turn]
    path = make(tmp_path / "phone.mp4", frames=3)
    content, one = bytearray(path.read_bytes()), 1 << 16
    struct.pack_into(
        ">9i", content, content.index(b"tkhd") + 44, a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30
    )
    path.write_bytes(content)
    _, shown = next(engines.pick(packets.look(str(path)), [1]))
    want = expected(picture(1))
    assert shown.shape == want.shape
    assert np.abs(shown.astype(int) - want).mean() < 6


def test_pixels_that_are_not_square_are_made_so(tmp_path: Path) -> None:
    def wide(stream: Any) -> None:
        stream.codec_context.sample_aspect_ratio = 2

    _, shown = next(engines.pick(packets.look(str(make(tmp_path / "dv.mp4", frames=2, prepare=wide))), [0]))
    assert shown.shape == (96, 320, 3)


def test_a_picture_that_the_decoder_made_up_is_refused(tmp_path: Path) -> None:
    path = make(tmp_path / "worn.mp4", options={"crf": "10", **OPEN})
    content = bytearray(path.read_bytes())
    at = content.index(b"mdat") + 2000
    content[at : at + 400] = bytes(range(1, 201)) * 2
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"worn\.mp4: .*(damaged|truncated)"):
        numbers(path)


def test_a_number_that_the_file_does_not_have_is_refused(tmp_path: Path) -> None:
    look = packets.look(str(make(tmp_path / "a.mp4", frames=5)))
    with pytest.raises(InputError, match=r"no frame 5; it has frames 0 to 4"):
        list(engines.pick(look, [1, 5]))
