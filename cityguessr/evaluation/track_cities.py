"""Which city, state, country and continent a system of coordinates names, on CityGuessr's clips.

A frame's coordinate names the city whose centre is nearest (VidTAG's table of CityGuessr68k), and the city its state,
country and continent: an answer is always a path in the tree. How the frames of a video make one answer is not public.
By default they vote, as in an independent implementation of the paper: the city that most frames name, of equals the
one named first. "representative" takes the frame nearest to the centroid of all, as VidTAG's errors by video do.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from cityguessr.base.errors import InputError, one_of
from cityguessr.evaluation.columns import UNSEEN
from cityguessr.measures.intervals import Interval
from cityguessr.measures.tracks import nearest_centre, representative
from cityguessr.taxonomy import LEVELS, Taxonomy
from cityguessr.training.predictions import PARTS, Predictions
from cityguessr.training.track_runs import TrackPredictions, TrackRun

Vote = Literal["majority", "representative"]
Stage = Literal["final", "retrieved"]
"""The system's last word, refined where it refines; or what phase I retrieves."""


def cities(tracks: TrackPredictions, taxonomy: Taxonomy, vote: Vote = "majority", stage: Stage = "final") -> Tensor:
    """The city that each video is answered with: LongTensor (N,), in the order of `tracks.names`.

    Raises InputError for another vote or stage.
    """
    if vote not in get_args(Vote):
        raise one_of("vote of a video's frames", vote, get_args(Vote))
    places = tracks.answer(stage)
    named = tracks.by_track(nearest_centre(places, taxonomy.latlon.numpy()))
    if vote == "majority":
        return torch.tensor([_most_named(frames) for frames in named], dtype=torch.long)
    standing = map(representative, tracks.by_track(places))
    return torch.tensor([int(frames[k]) for frames, k in zip(named, standing, strict=True)], dtype=torch.long)


def _most_named(frames: NDArray[np.int64]) -> int:
    """The city of most frames, of equals the one named first."""
    names, first, count = np.unique(frames, return_index=True, return_counts=True)
    return int(names[np.lexsort((first, -count))[0]])


LEAST_SHARED = 0.95
"""The share of clips that both must have: each preparation may leave out as many as 5 % for damaged pictures."""


def shared(clips: Predictions, tracks: Sequence[TrackPredictions]) -> Predictions:
    """The clips that a CityGuessr run and runs of coordinates were all validated on, in CityGuessr's order.

    CityGuessr leaves out a clip with a damaged picture, tracks only the picture. Raises InputError where they have
    fewer than `LEAST_SHARED` of all clips in common.
    """
    names = [set(clips.clip_ids), *(set(each.names) for each in tracks)]
    common, every = set.intersection(*names), set.union(*names)
    if len(common) < LEAST_SHARED * len(every) or not common:
        apart = sorted(every - common)
        raise InputError(
            f"{len(clips):,} clips of CityGuessr and {len(names[-1]):,} tracks are not the same"
            + (f", the first {apart[0]}" if apart else "")
            + "; compare runs that were validated on one set"
        )
    if len(common) == len(clips):
        return clips
    return clips.subset(torch.tensor([clip in common for clip in clips.clip_ids]))


def in_order_of(clips: Predictions, tracks: TrackPredictions) -> list[int]:
    """The number of the track of each clip of CityGuessr's predictions, by clip id.

    Raises InputError where a clip has no track, or the two do not agree where a clip is.
    """
    numbers = {name: number for number, name in enumerate(tracks.names)}
    if lacking := [clip for clip in clips.clip_ids if clip not in numbers]:
        raise InputError(
            f"{lacking[0]} is not among these {len(numbers):,} tracks; take the clips that both have (`shared`)"
        )
    order = [numbers[clip] for clip in clips.clip_ids]
    for clip, number, city in zip(clips.clip_ids, order, clips.labels["city"].tolist(), strict=True):
        if clips.taxonomy.folders[city] != tracks.regions[number]:
            raise InputError(
                f"{clip} was filmed in {clips.taxonomy.folders[city]} for one run and in {tracks.regions[number]} for "
                "the other; compare runs on one release"
            )
    return order


def right(
    runs: Sequence[TrackRun], clips: Predictions, vote: Vote = "majority", stage: Stage = "final"
) -> dict[str, Tensor]:
    """Whether each clip's answer is right, seed by seed: level -> bool (seeds, N), in the order of `clips`.

    Args:
        clips: CityGuessr's predictions of the same clips, which know labels and source videos (`shared`).

    Raises InputError where these are other clips, as `in_order_of` does.
    """
    seeds = []
    for run in runs:
        named = cities(run.predictions, clips.taxonomy, vote, stage)[in_order_of(clips, run.predictions)]
        seeds.append(clips.taxonomy.chain(named))
    return {level: torch.stack([seed[level] == clips.labels[level] for seed in seeds]) for level in LEVELS}


def measure(
    run: TrackRun, clips: Predictions, vote: Vote = "majority", stage: Stage = "final"
) -> dict[tuple[str, str], float]:
    """(metric, level) -> top-1 accuracy in percent, `top1` and `top1_unseen` as of CityGuessr's runs.

    `top1` is of clips whose source video is seen in training, or of all where they are of one kind.
    """
    clips = shared(clips, [run.predictions])
    hits = right([run], clips, vote, stage)
    values = {}
    for part, metric in zip(clips.parts, ("top1", f"top1{UNSEEN}"), strict=False):
        chosen = of_part(clips, part)
        values |= {(metric, level): 100 * hits[level][0, chosen].double().mean().item() for level in LEVELS}
    return values


def accuracies(
    runs: Sequence[TrackRun], clips: Predictions, vote: Vote = "majority", stage: Stage = "final"
) -> pd.DataFrame:
    """Top-1 accuracy at the four levels, with 95 % intervals over seeds and source videos.

    Columns: clips_of ("all", and "seen" and "unseen" where there are both), level; top1, low, high in percent, cut to
    what an accuracy can be; seed_sd, n_seeds, clips, videos.
    """
    clips = shared(clips, [run.predictions for run in runs])
    hits, lines = right(runs, clips, vote, stage), []
    for part in parts_of(clips):
        chosen = of_part(clips, part)
        videos = np.array(clips.video_ids)[chosen.numpy()]
        for level in LEVELS:
            x = Interval.over(hits[level][:, chosen].double(), videos)
            low, high = np.clip((x.low, x.high), 0, 100).tolist()
            lines.append((part, level, x.mean, low, high, x.seed_sd, x.seeds, x.clips, x.videos))
    return pd.DataFrame(
        lines, columns=["clips_of", "level", "top1", "low", "high", "seed_sd", "n_seeds", "clips", "videos"]
    )


def parts_of(clips: Predictions) -> tuple[str, ...]:
    """The parts that clips are counted in: all of them, and those of seen and of unseen videos where there are both."""
    return ("all",) if clips.parts == ("all",) else ("all", *(part for part in PARTS if part != "all"))


def of_part(clips: Predictions, part: str) -> Tensor:
    """Which clips are of a part of `predictions.PARTS`: bool (N,)."""
    return {"all": torch.ones_like(clips.seen), "seen": clips.seen, "unseen": ~clips.seen}[part]
