"""Faces are found, marked and blurred as the supplement's section 5 says, and the originals stay as they are."""

import resource
import signal
import sys
import types
from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib import cbook
from PIL import Image

from cityguessr.base.errors import CannotRun, InputError, MissingWeights
from cityguessr.faces import blur, crowd, detectors, inspection, scan, trials
from cityguessr.faces.blur import Blur
from cityguessr.miniworld import MiniWorld

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (240, 320, 3), dtype=np.uint8)


def portrait(width: int) -> np.ndarray:
    """The public-domain portrait, so large that its face is about `width` pixels wide."""
    with cbook.get_sample_data("grace_hopper.jpg") as file:
        image = Image.open(file).convert("RGB")
    zoom = width / 170
    return np.asarray(image.resize((round(image.width * zoom), round(image.height * zoom))))


def street(*people: tuple[int, int, int]) -> np.ndarray:
    """A grey frame of 480 x 360 with the portrait at some places: x, y, width of the face."""
    frame = np.full((360, 480, 3), 128, np.uint8)
    frame[:120] = 190
    for x, y, width in people:
        picture = portrait(width)
        part = frame[y : y + len(picture), x : x + picture.shape[1]]
        part[:] = picture[: part.shape[0], : part.shape[1]]
    return frame


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """Three clips: faces from the second frame on, faces from the first frame on, and none."""
    root = tmp_path / "release"
    frames = {
        "train/Lyon/Lyon_0000": [street(), street((20, 100, 40)), street((24, 100, 40), (300, 120, 30))],
        "val/Lyon/Lyon_0001": [street((200, 60, 50)), street()],
        "val/Oslo/Oslo_0000": [street(), street()],
    }
    for clip, pictures in frames.items():
        (root / clip).mkdir(parents=True)
        for n, picture in enumerate(pictures, start=1):
            Image.fromarray(picture).save(root / clip / f"{n}.jpg", quality=92)
    (root / "labels_list.csv").write_text("City,State,Country,Continent\n")
    return root


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


# ---- blur


def test_the_blur_changes_the_inside_and_not_one_pixel_outside() -> None:
    boxes = np.array([[40.4, 50.2, 30, 40], [200, 100, 90, 100], [230, 120, 90, 100]])  # the last two overlap
    blurred = Blur()(NOISE, boxes)
    inside = np.zeros(NOISE.shape[:2], bool)
    for left, top, right, bottom in blur.corners(boxes, NOISE.shape):
        inside[top:bottom, left:right] = True
    assert np.array_equal(blurred[~inside], NOISE[~inside])
    assert (blurred[inside] != NOISE[inside]).mean() > 0.95
    assert blurred[inside].std() < 0.1 * NOISE[inside].std()
    assert inside[50:91, 40:71].all()  # a pixel that a box touches is inside


def test_the_blur_is_the_papers_gaussian_by_its_definition() -> None:
    """A weighted mean over 63 x 63 pixels, weights exp(-d^2 / (2 21^2)); the box is wide enough for its own pixels."""
    blurred = Blur()(NOISE, np.array([[60, 40, 160, 150]]))
    offsets = np.arange(63) - 31
    weights = np.exp(-(offsets**2) / (2 * 21.0**2))
    weights /= weights.sum()
    for y, x in ((100, 130), (115, 140), (120, 150)):
        around = NOISE[y - 31 : y + 32, x - 31 : x + 32].astype(float)
        mean = np.einsum("i,j,ijc->c", weights, weights, around)
        assert np.abs(blurred[y, x] - mean).max() <= 1
    assert np.array_equal(blurred[40:190, 60:220], cv2.GaussianBlur(NOISE[40:190, 60:220].copy(), (63, 63), 21))


