"""Street frames with a public-domain portrait, for the tests of faces."""

from pathlib import Path

import numpy as np
from matplotlib import cbook
from PIL import Image


def portrait(width: int) -> np.ndarray:
    """The public-domain portrait, so large that its face is about `width` pixels wide."""
    with cbook.get_sample_data("grace_hopper.jpg") as file:
        image = Image.open(file).convert("RGB")
    zoom = width / 170
    return np.asarray(image.resize((round(image.width * zoom), round(image.height * zoom))))


def street(*people: tuple[int, int, int]) -> np.ndarray:
    """A grey frame of 480 x 360 with the portrait at some places: x, y, width of the face."""
    frame = np.full((360, 480, 3), 128, np.uint8)
    frame[:120] = 190
    for x, y, width in people:
        picture = portrait(width)
        part = frame[y : y + len(picture), x : x + picture.shape[1]]
        part[:] = picture[: part.shape[0], : part.shape[1]]
    return frame


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
