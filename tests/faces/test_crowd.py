"""The crowd's faces are where it says, in streets drawn at random."""

import numpy as np

from cityguessr.faces import crowd
from cityguessr.faces.detectors import YuNet, iou
from cityguessr.miniworld import MiniWorld


def test_the_crowds_faces_are_where_it_says(world: MiniWorld) -> None:
    video = crowd.streets(world, 1)[0]
    size = {"height": 360, "width": 640}
    asked = {"widths": (14, 40), "seed": 1, "rendered": crowd.street(world, video, **size), **size}
    ((frame, true),) = crowd.picture(world, video, people=6, **asked)
    ((empty, none),) = crowd.picture(world, video, people=0, **asked)
    assert none.shape == (0, 5)
    assert np.array_equal(empty, asked["rendered"][0])
    clear = true[true[:, 4] > 0]
    assert len(clear) >= 4
    assert (frame != empty).any()
    boxes = YuNet()(frame)
    assert (iou(clear, boxes).max(1) > 0.5).all()
    assert np.array_equal(crowd.picture(world, video, people=6, **asked)[0][0], frame)
    assert len(YuNet()(empty)) <= 1  # a lamp or a drawn passer-by may pass for a face


def test_streets_are_drawn_at_random_and_by_day(world: MiniWorld) -> None:
    drawn = crowd.streets(world, 6, seed=3)
    assert len({video.city for video in drawn}) == 6
    assert all(8 <= video.hour <= 17 and video.weather not in ("rain", "fog") for video in drawn)
    assert [v.video_id for v in drawn] != [v.video_id for v in crowd.streets(world, 6, seed=4)]
