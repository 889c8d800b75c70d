"""Frames of tracks that cannot be read: looked for once, listed beside the features, and left out from then on.

Opening every picture of a set beforehand costs what one encoder's reading of it costs, and most sets have no damage. So
`search` is called when a picture fails, and looks at all of them then. Its list, `data/features/<set>-damaged-
<digest>.csv`, is applied whenever the set is read: those frames are in no track any more, so that every encoder, the
gallery and the answers agree, and a training of the rest is known as one of the rest.
"""

from __future__ import annotations

import csv
import dataclasses
import functools
import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from cityguessr.base import paths, progress, threads
from cityguessr.base.errors import InputError
from cityguessr.base.files import make_folder, write_csv
from cityguessr.data import video as videos
from cityguessr.data.pictures import reduced
from cityguessr.tracks import Track, Tracks
from cityguessr.tracks.track import Tally
from cityguessr.vidtag.features import Features

MOST = 0.05
"""The share of a set's frames that may be damaged. Beyond it something else is wrong: a broken copy, a missing disk."""
REASON = "the picture cannot be read"
COLUMNS = ("number", "frame", "track", "file", "reason", "bytes", "changed")
_SIZE = 224  # pixels that a picture is reduced towards when it is looked at; libjpeg finds the same damage at any size


@dataclasses.dataclass(frozen=True)
class Damaged:
    """A frame that could not be read.

    Attributes:
        number: of its track in the set, from 0.
        frame: of the track as listed, from 0.
        track, file: their names, as far as they can be printed.
        reason: what the reader said.
        bytes, changed: size of the file, and when it was last changed, in ns; -1 where there was none.
    """

    number: int
    frame: int
    track: str
    file: str
    reason: str
    bytes: int
    changed: int


def list_of(tracks: Tracks) -> Path:
    """Where the damaged frames of a set, as it is listed, are listed."""
    name = re.sub(r"[^a-z0-9]+", "-", tracks.name.lower())
    return paths.data() / "features" / f"{name}-damaged-{tracks.fingerprint[:8]}.csv"


def search(tracks: Tracks) -> bool:
    """Read every frame of a set, in several threads, and list those that cannot be; each file is looked at as it is.

    A picture takes some milliseconds, and a video of 40 s a second or two.

    Args:
        tracks: the set as it is listed.

    Returns whether the list says something else than before.
    """
    before = _listed(tracks)
    numbered = list(enumerate(tracks.tracks))
    with ThreadPoolExecutor(2 * threads.cores()) as pool:
        looked = pool.map(lambda one: _look(*one), numbered)
        shown = progress.track(looked, f"looking for damaged pictures of {tracks.name}, tracks", len(numbered))
        found = [damaged for rows in shown for damaged in rows]
    _write(tracks, found)
    return found != before


def is_about(error: InputError, tracks: Tracks) -> bool:
    """Whether an error names one of a set's files: that is what damage is complained of with."""
    message = str(error)
    return any(_printable(file) in message for track in tracks.tracks for file in dict.fromkeys(_files(track)))


def without(tracks: Tracks, least: int) -> Tracks:
    """A set without the frames that its list names, or the set itself where there is no list.

    A training track that is left with fewer than `least` frames is left out with them, and so is any track that is left
    with none. All of it is in `counts`. A file that changed since it was listed is looked at again.

    Raises InputError where more than `MOST` of the frames are damaged, and for a list that cannot be read.
    """
    if not (listed := _listed(tracks)):
        return tracks
    stale = {row.number for row in listed if (row.bytes, row.changed) != _state(_file(tracks.tracks[row.number], row))}
    if stale:
        again = [row for number in sorted(stale) for row in _look(number, tracks.tracks[number])]
        listed = sorted([row for row in listed if row.number not in stale] + again, key=_order)
        _write(tracks, listed)
        if not listed:
            return tracks
    frames = sum(map(len, tracks.tracks))
    if len(listed) > MOST * frames:
        raise InputError(
            f"{len(listed):,} of {frames:,} pictures of {tracks.name} cannot be read, more than {MOST:.0%}, the first: "
            f"{listed[0].reason}; all of them are in {list_of(tracks)}; copy the data set again, and run the same"
        )
    return _without(tracks, tuple(listed), least)


def adopt(before: Tracks, after: Tracks) -> int:
    """Give a set without its damaged frames the features that were computed of it before: those of whole tracks.

    Returns how many files there are that need not be computed again.
    """
    known = {track.name: track for track in before.tracks}
    whole = [track for track in after.tracks if len(known[track.name]) == len(track)]
    adopted = 0
    for meta in sorted((paths.data() / "features").glob("*/meta.json")):
        try:
            identity = json.loads(meta.read_bytes())
        except (OSError, ValueError):
            continue
        if not isinstance(identity, dict) or identity.get("tracks") != before.fingerprint:
            continue
        identity = identity | {"tracks": after.fingerprint}
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
        folder = make_folder(meta.parent.with_name(f"{meta.parent.name.rpartition('-')[0]}-{digest}"))
        for track in whole:
            for views in ("whole",) if track.split == "train" else ("whole", "ten_crops"):
                old, new = (Features(place, 0, "", views).file(track) for place in (meta.parent, folder))
                if old.is_file() and not new.exists():
                    make_folder(new.parent)
                    _link(old, new)
                    adopted += 1
    return adopted


