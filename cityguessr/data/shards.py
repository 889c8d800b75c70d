"""One Parquet shard of prepared clips: how a clip becomes a row, and how a shard is written and looked into.

This is what the worker processes of `prepare` run. It imports no torch, so that they start at once.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
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
from cityguessr.data import video
from cityguessr.data.frames import frame_files, frame_number
from cityguessr.data.pictures import encode_image, shrink
from cityguessr.data.sampling import frame_indices
from cityguessr.data.sources import ClipRef, Renderer

JPEG_QUALITY = 95

SceneLabeller = Callable[[np.ndarray], np.ndarray]
"""Frames uint8 (T, H, W, 3) -> the probability of each scene in each frame, float (T, 16), or (T, 365) by category."""

_GROUP_BYTES = 1 << 20  # a row group is what one random access reads: about a megabyte, and at least one clip
_METADATA = b"cityguessr"


@dataclasses.dataclass(frozen=True)
class ShardJob:
    """What a worker needs to write one shard.

    Attributes:
        path: of the shard.
        plan: hash of the settings and of the source's clips.
        first: position of its first clip in the source's list.
        renderer: makes the frames of the clips, where they are not read from files.
    """

    path: str
    plan: str
    first: int
    clips: tuple[ClipRef, ...]
    levels: tuple[str, ...]
    format: ClipFormat
    scene_labeller: SceneLabeller | None = None
    renderer: Renderer | None = None


@dataclasses.dataclass(frozen=True)
class Shard:
    """The footer of a written shard.

    Attributes:
        plan: as of the `ShardJob` that wrote it.
        first: position of its first listed clip in the source.
        listed: how many clips of the source it stands for, prepared or rejected.
        rejected: (clip id, path, reason) of the clips left out.
        digests: a content hash of every row, in order.
    """

    plan: str
    first: int
    listed: int
    rejected: tuple[tuple[str, str, str], ...]
    digests: tuple[str, ...]

    @property
    def rows(self) -> int:
        """How many clips it holds."""
        return len(self.digests)


def schema(levels: tuple[str, ...]) -> pa.Schema:
    """The columns of a shard; shapes and meaning are those of `PreparedClips`."""
    ids = [pa.field(level, pa.int32(), nullable=False) for level in levels]
    return pa.schema(
        [
            pa.field("clip_id", pa.string(), nullable=False),
            pa.field("video_id", pa.string(), nullable=False),
            pa.field("split", pa.string(), nullable=False),
            *ids,
            pa.field("frames", pa.list_(pa.binary()), nullable=False),
            pa.field("frame_scenes", pa.list_(pa.list_(pa.float32()))),
            pa.field("gps", pa.list_(pa.struct([("lat", pa.float64()), ("lon", pa.float64())]))),
        ]
    )


def clip_row(clip: ClipRef, job: ShardJob) -> dict[str, Any]:
    """One clip as a row of `schema`, its frames read, resized and encoded.

    Raises InputError, naming file and reason, where that is impossible.
    """
    if clip.is_video:
        wanted = job.format
        frames = video.read_frames(clip.path, wanted.frames, wanted.size, wanted.sampling)
        pictures = [Image.fromarray(frame) for frame in frames]
        numbers, encoded = [], [_jpeg(picture) for picture in pictures]
    else:
        numbers, files = _numbered_files(clip, job)
        pictures, encoded = map(list, zip(*(_shrink(file, job.format.size) for file in files), strict=True))
    return _row(clip, job, numbers, pictures, encoded)


def rendered_rows(job: ShardJob, renderer: Renderer) -> list[dict[str, Any]]:
    """The clips of a job as rows of `schema`, their frames rendered; encoding leaves the interpreter free meanwhile."""

    def encode(clip: ClipRef, numbers: Sequence[int | None], frames: np.ndarray) -> dict[str, Any]:
        pictures = [Image.fromarray(frame) for frame in frames]
        return _row(clip, job, numbers, pictures, [_jpeg(picture) for picture in pictures])

    with ThreadPoolExecutor(renderer.encoders) as pool:
        drawn = zip(job.clips, renderer(job.clips, job.format), strict=True)
        rows = [pool.submit(encode, clip, numbers, frames) for clip, (numbers, frames) in drawn]
        return [row.result() for row in rows]


def _row(
    clip: ClipRef,
    job: ShardJob,
    numbers: Sequence[int | None],
    pictures: Sequence[Image.Image],
    encoded: list[bytes],
) -> dict[str, Any]:
    """A clip and its frames as a row of `schema`."""
    return {
        "clip_id": clip.clip_id,
        "video_id": clip.video_id,
        "split": clip.split,
        **dict(zip(job.levels, clip.labels, strict=True)),
        "frames": encoded,
        "frame_scenes": _scenes(clip, numbers, pictures, job),
        "gps": _gps(clip, numbers, len(encoded)),
    }


def write_shard(job: ShardJob) -> Shard:
    """Write the clips of a job as one Parquet file, leaving out those that cannot be read, with the reason.

    Returns the footer of the file. Raises InputError where the file cannot be written, and whatever stops a renderer;
    then there is no file.
    """
    rows, rejected = _read_rows(job) if job.renderer is None else (rendered_rows(job, job.renderer), [])
    shard = Shard(job.plan, job.first, len(job.clips), tuple(rejected), tuple(row_digest(row) for row in rows))
    columns = schema(job.levels).with_metadata({_METADATA: json.dumps(dataclasses.asdict(shard))})
    table = pa.Table.from_pylist(rows, columns)
    clip_bytes = max((sum(map(len, row["frames"])) for row in rows), default=1)
    group = max(1, _GROUP_BYTES // clip_bytes)
    # JPEG does not compress any further, and labels are small
    write_atomically(job.path, lambda file: pq.write_table(table, file, row_group_size=group, compression="none"))
    return shard


def _read_rows(job: ShardJob) -> tuple[list[dict[str, Any]], list[tuple[str, str, str]]]:
    """The clips of a job as rows of `schema`; and those that cannot be read, as `Shard.rejected`."""
    rows: list[dict[str, Any]] = []
    rejected: list[tuple[str, str, str]] = []
    for clip in job.clips:
        try:
            rows.append(clip_row(clip, job))
        except InputError as error:
            rejected.append((clip.clip_id, clip.path, str(error)))
        except MemoryError:
            raise
        except Exception as error:  # a bad clip never stops the others, not even by a fault in a decoder
            rejected.append((clip.clip_id, clip.path, f"{clip.path}: {type(error).__name__}: {error}; leave it out"))
    return rows, rejected


def read_shard(path: str | Path) -> Shard:
    """The footer of a shard. Raises InputError for a file that `write_shard` did not write, or not all of it."""
    try:
        metadata = pq.read_metadata(path)
        content = json.loads((metadata.metadata or {})[_METADATA])
        shard = Shard(
            content["plan"],
            content["first"],
            content["listed"],
            tuple((c, p, r) for c, p, r in content["rejected"]),
            tuple(content["digests"]),
        )
    except (OSError, pa.ArrowException, KeyError, ValueError):
        raise InputError(
            f"{path}: missing, or not a whole shard; run the preparation again, it makes it anew"
        ) from None
    if metadata.num_rows != shard.rows:
        raise InputError(
            f"{path}: {metadata.num_rows} rows where {shard.rows} were written; delete it and prepare again"
        )
    return shard


def row_digest(row: dict[str, Any]) -> str:
    """A hash of everything that a row holds, whatever shard it stands in."""
    digest = hashlib.sha256()
    digest.update(json.dumps({name: value for name, value in row.items() if name != "frames"}).encode())
    for frame in row["frames"]:
        digest.update(len(frame).to_bytes(8, "little") + frame)
    return digest.hexdigest()[:32]


def _numbered_files(clip: ClipRef, job: ShardJob) -> tuple[list[int | None], list[Path]]:
    """The image files that a clip's frames are read from, and the number of each."""
    if clip.files is None:
        files = frame_files(clip.path, job.format.frames, job.format.sampling)
        return [frame_number(file) for file in files], files
    try:
        numbers = frame_indices(len(clip.files), job.format.frames, job.format.sampling)
    except InputError as error:
        raise InputError(f"{clip.clip_id}: {error}") from None
    return list(numbers), [Path(clip.path) / clip.files[n] for n in numbers]


