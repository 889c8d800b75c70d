"""The one reader of video: frame k is the k-th frame that a player shows.

The engines (`engines`) run in another process, which a damaged file may crash or hang: that costs one clip and no
more. Every function may be called from threads, forked workers and notebooks.
"""

import dataclasses
import functools
import os
import unicodedata
from collections.abc import Iterable, Iterator

import numpy as np
from PIL import Image

from cityguessr.base import apart, paths
from cityguessr.base.errors import InputError
from cityguessr.config import Sampling
from cityguessr.data.frames import frame_files, picture_names
from cityguessr.data.pictures import resize, shrink
from cityguessr.data.sampling import RELEASED_KEPT, frame_indices
from cityguessr.data.video import engines, packets
from cityguessr.data.video.decoding import naming

LIMIT_S = 900.0  # 20 minutes of AVI in full HD, which must be decoded whole, take some minutes on a busy core


@dataclasses.dataclass(frozen=True)
class VideoInfo:
    """Length and size of a video file.

    Attributes:
        frames: how many a player shows.
        fps: frames per second, on average over the file.
        width, height: in pixels as shown, after any rotation noted in the file, with pixels made square.
    """

    frames: int
    fps: float
    width: int
    height: int


def read_frames(
    path: str | os.PathLike[str],
    frames: int = 16,
    size: int = 224,
    sampling: Sampling = "uniform",
    *,
    limit_s: float = LIMIT_S,
) -> np.ndarray:
    """Read a clip from a video file, or from a folder of numbered images as the release has them.

    Every frame is resized whole to a square, as the authors do, with a bilinear filter that is widened on shrinking.
    Rotation and mirroring noted in the file are applied. `released` on a video file first keeps 100 frames spread
    evenly, as the release did with its source videos, and then takes from these what the authors' loader would.

    Args:
        path: `~` is the home folder; a relative one is looked for in the working directory, then in the project's root.
        limit_s: seconds after which reading a video file is given up.

    Returns uint8 (T, H, W, 3), RGB, with T = `frames` and H = W = `size`.
    Raises InputError, naming the file, where it is missing, empty, truncated, damaged or no video, for too few frames,
    and where reading it takes too long or crashes the decoder.
    """
    check(path)
    folder = paths.found(path)
    if folder.is_dir():  # read as preparation reads it, so that a model sees what it was trained on
        return np.stack([np.asarray(shrink(file, size)[0]) for file in frame_files(folder, frames, sampling)])
    return read_numbered(path, frames, size, sampling, limit_s=limit_s)[1]


def check(path: str | os.PathLike[str]) -> None:
    """Refuse, before any work, a path that leads nowhere, and a folder that is no clip because no picture is in it.

    Raises InputError with the places that were looked at.
    """
    folder = paths.found(path)
    if not folder.is_dir():
        _absolute(path)
    elif not picture_names(folder):
        raise InputError(
            f"{folder}: this is a folder, and no picture is in it; give the path of a video file, or of a folder with "
            "the frames of one clip, <n>.jpg"
        )


def read_numbered(
    path: str | os.PathLike[str],
    frames: int = 16,
    size: int = 224,
    sampling: Sampling = "uniform",
    *,
    limit_s: float = LIMIT_S,
) -> tuple[list[int], np.ndarray]:
    """The numbers, from 0, of the frames that `read_frames` picks from a video file, and these frames."""
    file = _absolute(path)
    return apart.call(_sample, file, frames, size, sampling, what=file, limit_s=limit_s)


def video_info(path: str | os.PathLike[str], *, limit_s: float = LIMIT_S) -> VideoInfo:
    """Length, rate and size of a video file.

    Raises InputError, naming the file, where it is no readable video; see `read_frames`.
    """
    file = _absolute(path)
    return apart.call(_info, file, what=file, limit_s=limit_s)


def pick(
    path: str | os.PathLike[str], numbers: Iterable[int], *, limit_s: float = LIMIT_S
) -> Iterator[tuple[int, np.ndarray]]:
    """Frames of a video file by number, from 0, in order of presentation, each once; one by one, so that all fit.

    Args:
        limit_s: the longest wait for one frame, in seconds.

    Yields the number and the frame, uint8 (H, W, 3), RGB, upright and at the size shown.
    Raises InputError as `read_frames` does, and for a number that the file does not have.
    """
    file = _absolute(path)
    return apart.stream(_pick, file, sorted({int(number) for number in numbers}), what=file, limit_s=limit_s)


def _absolute(path: str | os.PathLike[str]) -> str:
    """The path for a process that may stand in another folder, found by `paths.found`; a string, whatever bytes it has.

    Raises InputError, with the places, for a path that leads nowhere.
    """
    full = os.fspath(paths.found(path))
    if os.path.lexists(full) or "\0" in full:
        return full
    places = [os.fspath(place) for place in paths.candidates(path)]
    # A name from a Mac has letter and accent apart: names that look the same are the same.
    for other in (unicodedata.normalize(form, place) for place in places for form in ("NFC", "NFD")):
        if os.path.lexists(other):
            return other
    raise InputError(f"{paths.nowhere(path)}: no such file; give the path of a video file")


def _sample(path: str, frames: int, size: int, sampling: Sampling) -> tuple[list[int], np.ndarray]:
    numbers: list[int] = []

    def choose(total: int) -> list[int]:
        chosen = _video_indices(path, total, frames, sampling)
        numbers[:] = chosen
        return chosen

    with naming(path):
        pictures = engines.sample(packets.look(path), choose, functools.partial(_square, size=size))
        return numbers, np.stack(pictures)


def _square(picture: np.ndarray, size: int) -> np.ndarray:
    return np.asarray(resize(Image.fromarray(picture), size))


def _info(path: str) -> VideoInfo:
    with naming(path):
        look = packets.look(path)
        total = engines.count(look)
        _, first = next(engines.pick(look, [0]))
    return VideoInfo(frames=total, fps=look.fps, width=first.shape[1], height=first.shape[0])


def _pick(path: str, numbers: list[int]) -> Iterator[tuple[int, np.ndarray]]:
    with naming(path):
        yield from engines.pick(packets.look(path), numbers)


def _video_indices(path: str, total: int, frames: int, sampling: Sampling) -> list[int]:
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
