"""What a face detector finds, and what a blur leaves, against the size of a face: measured on `crowd`."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cityguessr.faces import crowd
from cityguessr.faces.blur import Blur, detail_left
from cityguessr.faces.detectors import Detector, iou
from cityguessr.miniworld.world import MiniWorld

if TYPE_CHECKING:
    import pandas as pd

FOUND = 0.3
"""IoU with the true box from which a face counts as found: boxes of faces a few pixels wide are coarse."""


def recall(
    world: MiniWorld,
    detectors: Mapping[str, Detector],
    *,
    pictures: int = 8,
    people: int = 14,
    widths: tuple[float, float] = (4.0, 40.0),
    seed: int = 0,
) -> tuple["pd.DataFrame", "pd.DataFrame"]:
    """Which faces the detectors find in streets at 1280 x 720.

    Args:
        detectors: by the name they have in the tables.
        pictures: crowds, over two streets in turn; people: pedestrians in each; widths: of faces, in pixels.

    Returns two tables: a row a face and detector (detector, picture, width in pixels, found), clear faces only; and a
    row a picture and detector (detector, picture, boxes, false_alarms), a false alarm being a box on no face at all.
    """
    import pandas as pd

    faces, alarms = [], []
    videos = crowd.streets(world, 2, seed)
    empty = [crowd.street(world, video) for video in videos]
    for number in range(pictures):
        video, rendered = videos[number % len(videos)], empty[number % len(videos)]
        shown = crowd.picture(world, video, people=people, widths=widths, seed=seed + number, rendered=rendered)
        frame, true = shown[0]
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
) -> "pd.DataFrame":
    """What is left of faces of given widths after a blur: a row a face and blur.

    Columns: blur, width (that was asked for, in pixels), detail_left (see `anonymise.detail_left`), and found_again,
    whether the detector still finds a face there. Faces that it did not find before are left out. It looks at the part
    of the frame about the face, before and after alike.
    """
    import pandas as pd

    rows = []
    video = crowd.streets(world, 1, seed)[0]
    empty = crowd.street(world, video)
    for width in widths:
        for number in range(repeats):
            asked = (width, 1.01 * width)
            shown = crowd.picture(world, video, people=1, widths=asked, seed=seed + number, rendered=empty)
            frame, true = _about(*shown[0])
            boxes = detector(frame)
            hits = boxes[(iou(boxes, true) > FOUND).any(1)]
            for box in hits[:1]:
                for name, blur in blurs.items():
                    after = blur(frame, box[None])
                    again = (iou(box[None], detector(after)) > FOUND).any()
                    rows.append((name, width, detail_left(frame, after, box), bool(again)))
    return pd.DataFrame(rows, columns=["blur", "width", "detail_left", "found_again"])


def _about(
    frame: NDArray[np.uint8], true: NDArray[np.float32], least: int = 160
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The part of a frame about its faces, with as much again on each side, and their places in it."""
    if not len(true):
        return frame, true
    low, high = true[:, :2].min(0), (true[:, :2] + true[:, 2:4]).max(0)
    room = np.maximum(least, high - low)
    left, top = np.maximum(0, low - room).astype(int)
    right, bottom = (high + room).astype(int)
    return frame[top:bottom, left:right], true - np.array([left, top, 0, 0, 0], np.float32)
