"""What a detector finds and what a blur leaves, by the size of a face and on the frames of a scan."""

import numpy as np
import pytest

from cityguessr.faces import blur, crowd, trials
from cityguessr.faces.blur import Blur
from cityguessr.faces.detectors import YuNet
from cityguessr.faces.scan import Scan
from cityguessr.miniworld import MiniWorld


def test_the_papers_blur_leaves_detail_of_large_faces_only(world: MiniWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowd, "street", lambda world, video: np.full((1, 720, 1280, 3), 120, np.uint8))
    blurs = {"paper": Blur(), "growing": Blur(grow=True)}
    left = trials.blurred(world, YuNet(), blurs, widths=(30, 200), repeats=1)
    detail = left.set_index(["blur", "width"]).detail_left
    assert len(detail) == 4
    assert detail["paper", 200] > 0.2 > 0.05 > max(detail["paper", 30], *detail["growing"])


def test_recall_falls_with_size_and_false_alarms_are_counted(world: MiniWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowd, "street", lambda world, video: np.full((1, 720, 1280, 3), 120, np.uint8))
    hits, alarms = trials.recall(world, {"yunet": YuNet()}, pictures=2, people=10)
    assert set(hits.columns) == {"detector", "picture", "width", "found"}
    assert hits[hits.width > 14].found.mean() > 0.9 > hits[hits.width < 6].found.mean()
    assert len(alarms) == 2
    assert (alarms.false_alarms <= alarms.boxes).all()


def test_a_check_tells_what_a_blur_leaves_and_whether_it_reaches_out_of_the_boxes(scanned: Scan) -> None:
    class Leaky(Blur):
        def __call__(self, frame: np.ndarray, boxes: np.ndarray) -> np.ndarray:
            blurred = super().__call__(frame, boxes)
            blurred[0, 0] ^= 1
            return blurred

    boxes = blur.to_blur(scanned)
    good, nothing, leaky = (
        trials.check(scanned, boxes, YuNet(), kind) for kind in (Blur(), Blur(kernel=3, sigma=0.1), Leaky())
    )
    assert list(good.columns) == ["clip", "frame", "width", "detail_left", "found_again", "untouched"]
    assert good[["clip", "frame", "width"]].equals(scanned.table()[["clip", "frame", "width"]].astype({"width": "f4"}))
    assert good.detail_left.abs().max() < 0.1
    assert good.untouched.all()
    assert not good.found_again.any()
    assert nothing.found_again.all()
    assert nothing.detail_left.min() > 0.99
    assert not leaky.untouched.any()
    assert trials.check(scanned, {}, YuNet(), Blur()).empty
