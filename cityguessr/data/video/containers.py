"""Whether a video file is all there: what its container promises of its length, held against the bytes there are.

Only the outermost structure is read, a few bytes for every part of the file. Containers that promise nothing (raw
streams, programme streams) pass unless they end in zeros, as files do that were made long at once and never filled;
what their packets show is checked in `packets`.
"""

import os
import struct
from collections.abc import Callable
from typing import BinaryIO

from cityguessr.base.errors import InputError

_MP4_BOXES = {
    b"ftyp",
    b"moov",
    b"mdat",
    b"moof",
    b"mfra",
    b"sidx",
    b"styp",
    b"free",
    b"skip",
    b"wide",
    b"uuid",
    b"udta",
}
_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_MXF_PARTITION = bytes.fromhex("060e2b34020501010d01020101")
_MATROSKA_SEGMENT = 0x18538067
_NO_END = -1  # the mark that ends the file is not there
_ZEROS = 512  # at the end of a file that no stream ends in
_SYNC = 0x47  # the first byte of every packet of a transport stream


def check_whole(path: str | os.PathLike[str]) -> None:
    """Hold a file against what its container promises.

    Raises InputError, naming the file, where it is shorter than that: a download that stopped, a disk that was full.
    """
    length = os.path.getsize(path)
    with open(path, "rb") as file:
        start = file.read(4096)
        promised = next((needed for recognised, needed in _KINDS if recognised(start)), _filled)(file, length)
    if promised == _NO_END:
        raise InputError(f"{path}: cut off, its end is missing ({length:,} bytes); copy or download it again")
    if promised > length:
        raise InputError(f"{path}: cut off, {length:,} of {promised:,} bytes are there; copy or download it again")


def _filled(file: BinaryIO, length: int) -> int:
    """For a file that promises nothing: whether anything stands at its end."""
    file.seek(max(0, length - _ZEROS))
    return 0 if any(file.read(_ZEROS)) else _NO_END


def _mp4(file: BinaryIO, length: int) -> int:
    """The end of the last box. A box of size 0 goes on to the end; junk after the last box is passed over."""
    position, kinds = 0, [b""]
    while position + 8 <= length:
        file.seek(position)
        header = file.read(16)
        size, kind = int.from_bytes(header[:4], "big"), header[4:8]
        if size == 1:
            size = int.from_bytes(header[8:16], "big")
        if not _is_name(kind) or size < 8:
            return _NO_END if b"moof" in kinds else position
        kinds.append(kind)
        position += size
    if position <= length and (kinds[-1] == b"moof" or (position < length and b"moof" in kinds)):
        return _NO_END  # what the last fragment announces is missing
    return position


def _is_name(kind: bytes) -> bool:
    """Whether a box may be called so: those that the world uses are letters, digits, and \xa9 for Apple."""
    return all(byte == 0xA9 or 0x20 <= byte < 0x7F for byte in kind)


def _matroska(file: BinaryIO, length: int) -> int:
    """The end of the last segment. A live recording leaves its size open, and perhaps that of its clusters: then the
    end of the last part inside.
    """
    position = 0
    inside = False
    while position < length:
        file.seek(position)
        header = file.read(12)
        number, width = _variable(header, keep_marker=True)
        size, size_width = _variable(header[width:], keep_marker=False)
        if not width or not size_width:  # the end of a number is missing, or junk follows the last segment
            return length if position + 12 <= length or not inside else _NO_END
        if position and not inside and number != _MATROSKA_SEGMENT:
            break
        position += width + size_width
        if size == (1 << 7 * size_width) - 1:  # all ones: not known
            inside = True
        else:
            position += size
    return position


def _variable(data: bytes, keep_marker: bool) -> tuple[int, int]:
    """An EBML number and its width in bytes; width 0 where there is none."""
    if not data or not data[0]:
        return 0, 0
    width = 9 - data[0].bit_length()
    if len(data) < width:
        return 0, 0
    value = int.from_bytes(data[:width], "big")
    return (value if keep_marker else value & ((1 << 7 * width) - 1)), width


def _riff(file: BinaryIO, length: int) -> int:
    """The end of the last RIFF chunk: a large AVI has several."""
    position = 0
    while position + 8 <= length:
        file.seek(position)
        kind, size = struct.unpack("<4sI", file.read(8))
        if kind != b"RIFF" or size == 0:  # 0: the camera stopped before it could write it
            break
        position += 8 + size
    return position


def _asf(file: BinaryIO, length: int) -> int:
    """The size in the file properties, unless it was broadcast."""
    file.seek(0)
    header = file.read(1 << 16)
    at = header.find(_ASF_PROPERTIES)
    if at < 0 or len(header) < at + 92:
        return 0
    (size,), (flags,) = struct.unpack_from("<Q", header, at + 40), struct.unpack_from("<I", header, at + 88)
    return 0 if flags & 1 else size


def _flv(file: BinaryIO, length: int) -> int:
    """The end of the last tag, each of which is followed by its size."""
    file.seek(5)
    position = int.from_bytes(file.read(4), "big") + 4
    while position + 11 <= length:
        file.seek(position)
        header = file.read(4)
        if header[0] & 0x1F not in (8, 9, 18):
            return 0
        position += 11 + int.from_bytes(header[1:4], "big") + 4
    return position


