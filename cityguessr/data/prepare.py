"""The preparation of clips, one for every source: frames at training size in Parquet shards, whole or not at all."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from cityguessr.base import pools
from cityguessr.base.errors import InputError
from cityguessr.base.files import make_folder, write_bytes
from cityguessr.base.progress import track
from cityguessr.config import ClipFormat
from cityguessr.data import derived, plans, prepared, source_files
from cityguessr.data.clips import PreparedClips
from cityguessr.data.prepared import FORMAT
from cityguessr.data.shards import JPEG_QUALITY, Shard, ShardJob, read_shard, read_sources, write_shard
from cityguessr.data.sources import ClipRef, Renderer
from cityguessr.scenes import check_scene_classes
from cityguessr.taxonomy import Taxonomy

SHARD_CLIPS = 256  # clips per shard: 188 MB at 15 frames of 224 pixels, 733 kB per clip

_MANY = 5000  # clips from which on looking for changes of the source shows its progress


class Source(Protocol):
    """Anything that lists clips: a `ReleaseSource`, `MapillarySource`, `FolderSource`, or one that you write.

    One that has a `renderer` makes the frames of its clips itself: nothing is read from files.

    Attributes:
        name: what the source is called in `meta.json`.
        taxonomy: the label tree that the ids of its clips refer to.
        synthetic: whether the pictures are rendered rather than filmed.
        text_features: float32 (number of cities, d), NaN for a city without any, or None: text features that the source
            itself carries for each city.
        scene_classes: (optional) how many scenes its clips are labelled with, 16 or 365; left out, whatever is wanted.
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
    workers: int | None = None,
    cluster: str | None = None,
    text: np.ndarray | torch.Tensor | None = None,
    video_limit_s: float | None = None,
    shard_clips: int = SHARD_CLIPS,
    overwrite: bool = False,
) -> PreparedClips:
    """Turn every clip of a source into JPEG frames of a format, and write them to the folder `out`.

    A clip that cannot be read never stops the others: it is listed in `rejected.csv` with the reason, and prepared and
    rejected clips add up to those listed. Shards are written one by one under a temporary name; run again after an
    interruption, it goes on after the finished ones. `meta.json` is written last and marks a whole set. Neither
    `workers`, `cluster` nor `shard_clips` changes a byte of a clip.

    Called again for a whole set, it looks whether the files of the source are still those that were read, by their
    sizes and times, or their content where only times differ. Shards with a changed file are prepared anew, and so are
    those with a rejected clip that was repaired. Labels, splits, places and scenes are taken from the source as it is
    now, without reading a picture. So formats that differ in their scene classes alone share one folder.

    Args:
        out: the folder to fill, by custom `data/prepared/<name>/`.
        clip_format: which frames are kept of a clip, of what size, and how many scene classes there are.
        workers: processes of this machine, by default as many as it has cores; with 1, and where a GPU renders, the
            work is done in this process. From a script, call with more than 1 below `if __name__ == "__main__":`, as
            every pool of processes asks.
        cluster: address of a Dask scheduler (`tcp://host:8786`) whose workers do the work instead; they must see
            the source and `out` under the same paths and have this package.
        text: text features of the cities (number of cities, d) to keep with the set; the source's own by default.
        video_limit_s: seconds that reading one video file may take; a clip that takes longer is rejected.
        shard_clips: clips per shard, for a set that is not there yet.
        overwrite: throw away what an earlier preparation, whole or not, left in `out`.

    Returns the prepared set, with the source's scenes in use where it lists any (`labelling.label_scenes` gives them
    where it does not). Raises InputError where `out` holds something else, cannot be written or the disk is full, where
    no clip at all can be prepared, where the source lists no scene for a frame whose clip it lists scenes for, and for
    arguments that make no sense.
    """
    workers = pools.cores() if workers is None else workers
    for name, value in (("workers", workers), ("shard_clips", shard_clips)):
        if value < 1:
            raise InputError(f"prepare: {name} is {value}; it must be at least 1")
    work = _Work.of(source, out, clip_format, text)
    make_folder(work.out)
    if overwrite:
        plans.clear(work.out)
    plans.agree(work.out, work.plan)
    with contextlib.suppress(InputError):
        shard_clips = prepared.read_meta(work.out)["shard_clips"]
    jobs = work.jobs(shard_clips, video_limit_s)
    done = _finished(work, jobs, compare=True)
    if whole := _as_it_is(work, jobs, done):
        return whole
    shards = _run(work, jobs, done, f"preparing {work.out.name}, shards of {shard_clips} clips", workers, cluster)
    plans.remove_leftovers(work.out, {Path(job.path).name for job in jobs})
    derived.write(work.out, work.derive(jobs, shards))
    return PreparedClips.load(work.out, clip_format.scene_classes)


