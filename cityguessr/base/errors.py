"""What the project raises for bad input."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message says what is wrong, where (file and line, clip, or parameter), and what to do about it. It is one line:
    line breaks, control characters and marks of direction in what it quotes stand in it as `\\n` or `\\u202e`, so that
    no name of a file and no field of a table can write over what a terminal shows.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(_in_one_line(str(message)))


class CannotRun(InputError):
    """One system cannot be run here, with this data and these weights, while others can.

    A table takes this for the reason why a row was not run; any other bad input stops it.
    """


class MissingWeights(CannotRun):
    """Pretrained weights are not on this machine; the message says which, how large they are and how to get them."""


def _in_one_line(message: str) -> str:
    """The message with everything that cannot be printed written as an escape."""
    if message.isprintable():
        return message
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in message)


MANY = 20  # names that are too many to find one's own among them


def nearest(value: object, names: Iterable[str]) -> list[str]:
    """The names most like what somebody typed, four at the most, the nearest first."""
    return difflib.get_close_matches(str(value), list(names), 4)


def one_of(what: str, value: object, allowed: Iterable[object], listing: str = "") -> InputError:
    """The error for a value outside a known set: `no profile 'huge'; it is one of mini, world68k`.

    Of a large set it names those that are most like the value, where there are any.

    Args:
        what: what the value names, in the singular, such as `profile` or `data set`.
        allowed: what it may be, in the order to list them.
        listing: a command that lists a large set.

    Example:
        >>> raise one_of("profile", name, PROFILES)
    """
    known = [item if isinstance(item, str) else repr(item) for item in allowed]
    near = nearest(value, known) if len(known) > MANY else []
    if near:
        more = f"; `{listing}` lists them" if listing else ""
        return InputError(f"no {what} {value!r}; it is one of {len(known)}, such as {', '.join(near)}{more}")
    return InputError(f"no {what} {value!r}; it is one of {', '.join(known)}")
