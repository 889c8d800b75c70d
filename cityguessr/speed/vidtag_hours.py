"""What a training of VidTAG on Mapillary takes, from the rates that `check` measured, beside the published hours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from cityguessr.speed import records
from cityguessr.speed.records import GpuResults
from cityguessr.vidtag import schedule, views

SEQUENCES = 16_588
"""Training sequences of Mapillary's 24 cities of at least 16 frames, as an independent implementation counted them."""
TRAINING_FRAMES, VALIDATION_FRAMES = 1_245_000, 140_000
PUBLISHED = {"phase I": 2.75, "phase I, nothing kept": 68.0}
"""Hours of training on Mapillary with kept features and without, on one RTX A6000 (Table 14)."""

NOT_RUN = "not measured yet"
_BOTH = ("clip", "dinov2")


def hours(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """What is done for a training on Mapillary -> its hours, as far as its parts were measured.

    Features: each training frame in five crops, each validation frame whole, through both encoders, at the best rate
    of each with pictures on the device; reading and scaling pictures comes on top. Phases: one epoch is every sequence
    once, in batches of 128.

    Args:
        rows: of the part "vidtag" of a file that `check` wrote.
    """
    rows = [row for row in rows if "value" in row]
    found: dict[str, float] = {}
    best = {
        name: max((row["value"] for row in rows if row.get("encoder") == name and not row["from_host"]), default=None)
        for name in _BOTH
    }
    each = None if None in best.values() else sum(1 / rate for rate in best.values()) / 3600  # hours of a picture
    if each is not None:
        pictures = views.TRAINING * TRAINING_FRAMES + VALIDATION_FRAMES
        found["features of both encoders, once"] = pictures * each
    for number, phase in enumerate(schedule.MSLS, start=1):
        name = f"phase {'I' * number}"
        rate = next((row["value"] for row in rows if row.get("phase") == number), None)
        if rate is None:
            continue
        steps = phase.epochs * math.ceil(SEQUENCES / phase.batch_size)
        found[name] = steps / rate / 3600
        if number == 1 and each is not None:
            shown = phase.epochs * SEQUENCES * phase.frames
            found[f"{name}, nothing kept"] = found[name] + shown * each
    return found


def latest() -> GpuResults | None:
    """The newest file of a GPU in which VidTAG was measured; None where there is none."""
    return next((result for result in reversed(records.load()) if hours(result.content.get("vidtag", []))), None)


def table(results: GpuResults | None = None) -> pd.DataFrame:
    """One row per part of a training on Mapillary, with the published hours where there are any.

    Args:
        results: of a GPU; the newest one when left out.

    Returns the columns part, hours (of one GPU; NaN: not measured), published (of an RTX A6000; NaN: not public).
    """
    results = results or latest()
    known = {} if results is None else hours(results.content.get("vidtag", []))
    names = ("features of both encoders, once", "phase I", "phase II", "phase I, nothing kept")
    columns = {"part": names, "hours": [known.get(name) for name in names], "published": map(PUBLISHED.get, names)}
    return pd.DataFrame({name: list(values) for name, values in columns.items()}).astype(
        {"hours": float, "published": float}
    )


def markdown(results: GpuResults | None = None) -> str:
    """The same as notebooks/guide/gpu.md prints it."""
    results = results or latest()
    heading = "hours" if results is None else f"hours, {results.gpu}"
    lines = [f"| VidTAG on Mapillary | {heading} | published, RTX A6000 |", "|---|--:|--:|"]
    for row in table(results).itertuples():
        ours = NOT_RUN if math.isnan(row.hours) else f"{row.hours:.2f}"
        lines.append(f"| {row.part} | {ours} | {'' if math.isnan(row.published) else f'{row.published:g}'} |")
    return "\n".join(lines)
