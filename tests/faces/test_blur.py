"""Faces are blurred as the supplement's section 5 says, nothing else changes, and the originals stay as they are."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from portraits import contents, portrait, street
from support import full_after

from cityguessr.base.errors import InputError
from cityguessr.faces import blur, inspection, scan
from cityguessr.faces.blur import Blur
from cityguessr.faces.detectors import YuNet, iou
from cityguessr.faces.scan import Scan, ScannedClip

NOISE = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)


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
    assert np.array_equal(blur.outside(boxes, NOISE.shape), ~inside)


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
    outside = blur.outside(np.array([box]), NOISE.shape)
    assert np.array_equal(blurred[outside], NOISE[outside])
    assert NOISE[~outside].size == 3 or not np.array_equal(blurred[~outside], NOISE[~outside])


def test_no_box_or_one_off_the_frame_changes_nothing() -> None:
    assert np.array_equal(Blur()(NOISE, np.zeros((0, 5))), NOISE)
    assert np.array_equal(Blur()(NOISE, np.array([[400, 10, 20, 20]])), NOISE)


def test_a_fixed_kernel_leaves_a_large_face_its_features_and_a_growing_one_does_not() -> None:
    small, large = portrait(40), portrait(340)
    detector = YuNet()
    left = {}
    for name, picture in (("small", small), ("large", large)):
        box = detector(picture)[:1]
        for grow in (False, True):
            left[name, grow] = blur.detail_left(picture, Blur(grow=grow)(picture, box), box[0])
    assert abs(left["small", False]) < 0.02
    assert left["large", False] > 0.2
    assert abs(left["large", True]) < 0.02
    assert Blur(grow=True).size(40, 50) == (63, 21.0)
    assert Blur(grow=True).size(200, 252) == (253, pytest.approx(84.33, abs=0.01))


def test_after_the_blur_the_detector_finds_no_face_there() -> None:
    detector, frame = YuNet(), street((20, 60, 50), (250, 80, 40))
    boxes = detector(frame)
    assert len(boxes) == 2
    assert not (iou(boxes, detector(Blur()(frame, boxes))) > 0.3).any()


@pytest.mark.parametrize("wrong", [{"kernel": 62}, {"kernel": 1}, {"sigma": 0}, {"margin": -0.1}])
def test_a_blur_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match="the paper has 63, 21"):
        Blur(**wrong)


def test_the_originals_are_never_written_and_frames_without_faces_are_copied_bit_for_bit(
    scanned: Scan, release: Path, tmp_path: Path
) -> None:
    before = contents(release)
    counts = blur.anonymise(scanned, tmp_path / "out", workers=2)
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
    again = scan.find_faces(tmp_path / "out", YuNet(), tmp_path / "scan_out")
    assert len(again.table()) == 0
    assert blur.anonymise(scanned, tmp_path / "out") == counts  # nothing left to do


def test_on_disk_a_png_keeps_every_pixel_outside_and_a_jpeg_nearly_all(
    scanned: Scan, release: Path, tmp_path: Path
) -> None:
    boxes = blur.to_blur(scanned)
    blur.anonymise(scanned, tmp_path / "png", lossless=True)
    blur.anonymise(scanned, tmp_path / "jpg")
    for (clip, name), rows in boxes.items():
        original = scan.read_frame(release / clip / name)
        blurred = Blur()(original, rows)
        assert np.array_equal(scan.read_frame(tmp_path / "png" / clip / name.replace("jpg", "png")), blurred)
        change = np.abs(scan.read_frame(tmp_path / "jpg" / clip / name).astype(int) - blurred)
        assert change.mean() < 1.5
    assert (tmp_path / "png" / "val/Oslo/Oslo_0000/1.jpg").is_file()  # a frame without faces is a copy


def test_a_rejected_face_is_spared_and_followed_and_other_faces_are_blurred(
    scanned: Scan,
    marks_file: Path,
) -> None:
    marks = inspection.reject(inspection.read_marks(marks_file, scanned), ["train/Lyon/Lyon_0000:1"])
    boxes = blur.to_blur(scanned, marks)
    assert ("train/Lyon/Lyon_0000", "2.jpg") not in boxes
    (other,) = boxes["train/Lyon/Lyon_0000", "3.jpg"]
    assert other[0] > 300  # the one at the left moved by four pixels and is the rejected one
    assert ("val/Lyon/Lyon_0001", "1.jpg") in boxes


def test_a_rejected_far_face_is_blurred_once_it_comes_near() -> None:
    sizes = {"1.jpg": 20, "2.jpg": 24, "3.jpg": 29, "4.jpg": 36, "5.jpg": 44}
    boxes = {name: np.array([[100, 100, side, side, 0.9]], np.float32) for name, side in sizes.items()}
    scanned = Scan(Path("x"), {}, {"a": ScannedClip("", tuple(sizes), boxes, {})})
    marks = inspection.reject(inspection.first_faces(scanned), ["a:1"])
    assert [name for _, name in blur.to_blur(scanned, marks)] == ["4.jpg", "5.jpg"]


def test_a_target_over_in_or_around_the_source_is_refused(scanned: Scan, release: Path, tmp_path: Path) -> None:
    before = contents(release)
    (tmp_path / "link").symlink_to(release)
    for target in (release, release / "blurred", tmp_path, tmp_path / "link"):
        with pytest.raises(InputError, match="originals"):
            blur.anonymise(scanned, target)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("dear to me")
    with pytest.raises(InputError, match="something else"):
        blur.anonymise(scanned, tmp_path / "mine")
    assert contents(release) == before
    assert (tmp_path / "mine" / "notes.txt").read_text() == "dear to me"


def test_nothing_is_written_through_a_link_that_leads_out(scanned: Scan, release: Path, tmp_path: Path) -> None:
    blur.anonymise(scanned, tmp_path / "out")
    before = contents(release)
    (tmp_path / "out" / "val").rename(tmp_path / "elsewhere")
    (tmp_path / "out" / "val").symlink_to(release / "val")
    with pytest.raises(InputError, match="leads outside"):
        blur.anonymise(scanned, tmp_path / "out")
    sly = Scan(scanned.source, scanned.settings, {"../escape": scanned.clips["val/Oslo/Oslo_0000"]})
    with pytest.raises(InputError, match="leads outside"):
        blur.anonymise(sly, tmp_path / "out2")
    assert contents(release) == before
    assert not (tmp_path / "escape").exists()


def test_a_clip_appears_whole_or_not_at_all(
    scanned: Scan, release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = blur.encode
    monkeypatch.setattr(blur, "encode", full_after(1, right))  # in the middle of the first clip
    with pytest.raises(InputError, match="No space left"):
        blur.anonymise(scanned, tmp_path / "out")
    assert not (tmp_path / "out/train/Lyon/Lyon_0000").exists()
    assert not list((tmp_path / "out").rglob("*.partial"))
    monkeypatch.setattr(blur, "encode", right)
    blur.anonymise(scanned, tmp_path / "out")
    blur.anonymise(scanned, tmp_path / "straight")
    assert contents(tmp_path / "out") == contents(tmp_path / "straight")


def test_a_changed_clip_or_other_marks_are_refused(
    scanned: Scan, marks_file: Path, release: Path, tmp_path: Path
) -> None:
    blur.anonymise(scanned, tmp_path / "out")
    marks = inspection.reject(inspection.read_marks(marks_file, scanned), ["val/Lyon/Lyon_0001:1"])
    with pytest.raises(InputError, match="other marks"):
        blur.anonymise(scanned, tmp_path / "out", marks)
    with pytest.raises(InputError, match="another blur"):
        blur.anonymise(scanned, tmp_path / "out", blur=Blur(grow=True))
    Image.fromarray(street((50, 50, 60))).save(release / "val/Oslo/Oslo_0000/3.jpg")
    with pytest.raises(InputError, match="changed since"):
        blur.anonymise(scanned, tmp_path / "out2")


def test_a_small_picture_of_the_faces_inside_the_file_does_not_survive(tmp_path: Path) -> None:
    """A camera's EXIF block may hold a thumbnail of the unblurred frame."""
    folder = tmp_path / "source" / "a_0"
    folder.mkdir(parents=True)
    exif = Image.Exif()
    exif[0x010E] = "a secret description"
    Image.fromarray(street((50, 50, 60))).save(folder / "1.jpg", exif=exif)
    scanned = scan.find_faces(tmp_path / "source", YuNet(), tmp_path / "scan")
    blur.anonymise(scanned, tmp_path / "out")
    assert b"secret" in (folder / "1.jpg").read_bytes()
    assert b"secret" not in (tmp_path / "out/a_0/1.jpg").read_bytes()


