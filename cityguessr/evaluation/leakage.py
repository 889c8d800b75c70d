"""What a split gives away: accuracy by memory of the drive alone, and what trained systems lose with another split.

Memory needs no training: a clip is answered with the city of the training clip that is most like it. Hiding a clip's
own video from that search, on the same validation clips, says what the clips of one video on both sides are worth.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cityguessr.base.errors import CannotRun, InputError
from cityguessr.data.leakage.duplicates import all_but, nearest
from cityguessr.data.splits import by_video
from cityguessr.evaluation.results import reason
from cityguessr.measures import metrics
from cityguessr.training import jobs
from cityguessr.training.runs import Run

AS_SPLIT = "split by clip"
OWN_HIDDEN = "split by clip, own video hidden"
OTHERS_HIDDEN = "split by clip, as many others hidden"
BY_VIDEO = "split by source video"
COLUMNS = ("system", "split", "own_video", "accuracy", "low", "high", "clips", "videos")
TRAINING_VIDEOS = {"1": (1, 1), "2": (2, 2), "3 to 4": (3, 4), "5 or more": (5, 10**9)}
"""How many training videos a city has, in words -> from, to."""


def memory(
    vectors: tuple[Tensor, Tensor],
    cities: tuple[Sequence[int], Sequence[int]],
    videos: tuple[Sequence[str], Sequence[str]],
    seed: int = 0,
) -> dict[str, Tensor]:
    """Whether the most similar training clip has the right city: kind of search -> bool (q,), one per validation clip.

    - `AS_SPLIT`: the search is over all training clips;
    - `OWN_HIDDEN`: over those of other source videos than the clip's own;
    - `OTHERS_HIDDEN`, the control: its own video stays, and as many training clips of the city's other videos are
      hidden (or all, where there are fewer), drawn at random. What this costs is due to fewer clips of the city.

    Each argument is a pair: of the validation clips, and of the training clips. `vectors` as from
    `duplicates.clip_vectors`; `seed` is that of the draw.
    """
    (queries, bank), own_city, their_city = vectors, *map(np.asarray, cities)
    named = np.unique([*videos[0], *videos[1]], return_inverse=True)[1]  # numbers compare faster than names
    own_video, their_video = named[: len(queries)], named[len(queries) :]
    rng, own, others = np.random.default_rng(seed), [], []
    for city, video in zip(own_city, own_video, strict=True):
        own.append(np.flatnonzero(their_video == video))
        rest = np.flatnonzero((their_city == city) & (their_video != video))
        others.append(rng.choice(rest, min(len(rest), len(own[-1])), replace=False))
    truth, answers = torch.from_numpy(own_city), torch.from_numpy(their_city)
    hits = {}
    for kind, hidden in ((AS_SPLIT, None), (OWN_HIDDEN, own), (OTHERS_HIDDEN, others)):
        found = nearest(queries, bank, None if hidden is None else all_but(hidden, len(bank))).index
        hits[kind] = (answers[found] == truth) & (found >= 0)
    return hits


Side = tuple[Sequence[int], Sequence[str]]
"""City and source video of each clip of one side of a split."""


def memory_by_video(vectors: Tensor, cities: Sequence[int], videos: Sequence[str]) -> tuple[Tensor, Side, Side]:
    """The same under a split by source video of all clips: hits bool (n,), and the clips held out and searched.

    Args:
        vectors, cities, videos: of the clips of both splits. Clips of a city with one video are left out.
    """
    out, usable = held_out_videos(videos, cities)
    sides = [
        ([city for city, keep in zip(cities, rows, strict=True) if keep],
         [video for video, keep in zip(videos, rows, strict=True) if keep])
        for rows in (out, usable & ~out)
    ]  # fmt: skip
    found = nearest(vectors[torch.from_numpy(out)], vectors[torch.from_numpy(usable & ~out)])
    hits = torch.tensor(sides[1][0])[found.index] == torch.tensor(sides[0][0])
    return hits, sides[0], sides[1]


def held_out_videos(videos: Sequence[str], cities: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Which clips a split by source video holds out, bool (n,), and which can be split at all, bool (n,).

    A city of one video has no place in such a split; its clips are left out of both halves. Raises InputError where no
    city has two videos.
    """
    named, place = np.asarray(videos), np.asarray(cities)
    usable = np.zeros(len(named), dtype=bool)
    for city in np.unique(place):
        usable[place == city] = len(np.unique(named[place == city])) > 1
    if not usable.any():
        raise InputError("no city has clips of two source videos, so that none can be held out; use the split by clip")
    held_out = np.zeros(len(named), dtype=bool)
    held_out[usable] = by_video(named[usable].tolist(), place[usable].tolist())
    return held_out, usable


