"""A plain folder of videos with a table of labels, as a source of clips."""

import os
import random
from pathlib import Path

import numpy as np

from cityguessr.base.errors import InputError
from cityguessr.base.files import read_rows
from cityguessr.data.frame_tables import check_place
from cityguessr.data.sources import SPLITS, ClipRef
from cityguessr.taxonomy import LEVELS, Taxonomy


class FolderSource:
    """The videos of a folder, with a CSV file that says where each was filmed.

    Columns, in any order: `video` (path of the file inside the folder) and `city` (folder name or display name in the
    taxonomy) are needed; `split` ("train" or "val"), `video_id` (the longer video that it was cut from), `lat` and
    `lon` (degrees; they stand for the whole clip) are optional: the column may be absent, or single fields empty.

    Every video is one clip, named by its path without the suffix. Clips without a split are divided by city, 80:20
    (paper, section 5.1), the same way for the same seed and list. A city's share is rounded, but a city with two clips
    or more has one in either split, and a single clip is for training; only splits in the list itself can change that.

    Args:
        videos_dir: the folder of videos.
        labels_csv: the table.
        taxonomy: the label tree that the cities belong to, the paper's by default.
        seed: draws the clips of the validation split.
        val_share: of the clips without a split, between 0 and 1.
        synthetic: whether the videos are rendered rather than filmed, which tables and figures then say.

    Raises InputError for a missing folder or table, an unknown city, a video listed twice and a field that makes no
    sense, naming file, line and remedy. A video that is missing or cannot be read is rejected when it is prepared.
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
        self.root, self.labels_csv = Path(videos_dir).resolve(), Path(labels_csv)
        if not self.root.is_dir():
            raise InputError(f"{self.root}: no such folder; give the folder that holds the videos")
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
        listed: list[tuple[str, dict[str, str], int, np.ndarray | None]] = []
        for line, row in read_rows(self.labels_csv, ("video", "city")):
            where = f"{self.labels_csv}, line {line}"
            clip_id = Path(row["video"]).with_suffix("").as_posix() if row["video"] else ""
            if not clip_id:
                raise InputError(f"{where}: the field video is empty; write the path of a file in {self.root}")
            if clip_id in lines:
                raise InputError(f"{where}: {clip_id} stands in line {lines[clip_id]} already; keep one of them")
            lines[clip_id] = line
            try:
                city = self.taxonomy.city_id(row["city"])
            except InputError as error:
                raise InputError(f"{where}: {error}") from None
            if row.get("split", "") not in ("", *SPLITS):
                raise InputError(f"{where}: split {row['split']!r} is not train, val or empty; correct the line")
            gps = None
            if row.get("lat") or row.get("lon"):
                gps = np.array([check_place(row.get("lat", ""), row.get("lon", ""), where)])
            listed.append((clip_id, row, city, gps))
        if not listed:
            raise InputError(f"{self.labels_csv}: no rows below the header; write one line per video")
        splits = [row.get("split", "") for _, row, _, _ in listed]
        for i in self._draw_validation([city for _, _, city, _ in listed], splits, rng, val_share):
            splits[i] = "val"
        return [
            ClipRef(
                clip_id=clip_id,
                video_id=row.get("video_id") or clip_id,
                split=split or "train",
                labels=self._labels(city),
                path=str(self.root / row["video"]),
                gps=gps,
            )
            for (clip_id, row, city, gps), split in zip(listed, splits, strict=True)
        ]

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
