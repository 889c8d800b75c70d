"""Which frames of a clip are picked."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from cityguessr.base.errors import InputError, one_of
from cityguessr.config import SAMPLINGS, Sampling

RELEASED_STRIDE = 5  # the authors' loader takes every 5th file ...
RELEASED_KEPT = 100  # ... of the about 100 frames that the release keeps of a clip (paper, section 3)

_Item = TypeVar("_Item")


def frame_indices(total: int, frames: int, sampling: Sampling = "uniform") -> list[int]:
    """The indices of the `total` frames that make a clip of `frames`: from 0, in the order the model sees them.

    The paper says how many, 15 (section 5.2), and not which. `uniform`, this project's choice: the clip is cut into
    `frames` equal segments and the middle frame of each is taken. `released`: as the authors' loader does, the frames
    are files `1.jpg`, `2.jpg` ... sorted by name, not by number, of which every fifth is taken until there are enough;
    of 100 files these are 1, 13, 18, 22, 27, ... The loader takes 16; 15 of them are another reading of the paper.
    Both take every frame once at most.

    Raises InputError where there are too few frames, or the arguments make no sense.
    """
    return pick(range(total), frames, sampling, name=lambda index: str(index + 1))


def pick(items: Sequence[_Item], frames: int, sampling: Sampling, name: Callable[[_Item], str]) -> list[_Item]:
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
