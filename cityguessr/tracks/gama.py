"""Tracks of GAMa (Vyas et al., ECCV 2022): rides of BDD100k with the fixes of the phone that filmed them.

    list/train.list                     GAMa: a line "<ride> <frames>" for each of 45,029 rides, by day and by night
    list/val_day_vid.list               GAMa: a line "<ride>" for each of 3,103 rides, by day
    info/100k/{train,val}/<ride>.json   BDD100k: startTime, endTime, locations (timestamp, latitude, longitude, ...)
    videos/100k/{train,val}/<ride>.mov  BDD100k: about 40 s, 1280 x 720

Both may stand in a folder `bdd100k`, and `100k` may be absent. Of a list's line the first field counts, with `.mov` or
without, so that `train_day.list` and `val_gps_day.list` ("<ride> <second> <tile>") will do as well. A JSON belongs to
the video of its name; its own field `filename` is wrong. Times are milliseconds since 1970, fixes come about once a
second.

**Uncertain.** The record does not say that a video begins at its `startTime`; BDD100k's users take it so, and so does
this reader. Frames per second are not the same for all (of rides of 40 s, some have 600 frames, most 1,200), so a frame
is known by its second until its video is opened. Which frames of a ride VidTAG takes is not public beyond "16"; GAMa's
own queries are whole seconds, 1 to 38, and so are the frames here. The four boxes of the gallery are those of the
authors' code.
"""

import dataclasses
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cityguessr.base.errors import InputError
from cityguessr.base.progress import track as progress
from cityguessr.base.tables import read_json, read_lines
from cityguessr.data.sources import SPLITS
from cityguessr.data.video import video_info
from cityguessr.measures.boxes import Box
from cityguessr.measures.tracks import mean_place
from cityguessr.tracks.fixes import interpolate
from cityguessr.tracks.track import Tally, Track, Tracks

TRAIN_LIST, VAL_LIST = "train.list", "val_day_vid.list"
LEAST_FRAMES = 16
LONGEST_GAP_S = 5.0
LONGEST_RIDE_S = 600  # fifteen times the usual length: beyond that, a time in the file is wrong

_RIDE = re.compile(r"[\w-]+", re.ASCII)


BOXES = {
    "california": Box(36.5, -122.78, 39.0, -121.0),
    "new_york": Box(39.0, -75.0, 43.0, -70.0),
    "israel_north": Box(31.06, 34.56, 33.03, 35.52),
    "israel_south": Box(29.54, 34.93, 29.59, 34.98),
}
"""The regions whose grids, 0.5 km apart, make up the gallery of GAMa (the authors' code)."""


def read_gama(
    root: str | os.PathLike[str],
    lists: str | os.PathLike[str] | None = None,
    every_s: float = 1.0,
    least: int = LEAST_FRAMES,
    longest_gap_s: float = LONGEST_GAP_S,
    *,
    train_list: str = TRAIN_LIST,
    val_list: str = VAL_LIST,
    check: bool = False,
) -> Tracks:
    """The rides of GAMa's lists, with a frame every `every_s` seconds and its position between two fixes.

    Left out and counted are: rides without a video, without a GPS file (BDD100k lacks 19) or with one that cannot be
    read or has fewer than two fixes; fixes that are no place on Earth, or at exactly (0, 0); frames before the first
    fix, after the last, or between two that are further apart than `longest_gap_s`; rides of fewer than `least` frames
    after that.

    A ride belongs to the box that most of its frames are in. One that is in none is kept, in the region of the nearest
    box, and counted as kept: the gallery has no point there, so that its frames can never be predicted, and its share
    of the training, which there is, teaches places that no answer can name. Single frames outside their ride's box are
    counted in the same way.

    Args:
        root: the folder with `info/` and `videos/` of BDD100k.
        lists: the folder of GAMa's lists; `list/` in the root, or the root, where left out.
        every_s: seconds from frame to frame; the first is shown at that second.
        least: the fewest frames of a track.
        longest_gap_s: seconds between two fixes.
        train_list, val_list: names of the lists.
        check: whether every video is opened for its length, so that frames after its end, and videos that cannot be
            read, are left out and counted. Without it `read_frames` complains of them.

    Raises InputError, naming file and line, for a folder or list that is missing, a line that names no ride, and a ride
    in both splits.
    """
    root = Path(root).resolve()
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; give the folder of BDD100k, with info/ and videos/ in it")
    if not (every_s > 0 and longest_gap_s > 0 and least >= 1):
        raise InputError(
            f"every_s {every_s}, longest_gap_s {longest_gap_s}, least {least}: give seconds above 0 and a frame or more"
        )
    rides = _rides(_lists(root, lists), (train_list, val_list))
    tally, tracks = Tally(), []
    for split in SPLITS:
        names = [ride for ride, part in rides.items() if part == split]
        if not names:
            continue
        infos, videos = (_folder(root, kind, split) for kind in ("info", "videos"))
        for ride in progress(names, f"reading tracks of GAMa, {split}"):
            video = videos / f"{ride}.mov"
            if not video.is_file():
                tally.add(split, "rides", "no video", example=video)
                continue
            if (info := _read_info(infos / f"{ride}.json", split, tally)) is None:
                continue
            seconds, latlon = _frames(info, split, tally, every_s, longest_gap_s)
            if check:
                seconds, latlon = _until_the_end(video, seconds, latlon, split, tally)
            if len(seconds) < least:
                tally.add(split, "rides", f"fewer than {least} frames with a position", example=info.path)
                continue
            region = _region(latlon, split, tally, ride)
            tracks.append(Track(ride, region, split, latlon, video=video, seconds=seconds))
    return Tracks("gama", tuple(tracks), tally.frame())


