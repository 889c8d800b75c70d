"""Pictures in files: read whole, set upright, brought to RGB, resized and encoded.

How a picture stands (EXIF) and what its numbers mean (grey of 16 bits, CMYK, transparency) is decided here alone, so
that the model, the scan for faces and every figure see the same. JPEG files are decoded by libjpeg-turbo, at once at a
reduced scale where a small picture is wanted (`shrink`), and its warnings of damage are errors here: Pillow and OpenCV
fill up what is broken and say nothing.
"""

import io
import os
import re
import stat
import struct
from typing import Any

import numpy as np
from PIL import Image

from cityguessr.base.errors import InputError
from cityguessr.data.damage import pixels_begin, zeros_amid_pixels

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF")
"""What a picture may be, by its content: the suffix does not count. Formats that run programs, as EPS does, are out."""

MAX_BYTES = 1 << 29
MAX_PIXELS = 1 << 27  # 16,384 x 8,192, the largest of today's panoramas
ENOUGH = 1.5
"""A picture is decoded at least so many times as large as wanted, each way, before it is resized.

Frames of 1280 x 720 are then decoded at half their size for 224 pixels. That changes the result by 0.4 to 0.9 levels of
256 in the mean, by 3 to 4 at the 99th percentile; twice as large, in eighths, takes longer than decoding in full."""

_PADDING = 16  # fewer NULs than that before the end of a JPEG are padding of the camera, not damage
_BACKGROUND = (255, 255, 255)  # behind transparent pixels: paper, as a notebook shows them


def open_image(path: str | os.PathLike[str]) -> Image.Image:
    """The picture in a file, whole, upright and in RGB, as a viewer shows it.

    Grey of 16 bits is scaled to 8, transparent pixels lie on white, and floating-point grey runs from 0 to 1, or to
    255 where a pixel is above 1. Of the pictures in a phone's JPEG (MPO) the first is taken, which viewers show.

    Raises InputError, naming the file, where it is missing, no regular file (or a link to one), empty, truncated,
    damaged as far as its format tells, animated, no picture, or larger than 512 MiB or 134 million pixels.
    """
    return decode_image(path, read_bytes(path))


def decode_image(path: str | os.PathLike[str], content: bytes) -> Image.Image:
    """The picture in the `content` of the file at `path`; as `open_image`, for a file already read."""
    return _as_image(_decode(path, content, 0))


def _as_image(picture: Image.Image | np.ndarray) -> Image.Image:
    return picture if isinstance(picture, Image.Image) else Image.fromarray(picture)


def shrink(path: str | os.PathLike[str], size: int) -> tuple[Image.Image, bytes | None]:
    """The picture in a file as a square of `size` pixels; as `open_image` and `resize`, but quicker.

    A JPEG is decoded by libjpeg at a half, a quarter or an eighth of its size, whichever is the smallest that leaves
    `ENOUGH` times `size` each way.

    Returns the picture, and the content of the file where that is a JPEG in RGB (YCbCr) of this very size and upright
    already, to be kept as it is without a second loss; else None: it is to be encoded.

    Raises InputError as `open_image`.
    """
    content = read_bytes(path)
    picture = _decode(path, content, size)
    keep = _size(picture) == (size, size) and _is_plain(content)
    return _small(picture, size), content if keep else None


def _small(picture: Image.Image | np.ndarray, size: int) -> Image.Image:
    """A picture as `resize` makes it, but for a level of 256 here and there, in a fifth of the time.

    It takes 1.1 ms of Pillow to bring 640 x 360 pixels to 224 x 224, as much as to decode many a JPEG, and 0.2 ms of
    torch, which weights the pixels in the same way and rounds otherwise in 3 of 1,000.
    """
    import torch  # which processes that only look at lists do not wait for

    pixels = np.array(picture) if isinstance(picture, Image.Image) else picture
    if pixels.shape[:2] != (size, size):
        planes = torch.from_numpy(pixels).permute(2, 0, 1)[None]
        small = torch.nn.functional.interpolate(planes, (size, size), mode="bilinear", antialias=True)
        pixels = np.ascontiguousarray(small[0].permute(1, 2, 0).numpy())
    return Image.fromarray(pixels)


def _size(picture: Image.Image | np.ndarray) -> tuple[int, int]:
    return picture.size if isinstance(picture, Image.Image) else (picture.shape[1], picture.shape[0])


def reduced(path: str | os.PathLike[str], size: int) -> Image.Image:
    """The picture as `shrink` decodes it, before it is resized: at least `ENOUGH` times `size` where it has so many."""
    return _as_image(_decode(path, read_bytes(path), size))


