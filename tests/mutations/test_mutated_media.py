"""Spoilt pictures, names of frames and videos: each is refused by name, or read as what it is."""

import io
import os
import random
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numbered import CLOSED, make, number
from PIL import Image
from support import make_frames
from trials import Trial, spoil_bytes, survey

from cityguessr.data import video
from cityguessr.data.frames import frame_files
from cityguessr.data.pictures import open_image, shrink

SIZE = (96, 72)


def scene() -> Image.Image:
    """A picture with smooth parts, edges and noise, as photographs have."""
    width, height = SIZE
    y, x = np.mgrid[:height, :width]
    picture = np.stack([2 * x, 3 * y, 255 - x - y], axis=2).clip(0, 255)
    picture[20:40, 30:60] = (250, 240, 10)
    picture[40:] = np.random.default_rng(0).integers(60, 160, (height - 40, width, 3))
    return Image.fromarray(picture.astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def pictures() -> dict[str, bytes]:
    """The same picture in several kinds of file."""
    image, turned = scene(), Image.Exif()
    turned[0x0112] = 6
    return {
        "base.jpg": encoded(image, "JPEG", quality=90),
        "progressive.jpg": encoded(image, "JPEG", quality=90, progressive=True),
        "grey.jpg": encoded(image.convert("L"), "JPEG", quality=90),
        "turned.jpg": encoded(image.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=90, exif=turned),
        "cmyk.jpg": encoded(image.convert("CMYK"), "JPEG", quality=90),
        "colour.png": encoded(image, "PNG"),
        "palette.png": encoded(image.convert("P"), "PNG"),
        "alpha.png": encoded(image.convert("RGBA"), "PNG"),
        "colour.webp": encoded(image, "WEBP"),
    }


def test_frames(tmp_path: Path) -> None:
    whole, changed = pictures(), Counter[str]()
    right = {name: np.asarray(open_image(write(tmp_path / name, content)), int) for name, content in whole.items()}

    def spoil(rng: random.Random, folder: Path) -> Trial:
        name, other = rng.choice(list(whole)), rng.choice(list(whole))
        done, content = spoil_bytes(whole[name], rng, whole[other])
        path = write(folder / name, content)

        def wrong(read: tuple[Image.Image, Image.Image, bytes | None]) -> str | None:
            image, small, kept = read
            if image.mode != "RGB" or image.size not in (SIZE, SIZE[::-1]):
                return f"a picture of {image.size} in {image.mode}"
            if small.mode != "RGB" or small.size != (32, 32) or kept is not None:
                return f"a small picture of {small.size} in {small.mode}"
            same = image.size == SIZE
            off = np.abs(np.asarray(image, int) - right[name]).mean() if same else 255.0
            if off > 3:
                told = "cut", "appended", *(("zeros to the end",) if not name.endswith("webp") else ())
                if done.startswith(told):
                    return f"read as whole, {off:.1f} levels off in the mean"
                changed[name] += 1
            return None

        return Trial(f"{name}, {done}", (str(path),), lambda: (open_image(path), *shrink(path, 32)), wrong)

    survey("frames", 110, spoil, tmp_path / "spoilt")
    print(f"damage that no checksum tells, pictures that look otherwise: {dict(changed)}")


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


STRAYS = (
    "Thumbs.db", ".DS_Store", "._1.jpg", "cover.jpg", "1 (1).jpg", "01.jpg", "\u0663.jpg", "\u00b2.jpg", "21.JPG",
    "21.jpeg", "21.png", "1.png", "-1.jpg", "0.5.jpg", "1e3.jpg", "0.jpg", "1000.jpg", "frame21.jpg", "21.jpg.part",
    "21 .jpg", "21.jpg~", "9" * 19 + ".jpg", "9" * 30 + ".jpg", "9" * 200 + ".jpg", "21\n.jpg", "21\x1b[2J.jpg",
    "#21.jpg", ".jpg", "jpg", "21..jpg", "2\ufe0f1.jpg", "21.jpg.jpg", "\u202e21.jpg",
)  # fmt: skip


def test_names(tmp_path: Path) -> None:
    grey = Image.fromarray(np.full((24, 32, 3), 90, np.uint8))

    def spoil(rng: random.Random, folder: Path) -> Trial:
        clip = make_frames(folder / "clip", 20, (32, 24))
        stray, victim = rng.choice(STRAYS), clip / f"{rng.randint(1, 20)}.jpg"
        ways: dict[str, Callable[[], object]] = {
            "another file": lambda: grey.save(clip / stray, "JPEG"),
            "renamed": lambda: victim.rename(clip / stray),
            "a folder": lambda: (clip / stray).mkdir(exist_ok=True),
            "a pipe": lambda: os.mkfifo(clip / f"{rng.randint(21, 40)}.jpg"),
            "a link to nothing": lambda: (clip / "30.jpg").symlink_to(clip / "nowhere.jpg"),
            "a link to itself": lambda: (clip / "30.jpg").symlink_to(clip / "30.jpg"),
            "a device": lambda: (victim.unlink(), victim.symlink_to(rng.choice(("/dev/urandom", "/dev/zero")))),
            "an empty file": lambda: victim.write_bytes(b""),
            "zero-padded": lambda: renamed(clip, lambda n: f"{n:05d}.jpg"),
            "some zero-padded": lambda: renamed(clip, lambda n: f"{n:02d}.jpg" if n % 2 else f"{n}.jpg"),
            "a beginning": lambda: renamed(clip, lambda n: f"frame_{n}.jpg"),
            "decimals": lambda: renamed(clip, lambda n: f"{n / 10}.jpg"),
            "below zero": lambda: renamed(clip, lambda n: f"{n - 10}.jpg"),
            "in capitals": lambda: renamed(clip, lambda n: f"{n}.JPG"),
            "a copy": lambda: renamed(clip, lambda n: f"{n} - Copy.jpg"),
        }
        way = rng.choice(list(ways))
        ways[way]()
        there = sorted(name for name in os.listdir(clip) if is_frame(name))

        def wrong(read: tuple[list[Path], np.ndarray]) -> str | None:
            files, frames = read
            numbers = [int(re.findall("[0-9]+", file.stem)[-1]) for file in files]
            if numbers != sorted(set(numbers)) or sorted(file.name for file in files) != there:
                return f"in the order {numbers}, where there are {there}"
            return None if frames.shape == (4, 16, 16, 3) and frames.dtype == np.uint8 else f"{frames.shape}"

        names = (str(clip), repr(str(clip))[1:-1])
        return Trial(f"{way} {stray!r}", names, lambda: (frame_files(clip), video.read_frames(clip, 4, 16)), wrong)

    survey("names", 30, spoil, tmp_path)


def is_frame(name: str) -> bool:
    return name[0] != "." and name.lower().endswith((".jpg", ".jpeg", ".png"))


def renamed(clip: Path, name: Callable[[int], str]) -> None:
    between = clip.with_name("between")
    clip.rename(between)
    clip.mkdir()
    for n in range(1, 21):
        (between / f"{n}.jpg").rename(clip / name(n))


FRAMES = 24


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The content of one short video in several containers."""
    folder = tmp_path_factory.mktemp("videos")
    kinds = {
        "moov_last.mp4": {},
        "moov_first.mp4": {"container": {"movflags": "faststart"}},
        "fragments.mp4": {"container": {"movflags": "frag_keyframe+empty_moov"}},
        "h264.mkv": {},
        "h264.ts": {},
        "mpeg4.avi": {"codec": "mpeg4", "options": {"g": "6"}},
        "mpeg2.mpg": {"codec": "mpeg2video", "options": {"g": "6"}},
        "flv1.flv": {"codec": "flv1", "options": {"g": "6"}},
        "wmv2.wmv": {"codec": "wmv2", "options": {"g": "6"}},
        "mpeg2.mxf": {"codec": "mpeg2video", "options": {"g": "6"}},
        "vp8.ogg": {"codec": "libvpx", "options": {"cpu-used": "8", "deadline": "realtime"}},
        "mjpeg.mov": {"codec": "mjpeg", "options": {}, "pixels": "yuvj420p"},
        "hevc.mp4": {"codec": "libx265", "options": {"x265-params": "log-level=error:keyint=8:pools=1"}},
        "vp9.webm": {"codec": "libvpx-vp9", "options": {"cpu-used": "8", "deadline": "realtime", "g": "8"}},
    }
    for name, options in kinds.items():
        make(folder / name, **{"options": CLOSED, **options, "frames": FRAMES})
    return {name: (folder / name).read_bytes() for name in kinds}


BOXES = (
    b"ftyp", b"moov", b"mvhd", b"trak", b"tkhd", b"edts", b"elst", b"mdia", b"mdhd", b"stbl", b"stsd", b"avc1",
    b"avcC", b"stts", b"ctts", b"stss", b"stsc", b"stsz", b"stco", b"mdat", b"moof", b"trun", b"tfhd", b"RIFF",
    b"LIST", b"movi", b"strh", b"strf", b"idx1", b"avih", b"\x1a\x45\xdf\xa3", b"\x16\x54\xae\x6b",
    b"\x1f\x43\xb6\x75", b"\x1c\x53\xbb\x6b",
)  # fmt: skip


def spoil_box(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Another number into the size of a part of the container, or into what stands at its beginning."""
    there = [box for box in BOXES if box in content]
    if not there:
        return spoil_bytes(content, rng)
    box = rng.choice(there)
    at = content.index(box) + rng.choice((-4, 4, 8, 12, 16, 20, 24))
    at = min(max(at, 0), len(content) - 4)
    value = rng.choice((0, 1, 7, 8, 2**16, 2**31 - 1, 2**31, 2**32 - 1, rng.randrange(2**32), len(content)))
    new = value.to_bytes(4, rng.choice(("big", "little")))
    return f"{value} at {at} by {box!r}", content[:at] + new + content[at + 4 :]


def test_videos(tmp_path: Path, videos: dict[str, bytes]) -> None:
    wanted = video.frame_indices(FRAMES, 4)
    changed: list[str] = []

    def spoil(rng: random.Random, folder: Path) -> Trial:
        name, other = rng.choice(list(videos)), rng.choice(list(videos))
        if rng.random() < 0.4:
            done, content = spoil_box(videos[name], rng)
        else:
            done, content = spoil_bytes(videos[name], rng, videos[other])
        path = write(folder / name, content)

        def wrong(frames: np.ndarray) -> str | None:
            if frames.shape != (4, 160, 160, 3) or frames.dtype != np.uint8:
                return f"frames {frames.shape} {frames.dtype}"
            if (shown := list(map(number, frames))) != wanted:
                between = name.endswith(".ts") and len(content) % 188 == 0  # a shorter stream, but whole
                unfilled = done.startswith("zeros to the end") and not any(content[-512:])
                if (done.startswith("cut") and not between) or unfilled:
                    return f"read as whole, frames {shown} for {wanted}"
                changed.append(f"{name}, {done}: {shown}")
            return None

        return Trial(f"{name}, {done}", (str(path),), lambda: video.read_frames(path, 4, 160, limit_s=20), wrong)

    survey("videos", 50, spoil, tmp_path)
    print(
        f"damage that no checksum tells, {len(changed)} videos show other frames than {wanted}:", *changed, sep="\n  "
    )
