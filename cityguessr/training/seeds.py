"""Which seeds a training can have."""

from cityguessr.base.errors import InputError

MOST = 2**32 - 1
"""Epochs and batches draw from multiples of the seed, which torch and NumPy take up to here and no further alike."""


def check_seed(seed: object) -> int:
    """The seed, a whole number from 0 to 2^32 - 1. Raises InputError for anything else."""
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MOST:
        shown = repr(seed) if not isinstance(seed, int) or -(2**63) < seed < 2**63 else "a larger number"
        raise InputError(f"a seed is a whole number from 0 to {MOST:,}, not {shown[:60]}; choose another")
    return seed
