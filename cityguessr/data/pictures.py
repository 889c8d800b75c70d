"""Pictures in files: read, decoded, resized and encoded."""

import io
import os
from pathlib import Path
from typing import Any

from PIL import Image

from cityguessr.base.errors import InputError


def open_image(path: str | os.PathLike[str]) -> Image.Image:
    """The image in a file, decoded completely.

    Raises InputError, naming the file, where it is missing, empty, truncated or no image.
    """
    return decode_image(path, read_bytes(path))


def decode_image(path: str | os.PathLike[str], content: bytes) -> Image.Image:
    """The image in the `content` of the file at `path`; as `open_image`, for a file already read."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            return image
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise InputError(
            f"{path}: not a whole image ({len(content):,} bytes); restore the file or leave the clip out"
        ) from None


def encode_image(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The image as the content of a file, `JPEG` or `PNG`, with Pillow's options of that kind."""
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def resize(image: Image.Image, size: int) -> Image.Image:
    """The whole image as a square of `size` pixels in RGB (Pillow's antialiased bilinear, as the authors do)."""
    image = image if image.mode == "RGB" else image.convert("RGB")
    return image if image.size == (size, size) else image.resize((size, size), Image.Resampling.BILINEAR)


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """The content of a frame's file. Raises InputError, naming it, where it cannot be read."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); restore the file or leave the clip out") from None
