"""The JPEG frames of prepared clips decoded: by libjpeg-turbo through OpenCV, or by nvJPEG on a GPU.

Every library that brings libjpeg-turbo gives the pixels of Pillow, bit for bit, and they differ little in speed. OpenCV
is as fast as torchvision, whose decoders are deprecated, and separates the colours into planes six times faster than
torch or numpy copy them.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from cityguessr.base.errors import InputError

_SCAN, _END = b"\xff\xda", b"\xff\xd9"  # markers: pixels follow; the picture ends
_FLAGS = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION  # as Pillow: three channels, not turned


def decode(content: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """The picture in a JPEG file: uint8 (3, H, W), RGB, the same as Pillow's.

    Args:
        content: of the file, uint8 (bytes,).
        out: an array to write it to, contiguous and of the picture's shape.

    Raises InputError for content without its end or no picture at all, and for a picture that does not fit `out`.
    Damage amid the compressed pixels may go unnoticed, as with any decoder, but for libjpeg's line on standard error.
    """
    try:
        picture = cv2.imdecode(content, _FLAGS) if _has_end(content) else None
    except cv2.error:  # a header that promises more pixels than OpenCV takes
        picture = None
    if picture is None:
        raise InputError(f"not a whole JPEG ({content.size:,} bytes)")
    shape = (3, *picture.shape[:2])
    if out is None:
        out = np.empty(shape, np.uint8)
    elif out.shape != shape:
        raise InputError(f"{shape[2]} x {shape[1]} pixels, not {out.shape[2]} x {out.shape[1]}")
    cv2.split(picture, [out[2], out[1], out[0]])  # OpenCV's order is blue, green, red
    return out


def _has_end(content: np.ndarray) -> bool:
    """Whether the picture's end is there, which OpenCV does not ask where zeros stand in place of the last bytes."""
    if content[-2:].tobytes() == _END:
        return True
    everything = content.tobytes()  # some cameras write more behind the end, and a thumbnail before the pixels
    return everything.rfind(_END) > everything.rfind(_SCAN)


def decode_on_device(contents: Sequence[Tensor], device: str | torch.device = "cuda") -> Tensor:
    """The pictures in JPEG files of one size, decoded by nvJPEG on a GPU: uint8 (N, 3, H, W), RGB, on that GPU.

    nvJPEG rounds otherwise than libjpeg-turbo, so its pixels differ slightly from those of `decode`: a training that
    decodes on the device is not, bit for bit, one that decodes on the processor. The decoding units of an A100 or newer
    take baseline files; progressive ones, and any file on a card without such units, go one by one through its ordinary
    cores. The call returns when the pixels are there. It leaves the interpreter free, and calls from several threads
    wait for each other.

    Args:
        contents: of the files, each uint8 (bytes,) on the CPU.

    Raises InputError where a file cannot be decoded, where the pictures differ in size, and without a GPU.
    """
    device = torch.device(device)
    if device.type != "cuda" or not torch.cuda.is_available():
        raise InputError(f"nvJPEG needs a CUDA GPU, and device={str(device)!r} is none here; decode on the processor")
    from torchvision.io import ImageReadMode, decode_jpeg

    with _nvjpeg, torch.cuda.stream(_stream(device)):
        try:
            pictures = torch.stack(decode_jpeg(list(contents), ImageReadMode.RGB, device))
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"one of {len(contents)} JPEG files cannot be decoded on {device}: {reason}") from None
        finally:
            _stream(device).synchronize()
    pictures.record_stream(torch.cuda.current_stream(device))
    return pictures


# The decoding units write at once, whatever is still queued on the stream they are given. Memory freed a moment ago may
# still be read by that queue, so it must not be handed to them: they get theirs from a stream of their own, which is
# empty after every call. (github.com/pytorch/vision/pull/9606, github.com/meta-pytorch/torchcodec/pull/1634)
_nvjpeg = threading.Lock()


@functools.cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)
