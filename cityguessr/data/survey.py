"""What stands in the folder of a release, what is missing, and what preparing it will take: said before it starts.

    python -m cityguessr.data.survey /data/CityGuessr68k
    python -m cityguessr.data.survey /mnt/meta,/mnt/ac,/mnt/dk --frames 16 --size 224

Only the folders of cities are looked at, not those of 68,269 clips. Size and time come from preparing a few clips of
what is there: they are those of this machine, this disk and these pictures.
"""

import argparse
import collections
import contextlib
import dataclasses
import io
import math
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from cityguessr import paper
from cityguessr.base import threads
from cityguessr.base.errors import InputError
from cityguessr.base.progress import duration
from cityguessr.config import ClipFormat
from cityguessr.data.cityguessr68k import ReleaseSource
from cityguessr.data.prepare import prepare
from cityguessr.data.release import label_files
from cityguessr.data.release.label_files import city_folder, clip_name
from cityguessr.data.release.layout import ARCHIVES, archive_of
from cityguessr.data.sources import SPLITS, ClipRef
from cityguessr.taxonomy import LEVELS

TRIED = 6  # clips that are prepared to measure
_ROOM = 1.1  # of the expected size that must be free: labels, and pictures fuller than those that were tried
# At quality 95 without subsampling: 733 kB for 15 frames of 224 pixels of the release
_BYTES_A_PIXEL = 733e3 / (15 * 224**2)


@dataclasses.dataclass(frozen=True)
class Presence:
    """One of the five archives, as far as it is on this disk.

    Attributes:
        archive: the end of its name, such as "ac".
        cities: how many cities of it are listed, and `there` how many of these have a folder.
        absent: the folders of those that have none.
    """

    archive: str
    cities: int
    there: int
    absent: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Survey:
    """What `survey` found; printed, it is a few lines.

    Attributes:
        name: of the source.
        papers: whether it is the paper's data set, to be held against the paper: not rendered, nor somebody's own.
        folders: the folders that make it up.
        listed: split -> clips.
        sizes: level -> classes in the list of labels.
        fields: of a line of the label files, 5, 21 or 533.
        archives: how much of each archive is there.
        clips_there: the listed clips whose city has a folder.
        clip_format: what is to be prepared.
        out: the folder of the set.
        measured: how many clips were prepared to measure; 0 where none could be.
        clip_bytes: of a prepared clip, measured, or else computed from the release's.
        seconds: that the preparation will take; NaN where nothing was measured.
        workers: processes that prepare.
        free: bytes on the disk of `out`.
    """

    name: str
    papers: bool
    folders: tuple[Path, ...]
    listed: Mapping[str, int]
    sizes: Mapping[str, int]
    fields: int
    archives: tuple[Presence, ...]
    clips_there: int
    clip_format: ClipFormat
    out: Path
    measured: int
    clip_bytes: float
    seconds: float
    workers: int
    free: int

    @property
    def needed(self) -> float:
        """Bytes that the prepared set will take."""
        return self.clips_there * self.clip_bytes

    def check(self) -> "Survey":
        """This survey. Raises InputError where the disk is too small for the set."""
        if self.needed * _ROOM > self.free:
            raise InputError(
                f"{self.out}: {self.free / 1e9:,.1f} GB are free, and {self.clips_there:,} clips of "
                f"{self.clip_format.frames} frames of {self.clip_format.size} pixels take about "
                f"{self.needed / 1e9:,.1f} GB; free some space, or put data/ on a larger disk (CITYGUESSR_ROOT)"
            )
        return self

    def __str__(self) -> str:
        listed, form = sum(self.listed.values()), self.clip_format
        split = " + ".join(f"{count:,} {name}" for name, count in self.listed.items())
        classes = " / ".join(str(self.sizes[level]) for level in LEVELS)
        lines = [
            f"{self.name} in {', '.join(map(str, self.folders))}",
            f"  listed: {listed:,} clips = {split}, {classes} classes, {self.fields} fields per line",
        ]
        if self.papers:
            lines.append(f"  {_beside_paper(self)}")
        for part in self.archives:
            absent = f"; without a folder: {', '.join(part.absent[:4])}" if part.absent else ""
            more = f" and {len(part.absent) - 4} more" if len(part.absent) > 4 else ""
            missing = f" (unpack or mount *-{part.archive}.sq)" if not part.there else ""
            lines.append(f"  {part.archive}: {part.there} of {part.cities} cities are there{absent}{more}{missing}")
        how = (
            f"measured on {self.measured} clips" if self.measured else "as the release's take; none could be tried here"
        )
        lines.append(
            f"  to prepare: {self.clips_there:,} clips of {form.frames} frames of {form.size} pixels, {form.sampling}"
        )
        lines.append(
            f"  size: about {self.needed / 1e9:,.1f} GB ({self.clip_bytes / 1e3:,.0f} kB per clip, {how}); "
            f"{self.free / 1e9:,.0f} GB are free at {self.out.parent}"
        )
        if not math.isnan(self.seconds):
            lines.append(f"  time: about {duration(self.seconds)} with {self.workers} processes")
        return "\n".join(lines)


