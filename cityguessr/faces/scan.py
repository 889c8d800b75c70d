"""A scan for faces of every frame of a data set (supplement, section 5, step 1), which goes on where it was stopped.

scanned = find_faces("release", detectors.YuNet(), "scan")    # every frame below release/
scanned.table()                                               # clip, frame, x, y, width, height, score
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cityguessr.base.errors import InputError
from cityguessr.base.files import make_folder, write_bytes
from cityguessr.base.progress import track
from cityguessr.data.frames import in_order, is_picture, picture_names
from cityguessr.data.pictures import open_image
from cityguessr.faces.detectors import BOX, Detector
from cityguessr.faces.folders import alone, sweep

LOG, TABLE, FAILED = "scan.jsonl", "detections.csv", "rejected.csv"
_FORMAT = 2
_FURTHEST = 1e6  # pixels: no box reaches so far
_SUM = 16  # hexadecimal digits of each line's checksum


@dataclasses.dataclass(frozen=True)
class ScannedClip:
    """The faces of one clip.

    Attributes:
        digest: of the names, sizes and times of its files; other files give another.
        frames: names of the files that were looked at, in the clip's order; sorted by name where they have none.
        boxes: name of a frame -> float32 (n, 5) as of `Detector`; frames without faces are left out.
        failed: name of a file that could not be looked at -> the reason.

    Raises InputError for boxes that are not numbers or those of no frame, and for frames that are not names of
    pictures.
    """

    digest: str
    frames: tuple[str, ...]
    boxes: dict[str, NDArray[np.float32]]
    failed: dict[str, str]

    def __post_init__(self) -> None:
        known = {*self.frames, *self.failed}
        if wrong := [name for name in known if os.path.basename(name) != name or not is_picture(name)]:
            raise InputError(f"{wrong[0]!r} is not the name of a frame; scan again")
        if len(known) < len(self.frames) + len(self.failed):
            raise InputError("one of its frames is listed twice; scan again")
        for name, rows in self.boxes.items():
            if name not in self.frames:
                raise InputError(f"faces of {name!r}, which is none of its frames; scan again")
            # NaN is not below anything
            if rows.ndim != 2 or rows.shape[1] != 5 or not (np.abs(rows) < _FURTHEST).all() or (rows[:, 2:4] < 0).any():
                raise InputError(
                    f"a face of {name!r} is not a box of x, y, width, height and score in pixels; scan again"
                )


@dataclasses.dataclass(frozen=True)
class Scan:
    """The faces of a data set.

    Attributes:
        source: the folder that was scanned.
        settings: of the detector.
        clips: by the path of a clip's folder below `source`, such as `train/Lyon/Lyon_0003`, in the order of the scan.
    """

    source: Path
    settings: dict[str, Any]
    clips: dict[str, ScannedClip]

    def table(self) -> pd.DataFrame:
        """One row per face: clip, frame (the name of the file), x, y, width, height (pixels), score."""
        rows = [(*place, *face) for place, faces in self.boxes().items() for face in faces.astype(float)]
        table = pd.DataFrame(rows, columns=["clip", "frame", *BOX, "score"])
        numbers = table.astype(dict.fromkeys([*BOX, "score"], float))  # also where there is no row
        return numbers.round({**dict.fromkeys(BOX, 1), "score": 4})

    def boxes(self) -> dict[tuple[str, str], NDArray[np.float32]]:
        """(clip, frame) -> its faces, for every frame that has any."""
        return {(clip, name): rows for clip, scanned in self.clips.items() for name, rows in scanned.boxes.items()}

    def failed(self) -> pd.DataFrame:
        """One row per file that could not be looked at: clip, frame, reason."""
        rows = [(clip, name, why) for clip, scanned in self.clips.items() for name, why in scanned.failed.items()]
        return pd.DataFrame(rows, columns=["clip", "frame", "reason"])

    def __str__(self) -> str:
        frames = sum(len(clip.frames) for clip in self.clips.values())
        boxes = self.boxes()
        return (
            f"{len(self.clips):,} clips, {frames:,} frames looked at, {len(self.failed())} unreadable; "
            f"{sum(map(len, boxes.values())):,} faces in {len(boxes):,} frames"
        )


def find_clips(source: str | os.PathLike[str], limit: int = 0) -> dict[str, Path]:
    """The clips below a folder, by name: every folder that holds pictures, sorted. Folders that are links belong to it.

    Args:
        limit: at most so many, evenly spread over the list; 0 for all.

    Raises InputError for a missing folder or one without frames.
    """
    source = Path(source)
    if not source.is_dir():
        raise InputError(f"{source}: no such folder; give the folder of a release, or any folder of frames")
    clips: dict[str, Path] = {}
    for folder, has_folders, has_frames in _walk(source, ()):
        if has_frames:
            clips[folder.relative_to(source).as_posix()] = folder
            if has_folders or folder == source:
                raise InputError(f"{folder}: frames beside folders, or without a clip's folder; give each clip its own")
    if not clips:
        raise InputError(f"{source}: no frames below it; a clip is a folder of <n>.jpg files")
    names = list(clips)
    spread = [names[i * len(names) // limit] for i in range(limit)] if 0 < limit < len(names) else names
    return {name: clips[name] for name in spread}


def _walk(folder: Path, above: tuple[tuple[int, int], ...]) -> Iterator[tuple[Path, bool, bool]]:
    """Every folder below one, links followed but for those into a folder above: whether it has folders, and frames."""
    try:
        here = os.stat(folder)
        with os.scandir(folder) as entries:
            names = [(entry.name, entry.is_dir()) for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror}); repair or remove it") from None
    place = (here.st_dev, here.st_ino)
    if place in above:
        return
    below = sorted(name for name, is_folder in names if is_folder)
    yield folder, bool(below), any(is_picture(name) for name, is_folder in names if not is_folder)
    for name in below:
        yield from _walk(folder / name, (*above, place))


def find_faces(
    source: str | os.PathLike[str],
    detector: Detector,
    out: str | os.PathLike[str],
    *,
    limit: int = 0,
    workers: int = 1,
) -> Scan:
    """Look for faces in every frame of every clip (supplement, section 5: "all the frames of all videos").

    Each finished clip is a line of `scan.jsonl` in `out`: a scan that was stopped goes on where it was, and gives what
    an uninterrupted one gives. At the end `detections.csv` and `rejected.csv` are written beside it. A frame that
    cannot be read is recorded with its reason and stops nothing; a clip whose files have changed is looked at again.

    Args:
        limit: clips to look at, see `find_clips`.
        workers: threads, one network for each. Neither their number nor their order changes the result.

    Raises InputError for a folder without frames, an `out` that holds a scan with other settings, a damaged or edited
    one, or that another process is writing to, and where not one frame could be looked at.
    """
    source, out = Path(source).resolve(), make_folder(out)
    clips = find_clips(source, limit)
    with alone(out):
        sweep(out)
        return _find_faces(source, clips, detector, out, workers)


def _find_faces(source: Path, clips: dict[str, Path], detector: Detector, out: Path, workers: int) -> Scan:
    done = _read_log(out / LOG, detector.settings)
    todo = {
        clip: folder for clip, folder in clips.items() if clip not in done or files_digest(folder) != done[clip].digest
    }
    if todo:
        with ThreadPoolExecutor(max(1, workers)) as pool:
            try:
                results = pool.map(lambda folder: _scan_clip(folder, detector), todo.values())
                for clip, scanned in track(zip(todo, results, strict=True), f"{source.name}: clips scanned", len(todo)):
                    _append(out / LOG, _line(clip, scanned))
                    done[clip] = scanned
            finally:
                pool.shutdown(cancel_futures=True)
    whole = Scan(source, dict(detector.settings), {clip: done[clip] for clip in clips})
    failed = whole.failed()
    if len(failed) and not any(clip.frames for clip in whole.clips.values()):
        raise InputError(f"{source}: not one frame could be looked at; the first: {failed.reason[0]}")
    write_bytes(out / TABLE, whole.table().to_csv(index=False, lineterminator="\n").encode())
    write_bytes(out / FAILED, failed.to_csv(index=False, lineterminator="\n").encode())
    return whole


def read_frame(path: Path) -> NDArray[np.uint8]:
    """A frame's file as uint8 (H, W, 3), RGB, upright. Raises InputError, naming it, where it is damaged."""
    return np.asarray(open_image(path))


