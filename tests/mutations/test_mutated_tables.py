"""Spoilt label files, tables and settings: each is refused by name, or read as a person would read it."""

import csv
import json
import math
import random
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from support import CITIES, IDS, LABELS_LIST, label_line, write_csv
from trials import Trial, decoded, spoil_table, survey

from cityguessr.base.tables import read_json
from cityguessr.data.cityguessr68k import ReleaseSource
from cityguessr.data.folder import FolderSource
from cityguessr.data.mapillary import MapillarySource
from cityguessr.data.places365 import read_hierarchy
from cityguessr.data.sources import ClipRef
from cityguessr.notebooks.parameters import read_parameters
from cityguessr.taxonomy import LEVELS, Taxonomy

FRAMES = 8


def clips(split: str) -> list[tuple[str, str]]:
    """City and clip of every line of a split."""
    return [(city, f"{city}_{k:04d}") for city in CITIES for k in (range(3) if split == "train" else [3])]


def labels(split: str, width: int) -> str:
    """A label file of 5, 21 or 533 fields."""
    rng, lines = random.Random(width), []
    for city, clip in clips(split):
        scenes = [round(rng.random(), 4) for _ in range(16 if width > 5 else 0)]
        text = [round(rng.uniform(-1, 1), 5) for _ in range(512 if width > 21 else 0)]
        lines.append(label_line(clip, IDS[city], scenes, text))
    return "\n".join(lines) + "\n"


def release(root: Path, width: int = 5, tables: bool = False) -> Path:
    """A release without frames, which no list looks for."""
    root.mkdir(parents=True)
    (root / "labels_list.csv").write_text(LABELS_LIST)
    for split in ("train", "val"):
        (root / f"{split}_labels.txt").write_text(labels(split, width))
    if tables:
        names = [(split, clip) for split in ("train", "val") for _, clip in clips(split)]
        by_frame = [(clip, n) for _, clip in names for n in range(1, FRAMES + 1)]
        write_csv(
            root / "clips.csv", ["clip", "video", "first_frame", "split"], [[c, f"v_{c}", 0, s] for s, c in names]
        )
        write_csv(root / "frame_scenes.csv", ["clip", "frame", "scene"], [[c, n, n % 16] for c, n in by_frame])
        write_csv(root / "gps.csv", ["clip", "frame", "lat", "lon"], [[c, n, 48 + n / 100, 2.3] for c, n in by_frame])
        (root / "world.json").write_text(json.dumps({"name": "tiny", "synthetic": True}))
    return root


def test_labels(tmp_path: Path) -> None:
    def spoil(rng: random.Random, folder: Path) -> Trial:
        width = rng.choice((5, 5, 21, 21, 533))
        root = release(folder / "world", width)
        split = rng.choice(("train", "val"))
        path = root / f"{split}_labels.txt"
        done, content = spoil_table(path.read_text(), rng)
        path.write_bytes(content)

        def wrong(source: ReleaseSource) -> str | None:
            refs = [clip for clip in source.clips() if clip.split == split]
            others = [clip for clip in source.clips() if clip.split != split]
            if len(others) != len(clips("val" if split == "train" else "train")):
                return f"{len(others)} clips in the other split"
            expected = people_read(content)
            if len(refs) != len(expected):
                return f"{len(refs)} clips of {len(expected)} lines"
            for clip, (name, ids, scenes) in zip(refs, expected, strict=True):
                if clip.clip_id.rsplit("/", 1)[-1] != name.rsplit("/", 1)[-1] or clip.labels != ids:
                    return f"{clip.clip_id} {clip.labels}, where the line says {name} {ids}"
                if (clip.clip_scenes is None) != (not scenes) or clip.frame_scenes is not None:
                    return f"{clip.clip_id} has scenes {clip.clip_scenes}"
                if scenes and not (
                    np.array_equal(clip.clip_scenes, np.float32(scenes)) and min(scenes) >= 0 < sum(scenes)
                ):
                    return f"{clip.clip_id} has scenes {clip.clip_scenes}, where the line says {scenes}"
            return of_the_tree(source)

        return Trial(f"{width} fields, {split}, {done}", (str(path),), lambda: ReleaseSource(root), wrong)

    survey("labels", 90, spoil, tmp_path)


