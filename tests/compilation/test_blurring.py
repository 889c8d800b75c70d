"""Faces are blurred before a frame is written."""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from filming import film, small, table
from matplotlib import cbook
from PIL import Image

from cityguessr.compilation import segments
from cityguessr.compilation.compiling import compile_videos
from cityguessr.faces.blur import Blur, detail_left
from cityguessr.faces.detectors import YuNet

FACE = (100.0, 60.0, 60.0, 80.0)


class Stub:
    """A detector that finds one face, always at the same place."""

    settings = {"detector": "stub"}  # noqa: RUF012

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        return np.array([[*FACE, 0.9]], np.float32)


@pytest.fixture
def person() -> np.ndarray:
    """A street with the public-domain portrait that comes with matplotlib, uint8 (240, 320, 3)."""
    with cbook.get_sample_data("grace_hopper.jpg") as file:
        portrait = Image.open(file).convert("RGB").resize((180, 212))
    frame = np.random.default_rng(0).integers(90, 160, (240, 320, 3)).astype(np.uint8)
    frame[20:232, 60:240] = np.asarray(portrait)
    return frame


def written(folder: Path) -> Iterator[np.ndarray]:
    for file in sorted(folder.rglob("*.jpg")):
        yield np.asarray(Image.open(file))


def test_no_frame_is_written_with_a_face_that_the_detector_finds(tmp_path: Path, person: np.ndarray) -> None:
    film(tmp_path / "videos" / "a.mp4", 36, picture=person)
    places = table(tmp_path / "places.csv", "a.mp4,Lyon,,,")
    clear, blurred = tmp_path / "clear", tmp_path / "blurred"
    compile_videos(tmp_path / "videos", places, clear, small(kept=2), workers=1)
    about = compile_videos(tmp_path / "videos", places, blurred, small(kept=2, blur=Blur()), workers=1)
    assert about["counts"]["faces_blurred"] == 4
    with open(blurred / "detections.csv", newline="") as file:
        faces = list(csv.DictReader(file))
    assert {row["frame"] for row in faces} == {"1.jpg", "2.jpg"}
    assert all((blurred / row["clip"] / row["frame"]).is_file() for row in faces)
    box = np.array([float(faces[0][name]) for name in ("x", "y", "width", "height")])
    for before, after in zip(written(clear), written(blurred), strict=True):
        assert len(YuNet()(before)) == 1
        assert detail_left(before, after, box) < 0.1
    assert not (clear / "detections.csv").exists()


def test_nothing_that_was_not_blurred_is_encoded(
    tmp_path: Path, person: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every picture on its way to the disk is even inside the box, in this process and before any file is there."""
    film(tmp_path / "videos" / "a.mp4", 36, picture=person)
    places = table(tmp_path / "places.csv", "a.mp4,Lyon,,,")
    encoded, encode = [], segments.encode_image

    def watch(image: Image.Image, *arguments: object, **options: object) -> bytes:
        encoded.append(np.asarray(image))
        return encode(image, *arguments, **options)

    monkeypatch.setattr(segments, "_detector", lambda settings: Stub())
    monkeypatch.setattr(segments, "encode_image", watch)
    compile_videos(tmp_path / "videos", places, tmp_path / "mine", small(kept=2, blur=Blur()), workers=1)
    assert len(encoded) >= 4
    for picture in encoded:
        assert detail_left(person, picture, np.array(FACE)) < 0.1


def test_boxes_are_those_of_the_picture_that_is_written(tmp_path: Path, person: np.ndarray) -> None:
    picture, boxes = segments.finish(person, small(blur=Blur(), height=120))
    assert picture.shape == (120, 160, 3)
    (x, y, width, height, _) = boxes[0]
    assert 0 <= x < x + width <= 160
    assert 0 <= y < y + height <= 120
