"""Mapillary Street-Level Sequences (MSLS) on disk, as a source of clips (paper, section 6; supplement, section 4).

    {train_val,test}/<city>/{query,database}/
        images/<key>.jpg
        seq_info.csv            key, sequence_key or sequence_id, frame_number
        raw.csv                 key, lon, lat, ca, captured_at, pano        (train_val only)
        subtask_index.csv, postprocessed.csv

Every table has an index as its first column, and the last two are not read. The patch `msls_patch_v1.1.zip`, unpacked
over the tree, mends images that were damaged in the first release.

A sequence is a clip: the frames of one city and side (query or database)
that share a sequence key, in the order of their frame numbers. Both sides and both parts are taken together, sequences
of fewer than 15 frames and of cities outside CityGuessr68k are left out, and what remains is split 80:20 by city. The
paper names no step that leaves out panoramas (whole spheres in one picture), so they are kept and counted.

MiniWorld writes the same layout, and two further files in the root that are read where there are any: `scenes.csv`
(key, scene, category: the scene of every image) and `world.json` (name, and the mark of synthetic pictures).
"""

import dataclasses
import functools
import itertools
import math
import os
import random
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from cityguessr.base.errors import InputError
from cityguessr.base.progress import track
from cityguessr.base.tables import place as degrees
from cityguessr.base.tables import read_json, read_rows, whole_number
from cityguessr.data.release.frame_tables import read_scenes
from cityguessr.data.sources import ClipRef
from cityguessr.scenes import check_scene_classes
from cityguessr.taxonomy import LEVELS, Taxonomy

PARTS = ("train_val", "test")
SIDES = ("query", "database")
MIN_FRAMES = 15  # supplement, section 4
CITIES_TABLE = "msls_cities.csv"
PATCH = "images that MSLS was released with damaged are repaired by msls_patch_v1.1.zip: unpack it over the tree"
_NONE = ("", "nan", "null", "none", "na", "n/a", "<na>")
_FLAGS = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False, **dict.fromkeys(_NONE, False)}


@functools.cache
def cities() -> dict[str, dict[str, str]]:
    """The 30 cities of MSLS by folder: `part`, `kept` ("1" for the 21 that CityGuessr68k has too), names and place.

    The columns of the tree are those of `Taxonomy.to_csv`; `city` is spelled as in CityGuessr68k (bengaluru: Banglore).
    """
    return {row["folder"]: row for _, row in read_rows(Path(__file__).with_name(CITIES_TABLE), ("folder", "kept"))}


