"""What the project raises for bad input."""


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message says what is wrong, where (file and line, clip, or parameter), and what to do about it.
    """


class CannotRun(InputError):
    """One system cannot be run here, with this data and these weights, while others can.

    A table takes this for the reason why a row was not run; any other bad input stops it.
    """


class MissingWeights(CannotRun):
    """Pretrained weights are not on this machine; the message says which, how large they are and how to get them."""
