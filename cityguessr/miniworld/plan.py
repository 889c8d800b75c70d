"""What happens in one long video: who films, where, when and in what weather, and which scenes follow one another."""

import dataclasses
import enum
import math
import random
from functools import cached_property

import torch
from torch import Tensor

from cityguessr.measures.sphere import KM_PER_DEGREE
from cityguessr.miniworld import noise
from cityguessr.miniworld.style import Style

BEHIND, BEYOND = 40.0, 280.0  # metres of street built behind the first and beyond the last position of the camera
AHEAD = 9.0  # the scene of a frame is the one this many metres ahead, in the middle of the picture
# How often each of the 16 scene kinds follows, before a city's taste. Street videos are mostly of streets.
SCENE_WEIGHTS = (2, 1, 1, 3, 1, 1.5, 7, 6, 8, 5, 12, 12, 9, 8, 17, 26)


class Scene(enum.IntEnum):
    """The 16 scene kinds, in the order of `scenes.SCENES`: the first six are streets under a roof."""

    SHOPPING, WORKPLACE, HOTEL, STATION, SPORTS, CULTURE = range(6)
    WATER, HILLS, FOREST, ELEMENTS, ROADS, MONUMENTS, PARKS, WORKS, HOUSES, TRADE = range(6, 16)


INDOOR = range(Scene.WATER)


@dataclasses.dataclass(frozen=True)
class Clip:
    """One clip of a video: its id in the release (`Lyon_0003`), its split and the video's frame it starts at."""

    clip_id: str
    split: str
    first_frame: int


@dataclasses.dataclass(frozen=True, eq=False)
class VideoPlan:
    """Everything that is particular to one source video; the clips cut from it share all of it.

    Attributes:
        video_id: `<City>_v<k>`.
        city: id in the taxonomy.
        frames, fps: length and rate of the video.
        clips: the clips that the release cuts from it, in order.
        walk: on foot (else from a car).
        speed: mean metres per second.
        eye: height of the camera in metres; `lateral`: its distance right of the middle of the road in metres.
        fov: horizontal field of view in degrees; `pitch`: of the camera in radians, positive upwards.
        hour: local time in [0, 24); weather: "clear", "clouds", "overcast", "rain" or "fog"; exposure: factor.
        heading: direction of the street in degrees clockwise from north.
        start: (latitude, longitude) of the first frame in degrees (NaN where the city's coordinates are unknown).
        plots: scene kind (0..15) of every plot along the street, the first one `BEHIND` metres before the start.
        plot_width: metres of street that a plot takes.
        key: a 32-bit number for further draws that belong to the video.
    """

    video_id: str
    city: int
    frames: int
    fps: float
    clips: tuple[Clip, ...]
    walk: bool
    speed: float
    eye: float
    lateral: float
    fov: float
    pitch: float
    hour: float
    weather: str
    exposure: float
    heading: float
    start: tuple[float, float]
    plots: tuple[int, ...]
    plot_width: float
    key: int

    @cached_property
    def positions(self) -> Tensor:
        """Float64 (frames,): metres along the street at every frame; speed swells and falls, but never turns back."""
        time = torch.arange(self.frames, dtype=torch.float64) / self.fps
        phase = (self.key % 1000) / 1000 * 2 * math.pi
        # The speed is speed * (1 + 0.35 sin(0.5 t + phase)); this is its integral from the first frame.
        return self.speed * (time - 0.7 * (torch.cos(0.5 * time + phase) - math.cos(phase)))

    @cached_property
    def plot(self) -> Tensor:
        """Int64 (frames,): the plot that every frame shows in the middle of the picture."""
        return ((self.positions + AHEAD + BEHIND) / self.plot_width).long().clamp(max=len(self.plots) - 1)

    @cached_property
    def scenes(self) -> Tensor:
        """Int64 (frames,): the scene kind, 0..15, of every frame; `categories.label_frames` gives finer labels."""
        return torch.tensor(self.plots)[self.plot]

    @cached_property
    def gps(self) -> Tensor:
        """Float64 (frames, 2): latitude and longitude in degrees."""
        north, east = math.cos(math.radians(self.heading)), math.sin(math.radians(self.heading))
        km = self.positions / 1000
        latitude = self.start[0] + km * north / KM_PER_DEGREE
        longitude = self.start[1] + km * east / (KM_PER_DEGREE * math.cos(math.radians(self.start[0])))
        return torch.stack([latitude, longitude], 1)

    @property
    def headings(self) -> Tensor:
        """Float64 (frames,): the direction of travel at every frame, in degrees clockwise from north."""
        return torch.full((self.frames,), self.heading, dtype=torch.float64)

    def draw_by_run(self, what: str) -> Tensor:
        """A draw in [0, 1) for each side of each run of plots of one scene kind: (2, plots), left side first."""
        kinds = torch.tensor(self.plots)
        run = torch.cat([torch.zeros(1, dtype=torch.int64), (kinds[1:] != kinds[:-1]).long().cumsum(0)])
        return noise.uniform(noise.key(self.key, what), torch.arange(2)[:, None], run[None])

    @property
    def open_sides(self) -> Tensor:
        """Which sides lie open where a scene may open to one side: bool (2, plots), at least one of the two."""
        is_open = self.draw_by_run("open") < 0.5
        neither = ~is_open & ~is_open.flip(0)
        return is_open | (neither & (torch.arange(2)[:, None] == 1))

    def is_snowy(self, style: Style) -> bool:
        """Whether snow lies, as it may where it is cold."""
        return style.warmth < 0.45 and noise.key(self.key, "snow") % 100 < 45

    def has_mast(self, plot: int) -> bool:
        """Whether a crane or a chimney stands where a run of industry begins at that plot."""
        return noise.key(self.key, "mast", plot) % 10 < 6


