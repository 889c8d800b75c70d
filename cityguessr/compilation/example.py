"""A folder of long videos as somebody might have it, made of MiniWorld's, for whoever has no camera at hand.

Videos of four cities that the tree knows; of one that it lacks; one with pedestrians, whose faces can be blurred; one
that broke off while it was copied; and a table of places for them.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import torch

from cityguessr.base.files import make_folder, write_bytes, write_csv
from cityguessr.faces import crowd
from cityguessr.miniworld import MiniWorld
from cityguessr.miniworld.plan import VideoPlan
from cityguessr.miniworld.write.cityguessr68k import encode

CITIES = ("Lyon", "Athens", "Berlin", "Vienna")
BORROWED, NEW = "Lisbon", ("Sintra", "Lisbon District", "Portugal", "Europe")
"""MiniWorld has no videos of a city that the tree lacks, as it is drawn down the tree: those of one city are given out
as videos of a small town near it."""

TABLE, FOLDER = "places.csv", "videos"
_MARKER, _FORMAT = "example.json", 1
_COLUMNS = ("video", "city", "state", "country", "continent", "lat", "lon", "start", "end", "credit")
_FRAMES, _SIZE = 36, (240, 360)  # of the video with pedestrians


def write_example(world_root: Path, root: Path, world: MiniWorld | None = None) -> tuple[Path, Path]:
    """Write the example below a folder of its own, once.

    Args:
        world_root: the folder of a small MiniWorld, with `videos/` in it.
        root: the folder to write; a name from the world's fingerprint is added to it.

    Returns the folder of videos and the table of places.
    """
    world = world or MiniWorld()
    root = make_folder(root.with_name(f"{root.name}-{world.fingerprint[:6]}"))
    videos, table = root / FOLDER, root / TABLE
    marker = json.dumps({"format": _FORMAT, "world": world.fingerprint}).encode()
    if (root / _MARKER).is_file() and (root / _MARKER).read_bytes() == marker:
        return videos, table
    rows = []
    for city in (*CITIES, BORROWED):
        place = NEW if city == BORROWED else (city, "", "", "")
        for file in sorted((world_root / "videos" / city).glob("*.mp4")):
            name = f"{place[0].lower()}/{file.name.replace(city, place[0]).lower()}"
            make_folder((videos / name).parent)
            shutil.copyfile(file, videos / name)
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
    partial = path.with_name(f".{path.name}.part")
    encode([torch.from_numpy(np.stack(pictures))], partial, world.config.fps)
    partial.replace(path)