@pytest.mark.parametrize(
    "box", [(-30, -20, 60, 60), (300, 220, 80, 80), (10, 10, 1, 1), (10, 10, 2, 200), (0, 0, 320, 240), (5, 5, 20, 24)]
)
def test_boxes_at_the_edge_and_smaller_or_larger_than_the_kernel(box: tuple[int, ...]) -> None:
    blurred = Blur()(NOISE, np.array([box]))
    (left, top, right, bottom), *_ = blur.corners(np.array([box]), NOISE.shape)
    outside = np.ones(NOISE.shape[:2], bool)
    outside[top:bottom, left:right] = False
    assert np.array_equal(blurred[outside], NOISE[outside])
    assert NOISE[~outside].size == 3 or not np.array_equal(blurred[~outside], NOISE[~outside])


def test_no_box_or_one_off_the_frame_changes_nothing() -> None:
    assert np.array_equal(Blur()(NOISE, np.zeros((0, 5))), NOISE)
    assert np.array_equal(Blur()(NOISE, np.array([[400, 10, 20, 20]])), NOISE)


def test_a_fixed_kernel_leaves_a_large_face_its_features_and_a_growing_one_does_not() -> None:
    small, large = portrait(40), portrait(340)
    look = detectors.YuNet()
    left = {}
    for name, picture in (("small", small), ("large", large)):
        box = look(picture)[:1]
        for grow in (False, True):
            left[name, grow] = blur.detail_left(picture, Blur(grow=grow)(picture, box), box[0])
    assert abs(left["small", False]) < 0.02
    assert left["large", False] > 0.2
    assert abs(left["large", True]) < 0.02
    assert Blur(grow=True).size(40, 50) == (63, 21.0)
    assert Blur(grow=True).size(200, 252) == (253, pytest.approx(84.33, abs=0.01))


def test_after_the_blur_the_detector_finds_no_face_there() -> None:
    look, frame = detectors.YuNet(), street((20, 60, 50), (250, 80, 40))
    boxes = look(frame)
    assert len(boxes) == 2
    assert not (detectors.iou(boxes, look(Blur()(frame, boxes))) > 0.3).any()


@pytest.mark.parametrize("wrong", [{"kernel": 62}, {"kernel": 1}, {"sigma": 0}, {"margin": -0.1}])
def test_a_blur_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match="the paper has 63, 21"):
        Blur(**wrong)


# ---- detection


def test_the_detector_finds_the_portrait_and_nothing_in_an_empty_street() -> None:
    look = detectors.YuNet()
    (box,) = look(street((100, 60, 60)))
    assert detectors.iou(box[None], np.array([[100 + 64, 60 + 43, 60, 75]]))[0, 0] > 0.6
    assert 0.5 <= box[4] <= 1
    assert look(street()).shape == (0, 5)


def test_thresholds_are_respected() -> None:
    frame = street((20, 60, 50), (250, 80, 12))
    scores = detectors.YuNet(threshold=0.3)(frame)[:, 4]
    assert (scores >= 0.3).all()
    assert (np.diff(scores) <= 0).all()  # the surest first
    strict = detectors.YuNet(threshold=float(scores.max()) - 0.01)(frame)
    assert len(strict) == 1
    assert len(detectors.YuNet(threshold=0.99)(frame)) == 0
    assert detectors.YuNet().settings == {
        "detector": "YuNet 2023mar (OpenCV)", "threshold": 0.5, "nms": 0.3, "scales": [1.0],
    }  # fmt: skip


def test_no_two_boxes_overlap_above_the_nms_threshold_whatever_the_scales() -> None:
    frame = street((20, 60, 50), (250, 80, 40))
    for scales in ((1.0,), (0.5, 1.0, 2.0)):
        boxes = detectors.YuNet(scales=scales)(frame)
        assert len(boxes) == 2
        assert detectors.iou(boxes, boxes)[0, 1] <= 0.3


def test_enlarging_finds_smaller_faces() -> None:
    frame = street((100, 100, 5), (200, 100, 5), (300, 100, 5))
    assert len(detectors.YuNet(scales=(1.0, 3.0))(frame)) > len(detectors.YuNet()(frame))


