"""A clip as a folder of numbered pictures, as the release has them."""

import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from cityguessr.base.errors import InputError
from cityguessr.config import Sampling
from cityguessr.data.sampling import pick

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")

_NUMBERED = re.compile(r"(.*?)([0-9]+)", re.DOTALL)  # digits as the release writes them, not those of every script
_LARGEST = (1 << 63) - 1  # a time in nanoseconds fits
_AMBIGUOUS = re.compile(r"(^|[\s_=])-$|[0-9][.,]$")  # before a number: a sign, or the whole part of a decimal
_ADVICE = "a clip is a folder of <n>.jpg, or of names that differ in their last number alone; rename or remove it"


def frame_files(
    folder: str | os.PathLike[str], frames: int | None = None, sampling: Sampling = "uniform"
) -> list[Path]:
    """The picture files of a folder that make a clip of `frames` frames, or all of them, in the order of time.

    See `in_order` for what they may be called. What is no picture by its suffix, and what is hidden, does not count.

    Raises InputError, naming the folder, where it is missing, has too few pictures, or one that does not fit.
    """
    folder = Path(folder)
    names = in_order(picture_names(folder), folder)
    if frames is not None:
        try:
            names = pick(names, frames, sampling, name=lambda name: name.rsplit(".", 1)[0])
        except InputError as error:
            raise InputError(f"{folder}: {error}") from None
    return [folder / name for name in names]


def picture_names(folder: str | os.PathLike[str]) -> list[str]:
    """The names of a folder's pictures, sorted as text. Raises InputError, naming it, where it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if is_picture(entry.name))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{folder}: cannot be read ({reason}); a clip is a folder of <n>.jpg files") from None


def is_picture(name: str) -> bool:
    """Whether a file is a picture by its suffix, in capitals or not, and not hidden, as the `._1.jpg` of a Mac are."""
    return name.lower().endswith(IMAGE_SUFFIXES) and name[0] != "."


def in_order(names: Iterable[str], where: object) -> list[str]:
    """The names of a clip's pictures in the order of time, which is that of the numbers at their ends.

    They are `<n>.jpg` as in the release, zero-padded or not, or have one beginning in common, such as ffmpeg's
    `frame%d.jpg`. Numbers need neither start at 1 nor be without gaps. A picture whose place in time is not certain is
    an error rather than the first frame or left out: a name without a number (`cover.jpg`), with another beginning, or
    with something behind its number (`7 (1).jpg`), two names of one number (`1.jpg` and `1.png`, `01.jpg`), and numbers
    that are read otherwise as decimals or below zero (`0.5.jpg` beside `0.25.jpg`, `-1.jpg` beside `-2.jpg`).

    Args:
        names: with their suffixes.
        where: the folder, for the message.

    Raises InputError, naming the picture that does not fit.
    """
    parts = {name: _NUMBERED.fullmatch(_stem(name)) for name in names}
    beginnings = Counter(match[1] for match in parts.values() if match)
    beginning = min(beginnings, key=lambda text: (-beginnings[text], text), default="")
    by_number: dict[int, str] = {}
    for name, match in parts.items():
        if match is None or match[1] != beginning:
            fault = "ends in no number" if match is None else f"does not begin as the others do, with {beginning!r}"
            raise InputError(f"{where}: the name {name!r} {fault}; {_ADVICE}")
        if (number := int(match[2])) > _LARGEST:
            raise InputError(f"{where}: the number of {name!r} is above {_LARGEST:,}; {_ADVICE}")
        if number in by_number:
            raise InputError(
                f"{where}: frame {number} is there twice, as {by_number[number]!r} and {name!r}; remove one of them"
            )
        by_number[number] = name
    if _AMBIGUOUS.search(beginning) and len({len(name) for name in map(_stem, parts)}) > 1:
        name = max(parts, key=len)
        raise InputError(f"{where}: {name!r} can be read as a decimal or as a number below zero; {_ADVICE}")
    return [by_number[number] for number in sorted(by_number)]


def frame_number(name: str | os.PathLike[str]) -> int | None:
    """The number at the end of a picture's name, such as 7 of `7.jpg` or `frame_0007.jpg`; None where there is none."""
    match = _NUMBERED.fullmatch(_stem(os.fspath(name)))
    return int(match[2]) if match else None


def _stem(name: str) -> str:
    return os.path.basename(name).rpartition(".")[0]
