"""One picture per clip at the size a reader wants, where the model saw small squares.

MiniWorld can be drawn at any size, so the very frame of a synthetic clip is rendered again. A real release keeps
its frames as files, which are only scaled down. Where neither is at hand the prepared frame stands in.
"""

import operator
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from cityguessr.base import threads
from cityguessr.base.errors import InputError
from cityguessr.data.clips import ClipDataset
from cityguessr.data.frames import frame_files, frame_number
from cityguessr.data.pictures import decode_image, open_image
from cityguessr.data.release.label_files import city_folder
from cityguessr.data.release.layout import Places, Roots, find_parts
from cityguessr.data.sources import SPLITS
from cityguessr.miniworld import MiniWorld
from cityguessr.training import profiles
from cityguessr.training.datasets import WORLDS

_RAYS = 2  # a pixel along each side: a picture is looked at, and edges without steps cost little on a few
_NEAR = 2e-6  # degrees; tracks are written with six decimals


def of(
    clips: ClipDataset,
    which: Sequence[int],
    profile: str,
    data_root: Roots | None = None,
    *,
    at: float = 0.5,
    width: int = 240,
) -> list[NDArray]:
    """One picture of each of some clips, in the order asked for: uint8 (height, width, 3), RGB.

    - MiniWorld: the frame is rendered at `width` pixels, in the proportions of its videos, whatever the profile.
    - A release with `data_root`: the frame's own file, scaled down to `width` and never enlarged. Where files are
      missing or damaged the prepared frame stands in, and one printed line says how many and why: a figure of a
      hundred clips is worth more than a stop at one bad file, but not a silent exchange.
    - Anything else: the prepared frame, a square, scaled down to `width` and never enlarged.

    Args:
        clips: the split that the numbers refer to.
        which: numbers of clips in it; one may come twice.
        profile: the name of the scale that the clips were prepared at.
        data_root: the folder of the real release, the one with `train/` and `val/`, or the folders that make it up.
        at: where in the clip, from 0 (its first frame) to 1 (its last); the frame nearest to it is shown.
        width: in pixels, 16 at least.

    Raises InputError for a number that is not a clip of the split, `at` or `width` out of range, an unknown profile,
    and a `data_root` that is not a folder.
    """
    world, which = profiles.get(profile).world, _numbers(which, len(clips))
    if not 0 <= at <= 1:  # true for NaN too
        raise InputError(f"at={at}: a place in a clip runs from 0, its first frame, to 1, its last")
    if width < 16:
        raise InputError(f"width={width}: a picture is 16 pixels wide at least")
    drawn: dict[int, NDArray] = {}
    if world and clips.synthetic:
        drawn = _render(_world(profile), clips, sorted(set(which)), at, width)
    elif not world and data_root is not None and not clips.synthetic:
        drawn = _read_files(Places(find_parts(data_root)), clips, sorted(set(which)), at, width)
    return [drawn[i] if i in drawn else _prepared(clips, i, at, width) for i in which]


def _numbers(which: Sequence[int], count: int) -> list[int]:
    try:
        numbers = [operator.index(i) for i in which]
    except TypeError:
        raise InputError(f"which={which!r}: give whole numbers of clips, such as [0, 17]") from None
    for i in numbers:
        if not 0 <= i < count:
            raise InputError(f"clip {i}: the split has clips 0 to {count - 1}")
    return numbers


def _nearest(at: float, count: int) -> int:
    """Which of `count` frames, evenly spread from 0 to 1, is nearest; the later of two."""
    return int(at * (count - 1) + 0.5)


def _prepared(clips: ClipDataset, i: int, at: float, width: int) -> NDArray:
    frames = clips.jpegs(i)
    return _shrunk(decode_image(clips.clip_ids[i], frames[_nearest(at, len(frames))]), width)


def _shrunk(image: Image.Image, width: int) -> NDArray:
    image = image.convert("RGB")
    if image.width > width:
        height = max(1, round(image.height * width / image.width))
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    return np.array(image)


@cache
def _world(profile: str) -> MiniWorld:
    """The world of a profile: its plans alone, nothing is read or written."""
    return MiniWorld(WORLDS[profiles.get(profile).world][0])


def _render(world: MiniWorld, clips: ClipDataset, which: Sequence[int], at: float, width: int) -> dict[int, NDArray]:
    """The pictures of those clips that are this world's; its Mapillary sequences, say, are not among its clips."""
    height = round(width * world.config.height / world.config.width)
    wanted = []  # (city, video, frame, clip): a city's textures are drawn once, and so is the street of a video
    for i in which:
        place = world.find(clips.clip_ids[i])
        if place is None:
            continue
        plan, clip = place
        track, whole = clips.gps(i), plan.gps[world.kept_frames(clip)]
        # A world of another seed has clips of the same names, and other places.
        if clips.video_ids[i] == plan.video_id and (track is None or _lies_on(track, whole)):
            wanted.append((plan.city, plan.video_id, world.frame_of(clip.clip_id, at)[1], i, plan))
    rendered = {}
    with threads.limited(1):
        for _, _, frame, i, plan in sorted(wanted, key=lambda line: line[:4]):
            rendered[i] = world.render(plan, height, width, frames=[frame], samples=_RAYS)[0].numpy()
    return rendered


def _lies_on(track: torch.Tensor, whole: torch.Tensor) -> bool:
    """Whether every point of a track (T, 2) is one of another (K, 2)."""
    return bool(((track[:, None] - whole[None]).abs().amax(2).amin(1) < _NEAR).all())


def _read_files(places: Places, clips: ClipDataset, which: Sequence[int], at: float, width: int) -> dict[int, NDArray]:
    shown, reasons = {}, []
    for i in which:
        try:
            shown[i] = _shrunk(open_image(_frame_file(places, clips, i, at)), width)
        except InputError as error:
            reasons.append(str(error))
    if reasons:
        print(f"pictures: {len(reasons)} of {len(which)} come from the prepared clips, the first because {reasons[0]}")
    return shown


def _frame_file(places: Places, clips: ClipDataset, i: int, at: float) -> Path:
    """The file `<split>/<City>/<clip>/<n>.jpg` whose n is nearest to that fraction between the first and the last."""
    clip_id = clips.clip_ids[i]
    # Split by source video, the clips of one split come from both folders.
    splits = sorted(SPLITS, key=lambda split: split != clips.name)
    name = clip_id.rsplit("/", 1)[-1]
    folders = [Path(places.of_clip(split, city_folder(name), name)) for split in splits]
    files = frame_files(next((folder for folder in folders if folder.is_dir()), folders[0]))
    if not files:
        raise InputError(f"{folders[0]}: holds no frame; restore its <n>.jpg files")
    numbers = [frame_number(file) for file in files]
    if None in numbers:
        return files[_nearest(at, len(files))]
    wanted = numbers[0] + at * (numbers[-1] - numbers[0])
    return min(zip(files, numbers, strict=True), key=lambda pair: (abs(pair[1] - wanted), -pair[1]))[0]
