"""A picture in a file is read whole, upright and as bright as a viewer shows it, or refused by name."""

import io
import os
import socket
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import one_line

from cityguessr.base.errors import InputError
from cityguessr.data import pictures
from cityguessr.data.pictures import decode_image, open_image, resize, shrink

Y, X = np.mgrid[:96, :144]
PIXELS = np.stack([X * 1.5, Y * 2.5, 120 + 60 * np.sin(X / 9) * np.cos(Y / 7)], axis=2).astype(np.uint8)
GREY = Image.fromarray(PIXELS).convert("L")
LEVELS = np.asarray(GREY)


def encoded(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def detailed(width: int = 640, height: int = 360) -> Image.Image:
    """A picture with detail everywhere, as a street has."""
    noise = np.random.default_rng(0).integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM"])
def test_the_content_of_a_file_counts_and_not_its_suffix(kind: str, tmp_path: Path) -> None:
    content = encoded(Image.fromarray(PIXELS), kind)
    (tmp_path / "1.jpg").write_bytes(content)
    picture = open_image(tmp_path / "1.jpg")
    assert (picture.mode, picture.size) == ("RGB", (144, 96))
    assert np.abs(np.asarray(picture).astype(int) - PIXELS).mean() < (12 if kind == "GIF" else 3)
    (tmp_path / "1.jpg").write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(InputError, match=r"1\.jpg: not a whole image \([\d,]+ bytes"):
        open_image(tmp_path / "1.jpg")


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        (GREY, "JPEG"),
        (GREY, "PNG"),
        (GREY.convert("LA"), "PNG"),
        (GREY.convert("RGBA"), "PNG"),
        (GREY.convert("P"), "PNG"),
        (GREY.convert("RGB").convert("CMYK"), "JPEG"),
        (GREY.convert("RGB").convert("YCbCr"), "TIFF"),
        (Image.fromarray(LEVELS.astype(np.uint16) * 257), "PNG"),
        (Image.fromarray(LEVELS.astype(np.int32) * 257), "TIFF"),
        (Image.fromarray(LEVELS.astype(np.float32)), "TIFF"),
        (Image.fromarray(LEVELS.astype(np.float32) / 255), "TIFF"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.mode,
)
def test_grey_of_any_mode_is_as_bright_as_it_was(image: Image.Image, kind: str) -> None:
    picture = decode_image("1.png", encoded(image, kind))
    assert picture.mode == "RGB"
    assert np.abs(np.asarray(picture).astype(int) - LEVELS[..., None]).max() <= (12 if kind == "JPEG" else 1)


def test_black_and_white_stays_so_and_transparent_pixels_lie_on_white() -> None:
    stripes = Image.fromarray(np.where(X % 16 < 8, 255, 0).astype(np.uint8)).convert("1")
    assert np.array_equal(
        np.asarray(decode_image("1.png", encoded(stripes, "PNG")))[0, :, 0], np.where(X[0] % 16 < 8, 255, 0)
    )
    black = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    black.paste((0, 0, 0, 255), (4, 0, 8, 8))
    for image in (black, black.quantize(4)):
        pixels = np.asarray(decode_image("1.png", encoded(image, "PNG")))
        assert (pixels[0, 0].tolist(), pixels[0, 7].tolist()) == ([255] * 3, [0] * 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(10))
def test_a_picture_stands_as_its_exif_block_says(kind: str, orientation: int, tmp_path: Path) -> None:
    turns = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_90",
             7: "TRANSVERSE", 8: "ROTATE_270"}  # fmt: skip
    scene = np.zeros((64, 96, 3), np.uint8)
    scene[:32, :48], scene[:32, 48:], scene[32:, :48] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    shown = Image.fromarray(scene)
    # what a camera stores is the scene turned back
    stored = shown.transpose(Image.Transpose[turns[orientation]]) if orientation in turns else shown
    exif = Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "1.jpg").write_bytes(encoded(stored, kind, exif=exif, **({"quality": 95} if kind != "PNG" else {})))
    for picture in (open_image(tmp_path / "1.jpg"), shrink(tmp_path / "1.jpg", 16)[0]):
        corners = [picture.getpixel(place) for place in ((2, 2), (picture.width - 3, 2), (2, picture.height - 3))]
        assert [int(np.argmax(corner)) for corner in corners] == [0, 1, 2]
    assert pictures.upright_size(tmp_path / "1.jpg") == open_image(tmp_path / "1.jpg").size == (96, 64)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")  # Pillow's own, which the user sees too