def people_read(content: bytes) -> list[tuple[str, tuple[int, ...], list[float]]]:
    """Clip, ids and scenes of every line of a label file."""
    lines = []
    for line in decoded(content).split("\n"):
        if line.strip(" ,"):
            name, *rest = (field.strip() for field in line.strip().rstrip(",").split(","))
            lines.append((name, tuple(map(int, rest[:4])), [float(field) for field in rest[4:][-16:]]))
    return lines


def of_the_tree(source: Any) -> str | None:
    """What is wrong with clips that are no part of their source's tree, or lie nowhere on Earth."""
    tree: Taxonomy = source.taxonomy
    seen = set()
    for clip in source.clips():
        city, *above = clip.labels
        if not 0 <= city < tree.size("city") or above != [int(tree.ancestors[level][city]) for level in LEVELS[1:]]:
            return f"{clip.clip_id} {clip.labels} is no path in the tree"
        if clip.clip_id in seen or not clip.clip_id or clip.split not in ("train", "val"):
            return f"the clip {clip.clip_id!r} in {clip.split!r}"
        seen.add(clip.clip_id)
        if said := wrong_frames(clip):
            return said
    return None


def wrong_frames(clip: ClipRef) -> str | None:
    if clip.gps is not None:
        lat, lon = clip.gps[:, 0], clip.gps[:, 1]
        if not ((np.isnan(lat) == np.isnan(lon)).all() and np.nanmax(abs(lat)) <= 90 and np.nanmax(abs(lon)) <= 180):
            return f"{clip.clip_id} at {clip.gps.tolist()}"
    if clip.frame_scenes is not None and not (clip.frame_scenes.min() >= -1 and clip.frame_scenes.max() < 16):
        return f"{clip.clip_id} has scenes {clip.frame_scenes.tolist()}"
    return None


def fields(content: bytes, lower: bool = True) -> list[dict[str, str]]:
    """The rows of a table as a spreadsheet shows them."""
    lines = [line for line in decoded(content).split("\n") if line.strip(' ,;\t"\ufeff')]
    delimiter = max(",;\t", key=lines[0].count)
    rows = [
        [field.strip().strip("\ufeff\u200b").strip() for field in row] for row in csv.reader(lines, delimiter=delimiter)
    ]
    names = ["_".join(name.lower().split()) for name in rows[0]]
    return [dict(zip(names, row, strict=False)) for row in rows[1:] if any(row)]


# --- the tables, their readers, and what a right value is -------------------------------------------------------------


@dataclass(frozen=True)
class Table:
    """One kind of file: how it is made in a folder, how it is read, and what is wrong with what was read."""

    file: str
    make: Callable[[Path], object]
    read: Callable[[Path], Any]
    wrong: Callable[[Any, bytes], str | None]


def cities_of(tree: Taxonomy, content: bytes) -> str | None:
    """What is wrong with a tree that was read from a table with one row per city."""
    rows, made = fields(content), tree.rows()
    if len(rows) != len(made):
        return f"{len(made)} cities from {len(rows)} rows"
    of_file = {spelled(row["city"]): row for row in rows}
    for row in made:
        given = of_file.get(spelled(str(row["city"])))
        if given is None or any(spelled(str(row[x])) != spelled(given[x]) for x in ("state", "country", "continent")):
            return f"the city {row}, where the table has {given}"
        if row["lat"] != "" and not (abs(float(row["lat"])) <= 90 and abs(float(row["lon"])) <= 180):
            return f"the city {row['city']} at {row['lat']} {row['lon']}"
    sizes = [tree.size(level) for level in LEVELS]
    parents = [int(tree.parent[level].max()) for level in LEVELS[:-1]]
    return None if all(p < n for p, n in zip(parents, sizes[1:], strict=True)) else f"parents {parents} of {sizes}"


def spelled(name: str) -> str:
    return " ".join(unicodedata.normalize("NFC", name).replace("_", " ").casefold().split())


def by_frame(source: ReleaseSource, content: bytes, column: str) -> str | None:
    """Every number of a table by frame is where it belongs, and nothing else is."""
    if said := of_the_tree(source):
        return said
    given = {(row["clip"], int(row["frame"])): row for row in fields(content)}
    found = 0
    for clip in source.clips():
        values = clip.gps if column == "lat" else clip.frame_scenes
        for n in range(0 if values is None else len(values)):
            if values[n] == -1 if column == "scene" else np.isnan(values[n][0]):
                continue
            found += 1
            row = given.get((clip.clip_id, n))
            said = values[n] if column == "scene" else values[n][0]
            if row is None or not math.isclose(float(row[column].replace(",", ".")), said, rel_tol=1e-6):
                return f"{clip.clip_id}, frame {n}: {said}, where the table has {row}"
    known = {clip.clip_id for clip in source.clips()}
    listed = sum(clip in known for clip, _ in given)
    return None if found == listed else f"{found} frames of {listed} rows"


