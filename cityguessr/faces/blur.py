"""Blurring the faces that a person kept of a scan (supplement, section 5, step 3), into another folder."""

import dataclasses
import hashlib
import io
import json
import os
import shutil
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin

from cityguessr.base.errors import InputError
from cityguessr.base.files import PARTIAL, make_folder, write_bytes
from cityguessr.base.progress import track
from cityguessr.base.tables import read_json
from cityguessr.data.pictures import encode_image, read_bytes
from cityguessr.faces.detectors import iou
from cityguessr.faces.scan import Scan, files_digest, read_frame

KERNEL, SIGMA = 63, 21.0
"""The paper's Gaussian blur: side of the kernel and standard deviation, in pixels (supplement, section 5)."""

MARKER = "anonymised.json"
_LISTS = (".csv", ".txt", ".json")  # label files beside the frames are copied along
_SAME_FACE, _GROWN = 0.3, 1.5


@dataclasses.dataclass(frozen=True)
class Blur:
    """How a face is blurred; the defaults are the paper's.

    Attributes:
        kernel: side of the Gaussian kernel in pixels, odd.
        sigma: its standard deviation in pixels.
        grow: let the kernel of a face larger than it be as large as the face, and sigma with it. The paper's blur has
            one size, and a face much larger than the kernel keeps its features.
        margin: how far beyond the detector's box the blur reaches on each side, as a share of the box. The paper does
            not say that it reaches beyond.
    """

    kernel: int = KERNEL
    sigma: float = SIGMA
    grow: bool = False
    margin: float = 0.0

    def __post_init__(self) -> None:
        if self.kernel < 3 or self.kernel % 2 == 0 or self.sigma <= 0 or not 0 <= self.margin <= 1:
            raise InputError(
                f"kernel={self.kernel}, sigma={self.sigma}, margin={self.margin}: the kernel is an odd number from 3, "
                f"sigma above 0, and the margin a share from 0 to 1; the paper has {KERNEL}, {SIGMA:.0f} and no margin"
            )

    def __call__(self, frame: NDArray[np.uint8], boxes: NDArray[np.floating]) -> NDArray[np.uint8]:
        """A copy of a frame with the inside of the boxes blurred, one box after another.

        Args:
            frame: uint8 (H, W, 3) or (H, W).
            boxes: (n, 4 or more), x, y, width, height in pixels, within the frame or reaching beyond its edges; a pixel
                that a box touches is inside.

        Each box is blurred by itself with `cv2.GaussianBlur`, mirrored at its edges, so that nothing around a face
        reaches into it and no pixel outside changes. Where boxes overlap, the common part is blurred twice.
        """
        blurred = frame.copy()
        for left, top, right, bottom in corners(boxes, frame.shape, self.margin):
            kernel, sigma = self.size(right - left, bottom - top)
            part = np.ascontiguousarray(blurred[top:bottom, left:right])
            blurred[top:bottom, left:right] = cv2.GaussianBlur(part, (kernel, kernel), sigma)
        return blurred

    def size(self, width: float, height: float) -> tuple[int, float]:
        """Kernel and sigma in pixels for a face of that size."""
        kernel = max(self.kernel, int(max(width, height)) | 1) if self.grow else self.kernel
        return kernel, self.sigma * kernel / self.kernel


def corners(
    boxes: NDArray[np.floating], shape: tuple[int, ...], margin: float = 0.0
) -> list[tuple[int, int, int, int]]:
    """Boxes as whole pixels of a frame (left, top, right, bottom; the last two exclusive), without those off it."""
    pixels = []
    for x, y, width, height in np.asarray(boxes, np.float64)[:, :4]:
        left, top = max(0, int(np.floor(x - margin * width))), max(0, int(np.floor(y - margin * height)))
        right = min(shape[1], int(np.ceil(x + width * (1 + margin))))
        bottom = min(shape[0], int(np.ceil(y + height * (1 + margin))))
        if right > left and bottom > top:
            pixels.append((left, top, right, bottom))
    return pixels


def outside(boxes: NDArray[np.floating], shape: tuple[int, ...], margin: float = 0.0) -> NDArray[np.bool_]:
    """The pixels of a frame that no box touches: bool (H, W)."""
    mask = np.ones(shape[:2], bool)
    for left, top, right, bottom in corners(boxes, shape, margin):
        mask[top:bottom, left:right] = False
    return mask


