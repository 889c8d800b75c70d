"""Mapillary Street-Level Sequences (MSLS) on disk, as a source of clips (paper, section 6; supplement, section 4).

    {train_val,test}/<city>/{query,database}/
        images/<key>.jpg
        seq_info.csv            key, sequence_key or sequence_id, frame_number
        raw.csv                 key, lon, lat, ca, captured_at, pano        (train_val only)
        subtask_index.csv, postprocessed.csv        not read

Every table has an index as its first column. A sequence is a clip: the frames of one city and side (query or database)
that share a sequence key, in the order of their frame numbers. Both sides and both parts are taken together, sequences
of fewer than 15 frames and of cities outside CityGuessr68k are left out, and what remains is split 80:20 by city.

MiniWorld writes the same layout, and two further files in the root that are read where there are any: `scenes.csv`
(key, scene, category: the scene of every image) and `world.json` (name, and the mark of synthetic pictures).
"""

import csv
import dataclasses
import functools
import math
import os
import random
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path

import numpy as np

from cityguessr.base.errors import InputError
from cityguessr.base.files import read_json, read_rows
from cityguessr.base.progress import track
from cityguessr.data.frame_tables import check_place, read_scenes
from cityguessr.data.sources import ClipRef
from cityguessr.scenes import check_scene_classes
from cityguessr.taxonomy import LEVELS, Taxonomy

PARTS = ("train_val", "test")
SIDES = ("query", "database")
MIN_FRAMES = 15  # supplement, section 4
CITIES_TABLE = "msls_cities.csv"


@functools.cache
def cities() -> dict[str, dict[str, str]]:
    """The 30 cities of MSLS by folder: `part`, `kept` ("1" for the 21 that CityGuessr68k has too), names and place.

    The columns of the tree are those of `Taxonomy.to_csv`; `city` is spelled as in CityGuessr68k (bengaluru: Banglore).
    """
    table = resources.files("cityguessr.data") / CITIES_TABLE
    with table.open(encoding="utf-8", newline="") as file:
        return {row["folder"]: row for row in csv.DictReader(file)}


def tree() -> Taxonomy:
    """The tree of all 30 cities: 29 states, 24 countries, 6 continents (paper, Table 1)."""
    with resources.as_file(resources.files("cityguessr.data") / CITIES_TABLE) as path:
        return Taxonomy.from_csv(path)


@dataclasses.dataclass(frozen=True)
class Counts:
    """How many sequences a tree has, and what became of them: `sequences` is the sum of the next four.

    Attributes:
        sequences: in all.
        short: of fewer frames than needed, in any city.
        other_city: long enough, in a city that CityGuessr68k does not have.
        alone: long enough, but the only one of its city, which therefore cannot be in both halves of a split.
        kept, train, val: clips, and how they are split.
        long: folder -> its sequences that are long enough, for every city of the tree.
    """

    sequences: int
    short: int
    other_city: int
    alone: int
    kept: int
    train: int
    val: int
    long: Mapping[str, int]


@dataclasses.dataclass
class _Sequence:
    """A sequence of one side: file names and places in the order of its frames."""

    folder: str
    side: str
    key: str
    images: Path
    frames: list[tuple[int, str]] = dataclasses.field(default_factory=list)  # frame number, key of the image
    places: dict[str, tuple[float, float]] = dataclasses.field(default_factory=dict)

    @property
    def keys(self) -> list[str]:
        return [key for _, key in sorted(self.frames, key=lambda frame: frame[0])]


