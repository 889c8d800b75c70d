"""One Parquet shard of prepared clips: how a clip becomes a row, and how a shard is written and looked into.

A shard holds pictures only: `clip_id`, `frames` (the content of JPEG files) and `numbers` (of the frames in their
source: n of `<n>.jpg`, the position in `ClipRef.files`, or the frame of a video). Its footer says what each row must
hold, which clips were left out and why, and which files were read.

This is what the worker processes of `prepare` run. It imports no torch, so that they start at once.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import zlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from cityguessr.base.errors import InputError
from cityguessr.base.files import write_atomically
from cityguessr.config import ClipFormat
from cityguessr.data import source_files, video
from cityguessr.data.pictures import encode_image, shrink
from cityguessr.data.source_files import Record
from cityguessr.data.sources import ClipRef, Renderer

JPEG_QUALITY = 95
SCHEMA = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("frames", pa.list_(pa.binary()), nullable=False),
        pa.field("numbers", pa.list_(pa.int32()), nullable=False),
    ]
)
"""The columns of a shard."""

FOOTER_LIMIT = 1 << 26
"""The largest footer in bytes that is read; one of 256 clips of 16 frames takes about 200 kB."""

_GROUP_BYTES = 1 << 20  # a row group is what one random access reads: about a megabyte, and at least one clip
_METADATA, _SOURCES = b"cityguessr", b"cityguessr.sources"


@dataclasses.dataclass(frozen=True)
class ShardJob:
    """What a worker needs to write one shard.

    Attributes:
        path: of the shard.
        plan: hash of the settings and of the source's list of clips.
        first: position of its first clip in the source's list.
        renderer: makes the frames of the clips, where they are not read from files.
        video_limit_s: seconds that reading one video file may take; None: what `video.read_frames` allows.
    """

    path: str
    plan: str
    first: int
    clips: tuple[ClipRef, ...]
    format: ClipFormat
    renderer: Renderer | None = None
    video_limit_s: float | None = None


@dataclasses.dataclass(frozen=True)
class Row:
    """One prepared clip as the footer has it: its id, a hash of its content, and the numbers of its frames."""

    clip_id: str
    digest: str
    numbers: tuple[int | None, ...]


@dataclasses.dataclass(frozen=True)
class Shard:
    """The footer of a written shard.

    Attributes:
        plan: as of the `ShardJob` that wrote it.
        first: position of its first listed clip in the source.
        listed: how many clips of the source it stands for, prepared or rejected.
        rejected: (position in the source, clip id, path, reason) of the clips left out.
        rows: the clips it holds, in order.
    """

    plan: str
    first: int
    listed: int
    rejected: tuple[tuple[int, str, str, str], ...]
    rows: tuple[Row, ...]

    @property
    def positions(self) -> list[int]:
        """The position in the source's list of every row."""
        out = {row[0] for row in self.rejected}
        return [at for at in range(self.first, self.first + self.listed) if at not in out]


def clip_row(clip: ClipRef, job: ShardJob) -> dict[str, Any]:
    """One clip as a row of `SCHEMA`, its frames read, resized and encoded.

    Raises InputError, naming file and reason, where that is impossible.
    """
    wanted = job.format
    if clip.is_video:
        limit = {} if job.video_limit_s is None else {"limit_s": job.video_limit_s}
        numbers, frames = video.read_numbered(clip.path, wanted.frames, wanted.size, wanted.sampling, **limit)
        return _row(clip, numbers, [_jpeg(Image.fromarray(frame)) for frame in frames])
    numbers, files = source_files.numbered_files(clip, wanted)
    return _row(clip, numbers, [_shrink(file, wanted.size) for file in files])


def rendered_rows(clips: Sequence[ClipRef], clip_format: ClipFormat, renderer: Renderer) -> list[dict[str, Any]]:
    """Clips as rows of `SCHEMA`, their frames rendered; encoding leaves the interpreter free meanwhile."""

    def encode(clip: ClipRef, numbers: Sequence[int | None], frames: np.ndarray) -> dict[str, Any]:
        return _row(clip, numbers, [_jpeg(Image.fromarray(frame)) for frame in frames])

    with ThreadPoolExecutor(renderer.encoders) as pool:
        drawn = zip(clips, renderer(clips, clip_format), strict=True)
        rows = [pool.submit(encode, clip, numbers, frames) for clip, (numbers, frames) in drawn]
        return [row.result() for row in rows]


def _row(clip: ClipRef, numbers: Sequence[int | None], encoded: list[bytes]) -> dict[str, Any]:
    return {"clip_id": clip.clip_id, "frames": encoded, "numbers": list(numbers)}