def test_the_detector_says_nothing_on_standard_error(capfd: pytest.CaptureFixture) -> None:
    """Anything there would read as a fault in a notebook; OpenCV 5 warns about a setting of its own."""
    detectors.YuNet()(street())
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "wrong", [{"threshold": 0.0}, {"nms": 1.0}, {"scales": ()}, {"scales": (9.0,)}], ids=lambda wrong: next(iter(wrong))
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError):
        detectors.YuNet(**wrong)
    with pytest.raises(InputError, match="uint8"):
        detectors.YuNet()(np.zeros((4, 4, 3)))
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
    import enum
    import hashlib

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
    found = detectors.get("retinaface")(frame)
    assert found.tolist() == [[10, 20, 30, 40, pytest.approx(0.9)]]
    given = uniface["network"]
    assert (given["confidence_threshold"], given["nms_threshold"], given["dynamic_size"]) == (0.5, 0.3, True)
    assert uniface["pixel"] == [0, 0, 255]  # blue, green, red
    assert uniface["fetched"] == 0


def test_retinaface_fetches_nothing_unless_it_is_allowed_to(uniface: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(MissingWeights, match=r"retinaface_r34\.onnx \(about 56 MB\).*data/weights.*allow_downloads"):
        detectors.RetinaFace()
    file = tmp_path / "data" / "weights" / "retinaface_r34.onnx"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"something else")
    with pytest.raises(InputError, match="not the weights"):
        detectors.RetinaFace()
    assert file.read_bytes() == b"something else"
    assert uniface["fetched"] == 0
    uniface["offline"] = True
    with pytest.raises(MissingWeights, match="could not be fetched"):
        detectors.RetinaFace(allow_downloads=True)
    uniface["offline"] = False
    detectors.RetinaFace(allow_downloads=True)
    assert file.read_bytes() == b"weights"


# ---- scan


def test_every_frame_of_every_clip_is_looked_at(release: Path, tmp_path: Path) -> None:
    found = scan.find_faces(release, detectors.YuNet(), tmp_path / "scan")
    assert {clip: scanned.frames for clip, scanned in found.clips.items()} == {
        "train/Lyon/Lyon_0000": ("1.jpg", "2.jpg", "3.jpg"),
        "val/Lyon/Lyon_0001": ("1.jpg", "2.jpg"),
        "val/Oslo/Oslo_0000": ("1.jpg", "2.jpg"),
    }
    table = found.table()
    assert table.groupby(["clip", "frame"]).size().to_dict() == {
        ("train/Lyon/Lyon_0000", "2.jpg"): 1,
        ("train/Lyon/Lyon_0000", "3.jpg"): 2,
        ("val/Lyon/Lyon_0001", "1.jpg"): 1,
    }
    assert "3 clips, 7 frames looked at, 0 unreadable; 4 faces in 3 frames" in str(found)


def test_a_resumed_scan_equals_an_uninterrupted_one(release: Path, tmp_path: Path) -> None:
    whole = scan.find_faces(release, detectors.YuNet(), tmp_path / "whole")
    lines = (tmp_path / "whole" / scan.LOG).read_bytes().splitlines(keepends=True)
    torn = tmp_path / "torn"
    torn.mkdir()
    (torn / scan.LOG).write_bytes(b"".join(lines[:2]) + lines[2][:40])  # cut off in the middle of the second clip
    resumed = scan.find_faces(release, detectors.YuNet(), torn, workers=2)
    assert resumed.table().equals(whole.table())
    assert contents(torn) == contents(tmp_path / "whole")


def test_a_clip_that_changed_is_looked_at_again_and_others_are_not(release: Path, tmp_path: Path) -> None:
    class Counting(detectors.YuNet):
        looks = 0

        def __call__(self, frame: np.ndarray) -> np.ndarray:
            Counting.looks += 1
            return super().__call__(frame)

    scan.find_faces(release, Counting(), tmp_path / "scan")
    Image.fromarray(street((50, 50, 60))).save(release / "val/Oslo/Oslo_0000/2.jpg")
    found = scan.find_faces(release, Counting(), tmp_path / "scan")
    assert Counting.looks == 7 + 2
    assert list(found.clips["val/Oslo/Oslo_0000"].boxes) == ["2.jpg"]


