"""The files of a prepared set, and the checks that they are whole and the ones that were written.

A prepared set is a folder:

    clips-00000.parquet ...       the pictures, one row per clip (`data.shards`)
    index.parquet                 ids, split, labels and places of each clip; the rows of the shards in order
    scenes/<name>.parquet         scene labels, one table per kind (`data.scene_tables`)
    taxonomy.csv, rejected.csv, text_features.safetensors (where the source carries text features of its cities)
    meta.json                     what the set is; written last: without it the set is not whole

`meta.json` names every other file with its size and a hash, and carries a hash of itself. Of a shard it is the footer
that is hashed: the footer has a hash of every clip, which is held against the clip's frames when they are first read.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cityguessr.base.errors import InputError
from cityguessr.base.files import write_bytes
from cityguessr.config import SAMPLINGS
from cityguessr.data.shards import FOOTER_LIMIT
from cityguessr.data.sources import SPLITS
from cityguessr.scenes import CATEGORIES, SCENES
from cityguessr.taxonomy import LEVELS

FORMAT = 2
META = "meta.json"
INDEX = "index.parquet"
TAXONOMY = "taxonomy.csv"
REJECTED = "rejected.csv"
TEXT = "text_features.safetensors"
SCENE_FOLDER = "scenes"

INDEX_SCHEMA = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("video_id", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        *(pa.field(level, pa.int32(), nullable=False) for level in LEVELS),
        pa.field("gps", pa.list_(pa.struct([("lat", pa.float64()), ("lon", pa.float64())]))),
    ]
)
"""The columns of `index.parquet`; `gps` has a place for each frame, or is null."""

_META_LIMIT = 1 << 26  # bytes of a meta.json that is read at all; the full data set's has about 100 kB
_MOST = 1 << 40  # of anything that is counted
_AGAIN = "run the preparation again, it keeps the frames that are whole"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def digest_of(content: bytes) -> str:
    """A hash of some content, 32 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()[:32]


def entry(content: bytes) -> dict[str, Any]:
    """What `meta.json` says of a small file: its size and its hash."""
    return {"size": len(content), "digest": digest_of(content)}


