"""The preparation of clips, one for every source: frames at training size in Parquet shards, whole or not at all."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.numpy import save

from cityguessr.base import pools
from cityguessr.base.errors import InputError
from cityguessr.base.files import PARTIAL, make_folder, write_atomically, write_bytes, write_csv
from cityguessr.base.progress import track
from cityguessr.config import ClipFormat
from cityguessr.data.clips import FORMAT, INDEX, META, REJECTED, TAXONOMY, TEXT, PreparedClips
from cityguessr.data.shards import JPEG_QUALITY, SceneLabeller, Shard, ShardJob, read_shard, write_shard
from cityguessr.data.sources import SPLITS, ClipRef, Renderer
from cityguessr.scenes import SCENES, check_scene_classes
from cityguessr.taxonomy import LEVELS, Taxonomy

PLAN = "plan.json"
SHARD_CLIPS = 256  # clips per shard: about 100 MB at 16 frames of 224 pixels


class Source(Protocol):
    """Anything that lists clips: a `ReleaseSource`, `MapillarySource`, `FolderSource`, or one that you write.

    One that has a `renderer` makes the frames of its clips itself: nothing is read from files.

    Attributes:
        name: what the source is called in `meta.json`.
        taxonomy: the label tree that the ids of its clips refer to.
        synthetic: whether the pictures are rendered rather than filmed.
        text_features: float32 (number of cities, d), NaN for a city without any, or None: text features that the source
            itself carries for each city.
        scene_classes: (optional) how many scenes its clips are labelled with, 16 or 365; unsaid, whatever is wanted.
        renderer: (optional) a `sources.Renderer`, which also says how long and how large it will be before it starts.
    """

    name: str
    taxonomy: Taxonomy
    synthetic: bool
    text_features: np.ndarray | None

    def clips(self) -> list[ClipRef]:
        """Every listed clip, in the order of the list."""
        ...


def prepare(
    source: Source,
    out: str | os.PathLike[str],
    clip_format: ClipFormat,
    *,
    workers: int = 2,
    cluster: str | None = None,
    text: np.ndarray | torch.Tensor | None = None,
    scene_labeller: SceneLabeller | None = None,
    shard_clips: int = SHARD_CLIPS,
    overwrite: bool = False,
) -> PreparedClips:
    """Turn every clip of a source into JPEG frames of a format, and write them to the folder `out`.

    A clip that cannot be read never stops the others: it is listed in `rejected.csv` with the reason, and prepared and
    rejected clips add up to those listed. Shards are written one by one under a temporary name; run again after an
    interruption, it goes on after the finished ones. `meta.json` is written last and marks a whole set; a set that is
    whole already is loaded as it is. Neither `workers`, `cluster` nor `shard_clips` changes a byte of a clip.

    Args:
        out: the folder to fill, by custom `data/prepared/<name>/`.
        clip_format: which frames are kept of a clip, and of what size.
        workers: processes of this machine; with 1, and where a GPU renders, the work is done in this process. From a
            script, call with more than 1 below `if __name__ == "__main__":`, as every pool of processes asks.
        cluster: address of a Dask scheduler (`tcp://host:8786`) whose workers do the work instead; they must see
            the source and `out` under the same paths and have this package.
        text: text features of the cities (number of cities, d) to keep with the set; the source's own by default.
        scene_labeller: gives the scenes of frames where the source gives none, such as a `Places365Labeller`.
        shard_clips: clips per shard.
        overwrite: throw away what an earlier preparation, whole or not, left in `out`.

    Returns the prepared set. Raises InputError where `out` holds something else, cannot be written or the disk is full,
    where no clip at all can be prepared, and for arguments that make no sense.
    """
    for name, value in (("workers", workers), ("shard_clips", shard_clips)):
        if value < 1:
            raise InputError(f"prepare: {name} is {value}; it must be at least 1")
    _check_scene_classes(clip_format.scene_classes, source, scene_labeller)
    text = _text_features(source, text)
    renderer: Renderer | None = getattr(source, "renderer", None)
    clips = source.clips()
    if not clips:
        raise InputError(f"{source.name}: the source lists no clip; give one that does")
    settings = {
        "source": source.name,
        "frames": clip_format.frames,
        "size": clip_format.size,
        "sampling": clip_format.sampling,
        "quality": JPEG_QUALITY,
        "scenes": None if scene_labeller is None else getattr(scene_labeller, "name", type(scene_labeller).__name__),
    }
    if clip_format.scene_classes != len(SCENES):  # sets of 16 scenes keep the plan that they had
        settings["scene_classes"] = clip_format.scene_classes
    if renderer is not None:
        settings |= renderer.settings
    out = make_folder(out).resolve()
    if overwrite:
        _clear(out)
    plan = _agree_on_plan(out, {"format": FORMAT, **settings, "clips": len(clips), "hash": _hash_clips(clips, text)})
    if (out / META).is_file():
        with contextlib.suppress(InputError):
            return PreparedClips.load(out)
        (out / META).unlink()  # a shard was lost since: what is missing is made again

    jobs = [
        ShardJob(
            str(out / f"clips-{number:05d}.parquet"), plan, first, tuple(clips[first : first + shard_clips]), LEVELS,
            clip_format, scene_labeller, renderer,
        )
        for number, first in enumerate(range(0, len(clips), shard_clips))
    ]  # fmt: skip
    shards = _run(jobs, f"preparing {out.name}, shards of {shard_clips} clips", workers, cluster)
    names = [Path(job.path).name for job in jobs]
    _finish(out, source, shards, names, settings | {"plan": plan, "scene_classes": clip_format.scene_classes}, text)
    return PreparedClips.load(out)


def _run(jobs: list[ShardJob], description: str, workers: int, cluster: str | None) -> list[Shard]:
    """Every job's shard, those already on the disk as they are."""
    done: dict[str, Shard] = {}
    for job in jobs:
        with contextlib.suppress(InputError):
            shard = read_shard(job.path)
            if (shard.plan, shard.first, shard.listed) == (job.plan, job.first, len(job.clips)):
                done[job.path] = shard
    todo = [job for job in jobs if job.path not in done]
    if done:
        print(f"{description}: {len(done):,} of {len(jobs):,} are there already", flush=True)
    renderer = todo[0].renderer if todo else None
    if renderer is not None:
        todo.sort(key=lambda job: job.clips[0].labels)  # what belongs to a city is made once for both splits
        clips = [clip for job in todo for clip in job.clips]
        at_once = 1 if cluster or renderer.on_gpu else min(workers, len(todo))
        renderer.announce(clips, todo[0].format, Path(todo[0].path).parent, at_once, bool(done))
    tasks, kept = [(job.path, functools.partial(write_shard, job)) for job in todo], "finished shards are kept"
    if cluster:
        finished = pools.on_cluster(tasks, cluster, kept)
    elif renderer is not None and renderer.on_gpu:
        finished = _in_threads(tasks)
    elif workers > 1:
        finished = pools.in_processes(tasks, min(workers, len(todo)), kept, preload=write_shard.__module__)
    else:
        finished = ((path, write()) for path, write in tasks)
    if todo:
        done |= track(finished, description, len(todo))
    return [done[job.path] for job in jobs]