def test_a_damaged_jpeg_is_recorded_and_stops_nothing(release: Path, tmp_path: Path) -> None:
    bad = release / "val/Lyon/Lyon_0001/1.jpg"
    bad.write_bytes(bad.read_bytes()[:500])
    found = scan.find_faces(release, detectors.YuNet(), tmp_path / "scan")
    assert found.failed()[["clip", "frame"]].to_numpy().tolist() == [["val/Lyon/Lyon_0001", "1.jpg"]]
    assert "not a whole image (500 bytes)" in (tmp_path / "scan" / scan.FAILED).read_text()
    assert found.clips["val/Lyon/Lyon_0001"].frames == ("2.jpg",)
    counts = blur.anonymise(found, tmp_path / "out")
    assert counts["frames_left_out"] == 1
    assert not (tmp_path / "out/val/Lyon/Lyon_0001/1.jpg").exists()  # nobody knows who is on it


def test_a_link_that_leads_nowhere_is_recorded_and_stops_nothing(release: Path, tmp_path: Path) -> None:
    (release / "val/Oslo/Oslo_0000/3.jpg").symlink_to(tmp_path / "gone.jpg")
    found = scan.find_faces(release, detectors.YuNet(), tmp_path / "scan")
    assert found.failed()[["clip", "frame"]].to_numpy().tolist() == [["val/Oslo/Oslo_0000", "3.jpg"]]
    assert blur.anonymise(found, tmp_path / "out")["frames_left_out"] == 1


def test_a_full_disk_stops_a_scan_with_a_message_and_keeps_what_was_found(release: Path, tmp_path: Path) -> None:
    log = tmp_path / "scan" / scan.LOG
    scan.find_faces(release, detectors.YuNet(), log.parent, limit=1)
    kept = log.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(kept) + 10, limits[1]))
        with pytest.raises(InputError, match=r"cannot be written .*finished clips are kept"):
            scan.find_faces(release, detectors.YuNet(), log.parent)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert log.read_bytes().startswith(kept)
    resumed = scan.find_faces(release, detectors.YuNet(), log.parent)
    assert resumed.table().equals(scan.find_faces(release, detectors.YuNet(), tmp_path / "whole").table())


def test_what_cannot_be_scanned_is_said_clearly(release: Path, tmp_path: Path) -> None:
    scan.find_faces(release, detectors.YuNet(), tmp_path / "scan", limit=1)
    with pytest.raises(InputError, match="other settings"):
        scan.find_faces(release, detectors.YuNet(threshold=0.6), tmp_path / "scan")
    with pytest.raises(InputError, match="no such folder"):
        scan.find_faces(tmp_path / "nowhere", detectors.YuNet(), tmp_path / "scan")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no frames"):
        scan.find_clips(tmp_path / "empty")
    with pytest.raises(InputError, match="give each clip its own"):
        scan.find_clips(release / "val/Oslo/Oslo_0000")
    (tmp_path / "bad" / "a_0").mkdir(parents=True)
    (tmp_path / "bad" / "a_0" / "1.jpg").write_bytes(b"no picture")
    with pytest.raises(InputError, match="not one frame"):
        scan.find_faces(tmp_path / "bad", detectors.YuNet(), tmp_path / "scan2")
    log = tmp_path / "scan" / scan.LOG
    log.write_bytes(log.read_bytes() + b"{}\n")
    with pytest.raises(InputError, match=r"scan\.jsonl, line 3: damaged"):
        scan.find_faces(release, detectors.YuNet(), tmp_path / "scan")


def test_a_limit_spreads_over_the_data_set(release: Path) -> None:
    assert list(scan.find_clips(release, 2)) == ["train/Lyon/Lyon_0000", "val/Lyon/Lyon_0001"]
    assert len(scan.find_clips(release, 99)) == len(scan.find_clips(release)) == 3


# ---- inspection


@pytest.fixture
def inspected(release: Path, tmp_path: Path) -> tuple[scan.Scan, Path]:
    found = scan.find_faces(release, detectors.YuNet(), tmp_path / "scan")
    return found, inspection.write_inspection(found, tmp_path / "scan")[-1]


