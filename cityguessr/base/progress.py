"""Progress on standard output: in a notebook, anything on standard error looks like an error."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def track(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Yield from `items` with a progress bar on a terminal, and one closing line (count and seconds) anywhere else."""
    if sys.stdout.isatty():
        yield from tqdm(items, desc=description, total=total, file=sys.stdout)
        return
    start, count = time.perf_counter(), 0
    for item in items:
        yield item
        count += 1
    print(f"{description}: {count:,} in {time.perf_counter() - start:.1f} s", flush=True)


def duration(seconds: float) -> str:
    """`7.4 s`, `3 min 05 s`, or `2 h 40 min`."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{seconds:.1f} s"
    return f"{minutes} min {rest:02d} s" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"