def test_a_damaged_exif_block_leaves_the_picture_as_it_is_stored() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(Image.fromarray(PIXELS), exif=exif)
    at = content.index(b"Exif\0\0") + 10
    damaged = content[:at] + b"\xff" * 4 + content[at + 4 :]
    assert decode_image("1.jpg", damaged).size == (144, 96)


@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"progressive": True}, {"subsampling": 0}, {"grey": True}])
@pytest.mark.parametrize(
    ("damage", "length"), [("zeros", 4096), ("ones", 512), ("left out", 700), ("zeros to the end", 0), ("cut", 0)]
)
def test_damage_amid_a_jpeg_is_an_error_and_not_other_pixels(options: dict, damage: str, length: int) -> None:
    image = detailed()
    content = encoded(image.convert("L") if options.get("grey") else image, quality=90, **options)
    assert decode_image("1.jpg", content).size == (640, 360)
    for share in (0.3, 0.5, 0.7):
        at = int(len(content) * share)
        middle = {"zeros": bytes(length), "ones": b"\xff" * length, "zeros to the end": bytes(len(content) - at)}
        after = {"cut": b"", "zeros to the end": b""}.get(damage, content[at + length :])
        with pytest.raises(InputError, match=r"^1\.jpg: not a whole image"):
            decode_image("1.jpg", content[:at] + middle.get(damage, b"") + after)


def test_a_short_run_of_zeros_that_no_picture_has_is_damage_and_an_even_area_is_not() -> None:
    content = encoded(detailed(), quality=90)
    at = len(content) // 2
    with pytest.raises(InputError, match="are zero"):
        decode_image("1.jpg", content[:at] + bytes(64) + content[at + 64 :])
    for options in ({"optimize": True}, {"progressive": True}, {}):
        for mode in ("L", "RGB"):
            even = encoded(Image.new(mode, (1280, 720)), **options)
            assert bytes(64) in even or options != {"optimize": True}
            assert not np.asarray(decode_image("1.jpg", even)).any()


def test_bytes_that_a_camera_puts_behind_or_before_the_end_are_no_damage() -> None:
    content = encoded(detailed(), quality=90)
    expected = np.asarray(decode_image("1.jpg", content))
    for padded in (content + b"more of the camera's", content[:-2] + b"\0\0" + content[-2:]):
        assert np.array_equal(np.asarray(decode_image("1.jpg", padded)), expected)


def test_a_wrong_checksum_in_a_png_is_damage() -> None:
    content = bytearray(encoded(Image.fromarray(PIXELS), "PNG", compress_level=0))
    content[len(content) // 2] ^= 1  # one pixel, and zlib would not look at it before its end
    with pytest.raises(InputError, match=r"1\.png: not a whole image .*checksum"):
        decode_image("1.png", bytes(content))


def test_a_film_in_one_file_is_no_frame_and_a_phones_second_picture_is_ignored() -> None:
    first, second = Image.fromarray(PIXELS), Image.fromarray(PIXELS[::-1].copy())
    for kind in ("GIF", "PNG", "WEBP"):
        with pytest.raises(InputError, match="2 pictures in one file"):
            decode_image("1.png", encoded(first, kind, save_all=True, append_images=[second]))
    picture = decode_image("1.jpg", encoded(first, "MPO", save_all=True, append_images=[second]))
    assert np.abs(np.asarray(picture).astype(int) - PIXELS).mean() < 3


def test_a_file_that_says_it_is_huge_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")]
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )
    jpeg = bytearray(encoded(GREY))
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", 40_000, 40_000)
    for content in (png, bytes(jpeg)):
        with pytest.raises(InputError, match=r"pixels, and|pixels here"):
            decode_image("1.jpg", content)
    with open(tmp_path / "1.jpg", "wb") as file:
        file.truncate(1 << 40)  # sparse: it takes no room
    with pytest.raises(InputError, match=r"1\.jpg: 1,099,511,627,776 bytes"):
        open_image(tmp_path / "1.jpg")