def test_the_first_frame_with_faces_of_each_clip_is_inspected(inspected: tuple[scan.Scan, Path]) -> None:
    found, file = inspected
    marks = inspection.read_marks(file, found)
    assert marks[["clip", "frame", "face"]].to_numpy().tolist() == [
        ["train/Lyon/Lyon_0000", "2.jpg", 1],
        ["val/Lyon/Lyon_0001", "1.jpg", 1],
    ]
    assert marks.keep.all()
    sheet = Image.open(file.with_name("inspection_001.jpg"))
    assert sheet.width > 1400


def test_marks_are_read_back_and_a_persons_table_is_not_written_over(inspected: tuple[scan.Scan, Path]) -> None:
    found, file = inspected
    file.write_text(file.read_text().replace(",yes", ",No", 1))
    inspection.write_inspection(found, file.parent)
    assert inspection.read_marks(file, found).keep.tolist() == [False, True]
    assert inspection.reject(inspection.read_marks(file, found), ["val/Lyon/Lyon_0001:1"]).keep.tolist() == [False] * 2
    with pytest.raises(InputError, match="no face 'val/Lyon/Lyon_0001:2'"):
        inspection.reject(inspection.read_marks(file, found), ["val/Lyon/Lyon_0001:2"])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",yes", ",maybe", r"line 2: keep is 'maybe'; write yes .* or no"),
        (",yes", ",", r"line 2: keep is ''"),
        ("keep", "kept", r"line 1: no column keep"),
        ("Lyon_0000,2.jpg,1", "Lyon_0000,2.jpg,7", r"line 2: face 7 of .* is not one of this scan"),
        ("Lyon_0000,2.jpg", "Lyon_0000,3.jpg", r"line 2: .* is not one of this scan"),
        (",yes", ",yes,", r"line 2: 13 fields"),
    ],
)
def test_marks_are_strict(inspected: tuple[scan.Scan, Path], old: str, new: str, message: str) -> None:
    found, file = inspected
    file.write_text(file.read_text().replace(old, new, 1))
    with pytest.raises(InputError, match=message.replace("13 fields", r"\d+ fields")):
        inspection.read_marks(file, found)


def test_a_lost_or_doubled_row_is_an_error(inspected: tuple[scan.Scan, Path]) -> None:
    found, file = inspected
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:2]))
    with pytest.raises(InputError, match="face 1 of val/Lyon/Lyon_0001 has no row"):
        inspection.read_marks(file, found)
    file.write_text("".join([*lines, lines[1]]))
    with pytest.raises(InputError, match="line 4: face 1 of train/Lyon/Lyon_0000 stands in line 2 already"):
        inspection.read_marks(file, found)


# ---- anonymise


def test_the_originals_are_never_written_and_frames_without_faces_are_copied_bit_for_bit(
    inspected: tuple[scan.Scan, Path], release: Path, tmp_path: Path
) -> None:
    found, _ = inspected
    before = contents(release)
    counts = blur.anonymise(found, tmp_path / "out", workers=2)
    after = contents(tmp_path / "out")
    assert contents(release) == before
    assert {name for name in after if after[name] != before.get(name)} == {
        "train/Lyon/Lyon_0000/2.jpg",
        "train/Lyon/Lyon_0000/3.jpg",
        "val/Lyon/Lyon_0001/1.jpg",
        blur.MARKER,
    }
    assert set(after) - {blur.MARKER} == set(before)
    assert (counts["frames_blurred"], counts["faces_blurred"], counts["faces_spared"]) == (3, 4, 0)
    again = scan.find_faces(tmp_path / "out", detectors.YuNet(), tmp_path / "scan_out")
    assert len(again.table()) == 0
    assert blur.anonymise(found, tmp_path / "out") == counts  # nothing left to do


