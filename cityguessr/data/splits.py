"""The split by source video: no long video has clips in both halves.

The paper splits by clip (section 5.1), and several clips come from each long video (section 3), so that most validation
clips have a sibling in training, filmed minutes apart by the same camera in the same weather.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np

from cityguessr.base.errors import InputError

HELD_OUT = 0.2  # share of a city's clips, as in the paper's 80:20


def by_video(video_ids: Sequence[str], cities: Sequence[int]) -> np.ndarray:
    """Which clips are held out for validation when whole videos are: bool (N,), the same for the same videos.

    In every city, videos are held out in the order of a hash of their names until a fifth of the clips is, and at
    least one video is on each side.

    Args:
        video_ids: the source video of each clip.
        cities: the city id of each clip.

    Raises InputError where the source does not say which clips belong together, or a city has one video only.
    """
    if len(set(video_ids)) == len(video_ids):
        raise InputError(
            "a split by source video needs to know which clips were cut from one video; this source counts each clip "
            "as a video of its own, so use the split by clip"
        )
    clips: dict[int, Counter[str]] = {}
    for video, city in zip(video_ids, cities, strict=True):
        clips.setdefault(city, Counter())[video] += 1
    held_out = set()
    for city, videos in clips.items():
        if len(videos) < 2:
            raise InputError(f"city {city} has only the source video {next(iter(videos))}; it cannot be split by video")
        wanted, taken = HELD_OUT * videos.total(), 0
        for video in sorted(videos, key=lambda name: hashlib.sha256(name.encode()).hexdigest())[:-1]:
            if taken >= wanted:
                break
            # of two ways to miss a fifth, the nearer one; at least one video is held out
            if taken and abs(taken + videos[video] - wanted) > abs(taken - wanted):
                continue
            held_out.add(video)
            taken += videos[video]
    return np.array([video in held_out for video in video_ids])