def detail_left(frame: NDArray[np.uint8], blurred: NDArray[np.uint8], box: NDArray[np.floating]) -> float:
    """How much of a face's detail a blur has left: 1 all of it, 0 nothing.

    Detail is the luminance inside the box as far as it is finer than a quarter of the box's width (eyes, nose and
    mouth): its difference from a Gaussian mean with a standard deviation of an eighth of the width, where a box wider
    than 64 pixels is shrunk to that first. The number is the slope of the blurred detail on the original one, so that a
    pattern of equal strength in other places does not count.
    """
    (left, top, right, bottom), *_ = corners(np.asarray(box)[None], frame.shape)
    wide = min(right - left, 64)
    size, details = (wide, max(1, round((bottom - top) * wide / (right - left)))), []
    for picture in (frame, blurred):
        part = cv2.cvtColor(np.ascontiguousarray(picture[top:bottom, left:right]), cv2.COLOR_RGB2GRAY)
        part = cv2.resize(part.astype(np.float64), size, interpolation=cv2.INTER_AREA)
        details.append(part - cv2.GaussianBlur(part, (0, 0), wide / 8))
    before, after = (detail - detail.mean() for detail in details)
    return float((before * after).sum() / max((before**2).sum(), 1e-9))


def to_blur(scan: Scan, marks: pd.DataFrame | None = None) -> dict[tuple[str, str], NDArray[np.float32]]:
    """The boxes to blur, float32 (n, 5) by (clip, frame): all of the scan but those that a person rejected.

    The paper inspected one frame per clip and does not say what that decided for the others. We leave a rejected box as
    it is, and in the frames after it the box that overlaps with it (IoU of 0.3 or more), as long as they follow frame
    by frame and have not grown by half: a far face that was rejected is blurred once it comes near. In doubt a box is
    blurred.
    """
    boxes = scan.boxes()
    for row in () if marks is None else marks[~marks.keep.astype(bool)].itertuples():
        frames = scan.clips[row.clip].frames
        last = rejected = np.array([[row.x, row.y, row.width, row.height]])
        for name in frames[frames.index(row.frame) :]:
            rows = boxes.get((row.clip, name), np.zeros((0, 5), np.float32))
            overlap = iou(rows, last)[:, 0]
            if not len(rows) or overlap.max() < _SAME_FACE:
                break
            at = int(overlap.argmax())
            if (rows[at, 2:4] > _GROWN * rejected[0, 2:4]).any():
                break
            last = rows[at : at + 1, :4].astype(np.float64)
            boxes[row.clip, name] = np.delete(rows, at, axis=0)
    return {place: rows for place, rows in boxes.items() if len(rows)}


def anonymise(
    scan: Scan,
    target: str | os.PathLike[str],
    marks: pd.DataFrame | None = None,
    blur: Blur | None = None,
    *,
    lossless: bool = False,
    workers: int = 1,
) -> dict[str, int]:
    """Write the scanned clips with their faces blurred below another folder, which has the source's layout.

    A clip's folder appears when all of it is written, and `anonymised.json` is complete when all clips are; run again,
    it goes on where it stopped. Frames without a face are copied bit for bit, and so are lists of labels (csv, txt,
    json) beside the clips' folders at the top. A frame with faces is encoded again, a JPEG with the tables it had,
    which changes its other pixels a little; with `lossless` it becomes a PNG, where they stay exactly as they are. A
    frame that the scan could not read is left out: nobody knows who is on it.

    Args:
        marks: of `inspection.read_marks`; without them, every face is blurred.
        blur: how, the paper's by default.
        lossless: write blurred frames as `<n>.png`, about ten times as large.
        workers: threads.

    Returns the counts in `anonymised.json`. Raises InputError for a target that is the source, in it or around it, one
    that holds something else, a clip that has changed since it was scanned, and where the disk cannot be written.
    """
    blur, target = blur or Blur(), Path(target).resolve()
    if target == scan.source or scan.source in target.parents or target in scan.source.parents:
        raise InputError(f"{target}: the originals are in {scan.source}; give a folder apart from them")
    boxes = to_blur(scan, marks)
    plan = {"blur": dataclasses.asdict(blur), "lossless": lossless, "scan": _plan(scan, boxes)}
    _claim(target, plan)
    with ThreadPoolExecutor(max(1, workers)) as pool:
        try:
            work = pool.map(lambda clip: _write_clip(scan, clip, boxes, target, blur, lossless), scan.clips)
            for _ in track(work, f"{target.name}: clips written", len(scan.clips)):
                pass
        finally:
            pool.shutdown(cancel_futures=True)
    for file in sorted(scan.source.iterdir()):
        if file.is_file() and file.suffix in _LISTS and file.name[0] != "." and file.name != MARKER:
            write_bytes(target / file.name, file.read_bytes())
    faces = sum(map(len, boxes.values()))
    counts = {
        "clips": len(scan.clips),
        "frames": sum(len(clip.frames) for clip in scan.clips.values()),
        "frames_blurred": len(boxes),
        "faces_blurred": faces,
        "faces_spared": len(scan.table()) - faces,
        "frames_left_out": sum(len(clip.failed) for clip in scan.clips.values()),
    }
    write_bytes(target / MARKER, json.dumps({**plan, "complete": True, **counts}, indent=1).encode() + b"\n")
    return counts


