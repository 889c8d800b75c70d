"""What a split gives away: accuracy on clips whose drive is in training, beside that on drives held out entirely.

A validation clip is *seen* where training has other clips of its source video, and *unseen* where it has none. One
training gives both: its answers are read apart. Memory needs no training: a clip is answered with the city of the
training clip that is most like it. Hiding a seen clip's own video from that search shows how much it helps to have
clips of one video on both sides.

Seen and unseen clips need not be of the same cities, and of a city with few videos a model learns less. So the gap
between them is also taken city by city (`gap`), and by how many videos of a city training has.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cityguessr.base.errors import CannotRun, InputError
from cityguessr.data.leakage.duplicates import all_but, nearest
from cityguessr.evaluation.results import reason
from cityguessr.measures import metrics
from cityguessr.training import jobs
from cityguessr.training.runs import Run

SEEN = "seen videos"
OWN_HIDDEN = "seen videos, own hidden"
OTHERS_HIDDEN = "seen videos, as many others hidden"
UNSEEN = "unseen videos"
COLUMNS = ("system", "part", "own_video", "accuracy", "low", "high", "clips", "videos")
TRAINING_VIDEOS = {"1": (1, 1), "2": (2, 2), "3 to 4": (3, 4), "5 or more": (5, 10**9)}
"""How many training videos a city has, in words -> from, to."""

Side = tuple[Sequence[int], Sequence[str]]
"""City and source video of each clip of one side of a split, or of a part of it."""

Answered = tuple[Tensor, Side]
"""Whether each clip is answered right, (N,) or (seeds, N), and the clips."""


def memory(vectors: tuple[Tensor, Tensor], validation: Side, training: Side, seed: int = 0) -> dict[str, Answered]:
    """Whether the most similar training clip has the right city: kind of search -> hits bool (n,) and their clips.

    - `SEEN`: seen clips, the search is over all training clips;
    - `OWN_HIDDEN`: the same clips, over training clips of other source videos than the clip's own;
    - `OTHERS_HIDDEN`, the control: its own video stays, and as many training clips of the city's other videos are
      hidden (or all, where there are fewer), drawn at random. What this costs is due to fewer clips of the city;
    - `UNSEEN`: unseen clips, over all training clips.

    A kind without a clip is left out.

    Args:
        vectors: of the validation clips and of the training clips, as from `duplicates.clip_vectors`.
        validation, training: city and source video of each.
        seed: of the draw.
    """
    (queries, bank), (own_city, own_name), (their_city, their_name) = vectors, validation, training
    named = np.unique([*own_name, *their_name], return_inverse=True)[1]  # numbers compare faster than names
    own_video, their_video = named[: len(queries)], named[len(queries) :]
    places, theirs, known = np.asarray(own_city), np.asarray(their_city), np.isin(own_video, their_video)
    rng, own, others = np.random.default_rng(seed), [], []
    for city, video in zip(places[known], own_video[known], strict=True):
        own.append(np.flatnonzero(their_video == video))
        rest = np.flatnonzero((theirs == city) & (their_video != video))
        others.append(rng.choice(rest, min(len(rest), len(own[-1])), replace=False))
    answers, kinds = torch.from_numpy(theirs), {}
    searches = ((SEEN, known, None), (OWN_HIDDEN, known, own), (OTHERS_HIDDEN, known, others), (UNSEEN, ~known, None))
    for kind, rows, hidden in searches:
        if rows.any():
            allowed = None if hidden is None else all_but(hidden, len(bank))
            found = nearest(queries[torch.from_numpy(rows)], bank, allowed).index
            hits = (answers[found] == torch.from_numpy(places[rows])) & (found >= 0)
            kinds[kind] = hits, (places[rows].tolist(), np.asarray(own_name)[rows].tolist())
    return kinds


def line(system: str, part: str, answered: Answered) -> tuple[object, ...]:
    """A row of `COLUMNS`: accuracy in percent with its 95 % interval over source videos.

    `own_video` is whether a clip's own video may be found or learnt from, by the name of the part.
    """
    hits, (_, videos) = answered
    own_video = part not in (OWN_HIDDEN, UNSEEN)
    return system, part, own_video, *metrics.bootstrap(hits, videos), len(videos), len(set(videos))


def gap(
    seen: Answered, unseen: Answered, same_cities: bool = False, draws: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """How much better seen clips are answered than unseen ones, in points, with a 95 % interval over source videos.

    The two are of different videos, so that each is resampled on its own (a cluster bootstrap, percentile interval).

    Args:
        same_cities: whether an unseen clip counts as often as its city has seen clips for each unseen one, so that both
            sides have the same mix of cities. Cities that have clips of one kind only are left out, on both sides.
            These weights stay fixed while videos are resampled.
        draws, seed: of the resampling.

    Returns (difference, low, high); the interval is NaN where one side is of a single video. Raises InputError where a
    side has no clip, or no city has clips of both kinds.
    """
    mixed = [np.asarray(side[1][0]) for side in (seen, unseen)]
    weights = [np.ones(len(cities)) for cities in mixed]
    if same_cities:
        counts = [dict(zip(*np.unique(cities, return_counts=True), strict=True)) for cities in mixed]
        weights[0] = np.array([float(city in counts[1]) for city in mixed[0]])
        weights[1] = np.array([counts[0].get(city, 0) / counts[1][city] for city in mixed[1]])
    if not all(weight.sum() > 0 for weight in weights):
        raise InputError("a gap needs seen and unseen clips" + (", and cities that have both" if same_cities else ""))
    rng, means, drawn, single = np.random.default_rng(seed), [], [], False
    for (hits, (_, videos)), weight in zip((seen, unseen), weights, strict=True):
        values = torch.as_tensor(hits).double().reshape(-1, len(weight)).mean(0).numpy()
        number = np.unique(np.asarray(videos), return_inverse=True)[1]
        number = np.unique(number[weight > 0], return_inverse=True)[1]
        right = np.bincount(number, (weight * values)[weight > 0])
        clips = np.bincount(number, weight[weight > 0])
        times = rng.multinomial(len(clips), np.full(len(clips), 1 / len(clips)), draws)
        means.append(100 * right.sum() / clips.sum())
        drawn.append(100 * (times @ right) / (times @ clips))
        single |= len(clips) == 1
    low, high = (float("nan"),) * 2 if single else np.quantile(drawn[0] - drawn[1], (0.025, 0.975)).tolist()
    return float(means[0] - means[1]), round(low, 9), round(high, 9)


def by_training_videos(answered: Answered, training: Side) -> pd.DataFrame:
    """Accuracy by how many source videos of a clip's city training has.

    Columns: training_videos, in words; accuracy, low, high, clips, videos as in `COLUMNS`.

    Parts whose cities have different numbers of training videos cannot be compared without it.

    Args:
        training: city and video of each training clip.
    """
    hits, clips = answered
    seen: dict[int, set[str]] = {}
    for city, video in zip(*training, strict=True):
        seen.setdefault(city, set()).add(video)
    counts, videos = np.array([len(seen.get(city, ())) for city in clips[0]]), np.asarray(clips[1])
    lines = []
    for words, (low, high) in TRAINING_VIDEOS.items():
        inside = (counts >= low) & (counts <= high)
        if inside.any():
            chosen = torch.from_numpy(np.flatnonzero(inside))
            part = torch.as_tensor(hits)[..., chosen], ((), videos[inside].tolist())
            _, _, _, *rest = line("", "", part)
            lines.append((words, *rest))
    return pd.DataFrame(lines, columns=["training_videos", *COLUMNS[3:]])


SYSTEMS = {"videomae": "VideoMAE", "cityguessr": "CityGuessr"}
"""Experiment -> what a figure calls it."""


def trained(profile: str, seeds: Sequence[int], **options: object) -> tuple[dict[str, tuple[Run, ...]], dict[str, str]]:
    """The runs of `SYSTEMS`, and why others were not run: experiment -> runs, experiment -> reason.

    `options` are those of `jobs.ensure_all`.
    """
    answers = jobs.ensure_all(list(SYSTEMS), profile, seeds, **options)  # type: ignore[arg-type]
    missing = {name: reason(answer) for name, answer in answers.items() if isinstance(answer, CannotRun)}
    return {name: answer for name, answer in answers.items() if not isinstance(answer, CannotRun)}, missing


def of_runs(runs: Sequence[Run], videos: Mapping[str, str]) -> tuple[dict[str, Answered], Side]:
    """Whether the city is right, of the clips of `SEEN` and of `UNSEEN` videos, and the clips of training.

    A part without a clip is left out, as where every clip of a release has its drive in training.

    Args:
        runs: of one system, one per seed.
        videos: clip -> source video, recovered where the release does not say. They alone decide what is seen.
    """
    train = runs[0].clips().split("train", runs[0].config.split)
    training = train.labels["city"].tolist(), [videos[clip] for clip in train.clip_ids]
    seeds, parts = [run.predictions.with_videos(videos, training[1]) for run in runs], {}
    for name, part in ((SEEN, "seen"), (UNSEEN, "unseen")):
        of = [predictions.part(part) for predictions in seeds]
        if len(of[0]):
            side = of[0].labels["city"].tolist(), list(of[0].video_ids)
            parts[name] = torch.stack([predictions.right()["city"] for predictions in of]), side
    return parts, training