def write_shard(job: ShardJob) -> Shard:
    """Write the clips of a job as one Parquet file, leaving out those that cannot be read, with the reason.

    Returns the footer of the file. Raises InputError where the file cannot be written, and whatever stops a renderer;
    then there is no file.
    """
    if job.renderer is None:
        # before a file is read: one that changes meanwhile is found to have changed
        sources = [source_files.record(clip, job.format) for clip in job.clips]
        rows, rejected = _read_rows(job)
    else:
        sources = [{} for _ in job.clips]
        rows, rejected = rendered_rows(job.clips, job.format, job.renderer), []
    known = tuple(
        Row(row["clip_id"], content_digest(row["clip_id"], row["numbers"], row["frames"]), tuple(row["numbers"]))
        for row in rows
    )
    shard = Shard(job.plan, job.first, len(job.clips), tuple(rejected), known)
    footer = {
        _METADATA: json.dumps(dataclasses.asdict(shard)).encode(),
        _SOURCES: zlib.compress(json.dumps(sources).encode()),
    }
    table = pa.Table.from_pylist(rows, SCHEMA)
    clip_bytes = max((sum(map(len, row["frames"])) for row in rows), default=1)
    group = max(1, _GROUP_BYTES // clip_bytes)
    # JPEG does not compress any further, and equal frames are too rare to look for
    options = {"compression": "none", "use_dictionary": False, "write_statistics": False}

    def write(file: Any) -> None:
        with pq.ParquetWriter(file, SCHEMA, **options) as writer:
            writer.write_table(table, row_group_size=group)
            writer.add_key_value_metadata(footer)

    write_atomically(job.path, write)
    return shard


def _read_rows(job: ShardJob) -> tuple[list[dict[str, Any]], list[tuple[int, str, str, str]]]:
    """The clips of a job as rows of `SCHEMA`; and those that cannot be read, as `Shard.rejected`."""
    rows: list[dict[str, Any]] = []
    rejected: list[tuple[int, str, str, str]] = []
    for at, clip in enumerate(job.clips, start=job.first):
        try:
            rows.append(clip_row(clip, job))
        except InputError as error:
            rejected.append((at, clip.clip_id, clip.path, str(error)))
        except MemoryError:
            raise
        except Exception as error:  # a bad clip never stops the others, not even by a fault in a decoder
            reason = f"{clip.path}: {type(error).__name__}: {error}; leave it out"
            rejected.append((at, clip.clip_id, clip.path, reason))
    return rows, rejected


def open_shard(path: str | Path) -> pq.ParquetFile:
    """A shard, opened to read rows where they are mapped: frames do not compress, there is nothing to fetch ahead."""
    limits = {"thrift_string_size_limit": FOOTER_LIMIT, "thrift_container_size_limit": 1 << 22}
    return pq.ParquetFile(path, memory_map=True, pre_buffer=False, **limits)


def read_shard(path: str | Path) -> Shard:
    """The footer of a shard. Raises InputError for a file that `write_shard` did not write, or not all of it."""
    try:
        with open_shard(path) as file:
            shard = shard_of(file)
            rows, schema = file.metadata.num_rows, file.schema_arrow
    except (OSError, pa.ArrowException, KeyError, ValueError, TypeError, AttributeError, RecursionError):
        raise _not_whole(path) from None
    if rows != len(shard.rows) or not schema.equals(SCHEMA):
        raise InputError(f"{path}: {rows} rows where {len(shard.rows)} were written; delete it and prepare again")
    return shard


def shard_of(file: pq.ParquetFile) -> Shard:
    """The footer of an open shard. Raises KeyError, ValueError or TypeError where it is none."""
    content = json.loads((file.metadata.metadata or {})[_METADATA])
    first, listed = content["first"], content["listed"]
    if not all(isinstance(number, int) and number >= 0 for number in (first, listed)):
        raise ValueError
    rejected = tuple((int(at), str(c), str(p), str(r)) for at, c, p, r in content["rejected"])
    rows = tuple(Row(str(row["clip_id"]), str(row["digest"]), tuple(row["numbers"])) for row in content["rows"])
    if listed != len(rejected) + len(rows):
        raise ValueError
    return Shard(str(content["plan"]), first, listed, rejected, rows)


def read_sources(path: str | Path) -> list[Record]:
    """What was read for every listed clip of a shard. Raises InputError as `read_shard`."""
    try:
        with open_shard(path) as file:
            packed = zlib.decompressobj()
            content = json.loads(packed.decompress(file.metadata.metadata[_SOURCES], FOOTER_LIMIT))
        return [dict(one) for one in content]
    except (OSError, pa.ArrowException, KeyError, ValueError, TypeError, RecursionError, zlib.error):
        raise _not_whole(path) from None


def _not_whole(path: str | Path) -> InputError:
    return InputError(f"{path}: missing, or not a whole shard; run the preparation again, it makes it anew")


def content_digest(clip_id: str, numbers: Iterable[int | None], frames: Iterable[bytes | np.ndarray]) -> str:
    """A hash of everything that a row holds, whatever shard it stands in."""
    digest = hashlib.sha256(json.dumps([clip_id, list(numbers)]).encode())
    for frame in frames:
        digest.update(len(frame).to_bytes(8, "little"))
        digest.update(frame)
    return digest.hexdigest()[:32]


def _jpeg(image: Image.Image) -> bytes:
    # full colour: signs are small at training size
    return encode_image(image, "JPEG", quality=JPEG_QUALITY, subsampling=0)


def _shrink(file: Path, size: int) -> bytes:
    """A frame at training size as JPEG; a JPEG of that very size stays as it is, without a second loss."""
    image, content = shrink(file, size)
    return _jpeg(image) if content is None else content
