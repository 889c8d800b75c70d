"""Seeded mutations of files that people and disks spoil, and what counts as a right outcome of reading them.

Mutation k of a kind is drawn from `random.Random("kind/k")`, so a failure is named by its kind and number. To see one
again: `MUTATIONS=17 python -m pytest -s tests/mutations -k labels`. To search further: `MUTATIONS=500-5000`.
"""

import faulthandler
import os
import random
import re
import resource
import shutil
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cityguessr.base.errors import InputError

LIMIT_S = 60  # what takes longer hangs, on any machine
MEMORY = 2 << 30  # bytes that reading may take


@dataclass
class Trial:
    """A spoilt input.

    Attributes:
        what: what was done to it.
        names: of the files that a message may name; one is enough.
        read: reads it.
        wrong: what is wrong with a value that was read; None where it is right.
    """

    what: str
    names: tuple[str, ...]
    read: Callable[[], Any]
    wrong: Callable[[Any], str | None]


class _Hang(BaseException):
    """Nothing on the way catches it."""


def survey(kind: str, count: int, spoil: Callable[[random.Random, Path], Trial], folder: Path) -> None:
    """Try mutations 0 to `count` - 1 of a kind, and fail with a line for each one that went wrong.

    Args:
        spoil: spoils an input, in a folder of its own, by what it draws.
    """
    first, _, last = os.environ.get("MUTATIONS", f"0-{count - 1}").partition("-")
    numbers = range(int(first), int(last or first) + 1)
    ends: Counter[str] = Counter()
    failures = []
    for number in numbers:
        own = folder / str(number)
        own.mkdir(parents=True)
        trial = spoil(random.Random(f"{kind}/{number}"), own)
        end, said = _outcome(trial)
        ends[end] += 1
        line = f"{kind} {number}: {trial.what}: {said}"
        if len(numbers) == 1:
            print(f"\n{end}: {line}")
        if end == "wrong":
            failures.append(line)
        shutil.rmtree(own)
    print(f"\n{kind}: {ends['right']} read right, {ends['refused']} refused, {len(failures)} wrong")
    assert not failures, f"{len(failures)} of {len(numbers)} went wrong:\n" + "\n".join(failures)


def _outcome(trial: Trial) -> tuple[str, str]:
    """`right`, `refused` or `wrong`, and what was said."""
    before = _peak()
    try:
        with _limited():
            said = trial.wrong(trial.read())
    except InputError as error:
        said = _wrong_message(str(error), trial.names)
        return ("refused", str(error)) if said is None else ("wrong", said)
    except _Hang:
        return "wrong", f"not done after {LIMIT_S} s"
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return "wrong", f"{type(error).__name__}: {error} ({place.filename}:{place.lineno})"
    if (grown := _peak() - before) > MEMORY:
        return "wrong", f"took {grown / 1e9:.1f} GB of memory"
    return ("right", "") if said is None else ("wrong", said)


def _wrong_message(message: str, names: tuple[str, ...]) -> str | None:
    if len(message.splitlines()) != 1 or not message.isprintable():
        return f"a message of several lines, or with control characters: {message!r}"
    if not any(name in message for name in names):
        return f"a message that names none of {', '.join(names)}: {message}"
    return f"a message of {len(message):,} characters" if len(message) > 1500 else None


