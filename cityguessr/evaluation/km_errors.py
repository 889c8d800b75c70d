"""CityGuessr beside VidTAG by error in km: how far each is from where the very same clips were filmed.

CityGuessr answers with a city, which stands for its centre; VidTAG with a coordinate for every frame, of which the
representative one stands for the clip, as in the errors by video of its tables. Either is compared with the clip's
own place, not with its label. Where all frames were trained at their city's centre, VidTAG too can answer nothing
finer than a centre.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from cityguessr.base.errors import InputError
from cityguessr.evaluation import track_cities
from cityguessr.evaluation.track_cities import Stage
from cityguessr.measures import metrics, track_intervals
from cityguessr.measures.intervals import Interval
from cityguessr.measures.sphere import great_circle_km
from cityguessr.measures.tracks import representative
from cityguessr.tracks import Track
from cityguessr.training.runs import Run
from cityguessr.training.track_clips import city_ids
from cityguessr.training.track_runs import TrackRun
from cityguessr.vidtag import answers

Array = NDArray[np.float64]

CLIPS_KM = (1.0, *metrics.THRESHOLDS_KM.values())
"""Radii for clips in km: a street's neighbourhood (1), and a city, a region, a country and a continent."""

_CURVE = np.geomspace(0.1, 20_016, 161)  # km, up to half the Earth's circumference


@dataclasses.dataclass(frozen=True, eq=False)
class KmErrors:
    """The errors of several systems on the same clips, or on the same frames.

    Attributes:
        km: system -> (seeds, N) km, of at least one system; of all of them the same seeds in the same order.
        videos: (N,) the source video of each clip, or the track of each frame: what intervals resample.
        seen: bool (N,), whether that video has clips in training.
        unplaced: clips whose place is not known, which are left out.

    Raises InputError where the numbers of seeds or clips do not match, or there are none.
    """

    km: Mapping[str, Array]
    videos: NDArray[Any]
    seen: NDArray[np.bool_]
    unplaced: int = 0

    def __post_init__(self) -> None:
        shapes = {errors.shape for errors in self.km.values()}
        if len(shapes) != 1 or not np.prod(next(iter(shapes))):
            raise InputError(f"errors of {', '.join(self.km) or 'no system'} are (seeds, N) each; got {sorted(shapes)}")
        if {self.videos.shape, self.seen.shape} != {next(iter(shapes))[1:]}:
            raise InputError(f"errors (seeds, N) are {shapes.pop()}, and there are {len(self.videos)} source videos")

    def parts(self) -> dict[str, NDArray[np.bool_]]:
        """Part of the clips -> bool (N,): "all", and "seen" and "unseen" where there are both."""
        every = {"all": np.ones_like(self.seen)}
        return every if self.seen.all() or not self.seen.any() else every | {"seen": self.seen, "unseen": ~self.seen}

    def table(self, thresholds_km: Sequence[float] = CLIPS_KM) -> pd.DataFrame:
        """The share of clips within each radius, and the difference of each system to the first, clip by clip.

        Columns: system, clips_of, metric (`within_25km`, ..., and `median_km`); value, low, high in percent, or km of a
        median; difference to the first system with its interval, difference_low and difference_high, in percentage
        points, or km; p, two-sided; n_seeds, clips, videos. Intervals are of 95 %, over seeds and source videos, a seed
        paired with the same seed; those of medians are by a bootstrap (`track_intervals.median`), which gives no p. The
        first system has no difference.
        """
        first, lines = next(iter(self.km)), []
        for part, chosen in self.parts().items():
            videos = self.videos[chosen]
            count = len(next(iter(self.km.values()))), int(chosen.sum()), len(np.unique(videos))
            for system, errors in self.km.items():
                mine, reference = errors[:, chosen], self.km[first][:, chosen]
                for limit in thresholds_km:
                    near = (mine <= limit).astype(float)
                    x = Interval.over(torch.from_numpy(near), videos)
                    numbers = x.mean, *np.clip((x.low, x.high), 0, 100)
                    gain = (np.nan,) * 4
                    if system != first:
                        y = Interval.over(torch.from_numpy(near - (reference <= limit)), videos)
                        gain = y.mean, y.low, y.high, y.p
                    lines.append((system, part, f"within_{limit:g}km", *numbers, *gain, *count))
                middle = np.median(mine, axis=1).mean()
                gain = (np.nan,) * 4
                if system != first:
                    ends = track_intervals.median(mine, videos, minus=reference)
                    gain = middle - np.median(reference, axis=1).mean(), *ends, np.nan
                lines.append((system, part, "median_km", middle, *track_intervals.median(mine, videos), *gain, *count))
        names = ["system", "clips_of", "metric", "value", "low", "high"]
        names += ["difference", "difference_low", "difference_high", "p", "n_seeds", "clips", "videos"]
        return pd.DataFrame(lines, columns=names)

    def curves(self) -> pd.DataFrame:
        """The share of clips within any distance, for `figures.error_curves`.

        Columns: system, clips_of, km; share, low and high in percent, the mean over seeds and the least and the most
        that a seed has.
        """
        frames = []
        for part, chosen in self.parts().items():
            for system, errors in self.km.items():
                seeds = np.sort(errors[:, chosen], axis=1)
                shares = np.array([np.searchsorted(seed, _CURVE, side="right") for seed in seeds]) * 100 / chosen.sum()
                columns = {"km": _CURVE, "share": shares.mean(0), "low": shares.min(0), "high": shares.max(0)}
                frames.append(pd.DataFrame({"system": system, "clips_of": part} | columns))
        return pd.concat(frames, ignore_index=True)