def taken(
    source: Source,
    out: str | os.PathLike[str],
    clip_format: ClipFormat,
    *,
    text: np.ndarray | torch.Tensor | None = None,
) -> PreparedClips | None:
    """The set in `out` where it is whole and `prepare` would find nothing to do, else None; nothing is written.

    Any number of processes may ask at once. A source whose files have other times than when they were read is left to
    `prepare`, which compares their contents.
    """
    work = _Work.of(source, out, clip_format, text)
    try:
        if json.loads((work.out / plans.PLAN).read_bytes()) != work.plan:
            return None
        jobs = work.jobs(prepared.read_meta(work.out)["shard_clips"])
    except (OSError, ValueError):  # an InputError is a ValueError
        return None
    return _as_it_is(work, jobs, _finished(work, jobs, compare=False))


@dataclasses.dataclass(frozen=True)
class _Work:
    """A source, the format that is wanted of it, and the plan that both make."""

    source: Source
    out: Path
    format: ClipFormat
    clips: list[ClipRef]
    text: np.ndarray | None
    settings: dict[str, Any]
    plan: dict[str, Any]

    @classmethod
    def of(
        cls,
        source: Source,
        out: str | os.PathLike[str],
        clip_format: ClipFormat,
        text: np.ndarray | torch.Tensor | None,
    ) -> _Work:
        _check_scene_classes(clip_format.scene_classes, source)
        text = _text_features(source, text)
        clips = source.clips()
        if not clips:
            raise InputError(f"{source.name}: the source lists no clip; give one that does")
        renderer: Renderer | None = getattr(source, "renderer", None)
        settings = {
            "source": source.name,
            "frames": clip_format.frames,
            "size": clip_format.size,
            "sampling": clip_format.sampling,
            "quality": JPEG_QUALITY,
            **({} if renderer is None else renderer.settings),
        }
        plan = {"format": FORMAT, **settings, "clips": len(clips), "hash": plans.hash_clips(clips)}
        return cls(source, Path(out).resolve(), clip_format, clips, text, settings, plan)

    @property
    def digest(self) -> str:
        """The hash of the plan."""
        return hashlib.sha256(json.dumps(self.plan, sort_keys=True).encode()).hexdigest()[:32]

    def jobs(self, shard_clips: int, video_limit_s: float | None = None) -> list[ShardJob]:
        """The shards that make the set."""
        renderer = getattr(self.source, "renderer", None)
        return [
            ShardJob(
                str(self.out / f"clips-{number:05d}.parquet"), self.digest, first,
                tuple(self.clips[first : first + shard_clips]), self.format, renderer, video_limit_s,
            )
            for number, first in enumerate(range(0, len(self.clips), shard_clips))
        ]  # fmt: skip

    def derive(self, jobs: list[ShardJob], shards: list[Shard]) -> derived.Derived:
        """Everything beside the shards."""
        source, paths = self.source, [Path(job.path) for job in jobs]
        known = [(path.name, shard, prepared.shard_entry(path)) for path, shard in zip(paths, shards, strict=True)]
        settings = {**self.settings, "plan": self.digest, "shard_clips": len(jobs[0].clips)}
        return derived.derive(
            source.name, source.taxonomy, source.synthetic, self.clips, known, settings, self.format.scene_classes,
            self.text,
        )  # fmt: skip


def _as_it_is(work: _Work, jobs: list[ShardJob], done: dict[str, Shard]) -> PreparedClips | None:
    """The set as it stands, where all its shards are done and everything beside them is as it would be now."""
    if len(done) < len(jobs):
        return None
    try:
        whole = PreparedClips.load(work.out, work.format.scene_classes)
    except InputError:
        return None
    return whole if work.derive(jobs, [done[job.path] for job in jobs]).is_in(whole.meta) else None


