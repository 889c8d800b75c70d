"""How long a release of full size takes to list, and how much memory: measured on label files that are made for it.

    python -m cityguessr.speed.listing                  # 68,269 lines of 533 fields, 0.7 GB in a temporary folder
    python -m cityguessr.speed.listing --clips 5000

Listing is what `ReleaseSource` does: reading and checking every line. It is measured in a process of its own, so that
the peak of memory is that of listing and of the packages it imports.
"""

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cityguessr import paper
from cityguessr.data.release.label_files import N_TEXT
from cityguessr.scenes import SCENES
from cityguessr.taxonomy import LEVELS, Taxonomy

_MEASURE = """
import json, resource, sys, time
from cityguessr.data.cityguessr68k import ReleaseSource
imported = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
wall, cpu = time.perf_counter(), time.process_time()
clips = len(ReleaseSource(sys.argv[1]).clips())
times = time.perf_counter() - wall, time.process_time() - cpu
print(json.dumps([clips, *times, imported / 1e6, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6]))
"""


@dataclasses.dataclass(frozen=True)
class Listing:
    """What listing took.

    Attributes:
        clips: how many were listed.
        seconds, cpu_seconds: on the clock, and of all processors together.
        imported: memory in GB before it began, which the packages take.
        peak: memory in GB at its highest.
    """

    clips: int
    seconds: float
    cpu_seconds: float
    imported: float
    peak: float

    def __str__(self) -> str:
        return (
            f"{self.clips:,} clips listed in {self.seconds:.1f} s ({self.cpu_seconds:.1f} s of processor), "
            f"peak {self.peak:.2f} GB, {self.imported:.2f} GB of it before it began"
        )


def write_label_files(folder: Path, clips: int, seed: int = 0) -> None:
    """Make a release's label files, 533 fields per line: a fifth of the clips in val, no frames.

    Each city of the real tree has its text features in all of its lines, and each clip scene shares of its own.
    """
    taxonomy, random = Taxonomy.cityguessr68k(), np.random.default_rng(seed)
    rows = taxonomy.rows()
    names = [",".join(str(row[level]).replace(" ", "_") for level in LEVELS) for row in rows]
    header = ",".join(level.capitalize() for level in LEVELS)
    (folder / "labels_list.csv").write_text("\n".join([header, *names]) + "\n", encoding="utf-8")
    ids = [",".join(str(row[f"{level}_id"]) for level in LEVELS) for row in rows]
    text = [",".join(map(repr, random.normal(0, 0.3, N_TEXT).tolist())) for _ in rows]
    with (
        open(folder / "train_labels.txt", "w", encoding="utf-8") as train,
        open(folder / "val_labels.txt", "w", encoding="utf-8") as val,
    ):
        for k in range(clips):
            city = k * len(rows) // clips
            shares = ",".join(map(repr, random.dirichlet(np.ones(len(SCENES))).tolist()))
            line = f"{taxonomy.folders[city]}_{k:05d},{ids[city]},{text[city]},{shares}\n"
            (val if k % 5 == 4 else train).write(line)


def measure(folder: str | Path) -> Listing:
    """List the release in a folder, in a new process."""
    command = [sys.executable, "-c", _MEASURE, str(folder)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    return Listing(*json.loads(answer.stdout))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; see the module's docstring."""
    numbers = paper.dataset()
    full = numbers[(numbers["dataset"] == "cityguessr68k") & (numbers["quantity"] == "samples")]["value"].iloc[0]
    parser = argparse.ArgumentParser(prog="python -m cityguessr.speed.listing", description="Time a full-size listing.")
    parser.add_argument("--clips", type=int, default=int(full))
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        write_label_files(Path(folder), options.clips)
        size = sum(file.stat().st_size for file in Path(folder).iterdir())
        print(f"{size / 1e9:.2f} GB of label files made in {time.perf_counter() - start:.0f} s", flush=True)
        print(measure(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