def _in_threads(tasks: list[tuple[str, Callable[[], Shard]]]) -> Iterator[tuple[str, Shard]]:
    """The name and the result of each task as they finish: one shard is written while the next is rendered."""
    with ThreadPoolExecutor(2) as pool:
        names = {pool.submit(write): name for name, write in tasks}
        try:
            for finished in as_completed(names):
                yield names[finished], finished.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _hash_clips(clips: list[ClipRef], text: np.ndarray | None) -> str:
    """A hash of what is listed, and of the size of each clip's first file, so that a changed source is noticed.

    Sizes rather than times: a copy of the source on another machine is the same source.
    """
    digest = hashlib.sha256(b"" if text is None else text.tobytes())
    for clip in clips:
        path = Path(clip.path)
        first = path / (clip.files[0] if clip.files else "1.jpg")
        try:
            stamp = os.stat(path if clip.is_video else first).st_size if clip.path else -1
        except OSError:
            stamp = -1
        listed = (clip.clip_id, clip.video_id, clip.split, clip.labels, path.name, stamp)
        digest.update(json.dumps(listed if clip.files is None else [*listed, clip.files]).encode())
        for array in (clip.clip_scenes, clip.frame_scenes, clip.gps):
            digest.update(b"-" if array is None else array.tobytes())
    return digest.hexdigest()[:32]


def _agree_on_plan(out: Path, plan: dict[str, Any]) -> str:
    """The hash of the plan, which is written beside the shards, or compared with the plan of an earlier call."""
    path = out / PLAN
    if not path.is_file():
        others = [entry.name for entry in out.iterdir() if not entry.name.startswith(".")]
        if others:
            raise InputError(f"{out}: holds other files ({sorted(others)[0]}, ...); choose an empty or a new folder")
        write_bytes(path, json.dumps(plan, indent=1).encode())
    try:
        earlier = json.loads(path.read_bytes())
        differences = [
            f"{key} {earlier.get(key)!r}, now {plan.get(key)!r}"
            for key in {**earlier, **plan}
            if earlier.get(key) != plan.get(key)
        ]
    except (ValueError, AttributeError):
        differences = [f"{PLAN} is damaged"]
    if differences:
        raise InputError(
            f"{out}: holds a preparation of another source or with other settings ({'; '.join(differences)}); choose "
            "another folder, or throw the old one away with overwrite=True"
        )
    return hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()[:32]