def test_on_disk_a_png_keeps_every_pixel_outside_and_a_jpeg_nearly_all(
    inspected: tuple[scan.Scan, Path], release: Path, tmp_path: Path
) -> None:
    found, _ = inspected
    boxes = blur.to_blur(found)
    blur.anonymise(found, tmp_path / "png", lossless=True)
    blur.anonymise(found, tmp_path / "jpg")
    for (clip, name), rows in boxes.items():
        original = scan.read_frame(release / clip / name)
        blurred = Blur()(original, rows)
        assert np.array_equal(scan.read_frame(tmp_path / "png" / clip / name.replace("jpg", "png")), blurred)
        change = np.abs(scan.read_frame(tmp_path / "jpg" / clip / name).astype(int) - blurred)
        assert change.mean() < 1.5
    assert (tmp_path / "png" / "val/Oslo/Oslo_0000/1.jpg").is_file()  # a frame without faces is a copy


def test_a_rejected_face_is_spared_and_followed_and_other_faces_are_blurred(
    inspected: tuple[scan.Scan, Path],
) -> None:
    found, file = inspected
    marks = inspection.reject(inspection.read_marks(file, found), ["train/Lyon/Lyon_0000:1"])
    boxes = blur.to_blur(found, marks)
    assert ("train/Lyon/Lyon_0000", "2.jpg") not in boxes
    (other,) = boxes["train/Lyon/Lyon_0000", "3.jpg"]
    assert other[0] > 300  # the one at the left moved by four pixels and is the rejected one
    assert ("val/Lyon/Lyon_0001", "1.jpg") in boxes


def test_a_rejected_far_face_is_blurred_once_it_comes_near() -> None:
    sizes = {"1.jpg": 20, "2.jpg": 24, "3.jpg": 29, "4.jpg": 36, "5.jpg": 44}
    boxes = {name: np.array([[100, 100, side, side, 0.9]], np.float32) for name, side in sizes.items()}
    found = scan.Scan(Path("x"), {}, {"a": scan.ScannedClip("", tuple(sizes), boxes, {})})
    marks = inspection.reject(inspection.first_faces(found), ["a:1"])
    assert [name for _, name in blur.to_blur(found, marks)] == ["4.jpg", "5.jpg"]


def test_a_target_over_in_or_around_the_source_is_refused(
    inspected: tuple[scan.Scan, Path], release: Path, tmp_path: Path
) -> None:
    found, _ = inspected
    before = contents(release)
    (tmp_path / "link").symlink_to(release)
    for target in (release, release / "blurred", tmp_path, tmp_path / "link"):
        with pytest.raises(InputError, match="originals"):
            blur.anonymise(found, target)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("dear to me")
    with pytest.raises(InputError, match="something else"):
        blur.anonymise(found, tmp_path / "mine")
    assert contents(release) == before
    assert (tmp_path / "mine" / "notes.txt").read_text() == "dear to me"


def test_nothing_is_written_through_a_link_that_leads_out(
    inspected: tuple[scan.Scan, Path], release: Path, tmp_path: Path
) -> None:
    found, _ = inspected
    blur.anonymise(found, tmp_path / "out")
    before = contents(release)
    (tmp_path / "out" / "val").rename(tmp_path / "elsewhere")
    (tmp_path / "out" / "val").symlink_to(release / "val")
    with pytest.raises(InputError, match="leads outside"):
        blur.anonymise(found, tmp_path / "out")
    sly = scan.Scan(found.source, found.settings, {"../escape": found.clips["val/Oslo/Oslo_0000"]})
    with pytest.raises(InputError, match="leads outside"):
        blur.anonymise(sly, tmp_path / "out2")
    assert contents(release) == before
    assert not (tmp_path / "escape").exists()


