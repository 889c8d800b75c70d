"""Where a long video is cut into clips, and which frames of each are kept (paper, section 3)."""

import dataclasses
import random

from cityguessr.compilation.settings import Settings


@dataclasses.dataclass(frozen=True)
class Cut:
    """One clip: its first frame in the video, counted from 0, and its number of frames."""

    first: int
    frames: int

    def kept(self, count: int) -> list[int]:
        """The numbers in the video of `count` frames, evenly spread from the clip's first one on.

        Neighbours are `frames / count` apart, rounded down or up: 8 or 9 frames for the paper's 800 to 900 and 100. As
        clips follow one another, the last kept frame of one and the first of the next are neighbours, too.
        """
        return [self.first + i * self.frames // count for i in range(count)]


def cut(first: int, end: int, name: str, settings: Settings) -> tuple[list[Cut], int]:
    """The clips of the frames from `first` up to `end` (exclusive), one after another, and the frames left at the end.

    There are as many clips as fit at the least length. Their lengths are drawn one after another, at random between the
    least and the most that still let the clips fill the whole stretch, from the seed and the video's name. So frames
    are left over only where even the longest clips do not fill it: fewer than the least length of one clip, and none
    once there are eight clips of 800 to 900 frames or more (four minutes at 30 frames a second).
    """
    low, high = settings.clip_frames
    count = max(end - first, 0) // low
    rest = min(end - first, count * high)  # frames that the clips still to be cut take
    rng, clips = random.Random(f"{settings.seed}/{name}/{first}"), []
    for after in reversed(range(count)):
        frames = rng.randint(max(low, rest - high * after), min(high, rest - low * after))
        clips.append(Cut(first, frames))
        first, rest = first + frames, rest - frames
    return clips, max(end - first, 0)