def make(
    style: Style,
    video_id: str,
    clips: tuple[Clip, ...],
    frames: int,
    fps: float,
    clip_seconds: float,
    centre: tuple[float, float],
    seed: int,
) -> VideoPlan:
    """Draw the plan of a video from the world's seed and the video's name."""
    key = noise.key(seed, "video", video_id)
    rng = random.Random(key)
    walk = rng.random() < 0.4
    speed = rng.uniform(1.3, 2.6) if walk else rng.uniform(4.5, 11.0)
    side = -1 if style.drives_left else 1
    kerb = style.road_half
    lane = kerb * (0.5 if kerb < 5.2 else rng.choice((0.26, 0.70)))
    edge = rng.choice((-1, 1)) * (kerb - 1.5)  # on foot: along the kerb, or where the road leads
    lateral = rng.choice((edge, edge, rng.uniform(-0.5, 0.5) * kerb)) if walk else side * lane
    hour = (
        rng.uniform(8, 17)
        if rng.random() < 0.7
        else rng.choice((rng.uniform(5.5, 8), rng.uniform(17, 19.5), rng.uniform(19.5, 24)))
    )
    dry = 0.5 if style.arid else 1.0
    weather = rng.choices(("clear", "clouds", "overcast", "rain", "fog"), (38, 30, 16 * dry, 11 * dry, 5 * dry))[0]
    length = frames / fps * speed * 1.1 + 10
    latitude, longitude, heading = _route(rng, centre, length / 1000)
    width = style.plot_width
    return VideoPlan(
        video_id=video_id,
        city=style.city,
        frames=frames,
        fps=fps,
        clips=clips,
        walk=walk,
        speed=speed,
        eye=rng.uniform(1.5, 1.75) if walk else rng.uniform(1.25, 2.4),
        lateral=lateral + rng.uniform(-0.2, 0.2),
        fov=rng.uniform(58, 76),
        pitch=rng.uniform(0.0, 0.10),
        hour=hour,
        weather=weather,
        exposure=math.exp(max(-0.3, min(0.2, rng.gauss(-0.02, 0.13)))),
        heading=heading,
        start=(latitude, longitude),
        plots=_scene_sequence(rng, style, math.ceil((length + BEHIND + BEYOND) / width), clip_seconds * speed / width),
        plot_width=width,
        key=key,
    )


def _route(rng: random.Random, centre: tuple[float, float], length_km: float) -> tuple[float, float, float]:
    """A start near the centre and a heading, such that the whole way stays inside the city."""
    distance, bearing = rng.uniform(0.3, 5.5), rng.uniform(0, 360)
    latitude = centre[0] + distance * math.cos(math.radians(bearing)) / KM_PER_DEGREE
    longitude = centre[1] + distance * math.sin(math.radians(bearing)) / (
        KM_PER_DEGREE * math.cos(math.radians(centre[0]))
    )
    # A long way leads across the centre; a short one may go anywhere.
    swing = 180.0 if length_km < 4 else 25.0
    return latitude, longitude, (bearing + 180 + rng.uniform(-swing, swing)) % 360


def _scene_sequence(rng: random.Random, style: Style, count: int, plots_per_clip: float) -> tuple[int, ...]:
    """Scene kinds, one per plot: runs of one kind, drawn from the city's mixture; covered runs never touch."""
    taste = noise.normal(noise.key(style.key, "scenes"), 16).tolist()
    weights = [w * math.exp(0.7 * t) for w, t in zip(SCENE_WEIGHTS, taste, strict=True)]
    plots: list[int] = []
    while len(plots) < count:
        last = plots[-1] if plots else None
        allowed = [
            0 if kind == last or (kind in INDOOR and (last is None or last in INDOOR)) else weight
            for kind, weight in enumerate(weights)
        ]
        kind = rng.choices(range(16), allowed)[0]
        mean = max(2.0, min(0.45 * plots_per_clip, 60 / style.plot_width))
        plots += [kind] * max(2, round(mean * rng.uniform(0.6, 1.5)))
    return tuple(plots[:count])
