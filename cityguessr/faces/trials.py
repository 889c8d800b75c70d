"""Trials of detectors and blurs: by the size of a face, measured on `crowd`, and on the frames of a scan."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cityguessr.faces import crowd
from cityguessr.faces.blur import Blur, detail_left, outside
from cityguessr.faces.detectors import Detector, iou
from cityguessr.faces.scan import Scan, read_frame
from cityguessr.miniworld.world import MiniWorld

FOUND = 0.3
"""IoU with the true box from which a face counts as found: the boxes of very small faces are coarse."""


def recall(
    world: MiniWorld,
    detectors: Mapping[str, Detector],
    *,
    pictures: int = 8,
    people: int = 14,
    widths: tuple[float, float] = (4.0, 40.0),
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The faces that detectors find in streets at 1280 x 720.

    Args:
        detectors: by the name they have in the tables.
        pictures: how many crowds, over two streets in turn.
        people: pedestrians in each.
        widths: least and greatest width of a face, in pixels.

    Returns two tables: one row per clear face and detector (detector, picture, width in pixels, found); and one row per
    picture and detector (detector, picture, boxes, false_alarms), where a false alarm is a box on no face at all.
    """
    faces, alarms = [], []
    videos = crowd.streets(world, 2, seed)
    empty = [crowd.street(world, video) for video in videos]
    for number in range(pictures):
        video, rendered = videos[number % len(videos)], empty[number % len(videos)]
        ((frame, true),) = crowd.picture(
            world, video, people=people, widths=widths, seed=seed + number, rendered=rendered
        )
        for name, detector in detectors.items():
            boxes = detector(frame)
            overlap = iou(true, boxes)
            for face, hit in zip(true, (overlap > FOUND).any(1), strict=True):
                if face[4]:
                    faces.append((name, number, float(face[2]), bool(hit)))
            alarms.append((name, number, len(boxes), int((overlap <= 0).all(0).sum())))
    return (
        pd.DataFrame(faces, columns=["detector", "picture", "width", "found"]),
        pd.DataFrame(alarms, columns=["detector", "picture", "boxes", "false_alarms"]),
    )


def blurred(
    world: MiniWorld,
    detector: Detector,
    blurs: Mapping[str, Blur],
    *,
    widths: Sequence[float] = (20, 40, 60, 90, 130, 200, 300),
    repeats: int = 5,
    seed: int = 0,
) -> pd.DataFrame:
    """What is left of faces of given widths after a blur.

    The detector looks at the part of the frame around the face, before and after alike. Faces that it did not find
    before are left out.

    Returns one row per face and blur: blur, width (as asked for, in pixels), detail_left (see `blur.detail_left`), and
    found_again, whether the detector still finds a face there.
    """
    rows = []
    video = crowd.streets(world, 1, seed)[0]
    empty = crowd.street(world, video)
    for width in widths:
        for number in range(repeats):
            asked = (width, 1.01 * width)
            (picture,) = crowd.picture(world, video, people=1, widths=asked, seed=seed + number, rendered=empty)
            frame, true = _part_around_faces(*picture)
            boxes = detector(frame)
            hits = boxes[(iou(boxes, true) > FOUND).any(1)]
            for box in hits[:1]:
                for name, blur in blurs.items():
                    after = blur(frame, box[None])
                    again = (iou(box[None], detector(after)) > FOUND).any()
                    rows.append((name, width, detail_left(frame, after, box), bool(again)))
    return pd.DataFrame(rows, columns=["blur", "width", "detail_left", "found_again"])


def check(
    scan: Scan, boxes: Mapping[tuple[str, str], NDArray[np.float32]], detector: Detector, blur: Blur
) -> pd.DataFrame:
    """What a blur leaves of the faces of scanned frames, and whether it changes anything else, checked on pixels.

    Args:
        boxes: the boxes to blur by (clip, frame), from `blur.to_blur`.

    Returns one row per face: clip, frame, width (pixels), detail_left (see `blur.detail_left`), found_again (whether
    the detector still finds a face there), and untouched (whether every pixel outside all boxes is as it was).
    """
    columns = ["clip", "frame", "width", "detail_left", "found_again", "untouched"]
    checked = []
    for (clip, name), rows in boxes.items():
        frame = read_frame(scan.source / clip / name)
        after, around = blur(frame, rows), outside(rows, frame.shape, blur.margin)
        untouched = np.array_equal(frame[around], after[around])
        again = (iou(rows, detector(after)) > FOUND).any(1)
        details = [detail_left(frame, after, box) for box in rows]
        checked += [(clip, name, *face, untouched) for face in zip(rows[:, 2], details, again, strict=True)]
    return pd.DataFrame(checked, columns=columns)


def _part_around_faces(
    frame: NDArray[np.uint8], true: NDArray[np.float32], least: int = 160
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The part of a frame around its faces, with as much again on each side, and their places in it."""
    if not len(true):
        return frame, true
    low, high = true[:, :2].min(0), (true[:, :2] + true[:, 2:4]).max(0)
    room = np.maximum(least, high - low)
    left, top = np.maximum(0, low - room).astype(int)
    right, bottom = (high + room).astype(int)
    return frame[top:bottom, left:right], true - np.array([left, top, 0, 0, 0], np.float32)