def _peak() -> int:
    """The most memory in bytes that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@contextmanager
def _limited() -> Iterator[None]:
    """Ends what takes longer than `LIMIT_S`; where native code does not let it, the process."""

    def ring(*_: object) -> None:
        raise _Hang

    before = signal.signal(signal.SIGALRM, ring)
    faulthandler.dump_traceback_later(3 * LIMIT_S, exit=True)
    signal.alarm(LIMIT_S)
    try:
        yield
    finally:
        signal.alarm(0)
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, before)


# --- bytes ------------------------------------------------------------------------------------------------------------


def spoil_bytes(content: bytes, rng: random.Random, other: bytes = b"") -> tuple[str, bytes]:
    """Do to a file's content what disks, networks and editors do: what was done, and the content after it.

    Args:
        other: the content of another file of the kind, parts of which get into this one.
    """
    size = len(content)
    start = rng.randrange(size)
    length = min(rng.choice((1, 16, 512, 4096)), size - start)
    stop = start + length
    before, block, after = content[:start], content[start:stop], content[stop:]
    ways: dict[str, Callable[[], bytes]] = {
        "cut": lambda: before,
        "flipped bits": lambda: _flipped(content, rng),
        "zeros": lambda: before + bytes(length) + after,
        "ones": lambda: before + b"\xff" * length + after,
        "noise": lambda: before + rng.randbytes(length) + after,
        "doubled": lambda: before + block + block + after,
        "lost": lambda: before + after,
        "appended": lambda: content + rng.choice((bytes(length), rng.randbytes(length), b"\n", content)),
        "inserted": lambda: before + (other or content)[:length] + content[start:],
        "header": lambda: _header(content, rng),
        "tail of another": lambda: before + other[start:] if other else before,
        "zeros to the end": lambda: before + bytes(size - start),
        "text": lambda: content.replace(b"\n", b"\r\n") if rng.random() < 0.5 else content.replace(b"\r\n", b"\n"),
        "swapped halves": lambda: content[start:] + before,
    }
    way = rng.choice(list(ways))
    return f"{way}, {start:,} of {size:,} bytes, {length}", ways[way]()


def _flipped(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 8, 64))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _header(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.randint(1, 3)):
        changed[rng.randrange(min(len(changed), 200))] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
    return bytes(changed)


# --- tables -----------------------------------------------------------------------------------------------------------

HOSTILE = (
    "", " ", "nan", "NaN", "inf", "-inf", "-1", "-0", "+1", "1.0", "1.5", "1e0", "1e999", "1e-999", "0x10", "1_0",
    "9" * 20, "9" * 5000, "1" * 200_000, "x" * 200_000, "\0", "\x1b[2J", "\u0661", "\u00b2", "\uff11", "1,5", "48;5",
    '"', '""', "'1'", "=1+1", "None", "null", "True", "[]", "..", "../../x", "/etc/passwd", "a/b", "\\", "\ufeff",
    "\u200b", "\u202e", "\ud7ff", "\U0001f600", "Malm\u00f6", "Malmo\u0308", "0", "1", "2", "3", "90.0001", "-180.5",
    "1e308", "999", "2147483648", "9223372036854775808", "NULL", "#N/A", "\t", " 1 ", "1 2", "--", "%s", "{}", "$HOME",
)  # fmt: skip
"""What stands in fields instead of what should."""


def spoil_table(text: str, rng: random.Random, delimiter: str = ",") -> tuple[str, bytes]:
    """Do to a table what people, scripts and spreadsheets do: what was done, and the file's content after it."""
    lines = text.splitlines()
    table = [line.split(delimiter) for line in lines]
    row, below = rng.randrange(len(table)), rng.randrange(len(table))
    column = rng.randrange(len(table[row]))
    hostile = rng.choice(HOSTILE)
    field = f"line {row + 1}, field {column + 1}"
    way = rng.choice(
        ("field", "field", "field", "field", "copied", "line lost", "line doubled", "line moved", "field lost",
         "field added", "column lost", "column doubled", "columns swapped", "delimiter", "encoding", "ends", "blank",
         "quotes", "cut", "bytes", "case")
    )  # fmt: skip
    if way == "field":
        table[row][column] = hostile
        way = f"{field} is now {hostile[:20]!r} ({len(hostile)})"
    elif way == "copied":
        table[row][column] = rng.choice(table[below])
        way = f"{field} is now {table[row][column]!r}, of line {below + 1}"
    elif way == "line lost":
        del table[row]
        way = f"line {row + 1} lost"
    elif way == "line doubled":
        table.insert(below, table[row])
        way = f"line {row + 1} again before {below + 1}"
    elif way == "line moved":
        table.insert(below, table.pop(row))
        way = f"line {row + 1} moved to {below + 1}"
    elif way == "field lost":
        del table[row][column]
        way = f"{field} lost"
    elif way == "field added":
        table[row].insert(column, hostile)
        way = f"{hostile[:20]!r} added before {field}"
    elif way == "column lost":
        table = [fields[:column] + fields[column + 1 :] for fields in table]
        way = f"column {column + 1} lost"
    elif way == "column doubled":
        table = [[*fields[:column], *fields[column : column + 1], *fields[column:]] for fields in table]
        way = f"column {column + 1} doubled"
    elif way == "columns swapped":
        other = rng.randrange(len(table[row]))
        for fields in table:
            if max(column, other) < len(fields):
                fields[column], fields[other] = fields[other], fields[column]
        way = f"columns {column + 1} and {other + 1} swapped"
    joined = "\n".join(map(delimiter.join, table)) + "\n"
    return _spoil_text(way, joined, rng, delimiter)


def _spoil_text(way: str, text: str, rng: random.Random, delimiter: str) -> tuple[str, bytes]:
    if way == "delimiter":
        new = rng.choice((";", "\t", "|", ", ", " "))
        return f"{new!r} between fields", text.replace(delimiter, new).encode()
    if way == "encoding":
        encoding = rng.choice(("utf-16", "utf-8-sig", "utf-16-le", "utf-32", "latin-1", "cp1252", "utf-7", "cp037"))
        return f"in {encoding}", text.replace("a", rng.choice("a\u00e9\u00fc"), 3).encode(encoding)
    if way == "ends":
        end = rng.choice(("\r\n", "\r", "\n\n", "\n\r", "\x0b", "\x0c", "\x85", "\u2028", " \n", f"{delimiter}\n"))
        return f"lines end in {end!r}", (text[:-1] if rng.random() < 0.3 else text).replace("\n", end).encode()
    if way == "blank":
        line = rng.choice(("\n", "   \n", delimiter * 3 + "\n", "# a note\n", "\0\n", "\ufeff\n"))
        at = rng.choice([0, len(text), *(m.end() for m in re.finditer("\n", text))])
        return f"{line!r} at {at}", (text[:at] + line + text[at:]).encode()
    if way == "quotes":
        at = rng.randrange(len(text))
        return f"a quote at {at}", (text[:at] + '"' + text[at:]).encode()
    if way == "cut":
        at = rng.randrange(len(text))
        return f"cut at {at} of {len(text)}", text[:at].encode()
    if way == "bytes":
        done, content = spoil_bytes(text.encode(), rng)
        return done, content
    if way == "case":
        return "in capitals", text.upper().encode()
    return way, text.encode()


def decoded(content: bytes) -> str:
    """A text file as a person would read it; line ends are `\\n`."""
    for mark, encoding in ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        if content.startswith(mark):
            return content[len(mark) :].decode(encoding).replace("\r\n", "\n").replace("\r", "\n")
    return content.decode().replace("\r\n", "\n").replace("\r", "\n")
