"""A plain folder of videos with a table of labels, as a source of clips."""

import contextlib
import difflib
import os
import random
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import numpy as np

from cityguessr.base import paths
from cityguessr.base.errors import InputError
from cityguessr.base.names import composed
from cityguessr.base.tables import place, read_rows
from cityguessr.data.sources import SPLITS, ClipRef
from cityguessr.taxonomy import LEVELS, Taxonomy

_ALIASES = {"latitude": "lat", "longitude": "lon", "lng": "lon", "long": "lon"}
_MOST_VIDEOS = 2_000_000


class FolderSource:
    """The videos of a folder, with a CSV file that says where each was filmed.

    Columns, in any order: `video` (path of the file inside the folder) and `city` (folder name or display name in the
    taxonomy) are needed. Optional are `state`, `country` and `continent` (they tell cities of the same name apart, and
    must be right), `split` ("train" or "val"), `video_id` (the longer video that it was cut from), `lat` and `lon`
    (degrees; they stand for the whole clip): the column may be absent, or single fields empty.

    Every video is one clip, named by its path without the suffix. A name is found on the disk in whichever way Unicode
    writes its accents there, and where that is the only difference in another case. Links may lead out of the folder,
    paths may not.

    Clips without a split are divided by city, 80:20 (paper, section 5.1), the same way for the same seed and list. A
    city's share is rounded, but a city with two clips or more has one in either split, and a single clip is for
    training; only splits in the list itself can change that.

    Args:
        videos_dir: the folder of videos; see `paths.found` for `~` and relative paths.
        labels_csv: the table.
        taxonomy: the label tree that the cities belong to, the paper's by default.
        seed: draws the clips of the validation split.
        val_share: of the clips without a split, between 0 and 1.
        synthetic: whether the videos are rendered rather than filmed, which tables and figures then say.

    Raises InputError for a missing folder or table, an unknown city, one of several with its name, a video listed twice
    and a field that makes no sense, naming the file, the line and the way to fix it. A video that is missing or cannot
    be read is rejected when it is prepared.
    """

    text_features = None

    def __init__(
        self,
        videos_dir: str | os.PathLike[str],
        labels_csv: str | os.PathLike[str],
        taxonomy: Taxonomy | None = None,
        *,
        seed: int = 0,
        val_share: float = 0.2,
        synthetic: bool = False,
    ) -> None:
        self.root, self.labels_csv = paths.found(videos_dir).resolve(), paths.found(labels_csv)
        if not self.root.is_dir():
            raise InputError(f"{paths.nowhere(videos_dir)}: no such folder; give the folder that holds the videos")
        if not 0 < val_share < 1:
            raise InputError(f"val_share is {val_share}; it is a share between 0 and 1, 0.2 in the paper")
        self.name = self.root.name
        self.taxonomy = taxonomy if taxonomy is not None else Taxonomy.cityguessr68k()
        self.synthetic = synthetic
        self._refs = self._read(random.Random(seed), val_share)

    def clips(self) -> list[ClipRef]:
        """Every listed clip, in the order of the table."""
        return list(self._refs)

    def _read(self, rng: random.Random, val_share: float) -> list[ClipRef]:
        lines: dict[str, int] = {}
        files: dict[str, int] = {}
        names: dict[str, str] = {}
        listed: list[tuple[str, str, dict[str, str], int, np.ndarray | None]] = []
        folders = Folders(self.root)
        for line, fields in read_rows(self.labels_csv, ("video", "city"), most=_MOST_VIDEOS, longest=1000):
            where = f"{self.labels_csv}, line {line}"
            names = names or _columns(fields, self.labels_csv)
            row = {names[name]: composed(field) for name, field in fields.items()}
            inside = self._inside(row["video"], where)
            clip_id, file = inside.with_suffix("").as_posix(), str(folders.find(inside, where))
            for known, key in ((lines, clip_id), (files, file)):
                if known.setdefault(key, line) != line:
                    raise InputError(
                        f"{where}: {clip_id} stands in line {known[key]} already; keep one of them, or rename one "
                        "of two videos that differ in their suffix alone"
                    )
            try:
                city = self.taxonomy.city_id(row["city"], **{level: row.get(level, "") for level in LEVELS[1:]})
            except InputError as error:
                raise InputError(f"{where}: {error}") from None
            row["split"] = row.get("split", "").lower()
            if row["split"] not in ("", *SPLITS):
                raise InputError(f"{where}: split {row['split']!r} is not train, val or empty; correct the line")
            gps = None
            if row.get("lat") or row.get("lon"):
                gps = np.array([place(row.get("lat", ""), row.get("lon", ""), where)])
            listed.append((clip_id, file, row, city, gps))
        if not listed:
            raise InputError(f"{self.labels_csv}: no rows below the header; write one line per video")
        splits = [row.get("split", "") for _, _, row, _, _ in listed]
        for i in self._draw_validation([city for _, _, _, city, _ in listed], splits, rng, val_share):
            splits[i] = "val"
        return [
            ClipRef(
                clip_id=clip_id,
                video_id=row.get("video_id") or clip_id,
                split=split or "train",
                labels=self._labels(city),
                path=file,
                gps=gps,
            )
            for (clip_id, file, row, city, gps), split in zip(listed, splits, strict=True)
        ]

    def _inside(self, video: str, where: str) -> PurePosixPath:
        """The place of a video inside the folder, as the table gives it, on Windows too."""
        path = PurePosixPath(video.replace("\\", "/"))
        if path.is_absolute() and path.is_relative_to(self.root.as_posix()):
            path = path.relative_to(self.root.as_posix())
        if path.is_absolute() or ".." in path.parts or re.match("[A-Za-z]:", video):
            raise InputError(f"{where}: {video!r} leads out of {self.root}; write the path of a file in it")
        if not path.name:
            raise InputError(f"{where}: the field video is empty; write the path of a file in {self.root}")
        return path

    @staticmethod
    def _draw_validation(cities: list[int], splits: list[str], rng: random.Random, val_share: float) -> list[int]:
        """The positions of the clips that validation gets, among those without a split."""
        undecided: dict[int, list[int]] = {}
        for i, (city, split) in enumerate(zip(cities, splits, strict=True)):
            if not split:
                undecided.setdefault(city, []).append(i)
        drawn = []
        for _, clips in sorted(undecided.items()):
            share = round(val_share * len(clips))
            drawn += rng.sample(clips, min(max(share, 1), len(clips) - 1))
        return drawn

    def _labels(self, city: int) -> tuple[int, int, int, int]:
        city, state, country, continent = (int(self.taxonomy.ancestors[level][city]) for level in LEVELS)
        return city, state, country, continent