def tree() -> Taxonomy:
    """The tree of all 30 cities: 29 states, 24 countries, 6 continents (paper, Table 1)."""
    return Taxonomy.from_csv(Path(__file__).with_name(CITIES_TABLE))


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
        panoramic: of those kept, how many have a panorama among their images, as far as `raw.csv` tells.
        unplaced: images of those kept whose `raw.csv` has no coordinates for them.
    """

    sequences: int
    short: int
    other_city: int
    alone: int
    kept: int
    train: int
    val: int
    long: Mapping[str, int]
    panoramic: int = 0
    unplaced: int = 0


@dataclasses.dataclass
class SideSequence:
    """A sequence of one side: its images in the order of their frames, and where they were taken.

    `read_side` fills `frames`, `order` turns them into `keys`, and `read_places` adds `gps` and `panoramas`, which stay
    None where the side has no `raw.csv`.
    """

    folder: str
    side: str
    key: str
    images: Path
    frames: list[tuple[int, str, int]] = dataclasses.field(default_factory=list)  # frame number, key of the image, line
    keys: list[str] = dataclasses.field(default_factory=list)  # in the order of the frames
    gps: np.ndarray | None = None  # float64 (images, 2), NaN where not given
    panoramas: np.ndarray | None = None  # bool (images,)

    def order(self, path: Path) -> None:
        """Put the images in the order of their frames. Raises InputError where two have the same number."""
        self.frames.sort()
        for (number, key, line), (other, twin, below) in itertools.pairwise(self.frames):
            if number == other:
                raise InputError(
                    f"{path}, line {max(line, below)}: image {twin if below > line else key} is frame {number} of "
                    f"{self.key}, as in line {min(line, below)}; remove one of the two, or correct its number"
                )
        self.keys = [key for _, key, _ in self.frames]
        self.frames.clear()

    def leave_out_panoramas(self) -> None:
        """Keep the images that are no panoramas."""
        if self.panoramas is not None:
            self.keys = list(itertools.compress(self.keys, ~self.panoramas))
            self.gps = None if self.gps is None else self.gps[~self.panoramas]
            self.panoramas = None


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
        panoramas: whether they are kept, as in the paper. Without them, sequences may become too short.

    Attributes:
        name: from `world.json`, or the name of the root folder.
        taxonomy: the part of CityGuessr68k's tree with the kept cities: 21 / 21 / 19 / 6 classes for the whole of MSLS.
        synthetic: whether `world.json` marks the pictures as rendered.
        counts: the sequences of the tree, kept and left out.

    Raises InputError for a folder that is no such tree, a city without one of its tables or without its images, and a
    line that makes no sense (two images of a sequence with the same frame number, too), naming the file, the line
    and the way to fix it.
    An image without coordinates is taken as it is. One that is missing or damaged is noticed when its clip is prepared:
    the clip is then rejected with the reason (`PATCH` says what mends images that were released damaged).
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
        panoramas: bool = True,
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
        self.min_frames, self.panoramas = min_frames, panoramas
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

    def _select(self) -> tuple[dict[str, list[SideSequence]], Counts]:
        """City folder -> the sequences to keep; and the counts, which lack the split."""
        sides = list(city_sides(self.root))
        kept: dict[str, list[SideSequence]] = {}
        total = enough = other = alone = 0
        long = dict.fromkeys((folder for folder, _, _ in sides), 0)
        for folder, side, place in track(sides, "reading MSLS, cities' sides") if not self.synthetic else sides:
            sequences = read_side(folder, side, place)
            total += len(sequences)
            sequences = [sequence for sequence in sequences if len(sequence.frames) >= self.min_frames]
            ours = folder in cities() and cities()[folder]["kept"] == "1"
            if ours or not self.panoramas:
                for sequence in sequences:
                    sequence.order(place / "seq_info.csv")
                read_places(sequences, place / "raw.csv")
            if not self.panoramas:
                for sequence in sequences:
                    sequence.leave_out_panoramas()
                sequences = [sequence for sequence in sequences if len(sequence.keys) >= self.min_frames]
            enough += len(sequences)
            long[folder] += len(sequences)
            if not ours:
                other += len(sequences)
            elif sequences:
                if not (place / "images").is_dir():
                    raise InputError(
                        f"{place}: no images/; unpack the archives of images there, or remove {folder} from the tree"
                    )
                kept.setdefault(folder, []).extend(sequences)
        for folder in [folder for folder, sequences in kept.items() if len(sequences) < 2]:
            alone += len(kept.pop(folder))
        every = [sequence for sequences in kept.values() for sequence in sequences]
        panoramic = sum(sequence.panoramas is not None and bool(sequence.panoramas.any()) for sequence in every)
        unplaced = sum(int(np.isnan(sequence.gps[:, 0]).sum()) for sequence in every if sequence.gps is not None)
        return kept, Counts(total, total - enough, other, alone, len(every), 0, 0, long, panoramic, unplaced)

    def _clips(self, kept: Mapping[str, list[SideSequence]], seed: int, val_share: float) -> Iterator[ClipRef]:
        scenes = self._image_scenes()
        for folder, sequences in kept.items():
            city = cities()[folder]["city"]
            labels = tuple(int(self.taxonomy.ancestors[level][self.taxonomy.city_id(city)]) for level in LEVELS)
            sequences = sorted(sequences, key=lambda sequence: (sequence.side, sequence.key))
            # Cities are drawn one by one, so that a tree of fewer cities is split in the same way.
            share = min(math.ceil(round(val_share * len(sequences), 9)), len(sequences) - 1)
            held_out = set(random.Random(f"{seed}/{city}").sample(range(len(sequences)), share))
            for number, sequence in enumerate(sequences):
                keys, gps = sequence.keys, sequence.gps
                if gps is not None and np.isnan(gps).all():
                    gps = None
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


def city_sides(root: Path) -> Iterator[tuple[str, str, Path]]:
    """City folder, side and place of every side of an MSLS tree, in a fixed order.

    Raises InputError, naming the folder, where it is no such tree or a city lacks its `seq_info.csv`.
    """
    parts = [root / part for part in PARTS if (root / part).is_dir()]
    if not parts:
        raise InputError(f"{root}: neither train_val/ nor test/ is in it; give the folder of an MSLS tree")
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


def read_side(folder: str, side: str, place: Path) -> list[SideSequence]:
    """The sequences of one side, in the order of their first lines in `seq_info.csv`; their frames are not sorted.

    Raises InputError, naming file and line, for a table that makes no sense.
    """
    path = place / "seq_info.csv"
    sequences: dict[str, SideSequence] = {}
    lines: dict[str, int] = {}
    name = ""
    for line, row in read_rows(path, ("key", "frame_number"), longest=200):
        if not name:
            name = "sequence_key" if "sequence_key" in row else "sequence_id"
            if name not in row:
                raise InputError(f"{path}, line 1: no column sequence_key or sequence_id; add it to the header")
        key, sequence = row["key"], row[name]
        if not key or key[0] == "." or "/" in key or "\\" in key:
            raise InputError(f"{path}, line {line}: {key!r} is no key of an image (images/<key>.jpg); correct the line")
        if not sequence:
            raise InputError(f"{path}, line {line}: the field {name} is empty; write the key of the image's sequence")
        number = whole_number(row["frame_number"], f"{path}, line {line}", 0, 10**9, what="the frame number")
        if lines.setdefault(key, line) != line:
            raise InputError(f"{path}, line {line}: image {key} stands in line {lines[key]} already; keep one of them")
        if sequence not in sequences:
            sequences[sequence] = SideSequence(folder, side, sequence, place / "images")
        sequences[sequence].frames.append((number, key, line))
    return list(sequences.values())


def read_places(sequences: list[SideSequence], path: Path) -> None:
    """Give the sequences latitude, longitude and what is a panorama by image, from `raw.csv` where there is one.

    Raises InputError, naming file and line, for an image that is there twice and for what is no place on Earth.
    """
    if not path.is_file():
        return
    at = {key: position for position, key in enumerate(key for sequence in sequences for key in sequence.keys)}
    lat, lon, panoramas = np.full(len(at), np.nan), np.full(len(at), np.nan), np.zeros(len(at), bool)
    lines = [0] * len(at)
    for line, row in read_rows(path, ("key", "lon", "lat"), longest=200):
        if (position := at.get(row["key"])) is None:
            continue
        if lines[position]:
            raise InputError(
                f"{path}, line {line}: image {row['key']} stands in line {lines[position]} already; keep one of them"
            )
        lines[position] = line
        if row["lat"].lower() not in _NONE and row["lon"].lower() not in _NONE:
            lat[position], lon[position] = degrees(row["lat"], row["lon"], f"{path}, line {line}")
        if pano := _FLAGS.get(row.get("pano", "").lower()):
            panoramas[position] = True
        elif pano is None:
            raise InputError(f"{path}, line {line}: pano is {row['pano']!r}; write True or False")
    start = 0
    for sequence in sequences:
        stop = start + len(sequence.keys)
        sequence.gps = np.stack([lat[start:stop], lon[start:stop]], axis=1)
        sequence.panoramas = panoramas[start:stop]
        start = stop
