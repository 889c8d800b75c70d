"""One stretch of a long video turned into clips on disk, whole or not at all. Processes work on several at a time.

A stretch's folder in the workshop has a folder of `<n>.jpg` for each clip, and `segment.json`, which says what they
are. It appears under its name when all of it is written.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
import os
import shutil
import uuid
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cityguessr.base.errors import InputError
from cityguessr.base.files import PARTIAL, explain, make_folder, write_bytes
from cityguessr.base.tables import read_json
from cityguessr.compilation.cuts import Cut, cut
from cityguessr.compilation.places import Place
from cityguessr.compilation.settings import Settings
from cityguessr.compilation.watching import Watcher
from cityguessr.data import video
from cityguessr.data.pictures import encode_image
from cityguessr.data.video import VideoInfo
from cityguessr.faces.detectors import BOX, Detector

REPORT = "segment.json"
ATTEMPTS = 2  # to read a video: the process that reads it may have been ended from outside


@dataclasses.dataclass(frozen=True)
class Probe:
    """A first look at a video.

    Attributes:
        stamp: size in bytes and time of the last change in nanoseconds.
        info: length, rate and size, or None where it cannot be read, for the `reason`.
    """

    stamp: tuple[int, int]
    info: VideoInfo | None
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class Segment:
    """A stretch of a video to be cut: its row of the table, where its clips go, and how they are made."""

    place: Place
    folder: Path
    settings: Settings

    def stretch(self, info: VideoInfo) -> tuple[int, int]:
        """The numbers of the first frame to use and of the one behind the last, at the video's mean rate."""
        place = self.place
        end = info.frames if math.isinf(place.end) else min(info.frames, round(place.end * info.fps))
        return min(round(place.start * info.fps), info.frames), end

    def cuts(self, info: VideoInfo) -> tuple[list[Cut], int]:
        """The clips, and the frames left over: see `cuts.cut`."""
        return cut(*self.stretch(info), self.place.video, self.settings)


def probe(path: Path | None) -> Probe:
    """A first look at a video, which never fails."""
    if path is None:
        return Probe((-1, -1), None, "there is no such file in the folder of videos")
    stamp, reason = stamp_of(path), ""
    for _ in range(ATTEMPTS):
        try:
            return Probe(stamp, video.video_info(path))
        except InputError as error:
            reason = str(error)
        except Exception as error:  # whatever a decoder raises costs this video alone
            reason = f"{path}: {type(error).__name__}: {error}"
    return Probe(stamp, None, reason)


def stamp_of(path: Path | None) -> tuple[int, int]:
    """Size in bytes and time of the last change in nanoseconds; -1 both where there is no file."""
    try:
        status = os.stat(path or "")
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def read_report(segment: Segment, stamp: tuple[int, int]) -> dict[str, Any] | None:
    """What was made of a stretch, or None where it is not finished, or the video has changed since."""
    if not (segment.folder / REPORT).is_file():
        return None
    try:
        report = read_json(segment.folder / REPORT)
    except InputError:  # damaged: it is made again
        return None
    whole = {"stamp", "clips", "rejected", "reason"} <= report.keys() and report["stamp"] == list(stamp)
    return report if whole and all((segment.folder / clip["folder"]).is_dir() for clip in report["clips"]) else None


def write_segment(segment: Segment, seen: Probe) -> None:
    """Cut a stretch into clips, and write their frames and `segment.json`, all or nothing.

    A video that cannot be read to the end of what is used gives no clip at all: the report says why. Raises InputError
    where the disk cannot be written.
    """
    folder = segment.folder
    partial = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}{PARTIAL}")
    try:
        partial.mkdir(parents=True)
        report = _write(segment, seen, partial)
        write_bytes(partial / REPORT, json.dumps(report).encode())
        for file in partial.rglob("*.jpg"):
            with open(file, "rb") as written:
                os.fsync(written.fileno())
        shutil.rmtree(folder, ignore_errors=True)  # of the video before it changed
        os.replace(partial, folder)
    except OSError as error:
        raise InputError(explain(folder, error)) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write(segment: Segment, seen: Probe, partial: Path) -> dict[str, Any]:
    """Write the frames into a folder; returns the report."""
    report: dict[str, Any] = {"stamp": list(seen.stamp), "clips": [], "rejected": []}
    report["reason"] = _relative(seen.reason, segment.place)
    if seen.info is None or segment.place.path is None:
        return report
    clips, left = segment.cuts(seen.info)
    first, end = segment.stretch(seen.info)
    low = segment.settings.clip_frames[0]
    if not clips:
        return report | {"reason": f"too short: {end - first} frames to use, and a clip has {low} at least"}
    for attempt in reversed(range(ATTEMPTS)):
        try:
            report |= {"sha256": _digest(segment.place.path), **_cut(segment, clips, partial)}
            break
        except _Unreadable as error:
            for number in range(len(clips)):
                shutil.rmtree(partial / str(number), ignore_errors=True)
            if not attempt:
                return report | {"reason": _relative(str(error), segment.place)}
    if left:
        reason = f"left over at the end: a clip has {low} frames at least"
        report["rejected"].append([end - left, left, reason])
    return report


