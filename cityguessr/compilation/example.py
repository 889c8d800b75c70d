"""A folder of long videos as somebody might have it, made of MiniWorld's, for whoever has no camera at hand.

Videos of four cities that the tree knows; of one that it lacks; one with pedestrians, whose faces can be blurred; one
that broke off while it was copied; and a table of places for them.
"""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from cityguessr.base.files import make_folder, write_bytes, write_csv
from cityguessr.faces import crowd
from cityguessr.miniworld import MiniWorld, MiniWorldConfig
from cityguessr.miniworld.plan import VideoPlan
from cityguessr.miniworld.write.cityguessr68k import encode
from cityguessr.miniworld.write.jobs import CHUNK

CITIES = ("Lyon", "Athens", "Berlin", "Vienna")
BORROWED, NEW = "Lisbon", ("Sintra", "Lisbon District", "Portugal", "Europe")
"""MiniWorld has no videos of a city that the tree lacks, as it is drawn down the tree: those of one city are given out
as videos of a small town near it."""

TABLE, FOLDER = "places.csv", "videos"
# The streets of the default world in longer videos, as somebody would have them: of three clips each, at two frames a
# second. (The default's own are as short as its trainings need.)
_LONG = MiniWorldConfig(clips_per_city=10, clips_min=5, clips_per_video=3, clip_source_frames=16, kept_frames=16, fps=2)
_MARKER, _FORMAT = "example.json", 2
_COLUMNS = ("video", "city", "state", "country", "continent", "lat", "lon", "start", "end", "credit")
_FRAMES, _SIZE = 36, (240, 360)  # of the video with pedestrians


def write_example(root: Path) -> tuple[Path, Path]:
    """Write the example below a folder of its own, once.

    Args:
        root: the folder to write; a name from the world's fingerprint is added to it.

    Returns the folder of videos and the table of places.
    """
    world = MiniWorld(_LONG)
    root = make_folder(root.with_name(f"{root.name}-{world.fingerprint[:6]}"))
    videos, table = root / FOLDER, root / TABLE
    marker = json.dumps({"format": _FORMAT, "world": world.fingerprint}).encode()
    if (root / _MARKER).is_file() and (root / _MARKER).read_bytes() == marker:
        return videos, table
    rows = []
    for city in (*CITIES, BORROWED):
        place = NEW if city == BORROWED else (city, "", "", "")
        for video in (video for video in world.videos if video.city == world.taxonomy.city_id(city)):
            name = f"{place[0]}/{video.video_id.replace(city, place[0])}.mp4".lower()
            make_folder((videos / name).parent)
            numbers = torch.arange(video.frames).split(CHUNK)
            pictures = (world.render(video, world.config.height, world.config.width, "cpu", part) for part in numbers)
            _encode(world, pictures, videos / name)
            rows.append((name, *place, "", "", "", "", "MiniWorld"))
    people = _pedestrians(world)
    folder = world.taxonomy.folders[people.city]
    _write_pedestrians(world, people, videos / "people.mp4")
    lat, lon = world.taxonomy.latlon[people.city].tolist()
    rows.append(("people.mp4", folder, "", "", "", f"{lat:.4f}", f"{lon:.4f}", "", "", "MiniWorld, with people"))
    whole = (videos / rows[0][0]).read_bytes()
    write_bytes(videos / "broken_off.mp4", whole[: len(whole) // 2])
    rows.append(("broken_off.mp4", CITIES[0], "", "", "", "", "", "", "", "MiniWorld"))
    write_csv(table, [_COLUMNS, *rows])
    write_bytes(root / _MARKER, marker)
    return videos, table


def _pedestrians(world: MiniWorld) -> VideoPlan:
    """A street of another city in which pedestrians can be seen."""
    others = {world.taxonomy.city_id(city) for city in (*CITIES, BORROWED)}
    fair = [v for v in crowd.streets(world, 12) if v.city not in others and v.frames >= _FRAMES]
    return fair[0]


def _write_pedestrians(world: MiniWorld, video: VideoPlan, path: Path) -> None:
    """A video with other pedestrians in every frame: at two frames a second nobody is seen to walk."""
    height, width = _SIZE
    pictures = [
        crowd.picture(world, video, [k], people=4, widths=(16, 45), seed=k, height=height, width=width)[0][0]
        for k in range(_FRAMES)
    ]
    _encode(world, [torch.from_numpy(np.stack(pictures))], path)


def _encode(world: MiniWorld, pictures: Iterable[torch.Tensor], path: Path) -> None:
    """A video, whole or not at all."""
    partial = path.with_name(f".{path.name}.part")
    encode(pictures, partial, world.config.fps)
    partial.replace(path)
