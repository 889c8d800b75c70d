"""MiniWorld as a tree of Mapillary Street-Level Sequences.

    root/{train_val,test}/<city>/{query,database}/images/<key>.jpg
    root/{train_val,test}/<city>/{query,database}/seq_info.csv, subtask_index.csv; train_val: raw.csv, postprocessed.csv
    root/scenes.csv, world.json      what only a synthetic world can know

The layout is that of the real data set, so that `cityguessr.data.mapillary` reads both.
"""

import math
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from cityguessr.base.files import make_folder, write_csv
from cityguessr.data.mapillary import SIDES, cities
from cityguessr.measures.sphere import KM_PER_DEGREE
from cityguessr.miniworld.plan import VideoPlan
from cityguessr.miniworld.write import categories, jobs
from cityguessr.miniworld.write.sequences import VERSION, MapillaryConfig, MapillaryWorld, Sequence
from cityguessr.miniworld.write.track_world import TrackWorld

_METRES_PER_DEGREE = 1000 * KM_PER_DEGREE


def write_mapillary(
    world: MapillaryWorld | MapillaryConfig,
    root: str | Path,
    workers: int | None = None,
    device: str | torch.device = "cpu",
) -> Path:
    """Render a world, or the world of a configuration, as a Mapillary tree in `workers` processes.

    A tree that is complete there is left as it is. An interrupted one goes on with the sequences that are missing:
    every file appears under its name only when it is whole, and `world.json` comes last. Neither interruptions nor the
    number of workers change a byte.

    Returns the folder of the tree, `root`. Raises InputError where the folder holds another world or may not be
    written, and where the disk is full.
    """
    world = MapillaryWorld(world) if isinstance(world, MapillaryConfig) else world
    places = {folder: row["part"] for folder, row in cities().items()}
    about = Tree("MiniWorld Mapillary", "MiniWorld: Mapillary's sequences", VERSION)
    return write_tree(world, Path(root), places, about, lambda sequence: _label(world, sequence), workers, device)


class Tree(NamedTuple):
    """What a tree is called in its `world.json` and while it is written, and the version of what writes it."""

    name: str
    progress: str
    version: int


def write_tree(
    world: MapillaryWorld | TrackWorld,
    root: Path,
    places: Mapping[str, str],
    about: Tree,
    label: Callable[[Sequence], Tensor],
    workers: int | None,
    device: str | torch.device,
) -> Path:
    """Write the sequences of a world as a Mapillary tree; see `write_mapillary`. Returns its folder.

    Args:
        places: folder of a city -> "train_val" or "test".
        label: the category of every frame of a sequence.
    """
    marker = root / "world.json"
    with jobs.writing(world, root, marker) as unfinished:
        if unfinished:
            for folder, part in places.items():
                for side in SIDES:
                    make_folder(root / part / folder / side / "images")
            start = (type(world), (world.config,))
            jobs.work(world, root, write_sequence, about.progress, workers, device, start)
            write_tables(world, list(places), root, label)
            images, sequences = sum(video.frames for video in world.videos), len(world.sequences)
            jobs.write_marker(world, marker, about.name, about.version, sequences=sequences, images=images)
    return root


def write_sequence(world: MapillaryWorld | TrackWorld, video: VideoPlan, root: Path, device: str) -> None:
    """Render a sequence and write its images, each whole or not at all."""
    sequence = world.sequences[video.video_id]
    images = sequence.place(root) / "images"
    for numbers in torch.arange(video.frames).split(jobs.CHUNK):
        pictures = world.render(sequence, device, numbers).numpy()
        for number, picture in zip(numbers.tolist(), pictures, strict=True):
            path = images / f"{sequence.image_key(number)}.jpg"
            partial = path.with_name(f".{path.name}.part")
            partial.write_bytes(jobs.as_jpeg(picture, world.config.quality))
            partial.replace(path)


def _label(world: MapillaryWorld, sequence: Sequence) -> Tensor:
    return categories.label_frames(sequence.video, world.world.effects.style(sequence.video.city))


def write_tables(
    world: MapillaryWorld | TrackWorld, folders: Collection[str], root: Path, label: Callable[[Sequence], Tensor]
) -> None:
    """The tables of every side of some cities, and the scenes, all from the plans.

    Args:
        label: gives the category of every frame of a sequence, see `categories`.
    """
    sides: dict[Path, list[Sequence]] = {
        root / cities()[folder]["part"] / folder / side: [] for folder in folders for side in SIDES
    }
    scenes: list[list] = [["key", "scene", "category"]]
    for sequence in world.sequences.values():
        sides[sequence.place(root)].append(sequence)
        labels = zip(sequence.video.scenes.tolist(), label(sequence).tolist(), strict=True)
        scenes += [[sequence.image_key(frame), kind, category] for frame, (kind, category) in enumerate(labels)]
    write_csv(root / "scenes.csv", scenes)
    for place, members in sides.items():
        # The test part spells the column otherwise, and keeps its places to itself.
        test = place.parts[-3] == "test"
        tables: dict[str, list[list]] = {
            "seq_info": [["key", "sequence_id" if test else "sequence_key", "frame_number"]],
            "subtask_index": [["all", "s2w", "w2s", "o2n", "n2o", "d2n", "n2d"]],
        }
        if not test:
            tables["raw"] = [["key", "lon", "lat", "ca", "captured_at", "pano"]]
            tables["postprocessed"] = [
                ["key", "easting", "northing", "unique_cluster", "night", "control_panel", "view_direction"]
            ]
        for sequence in members:
            _list_sequence(sequence, world.taxonomy.latlon[sequence.video.city].tolist(), tables)
        for name, (header, *rows) in tables.items():
            write_csv(place / f"{name}.csv", [["", *header], *([number, *row] for number, row in enumerate(rows))])


def _list_sequence(sequence: Sequence, centre: list[float], tables: dict[str, list[list]]) -> None:
    """Add the lines of a sequence to the tables of its side; eastings and northings count from the city's centre."""
    video = sequence.video
    night = not 6 <= video.hour < 19
    narrow = math.cos(math.radians(centre[0]))
    for frame, ((lat, lon), heading) in enumerate(zip(video.gps.tolist(), video.headings.tolist(), strict=True)):
        key = sequence.image_key(frame)
        tables["seq_info"].append([key, video.video_id, frame])
        at_night = night and sequence.side == "query"
        tables["subtask_index"].append([True, False, False, False, False, at_night, not at_night])
        if "raw" not in tables:
            continue
        east, north = (lon - centre[1]) * _METRES_PER_DEGREE * narrow, (lat - centre[0]) * _METRES_PER_DEGREE
        cluster = (round(east / 25) + 2**15) * 2**16 + round(north / 25) + 2**15  # squares of 25 metres
        where = [f"{lon:.7f}", f"{lat:.7f}", f"{heading:.2f}", sequence.captured.isoformat(), False]
        tables["raw"].append([key, *where])
        tables["postprocessed"].append([key, f"{east:.3f}", f"{north:.3f}", cluster, night, False, "Forward"])