@dataclasses.dataclass(frozen=True)
class _Info:
    """What is used of a ride's JSON: seconds since its start, and the fixes in their order."""

    path: Path
    duration_s: float
    times_s: NDArray[np.float64]  # (n,)
    latlon: NDArray[np.float64]  # (n, 2)


def _lists(root: Path, lists: str | os.PathLike[str] | None) -> Path:
    if lists is not None:
        return Path(lists)
    return root / "list" if (root / "list").is_dir() else root


def _rides(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Ride -> split, in the order of the lists."""
    rides: dict[str, str] = {}
    for split, name in zip(SPLITS, names, strict=True):
        path = folder / name
        if not path.is_file():
            raise InputError(f"{path}: no such list; take it from the folder list/ of GAMa's repository (svyas23/GAMa)")
        for line, text in read_lines(path):
            if not (fields := text.split()):
                continue
            ride = fields[0].removesuffix(".mov")
            if not _RIDE.fullmatch(ride):
                raise InputError(f"{path}, line {line}: {ride!r} is no name of a ride; correct the line")
            if rides.setdefault(ride, split) != split:
                raise InputError(f"{path}, line {line}: {ride} is in {names[0]} too; keep it in one of the two")
    return rides


def _folder(root: Path, kind: str, split: str) -> Path:
    """Where the files of a kind stand for a split."""
    places = [top / kind / inner / split for top in (root, root / "bdd100k") for inner in ("100k", "")]
    for place in places:
        if place.is_dir():
            return place
    raise InputError(f"{places[0]}: no such folder; unpack bdd100k_{kind}.zip of BDD100k there")


def _read_info(path: Path, split: str, tally: Tally) -> _Info | None:
    """A ride's times and fixes; None, counted, where it has too few."""
    if not path.is_file():
        tally.add(split, "rides", "no GPS file", example=path)
        return None
    try:
        ride = read_json(path)
    except InputError as error:
        tally.add(split, "rides", "its GPS file cannot be read", example=error)
        return None
    start, end, locations = ride.get("startTime"), ride.get("endTime"), ride.get("locations")
    if not (_is_number(start) and _is_number(end) and 0 < end - start <= 1000 * LONGEST_RIDE_S):
        tally.add(split, "rides", "its GPS file does not say when the video was taken", example=path)
        return None
    fixes = {}
    for fix in locations if isinstance(locations, list) else ():
        time, lat, lon = (fix.get(key) if isinstance(fix, dict) else None for key in _FIX)
        if not (_is_number(time) and _is_number(lat) and _is_number(lon) and abs(lat) <= 90 and abs(lon) <= 180):
            tally.add(split, "fixes", "no place on Earth", example=path)
        elif lat == lon == 0:
            tally.add(split, "fixes", "at exactly (0, 0), no fix", example=path)
        else:
            fixes.setdefault(time, (lat, lon))
    if len(fixes) < 2:
        reason = "no fix in its GPS file" if not locations else "fewer than two fixes that can be used"
        tally.add(split, "rides", reason, example=path)
        return None
    times = sorted(fixes)
    return _Info(
        path,
        (end - start) / 1000,
        (np.array(times, dtype=np.float64) - start) / 1000,
        np.array([fixes[time] for time in times], dtype=np.float64),
    )


_FIX = ("timestamp", "latitude", "longitude")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15


def _frames(
    info: _Info, split: str, tally: Tally, every_s: float, longest_gap_s: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Seconds (T,) and positions (T, 2) of the frames that have one; the others are counted."""
    seconds = every_s * np.arange(1, np.ceil(info.duration_s / every_s))
    outside = (seconds < info.times_s[0]) | (seconds > info.times_s[-1])
    latlon = interpolate(seconds, info.times_s, info.latlon, longest_gap_s)
    known = np.isfinite(latlon).all(axis=1)
    tally.add(split, "frames", "before the first fix or after the last", int(outside.sum()), example=info.path)
    tally.add(
        split,
        "frames",
        f"between fixes more than {longest_gap_s:g} s apart",
        int((~known & ~outside).sum()),
        example=info.path,
    )
    return seconds[known], latlon[known]


def _until_the_end(
    video: Path, seconds: NDArray[np.float64], latlon: NDArray[np.float64], split: str, tally: Tally
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The frames that a video has; none where it cannot be read."""
    try:
        info = video_info(video)
    except InputError:
        there, reason = np.zeros(len(seconds), bool), "the video cannot be read"
    else:
        there, reason = np.floor(seconds * info.fps + 1e-6) < info.frames, "after the end of the video"
    tally.add(split, "frames", reason, int((~there).sum()), example=video)
    return seconds[there], latlon[there]


def _region(latlon: NDArray[np.float64], split: str, tally: Tally, ride: str) -> str:
    """The box of a ride: the one with most of its frames, or else the nearest."""
    inside = {name: int(box.contains(latlon).sum()) for name, box in BOXES.items()}
    region = max(inside, key=lambda name: inside[name])
    if not inside[region]:
        middle = mean_place(latlon)
        region = min(BOXES, key=lambda name: BOXES[name].distance_km(middle))
        reason = "outside every box of the gallery, in the region of the nearest"
        tally.add(split, "rides", reason, example=ride, kept=True)
    tally.add(
        split,
        "frames",
        "outside the box of their ride, where the gallery has no point",
        len(latlon) - inside[region],
        example=ride,
        kept=True,
    )
    return region