@pytest.mark.parametrize("orientation", [1, 3, 6, 7])
@pytest.mark.parametrize("lossless", [False, True])
def test_blurred_frames_and_copied_ones_stand_alike_for_every_reader(
    orientation: int, lossless: bool, tmp_path: Path
) -> None:
    folder, exif = tmp_path / "source" / "a_0", Image.Exif()
    folder.mkdir(parents=True)
    exif[0x0112] = orientation
    turned = blur._TURNED_BACK.get(orientation)
    for n, people in enumerate([[(50, 50, 60)], []], start=1):
        frame = Image.fromarray(street(*people))
        (frame.transpose(turned) if turned is not None else frame).save(folder / f"{n}.jpg", exif=exif, quality=95)
    scanned = scan.find_faces(tmp_path / "source", YuNet(), tmp_path / "scan")
    blur.anonymise(scanned, tmp_path / "out", lossless=lossless)
    for n, written in (("1.jpg", "1.png" if lossless else "1.jpg"), ("2.jpg", "2.jpg")):
        before, after = Image.open(folder / n), Image.open(tmp_path / "out/a_0" / written)
        assert (after.size, after.getexif().get(0x0112, 1)) == (before.size, orientation)
        shown = scan.read_frame(tmp_path / "out/a_0" / written)
        assert shown.shape == (360, 480, 3)
        outside = blur.outside(scanned.boxes().get(("a_0", n), np.zeros((0, 5))), shown.shape)
        assert np.abs(shown.astype(int) - scan.read_frame(folder / n))[outside].mean() < 1


