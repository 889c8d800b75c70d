"""What a prepared set says of its clips beside their pictures, made from the source's list without reading a picture.

That is the index with labels, splits, source videos and places, the tree, the list of rejected clips, text features,
and the scenes that the source itself lists. `meta.json`, which names all of it, is written last.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
from safetensors.numpy import save

from cityguessr.base.errors import InputError
from cityguessr.base.files import write_bytes
from cityguessr.data import prepared, scene_tables
from cityguessr.data.prepared import FORMAT, INDEX, INDEX_SCHEMA, REJECTED, SCENE_FOLDER, TAXONOMY, TEXT
from cityguessr.data.shards import Shard
from cityguessr.data.sources import SPLITS, ClipRef
from cityguessr.taxonomy import LEVELS, Taxonomy


@dataclasses.dataclass(frozen=True)
class Kept:
    """A clip that was prepared: what the source says of it, and the numbers of its frames."""

    clip: ClipRef
    numbers: tuple[int | None, ...]


@dataclasses.dataclass(frozen=True)
class Derived:
    """Everything but the shards and the tables of scenes: the files' contents by their names, and `meta.json`.

    Attributes:
        kept: the clips of the index, in its order.
        scene_classes: how many the source lists scenes of.
    """

    files: dict[str, bytes]
    meta: dict[str, Any]
    kept: list[Kept]
    scene_classes: int

    @property
    def table(self) -> str | None:
        """The name of the source's own table of scenes, where it lists any."""
        listed = any(one.clip.frame_scenes is not None or one.clip.clip_scenes is not None for one in self.kept)
        return f"source-{self.scene_classes}" if listed else None

    def scenes(self) -> Iterator[tuple[str, scene_tables.Scenes]]:
        """The rows of that table. Raises InputError, naming the clip, where the scene of a frame is not listed."""
        return ((one.clip.clip_id, _scenes(one, self.scene_classes)) for one in self.kept)

    def is_in(self, meta: dict[str, Any]) -> bool:
        """Whether a set that has `meta` is this one: then nothing is to be written."""
        if any(meta.get(key) != value for key, value in self.meta.items()):
            return False
        name = f"source-{self.scene_classes}"
        known = meta["scenes"].get(name, {}).get("content")
        return known == (None if self.table is None else scene_tables.content(self.scenes(), self.scene_classes))


def derive(
    name: str,
    taxonomy: Taxonomy,
    synthetic: bool,
    clips: Sequence[ClipRef],
    shards: Sequence[tuple[str, Shard, dict[str, Any]]],
    settings: dict[str, Any],
    scene_classes: int,
    text: np.ndarray | None,
) -> Derived:
    """What belongs beside some shards.

    Args:
        shards: file name, footer and `prepared.shard_entry` of each, in order.
        settings: what `meta.json` says of how the set was made.

    Raises InputError where no clip at all could be prepared.
    """
    rejected = [row for _, shard, _ in shards for row in shard.rejected]
    kept = [
        Kept(clips[at], row.numbers)
        for _, shard, _ in shards
        for at, row in zip(shard.positions, shard.rows, strict=True)
    ]
    if not kept:
        raise InputError(f"none of the {len(clips)} clips of {name} could be prepared; the first: {rejected[0][3]}")
    index = _index(kept)
    files = {
        TAXONOMY: taxonomy.csv().encode(),
        REJECTED: _csv([("clip_id", "path", "reason"), *(r[1:] for r in rejected)]),
    }
    buffer = io.BytesIO()
    pq.write_table(index, buffer)
    files[INDEX] = buffer.getvalue()
    if text is not None:
        files[TEXT] = save({"city": text})
    digests = hashlib.sha256("".join(row.digest for _, shard, _ in shards for row in shard.rows).encode())
    labels = index.select(["clip_id", "split", *LEVELS])
    meta = {
        "format": FORMAT,
        **settings,
        "synthetic": bool(synthetic),
        "clips": {"listed": len(clips), "prepared": len(kept), "rejected": len(rejected)},
        "counts": {split: _counts(index, split, taxonomy) for split in SPLITS},
        "shards": [{"file": file, "rows": len(shard.rows), **entry} for file, shard, entry in shards],
        "files": {file: prepared.entry(content) for file, content in files.items()},
        "content": {
            "frames": digests.hexdigest()[:32],
            "labels": _digest(labels),
            "videos": _digest(index.select(["clip_id", "video_id"])),
        },
    }
    return Derived(files, meta, kept, scene_classes)


