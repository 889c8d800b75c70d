"""Prepared clips: the one format that training reads, whatever the source was.

A prepared set is a folder: `taxonomy.csv`, `meta.json` (written last: without it the set is not whole), the shards
`clips-00000.parquet` ... with one row per clip, `index.parquet` with the same rows without their frames (and without
their scenes where these are of 365 categories, which would fill the memory), `rejected.csv`, and
`text_features.safetensors` where the source carries text features of its cities.
"""

from __future__ import annotations

import copy
import csv
import functools
import itertools
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import Dataset

from cityguessr.base.errors import InputError, one_of
from cityguessr.data import jpeg
from cityguessr.data.shards import read_shard
from cityguessr.data.sources import SPLITS
from cityguessr.data.splits import by_video
from cityguessr.scenes import SCENES
from cityguessr.taxonomy import LEVELS, Taxonomy

FORMAT = 1
META = "meta.json"
INDEX = "index.parquet"
TAXONOMY = "taxonomy.csv"
REJECTED = "rejected.csv"
TEXT = "text_features.safetensors"

_AT_ONCE = 64  # clips whose JPEG files wait in memory while a whole split is decoded


class PreparedClips:
    """A whole prepared set on disk. It keeps the frames that its splits have decoded (`ClipDataset.frames_tensor`).

    Attributes:
        folder: where it is.
        taxonomy: the label tree that its ids refer to.
        meta: the content of `meta.json`: name, source, frames, size, sampling, synthetic, clips, scene classes, counts
            by split and level, shards, fingerprint.
    """

    def __init__(self, folder: Path, taxonomy: Taxonomy, meta: dict[str, Any], index: pa.Table) -> None:
        self.folder, self.taxonomy, self.meta = folder, taxonomy, meta
        self._index = index
        self._decoded: dict[tuple[str, ...], Tensor] = {}  # ids of clips -> their frames

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> PreparedClips:
        """A prepared set, of which no frame is read yet.

        Raises InputError where the folder is missing, its preparation did not finish, or shards are missing or do not
        hold the rows that were written.
        """
        folder = Path(folder).resolve()
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder; prepare a source there first")
        try:
            meta = json.loads((folder / META).read_bytes())
        except FileNotFoundError:
            raise InputError(
                f"{folder}: no {META}, so the preparation did not finish; run it again, it goes on where it stopped"
            ) from None
        except (OSError, ValueError) as error:
            raise InputError(f"{folder / META}: cannot be read ({error}); prepare again with overwrite=True") from None
        if meta.get("format") != FORMAT:
            raise InputError(
                f"{folder / META}: format {meta.get('format')}, not {FORMAT}; prepare again, overwrite=True"
            )
        for shard in meta["shards"]:
            rows = read_shard(folder / shard["file"]).rows
            if rows != shard["rows"]:
                raise InputError(f"{folder / shard['file']}: {rows} clips, {META} says {shard['rows']}; prepare again")
        try:
            index = pq.read_table(folder / INDEX)
        except (OSError, ValueError):
            raise InputError(f"{folder / INDEX}: missing or damaged; prepare again with overwrite=True") from None
        if index.num_rows != sum(shard["rows"] for shard in meta["shards"]):
            raise InputError(
                f"{folder / INDEX}: {index.num_rows} rows, not as in the shards; prepare again, overwrite=True"
            )
        return cls(folder, Taxonomy.from_csv(folder / TAXONOMY), meta, index)

    @property
    def name(self) -> str:
        """The name of its folder when it was prepared."""
        return self.meta["name"]

    @property
    def fingerprint(self) -> str:
        """A hash of every clip's id, labels and frames, and of the tree; the same however the work was divided."""
        return self.meta["fingerprint"]

    @property
    def synthetic(self) -> bool:
        """Whether the pictures are rendered rather than filmed."""
        return self.meta["synthetic"]

    @property
    def scene_classes(self) -> int:
        """How many scene classes its frames are labelled with: 16, or 365."""
        return self.meta.get("scene_classes", len(SCENES))

    @functools.cached_property
    def text_features(self) -> Tensor | None:
        """Text features that the source itself carries, float32 (number of cities, d), NaN for a city without; or None.

        The released label files have 512 numbers per clip, in effect one vector per city; this is their mean.
        """
        if not (self.folder / TEXT).is_file():
            return None
        return load_file(self.folder / TEXT)["city"]

    def rejected(self) -> list[dict[str, str]]:
        """The clips that were listed and could not be prepared: `clip_id`, `path`, `reason`."""
        with open(self.folder / REJECTED, newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

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
        self._decoded, self._index = prepared._decoded, prepared._index.take(rows)
        self.clip_ids: list[str] = self._index["clip_id"].to_pylist()
        self.video_ids: list[str] = self._index["video_id"].to_pylist()
        self.labels = {level: torch.from_numpy(self._index[level].to_numpy().astype(np.int64)) for level in LEVELS}
        self.shape: tuple[int, int, int, int] = (prepared.meta["frames"], 3, *2 * (prepared.meta["size"],))
        shards = prepared.meta["shards"]
        self._paths = [str(prepared.folder / shard["file"]) for shard in shards]
        starts = np.cumsum([0] + [shard["rows"] for shard in shards])
        self._shard = np.searchsorted(starts, rows, side="right") - 1
        self._row = rows - starts[self._shard]
        self._open: dict[int, tuple[Any, int]] = {}  # shard -> its reader, clips per row group
        self._last: dict[str, tuple[tuple[int, int], Any]] = {}  # column -> shard and row group read last, its content
        self._pid = os.getpid()

    def take(self, numbers: np.ndarray) -> ClipDataset:
        """Some of its clips, by their numbers in it: a split of the split."""
        part = copy.copy(self)
        part._index, part._shard, part._row = self._index.take(numbers), self._shard[numbers], self._row[numbers]
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
        indexed = "frame_scenes" in self._index.column_names
        rows = self._index["frame_scenes"][i] if indexed else self._read(i, "frame_scenes")
        if not rows.is_valid:
            return None
        return torch.tensor(rows.values.flatten().to_numpy(), dtype=torch.float32).reshape(-1, self.scene_classes)

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
        """The JPEG files of a clip, each uint8 (bytes,): views of one buffer."""
        files = self._read(i, "frames").values
        _, offsets, content = files.buffers()
        offsets = np.frombuffer(offsets, np.int32)[files.offset : files.offset + len(files) + 1].tolist()
        content = np.frombuffer(content, np.uint8)
        return [content[start:stop] for start, stop in itertools.pairwise(offsets)]

    def _read(self, i: int, column: str) -> Any:
        """One column of a clip's row in its shard, as an Arrow scalar."""
        if self._pid != os.getpid():  # no open file is handed on by fork
            self._open, self._last, self._pid = {}, {}, os.getpid()
        shard = int(self._shard[i])
        try:
            if shard not in self._open:
                # Frames do not compress, so there is nothing to fetch ahead: a group is read where it is mapped.
                file = pq.ParquetFile(self._paths[shard], memory_map=True, pre_buffer=False)
                self._open[shard] = file, file.metadata.row_group(0).num_rows
            file, clips = self._open[shard]
            group, row = divmod(int(self._row[i]), clips)
            last, rows = self._last.get(column, (None, None))
            if last != (shard, group):
                rows = file.read_row_group(group, columns=[column], use_threads=False)[column]
                self._last[column] = (shard, group), rows
        except (OSError, pa.ArrowException) as error:
            raise self._damaged(i, f"cannot be read ({error})") from None
        return rows[row]

    def _damaged(self, i: int, what: str) -> InputError:
        return InputError(f"{self._paths[self._shard[i]]}: {what}; delete this file and prepare again, it is made anew")

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": {}, "_last": {}, "_decoded": {}}

    def __repr__(self) -> str:
        return f"ClipDataset({self.name}: {len(self):,} clips)"