def test_only_regular_files_are_opened_and_links_to_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket must be short
    os.mkfifo("pipe.jpg")
    Path("zero.jpg").symlink_to("/dev/zero")
    Path("loop.jpg").symlink_to("loop.jpg")
    Path("gone.jpg").symlink_to("nowhere.jpg")
    Path("folder.jpg").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.jpg")
        kinds = {"pipe": "a pipe", "zero": "a device", "socket": "a socket", "folder": "a folder"}
        kinds |= {"loop": "cannot be read", "gone": "cannot be read", "missing": "cannot be read", "nul\0": "no name"}
        for name, kind in kinds.items():
            with pytest.raises(InputError, match=kind) as error:
                open_image(f"{name}.jpg")
            one_line(error)
    Path("real.jpg").write_bytes(encoded(GREY))
    Path("link.jpg").symlink_to("real.jpg")
    assert open_image("link.jpg").size == GREY.size


@pytest.mark.parametrize("width", [1280, 1920, 3840, 336, 300])
def test_a_jpeg_decoded_at_a_reduced_scale_gives_nearly_the_pixels_of_the_whole(width: int, tmp_path: Path) -> None:
    Image.fromarray(PIXELS).resize((width, width * 9 // 16), Image.Resampling.BICUBIC).save(
        tmp_path / "1.jpg", quality=90
    )
    small, content = shrink(tmp_path / "1.jpg", 112)
    whole = resize(open_image(tmp_path / "1.jpg"), 112)
    assert content is None
    assert small.size == (112, 112)
    difference = np.abs(np.asarray(small).astype(int) - np.asarray(whole))
    assert difference.mean() < 0.6
    assert difference.max() <= 8
    if width < 336:  # half of it would be smaller than 1.5 times 112: nothing is reduced
        assert difference.max() <= 1
        assert difference.mean() < 0.02


def test_a_jpeg_of_the_very_size_stays_as_it_is_and_nothing_else_does(tmp_path: Path) -> None:
    image = Image.fromarray(PIXELS[:64, :64].copy())
    exif = Image.Exif()
    exif[0x0112] = 6
    kept = {"same": encoded(image), "fine": encoded(image, quality=95, subsampling=0)}
    other = {"turned": encoded(image, exif=exif), "grey": encoded(image.convert("L")), "png": encoded(image, "PNG")}
    other |= {"large": encoded(image.resize((65, 64))), "cmyk": encoded(image.convert("CMYK"))}
    for name, content in {**kept, **other}.items():
        (tmp_path / name).write_bytes(content)
        picture, unchanged = shrink(tmp_path / name, 64)
        assert (picture.size, picture.mode) == ((64, 64), "RGB")
        assert unchanged == (content if name in kept else None)


@pytest.mark.parametrize("size", [(1, 1), (5000, 3), (3, 5000), (100, 60), (1919, 1081)])
def test_a_picture_of_any_shape_is_shrunk_as_pillow_resizes_it(size: tuple[int, int], tmp_path: Path) -> None:
    Image.fromarray(PIXELS).resize(size).save(tmp_path / "1.png")
    difference = np.abs(
        np.asarray(shrink(tmp_path / "1.png", 112)[0]).astype(int) - resize(open_image(tmp_path / "1.png"), 112)
    )
    assert difference.max() <= 1


def test_the_limits_hold_two_gigabytes() -> None:
    """Four bytes a pixel for the picture and as many while it is turned or converted, beside the file."""
    assert 2 * 4 * pictures.MAX_PIXELS + pictures.MAX_BYTES < 2e9