def _clear(out: Path) -> None:
    """Delete what `prepare` wrote, the mark of a whole set first, and nothing else."""
    names = [META, INDEX, REJECTED, TAXONOMY, TEXT, *(path.name for path in out.glob("clips-*.parquet")), PLAN]
    if (out / PLAN).is_file():
        for name in names:
            (out / name).unlink(missing_ok=True)


def _finish(
    out: Path, source: Source, shards: list[Shard], names: list[str], settings: dict[str, Any], text: np.ndarray | None
) -> None:
    """Write everything that depends on all shards, and `meta.json` last."""
    rejected = [row for shard in shards for row in shard.rejected]
    prepared, listed = sum(shard.rows for shard in shards), sum(shard.listed for shard in shards)
    write_csv(out / REJECTED, [("clip_id", "path", "reason"), *rejected])
    if not prepared:
        raise InputError(f"none of the {listed} clips of {source.name} could be prepared; the first: {rejected[0][2]}")

    _remove_leftovers(out, names)
    tree = source.taxonomy.csv().encode()
    write_bytes(out / TAXONOMY, tree)
    if text is not None:
        write_bytes(out / TEXT, save({"city": text}))
    columns = ["clip_id", "video_id", "split", *LEVELS, "gps"]
    if settings["scene_classes"] == len(SCENES):
        columns.insert(-1, "frame_scenes")  # in memory with the index; the 365 of every frame stay in the shards
    index = pa.concat_tables([pq.read_table(out / name, columns=columns) for name in names])
    index = index.replace_schema_metadata(None)
    write_atomically(out / INDEX, lambda file: pq.write_table(index, file))

    digest = hashlib.sha256(tree + (b"" if text is None else text.tobytes()))
    for row in (row for shard in shards for row in shard.digests):
        digest.update(row.encode())
    meta = {
        "format": FORMAT,
        "name": out.name,
        **settings,
        "synthetic": source.synthetic,
        "clips": {"listed": listed, "prepared": prepared, "rejected": len(rejected)},
        "counts": {split: _counts(index, split, source) for split in SPLITS},
        "shards": [{"file": name, "rows": shard.rows} for name, shard in zip(names, shards, strict=True)],
        "fingerprint": digest.hexdigest()[:32],
    }
    write_bytes(out / META, json.dumps(meta, indent=1).encode())


def _remove_leftovers(out: Path, names: list[str]) -> None:
    """Delete shards other than `names`, of an interrupted call with smaller shards, and old temporary files."""
    for path in set(out.glob("clips-*.parquet")) - {out / name for name in names}:
        path.unlink()
    for path in out.glob(f".*{PARTIAL}"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > 3600:  # left by a process that was killed
                path.unlink()


def _counts(index: pa.Table, split: str, source: Source) -> dict[str, Any]:
    """How many clips and source videos a split has, and how many clips each class of each level has."""
    rows = index.filter([name == split for name in index["split"].to_pylist()])
    counts = {"clips": rows.num_rows, "videos": len(set(rows["video_id"].to_pylist()))}
    for level in LEVELS:
        counts[level] = np.bincount(rows[level].to_numpy(), minlength=source.taxonomy.size(level)).tolist()
    return counts


def _check_scene_classes(scene_classes: int, source: Source, labeller: SceneLabeller | None) -> None:
    """Raise InputError unless source and labeller give as many scene classes as the prepared frames are to have."""
    check_scene_classes(scene_classes)
    for name, giver in ((source.name, source), ("the labeller", labeller)):
        given = getattr(giver, "scene_classes", None)
        if given and given != scene_classes:
            raise InputError(f"{name} gives {given} scenes and the clip format wants {scene_classes}; make them agree")


def _text_features(source: Source, text: np.ndarray | torch.Tensor | None) -> np.ndarray | None:
    """The text features to keep with the set, float32: those given, else the source's, else None."""
    if text is None:
        text = getattr(source, "text_features", None)
    if text is None:
        return None
    text, cities = np.asarray(text, dtype=np.float32), source.taxonomy.size("city")
    if text.ndim != 2 or len(text) != cities:
        raise InputError(f"text features are (number of cities = {cities}, d), not {text.shape}")
    return np.ascontiguousarray(text)
