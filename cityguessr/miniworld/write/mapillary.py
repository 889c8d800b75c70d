"""MiniWorld as a tree of Mapillary Street-Level Sequences.

    root/{train_val,test}/<city>/{query,database}/images/<key>.jpg
    root/{train_val,test}/<city>/{query,database}/seq_info.csv, subtask_index.csv; train_val: raw.csv, postprocessed.csv
    root/scenes.csv, world.json      what only a synthetic world can know

The layout is that of the real data set, so that `cityguessr.data.mapillary` reads both.
"""

import dataclasses
import io
import json
import math
import shutil
from pathlib import Path

import torch

from cityguessr.base.errors import InputError
from cityguessr.data.mapillary import SIDES, cities
from cityguessr.measures.sphere import KM_PER_DEGREE
from cityguessr.miniworld.plan import VideoPlan
from cityguessr.miniworld.write import categories, jobs
from cityguessr.miniworld.write.sequences import VERSION, MapillaryConfig, MapillaryWorld, Sequence

_CHUNK = 64  # frames rendered at a time
_METRES_PER_DEGREE = 1000 * KM_PER_DEGREE


def write_mapillary(
    world: MapillaryWorld | MapillaryConfig, root: str | Path, workers: int = 2, device: str | torch.device = "cpu"
) -> Path:
    """Render the tree of a world, or of a configuration, in `workers` processes; return its folder, `root`.

    A tree that is complete there is left as it is. An interrupted one goes on with the sequences that are missing:
    every file appears under its name only when it is whole, and `world.json` comes last. Neither interruptions nor the
    number of workers change a byte.

    Raises InputError where the folder holds another world, may not be written, or the disk is full.
    """
    world = MapillaryWorld(world) if isinstance(world, MapillaryConfig) else world
    root = Path(root)
    try:
        if jobs.is_complete(world, root / "world.json"):
            return root
        jobs.claim(world, root)
        need, free = world.estimate() - jobs.so_far(root)[1], shutil.disk_usage(root).free
        if need > free:
            raise InputError(
                f"{root}: the sequences take about {need / 1e9:,.1f} GB more and {free / 1e9:,.1f} GB are free; give a "
                "folder on a larger disk"
            )
        for folder, row in cities().items():
            for side in SIDES:
                (root / row["part"] / folder / side / "images").mkdir(parents=True, exist_ok=True)
        start = (MapillaryWorld, (world.config,))
        jobs.work(world, root, _write_sequence, "MiniWorld: Mapillary's sequences", workers, device, start)
        _write_tables(world, root)
        shutil.rmtree(root / jobs.PROGRESS)
    except OSError as error:
        raise jobs.explain(error, world, root) from error
    return root


def _write_sequence(world: MapillaryWorld, video: VideoPlan, root: Path, device: str) -> None:
    from PIL import Image

    sequence = world.sequences[video.video_id]
    images = sequence.place(root) / "images"
    for first in range(0, video.frames, _CHUNK):
        numbers = torch.arange(first, min(first + _CHUNK, video.frames))
        pictures = world.render(sequence, device, numbers).numpy()
        for number, picture in zip(numbers.tolist(), pictures, strict=True):
            content = io.BytesIO()
            Image.fromarray(picture).save(content, "JPEG", quality=world.config.quality)
            jobs.replace_bytes(images / f"{sequence.image_key(number)}.jpg", content.getvalue())


def _write_tables(world: MapillaryWorld, root: Path) -> None:
    """The tables of every side and the scenes, all from the plans; `world.json`, which says that all is there, last."""
    scenes: list[list] = [["key", "scene", "category"]]
    sides: dict[Path, list[Sequence]] = {
        root / row["part"] / folder / side: [] for folder, row in cities().items() for side in SIDES
    }
    for sequence in world.sequences.values():
        sides[sequence.place(root)].append(sequence)
    for place, sequences in sides.items():
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
        for sequence in sequences:
            _list_sequence(world, sequence, tables)
        for name, rows in tables.items():
            numbered = [["", *rows[0]], *([number, *row] for number, row in enumerate(rows[1:]))]
            jobs.replace_text(place / f"{name}.csv", jobs.csv_text(numbered))
    for sequence in world.sequences.values():
        video = sequence.video
        finer = categories.of_frames(video, world.world.effects.style(video.city)).tolist()
        both = zip(video.scenes.tolist(), finer, strict=True)
        scenes += [[sequence.image_key(frame), kind, category] for frame, (kind, category) in enumerate(both)]
    jobs.replace_text(root / "scenes.csv", jobs.csv_text(scenes))
    about = {
        "name": "MiniWorld Mapillary",
        "synthetic": True,
        "version": VERSION,
        "fingerprint": world.fingerprint,
        "seed": world.config.seed,
        "config": dataclasses.asdict(world.config),
        "sequences": len(world.sequences),
        "images": len(scenes) - 1,
    }
    jobs.replace_text(root / "world.json", json.dumps(about, indent=2) + "\n")


def _list_sequence(world: MapillaryWorld, sequence: Sequence, tables: dict[str, list[list]]) -> None:
    """Add the lines of a sequence to the tables of its side; eastings and northings count from the city's centre."""
    video = sequence.video
    night = not 6 <= video.hour < 19
    centre = world.taxonomy.latlon[video.city].tolist()
    narrow = math.cos(math.radians(centre[0]))
    for frame, (lat, lon) in enumerate(video.gps.tolist()):
        key = sequence.image_key(frame)
        tables["seq_info"].append([key, video.video_id, frame])
        at_night = night and sequence.side == "query"
        tables["subtask_index"].append([True, False, False, False, False, at_night, not at_night])
        if "raw" not in tables:
            continue
        east, north = (lon - centre[1]) * _METRES_PER_DEGREE * narrow, (lat - centre[0]) * _METRES_PER_DEGREE
        cluster = (round(east / 25) + 2**15) * 2**16 + round(north / 25) + 2**15  # squares of 25 metres
        where = [f"{lon:.7f}", f"{lat:.7f}", f"{video.heading:.2f}", sequence.captured.isoformat(), False]
        tables["raw"].append([key, *where])
        tables["postprocessed"].append([key, f"{east:.3f}", f"{north:.3f}", cluster, night, False, "Forward"])