def _finished(work: _Work, jobs: list[ShardJob], compare: bool) -> dict[str, Shard]:
    """The shards that are there already and were read from the source as it is now, by their paths.

    Args:
        compare: compare contents where files have other times than when they were read, and say what changed.
    """
    named: dict[str, Any] = {}
    with contextlib.suppress(InputError):
        named = {shard["file"]: shard for shard in prepared.read_meta(work.out)["shards"]}
    whole: dict[str, Shard] = {}
    for job in jobs:
        with contextlib.suppress(InputError):
            path = Path(job.path)
            known = named.get(path.name)
            if known and prepared.shard_entry(path) != {"size": known["size"], "digest": known["digest"]}:
                continue  # whatever it is, it is not what was written
            shard = read_shard(path)
            if (shard.plan, shard.first, shard.listed) == (job.plan, job.first, len(job.clips)):
                whole[job.path] = shard
    if getattr(work.source, "renderer", None) is not None or not whole:
        return whole
    return _unchanged(work, [job for job in jobs if job.path in whole], whole, compare)


def _unchanged(work: _Work, jobs: list[ShardJob], whole: dict[str, Shard], compare: bool) -> dict[str, Shard]:
    """Those of some whole shards whose source files are still those that were read."""
    remembered = {}
    with contextlib.suppress(OSError, ValueError, TypeError):
        remembered = dict(json.loads((work.out / plans.TIMES).read_bytes()))

    def look(job: ShardJob) -> tuple[list[str], str | None]:
        """The clips of a shard that changed, and a hash of the new times where only these did."""
        then = read_sources(job.path)
        if len(then) != len(job.clips):
            return [job.clips[0].clip_id], None
        now = [source_files.as_recorded(clip, one) for clip, one in zip(job.clips, then, strict=True)]
        if now == [{key: value for key, value in one.items() if key != "digest"} for one in then]:
            return [], None
        times = prepared.digest_of(json.dumps(now).encode())
        if remembered.get(Path(job.path).name) == times:
            return [], times
        if not compare:
            return [""], None
        pairs = zip(job.clips, then, strict=True)
        return [clip.clip_id for clip, one in pairs if not source_files.is_same(clip, one, job.format)], times

    looked = source_files.in_threads(look, jobs)
    if len(work.clips) > _MANY:
        looked = track(looked, f"{work.out.name}: looking whether the source changed, shards", len(jobs))
    same, changed, times = {}, [], {}
    for job, (clips, new) in zip(jobs, looked, strict=True):
        if clips:
            changed += clips
        else:
            same[job.path] = whole[job.path]
            times |= {Path(job.path).name: new} if new else {}
    if compare and times != remembered:
        write_bytes(work.out / plans.TIMES, json.dumps(times).encode())
    if compare and changed:
        print(
            f"{work.out.name}: {len(changed):,} clips changed in the source since they were read ({changed[0]}"
            f"{', ...' if len(changed) > 1 else ''}); {len(jobs) - len(same):,} of {len(jobs):,} shards are made anew",
            flush=True,
        )
    return same


def _run(
    work: _Work, jobs: list[ShardJob], done: dict[str, Shard], description: str, workers: int, cluster: str | None
) -> list[Shard]:
    """Every job's shard, those that are done as they are."""
    todo = [job for job in jobs if job.path not in done]
    if not todo:
        return [done[job.path] for job in jobs]
    prepared.unmark(work.out)
    if done:
        print(f"{description}: {len(done):,} of {len(jobs):,} are there already", flush=True)
    renderer = todo[0].renderer
    if renderer is not None:
        todo.sort(key=lambda job: job.clips[0].labels)  # what belongs to a city is made once for both splits
        clips = [clip for job in todo for clip in job.clips]
        at_once = 1 if cluster or renderer.on_gpu else min(workers, len(todo))
        renderer.announce(clips, todo[0].format, work.out, at_once, bool(done))
    tasks, kept = [(job.path, functools.partial(write_shard, job)) for job in todo], "finished shards are kept"
    if cluster:
        finished = pools.on_cluster(tasks, cluster, kept)
    elif renderer is not None and renderer.on_gpu:
        finished = _in_threads(tasks)
    elif workers > 1:
        finished = pools.in_processes(tasks, min(workers, len(todo)), kept, preload=write_shard.__module__)
    else:
        finished = ((path, write()) for path, write in tasks)
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


def _check_scene_classes(scene_classes: int, source: Source) -> None:
    """Raise InputError unless the source gives as many scene classes as the prepared frames are to have."""
    check_scene_classes(scene_classes)
    given = getattr(source, "scene_classes", None)
    if given and given != scene_classes:
        raise InputError(
            f"{source.name} gives {given} scenes and the clip format wants {scene_classes}; make them agree"
        )


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