def upright_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Width and height in pixels of the picture in a file as `open_image` gives it, from its header alone.

    Raises InputError, naming the file, where it cannot be read or has no header of a picture.
    """
    content = read_bytes(path)
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            width, height = image.size
            turn = None if image.format in _TURNED_BY_PILLOW else _orientation(image)
    except Exception:
        raise InputError(
            f"{path}: not an image ({len(content):,} bytes); restore the file or leave the clip out"
        ) from None
    return (height, width) if turn in _ON_ITS_SIDE else (width, height)


def orientation(content: bytes) -> int:
    """How the picture in a file's content is stored: 1 upright, or the note of EXIF, 2 to 8, that it obeys."""
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        turn = None if image.format in _TURNED_BY_PILLOW else _orientation(image)
    return next((note for note, known in _TURNS.items() if known is turn), 1)


def encode_image(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The image as the content of a file, `JPEG` or `PNG`, with Pillow's options of that kind."""
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def resize(image: Image.Image, size: int) -> Image.Image:
    """The whole image as a square of `size` pixels in RGB (Pillow's antialiased bilinear, as the authors do)."""
    image = image if image.mode == "RGB" else image.convert("RGB")
    return image if image.size == (size, size) else image.resize((size, size), Image.Resampling.BILINEAR)


def shorten(image: Image.Image, size: int) -> Image.Image:
    """The whole image in RGB, its short side brought to `size` pixels and the other by the same factor, rounded down.

    Pillow's antialiased bilinear, as `resize`; what torchvision's Resize does of one number.
    """
    image = image if image.mode == "RGB" else image.convert("RGB")
    short = min(image.size)
    shape = tuple(size if side == short else size * side // short for side in image.size)
    return image if image.size == shape else image.resize(shape, Image.Resampling.BILINEAR)


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """The content of a regular file, or of one that a link leads to.

    Raises InputError, naming it, where it cannot be read, is anything else (a pipe would wait forever, a device may
    never end) or is larger than 512 MiB.
    """
    try:
        kind = os.stat(path).st_mode
        if not stat.S_ISREG(kind):
            raise InputError(f"{path}: {_named(kind)} and no regular file; restore the file or leave the clip out")
        # What was a file a moment ago may be a pipe by now: opening one without waiting returns at once.
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
            now = os.fstat(file.fileno())
            if not stat.S_ISREG(now.st_mode):
                raise InputError(f"{path}: changed while it was read; restore the file or leave the clip out")
            if now.st_size > MAX_BYTES:
                raise InputError(
                    f"{path}: {now.st_size:,} bytes, and a picture has at most {MAX_BYTES:,}; restore the file or "
                    "leave the clip out"
                )
            return file.read()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); restore the file or leave the clip out") from None
    except ValueError as error:  # InputError, which is one too, and a NUL in the name
        if isinstance(error, InputError):
            raise
        raise InputError(f"{str(path)!r}: no name of a file ({error}); correct it") from None


def _named(mode: int) -> str:
    kinds = {stat.S_ISDIR: "a folder", stat.S_ISFIFO: "a pipe", stat.S_ISSOCK: "a socket"}
    return next((name for test, name in kinds.items() if test(mode)), "a device")


def _decode(path: str | os.PathLike[str], content: bytes, size: int) -> Image.Image | np.ndarray:
    """The picture upright and in RGB, as an image or uint8 (H, W, 3); a JPEG at a reduced scale if `size` is given."""
    try:
        if content[:2] == b"\xff\xd8":
            return _decode_jpeg(content, size)
        return _decode_other(content)
    except Image.DecompressionBombError:
        raise InputError(
            f"{path}: a picture has at most {MAX_PIXELS:,} pixels here, and this one says it has more; restore the "
            "file or leave the clip out"
        ) from None
    except _Refused as reason:
        raise InputError(f"{path}: {reason}; restore the file or leave the clip out") from None
    except (OSError, SyntaxError, ValueError, struct.error, EOFError, KeyError, IndexError, TypeError, OverflowError,
            ZeroDivisionError) as error:  # fmt: skip
        reason = f"; {error}" if isinstance(error, SyntaxError) and "PNG" in str(error) else ""
        raise InputError(
            f"{path}: not a whole image ({len(content):,} bytes{reason}); restore the file or leave the clip out"
        ) from None


class _Refused(Exception):
    """Why a picture is not taken."""


def _decode_jpeg(content: bytes, size: int) -> Image.Image | np.ndarray:
    import simplejpeg  # which a machine that renders its pictures need not have

    height, width, colours, _ = simplejpeg.decode_jpeg_header(content)
    _check_pixels(width, height)
    if where := zeros_amid_pixels(content):
        raise _Refused(f"not a whole image: its bytes from {where:,} on are zero; {len(content):,} bytes")
    if colours in ("CMYK", "YCCK"):
        _strictly(content, "CMYK", width, height, 8)  # for its damage alone
        with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
            image.load()
            return _upright(content, image).convert("RGB")
    least = ENOUGH * size if size else max(width, height)
    # libjpeg-turbo's other scales, such as 5/8, are slower than no scale at all
    scale = next((scale for scale in (8, 4, 2) if min(width, height) >= scale * least), 1)
    pixels = _strictly(content, "RGB", width, height, scale)
    return _upright(content, Image.fromarray(pixels)) if _has_notes(content) else pixels


def _strictly(content: bytes, colours: str, width: int, height: int, scale: int) -> np.ndarray:
    """The pixels of a JPEG at one `scale`-th of its size; damage that libjpeg notices is an error."""
    import simplejpeg

    options = {
        "colorspace": colours,
        "min_height": -(-height // scale),
        "min_width": -(-width // scale),
        "fastupsample": False,  # as Pillow and OpenCV do
    }
    try:
        return simplejpeg.decode_jpeg(content, **options)
    except ValueError as error:
        padding = re.match(r"Corrupt JPEG data: (\d+) extraneous bytes before marker 0xd9", str(error))
        if padding and 0 < (count := int(padding[1])) < _PADDING:
            end = content.rfind(b"\xff\xd9")
            if not any(content[end - count : end]):
                return simplejpeg.decode_jpeg(content, strict=False, **options)
        raise _Refused(f"not a whole image ({len(content):,} bytes; {error})") from None


def _has_notes(content: bytes) -> bool:
    """Whether a JPEG has a block that may say how it stands: most have none, and this is quick."""
    header = content[: pixels_begin(content)]
    return b"Exif\0\0" in header or b"iff:Orientation" in header


def _upright(content: bytes, image: Image.Image) -> Image.Image:
    """An image decoded from a JPEG, turned as the EXIF or XMP block in the `content` says."""
    with Image.open(io.BytesIO(content), formats=("JPEG",)) as header:
        turn = _orientation(header)
    return image if turn is None else image.transpose(turn)


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_ON_ITS_SIDE = tuple(_TURNS[note] for note in (5, 6, 7, 8))
_TURNED_BY_PILLOW = ("TIFF", "AVIF")  # while it loads them


def _orientation(image: Image.Image) -> Image.Transpose | None:
    """What sets an image upright; None where it stands so, or says nothing that can be read."""
    try:
        return _TURNS.get(image.getexif().get(0x0112, 1))
    except Exception:  # whatever a damaged block makes of Pillow's reader: a viewer shows the pixels as they are
        return None


def _decode_other(content: bytes) -> Image.Image:
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        _check_pixels(*image.size)
        if image.format == "PNG":
            with Image.open(io.BytesIO(content), formats=("PNG",)) as twin:
                twin.verify()  # the checksums of all its parts, which loading does not look at
        if getattr(image, "is_animated", False):
            raise _Refused(f"{image.n_frames} pictures in one file; a frame is one picture")
        turn = None if image.format in _TURNED_BY_PILLOW else _orientation(image)
        image.load()
        upright = _to_rgb(image)
        return upright if turn is None else upright.transpose(turn)


def _check_pixels(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise _Refused(f"{width:,} x {height:,} pixels, and a picture has at most {MAX_PIXELS:,} here")


def _to_rgb(image: Image.Image) -> Image.Image:
    """An image of any mode in RGB, as bright as a viewer shows it."""
    if image.mode.startswith("I"):  # grey of 16 bits, in 16 or 32
        grey = np.asarray(image)
        if grey.size and (grey.min() < 0 or grey.max() > 65535):
            raise _Refused("grey values outside 0 to 65,535; a picture has 8 or 16 bits per colour")
        return Image.fromarray(((grey.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        grey = np.asarray(image)
        if not np.isfinite(grey).all() or grey.min() < 0 or grey.max() > 255:
            raise _Refused("grey values outside 0 to 255; a picture in floating point runs from 0 to 1, or to 255")
        return Image.fromarray((grey * (255 if grey.max() <= 1 else 1) + 0.5).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        colours = image.convert("RGBA")
        paper = Image.new("RGB", image.size, _BACKGROUND)
        paper.paste(colours, mask=colours.getchannel("A"))
        return paper
    return image if image.mode == "RGB" else image.convert("RGB")


def _is_plain(content: bytes) -> bool:
    """Whether a picture's file is a JPEG of three colours that no note turns."""
    if content[:2] != b"\xff\xd8":
        return False
    with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
        return image.format == "JPEG" and image.mode == "RGB" and _orientation(image) is None