class MapillarySource:
    """The sequences of an MSLS tree that CityGuessr's protocol keeps, with its split.

    A clip is called `<City>_<side>_<sequence key>`, and its source video is `<City>_<sequence key>`: where query and
    database have parts of one sequence, a split by source video keeps these together. Its frames are the sequence's in
    the order of their numbers; `gps` and scenes go by that order. The split is drawn city by city from the seed: a
    fifth of a city's sequences, rounded up, is for validation. (The paper's 2,271 of 11,320 are seven more than a fifth
    of all: about what rounding up in 21 cities gives, where rounding to the nearest would give a fifth.)

    Args:
        root: the folder with `train_val/` and `test/`; one of the two is enough.
        min_frames: sequences of fewer frames are left out.
        seed: draws the validation half.
        val_share: its share, between 0 and 1.
        scene_classes: 16 or 365, which column of `scenes.csv` is read where there is such a file.

    Attributes:
        name: from `world.json`, or the name of the root folder.
        taxonomy: the part of CityGuessr68k's tree with the kept cities: 21 / 21 / 19 / 6 classes for the whole of MSLS.
        synthetic: whether `world.json` marks the pictures as rendered.
        counts: the sequences of the tree, kept and left out.

    Raises InputError for a folder that is no such tree, a city without one of its tables or without its images, and a
    line that makes no sense, naming file, line and remedy. An image that is missing or damaged is noticed when its clip
    is prepared: the clip is then rejected with the reason.
    """

    text_features = None

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        min_frames: int = MIN_FRAMES,
        seed: int = 0,
        val_share: float = 0.2,
        scene_classes: int = 16,
    ) -> None:
        self.root = Path(root).resolve()
        if not self.root.is_dir():
            raise InputError(f"{self.root}: no such folder; give the folder of MSLS, with train_val/ and test/ in it")
        if not 0 < val_share < 1:
            raise InputError(f"val_share is {val_share}; it is a share between 0 and 1, 0.2 in the paper")
        if min_frames < 1:
            raise InputError(f"min_frames is {min_frames}; it must be at least 1, and is 15 in the paper")
        check_scene_classes(scene_classes)
        self.scene_classes = scene_classes
        about = read_json(self.root / "world.json") if (self.root / "world.json").is_file() else {}
        self.name = str(about.get("name") or self.root.name)
        self.synthetic = bool(about.get("synthetic"))
        self.min_frames = min_frames
        kept, counts = self._select()
        if not kept:
            raise InputError(
                f"{self.root}: no city has two sequences of {min_frames} frames or more that CityGuessr68k also has "
                f"(of {counts.sequences:,} sequences {counts.short:,} are shorter); give a whole MSLS tree"
            )
        self.taxonomy = Taxonomy.cityguessr68k().subset([cities()[folder]["city"] for folder in kept])
        self._refs = list(self._clips(kept, seed, val_share))
        val = sum(clip.split == "val" for clip in self._refs)
        self.counts = dataclasses.replace(counts, val=val, train=len(self._refs) - val)

    def clips(self) -> list[ClipRef]:
        """Every kept sequence, city by city."""
        return list(self._refs)

    def _sides(self) -> Iterator[tuple[str, str, Path]]:
        """City folder, side and place of every side of the tree, in a fixed order."""
        parts = [self.root / part for part in PARTS if (self.root / part).is_dir()]
        if not parts:
            raise InputError(f"{self.root}: neither train_val/ nor test/ is in it; give the folder of an MSLS tree")
        folders: dict[str, Path] = {}
        for part in parts:
            for city in sorted(path for path in part.iterdir() if path.is_dir() and path.name[0] != "."):
                if city.name in folders:
                    raise InputError(f"{city}: {folders[city.name]} is the same city; keep one of the two")
                folders[city.name] = city
                for side in SIDES:
                    if not (city / side / "seq_info.csv").is_file():
                        raise InputError(
                            f"{city / side}: no seq_info.csv; a city of MSLS has query/ and database/ with one each: "
                            "unpack the archive of metadata there, or remove what is no city"
                        )
                    yield city.name, side, city / side
        if not folders:
            raise InputError(f"{parts[0]}: no city in it; unpack the archives of MSLS there")

    def _select(self) -> tuple[dict[str, list[_Sequence]], Counts]:
        """City folder -> the sequences to keep; and the counts, which lack the split."""
        sides = list(self._sides())
        kept: dict[str, list[_Sequence]] = {}
        total = short = other = alone = 0
        long = dict.fromkeys((folder for folder, _, _ in sides), 0)
        for folder, side, place in track(sides, "reading MSLS, cities' sides") if not self.synthetic else sides:
            sequences = _read_side(folder, side, place)
            enough = [sequence for sequence in sequences if len(sequence.frames) >= self.min_frames]
            total, short = total + len(sequences), short + len(sequences) - len(enough)
            long[folder] += len(enough)
            if folder not in cities() or cities()[folder]["kept"] != "1":
                other += len(enough)
            elif enough:
                if not (place / "images").is_dir():
                    raise InputError(
                        f"{place}: no images/; unpack the archives of images there, or remove {folder} from the tree"
                    )
                _read_places(enough, place / "raw.csv")
                kept.setdefault(folder, []).extend(enough)
        for folder in [folder for folder, sequences in kept.items() if len(sequences) < 2]:
            alone += len(kept.pop(folder))
        return kept, Counts(total, short, other, alone, sum(map(len, kept.values())), 0, 0, long)

    def _clips(self, kept: Mapping[str, list[_Sequence]], seed: int, val_share: float) -> Iterator[ClipRef]:
        scenes = self._image_scenes()
        for folder, sequences in kept.items():
            city = cities()[folder]["city"]
            labels = tuple(int(self.taxonomy.ancestors[level][self.taxonomy.city_id(city)]) for level in LEVELS)
            sequences = sorted(sequences, key=lambda sequence: (sequence.side, sequence.key))
            # Cities are drawn one by one, so that a tree of fewer cities is split in the same way.
            share = min(math.ceil(round(val_share * len(sequences), 9)), len(sequences) - 1)
            held_out = set(random.Random(f"{seed}/{city}").sample(range(len(sequences)), share))
            for number, sequence in enumerate(sequences):
                keys = sequence.keys
                gps = None
                if sequence.places:
                    gps = np.array([sequence.places.get(key, (np.nan, np.nan)) for key in keys])
                yield ClipRef(
                    clip_id=f"{city}_{sequence.side}_{sequence.key}",
                    video_id=f"{city}_{sequence.key}",
                    split="val" if number in held_out else "train",
                    labels=labels,  # type: ignore[arg-type]
                    path=str(sequence.images),
                    frame_scenes=None if scenes is None else np.array([scenes.get(k, -1) for k in keys], np.int16),
                    gps=gps,
                    files=tuple(f"{key}.jpg" for key in keys),
                )

    def _image_scenes(self) -> dict[str, int] | None:
        """Image key -> scene, from `scenes.csv`; None where there is no such file."""
        path = self.root / "scenes.csv"
        if not path.is_file():
            return None
        return {row["key"]: scene for _, row, scene in read_scenes(path, ("key",), self.scene_classes)}