def videos_of(source: ReleaseSource, content: bytes) -> str | None:
    given = {(row["split"], row["clip"]): row["video"] for row in fields(content)}
    for clip in source.clips():
        if clip.video_id != given.get((clip.split, clip.clip_id), clip.clip_id):
            return f"{clip.clip_id} of {clip.video_id}"
    return of_the_tree(source)


VIDEOS = [
    ("video", "city", "split", "video_id", "lat", "lon"),
    ("a/one.mp4", "Tokyo", "train", "v1", "35.69", "139.69"),
    ("a/two.mp4", "London", "", "v1", "51.5", "-0.12"),
    ("three.mp4", "Abu_Dhabi", "val", "v2", "", ""),
    ("four.mp4", "Lyon", "", "", "45.76", "4.83"),
    ("five.mp4", "Lima", "", "v3", "", ""),
]


def listed_videos(source: FolderSource, content: bytes) -> str | None:
    rows = fields(content)
    if len(rows) != len(source.clips()):
        return f"{len(source.clips())} clips of {len(rows)} rows"
    for clip, row in zip(source.clips(), rows, strict=True):
        city = source.taxonomy
        names = {spelled(city.folders[clip.labels[0]]), spelled(city.names["city"][clip.labels[0]])}
        if spelled(row["city"].split(",")[0].split("/")[-1]) not in names:
            return f"{clip.clip_id} in {names}, where the table has {row}"
        if not Path(clip.path).is_relative_to(source.root) or spelled(Path(clip.path).stem) != spelled(
            Path(row["video"]).stem
        ):
            return f"{clip.path} of {row['video']}"
        if (clip.gps is not None) != bool(row.get("lat")):
            return f"{clip.clip_id} at {clip.gps}, where the table has {row}"
        if row.get("split") and clip.split != row["split"].lower():
            return f"{clip.clip_id} in {clip.split}, where the table has {row}"
        if clip.gps is not None and not math.isclose(clip.gps[0, 0], float(row["lat"].replace(",", "."))):
            return f"{clip.clip_id} at {clip.gps}, where the table has {row}"
    return of_the_tree(source)


def mapillary(root: Path) -> Path:
    """Two sequences of 15 images on either side of two cities, without pictures."""
    for city in ("london", "tokyo"):
        for side in ("query", "database"):
            place = root / "train_val" / city / side
            (place / "images").mkdir(parents=True)
            keys = [(f"{city[0]}{side[0]}{s}_{k:02d}", f"s{city[0]}{s}", k) for s in range(2) for k in range(15)]
            header = ["", "key", "sequence_key", "frame_number"]
            write_csv(place / "seq_info.csv", header, [[i, *row] for i, row in enumerate(keys)])
            rows = [[i, key, 10 + k / 100, 50 + k / 100, 9.5, "2015", False] for i, (key, _, k) in enumerate(keys)]
            write_csv(place / "raw.csv", ["", "key", "lon", "lat", "ca", "captured_at", "pano"], rows)
    return root


def sequences_of(source: MapillarySource, content: bytes) -> str | None:
    if said := of_the_tree(source):
        return said
    rows = fields(content)
    side = {row["key"]: row for row in rows}
    for clip in source.clips():
        if not clip.clip_id.startswith("London_query_"):
            continue
        keys = [name.removesuffix(".jpg") for name in clip.files or ()]
        if "frame_number" in rows[0]:
            column = "sequence_key" if "sequence_key" in rows[0] else "sequence_id"
            numbers = [float(side[key]["frame_number"]) for key in keys]
            if numbers != sorted(set(numbers)) or {side[key][column] for key in keys} != {
                clip.clip_id.split("_", 2)[2]
            }:
                return f"{clip.clip_id} of {keys}, frames {numbers}"
        elif clip.gps is not None:
            for key, (lat, _) in zip(keys, clip.gps, strict=True):
                given = side.get(key, {}).get("lat", "")
                if not np.isnan(lat) and not math.isclose(lat, float(given.replace(",", "."))):
                    return f"{key} at {lat}, where the table has {given}"
    return None


