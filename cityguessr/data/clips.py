"""Prepared clips: the one format that training reads, whatever the source was.

`data.prepared` says which files a prepared set has and how they are checked.
"""

from __future__ import annotations

import copy
import csv
import functools
import io
import itertools
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from safetensors.torch import load
from torch import Tensor
from torch.utils.data import Dataset

from cityguessr.base.errors import InputError, one_of
from cityguessr.data import jpeg, prepared, scene_tables
from cityguessr.data.prepared import FORMAT, INDEX, META, REJECTED, TAXONOMY, TEXT
from cityguessr.data.scene_tables import SceneTable
from cityguessr.data.shards import Shard, content_digest, open_shard, shard_of
from cityguessr.data.sources import SPLITS
from cityguessr.data.splits import by_video
from cityguessr.scenes import SCENES, check_scene_classes
from cityguessr.taxonomy import LEVELS, Taxonomy

__all__ = ["FORMAT", "INDEX", "META", "REJECTED", "TAXONOMY", "TEXT", "ClipDataset", "PreparedClips"]

_AT_ONCE = 64  # clips whose JPEG files wait in memory while a whole split is decoded


class PreparedClips:
    """A whole prepared set on disk. It keeps the frames that its splits have decoded (`ClipDataset.frames_tensor`).

    Attributes:
        folder: where it is.
        taxonomy: the label tree that its ids refer to.
        meta: the content of `meta.json`: name, source, frames, size, sampling, synthetic, clips, counts by split and
            level, shards, scene tables, and hashes of all files.
        scenes: the table of scene labels in use, or None.
        scene_classes: how many scene classes its frames are labelled with, or would be: 16, or 365.
    """

    def __init__(
        self,
        folder: Path,
        taxonomy: Taxonomy,
        meta: dict[str, Any],
        index: pa.Table,
        scenes: SceneTable | None = None,
        scene_classes: int = len(SCENES),
    ) -> None:
        self.folder, self.taxonomy, self.meta = folder, taxonomy, meta
        self.scenes, self.scene_classes = scenes, scene_classes
        self._index = index
        self._decoded: dict[tuple[str, ...], Tensor] = {}  # ids of clips -> their frames
        # Rows whose frames were held against their hash; processes that read them share what each has found.
        self._seen = torch.zeros(index.num_rows, dtype=torch.bool).share_memory_()

    @classmethod
    def load(cls, folder: str | os.PathLike[str], scenes: str | int | None = None) -> PreparedClips:
        """A prepared set, of which no frame is read yet.

        Every file is held against `meta.json`: the small ones whole, shards by their size and footer. The frames of a
        clip are held against their hash when they are first read.

        Args:
            scenes: the table of scene labels to use, by its name; or how many classes it is to have, 16 or 365. By
                default there are 16, or 365 where only such a table is there.

        Raises InputError where the folder is missing, its preparation did not finish, a file is missing, damaged,
        edited or swapped, and where there is no table of that name. There need not be one of so many classes.
        """
        folder = Path(folder).resolve()
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder; prepare a source there first")
        meta = prepared.read_meta(folder)
        prepared.check_shards(folder, meta)
        contents = prepared.read_files(folder, meta)
        index = prepared.read_index(folder, meta, contents[INDEX])
        taxonomy = Taxonomy.from_csv(folder / TAXONOMY)
        for name, table in meta["scenes"].items():
            path = scene_tables.table_path(folder, name)
            if not path.is_file() or path.stat().st_size != table["size"]:
                raise InputError(f"{path}: missing, or cut; run the preparation again, and label the set again")
        clips = cls(folder, taxonomy, meta, index)
        if scenes is None:
            classes = {table["classes"] for table in meta["scenes"].values()} or {len(SCENES)}
            scenes = min(classes)
        return clips.with_scenes(scenes)

    def with_scenes(self, scenes: str | int) -> PreparedClips:
        """The same clips with another table of scene labels; decoded frames are shared.

        Args:
            scenes: as for `load`. Of several tables of so many classes, the source's own comes before those that a
                classifier gave, unless clips are missing in it.

        Raises InputError where there is no such table, or it was edited, cut or swapped.
        """
        name: str | None
        if isinstance(scenes, str):
            name = scenes
        else:
            check_scene_classes(scenes)
            tables = [(name, table) for name, table in self.meta["scenes"].items() if table["classes"] == scenes]
            tables.sort(key=lambda item: (-item[1]["labelled"], not item[0].startswith("source-"), item[0]))
            name = tables[0][0] if tables else None
        other = copy.copy(self)
        other.scenes = None if name is None else scene_tables.read(self.folder, name, self.meta)
        other.scene_classes = int(scenes) if other.scenes is None else other.scenes.classes
        other.__dict__.pop("fingerprint", None)
        return other

    @property
    def name(self) -> str:
        """The name of its folder when it was prepared."""
        return self.meta["name"]

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of every clip's id, frames, split and labels, of the scenes in use, text features and the tree.

        It is the same however the work was divided. Which clips come from one video is not in it (`videos_digest`).
        """
        content, files = self.meta["content"], self.meta["files"]
        parts = [content["frames"], content["labels"], files[TAXONOMY]["digest"], files.get(TEXT, {}).get("digest")]
        parts += [self.scene_classes, None if self.scenes is None else self.scenes.digest]
        return prepared.digest_of(json.dumps(parts).encode())

    @property
    def videos_digest(self) -> str:
        """A hash of which source video each clip comes from, which decides a split by video."""
        return self.meta["content"]["videos"]

    @property
    def synthetic(self) -> bool:
        """Whether the pictures are rendered rather than filmed."""
        return self.meta["synthetic"]

    @property
    def labelled(self) -> bool:
        """Whether the table of scenes in use has labels for every clip."""
        return self.scenes is not None and self.meta["scenes"][self.scenes.name]["labelled"] == len(self._index)

    @property
    def clip_ids(self) -> list[str]:
        """The ids of all its clips, in the order of its index and shards."""
        return self._index["clip_id"].to_pylist()

    @functools.cached_property
    def text_features(self) -> Tensor | None:
        """Text features that the source itself carries, float32 (number of cities, d), NaN for a city without; or None.

        The released label files have 512 numbers per clip, in effect one vector per city; this is their mean.
        """
        if TEXT not in self.meta["files"]:
            return None
        return load(prepared.read_file(self.folder, TEXT, self.meta["files"][TEXT]))["city"]

    def rejected(self) -> list[dict[str, str]]:
        """The clips that were listed and could not be prepared: `clip_id`, `path`, `reason`."""
        content = prepared.read_file(self.folder, REJECTED, self.meta["files"][REJECTED])
        return list(csv.DictReader(io.StringIO(content.decode(), newline="")))

    def split(self, name: str, by: str = "clip") -> ClipDataset:
        """The clips of "train" or "val", as the source splits them, or by="video" with no source video in both.

        Raises InputError for another name, where the split is empty, or where a split by source video is not possible
        (`cityguessr.data.splits`).
        """
        if name not in SPLITS:
            raise one_of("split", name, SPLITS)
        if by not in ("clip", "video"):
            raise one_of("split by", by, ("clip", "video"))
        if by == "video":
            held_out = by_video(self._index["video_id"].to_pylist(), self._index["city"].to_pylist())
            rows = np.flatnonzero(held_out == (name == "val"))
        else:
            rows = np.flatnonzero(np.asarray(self._index["split"].to_pylist(), dtype=object) == name)
        if not len(rows):
            raise InputError(f"{self.folder}: no clip in the split {name!r}; see {REJECTED}, and the source's lists")
        return ClipDataset(self, name, rows)

    def __repr__(self) -> str:
        clips = ", ".join(f"{self.meta['counts'][split]['clips']:,} {split}" for split in SPLITS)
        return f"PreparedClips({self.name}: {clips}, {self.meta['frames']} frames of {self.meta['size']} px)"


class ClipDataset(Dataset[dict[str, Any]]):
    """The clips of one split, read from disk one by one: safe in the workers of a DataLoader.

    `ds[i]` is a dictionary: `frames` uint8 (T, 3, H, W), RGB; `labels` int64 (4,) in the order of `LEVELS`;
    `frame_scenes` float32 (n, scenes), n = T, or 1 where the source labels a clip as a whole, or NaN (1, scenes) where
    there are none; `index` = i.

    Attributes:
        scene_classes: how many scene classes there are, 16 or 365.
        shape: of a clip's frames, (T, 3, H, W).
        clip_ids, video_ids: one string per clip.
        labels: level -> LongTensor (N,).
    """

    def __init__(self, prepared: PreparedClips, name: str, rows: np.ndarray) -> None:
        self.name, self.taxonomy, self.fingerprint = name, prepared.taxonomy, prepared.fingerprint
        self.synthetic, self.scene_classes = prepared.synthetic, prepared.scene_classes
        self._decoded, self._index, self._seen = prepared._decoded, prepared._index.take(rows), prepared._seen
        self._scenes, self._rows = copy.copy(prepared.scenes), rows
        self.clip_ids: list[str] = self._index["clip_id"].to_pylist()
        self.video_ids: list[str] = self._index["video_id"].to_pylist()
        self.labels = {level: torch.from_numpy(self._index[level].to_numpy().astype(np.int64)) for level in LEVELS}
        self.shape: tuple[int, int, int, int] = (prepared.meta["frames"], 3, *2 * (prepared.meta["size"],))
        shards = prepared.meta["shards"]
        self._paths = [str(prepared.folder / shard["file"]) for shard in shards]
        starts = np.cumsum([0] + [shard["rows"] for shard in shards])
        self._shard = np.searchsorted(starts, rows, side="right") - 1
        self._row = rows - starts[self._shard]
        self._open: dict[int, tuple[Any, int, Shard]] = {}  # shard -> its reader, clips per row group, its footer
        self._last: tuple[tuple[int, int], Any] | None = None  # shard and row group read last, its frames
        self._pid = os.getpid()

    def take(self, numbers: np.ndarray) -> ClipDataset:
        """Some of its clips, by their numbers in it: a split of the split."""
        part = copy.copy(self)
        part._index, part._shard, part._row = self._index.take(numbers), self._shard[numbers], self._row[numbers]
        part._scenes, part._rows, part._open, part._last = copy.copy(self._scenes), self._rows[numbers], {}, None
        part.clip_ids, part.video_ids = ([ids[i] for i in numbers] for ids in (self.clip_ids, self.video_ids))
        part.labels = {level: labels[numbers] for level, labels in self.labels.items()}
        return part

    def __len__(self) -> int:
        return len(self.clip_ids)

    def __getitem__(self, i: int) -> dict[str, Any]:
        i = range(len(self))[i]
        scenes = self.frame_scenes(i)
        return {
            "frames": self.frames_of([i])[0],
            "labels": torch.stack([self.labels[level][i] for level in LEVELS]),
            "frame_scenes": torch.full((1, self.scene_classes), float("nan")) if scenes is None else scenes,
            "index": i,
        }

    def frames_of(self, indices: Sequence[int], out: Tensor | None = None) -> Tensor:
        """The frames of several clips, each decoded straight into one tensor: uint8 (B, T, 3, H, W), RGB.

        Args:
            out: a contiguous tensor of that shape to write to, in shared memory say.

        Raises InputError for a damaged frame, naming its clip and shard, and for an `out` that is none of these.
        """
        shape = len(indices), *self.shape
        if out is None:
            out = torch.empty(shape, dtype=torch.uint8)
        elif out.shape != shape or out.dtype != torch.uint8 or not out.is_contiguous():
            raise InputError(f"out is {out.dtype} {tuple(out.shape)}; give a contiguous uint8 tensor {shape}")
        for i, frames in zip(indices, out.numpy(), strict=True):
            self._decode(i, self._contents(i), frames)
        return out

    def jpegs(self, i: int) -> list[bytes]:
        """The frames of a clip as they are stored, the content of T JPEG files."""
        return [content.tobytes() for content in self._contents(i)]

    def jpeg_tensors(self, i: int) -> list[Tensor]:
        """As `jpegs`, each a uint8 tensor (bytes,): views of what was read, not to be written to."""
        return [torch.from_numpy(content) for content in self._contents(i)]

    def frame(self, i: int, at: int) -> Tensor:
        """The frame of a clip at a position, uint8 (3, H, W), RGB; the others are not decoded."""
        frame = np.empty(self.shape[1:], np.uint8)
        self._decode(i, [self._contents(i)[at]], [frame])
        return torch.from_numpy(frame)

    def frame_scenes(self, i: int) -> Tensor | None:
        """Scene probabilities of a clip: float32 (n, scene classes), or None; see the class for n."""
        scenes = None if self._scenes is None else self._scenes.of(int(self._rows[i]))
        return None if scenes is None else torch.from_numpy(scenes)

    def gps(self, i: int) -> Tensor | None:
        """The track of a clip: float64 (T, 2), latitude and longitude of each frame in degrees, or None."""
        points = self._index["gps"][i].as_py()
        return None if points is None else torch.tensor([[p["lat"], p["lon"]] for p in points], dtype=torch.float64)

    def frames_tensor(self) -> Tensor:
        """Every clip's frames at once, uint8 (N, T, 3, H, W), for sets that fit in memory; not to be written to.

        They are decoded once for all splits of the same clips that one `PreparedClips` gives, and kept as long as it.
        """
        key = tuple(self.clip_ids)
        if key not in self._decoded:
            self._decoded[key] = self._decode_all()
        return self._decoded[key]

    def _decode_all(self) -> Tensor:
        out = torch.empty(len(self), *self.shape, dtype=torch.uint8)
        frames = out.numpy()
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoding leaves the interpreter free; one thread reads
            for start in range(0, len(self), _AT_ONCE):
                part = range(start, min(start + _AT_ONCE, len(self)))
                list(pool.map(self._decode, part, [self._contents(i) for i in part], frames[part.start : part.stop]))
        return out

    def _decode(self, i: int, contents: Sequence[np.ndarray], out: Sequence[np.ndarray]) -> None:
        """Decode frames of a clip into arrays of its `shape`."""
        try:
            for content, frame in zip(contents, out, strict=True):
                jpeg.decode(content, frame)
        except InputError as error:
            raise self._damaged(i, f"a frame of the clip {self.clip_ids[i]} is damaged, {error}") from None

    def _contents(self, i: int) -> list[np.ndarray]:
        """The JPEG files of a clip, each uint8 (bytes,): views of one buffer, held against their hash at first."""
        files, known = self._read(i)
        _, offsets, content = files.buffers()
        offsets = np.frombuffer(offsets, np.int32)[files.offset : files.offset + len(files) + 1].tolist()
        content = np.frombuffer(b"" if content is None else content, np.uint8)
        frames = [content[start:stop] for start, stop in itertools.pairwise(offsets)]
        if not self._seen[self._rows[i]]:
            if (
                len(frames) != self.shape[0]
                or known.clip_id != self.clip_ids[i]
                or known.digest != content_digest(known.clip_id, known.numbers, frames)
            ):
                raise self._damaged(i, f"a frame of the clip {self.clip_ids[i]} is damaged, or not the one written")
            self._seen[self._rows[i]] = True
        return frames

    def _read(self, i: int) -> tuple[pa.Array, Any]:
        """The frames of a clip, a binary array, and what the footer of their shard says of them."""
        if self._pid != os.getpid():  # no open file is handed on by fork
            self._open, self._last, self._pid = {}, None, os.getpid()
        shard = int(self._shard[i])
        try:
            if shard not in self._open:
                file = open_shard(self._paths[shard])
                self._open[shard] = file, file.metadata.row_group(0).num_rows, shard_of(file)
            file, clips, footer = self._open[shard]
            group, row = divmod(int(self._row[i]), clips)
            if self._last is None or self._last[0] != (shard, group):
                column = file.read_row_group(group, columns=["frames"], use_threads=False)["frames"]
                self._last = (shard, group), column
            return self._last[1][row].values, footer.rows[int(self._row[i])]
        except (OSError, pa.ArrowException, MemoryError, LookupError, ValueError, TypeError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise self._damaged(i, f"cannot be read ({reason})") from None

    def _damaged(self, i: int, what: str) -> InputError:
        return InputError(f"{self._paths[self._shard[i]]}: {what}; delete this file and prepare again, it is made anew")

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": {}, "_last": None, "_decoded": {}}

    def __repr__(self) -> str:
        return f"ClipDataset({self.name}: {len(self):,} clips)"
