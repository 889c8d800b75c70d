"""Which clips are for validation: single clips, as in the paper, or all clips of whole videos."""

import random
from collections.abc import Sequence

from cityguessr.compilation.settings import Settings


def draw_splits(cities: Sequence[str], videos: Sequence[str], given: Sequence[str], settings: Settings) -> list[str]:
    """The split of each clip, "train" or "val", drawn city by city, the same for the same lists and seed.

    By clip, a city's share is rounded, and a city with two clips or more has one in either split. By video, whole
    videos are held out until that share of the clips is reached as nearly as possible, and at least one on either side;
    a city with a single video is for training. A split that the table gives stays, and is not counted.

    Args:
        cities, videos: the city and the source video of each clip.
        given: the split that the table of places gives, empty where it is to be drawn.
    """
    splits, open_by_city = list(given), {}
    for i, city in enumerate(cities):
        if not given[i]:
            open_by_city.setdefault(city, []).append(i)
    for city, clips in open_by_city.items():
        rng = random.Random(f"{settings.seed}/split/{city}")
        draw = _draw_clips if settings.split == "clip" else _draw_videos
        held_out = set(draw(clips, videos, settings.val_share, rng))
        for i in clips:
            splits[i] = "val" if i in held_out else "train"
    return splits


def _draw_clips(clips: list[int], videos: Sequence[str], share: float, rng: random.Random) -> list[int]:
    return rng.sample(clips, min(max(round(share * len(clips)), 1), len(clips) - 1))


def _draw_videos(clips: list[int], videos: Sequence[str], share: float, rng: random.Random) -> list[int]:
    names = list(dict.fromkeys(videos[i] for i in clips))
    rng.shuffle(names)
    held_out: list[int] = []
    for name in names[:-1]:
        more = [i for i in clips if videos[i] == name]
        wanted = share * len(clips) - len(held_out)
        if not held_out or abs(wanted - len(more)) < abs(wanted):  # of two ways to miss the share, the nearer one
            held_out += more
    return held_out