def shard_entry(path: Path) -> dict[str, Any]:
    """What `meta.json` says of a shard beside its name and rows: its size, and the hash of its footer.

    Raises InputError, naming it, for a file that does not end as a Parquet file does.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ValueError
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 8))
            end = file.read(8)
            length = int.from_bytes(end[:4], "little") + 8
            if end[4:] != b"PAR1" or length > min(size, FOOTER_LIMIT):
                raise ValueError
            file.seek(size - length)
            return {"size": size, "digest": digest_of(file.read(length))}
    except (OSError, ValueError):
        raise InputError(f"{path}: missing, or not a whole shard; {_AGAIN}") from None


def unmark(folder: Path) -> None:
    """Take away `meta.json`: from here on the set is not whole. Raises InputError, naming it, where that fails."""
    try:
        (folder / META).unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{folder / META}: cannot be deleted ({error.strerror}); delete it and run again") from None


def write_meta(folder: Path, meta: dict[str, Any]) -> None:
    """Write `meta.json`, with a hash of itself."""
    content = {key: value for key, value in meta.items() if key != "digest"}
    write_bytes(folder / META, json.dumps({**content, "digest": _self_digest(content)}, indent=1).encode())


def read_meta(folder: Path) -> dict[str, Any]:
    """The content of `meta.json`, every field of it checked.

    Raises InputError where it is missing, of another format, damaged or edited, naming the file, the
    field and the way to fix it.
    """
    path = folder / META
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode) or found.st_size > _META_LIMIT:
            raise ValueError("not a file of its size")
        meta = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError(
            f"{folder}: no {META}, so the preparation did not finish; run it again, it goes on where it stopped"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read ({error}); {_AGAIN}") from None
    if not isinstance(meta, dict):
        raise InputError(f"{path}: holds no JSON object; {_AGAIN}")
    if meta.get("format") != FORMAT:
        raise InputError(f"{path}: format {meta.get('format')!r}, not {FORMAT}; run the preparation again")
    for name, holds in _FIELDS.items():
        if name not in meta:
            raise InputError(f"{path}: the field {name!r} is missing; {_AGAIN}")
        if not holds(meta[name]):
            raise InputError(f"{path}: {name} is {_short(meta[name])}, which it cannot be; {_AGAIN}")
    if meta["digest"] != _self_digest({key: value for key, value in meta.items() if key != "digest"}):
        raise InputError(f"{path}: was edited or damaged since it was written; {_AGAIN}")
    return meta


def check_shards(folder: Path, meta: dict[str, Any]) -> None:
    """Hold the size and the footer of every shard against `meta.json`. Raises InputError, naming the first other."""
    for shard in meta["shards"]:
        found = shard_entry(folder / shard["file"])
        if found != {"size": shard["size"], "digest": shard["digest"]}:
            raise InputError(
                f"{folder / shard['file']}: not the shard that {META} names (cut, swapped or written anew); {_AGAIN}"
            )


def read_file(folder: Path, name: str, expected: dict[str, Any]) -> bytes:
    """The content of one small file of a set. Raises InputError where it is not the one that `meta.json` names."""
    path = folder / name
    try:
        found = os.stat(path)
        whole = stat.S_ISREG(found.st_mode) and found.st_size == expected["size"]
        content = path.read_bytes() if whole else b""
    except OSError:
        raise InputError(f"{path}: missing, or cannot be read; {_AGAIN}") from None
    if not whole or digest_of(content) != expected["digest"]:
        raise InputError(f"{path}: not the file that {META} names (edited, cut or swapped); {_AGAIN}")
    return content


def read_files(folder: Path, meta: dict[str, Any]) -> dict[str, bytes]:
    """The contents of all small files of a set by their names, each checked as by `read_file`."""
    contents = {name: read_file(folder, name, expected) for name, expected in meta["files"].items()}
    if missing := [name for name in (INDEX, TAXONOMY, REJECTED) if name not in contents]:
        raise InputError(f"{folder / META}: does not name {missing[0]}; {_AGAIN}")
    if TEXT not in contents and (folder / TEXT).exists():
        raise InputError(f"{folder / TEXT}: {META} does not name it; delete it, or {_AGAIN}")
    return contents


def read_index(folder: Path, meta: dict[str, Any], content: bytes) -> pa.Table:
    """The table in the content of `index.parquet`, with the columns of `INDEX_SCHEMA` and the rows of the shards."""
    try:
        limits = {"thrift_string_size_limit": FOOTER_LIMIT, "thrift_container_size_limit": 1 << 22}
        index = pq.read_table(io.BytesIO(content), **limits)
    except (OSError, ValueError, pa.ArrowException):
        raise InputError(f"{folder / INDEX}: damaged; {_AGAIN}") from None
    if not index.schema.equals(INDEX_SCHEMA) or index.num_rows != sum(shard["rows"] for shard in meta["shards"]):
        raise InputError(f"{folder / INDEX}: its rows or columns are not those of the shards; {_AGAIN}")
    return index


def _self_digest(content: dict[str, Any]) -> str:
    return digest_of(json.dumps(content, sort_keys=True).encode())


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


# --- what each field of meta.json may be ------------------------------------------------------------------------------

_Check = Callable[[Any], bool]


def _whole(low: int, high: int) -> _Check:
    return lambda value: type(value) is int and low <= value <= high


def _hexadecimal(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{32}", value) is not None


def _text(value: Any) -> bool:
    return isinstance(value, str)


def is_plain_name(value: Any) -> bool:
    """Whether a value is the name of a file inside the folder, and of nothing else."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _object(**fields: _Check) -> _Check:
    """An object that has these fields; others are left alone."""
    return lambda value: isinstance(value, dict) and all(k in value and holds(value[k]) for k, holds in fields.items())


def _each(holds: _Check, named: _Check | None = None) -> _Check:
    """A list of what `holds` takes, or with `named` an object from such names."""
    if named is None:
        return lambda value: isinstance(value, list) and all(map(holds, value))
    return lambda value: isinstance(value, dict) and all(named(k) and holds(v) for k, v in value.items())


_count = _whole(0, _MOST)
_FILE = {"size": _count, "digest": _hexadecimal}
_SPLIT = _object(clips=_count, videos=_count, **dict.fromkeys(LEVELS, _each(_count)))

_FIELDS: dict[str, _Check] = {
    "name": _text,
    "source": _text,
    "frames": _whole(1, 10_000),
    "size": _whole(1, 1 << 14),
    "sampling": lambda value: value in SAMPLINGS,
    "quality": _whole(1, 100),
    "synthetic": lambda value: isinstance(value, bool),
    "plan": _hexadecimal,
    "shard_clips": _whole(1, 1 << 31),
    "clips": _object(listed=_count, prepared=_count, rejected=_count),
    "counts": _object(**dict.fromkeys(SPLITS, _SPLIT)),
    "shards": _each(_object(file=is_plain_name, rows=_count, **_FILE)),
    "files": _each(_object(**_FILE), named=is_plain_name),
    "scenes": _each(
        _object(
            classes=lambda value: value in (len(SCENES), CATEGORIES), origin=_text, labelled=_count,
            content=_hexadecimal, **_FILE,
        ),
        named=is_plain_name,
    ),
    "content": _object(frames=_hexadecimal, labels=_hexadecimal, videos=_hexadecimal),
    "digest": _hexadecimal,
}  # fmt: skip
