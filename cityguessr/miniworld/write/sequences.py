"""The sequences of MiniWorld's Mapillary tree: 30 cities, uneven numbers and lengths, several cameras.

The 21 cities that Mapillary shares with CityGuessr68k look as they do in a MiniWorld of the same seed, filmed by
others: a city's sequences come from a few contributors, and each of them has a camera, a mount, an exposure and an
interval between pictures. How many sequences a city has is as uneven as in the real data (supplement, section 6.3:
a Gini coefficient of 0.65).
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import hashlib
import json
import math
import random
from pathlib import Path

from torch import Tensor

from cityguessr.base.errors import InputError
from cityguessr.data.mapillary import MIN_FRAMES, SIDES, cities, tree
from cityguessr.measures.inequality import gini
from cityguessr.miniworld import plan
from cityguessr.miniworld.plan import VideoPlan
from cityguessr.miniworld.world import MiniWorld, MiniWorldConfig, weibull_counts
from cityguessr.taxonomy import Taxonomy

VERSION = 1  # part of a tree's fingerprint: raise it when the same configuration would give other files
FEWEST_FRAMES = 6


@dataclasses.dataclass(frozen=True)
class Camera:
    """What contributors film with: picture size in pixels at a `height` of 48, and horizontal field of view in degrees.

    `eye` is the range of heights in metres at which it is mounted on a car, `pitch` how far it looks up in radians.
    """

    width: int
    height: int
    fov: float
    eye: tuple[float, float]
    pitch: float


CAMERAS = {
    "phone": Camera(64, 48, 64, (1.2, 1.5), 0.05),
    "dash camera": Camera(96, 54, 96, (1.2, 1.4), 0.02),
    "action camera": Camera(80, 60, 108, (1.7, 2.6), 0.0),
    "compact": Camera(84, 56, 70, (1.3, 2.2), 0.06),
    "upright phone": Camera(48, 64, 48, (1.3, 1.6), 0.10),
}


@dataclasses.dataclass(frozen=True)
class MapillaryConfig:
    """How large a tree is; `mini()` and `paper_scale()` are the two that the project uses.

    Attributes:
        seed: of everything drawn at random, and of the looks of the cities: equal to a MiniWorld's, they look alike.
        sequences_per_city: mean number of sequences of 15 frames or more; sequences_min: fewest of them in a city.
        inequality: Gini coefficient of that number over cities.
        short_share: sequences of fewer than 15 frames, as a share of the others.
        mean_frames, max_frames: of the sequences of 15 frames or more.
        height: scale of the pictures: of the lowest camera in pixels.
        samples: rays per pixel along each side; quality: of JPEG.
    """

    seed: int = 0
    sequences_per_city: float = 30.0
    sequences_min: int = 3
    inequality: float = 0.65
    short_share: float = 0.15
    mean_frames: float = 17.0
    max_frames: int = 40
    height: int = 48
    samples: int = 1
    quality: int = 90

    def __post_init__(self) -> None:
        if self.sequences_min < 2:
            raise InputError(
                f"MapillaryConfig: sequences_min={self.sequences_min}; a city needs 2 to be in both halves of a split"
            )
        if self.sequences_per_city < self.sequences_min:
            raise InputError(
                f"MapillaryConfig: sequences_per_city={self.sequences_per_city} is below sequences_min="
                f"{self.sequences_min}; raise it"
            )
        if not MIN_FRAMES <= self.mean_frames <= self.max_frames:
            raise InputError(
                f"MapillaryConfig: mean_frames={self.mean_frames} must lie between {MIN_FRAMES} and max_frames="
                f"{self.max_frames}"
            )
        if not (0 <= self.inequality < 1 and self.short_share >= 0):
            raise InputError(
                f"MapillaryConfig: inequality={self.inequality} must lie in [0, 1), short_share={self.short_share} "
                "must not be negative"
            )
        for name, least in (("height", 16), ("samples", 1)):
            if getattr(self, name) < least:
                raise InputError(f"MapillaryConfig: {name}={getattr(self, name)} must be {least} or more")

    @classmethod
    def mini(cls, seed: int = 0) -> MapillaryConfig:
        """The default of the offline run: about 630 sequences that stay, of pictures between 64 x 48 and 96 x 54."""
        return cls(seed=seed)

    @classmethod
    def midi(cls, seed: int = 0) -> MapillaryConfig:
        """Three times as many sequences, of the same cities."""
        return cls(seed=seed, sequences_per_city=90.0)

    @classmethod
    def paper_scale(cls, seed: int = 0) -> MapillaryConfig:
        """About the paper's 11,320 sequences that stay, from 640 x 480 up; a GPU and 80 GB of disk."""
        return cls(
            seed=seed, sequences_per_city=11320 / 21, mean_frames=40, max_frames=200, height=480, samples=2
        )  # fmt: skip

    def sequence_counts(self) -> dict[str, int]:
        """City folder -> its sequences of 15 frames or more: as uneven among the 21 cities as among the other nine."""
        counts: dict[str, int] = {}
        for kept in ("1", "0"):
            folders = [folder for folder, row in cities().items() if row["kept"] == kept]
            dealt = _uneven(len(folders), self.sequences_per_city, self.sequences_min, self.inequality)
            random.Random(f"{self.seed}/sequences/{kept}").shuffle(dealt)
            counts |= dict(zip(folders, dealt, strict=True))
        return counts