def survey(source: ReleaseSource, clip_format: ClipFormat, out: str | Path, workers: int | None = None) -> Survey:
    """Look at a release that is to be prepared, and prepare a few of its clips in a temporary folder to measure.

    Args:
        source: the release.
        clip_format: how its clips are to be prepared.
        out: where the set is to stand; only its disk is looked at.
        workers: processes that will prepare; by default as many as there are cores.

    Raises nothing for what is missing: `Survey.check` refuses a disk that is too small.
    """
    clips, workers, out = source.clips(), workers or threads.cores(), Path(out)
    cities = collections.Counter((clip.split, city_folder(clip_name(clip.clip_id))) for clip in clips)
    there = {key for key in cities if source.places.of_city(*key)}
    archives = []
    for archive in ARCHIVES:
        names = sorted({city for _, city in cities if archive_of(city) == archive})
        absent = tuple(
            f"{split}/{city}" for city in names for split in SPLITS if (split, city) in cities.keys() - there
        )
        having = sum(any((split, city) in there for split in SPLITS) for city in names)
        if names:
            archives.append(Presence(archive, len(names), having, absent))
    present = [clip for clip in clips if (clip.split, city_folder(clip_name(clip.clip_id))) in there]
    tried, clip_bytes, seconds = _try(source, present, clip_format)
    return Survey(
        name=source.name,
        papers=not (source.synthetic or source.compiled),
        folders=source.roots,
        listed=dict(collections.Counter(clip.split for clip in clips)),
        sizes=source.taxonomy.sizes,
        fields=label_files.width(source.label_files["train"]),
        archives=tuple(archives),
        clips_there=len(present),
        clip_format=clip_format,
        out=out,
        measured=tried,
        clip_bytes=clip_bytes,
        seconds=seconds * len(present) / workers,
        workers=workers,
        free=_free(out),
    )


@dataclasses.dataclass(frozen=True)
class _Part:
    """A few clips of a source, as a source of their own."""

    source: ReleaseSource
    some: Sequence[ClipRef]

    def __getattr__(self, name: str) -> object:
        return getattr(self.source, name)

    def clips(self) -> list[ClipRef]:
        return list(self.some)


def _try(source: ReleaseSource, present: Sequence[ClipRef], clip_format: ClipFormat) -> tuple[int, float, float]:
    """How many clips were prepared to measure, the bytes of one, and the seconds that one takes a process."""
    expected = clip_format.frames * clip_format.size**2 * _BYTES_A_PIXEL
    step = max(1, len(present) // TRIED)
    some = [clip for clip in present[step // 2 :: step] if os.path.isdir(clip.path)][: TRIED + 1]
    if len(some) < 2:
        return 0, expected, math.nan
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                prepare(_Part(source, some[:1]), Path(folder) / "first", clip_format, workers=1)  # imports, caches
                start = time.perf_counter()
                clips = prepare(_Part(source, some[1:]), Path(folder) / "some", clip_format, workers=1)
                seconds = time.perf_counter() - start
        except InputError:  # damaged or foreign frames; the preparation says which
            return 0, expected, math.nan
        shards = sum(file.stat().st_size for file in Path(folder, "some").rglob("*.parquet"))
    prepared = clips.meta["clips"]["prepared"]
    return prepared, shards / prepared, seconds / len(some[1:])


def _beside_paper(survey: Survey) -> str:
    """How the counts compare with the paper's, in words."""
    numbers = paper.dataset()
    numbers = numbers[numbers["dataset"] == "cityguessr68k"].set_index("quantity")["value"]
    counted = {split: survey.listed.get(split, 0) for split in SPLITS}
    counted |= {"cities": survey.sizes["city"], "states": survey.sizes["state"]}
    counted |= {"countries": survey.sizes["country"], "continents": survey.sizes["continent"]}
    wrong = [f"{int(numbers[name]):,} {name}" for name, count in counted.items() if count != numbers[name]]
    return f"the paper has {', '.join(wrong)}" if wrong else "all of these counts are the paper's"


def _free(out: Path) -> int:
    """Bytes that are free where a folder is, or is to be."""
    there = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.is_dir())
    return shutil.disk_usage(there).free


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; see the module's docstring. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m cityguessr.data.survey", description="What is in this folder?")
    parser.add_argument("root", help="the folder of a release, or several with commas between them")
    parser.add_argument("--frames", type=int, default=15)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--sampling", default="uniform")
    parser.add_argument("--workers", type=int, help="processes that will prepare; by default as many as cores")
    parser.add_argument("--out", default="data/prepared/set", help="where the set is to stand")
    options = parser.parse_args(arguments)
    try:
        form = ClipFormat(options.frames, options.size, options.sampling)
        print(survey(ReleaseSource(options.root), form, options.out, options.workers))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
