"""The one place that opens video.

decord and PyAV, which read video files, are imported inside the functions: decord after torch, and neither where clips
are folders of images. Every call opens its own reader, so that these functions are safe in the workers of a pool or of
a DataLoader.
"""

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cityguessr.base.errors import InputError
from cityguessr.config import Sampling
from cityguessr.data.frames import frame_files
from cityguessr.data.pictures import open_image, resize
from cityguessr.data.sampling import RELEASED_KEPT, frame_indices


@dataclasses.dataclass(frozen=True)
class VideoInfo:
    """Length and size of a video file.

    Attributes:
        fps: frames per second.
        width, height: in pixels as shown, after any rotation noted in the file.
    """

    frames: int
    fps: float
    width: int
    height: int


def read_frames(
    path: str | os.PathLike[str], frames: int = 16, size: int = 224, sampling: Sampling = "uniform"
) -> np.ndarray:
    """Read a clip from a video file, or from a folder of numbered images as the release has them.

    Every frame is resized whole to a square, as the authors do, with a bilinear filter that is widened on shrinking.
    Rotation noted in the file is applied. `released` on a video file first keeps 100 frames spread evenly, as the
    release did with its source videos, and then takes from these what the authors' loader would.

    Returns uint8 (T, H, W, 3), RGB, with T = `frames` and H = W = `size`.
    Raises InputError, naming the file, where it is missing, empty, truncated or no video, and for too few frames.
    """
    path = Path(path)
    if path.is_dir():
        return np.stack([np.asarray(resize(open_image(file), size)) for file in frame_files(path, frames, sampling)])
    reader = _open(path)
    indices = _video_indices(path, len(reader), frames, sampling)
    return np.stack([np.asarray(resize(Image.fromarray(_decode(path, reader, i)), size)) for i in indices])


def _video_indices(path: str | os.PathLike[str], total: int, frames: int, sampling: Sampling) -> list[int]:
    """`frame_indices` for a video file of `total` frames; see `read_frames` for what `released` means there.

    Raises InputError, naming the file, where it has too few frames.
    """
    try:
        if sampling == "released" and total > RELEASED_KEPT:
            kept = frame_indices(total, RELEASED_KEPT, "uniform")
            return [kept[i] for i in frame_indices(RELEASED_KEPT, frames, "released")]
        return frame_indices(total, frames, sampling)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def video_info(path: str | os.PathLike[str]) -> VideoInfo:
    """Length, rate and size of a video file.

    Raises InputError, naming the file, where it is no readable video.
    """
    reader = _open(Path(path))
    height, width = _decode(Path(path), reader, 0).shape[:2]
    return VideoInfo(frames=len(reader), fps=float(reader.get_avg_fps()), width=width, height=height)


def _open(path: Path) -> Any:
    """A fresh decord reader. PyAV looks first: it says what is wrong with a file, where decord writes to stderr."""
    try:
        length = path.stat().st_size
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give the path of a video file") from None
    if path.is_dir():
        raise InputError(f"{path}: this is a folder; give the path of a video file")
    if length == 0:
        raise InputError(f"{path}: the file is empty (0 bytes); copy or download it again")
    import av

    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise InputError(f"{path}: has no video stream; give a file with pictures in it")
    except PermissionError:
        raise InputError(f"{path}: no permission to read it; change its mode or owner") from None
    except av.error.FFmpegError:
        raise InputError(
            f"{path}: not a video, or cut off before its index ({length:,} bytes); copy or download it again"
        ) from None
    decord = _decord()
    decord.logging.set_level(decord.logging.QUIET)
    try:
        reader = decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1)
        total = len(reader)
    except (decord.DECORDError, RuntimeError):
        raise InputError(
            f"{path}: no frame can be read, the file is truncated, damaged or of an unsupported kind; copy or download "
            "it again, or encode it as H.264 in MP4"
        ) from None
    if total == 0:
        raise InputError(f"{path}: the video has no frames; copy or download it again")
    return reader


def _decord() -> Any:
    import torch  # noqa: F401  decord's libraries clash with torch's where decord is loaded first

    # isort: split
    try:
        import decord
    except (ImportError, OSError) as error:
        raise InputError(
            f"video needs decord, which cannot be imported ({error}); it has wheels for Linux and Windows on "
            "x86-64: open videos there, or work from folders of JPEG frames, which need no decord"
        ) from None
    return decord


def _decode(path: Path, reader: Any, index: int) -> np.ndarray:
    decord = _decord()
    try:
        return reader[index].asnumpy()
    except (decord.DECORDError, RuntimeError, IndexError):
        raise InputError(
            f"{path}: frame {index} of {len(reader)} cannot be decoded, the file is truncated or damaged; copy or "
            "download it again"
        ) from None
