"""Parameters that number something which only a page's data knows: which clip, which track."""

from collections.abc import Iterable

from cityguessr.base.errors import InputError


def check_number(name: str, value: int | Iterable[int], count: int, first: int = 0) -> None:
    """Check that a parameter, or each number of a list, is that of one of `count` things; call it once they are known.

    Args:
        name: of the parameter.
        first: the number of the first of them.

    Raises InputError with the numbers that there are.

    Example:
        >>> clips = run.clips().split("val")
        >>> notebooks.check_number("clip", clip, len(clips))
    """
    last = first + count - 1
    for number in [value] if isinstance(value, int) else value:
        if not first <= number <= last:
            raise InputError(f"{name} must be {first} to {last:,}, and {number:,} is not; choose another")
