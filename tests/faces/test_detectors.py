"""The detectors find faces with the paper's two numbers, and fetch nothing unless they may."""

import enum
import hashlib
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from portraits import street

from cityguessr.base.errors import CannotRun, InputError, MissingWeights
from cityguessr.faces import detectors
from cityguessr.faces.detectors import RetinaFace, YuNet, iou


def test_the_detector_finds_the_portrait_and_nothing_in_an_empty_street() -> None:
    detector = YuNet()
    (box,) = detector(street((100, 60, 60)))
    assert iou(box[None], np.array([[100 + 64, 60 + 43, 60, 75]]))[0, 0] > 0.6
    assert 0.5 <= box[4] <= 1
    assert detector(street()).shape == (0, 5)


def test_thresholds_are_respected() -> None:
    frame = street((20, 60, 50), (250, 80, 12))
    scores = YuNet(threshold=0.3)(frame)[:, 4]
    assert (scores >= 0.3).all()
    assert (np.diff(scores) <= 0).all()  # the surest first
    strict = YuNet(threshold=float(scores.max()) - 0.01)(frame)
    assert len(strict) == 1
    assert len(YuNet(threshold=0.99)(frame)) == 0
    assert YuNet().settings == {
        "detector": "YuNet 2023mar (OpenCV)", "threshold": 0.5, "nms": 0.3, "scales": [1.0],
    }  # fmt: skip


def test_no_two_boxes_overlap_above_the_nms_threshold_whatever_the_scales() -> None:
    frame = street((20, 60, 50), (250, 80, 40))
    for scales in ((1.0,), (0.5, 1.0, 2.0)):
        boxes = YuNet(scales=scales)(frame)
        assert len(boxes) == 2
        assert iou(boxes, boxes)[0, 1] <= 0.3


def test_enlarging_finds_smaller_faces() -> None:
    frame = street((100, 100, 5), (200, 100, 5), (300, 100, 5))
    assert len(YuNet(scales=(1.0, 3.0))(frame)) > len(YuNet()(frame))


def test_the_detector_says_nothing_on_standard_error(capfd: pytest.CaptureFixture) -> None:
    """Anything there would read as a fault in a notebook; OpenCV 5 warns about a setting of its own."""
    YuNet()(street())
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "wrong", [{"threshold": 0.0}, {"nms": 1.0}, {"scales": ()}, {"scales": (9.0,)}], ids=lambda wrong: next(iter(wrong))
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError):
        YuNet(**wrong)
    with pytest.raises(InputError, match="uint8"):
        YuNet()(np.zeros((4, 4, 3)))
    with pytest.raises(InputError, match="yunet, retinaface"):
        detectors.get("mtcnn")


def test_retinaface_without_its_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uniface", None)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(CannotRun, match=r"uniface.*\[retinaface\].*yunet"):
        detectors.get("retinaface")


@pytest.fixture
def uniface(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, object]:
    """A stand-in with the names of uniface 4, which records how it is called."""
    called: dict[str, object] = {"fetched": 0}
    weights = enum.Enum("RetinaFaceWeights", {"RESNET34": "retinaface_r34"})
    good = hashlib.sha256(b"weights").hexdigest()

    def verify(name: enum.Enum, root: str) -> str:
        file = Path(root) / f"{name.value}.onnx"
        if not file.is_file() or file.read_bytes() != b"weights":
            called["fetched"] += 1
            if called.get("offline"):
                raise ConnectionError("no route")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"weights")
        return str(file)

    class Network:
        def __init__(self, **given: object) -> None:
            called["network"] = given

        def detect(self, bgr: np.ndarray) -> list[types.SimpleNamespace]:
            called["pixel"] = bgr[0, 0].tolist()
            return [types.SimpleNamespace(bbox=np.array([10.0, 20, 40, 60]), confidence=0.9)]

    for name, content in {
        "onnxruntime": {},
        "uniface": {},
        "uniface.constants": {
            "RetinaFaceWeights": weights,
            "MODEL_REGISTRY": {weights.RESNET34: types.SimpleNamespace(sha256=good)},
        },
        "uniface.model_store": {"verify_model_weights": verify, "set_cache_dir": lambda path: None},
        "uniface.detection": {"RetinaFace": Network},
    }.items():
        module = types.ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    sys.modules["uniface"].model_store = sys.modules["uniface.model_store"]
    monkeypatch.setenv("CITYGUESSR_ROOT", str(tmp_path))
    return called


def test_retinaface_gets_the_papers_numbers_and_the_whole_frame(uniface: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "data" / "weights").mkdir(parents=True)
    (tmp_path / "data" / "weights" / "retinaface_r34.onnx").write_bytes(b"weights")
    frame = np.zeros((90, 120, 3), np.uint8)
    frame[..., 0] = 255  # red
    faces = detectors.get("retinaface")(frame)
    assert faces.tolist() == [[10, 20, 30, 40, pytest.approx(0.9)]]
    given = uniface["network"]
    assert (given["confidence_threshold"], given["nms_threshold"], given["dynamic_size"]) == (0.5, 0.3, True)
    assert uniface["pixel"] == [0, 0, 255]  # blue, green, red
    assert uniface["fetched"] == 0


def test_retinaface_fetches_nothing_unless_it_is_allowed_to(uniface: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(MissingWeights, match=r"retinaface_r34\.onnx \(about 56 MB\).*data/weights.*allow_downloads"):
        RetinaFace()
    file = tmp_path / "data" / "weights" / "retinaface_r34.onnx"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"something else")
    with pytest.raises(InputError, match="not the weights"):
        RetinaFace()
    assert file.read_bytes() == b"something else"
    assert uniface["fetched"] == 0
    uniface["offline"] = True
    with pytest.raises(MissingWeights, match="could not be fetched"):
        RetinaFace(allow_downloads=True)
    uniface["offline"] = False
    RetinaFace(allow_downloads=True)
    assert file.read_bytes() == b"weights"
