"""What a folder of prepared clips is to hold (`plan.json`), and which of its files `prepare` may throw away."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from pathlib import Path
from typing import Any

from cityguessr.base.errors import InputError
from cityguessr.base.files import PARTIAL, write_bytes
from cityguessr.data import prepared
from cityguessr.data.prepared import FORMAT, INDEX, META, REJECTED, SCENE_FOLDER, TAXONOMY, TEXT
from cityguessr.data.sources import ClipRef

PLAN = "plan.json"
TIMES = ".times.json"  # of source files that have other times than when they were read, and the same content


def hash_clips(clips: list[ClipRef]) -> str:
    """A hash of which clips are listed and where their frames are, below whatever folder the source has."""
    digest = hashlib.sha256()
    for clip in clips:
        digest.update(json.dumps([clip.clip_id, Path(clip.path).name, clip.files]).encode())
    return digest.hexdigest()[:32]


def agree(out: Path, plan: dict[str, Any]) -> None:
    """Write the plan beside the shards, or compare it with the plan of an earlier call."""
    path = out / PLAN
    if path.is_file() and _is_older(path):
        others = {entry.name for entry in out.iterdir() if not entry.name.startswith(".")} - _written(out)
        if others:
            raise InputError(f"{out}: an older prepared set with other files ({min(others)}, ...); choose a new folder")
        print(f"{out.name}: prepared by an earlier version of this project; made anew", flush=True)
        clear(out)
    if not path.is_file():
        others = [entry.name for entry in out.iterdir() if not entry.name.startswith(".")]
        if others:
            raise InputError(f"{out}: holds other files ({min(others)}, ...); choose an empty or a new folder")
        write_bytes(path, json.dumps(plan, indent=1).encode())
    try:
        earlier = json.loads(path.read_bytes())
        differences = [
            f"{key} {earlier.get(key)!r}, now {plan.get(key)!r}"
            for key in {**earlier, **plan}
            if earlier.get(key) != plan.get(key)
        ]
    except (ValueError, AttributeError, TypeError, RecursionError):
        differences = [f"{PLAN} is damaged"]
    if differences:
        raise InputError(
            f"{out}: holds a preparation of another source or with other settings ({'; '.join(differences)}); choose "
            "another folder, or throw the old one away with overwrite=True"
        )


def _is_older(plan: Path) -> bool:
    """Whether a plan is of an earlier format."""
    try:
        return json.loads(plan.read_bytes()).get("format") in range(1, FORMAT)
    except (ValueError, AttributeError, TypeError, RecursionError):
        return False


def _written(out: Path) -> set[str]:
    """The names of the files in a folder that are such as `prepare` writes, the mark of a whole set first."""
    shards = (path.name for path in out.glob("clips-*.parquet"))
    return {META, INDEX, REJECTED, TAXONOMY, TEXT, SCENE_FOLDER, PLAN, *shards}


def clear(out: Path) -> None:
    """Delete what `prepare` wrote, the mark of a whole set first and the plan last, and nothing else."""
    if not (out / PLAN).is_file():
        return
    prepared.unmark(out)
    for path in (out / SCENE_FOLDER).glob("*.parquet"):
        path.unlink()
    with contextlib.suppress(OSError):
        (out / SCENE_FOLDER).rmdir()
    for name in (*(_written(out) - {PLAN, SCENE_FOLDER}), TIMES, PLAN):
        (out / name).unlink(missing_ok=True)


def remove_leftovers(out: Path, names: set[str]) -> None:
    """Delete shards other than `names`, of an interrupted call with smaller shards, and old temporary files."""
    for path in out.glob("clips-*.parquet"):
        if path.name not in names:
            path.unlink()
    for path in [*out.glob(f".*{PARTIAL}"), *(out / SCENE_FOLDER).glob(f".*{PARTIAL}")]:
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > 3600:  # left by a process that was killed
                path.unlink()