def files_digest(folder: Path) -> str:
    """A hash of the names, sizes and times of a clip's pictures: of what changes when one is repaired or exchanged."""
    files = []
    for name in picture_names(folder):
        try:
            file = os.stat(folder / name)
            files.append((name, file.st_size, file.st_mtime_ns))
        except OSError:  # a link that leads nowhere is a frame that cannot be read, which the scan records
            files.append((name, -1, -1))
    return hashlib.sha256(json.dumps(files).encode()).hexdigest()[:16]


def _names(folder: Path) -> list[str]:
    """All pictures of a clip, for a stray one may show a face as well; in the order of time where they have one."""
    names = picture_names(folder)
    try:
        return in_order(names, folder)
    except InputError:
        return names


def _scan_clip(folder: Path, detector: Detector) -> ScannedClip:
    boxes, failed = {}, {}
    digest = files_digest(folder)
    files = [folder / name for name in _names(folder)]
    for file in files:
        try:
            faces = detector(read_frame(file))
            if len(faces):
                boxes[file.name] = _rounded(faces)
        except Exception as error:  # one bad frame never stops the others, not even by a fault in a decoder
            failed[file.name] = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
    return ScannedClip(digest, tuple(file.name for file in files if file.name not in failed), boxes, failed)


def _rounded(rows: Sequence[Sequence[float]] | NDArray[np.floating]) -> NDArray[np.float32]:
    """Faces to a tenth of a pixel and four digits of the score: the same from a log as from the detector."""
    rows = np.asarray(rows, np.float64).reshape(-1, 5)
    return np.concatenate([rows[:, :4].round(1), rows[:, 4:].round(4)], axis=1).astype(np.float32)