def test_a_clip_appears_whole_or_not_at_all(
    inspected: tuple[scan.Scan, Path], release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, _ = inspected
    right, calls = blur.encode, []

    def failing(*given: object) -> bytes:
        calls.append(given)
        if len(calls) == 2:  # in the middle of the first clip
            raise OSError(28, "No space left on device")
        return right(*given)

    monkeypatch.setattr(blur, "encode", failing)
    with pytest.raises(InputError, match="No space left"):
        blur.anonymise(found, tmp_path / "out")
    assert not (tmp_path / "out/train/Lyon/Lyon_0000").exists()
    assert not list((tmp_path / "out").rglob("*.partial"))
    monkeypatch.setattr(blur, "encode", right)
    blur.anonymise(found, tmp_path / "out")
    blur.anonymise(found, tmp_path / "straight")
    assert contents(tmp_path / "out") == contents(tmp_path / "straight")


def test_a_changed_clip_or_other_marks_are_refused(
    inspected: tuple[scan.Scan, Path], release: Path, tmp_path: Path
) -> None:
    found, file = inspected
    blur.anonymise(found, tmp_path / "out")
    marks = inspection.reject(inspection.read_marks(file, found), ["val/Lyon/Lyon_0001:1"])
    with pytest.raises(InputError, match="other marks"):
        blur.anonymise(found, tmp_path / "out", marks)
    with pytest.raises(InputError, match="another blur"):
        blur.anonymise(found, tmp_path / "out", blur=Blur(grow=True))
    Image.fromarray(street((50, 50, 60))).save(release / "val/Oslo/Oslo_0000/3.jpg")
    with pytest.raises(InputError, match="changed since"):
        blur.anonymise(found, tmp_path / "out2")


def test_a_small_picture_of_the_faces_inside_the_file_does_not_survive(tmp_path: Path) -> None:
    """A camera's EXIF block may hold a thumbnail of the unblurred frame."""
    folder = tmp_path / "source" / "a_0"
    folder.mkdir(parents=True)
    exif = Image.Exif()
    exif[0x010E] = "a secret description"
    Image.fromarray(street((50, 50, 60))).save(folder / "1.jpg", exif=exif)
    found = scan.find_faces(tmp_path / "source", detectors.YuNet(), tmp_path / "scan")
    blur.anonymise(found, tmp_path / "out")
    assert b"secret" in (folder / "1.jpg").read_bytes()
    assert b"secret" not in (tmp_path / "out/a_0/1.jpg").read_bytes()


# ---- the drawn crowd


@pytest.fixture(scope="module")
def world() -> MiniWorld:
    return MiniWorld()


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
    boxes = detectors.YuNet()(frame)
    assert (detectors.iou(clear, boxes).max(1) > 0.5).all()
    assert np.array_equal(crowd.picture(world, video, people=6, **asked)[0][0], frame)
    assert len(detectors.YuNet()(empty)) <= 1  # a lamp or a drawn passer-by may pass for a face


def test_streets_are_drawn_by_lot_and_by_day(world: MiniWorld) -> None:
    chosen = crowd.streets(world, 6, seed=3)
    assert len({video.city for video in chosen}) == 6
    assert all(8 <= video.hour <= 17 and video.weather not in ("rain", "fog") for video in chosen)
    assert [v.video_id for v in chosen] != [v.video_id for v in crowd.streets(world, 6, seed=4)]


def test_the_papers_blur_leaves_detail_of_large_faces_only(world: MiniWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowd, "street", lambda world, video: np.full((1, 720, 1280, 3), 120, np.uint8))
    blurs = {"paper": Blur(), "growing": Blur(grow=True)}
    left = trials.blurred(world, detectors.YuNet(), blurs, widths=(30, 200), repeats=1)
    detail = left.set_index(["blur", "width"]).detail_left
    assert len(detail) == 4
    assert detail["paper", 200] > 0.2 > 0.05 > max(detail["paper", 30], *detail["growing"])


def test_recall_falls_with_size_and_false_alarms_are_counted(world: MiniWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowd, "street", lambda world, video: np.full((1, 720, 1280, 3), 120, np.uint8))
    hits, alarms = trials.recall(world, {"yunet": detectors.YuNet()}, pictures=2, people=10)
    assert set(hits.columns) == {"detector", "picture", "width", "found"}
    assert hits[hits.width > 14].found.mean() > 0.9 > hits[hits.width < 6].found.mean()
    assert len(alarms) == 2
    assert (alarms.false_alarms <= alarms.boxes).all()