def line(system: str, split: str, hits: Tensor, videos: Sequence[str]) -> tuple[object, ...]:
    """A row of `COLUMNS`: accuracy in percent with its 95 % interval over source videos; `hits` (N,) or (seeds, N).

    `own_video` is whether a clip's own video may be in training, by the name of the split.
    """
    return (
        system,
        split,
        split not in (OWN_HIDDEN, BY_VIDEO),
        *metrics.bootstrap(hits, videos),
        len(videos),
        len(set(videos)),
    )


def by_training_videos(hits: Tensor, clips: Side, training: Side) -> pd.DataFrame:
    """Accuracy by how many source videos of a clip's city training has.

    Columns: training_videos, in words; accuracy, low, high, clips, videos as in `COLUMNS`.

    Two splits that leave cities with different numbers of training videos cannot be compared without it.

    Args:
        hits: (N,) or (seeds, N).
        clips, training: city and video of each validation clip, and of each training clip.
    """
    seen: dict[int, set[str]] = {}
    for city, video in zip(*training, strict=True):
        seen.setdefault(city, set()).add(video)
    counts, videos = np.array([len(seen.get(city, ())) for city in clips[0]]), np.asarray(clips[1])
    lines = []
    for words, (low, high) in TRAINING_VIDEOS.items():
        inside = (counts >= low) & (counts <= high)
        if inside.any():
            chosen = torch.from_numpy(np.flatnonzero(inside))
            part = torch.as_tensor(hits)[..., chosen]
            _, _, _, *rest = line("", "", part, videos[inside].tolist())
            lines.append((words, *rest))
    return pd.DataFrame(lines, columns=["training_videos", *COLUMNS[3:]])


SYSTEMS = {"videomae": "VideoMAE", "cityguessr": "CityGuessr"}
"""Experiment -> what a figure calls it; `<experiment>_by_video` is the same, split by source video."""


def trained(
    profile: str, seeds: Sequence[int], clips: Side, **options: object
) -> tuple[dict[str, tuple[Run, ...]], dict[str, str]]:
    """The runs of `SYSTEMS` under both splits, and why others were not run: experiment -> runs, experiment -> reason.

    Args:
        clips: city and source video of all prepared clips, as they say it themselves.
        options: those of `jobs.ensure_all`.
    """
    names, by_source, missing = list(SYSTEMS), [f"{name}_by_video" for name in SYSTEMS], {}
    try:
        by_video(clips[1], clips[0])
        names += by_source
    except InputError as error:
        missing = dict.fromkeys(by_source, str(error))
    answers = jobs.ensure_all(names, profile, seeds, **options)  # type: ignore[arg-type]
    missing |= {name: reason(answer) for name, answer in answers.items() if isinstance(answer, CannotRun)}
    return {name: answer for name, answer in answers.items() if not isinstance(answer, CannotRun)}, missing


def of_runs(runs: Sequence[Run], videos: Mapping[str, str]) -> tuple[Tensor, Side, Side]:
    """Whether each validation clip's city is right, bool (seeds, N), and the clips of validation and of training.

    Args:
        runs: of one system, one per seed.
        videos: clip -> source video, recovered where the release does not say.
    """
    first, sides = runs[0], []
    for name in ("val", "train"):
        part = first.clips().split(name, first.config.split)
        sides.append((part.labels["city"].tolist(), [videos[clip] for clip in part.clip_ids]))
    return torch.stack([run.predictions.right()["city"] for run in runs]), sides[0], sides[1]
