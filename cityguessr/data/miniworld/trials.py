"""What a face detector finds, and what a blur leaves, against the size of a face: measured on `crowd`."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from cityguessr.data.anonymise import Blur, detail_left
from cityguessr.data.faces import Detector, iou
from cityguessr.data.miniworld import crowd
from cityguessr.data.miniworld.world import MiniWorld

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
    for number, (video, street) in enumerate(_streets(world, 2, pictures, seed)):
        shown = crowd.picture(world, video, people=people, widths=widths, seed=seed + number, rendered=street)
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
    whether the detector still finds a face there. Faces that it did not find before are left out.
    """
    import pandas as pd

    rows = []
    for video, street in _streets(world, 1, 1, seed):
        for width in widths:
            for number in range(repeats):
                shown = crowd.picture(
                    world, video, people=1, widths=(width, 1.01 * width), seed=seed + number, rendered=street
                )
                frame, true = shown[0]
                boxes = detector(frame)
                hits = boxes[(iou(boxes, true) > FOUND).any(1)]
                for box in hits[:1]:
                    for name, blur in blurs.items():
                        after = blur(frame, box[None])
                        again = (iou(box[None], detector(after)) > FOUND).any()
                        rows.append((name, width, detail_left(frame, after, box), bool(again)))
    return pd.DataFrame(rows, columns=["blur", "width", "detail_left", "found_again"])


def _streets(world: MiniWorld, streets: int, count: int, seed: int) -> list[tuple[crowd.VideoPlan, np.ndarray]]:
    """`count` times one of some empty streets, in turn."""
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)  # on a busy machine a second thread waits more than it works
        videos = crowd.streets(world, streets, seed)
        rendered = [world.render(video, 720, 1280, frames=[0]).numpy() for video in videos]
    finally:
        torch.set_num_threads(threads)
    return [(videos[i % len(videos)], rendered[i % len(videos)]) for i in range(count)]