def test_a_grey_jpeg_stays_grey_and_as_fine_as_it_was(tmp_path: Path) -> None:
    Image.fromarray(street((50, 50, 60))).convert("L").save(tmp_path / "1.jpg", quality=97)
    written = Image.open(io.BytesIO(blur.encode(tmp_path / "1.jpg", scan.read_frame(tmp_path / "1.jpg"))))
    assert written.mode == "L"
    assert written.quantization == Image.open(tmp_path / "1.jpg").quantization


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_box_that_is_no_number_is_refused(value: float) -> None:
    with pytest.raises(InputError, match="NaN or infinite"):
        Blur()(NOISE, np.array([[value, 1, 20, 20]]))
    with pytest.raises(InputError, match="not a box"):
        ScannedClip("", ("1.jpg",), {"1.jpg": np.array([[10, 10, 20, value, 0.9]])}, {})


def test_a_png_never_takes_the_place_of_another_frame(tmp_path: Path) -> None:
    (tmp_path / "source/a_0").mkdir(parents=True)
    for name in ("1.jpg", "1.png"):
        Image.fromarray(street((50, 50, 60))).save(tmp_path / "source/a_0" / name)
    scanned = scan.find_faces(tmp_path / "source", YuNet(), tmp_path / "scan")
    with pytest.raises(InputError, match=r"1\.jpg becomes 1\.png"):
        blur.anonymise(scanned, tmp_path / "out", lossless=True)


def test_marks_of_another_scan_are_refused(scanned: Scan, marks_file: Path) -> None:
    marks = inspection.read_marks(marks_file, scanned).assign(keep=False)
    for column, value in (("clip", "val/Rome/Rome_0000"), ("frame", "77.jpg")):
        with pytest.raises(InputError, match="which was not scanned"):
            blur.to_blur(scanned, marks.assign(**{column: value}))
