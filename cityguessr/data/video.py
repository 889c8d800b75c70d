"""The one place that opens video, and the rule by which frames are picked from it.

decord and PyAV, which read video files, are imported inside the functions: decord after torch, and neither where clips
are folders of images. Every call opens its own reader, so that these functions are safe in the workers of a pool or of
a DataLoader.
"""

import dataclasses
import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from cityguessr.base.errors import InputError, one_of
from cityguessr.config import SAMPLINGS, Sampling

RELEASED_STRIDE = 5  # the authors' loader takes every 5th file ...
RELEASED_KEPT = 100  # ... of the about 100 frames that the release keeps of a clip (paper, section 3)
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")

_Item = TypeVar("_Item")


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


def frame_indices(total: int, frames: int, sampling: Sampling = "uniform") -> list[int]:
    """The indices of the `total` frames that make a clip of `frames`: from 0, in the order the model sees them.

    `uniform`: the clip is cut into `frames` equal segments and the middle frame of each is taken (paper, section 5.2:
    frames spread over the whole video). `released`: as the authors' loader does, the frames are files `1.jpg`, `2.jpg`
    ... sorted by name, not by number, of which every fifth is taken until there are enough; of 100 files these are
    1, 13, 18, 22, 27, ... Both take every frame once at most.

    Raises InputError where there are too few frames, or the arguments make no sense.
    """
    return _pick(range(total), frames, sampling, name=lambda index: str(index + 1))


def _pick(items: Sequence[_Item], frames: int, sampling: Sampling, name: Callable[[_Item], str]) -> list[_Item]:
    """As `frame_indices`, of any items in the order of their numbers; `released` sorts them by `name` first."""
    total = len(items)
    if frames < 1:
        raise InputError(f"a clip needs at least one frame, not {frames}; give frames=16 as in the paper's code")
    if sampling == "uniform":
        if total < frames:
            raise InputError(f"{frames} frames are needed and there are {total}; ask for fewer, or leave the clip out")
        return [items[(2 * i + 1) * total // (2 * frames)] for i in range(frames)]
    if sampling == "released":
        every_fifth = sorted(items, key=name)[::RELEASED_STRIDE]
        if len(every_fifth) < frames:
            raise InputError(
                f"every {RELEASED_STRIDE}th of {total} frames gives fewer than {frames}; ask for fewer, or use "
                'sampling="uniform"'
            )
        return every_fifth[:frames]
    raise one_of("sampling", sampling, SAMPLINGS)


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


def frame_files(
    folder: str | os.PathLike[str], frames: int | None = None, sampling: Sampling = "uniform"
) -> list[Path]:
    """The image files of a folder that make a clip of `frames` frames, or all of them, in the order of their numbers.

    Files are `<n>.jpg`, not zero-padded. Their numbers need neither start at 1 nor be without gaps.

    Raises InputError, naming the folder, where it is missing or has too few.
    """
    folder = Path(folder)
    try:
        names = [name for name in os.listdir(folder) if name.lower().endswith(IMAGE_SUFFIXES) and name[0] != "."]
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror}); a clip is a folder of <n>.jpg files") from None
    names.sort(key=lambda name: (frame_number(name) or 0, name))
    if frames is not None:
        try:
            names = _pick(names, frames, sampling, name=lambda name: name.rsplit(".", 1)[0])
        except InputError as error:
            raise InputError(f"{folder}: {error}") from None
    return [folder / name for name in names]


def frame_number(name: str | os.PathLike[str]) -> int | None:
    """The n of a file `<n>.jpg`, or None where the name is not a number."""
    stem = Path(name).stem
    return int(stem) if stem.isdecimal() else None


def open_image(path: str | os.PathLike[str]) -> Image.Image:
    """The image in a file, decoded completely.

    Raises InputError, naming the file, where it is missing, empty, truncated or no image.
    """
    return decode_image(path, read_bytes(path))


def decode_image(path: str | os.PathLike[str], content: bytes) -> Image.Image:
    """The image in the `content` of the file at `path`; as `open_image`, for a file already read."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            return image
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise InputError(
            f"{path}: not a whole image ({len(content):,} bytes); restore the file or leave the clip out"
        ) from None


def encode_image(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The image as the content of a file, `JPEG` or `PNG`, with Pillow's options of that kind."""
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def resize(image: Image.Image, size: int) -> Image.Image:
    """The whole image as a square of `size` pixels in RGB (Pillow's antialiased bilinear, as the authors do)."""
    image = image if image.mode == "RGB" else image.convert("RGB")
    return image if image.size == (size, size) else image.resize((size, size), Image.Resampling.BILINEAR)


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """The content of a frame's file. Raises InputError, naming it, where it cannot be read."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); restore the file or leave the clip out") from None


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