def _plan(scan: Scan, boxes: Mapping[tuple[str, str], NDArray[np.float32]]) -> str:
    """A hash of what will be written: which clips with which files, and the boxes."""
    digest = hashlib.sha256(json.dumps([(clip, scanned.digest) for clip, scanned in scan.clips.items()]).encode())
    for (clip, name), rows in boxes.items():
        digest.update(f"{clip}/{name}".encode() + rows.tobytes())
    return digest.hexdigest()[:16]


def _claim(target: Path, plan: dict[str, Any]) -> None:
    """Begin a target, or go on with one of this very plan; refuse any other folder with something in it."""
    if (target / MARKER).is_file():
        begun = read_json(target / MARKER)
        if {name: begun.get(name) for name in plan} != plan:
            raise InputError(
                f"{target}: was written with other marks or another blur; give another folder, or remove it"
            )
        return
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{target}: holds something else; give a folder that is new or empty")
    make_folder(target)
    write_bytes(target / MARKER, json.dumps({**plan, "complete": False}, indent=1).encode() + b"\n")


def _write_clip(
    scan: Scan,
    clip: str,
    boxes: Mapping[tuple[str, str], NDArray[np.float32]],
    target: Path,
    blur: Blur,
    lossless: bool,
) -> None:
    """Write one clip's folder, whole or not at all."""
    source, folder = scan.source / clip, target / clip
    if not folder.resolve().is_relative_to(target) or folder == target:
        raise InputError(f"{folder}: leads outside {target}; scan again, or give a folder without links in it")
    if folder.is_dir():
        return
    if files_digest(source) != scan.clips[clip].digest:
        raise InputError(f"{source}: its files have changed since they were scanned; scan again")
    make_folder(folder.parent)
    partial = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}{PARTIAL}")
    try:
        partial.mkdir()
        for name in scan.clips[clip].frames:
            if (clip, name) in boxes:
                blurred = blur(read_frame(source / name), boxes[clip, name])
                file = partial / (Path(name).with_suffix(".png").name if lossless else name)
                write_bytes(file, encode(source / name, blurred, lossless))
            else:
                shutil.copyfile(source / name, partial / name)
        os.replace(partial, folder)
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be written ({error.strerror or error}); free some space or choose another folder, and "
            "run the same again: finished clips are kept"
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def encode(original: Path, frame: NDArray[np.uint8], lossless: bool = False) -> bytes:
    """A changed frame in the format of the original file: PNG, or JPEG with the original's tables and sampling.

    Nothing else of the file is kept: a camera may have put a small picture of the faces into it.
    """
    like, options = Image.open(io.BytesIO(read_bytes(original))), {}
    kind = "JPEG" if like.format == "JPEG" and not lossless else "PNG"
    if kind == "JPEG" and like.mode == "RGB":
        options = {"qtables": like.quantization, "subsampling": JpegImagePlugin.get_sampling(like)}
    return encode_image(Image.fromarray(frame), kind, **options)