def _read_side(folder: str, side: str, place: Path) -> list[_Sequence]:
    """The sequences of one side, in the order of their first lines in `seq_info.csv`."""
    path = place / "seq_info.csv"
    sequences: dict[str, _Sequence] = {}
    lines: dict[str, int] = {}
    for line, row in read_rows(path, ("key", "frame_number")):
        where = f"{path}, line {line}"
        name = "sequence_key" if "sequence_key" in row else "sequence_id"
        if name not in row:
            raise InputError(f"{path}, line 1: no column sequence_key or sequence_id; add it to the header")
        key, sequence, number = row["key"], row[name], row["frame_number"]
        if not key or key[0] == "." or "/" in key or "\\" in key:
            raise InputError(f"{where}: {key!r} is no key of an image (images/<key>.jpg); correct the line")
        if not sequence:
            raise InputError(f"{where}: the field {name} is empty; write the key of the image's sequence")
        if not number.isdecimal():
            raise InputError(f"{where}: the frame number {number!r} is not a whole number; correct the line")
        if key in lines:
            raise InputError(f"{where}: image {key} stands in line {lines[key]} already; keep one of them")
        lines[key] = line
        if sequence not in sequences:
            sequences[sequence] = _Sequence(folder, side, sequence, place / "images")
        sequences[sequence].frames.append((int(number), key))
    return list(sequences.values())


def _read_places(sequences: list[_Sequence], path: Path) -> None:
    """Give the sequences latitude and longitude by image key, from `raw.csv` where there is one."""
    if not path.is_file():
        return
    sequence_of = {key: sequence for sequence in sequences for _, key in sequence.frames}
    for line, row in read_rows(path, ("key", "lon", "lat")):
        if sequence := sequence_of.get(row["key"]):
            sequence.places[row["key"]] = check_place(row["lat"], row["lon"], f"{path}, line {line}")