def summary(tracks: Tracks) -> list[dict[str, str | int]]:
    """What was left out of a set, for a run's record: what, reason and count, over all places."""
    left = tracks.left_out().groupby(["what", "reason"], sort=False)["count"].sum()
    return [{"what": what, "reason": reason, "count": int(count)} for (what, reason), count in left.items()]


def _look(number: int, track: Track) -> list[Damaged]:
    """The frames of a track that cannot be read."""
    failed = _of_video(track) if track.video is not None else _of_pictures(track)
    files = _files(track)
    return [
        Damaged(number, frame, _printable(track.name), _printable(files[frame]), reason, *_state(files[frame]))
        for frame, reason in sorted(failed.items())
    ]


def _of_pictures(track: Track) -> dict[int, str]:
    failed = {}
    for frame, path in enumerate(track.pictures):
        try:
            reduced(path, _SIZE)
        except InputError as error:
            failed[frame] = str(error)
    return failed


def _of_video(track: Track) -> dict[int, str]:
    """Where a video breaks off, the frames before are good."""
    assert track.video is not None
    assert track.seconds is not None
    try:
        info = videos.video_info(track.video)
    except InputError as error:
        return dict.fromkeys(range(len(track)), str(error))
    numbers = [math.floor(second * info.fps + 1e-6) for second in track.seconds.tolist()]
    end = f"{track.video}: ends after {info.frames / info.fps:.2f} s"
    failed = {frame: end for frame, number in enumerate(numbers) if number >= info.frames}
    there, reason = set(), ""
    try:
        for number, _ in videos.pick(track.video, [n for n in numbers if n < info.frames]):
            there.add(number)
    except InputError as error:
        reason = str(error)
    return failed | {f: reason for f, n in enumerate(numbers) if n < info.frames and n not in there}


def _without(tracks: Tracks, listed: Sequence[Damaged], least: int) -> Tracks:
    by_track: dict[int, dict[int, str]] = {}
    for row in listed:
        by_track.setdefault(row.number, {})[row.frame] = row.reason
    return _cut(tracks, tuple((number, tuple(frames.items())) for number, frames in by_track.items()), least)


@functools.lru_cache(maxsize=2)
def _cut(tracks: Tracks, damage: tuple[tuple[int, tuple[tuple[int, str], ...]], ...], least: int) -> Tracks:
    """Kept, because a set is asked for again and again, and what names it is computed from all of it."""
    tally, kept = Tally(), []
    frames: Mapping[int, Mapping[int, str]] = {number: dict(rows) for number, rows in damage}
    for number, track in enumerate(tracks.tracks):
        if number not in frames:
            kept.append(track)
            continue
        bad = frames[number]
        tally.add(track.region, "frames", REASON, len(bad), example=next(iter(bad.values())))
        wanted = least if track.split == "train" else 1
        good = [frame for frame in range(len(track)) if frame not in bad]
        if len(good) < max(1, wanted):
            reason = f"fewer than {wanted} frames can be read" if wanted > 1 else "no frame can be read"
            tally.add(track.region, "tracks", reason, example=track.name)
        else:
            kept.append(_chosen(track, good))
    counts = [part for part in (tracks.counts, tally.frame()) if len(part)]
    return dataclasses.replace(tracks, tracks=tuple(kept), counts=pd.concat(counts, ignore_index=True))


def _chosen(track: Track, frames: Iterable[int]) -> Track:
    chosen = np.array(list(frames), dtype=int)
    pictures = tuple(track.pictures[frame] for frame in chosen) if track.pictures else ()
    seconds = None if track.seconds is None else track.seconds[chosen]
    return dataclasses.replace(track, latlon=track.latlon[chosen], pictures=pictures, seconds=seconds)


def _files(track: Track) -> Sequence[Path]:
    """The file of each of its frames."""
    return track.pictures if track.video is None else [track.video] * len(track)


def _file(track: Track, row: Damaged) -> Path:
    return _files(track)[row.frame]


def _state(path: Path) -> tuple[int, int]:
    """Size in bytes and time of the last change in ns of a file; -1, -1 where there is none."""
    try:
        known = os.stat(path)
    except (OSError, ValueError):
        return -1, -1
    return known.st_size, known.st_mtime_ns


def _listed(tracks: Tracks) -> list[Damaged]:
    """What the list of a set says; nothing where there is none."""
    path = list_of(tracks)
    if not path.is_file():
        return []
    try:
        with open(path, encoding="utf-8", newline="") as file:
            header, *lines = csv.reader(file)
            if tuple(header) != COLUMNS:
                raise ValueError
            rows = [Damaged(int(n), int(f), t, p, r, int(b), int(c)) for n, f, t, p, r, b, c in lines]
            if any(not 0 <= row.frame < len(tracks.tracks[row.number]) for row in rows):
                raise ValueError
    except (OSError, ValueError, IndexError, csv.Error):
        raise InputError(
            f"{path}: no list of damaged frames of this set; delete it, and the set is looked at again where a picture "
            "cannot be read"
        ) from None
    return rows


def _write(tracks: Tracks, rows: Sequence[Damaged]) -> None:
    write_csv(list_of(tracks), [COLUMNS, *map(dataclasses.astuple, sorted(rows, key=_order))])


def _order(row: Damaged) -> tuple[int, int]:
    return row.number, row.frame


def _printable(name: object) -> str:
    """A name as messages have it, for a table of text."""
    return str(InputError(name)).encode("utf-8", "backslashreplace").decode()


def _link(old: Path, new: Path) -> None:
    """The same file at a second place; a copy where the disk knows no such thing."""
    try:
        os.link(old, new)
    except OSError:
        shutil.copyfile(old, new)