def of_clips(
    cityguessr: Sequence[Run],
    others: Mapping[str, Sequence[TrackRun]],
    stage: Stage = "final",
    label: str = "CityGuessr",
) -> KmErrors:
    """The errors on the clips that both were validated on, one per clip: the distance to where it was filmed.

    A clip's place is that of its middle frame, or the centre of its true city where that is not known. CityGuessr's
    answer is read in the mode of its runs: codependent.

    Args:
        others: system -> its runs.
        stage: which of their answers.

    Only seeds that all systems have are taken, and clips that all were validated on (`track_cities.shared`). Raises
    InputError where there is none, and for other clips.
    """
    sides = _same_seeds({label: cityguessr} | dict(others))
    given = [run.predictions for system, runs in sides.items() if system != label for run in runs]
    clips = track_cities.shared(sides[label][0].predictions, given)
    places = metrics.clip_places(clips.places, clips.labels["city"], clips.taxonomy)
    known = places.isfinite().all(dim=1).numpy()
    km: dict[str, Array] = {}
    for system, runs in sides.items():
        rows = []
        for run in runs:
            if system == label:
                mine = track_cities.shared(run.predictions, given)
                if mine.clip_ids != clips.clip_ids:
                    raise InputError(f"{run.folder} was validated on other clips than {sides[label][0].folder}")
                answered = clips.taxonomy.latlon[mine.answers()["city"]].numpy()
            else:
                tracks = run.predictions
                each = tracks.by_track(tracks.answer(stage))
                answered = np.array([each[k][representative(each[k])] for k in track_cities.in_order_of(clips, tracks)])
            rows.append(great_circle_km(answered, places.numpy())[known])
        km[system] = np.array(rows)
    return KmErrors(km, np.array(clips.video_ids)[known], clips.seen.numpy()[known], int((~known).sum()))


def of_frames(
    cityguessr: Sequence[Run],
    others: Mapping[str, Sequence[TrackRun]],
    training: Sequence[Track],
    stage: Stage = "final",
    label: str = "CityGuessr",
) -> KmErrors:
    """The errors on tracks that both were validated on, one per frame: the distance to the frame's own coordinate.

    CityGuessr answers a track with a city, and so every frame of it with the mean of that city's training coordinates,
    the best place that a city's name can give.

    Args:
        training: the training tracks, which say where the cities are.

    Raises InputError as `of_clips` does.
    """
    sides = _same_seeds({label: cityguessr} | dict(others))
    first = next(run.predictions for system, runs in sides.items() if system != label for run in runs)
    centres = answers.centres([t.latlon for t in training], [t.region for t in training])
    km: dict[str, Array] = {}
    for system, runs in sides.items():
        rows = []
        for run in runs:
            if system == label:
                ids = {clip: number for number, clip in enumerate(run.predictions.clip_ids)}
                if set(ids) != set(first.names):
                    raise InputError(f"{run.folder} was validated on other tracks than {label} is compared on")
                named = run.predictions.answers()["city"]
                at = {city: centres[region] for region, city in city_ids(centres, run.predictions.taxonomy).items()}
                per_track = np.array([at[int(named[ids[name]])] for name in first.names])
                answered = np.repeat(per_track, first.lengths, axis=0)
            else:
                if run.predictions.names != first.names:
                    raise InputError(f"{run.folder} was validated on other tracks than the first run")
                answered = run.predictions.answer(stage)
            rows.append(great_circle_km(answered, first.true))
        km[system] = np.array(rows)
    videos = np.repeat(np.array(first.names), first.lengths)
    return KmErrors(km, videos, np.zeros(len(videos), dtype=bool))


def _same_seeds(sides: Mapping[str, Sequence[Run | TrackRun]]) -> dict[str, list[Any]]:
    """The runs of the seeds that all systems have, in one order. Raises InputError where there is none."""
    known = {system: {run.provenance["seed"]: run for run in runs} for system, runs in sides.items()}
    first = next(iter(known.values()))
    if len(known) < 2 or not (shared := [seed for seed in first if all(seed in runs for runs in known.values())]):
        raise InputError(f"{', '.join(sides)}: no seed that all have; train each of two or more with the same seeds")
    return {system: [runs[seed] for seed in shared] for system, runs in known.items()}
