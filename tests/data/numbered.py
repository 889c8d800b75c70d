"""Videos whose frames carry their own number, as ten bars: bar k is bright where bit k is 1."""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

BITS = 10
CLOSED = {"x264-params": "keyint=12:min-keyint=12:scenecut=0:bframes=2:b-adapt=0"}
OPEN = {"x264-params": "open-gop=1:keyint=12:min-keyint=12:scenecut=0:bframes=3:b-adapt=0"}
REFRESHED = {"x264-params": "intra-refresh=1:keyint=30"}


def picture(number: int, width: int = 160, height: int = 96) -> np.ndarray:
    """uint8 (H, W, 3): the number in its bars, on a ground that shows errors of colour."""
    frame = np.full((height, width, 3), (200, 60, 40), np.uint8)
    for bit in range(BITS):
        value = 235 if number >> bit & 1 else 20
        frame[height // 4 : 3 * height // 4, bit * width // BITS : (bit + 1) * width // BITS] = value
    return frame


def number(frame: np.ndarray) -> int:
    """The number that a frame shows."""
    grey = frame.mean(axis=2)
    height, width = grey.shape
    middle, bar = grey[height // 4 : 3 * height // 4], width / BITS
    return sum(int(middle[:, int((k + 0.3) * bar) : int((k + 0.7) * bar) + 1].mean() > 125) << k for k in range(BITS))


def make(
    path: Path,
    codec: str = "libx264",
    frames: int = 60,
    size: tuple[int, int] = (160, 96),
    pixels: str = "yuv420p",
    options: Mapping[str, str] = CLOSED,
    container: Mapping[str, str] | None = None,
    times: Sequence[int] | None = None,
    prepare: Callable[[Any], None] = lambda stream: None,
    kind: str | None = None,
) -> Path:
    """A video of numbered frames, 30 a second, or at `times` in milliseconds."""
    with av.open(str(path), "w", format=kind, options=dict(container or {})) as file:
        stream = file.add_stream(codec, rate=30, options=dict(options))
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        if times:
            stream.codec_context.time_base = Fraction(1, 1000)
        prepare(stream)
        for k in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(k, *size), "rgb24").reformat(format=pixels)
            frame.pts = times[k] if times else k
            if times:
                frame.time_base = Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def copy(source: Path, path: Path, keep: Callable[[int], bool]) -> Path:
    """The packets of the source for whose position `keep` holds, as `ffmpeg -c copy` writes them."""
    with av.open(str(source)) as given, av.open(str(path), "w") as file:
        stream = file.add_stream_from_template(given.streams.video[0])
        for position, packet in enumerate(given.demux(video=0)):
            if packet.size and keep(position):
                packet.stream = stream
                file.mux(packet)
    return path