def _transport(file: BinaryIO, length: int) -> int:
    """Whole packets of 188, 192 or 204 bytes, down to the last one: a file that was made long at once ends in zeros."""
    file.seek(0)
    size, first = _packet_size(file.read(4096))
    file.seek(max(0, length - size) + first)
    if length % size == 0 and file.read(1) != bytes([_SYNC]):
        return _NO_END
    return -(-length // size) * size


def _packet_size(start: bytes) -> tuple[int, int]:
    """Of a transport stream, and where in a packet its mark stands; 0, 0 where it is none."""
    for size, first in ((188, 0), (192, 4), (204, 0)):
        syncs = start[first::size]
        if syncs[:3] == bytes([_SYNC]) * 3:
            return size, first
    return 0, 0


def _ogg(file: BinaryIO, length: int) -> int:
    """The end of the last page; a page says which one is the last of its stream."""
    back = min(length, 1 << 17)
    file.seek(length - back)
    tail = file.read()
    at = tail.rfind(b"OggS")
    if at < 0 or len(tail) < at + 27:
        return _NO_END
    count = tail[at + 26]
    table = tail[at + 27 : at + 27 + count]
    end = length - back + at + 27 + count + sum(table)
    return end if end > length or tail[at + 5] & 4 else _NO_END


def _gif(file: BinaryIO, length: int) -> int:
    """The end of the last block."""
    file.seek(10)
    flags = file.read(1)
    file.seek(13)
    if flags and flags[0] & 0x80:
        file.seek(3 << (flags[0] & 7) + 1, os.SEEK_CUR)
    while (kind := file.read(1)) in (b",", b"!"):
        skip = file.read(9) if kind == b"," else file.read(1)
        if kind == b"," and len(skip) == 9:
            if skip[8] & 0x80:
                file.seek(3 << (skip[8] & 7) + 1, os.SEEK_CUR)
            file.read(1)
        while (size := file.read(1)) and size[0]:
            file.seek(size[0], os.SEEK_CUR)
    return 0 if kind == b";" else _NO_END


def _y4m(file: BinaryIO, length: int) -> int:
    """The end of the last frame; all are of one size, which the first line says."""
    file.seek(0)
    line = file.read(1024).split(b"\n", 1)[0]
    fields = {word[:1]: word[1:].decode("ascii", "replace") for word in line.split()[1:] if word[:1] in b"WHC"}
    colours = fields.get(b"C", "420jpeg")
    planes = next((share for name, share in _Y4M_PLANES.items() if colours.startswith(name)), None)
    if planes is None or not all(fields.get(side, "").isdecimal() for side in (b"W", b"H")):
        return 0
    width, height = int(fields[b"W"]), int(fields[b"H"])
    across, down = planes
    size = width * height + (2 * -(-width // across) * -(-height // down) if across else 0)
    size *= 2 if "p1" in colours or colours in ("mono9", "mono10", "mono12", "mono16") else 1
    position = len(line) + 1
    while position < length:
        file.seek(position)
        head = file.read(1024).split(b"\n", 1)[0]
        if not head.startswith(b"FRAME"):
            return _NO_END
        position += len(head) + 1 + size
    return position


_Y4M_PLANES = {"420": (2, 2), "422": (2, 1), "444alpha": None, "444": (1, 1), "411": (4, 1), "mono": (0, 0)}


def _mxf(file: BinaryIO, length: int) -> int:
    """The start of the last partition, where the first one says where that is and it is there."""
    file.seek(16)
    head = file.read(9)
    width = 1 + (head[0] & 0x7F if head[0] & 0x80 else 0)  # of the length of what follows
    file.seek(16 + width + 24)
    footer = int.from_bytes(file.read(8), "big")
    file.seek(min(footer, length))
    if footer and footer + 1 <= length and file.read(len(_MXF_PARTITION)) != _MXF_PARTITION:
        return _NO_END
    return footer + 1 if footer else 0


def _ivf(file: BinaryIO, length: int) -> int:
    """The end of the last frame, each of which starts with its size."""
    position = 32
    while position + 12 <= length:
        file.seek(position)
        position += 12 + int.from_bytes(file.read(4), "little")
    return position if position >= length else _NO_END


_KINDS: list[tuple[Callable[[bytes], bool], Callable[[BinaryIO, int], int]]] = [
    (lambda start: start[4:8] in _MP4_BOXES, _mp4),
    (lambda start: start[:4] == b"\x1a\x45\xdf\xa3", _matroska),
    (lambda start: start[:4] == b"RIFF", _riff),
    (lambda start: start[:16] == _ASF_HEADER, _asf),
    (lambda start: start[:3] == b"FLV", _flv),
    (lambda start: start[:4] == b"OggS", _ogg),
    (lambda start: start[:4] == b"GIF8", _gif),
    (lambda start: start[:4] == b"DKIF", _ivf),
    (lambda start: start[:10] == b"YUV4MPEG2 ", _y4m),
    (lambda start: start[:13] == _MXF_PARTITION, _mxf),
    (lambda start: _packet_size(start)[0] > 0, _transport),
]
