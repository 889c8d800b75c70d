"""Damage in a JPEG that libjpeg takes for pixels: a sector of zeros among them, as a broken copy or disk leaves."""

import re
from collections.abc import Iterator

_RUN = bytes(64)
_SCAN_END = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # a marker that is neither a stuffed byte nor a restart
_SEQUENTIAL, _PROGRESSIVE = (0xC0, 0xC1), (0xC2,)
_TABLES, _SCAN, _END = 0xC4, 0xDA, 0xD9
_WITHOUT_LENGTH = (0x00, 0x01, *range(0xD0, 0xD9))


def zeros_amid_pixels(content: bytes) -> int:
    """Where in a JPEG file a run of 64 or more zeros begins that no picture can have, or 0 where there is none.

    Zeros are a Huffman code as any other, and libjpeg only warns where the blocks no longer add up. What they mean is
    in the file's own tables: where the code of zeros alone stands for "no more coefficients", zeros are an even area
    and allowed. Where it stands for a coefficient, 512 bits of them are a block, or many, with all coefficients the
    same, which no camera and no encoder writes (ITU-T T.81, annexes F and G). Scans whose zeros may mean something are
    passed over: those of progressive files that hold averages or refine what came before.
    """
    at = content.find(_RUN)
    if at < 0:
        return 0
    for start, end, suspicious in _scans(content):
        if suspicious and (found := content.find(_RUN, start, end)) >= 0:
            return found
    return 0


def pixels_begin(content: bytes) -> int:
    """Where in a JPEG file its first compressed pixels begin: what is said about the picture stands before."""
    return next((end for marker, _, end in _segments(content) if marker == _SCAN), len(content))


def _segments(content: bytes) -> Iterator[tuple[int, bytes, int]]:
    """The segments of a JPEG file in turn: marker, body, and where what follows begins. Pixels are passed over."""
    position = 2
    while position + 4 <= len(content):
        marker = content[position + 1]
        if content[position] != 0xFF or marker == 0xFF:
            position += 1
        elif marker in _WITHOUT_LENGTH:
            position += 2
        elif marker == _END:
            return
        else:
            end = position + 2 + max(2, int.from_bytes(content[position + 2 : position + 4], "big"))
            yield marker, content[position + 4 : end], end
            position = end
            if marker == _SCAN:
                after = _SCAN_END.search(content, position)
                position = after.start() if after else len(content)


def _scans(content: bytes) -> Iterator[tuple[int, int, bool]]:
    """The compressed pixels of each scan: first byte, last (exclusive), and whether long zeros in it are damage."""
    kind, symbols = 0, {}
    for marker, body, end in _segments(content):
        if marker in (*_SEQUENTIAL, *_PROGRESSIVE):
            kind = marker
        elif marker == _TABLES:
            symbols |= _zero_symbols(body)
        elif marker == _SCAN and len(body) >= 4:
            after = _SCAN_END.search(content, end)
            yield end, after.start() if after else len(content), _zeros_are_damage(body, kind, symbols)


def _zeros_are_damage(header: bytes, kind: int, symbols: dict[int, int]) -> bool:
    """Whether the code of zeros stands for a coefficient in one of the components of a scan."""
    components = header[0]
    tables = header[2 : 1 + 2 * components : 2]
    first, refinement = header[1 + 2 * components : 2 + 2 * components], header[3 + 2 * components :]
    if kind in _PROGRESSIVE and (first == b"\0" or (refinement and refinement[0] >> 4)):
        return False
    if kind not in (*_SEQUENTIAL, *_PROGRESSIVE):
        return False
    return any(symbols.get(0x10 | (table & 15), 0) & 15 for table in tables)


def _zero_symbols(body: bytes) -> dict[int, int]:
    """The symbol of each Huffman table's first code, which is the one of zeros, by the table's class and number."""
    symbols, position = {}, 0
    while position + 17 < len(body):
        count = sum(body[position + 1 : position + 17])
        symbols[body[position]] = body[position + 17]
        position += 17 + count
    return symbols