@dataclasses.dataclass(frozen=True, eq=False)
class Sequence:
    """One sequence: its plan (whose `video_id` is the sequence's key), its city's folder, its side and its camera.

    `camera` is one of `CAMERAS`, or empty where the plan says it all.
    """

    video: VideoPlan
    folder: str
    side: str
    camera: str
    captured: datetime.date

    def image_key(self, frame: int) -> str:
        """The key of an image: 22 letters without a meaning, like Mapillary's."""
        return opaque_key(self.video.video_id, frame)

    def place(self, root: Path) -> Path:
        """The folder of the side that the sequence belongs to."""
        return root / cities()[self.folder]["part"] / self.folder / self.side


class MapillaryWorld:
    """The sequences of a synthetic Mapillary tree, and their pictures.

    Attributes:
        config, taxonomy: what it was made from; the tree of all 30 cities.
        sequences: sequence key -> sequence, city by city; `videos` are their plans.
        fingerprint: twelve hexadecimal digits of everything that decides its files.
    """

    def __init__(self, config: MapillaryConfig | None = None) -> None:
        self.config = config or MapillaryConfig.mini()
        self.taxonomy: Taxonomy = tree()
        self.world = MiniWorld(MiniWorldConfig(seed=self.config.seed, samples=self.config.samples), self.taxonomy)
        self.sequences = {sequence.video.video_id: sequence for sequence in self._draw()}
        self.videos: tuple[VideoPlan, ...] = tuple(sequence.video for sequence in self.sequences.values())
        what = json.dumps([VERSION, dataclasses.asdict(self.config), self.world.fingerprint], sort_keys=True)
        self.fingerprint = hashlib.sha256(what.encode()).hexdigest()[:12]

    def render(self, sequence: Sequence, device: str = "cpu", frames: Tensor | None = None) -> Tensor:
        """Pictures of a sequence at its camera's size: uint8 (T, height, width, 3); all frames by default."""
        width, height = self.size(sequence)
        return self.world.render(sequence.video, height, width, device, frames)

    def size(self, sequence: Sequence) -> tuple[int, int]:
        """Width and height of a sequence's pictures."""
        camera, scale = CAMERAS[sequence.camera], self.config.height / CAMERAS["phone"].height
        return round(camera.width * scale), round(camera.height * scale)

    def estimate(self) -> int:
        """Bytes that the tree takes on disk, roughly: a third of a byte per pixel for JPEG."""
        return int(sum(s.video.frames * (math.prod(self.size(s)) * 0.33 + 900) for s in self.sequences.values()))

    def _draw(self) -> list[Sequence]:
        config, sequences = self.config, []
        for folder, count in config.sequence_counts().items():
            rng = random.Random(f"{config.seed}/mapillary/{folder}")
            contributors = [_Contributor.draw(rng) for _ in range(1 + round(math.sqrt(count)))]
            for number in range(count + round(config.short_share * count)):
                if number < count:
                    more = rng.expovariate(1 / (config.mean_frames - MIN_FRAMES + 1e-9))
                    frames = min(MIN_FRAMES + round(more), config.max_frames)
                else:
                    frames = rng.randint(FEWEST_FRAMES, MIN_FRAMES - 1)
                side = SIDES[0] if rng.random() < 0.35 else SIDES[1]
                key = opaque_key(config.seed, folder, number)
                sequences.append(self._sequence(folder, side, key, frames, rng.choice(contributors), rng))
        return sequences

    def _sequence(
        self, folder: str, side: str, key: str, frames: int, contributor: _Contributor, rng: random.Random
    ) -> Sequence:
        city = self.taxonomy.city_id(cities()[folder]["city"])
        latitude, longitude = self.taxonomy.latlon[city].tolist()
        camera = CAMERAS[contributor.camera]
        seconds = frames * contributor.interval
        video = plan.make(
            self.world.effects.style(city), key, (), frames, 1 / contributor.interval, seconds, (latitude, longitude),
            self.config.seed,
        )  # fmt: skip
        video = dataclasses.replace(
            video,
            fov=camera.fov,
            eye=video.eye if video.walk else contributor.eye,
            pitch=camera.pitch + contributor.tilt,
            exposure=video.exposure * contributor.exposure,
        )
        captured = datetime.date(2012, 1, 1) + datetime.timedelta(days=rng.randrange(8 * 365))
        return Sequence(video, folder, side, contributor.camera, captured)


@dataclasses.dataclass(frozen=True)
class _Contributor:
    """Someone who films a city: camera, height of its mount in metres, tilt, exposure, seconds between pictures."""

    camera: str
    eye: float
    tilt: float
    exposure: float
    interval: float

    @classmethod
    def draw(cls, rng: random.Random) -> _Contributor:
        """Someone drawn at random."""
        camera = rng.choice(list(CAMERAS))
        return cls(
            camera=camera,
            eye=rng.uniform(*CAMERAS[camera].eye),
            tilt=rng.uniform(-0.03, 0.03),
            exposure=math.exp(rng.gauss(0, 0.15)),
            interval=rng.uniform(0.6, 1.8),
        )


def _uneven(n: int, mean: float, least: int, inequality: float) -> list[int]:
    """`n` counts of about this mean, none below `least`, with this Gini coefficient as nearly as that allows."""
    low, high = 0.0, 30.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if gini(weibull_counts(n, mean, least, middle)) < inequality else (low, middle)
    return weibull_counts(n, mean, least, low)


def opaque_key(*what: object) -> str:
    """The key of something: 22 letters without a meaning."""
    digest = hashlib.sha256("/".join(map(str, what)).encode()).digest()
    return base64.urlsafe_b64encode(digest).decode()[:22]
