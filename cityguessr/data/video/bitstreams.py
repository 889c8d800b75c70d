"""What the first bytes of a compressed frame say of it, without decoding: whether it starts afresh, and is shown."""

import re
from collections.abc import Iterator
from typing import Any


def length_bytes(context: Any) -> int:
    """How many bytes say the length of a unit, in MP4 and Matroska; 0 for start codes."""
    data = context.extradata or b""
    if not data or data[0] != 1:
        return 0
    if context.name == "hevc":
        return (data[21] & 3) + 1 if len(data) > 21 else 0
    return (data[4] & 3) + 1 if len(data) > 4 else 0


def starts_afresh(packet: bytes, prefix: int, codec: str) -> bool:
    """Whether a key packet of H.264 or HEVC makes the decoder forget: IDR, not a mere recovery point."""
    for kind in _nal_kinds(packet, prefix, codec):
        if codec == "h264" and kind in (1, 2, 5):
            return kind == 5
        if codec == "hevc" and kind < 32:
            return kind in (16, 17, 18, 19, 20)
    return False


def _nal_kinds(packet: bytes, prefix: int, codec: str) -> Iterator[int]:
    starts = _with_lengths(packet, prefix) if prefix else (m.end() for m in re.finditer(b"\0\0\1", packet))
    for start in starts:
        if start < len(packet):
            yield packet[start] & 0x1F if codec == "h264" else packet[start] >> 1 & 0x3F


def _with_lengths(packet: bytes, prefix: int) -> Iterator[int]:
    at = 0
    while at + prefix < len(packet):
        yield at + prefix
        at += prefix + int.from_bytes(packet[at : at + prefix], "big")


def is_shown(packet: bytes, codec: str) -> bool:
    """Whether a packet of VP8 or VP9 is a frame that is shown; some are only referred to."""
    if codec == "vp8":
        return bool(packet[0] >> 4 & 1)
    if packet[-1] & 0xE0 == 0xC0:  # several frames, of which the last is shown
        return True
    bits = packet[0] << 8 | (packet[1] if len(packet) > 1 else 0)
    after = 5 if bits >> 12 & 3 == 3 else 4  # marker (2 bits), profile (2, in profile 3 one more)
    shows_existing, shows = bits >> 15 - after & 1, bits >> 13 - after & 1
    return bool(shows_existing or shows)