def _jpeg(image: Image.Image) -> bytes:
    # full colour: signs are small at training size
    return encode_image(image, "JPEG", quality=JPEG_QUALITY, subsampling=0)


def _shrink(file: Path, size: int) -> tuple[Image.Image, bytes]:
    """A frame at training size, decoded and encoded; a JPEG of that very size stays as it is, without a second loss."""
    image, content = shrink(file, size)
    return image, _jpeg(image) if content is None else content


def _scenes(
    clip: ClipRef, numbers: Sequence[int | None], pictures: Sequence[Image.Image], job: ShardJob
) -> list[list[float]] | None:
    """Scene probabilities: one row per frame where frames are labelled, one row where the clip is, or None."""
    classes = job.format.scene_classes
    if clip.frame_scenes is not None:
        rows = []
        for n in numbers:
            scene = int(clip.frame_scenes[n]) if n is not None and n < len(clip.frame_scenes) else -1
            if scene < 0:
                raise InputError(f"{clip.path}: no scene is listed for frame {n}; add it to the table of scenes")
            if scene >= classes:
                raise InputError(f"{clip.path}: scene {scene} of frame {n} is not one of 0..{classes - 1}; correct it")
            rows.append([float(k == scene) for k in range(classes)])
        return rows
    if clip.clip_scenes is not None:
        return [[float(p) for p in clip.clip_scenes]]
    if job.scene_labeller is None:
        return None
    probabilities = np.asarray(job.scene_labeller(np.stack([np.asarray(p) for p in pictures])), dtype=np.float32)
    if probabilities.shape != (len(pictures), classes):
        raise InputError(f"the scene labeller gave {probabilities.shape}, not ({len(pictures)}, {classes})")
    return [[float(p) for p in row] for row in probabilities]


def _gps(clip: ClipRef, numbers: Sequence[int | None], frames: int) -> list[dict[str, float]] | None:
    """The place of every frame, or None where one has none."""
    if clip.gps is None:
        return None
    if len(clip.gps) == 1:
        points = np.repeat(clip.gps, frames, axis=0)
    else:
        points = np.stack([clip.gps[n] if n is not None and n < len(clip.gps) else (np.nan, np.nan) for n in numbers])
    return None if np.isnan(points).any() else [{"lat": float(lat), "lon": float(lon)} for lat, lon in points]
