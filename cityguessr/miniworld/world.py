"""MiniWorld, the embedded data set: a synthetic world of street videos on the real tree of cities."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import json
import math
import threading
from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from cityguessr.base import threads
from cityguessr.base.errors import InputError
from cityguessr.miniworld import noise, plan
from cityguessr.miniworld.plan import Clip, VideoPlan
from cityguessr.miniworld.render import layout, renderer
from cityguessr.miniworld.render.camera import Camera, place_camera
from cityguessr.miniworld.style import Effects
from cityguessr.miniworld.tiles.atlas import Atlas, bake
from cityguessr.taxonomy import LEVELS, Taxonomy

_GPU_TEXTURES = 3_500_000_000  # bytes of a GPU's memory that textures may take
VERSION = 6  # part of a world's fingerprint: raise it when the same configuration would give other files


@dataclasses.dataclass(frozen=True)
class MiniWorldConfig:
    """How large a world is; `mini()` and `paper_scale()` are the two that the project uses.

    Attributes:
        seed: of everything drawn at random.
        clips_per_city: mean number of clips per city.
        clips_min: fewest clips of a city; four videos' worth or more keep every class in training and among the clips
            of either kind that are held out.
        inequality: Gini index of the number of clips over cities (0.36 in the real data, supplement, Fig. S4).
        clips_per_video: about how many clips one source video gives.
        seen, unseen: shares of a city's clips that are held out for validation: single clips of videos that training
            has other clips of, as the paper splits (section 5.1), and whole videos, which training knows nothing of.
        clip_source_frames, kept_frames: a clip's length in the video, and how many of these frames are kept
            (paper, section 3: 800-900 and 100).
        height, width: of the videos and the kept frames in pixels, even numbers (H.264 in yuv420p).
        fps: frames per second of the videos.
        samples: rays per pixel along each side; quality: JPEG quality of the kept frames.
    """

    seed: int = 0
    clips_per_city: float = 21.0
    clips_min: int = 10
    inequality: float = 0.36
    clips_per_video: int = 2
    seen: float = 0.2
    unseen: float = 0.2
    clip_source_frames: int = 8
    kept_frames: int = 8
    height: int = 64
    width: int = 96
    fps: int = 1
    samples: int = 1
    quality: int = 90

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            if getattr(self, name) < 16 or getattr(self, name) % 2:
                raise InputError(
                    f"MiniWorldConfig: {name}={getattr(self, name)}; H.264 needs an even number of pixels, 16 at least"
                )
        for name in ("clips_min", "clips_per_video", "clip_source_frames", "kept_frames", "fps", "samples"):
            if getattr(self, name) < 1:
                raise InputError(f"MiniWorldConfig: {name}={getattr(self, name)} must be 1 or more")
        if self.clips_per_city < self.clips_min:
            raise InputError(
                f"MiniWorldConfig: clips_per_city={self.clips_per_city} is below clips_min={self.clips_min}; raise it"
            )
        if self.kept_frames > self.clip_source_frames:
            raise InputError(
                f"MiniWorldConfig: kept_frames={self.kept_frames} of clip_source_frames={self.clip_source_frames}; "
                "a clip cannot keep more frames than it has"
            )
        if not 0 <= self.inequality < 1:
            raise InputError(f"MiniWorldConfig: inequality={self.inequality} must lie in [0, 1)")
        if not (self.seen >= 0 and self.unseen >= 0 and 0 < self.seen + self.unseen < 1):
            raise InputError(
                f"MiniWorldConfig: seen={self.seen}, unseen={self.unseen}; what is held out is a share between 0 and 1 "
                "of all clips"
            )

    @classmethod
    def mini(cls, seed: int = 0) -> MiniWorldConfig:
        """The default of the offline run: about 3,500 clips of 8 frames at 96 x 64, a frame a second.

        A city has about ten source videos of two clips each, two of which are held out whole.
        """
        return cls(seed=seed)

    @classmethod
    def midi(cls, seed: int = 0) -> MiniWorldConfig:
        """The same cities with three times as many source videos: about 10,500 clips."""
        return cls(seed=seed, clips_per_city=63.0, clips_min=30)

    @classmethod
    def paper_scale(cls, seed: int = 0) -> MiniWorldConfig:
        """The paper's sizes: about 68,000 clips of 850 frames, 100 kept, at 1280 x 720, a fifth of them held out.

        Its videos and frames take well over a terabyte; `write_prepared` renders what training reads of them alone.
        """
        return cls(
            seed=seed, clips_per_city=68269 / 166, clips_per_video=30, seen=0.1, unseen=0.1, clip_source_frames=850,
            kept_frames=100, height=720, width=1280, fps=30, samples=2,
        )  # fmt: skip


class MiniWorld:
    """A synthetic world: its plans of videos, and their pictures.

    Attributes:
        config, taxonomy: what it was made from.
        effects: the random effects of the tree, see `style.Effects`.
        videos: the plan of every source video, city by city.
        fingerprint: twelve hexadecimal digits of everything that decides its pictures.
    """

    def __init__(self, config: MiniWorldConfig | None = None, taxonomy: Taxonomy | None = None) -> None:
        self.config = config or MiniWorldConfig.mini()
        self.taxonomy = taxonomy or Taxonomy.cityguessr68k()
        self.effects = Effects(self.taxonomy, self.config.seed)
        self.videos: tuple[VideoPlan, ...] = tuple(self._plans())
        names = [list(self.taxonomy.names[level]) for level in LEVELS]
        what = json.dumps([VERSION, dataclasses.asdict(self.config), names], sort_keys=True)
        self.fingerprint = hashlib.sha256(what.encode()).hexdigest()[:12]
        self._atlases: dict[tuple[int, int, str], Atlas] = {}
        self._streets = threading.local()
        self._lock = threading.Lock()

    def clip_counts(self) -> list[int]:
        """Clips of every city by id: a Weibull distribution above the minimum, of the Gini index the config asks for.

        The counts are dealt to the cities in an order drawn from the seed, so that the size of the world hardly
        depends on the seed while the rich and the poor cities do.
        """
        config, n = self.config, self.taxonomy.size("city")
        excess = config.clips_per_city - config.clips_min
        if not excess or not config.inequality:
            return [round(config.clips_per_city)] * n
        # A minimum m and an excess of mean e and Gini index g have a Gini index of g e / (m + e) together; that of a
        # Weibull distribution of shape k is 1 - 2**(-1 / k).
        gini = min(config.inequality * config.clips_per_city / excess, 0.9)
        counts = weibull_counts(n, config.clips_per_city, config.clips_min, -math.log2(1 - gini))
        order = noise.uniform(noise.key(config.seed, "sizes"), torch.arange(n)).argsort().tolist()
        return [count for _, count in sorted(zip(order, counts, strict=True))]

    def _plans(self) -> list[VideoPlan]:
        config, plans = self.config, []
        for city, count in enumerate(self.clip_counts()):
            style, folder = self.effects.style(city), self.taxonomy.folders[city]
            centre = tuple(self.taxonomy.latlon[city].tolist())
            videos = max(2, round(count / config.clips_per_video)) if count > 1 else 1
            bounds = [count * number // videos for number in range(videos + 1)]
            spans = list(enumerate(itertools.pairwise(bounds)))
            owners = [number for number, (first, end) in spans for _ in range(first, end)]
            held_out = _held_out(owners, config, noise.key(config.seed, "split", folder))
            for number, (first, end) in spans:
                clips = tuple(
                    Clip(
                        f"{folder}_{clip:04d}",
                        "val" if clip in held_out else "train",
                        (clip - first) * config.clip_source_frames,
                    )
                    for clip in range(first, end)
                )
                if clips:
                    frames = len(clips) * config.clip_source_frames
                    seconds = config.clip_source_frames / config.fps
                    name = f"{folder}_v{number}"
                    plans.append(plan.make(style, name, clips, frames, config.fps, seconds, centre, config.seed))
        return plans

    def estimate(self) -> int:
        """Bytes that the world takes on disk, roughly: a third of a byte per pixel for JPEG, a twentieth for H.264."""
        pixels = self.config.height * self.config.width
        clips = sum(len(video.clips) for video in self.videos)
        frames = sum(video.frames for video in self.videos)
        return int(clips * self.config.kept_frames * (pixels * 0.33 + 600) + frames * pixels * 0.05)

    def find(self, clip_id: str) -> tuple[VideoPlan, Clip] | None:
        """The source video of a clip, and the clip's place in it; None where the world has no clip of that id."""
        return self._clips.get(clip_id)

    @functools.cached_property
    def _clips(self) -> dict[str, tuple[VideoPlan, Clip]]:
        return {clip.clip_id: (video, clip) for video in self.videos for clip in video.clips}

    def kept_frames(self, clip: Clip) -> list[int]:
        """Numbers in the source video of the frames kept of a clip, evenly spread (paper, section 3)."""
        length, kept = self.config.clip_source_frames, self.config.kept_frames
        return [clip.first_frame + i * length // kept for i in range(kept)]

    def frame_of(self, clip_id: str, at: float) -> tuple[VideoPlan, int] | None:
        """The kept frame of a clip nearest to a place in it, from 0 (its first) to 1 (its last); the later of two.

        Returns the source video and the number of the frame in it; None where the world has no clip of that id.
        """
        if (place := self.find(clip_id)) is None:
            return None
        video, clip = place
        numbers = self.kept_frames(clip)
        return video, numbers[int(at * (len(numbers) - 1) + 0.5)]

    def render(
        self,
        video: VideoPlan,
        height: int,
        width: int,
        device: str | torch.device = "cpu",
        frames: Sequence[int] | Tensor | None = None,
        samples: int | None = None,
        field: tuple[int, int] | None = None,
        apart: bool = False,
    ) -> Tensor:
        """Pictures of a video at any size: uint8 (T, height, width, 3) on the CPU, the same bytes for the same seed.

        Args:
            frames: numbers of the frames wanted; all of them by default.
            samples: rays per pixel along each side; the config's by default. 2 or 3 suit a figure.
            field: height and width of the picture whose field of view is shown, squeezed into this one's shape as
                `data.pictures.resize` does it; by default this one's own.
            apart: let no picture depend on which others are rendered with it, see `renderer.render`.
        """
        numbers = torch.arange(video.frames) if frames is None else torch.as_tensor(frames, dtype=torch.int64)
        style, samples = self.effects.style(video.city), samples or self.config.samples
        with torch.inference_mode():  # of textures and streets as well: thousands of small operations
            atlas = self._atlas(video.city, layout.tile_size(height), str(device))
            street = self._street(video, str(device))
            pictures = renderer.render(video, style, street, atlas, numbers, height, width, samples, field, apart)
        return pictures.cpu()

    def camera(self, video: VideoPlan, frame: int) -> Camera[float]:
        """Where the camera is in a frame of a video, and where it looks."""
        return Camera(*(float(value) for value in place_camera(video, torch.tensor([frame]))))

    def _street(self, video: VideoPlan, device: str) -> layout.Layout:
        # A long video is rendered piece by piece: keep the last street of each worker.
        kept = self._streets
        if getattr(kept, "key", None) != (video, device):
            street = layout.build(video, self.effects.style(video.city))
            kept.key, kept.value = (video, device), street.to(device)
        return kept.value

    def _atlas(self, city: int, size: int, device: str) -> Atlas:
        # The textures of the few cities in work; an atlas of 64-texel tiles takes 27 MB, of 256-texel tiles 425 MB.
        key = (city, size, device)
        with self._lock:
            if key in self._atlases:
                return self._atlases[key]
        with threads.limited(1):  # tiles are thousands of small arrays
            atlas = bake(self.effects.style(city), size, device)
        # A GPU draws so fast that the baking counts: there the small world's textures all stay.
        kept = 2 if device == "cpu" else max(2, _GPU_TEXTURES // atlas.image.nbytes)
        with self._lock:
            while len(self._atlases) >= kept:
                self._atlases.pop(next(iter(self._atlases)))
            self._atlases[key] = atlas
        return atlas

    def contact_sheet(
        self,
        cities: Sequence[str | int] | None = None,
        height: int = 270,
        width: int = 480,
        count: int = 24,
        seed: int = 0,
    ) -> tuple[list[int], Tensor]:
        """One picture of each of some cities: their ids, and uint8 (count, height, width, 3).

        Without `cities`, `count` of them are drawn by the seed, as many from each continent as it has. The video
        and the frame are drawn by the seed too, never chosen by hand.
        """
        if cities is None:
            chosen = self._draw_cities(count, seed)
        else:
            chosen = [c if isinstance(c, int) else self.taxonomy.city_id(c) for c in cities]
        pictures = []
        for city in chosen:
            videos = [video for video in self.videos if video.city == city]
            draw = noise.key(self.config.seed, "sheet", seed, self.taxonomy.folders[city])
            video = videos[draw % len(videos)]
            frame = (draw // 97) % video.frames
            pictures.append(self.render(video, height, width, frames=[frame], samples=2)[0])
        return chosen, torch.stack(pictures)

    def _draw_cities(self, count: int, seed: int) -> list[int]:
        """Cities drawn at random, from the continents in turn."""
        order = noise.uniform(noise.key(self.config.seed, "sheet", seed), torch.arange(self.taxonomy.size("city")))
        continent, drawn = self.taxonomy.ancestors["continent"].tolist(), Counter()
        rounds = []
        for city in order.argsort().tolist():
            drawn[continent[city]] += 1
            rounds.append((drawn[continent[city]], city))
        return [city for _, city in sorted(rounds, key=lambda turn: turn[0])[:count]]


def weibull_counts(n: int, mean: float, least: int, stretch: float) -> list[int]:
    """`n` counts of about this mean and at least `least`: quantiles of a Weibull distribution of shape 1 / stretch."""
    quantiles = [(-math.log(1 - (i + 0.5) / n)) ** stretch for i in range(n)]
    scale = (mean - least) * n / sum(quantiles)
    return [least + round(scale * quantile) for quantile in quantiles]


def _held_out(videos: Sequence[int], config: MiniWorldConfig, key: int) -> set[int]:
    """Which clips of a city are held out, by the source video of each of them, numbers from 0 in order.

    Whole videos first, in an order drawn by `key`, until the share of unseen clips is reached as nearly as whole
    videos can; then single clips of the others. A video that is not held out keeps a clip in training.
    """
    count = Counter(videos)
    order = noise.uniform(key, torch.arange(len(videos))).argsort().tolist()
    draw = list(dict.fromkeys(videos[clip] for clip in order))  # videos in the order in which their clips are drawn
    whole: set[int] = set()
    for video in draw[: len(draw) - 1]:
        taken = sum(count[other] for other in whole)
        wanted = config.unseen * len(videos)
        if abs(taken + count[video] - wanted) < abs(taken - wanted) or (wanted and not whole and len(draw) > 2):
            whole.add(video)
    held = {clip for clip, video in enumerate(videos) if video in whole}
    left = Counter({video: number for video, number in count.items() if video not in whole})
    wanted = max(1, round(config.seen * len(videos))) if config.seen and not (whole and len(videos) < 4) else 0
    for clip in order:
        if wanted and clip not in held and left[videos[clip]] > 1:
            held.add(clip)
            left[videos[clip]] -= 1
            wanted -= 1
    return held