def write(folder: Path, derived: Derived) -> None:
    """Write everything but the shards, and `meta.json` last; tables of scenes that still fit the frames stay."""
    prepared.unmark(folder)
    for name, content in derived.files.items():
        write_bytes(folder / name, content)
    if TEXT not in derived.files:
        (folder / TEXT).unlink(missing_ok=True)
    ids, of = [one.clip.clip_id for one in derived.kept], derived.meta["content"]["frames"]
    tables = {}
    own = f"source-{derived.scene_classes}"
    for path in sorted((folder / SCENE_FOLDER).glob("*.parquet")):
        if path.stem == own:
            path.unlink()
        elif entry := scene_tables.entry_of(path, ids, of):
            tables[path.stem] = entry
        else:
            path.unlink()
            print(f"{folder.name}: the scene labels {path.stem} were of other frames, and are gone; label them again")
    if derived.table is not None:
        tables[own] = scene_tables.write_table(
            folder, own, derived.scenes(), ids, derived.meta["frames"], derived.scene_classes,
            derived.meta["source"], of,
        )  # fmt: skip
    with contextlib.suppress(OSError):
        (folder / SCENE_FOLDER).rmdir()  # where there is no table
    prepared.write_meta(folder, {**derived.meta, "name": folder.name, "scenes": dict(sorted(tables.items()))})


def _index(kept: Sequence[Kept]) -> pa.Table:
    """The table of `INDEX_SCHEMA`."""
    clips = [one.clip for one in kept]
    columns: dict[str, Any] = {
        name: [getattr(clip, name) for clip in clips] for name in ("clip_id", "video_id", "split")
    }
    for level, ids in zip(LEVELS, zip(*(clip.labels for clip in clips), strict=True), strict=True):
        columns[level] = list(ids)
    columns["gps"] = [_gps(one) for one in kept]
    return pa.table(columns, INDEX_SCHEMA)


def _gps(one: Kept) -> list[dict[str, float]] | None:
    """The place of every frame, or None where one has none."""
    gps, numbers = one.clip.gps, one.numbers
    if gps is None:
        return None
    if len(gps) == 1:
        points = np.repeat(gps, len(numbers), axis=0)
    else:
        points = np.stack([gps[n] if n is not None and n < len(gps) else (np.nan, np.nan) for n in numbers])
    return None if np.isnan(points).any() else [{"lat": float(lat), "lon": float(lon)} for lat, lon in points]


def _scenes(one: Kept, classes: int) -> scene_tables.Scenes:
    """Scene probabilities: one row per frame where frames are labelled, one row where the clip is, or None."""
    listed = one.clip.frame_scenes
    if listed is None:
        scenes = one.clip.clip_scenes
        return None if scenes is None else np.asarray(scenes, dtype=np.float32)[None]
    rows = np.zeros((len(one.numbers), classes), np.float32)
    for row, n in zip(rows, one.numbers, strict=True):
        scene = int(listed[n]) if n is not None and n < len(listed) else -1
        if scene < 0:
            where = f"{one.clip.path or one.clip.clip_id}"
            raise InputError(f"{where}: no scene is listed for frame {n}; add it to the table of scenes")
        if scene >= classes:
            raise InputError(
                f"{one.clip.clip_id}: scene {scene} of frame {n} is not one of 0..{classes - 1}; correct it"
            )
        row[scene] = 1
    return rows


def _counts(index: pa.Table, split: str, taxonomy: Taxonomy) -> dict[str, Any]:
    """How many clips and source videos a split has, and how many clips each class of each level has."""
    rows = index.filter(pa.compute.equal(index["split"], split))
    counts = {"clips": rows.num_rows, "videos": len(rows["video_id"].unique())}
    for level in LEVELS:
        counts[level] = np.bincount(rows[level].to_numpy(), minlength=taxonomy.size(level)).tolist()
    return counts


def _digest(table: pa.Table) -> str:
    return prepared.digest_of(json.dumps(table.to_pydict()).encode())


def _csv(rows: Sequence[Sequence[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
