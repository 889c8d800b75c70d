"""TrackWorld: sequences whose pictures say where in a city they were taken.

In MiniWorld nothing in a picture depends on where in its city the camera is. Here a place shows: the city's style is
moved by smooth fields of the position, whose correlation halves at 1 km, and a few landmarks are seen from 200 metres
(`tracks.districts`). These districts were put there so that there is something to find.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import random
import threading

import torch
from torch import Tensor

from cityguessr.base import threads
from cityguessr.base.errors import InputError
from cityguessr.data.mapillary import MIN_FRAMES, SIDES, cities, tree
from cityguessr.miniworld.render import layout, renderer
from cityguessr.miniworld.style import Effects
from cityguessr.miniworld.tiles.atlas import Atlas
from cityguessr.miniworld.tracks import plan, street, textures
from cityguessr.miniworld.tracks.districts import LANDMARKS, Districts
from cityguessr.miniworld.tracks.plan import TrackPlan
from cityguessr.miniworld.world import VERSION as PICTURES
from cityguessr.miniworld.write.sequences import Sequence, opaque_key

VERSION = 1  # part of a tree's fingerprint: raise it when the same configuration would give other files
# Ten of the fifteen cities of MSLS that have coordinates and are in CityGuessr68k too: one or two of each continent
# that has such a city (South America's São Paulo is not in CityGuessr68k), and three of Europe and of Asia.
CITIES = ("amman", "austin", "bangkok", "boston", "helsinki", "london", "melbourne", "moscow", "nairobi", "tokyo")


@dataclasses.dataclass(frozen=True)
class TrackConfig:
    """How large a world of tracks is; `mini()` is what the project uses.

    Attributes:
        seed: of everything drawn at random, and of the looks of the cities: equal to a MiniWorld's, they look alike.
        cities: folders of MSLS, among the 24 whose images have coordinates.
        sequences_per_city: how many; the first ones stay the same when there are more.
        min_frames, max_frames: of a sequence.
        landmarks: of a city.
        height, width: of the pictures in pixels.
        samples: rays per pixel along each side; quality: of JPEG.
    """

    seed: int = 0
    cities: tuple[str, ...] = CITIES
    sequences_per_city: int = 48
    min_frames: int = 16
    max_frames: int = 24
    landmarks: int = 5
    height: int = 64
    width: int = 64
    samples: int = 1
    quality: int = 90

    def __post_init__(self) -> None:
        object.__setattr__(self, "cities", tuple(self.cities))
        known = [folder for folder, row in cities().items() if row["part"] == "train_val"]
        unknown = [folder for folder in self.cities if folder not in known]
        if unknown or not self.cities or len(set(self.cities)) < len(self.cities):
            raise InputError(
                f"TrackConfig: cities={self.cities}; give different ones of the {len(known)} folders of MSLS whose "
                f"images have coordinates: {', '.join(known)}"
            )
        if self.sequences_per_city < 2:
            raise InputError(
                f"TrackConfig: sequences_per_city={self.sequences_per_city}; a city needs 2 to be in both halves of a "
                "split"
            )
        if not MIN_FRAMES <= self.min_frames <= self.max_frames <= 64:
            raise InputError(
                f"TrackConfig: min_frames={self.min_frames}, max_frames={self.max_frames}; both must lie between "
                f"{MIN_FRAMES} and 64, in this order"
            )
        if not 0 <= self.landmarks <= LANDMARKS:
            raise InputError(f"TrackConfig: landmarks={self.landmarks} must lie between 0 and {LANDMARKS}")
        for name, least in (("height", 16), ("width", 16), ("samples", 1)):
            if getattr(self, name) < least:
                raise InputError(f"TrackConfig: {name}={getattr(self, name)} must be {least} or more")

    @classmethod
    def mini(cls, seed: int = 0) -> TrackConfig:
        """The default of the offline run: ten cities with 48 sequences of 16 to 24 frames at 64 x 64."""
        return cls(seed=seed)

    @classmethod
    def midi(cls, seed: int = 0) -> TrackConfig:
        """The same cities with 100 sequences each; the first 48 are those of `mini`."""
        return cls(seed=seed, sequences_per_city=100)


class TrackWorld:
    """The sequences of a world of tracks, and their pictures.

    Attributes:
        config, taxonomy: what it was made from; the tree of all 30 cities of MSLS.
        districts: folder of a city -> what it looks like at each of its places, and its streets.
        sequences: sequence key -> sequence, city by city; `videos` are their plans.
        fingerprint: twelve hexadecimal digits of everything that decides its files.
    """

    def __init__(self, config: TrackConfig | None = None) -> None:
        self.config = config or TrackConfig.mini()
        self.taxonomy = tree()
        self.effects = Effects(self.taxonomy, self.config.seed)
        self.districts = {
            folder: Districts(self.effects.style(self.city(folder)), self.config.landmarks, self.config.seed)
            for folder in self.config.cities
        }
        self.sequences = {
            sequence.video.video_id: sequence
            for folder in self.config.cities
            for sequence in (self._draw(folder, n) for n in range(self.config.sequences_per_city))
        }
        self.videos: tuple[TrackPlan, ...] = tuple(sequence.video for sequence in self.sequences.values())
        what = json.dumps([VERSION, PICTURES, dataclasses.asdict(self.config)], sort_keys=True)
        self.fingerprint = hashlib.sha256(what.encode()).hexdigest()[:12]
        self._atlas: tuple[str, str, Atlas] | None = None
        self._lock = threading.Lock()

    def city(self, folder: str) -> int:
        """The id in the taxonomy of a folder of MSLS."""
        return self.taxonomy.city_id(cities()[folder]["city"])

    def render(self, sequence: Sequence, device: str = "cpu", frames: Tensor | None = None) -> Tensor:
        """Pictures of a sequence: uint8 (T, height, width, 3); all frames by default.

        A frame is rendered as if it were the only one of its street.
        """
        track, config, districts = sequence.video, self.config, self.districts[sequence.folder]
        numbers = torch.arange(track.frames) if frames is None else torch.as_tensor(frames, dtype=torch.int64)
        pictures = torch.empty(len(numbers), config.height, config.width, 3, dtype=torch.uint8)
        on_street = track.streets[numbers]
        with torch.inference_mode():
            atlas = self._textures(sequence.folder, str(device))
            whole = street.build(track, districts)
            for number in on_street.unique().tolist():
                there = on_street == number
                here = dataclasses.replace(track, heading=float(track.headings[numbers[there]][0]))
                part = street.stretch(whole, track, number, districts).to(device)
                pictures[there] = renderer.render(
                    here, districts.style, part, atlas, numbers[there], config.height, config.width, config.samples,
                    apart=True,
                ).cpu()  # fmt: skip
        return pictures

    def estimate(self) -> int:
        """Bytes that the tree takes on disk, roughly: a third of a byte per pixel for JPEG."""
        frames = sum(video.frames for video in self.videos)
        return int(frames * (self.config.height * self.config.width * 0.33 + 900))

    def _textures(self, folder: str, device: str) -> Atlas:
        # Sequences are worked on city by city: the textures of one city are enough.
        with self._lock:
            if self._atlas is None or self._atlas[:2] != (folder, device):
                with threads.limited(1):  # tiles are thousands of small arrays
                    size = layout.tile_size(self.config.height)
                    self._atlas = (folder, device, textures.bake(self.districts[folder], size, device))
            return self._atlas[2]

    def _draw(self, folder: str, number: int) -> Sequence:
        key = opaque_key(self.config.seed, "track", folder, number)
        rng = random.Random(key)
        centre = self.taxonomy.latlon[self.city(folder)].tolist()
        frames = (self.config.min_frames, self.config.max_frames)
        track = plan.make(self.districts[folder], key, frames, (centre[0], centre[1]))
        side = SIDES[0] if rng.random() < 0.35 else SIDES[1]
        captured = datetime.date(2012, 1, 1) + datetime.timedelta(days=rng.randrange(8 * 365))
        return Sequence(track, folder, side, "", captured)