class Folders:
    """Finds files by names as people write them: a Mac has accents as characters of their own, Windows no case."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._names: dict[Path, dict[str, list[str]]] = {}

    def find(self, inside: PurePosixPath, where: str) -> Path:
        """The file at a place inside the root, whichever way its folders and name are spelled; or where it should be.

        Raises InputError, with `where`, where several names are such spellings, and none is this one.
        """
        at = self.root
        for part in inside.parts:
            names = self._spellings(at)
            alike = names.get(composed(part)) or names.get(composed(part).casefold()) or [part]
            if len(alike) > 1 and part not in alike:
                raise InputError(f"{where}: {at} has {' and '.join(map(repr, sorted(alike)))}; write one of them")
            at = at / (part if part in alike else alike[0])
        return at

    def _spellings(self, folder: Path) -> dict[str, list[str]]:
        """The names in a folder by what they share: composed, and in lower case."""
        if folder not in self._names:
            names: dict[str, list[str]] = {}
            with contextlib.suppress(OSError):  # what is missing is said when the video is prepared
                for name in os.listdir(folder):
                    for key in {composed(name), composed(name).casefold()}:
                        names.setdefault(key, []).append(name)
            self._names[folder] = names
        return self._names[folder]


def _columns(header: Iterable[str], table: Path) -> dict[str, str]:
    """Column -> what it is read as. Raises InputError for one that is all but called like one that is read."""
    read = ("video", "city", *LEVELS[1:], "split", "video_id", "lat", "lon")
    names = {name: name if _ALIASES.get(name) in header else _ALIASES.get(name, name) for name in header}
    for name, known in names.items():
        if known not in read and (close := difflib.get_close_matches(name, set(read) - {*header}, n=1, cutoff=0.8)):
            raise InputError(f"{table}: the column {name!r} is not read; call it {close[0]}, or something else")
    return names
