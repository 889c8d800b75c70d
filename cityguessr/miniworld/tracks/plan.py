"""The plan of one track: a video whose frames stand where a way leads, on a street that the renderer stretches out."""

from __future__ import annotations

import dataclasses
import math
import random
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from cityguessr.measures.sphere import KM_PER_DEGREE
from cityguessr.miniworld import noise, plan
from cityguessr.miniworld.plan import BEHIND, BEYOND, VideoPlan
from cityguessr.miniworld.tracks.districts import Districts
from cityguessr.miniworld.tracks.net import Way

GAP = (20.0, 60.0)  # metres between neighbouring frames, as the crow flies
_MEAN_GAP, _UNEVEN = (26.0, 50.0), 0.18  # of a track; by how much single gaps stray from it
_BY_LANDMARK = 0.5  # share of the tracks that are made to pass a landmark
_RUN = 55.0  # metres of one scene, about


@dataclasses.dataclass(frozen=True, eq=False)
class TrackPlan(VideoPlan):
    """A video along a way through a city; its camera, hour and weather are drawn as those of any other video.

    Attributes:
        way: the way; `metres`: of every frame along it.
        centre: (latitude, longitude) of the city's centre in degrees.
    """

    way: Way
    metres: tuple[float, ...]
    centre: tuple[float, float]

    @cached_property
    def positions(self) -> Tensor:
        """Float64 (frames,): metres along the way at every frame."""
        return torch.tensor(self.metres, dtype=torch.float64)

    @cached_property
    def km(self) -> Tensor:
        """Float64 (frames, 2): where every frame stands, in km east and north of the centre."""
        return torch.from_numpy(self.way.places(np.array(self.metres)))

    @cached_property
    def gps(self) -> Tensor:
        """Float64 (frames, 2): latitude and longitude in degrees."""
        return torch.tensor([to_degrees(place, self.centre) for place in self.km.tolist()], dtype=torch.float64)

    @property
    def headings(self) -> Tensor:
        """Float64 (frames,): the direction of travel at every frame, in degrees clockwise from north."""
        return torch.from_numpy(self.way.headings(np.array(self.metres)))

    @property
    def streets(self) -> Tensor:
        """Int64 (frames,): the number, along the way, of the street on which each frame stands."""
        return torch.from_numpy(self.way.street(np.array(self.metres)))

    def plot_km(self) -> Tensor:
        """Float64 (plots, 2): where the middle of every plot lies, in km east and north of the centre."""
        metres = (np.arange(len(self.plots)) + 0.5) * self.plot_width - BEHIND
        return torch.from_numpy(self.way.places(metres))


def to_degrees(km: tuple[float, float] | list[float], centre: tuple[float, float]) -> tuple[float, float]:
    """Latitude and longitude of a place in km east and north of a centre."""
    narrow = math.cos(math.radians(centre[0]))
    return centre[0] + km[1] / KM_PER_DEGREE, centre[1] + km[0] / (KM_PER_DEGREE * narrow)


def make(districts: Districts, track_id: str, frames: tuple[int, int], centre: tuple[float, float]) -> TrackPlan:
    """Draw a track from the city and the track's name.

    Args:
        frames: fewest and most.
        centre: latitude and longitude of the city's centre in degrees.
    """
    style, seed = districts.style, noise.key(districts.style.key, "track", track_id)
    rng = random.Random(seed)
    count = rng.randint(*frames)
    mean = rng.uniform(*_MEAN_GAP)
    gaps = np.array([mean * (1 + _UNEVEN * rng.uniform(-1, 1)) for _ in range(count - 1)])
    marks = districts.landmarks
    through = rng.choice(marks).street if marks and rng.random() < _BY_LANDMARK else None
    through = through and rng.choice((through, through[::-1]))
    # A way round a corner is longer than as the crow flies, by 1.4 times at most where streets meet at right angles.
    way = Way(districts.net.way(rng, (1.2 * gaps.sum() + 60) / 1000, through))
    metres = way.stops(rng.uniform(0, 30), gaps)
    video = plan.make(style, track_id, (), count, 1.0, 1.0, centre, seed)  # camera, hour, weather
    known = {field.name: getattr(video, field.name) for field in dataclasses.fields(VideoPlan)}
    plots = math.ceil((metres[-1] + BEHIND + BEYOND) / style.plot_width)
    known |= {
        "fps": video.speed / float(np.mean(gaps)),
        "heading": float(way.headings(metres[:1])[0]),
        "start": to_degrees(way.places(metres[:1])[0].tolist(), centre),
        "plots": (0,) * plots,
    }
    track = TrackPlan(**known, way=way, metres=tuple(metres.tolist()), centre=centre)
    return dataclasses.replace(track, plots=_scenes(rng, districts, track.plot_km(), style.plot_width))


def _scenes(rng: random.Random, districts: Districts, km: Tensor, plot_width: float) -> tuple[int, ...]:
    """Scene kinds, one per plot: runs of one kind, drawn from what is frequent where the run begins."""
    weights = districts.scene_weights(km).tolist()
    plots: list[int] = []
    while len(plots) < len(km):
        allowed = [0.0 if plots and kind == plots[-1] else w for kind, w in enumerate(weights[len(plots)])]
        (kind,) = rng.choices(range(16), allowed)
        plots += [kind] * max(2, round(_RUN / plot_width * rng.uniform(0.6, 1.5)))
    return tuple(plots[: len(km)])
