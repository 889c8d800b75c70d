"""Which folders of a release are short, once it was prepared: counted on the disk, and held against the paper."""

import collections
import dataclasses
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cityguessr import paper
from cityguessr.base.files import write_csv
from cityguessr.data.cityguessr68k import ReleaseSource
from cityguessr.data.release.label_files import city_folder, clip_name
from cityguessr.data.sources import SPLITS

SHORT = 0.9
"""A clip is short with fewer frames than this share of what most clips of the release have (100, section 3)."""

_THREADS = 16  # that wait for the disk, or for a server


@dataclasses.dataclass(frozen=True)
class Shortfalls:
    """What `shortfalls` found; printed, it is one line, or a few.

    Attributes:
        usual: frames that most clips have.
        papers: whether it is the paper's data set, to be held against the paper.
        listed: split -> clips that are listed.
        rows: (what, split, city, clip, frames) of every clip that is "missing" (listed, and has no folder), "empty" (no
            frame in it), "short" or "not listed" (a folder that no line lists; its frames are not counted: -1).
        file: where they are written.
    """

    usual: int
    papers: bool
    listed: Mapping[str, int]
    rows: tuple[tuple[str, str, str, str, int], ...]
    file: Path

    def count(self, what: str) -> int:
        """How many clips are missing, empty, short or not listed."""
        return sum(row[0] == what for row in self.rows)

    def __str__(self) -> str:
        numbers = paper.dataset().set_index(["where", "dataset", "quantity"])["value"]
        pairs = {split: (self.listed[split], int(numbers["split", "cityguessr68k", split])) for split in SPLITS}
        there = {row[1]: 0 for row in self.rows} | dict.fromkeys(SPLITS, 0)
        for what, split, *_ in self.rows:
            there[split] += what in ("missing", "empty")
        text = "; ".join(
            f"{split}: {listed - there[split]:,} clips have frames, {listed:,} are listed"
            + (f", the paper has {printed:,}" if self.papers else "")
            for split, (listed, printed) in pairs.items()
        )
        kinds = {
            "missing": "without a folder",
            "empty": "without a frame",
            "short": "short",
            "not listed": "on the disk and not listed",
        }
        found = [f"{self.count(what):,} {words}" for what, words in kinds.items() if self.count(what)]
        if not found:
            return f"{text}; all have about {self.usual} frames"
        return f"{text}; {', '.join(found)} (most have {self.usual} frames), see {self.file}"


def shortfalls(source: ReleaseSource, file: str | Path) -> Shortfalls:
    """Count the frames of every listed clip, look for folders that no line lists, and write both to a CSV file.

    Folders are listed, no frame is opened: 68,269 of them take seconds on a disk of one's own.

    Args:
        source: the release.
        file: where to write the rows: columns what, split, city, clip, frames.
    """
    clips, file = source.clips(), Path(file)
    with ThreadPoolExecutor(_THREADS) as pool:
        counts = list(pool.map(_frames, (clip.path for clip in clips), chunksize=256))
    usual = _most_common([count for count in counts if count > 0])
    rows = []
    for clip, count in zip(clips, counts, strict=True):
        name = clip_name(clip.clip_id)
        if count < SHORT * usual or count < 1:
            what = "missing" if count < 0 else "short" if count else "empty"
            rows.append((what, clip.split, city_folder(name), name, max(count, 0)))
    listed = {os.path.normpath(clip.path) for clip in clips}
    rows += [("not listed", *place, -1) for place in _unlisted(source, listed)]
    write_csv(file, [("what", "split", "city", "clip", "frames"), *rows])
    counted = {split: sum(clip.split == split for clip in clips) for split in SPLITS}
    return Shortfalls(usual, not source.compiled, counted, tuple(rows), file)


def _frames(folder: str) -> int:
    """How many files a clip's folder has that can be frames; -1 where there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            return sum(
                entry.name[0] not in "._" and entry.name.lower().endswith((".jpg", ".jpeg", ".png"))
                for entry in entries
            )
    except OSError:
        return -1


def _most_common(counts: list[int]) -> int:
    found = collections.Counter(counts)
    return max(found, key=lambda count: (found[count], count), default=0)


def _unlisted(source: ReleaseSource, listed: set[str]) -> Iterator[tuple[str, str, str]]:
    """(split, city, clip) of every folder in a split that no line lists."""
    for root in source.roots:
        for split in SPLITS:
            for city in _folders(root / split):
                for clip in _folders(city):
                    if str(clip) not in listed:
                        yield split, city.name, clip.name


def _folders(folder: Path) -> list[Path]:
    """The folders in one, without hidden ones; none where it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except OSError:
        return []
