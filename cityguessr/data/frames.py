"""A clip as a folder of numbered pictures, as the release has them."""

import os
from pathlib import Path

from cityguessr.base.errors import InputError
from cityguessr.config import Sampling
from cityguessr.data.sampling import pick

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


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
            names = pick(names, frames, sampling, name=lambda name: name.rsplit(".", 1)[0])
        except InputError as error:
            raise InputError(f"{folder}: {error}") from None
    return [folder / name for name in names]


def frame_number(name: str | os.PathLike[str]) -> int | None:
    """The n of a file `<n>.jpg`, or None where the name is not a number."""
    stem = Path(name).stem
    return int(stem) if stem.isdecimal() else None