def sheet(path: Path) -> None:
    """The sheet of 365 categories and 16 scenes, every category in one scene."""
    from cityguessr.data.places365 import categories

    rows: Iterable[list[object]] = (
        [f"'{name}'", 1, 0, 0, *(int(k == i % 16) for k in range(16))] for i, name in enumerate(categories())
    )
    write_csv(path, ["category", *["level 1"] * 3, *["level 2"] * 16], [["", *map(str, range(19))], *rows])


def one_scene_at_least(table: np.ndarray, content: bytes) -> str | None:
    if table.shape != (365, 16) or not set(np.unique(table)) <= {0.0, 1.0} or not table.any(axis=1).all():
        return f"a table {table.shape} of {np.unique(table)[:5]}"
    return None


PARAMETERS = """# a profile
profile: mini
seeds: [0, 1, 2]
size: 32
share: 0.25
text: "a, b"
data_root: null
allow_downloads: false
"""


def settings(values: dict[str, Any], content: bytes) -> str | None:
    """Every value is one that its line says, in plain digits or words."""
    text = decoded(content).casefold()
    for name, value in values.items():
        if not isinstance(name, str) or name.casefold() not in text:
            return f"the name {name!r}"
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, bool) or part is None:
                continue
            if isinstance(part, float) and not math.isfinite(part):
                return f"{name} is {part}"
            if isinstance(part, int | float) and f"{part:g}".casefold() not in text and str(part) not in text:
                return f"{name} is {part}, which is not in the file"
    return None


def plain_json(value: dict[str, Any], content: bytes) -> str | None:
    return None if value == json.loads(decoded(content)) and "NaN" not in repr(value) else f"{value}"


def from_builtin(path: Path) -> None:
    full = Taxonomy.cityguessr68k()
    full.subset(["London", "Lyon", "Tokyo", "Lima", "Abu_Dhabi"]).to_csv(path)


def of_release(name: str) -> tuple[str, Callable[[Path], object], Callable[[Path], Any]]:
    return f"world/{name}", lambda path: release(path.parent, tables=True), lambda path: ReleaseSource(path.parent)


def of_mapillary(name: str) -> tuple[str, Callable[[Path], object], Callable[[Path], Any]]:
    place = f"msls/train_val/london/query/{name}"
    return place, lambda path: mapillary(path.parents[3]), lambda path: MapillarySource(path.parents[3])


def table_of_videos(path: Path) -> None:
    (path.parent / "videos").mkdir(parents=True)
    write_csv(path, VIDEOS[0], VIDEOS[1:])


TABLES = {
    "labels_list": Table(
        "labels_list.csv", lambda path: path.write_text(LABELS_LIST), Taxonomy.from_labels_list, cities_of
    ),
    "taxonomy": Table("taxonomy.csv", from_builtin, Taxonomy.from_csv, cities_of),
    "gps": Table(*of_release("gps.csv"), lambda source, content: by_frame(source, content, "lat")),
    "frame_scenes": Table(*of_release("frame_scenes.csv"), lambda source, content: by_frame(source, content, "scene")),
    "clips": Table(*of_release("clips.csv"), videos_of),
    "world": Table(*of_release("world.json"), lambda source, _: of_the_tree(source)),
    "videos": Table(
        "own/labels.csv", table_of_videos, lambda path: FolderSource(path.parent / "videos", path), listed_videos
    ),
    "seq_info": Table(*of_mapillary("seq_info.csv"), sequences_of),
    "raw": Table(*of_mapillary("raw.csv"), sequences_of),
    "sheet": Table("sheet.csv", sheet, read_hierarchy, one_scene_at_least),
    "parameters": Table("profile.yaml", lambda path: path.write_text(PARAMETERS), read_parameters, settings),
    "json": Table(
        "any.json", lambda path: path.write_text('{"name": "x",\n "numbers": [1, 2.5],\n "deep": {"a": null}}'),
        read_json, plain_json,
    ),
}  # fmt: skip


def test_tables(tmp_path: Path) -> None:
    def spoil(rng: random.Random, folder: Path) -> Trial:
        kind = rng.choice(list(TABLES))
        table = TABLES[kind]
        path = folder / table.file
        table.make(path)
        done, content = spoil_table(path.read_text(), rng, ":" if kind == "parameters" else ",")
        path.write_bytes(content)
        return Trial(
            f"{kind}, {done}", (str(path),), lambda: table.read(path), lambda value: table.wrong(value, content)
        )

    survey("tables", 90, spoil, tmp_path)
