"""Tiny long videos whose frames say their own number, and tables of places for them."""

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
from PIL import Image

from cityguessr.compilation.settings import Settings

SMALL = {"clip_frames": (16, 18), "kept": 8}
"""The paper's 800 to 900 frames and 100 kept, but for the size: neighbours are 2 or 3 frames apart."""


def small(**changes: object) -> Settings:
    """Settings that are enough for a test."""
    return Settings(**{**SMALL, **changes})


def film(path: Path, frames: int, blank: Sequence[int] = (), picture: np.ndarray | None = None) -> Path:
    """A video of a still street; frame k has its number in two grey columns at the left, blank ones are black."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if picture is None:
        street = np.random.default_rng(0).integers(0, 256, (6, 8, 3)).astype(np.uint8)
        picture = street.repeat(8, axis=0).repeat(8, axis=1)  # 48 x 64
    height, width = picture.shape[:2]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "4", "g": "12", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for k in range(frames):
            shown = np.zeros_like(picture) if k in blank else picture.copy()
            if k not in blank:
                shown[:, :8], shown[:, 8:16] = k // 16 * 16 + 8, k % 16 * 16 + 8
            container.mux(stream.encode(av.VideoFrame.from_ndarray(shown, "rgb24")))
        container.mux(stream.encode())
    return path


def number(file: Path) -> int:
    """The number in the video that a kept frame says."""
    columns = np.asarray(Image.open(file).convert("L"))[:, :16]
    return int(columns[:, 2:6].mean() // 16 * 16 + columns[:, 10:14].mean() // 16)


def table(path: Path, *rows: str, columns: str = "video,city,state,country,continent") -> Path:
    """A table of places."""
    path.write_text("\n".join([columns, *rows]) + "\n", encoding="utf-8")
    return path


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a folder by its path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