def _cut(segment: Segment, clips: list[Cut], partial: Path) -> dict[str, Any]:
    """Write every clip but those that are blank; returns what is known of the `clips`, and of those `rejected`."""
    written: list[dict[str, Any]] = []
    rejected: list[list[Any]] = []
    for number, clip in enumerate(_read(segment, clips, partial)):
        if clip["blank"] >= segment.settings.blank_share * segment.settings.kept:
            shutil.rmtree(partial / str(number))
            reason = f"{clip['blank']} of {segment.settings.kept} kept frames are blank"
            rejected.append([clip["first"], clip["frames"], reason])
        else:
            written.append(clip | {"folder": str(number)})
    return {"clips": written, "rejected": rejected}


def _relative(reason: str, place: Place) -> str:
    """A reason with the video's name in the table in place of its path on this machine."""
    return reason.replace(str(place.path), place.video)


class _Unreadable(Exception):
    """A video that fails while it is read."""


def _frames(path: Path, numbers: list[int]) -> Any:
    """The frames of a video, where any failure of a decoder is told apart from one in writing them."""
    limit = video.LIMIT_S + numbers[0] / 5  # all that comes before a late start is decoded, too
    frames = video.pick(path, numbers, limit_s=limit)
    while True:
        try:
            number, frame = next(frames)
        except StopIteration:
            return
        except InputError as error:
            raise _Unreadable(str(error)) from None
        except Exception as error:
            raise _Unreadable(f"{path}: {type(error).__name__}: {error}") from None
        yield number, frame


def _read(segment: Segment, clips: list[Cut], partial: Path) -> Any:
    """Write the frames of clip after clip; yields what is to be known of each."""
    settings = segment.settings
    numbers = [clip.kept(settings.kept) for clip in clips]
    frames = _frames(segment.place.path, [number for kept in numbers for number in kept])
    for index, (clip, kept) in enumerate(zip(clips, numbers, strict=True)):
        folder, watcher, faces, size = make_folder(partial / str(index)), Watcher(), {}, (0, 0)
        for n, number in enumerate(kept, start=1):
            got, frame = next(frames, (None, None))
            if got != number:
                raise _Unreadable(f"{segment.place.path}: gave frame {got} in place of {number}")
            picture, boxes = finish(frame, settings)
            if len(boxes):
                faces[str(n)] = [[round(float(value), 4) for value in box] for box in boxes]
            watcher.see(n, picture)
            (folder / f"{n}.jpg").write_bytes(encode(picture, settings))
            size = picture.shape[1::-1]
        yield {"first": clip.first, "frames": clip.frames, "size": size, "faces": faces} | watcher.report()
    next(frames, None)  # its end: the process that read it is then free for the next video


def finish(frame: NDArray[np.uint8], settings: Settings) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """A frame as it is written, uint8 (H, W, 3), scaled and blurred; and the faces found on it, float32 (n, 5)."""
    side = min(frame.shape[:2])
    if settings.height and settings.height < side:
        size = tuple(max(1, round(length * settings.height / side)) for length in frame.shape[1::-1])
        frame = np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BILINEAR))
    if settings.blur is None:
        return frame, np.zeros((0, len(BOX) + 1), np.float32)
    boxes = _detector(settings)(frame)
    return settings.blur(frame, boxes), boxes


def encode(picture: NDArray[np.uint8], settings: Settings) -> bytes:
    """A frame as the content of a JPEG file."""
    return encode_image(Image.fromarray(picture), "JPEG", quality=settings.quality)


@functools.lru_cache(maxsize=1)
def _detector(settings: Settings) -> Detector:
    """The detector, once for each process."""
    detector = settings.find_detector()
    assert detector is not None
    return detector


def _digest(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _Unreadable(f"{path}: cannot be read ({error.strerror})") from None