def _line(clip: str, scanned: ScannedClip) -> bytes:
    boxes = {name: [[round(float(x), 4) for x in row] for row in rows] for name, rows in scanned.boxes.items()}
    row = {"clip": clip, "digest": scanned.digest, "frames": scanned.frames, "boxes": boxes, "failed": scanned.failed}
    text = json.dumps(row, separators=(",", ":")).encode()
    return text[:-1] + _tail(text) + b"\n"


def _tail(text: bytes) -> bytes:
    """The end of a line: its checksum, in place of the brace that closes the row."""
    return b',"sum":"%s"}' % hashlib.sha256(text).hexdigest()[:_SUM].encode()


def _append(path: Path, line: bytes) -> None:
    try:
        with open(path, "ab") as log:
            log.write(line)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}); free some space, and run the same again: finished clips "
            "are kept"
        ) from None


def _read_log(path: Path, settings: dict[str, Any]) -> dict[str, ScannedClip]:
    """The finished clips of a log with these settings; begins one where there is none, and cuts off a torn line."""
    head = json.dumps({"format": _FORMAT, **settings}).encode() + b"\n"
    content = path.read_bytes() if path.is_file() else b""
    whole = content[: content.rfind(b"\n") + 1]
    if not whole:
        write_bytes(path, head)
        return {}
    if whole.partition(b"\n")[0] + b"\n" != head:
        raise InputError(
            f"{path}: holds a scan with other settings or of another version; give another folder, or remove this one"
        )
    if whole != content:
        write_bytes(path, whole)
    return dict(_entries(path, whole))


def _entries(path: Path, content: bytes) -> Iterator[tuple[str, ScannedClip]]:
    for number, line in enumerate(content.split(b"\n")[1:-1], start=2):
        try:
            text = line[: -len(_tail(b""))] + b"}"
            if line != text[:-1] + _tail(text):
                raise ValueError("it was changed since it was written")
            row = json.loads(text)
            boxes = {name: _rounded(rows) for name, rows in row["boxes"].items()}
            yield row["clip"], ScannedClip(row["digest"], tuple(row["frames"]), boxes, dict(row["failed"]))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise InputError(f"{path}, line {number}: damaged ({error}); remove the line and scan again") from None
