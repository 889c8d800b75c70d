"""The one exception that the project raises for bad input."""


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message says what is wrong, where (file and line, clip, or parameter), and what to do about it.
    """
