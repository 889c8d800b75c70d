"""The compilation of a folder of long videos, in one call that goes on where it was stopped.

While it works, everything stands in `.compiling/` inside the target: `plan.json`, a first look at each video, and a
folder for each stretch that is finished. When all are, `names.json` says which clip gets which name, the clips' folders
are moved to their places, tables are written, `compilation.json` last, and the workshop is removed.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from cityguessr.base import paths, pools, threads
from cityguessr.base.errors import InputError
from cityguessr.base.files import PARTIAL, make_folder, write_bytes
from cityguessr.base.progress import track
from cityguessr.base.tables import read_json, read_rows
from cityguessr.compilation import estimate, layout
from cityguessr.compilation.places import Place
from cityguessr.compilation.segments import REPORT, Probe, Segment, probe, read_report, stamp_of, write_segment
from cityguessr.compilation.settings import Settings
from cityguessr.compilation.table import read_places, unlisted
from cityguessr.compilation.trees import Tree
from cityguessr.data.video import VideoInfo

WORKSHOP, PLAN = ".compiling", "plan.json"
_FORMAT = 1
_KEPT = "finished videos are kept"


def compile_videos(
    videos: str | os.PathLike[str],
    table: str | os.PathLike[str],
    out: str | os.PathLike[str],
    settings: Settings | None = None,
    *,
    workers: int | None = None,
) -> dict[str, Any]:
    """Cut long videos into clips, and write them in the release layout of CityGuessr68k (paper, section 3).

        out/<split>/<City>/<City>_<idx>/<n>.jpg         n from 1, not zero-padded
        out/labels_list.csv                             City, State, Country, Continent
        out/train_labels.txt, val_labels.txt            clip and four class ids: 5 fields per line
        out/clips.csv                                   clip, video, first_frame, split, frames
        out/gps.csv                                     clip, frame, lat, lon, where the table gives places
        out/rejected.csv, remarks.csv, detections.csv   what was left out and why; blank frames and cuts; faces
        out/compilation.json                            settings, videos with their digests, versions, counts

    `data.cityguessr68k.ReleaseSource` reads it. A stretch of a video is all or nothing: one that cannot be read to its
    end is rejected and costs itself alone. Stopped at any moment, the same call goes on with the videos that are not
    finished, and the result is the same, byte for byte, whatever the number of workers. One that is whole is
    left as it is.

    Args:
        videos: the folder of videos.
        table: the table of places, see `table.read_places`.
        out: the folder to fill.
        settings: how; the paper's by default.
        workers: processes, one video each at a time; by default one for every core.

    Returns what `compilation.json` says. Raises InputError for a folder or table that cannot be used, an `out` that
    holds anything else, a disk that is full or too small, clips that fill one split only, and where a video of a
    finished compilation has changed.
    """
    settings, out = settings or Settings(), Path(os.path.abspath(os.path.expanduser(out)))
    videos, table = paths.found(videos), paths.found(table)
    workers = threads.cores() if workers is None else workers
    if workers < 1:
        raise InputError(f"workers is {workers}; it must be at least 1")
    places, tree = read_places(videos, table)
    settings.find_detector()  # before any work, where it is not there
    plan = _plan(places, tree, settings)
    if (out / layout.MARKER).is_file():
        return _whole(out, plan, places)
    _check_target(out)
    make_folder(out / WORKSHOP)
    lock = FileLock(out / f"{WORKSHOP}.lock")
    try:
        with lock.acquire(timeout=0):
            return _compile(out, plan, places, tree, settings, workers, unlisted(videos, places, table))
    except Timeout:
        raise InputError(f"{out}: another process is compiling it; wait for that one") from None
    finally:
        if (out / layout.MARKER).is_file():
            (out / f"{WORKSHOP}.lock").unlink(missing_ok=True)


def _compile(
    out: Path,
    plan: dict[str, Any],
    places: list[Place],
    tree: Tree,
    settings: Settings,
    workers: int,
    others: list[str],
) -> dict[str, Any]:
    shop = out / WORKSHOP
    _agree_on_plan(shop, plan)
    segments = [Segment(place, shop / f"{number:05d}", settings) for number, place in enumerate(places)]
    if not (shop / layout.NAMES).is_file():
        for left in shop.glob(f".*{PARTIAL}"):
            shutil.rmtree(left, ignore_errors=True)
        for line in _remarks(tree, others):
            print(line, flush=True)
        probes = _look(segments, shop, workers)
        todo = [s for s in segments if read_report(s, probes[s.place.video].stamp) is None]
        if todo:
            done = len(segments) - len(todo)
            estimate.announce(todo, probes, out, workers, done)
            label = f"{out.name}: stretches of video compiled"
            for _ in track(_work(todo, probes, workers), label, len(todo)):
                pass
    reports = [read_json(segment.folder / REPORT) for segment in segments]
    infos = [_read_probe(shop, place.video) for place in places]
    about = plan | {"added": tree.added(), "unlisted": others}
    return layout.finish(out, shop, segments, reports, [look and look.info for look in infos], tree, about)


def _plan(places: list[Place], tree: Tree, settings: Settings) -> dict[str, Any]:
    """What decides the result, but for the videos themselves."""
    rows = [
        [p.video, p.city, p.start, None if p.end == float("inf") else p.end, p.split, p.latlon, p.credit]
        for p in places
    ]
    digest = hashlib.sha256(json.dumps([rows, tree.rows(settings.tree == "listed")]).encode()).hexdigest()[:32]
    return {"format": _FORMAT, "settings": settings.record(), "places": digest}


def _differences(earlier: dict[str, Any], plan: dict[str, Any]) -> list[str]:
    """In what two plans differ, in words."""
    before, now = (one.get("settings") or {} for one in (earlier, plan))
    changed = [
        f"{name} {before.get(name)!r}, now {now.get(name)!r}"
        for name in {**before, **now}
        if before.get(name) != now.get(name)
    ]
    if earlier.get("places") != plan["places"]:
        changed.append("another table of places")
    return changed + (["another version of the format"] if earlier.get("format") != plan["format"] else [])


def _whole(out: Path, plan: dict[str, Any], places: list[Place]) -> dict[str, Any]:
    """What a finished compilation says, where it is of this plan and these videos. Raises InputError otherwise."""
    about = read_json(out / layout.MARKER)
    if not {"counts", "videos", "settings"} <= about.keys():
        raise InputError(f"{out / layout.MARKER}: is not as it was written; remove the folder and compile again")
    shutil.rmtree(out / WORKSHOP, ignore_errors=True)  # a kill may have come between the marker and this
    changed = _differences(about, plan)
    for place, video in zip(places, about.get("videos", []), strict=False):
        if [*stamp_of(place.path)] != video.get("stamp") and layout.digest(place.path) != video.get("sha256"):
            changed.append(f"{place.video} has changed since")
    for line, row in read_rows(out / "clips.csv", ("clip", "split")):
        if not (out / row["split"] / row["clip"].rpartition("_")[0] / row["clip"]).is_dir():
            raise InputError(
                f"{out / 'clips.csv'}, line {line}: {row['clip']} is gone; remove {out}, and compile again"
            )
    if changed:
        raise InputError(
            f"{out}: holds a compilation of other videos or with other settings ({'; '.join(changed)}); give another "
            "folder, or remove this one"
        )
    print(f"{out.name}: is there already, {about['counts']['clips']:,} clips", flush=True)
    return about


def _check_target(out: Path) -> None:
    """Refuse a folder that holds anything but an unfinished compilation."""
    if not out.is_dir() or (out / WORKSHOP).is_dir():
        return
    if others := sorted(entry.name for entry in out.iterdir() if entry.name != f"{WORKSHOP}.lock"):
        raise InputError(f"{out}: holds other files ({others[0]}, ...); give a folder that is new or empty")


def _agree_on_plan(shop: Path, plan: dict[str, Any]) -> None:
    path = shop / PLAN
    if not path.is_file():
        write_bytes(path, json.dumps(plan, indent=1).encode())
    elif changed := _differences(read_json(path), plan):
        raise InputError(
            f"{shop.parent}: holds an unfinished compilation of another table or with other settings "
            f"({'; '.join(changed)}); finish that one, give another folder, or remove this one"
        )


def _remarks(tree: Tree, others: list[str]) -> Iterator[str]:
    if added := tree.added():
        yield f"not in the tree, and added to it: {'; '.join(added)}"
    if others:
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        yield f"in the folder and not in the table, so not used: {', '.join(others[:3])}{more}"


def _look(segments: list[Segment], shop: Path, workers: int) -> dict[str, Probe]:
    """A first look at every video, by its name in the table; those looked at before, and unchanged, are not again."""
    paths = {segment.place.video: segment.place.path for segment in segments}
    probes = {name: look for name in paths if (look := _read_probe(shop, name))}
    probes = {name: look for name, look in probes.items() if look.stamp == stamp_of(paths[name])}
    tasks = [(name, functools.partial(probe, path)) for name, path in paths.items() if name not in probes]
    label = "videos looked at"
    for name, look in track(_spread(tasks, workers), label, len(tasks)) if tasks else ():
        content = {"video": name, "stamp": look.stamp, "info": look.info and dataclasses.asdict(look.info)}
        write_bytes(_probe_file(shop, name), json.dumps(content | {"reason": look.reason}).encode())
        probes[name] = look
    return probes


def _probe_file(shop: Path, name: str) -> Path:
    return shop / "videos" / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.json"


def _read_probe(shop: Path, name: str) -> Probe | None:
    path = _probe_file(shop, name)
    if not path.is_file():
        return None
    content = read_json(path)
    info = VideoInfo(**content["info"]) if content["info"] else None
    return Probe(tuple(content["stamp"]), info, content["reason"])


def _work(todo: list[Segment], probes: dict[str, Probe], workers: int) -> Iterator[tuple[str, None]]:
    """Cut every stretch, the longest first, so that the last one does not keep the others waiting."""
    ordered = sorted(todo, key=lambda segment: -estimate.frames(segment, probes[segment.place.video]))
    tasks = [(s.place.video, functools.partial(write_segment, s, probes[s.place.video])) for s in ordered]
    yield from _spread(tasks, workers)


def _spread(tasks: list[tuple[str, Callable[[], Any]]], workers: int) -> Iterator[tuple[str, Any]]:
    if workers == 1 or len(tasks) == 1:
        yield from ((name, work()) for name, work in tasks)
        return
    try:
        yield from pools.in_processes(tasks, min(workers, len(tasks)), _KEPT, preload=write_segment.__module__)
    except (EOFError, ConnectionError) as error:  # of the process that starts the others
        raise InputError(
            f"the processes that cut videos were ended ({type(error).__name__}), as it happens where memory runs out; "
            f"run again with fewer workers: {_KEPT}"
        ) from None
