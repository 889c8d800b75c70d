"""The release layout of CityGuessr68k on disk, as a source of clips.

    labels_list.csv                       City, State, Country, Continent
    train_labels*.txt, val_labels*.txt    one line per clip, of 5, 21 or 533 fields
    <split>/<City>/<City>_<idx>/<n>.jpg   frames, n from 1, not zero-padded

A label line is comma-separated: the clip (`Abu_Dhabi_0000`, or the path of its folder), the ids of its city, state,
country and continent, then, by the width of the line, nothing (5 fields), 16 scene numbers (21), or 512 text features
and 16 scene numbers (533).

MiniWorld writes the same layout and, since it knows more than the real release says, four further files, which are read
where there are any: `clips.csv` (clip, video, first_frame, split), `frame_scenes.csv` (clip, frame, scene, category:
the number n of a frame, the id of its scene, and the id of its category among Places365's 365, a column that may be
absent), `gps.csv` (clip, frame, lat, lon) and `world.json` (name, and the mark of synthetic pictures).
The real release does not say which long video a clip was cut from: each clip then counts as one video, and a split by
source video is not possible.
"""

import dataclasses
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from cityguessr.base.errors import InputError
from cityguessr.base.tables import open_text, read_json, read_rows
from cityguessr.base.tables import place as check_place
from cityguessr.data.sources import SPLITS, ClipRef
from cityguessr.scenes import CATEGORIES, SCENES, check_scene_classes
from cityguessr.taxonomy import LEVELS, Taxonomy

LABELS_LIST = "labels_list.csv"
N_TEXT = 512
_IDS = 1 + len(LEVELS)  # the clip and its four ids
WIDTHS = (_IDS, _IDS + len(SCENES), _IDS + N_TEXT + len(SCENES))


@dataclasses.dataclass(frozen=True)
class _Line:
    """One line of a label file: scenes float32 (16,) and text features float32 (512,) where the file has them."""

    split: str
    clip_id: str
    folder: Path
    labels: tuple[int, int, int, int]
    scenes: np.ndarray | None
    text: np.ndarray | None


class ReleaseSource:
    """The clips that a release lists, in both splits.

    Args:
        root: the folder with `labels_list.csv`, the label files and the two splits, or one that holds such a folder
            under the name `release`.
        labels: the folder of `labels_list.csv` and the label files, where they are not in `root` (the release packs
            them in an archive of their own).
        scene_classes: 16, or 365 for the finer labels of the supplement's Table S1. With 365 the scenes of frames come
            from the column `category` of `frame_scenes.csv`, and where there is no such file a labeller of 365
            categories can give them when the clips are prepared; the 16 scene columns of label files are not used.

    A split with several label files (`train_labels.txt`, `train_labels_text.txt`) is read from the one with the most
    fields in its first line, and of equals from the first by name.

    Attributes:
        name: from `world.json`, or the name of the root folder (of the one above it where that is `release`).
        taxonomy: built from `labels_list.csv`.
        synthetic: whether `world.json` marks the pictures as rendered.
        scene_classes: as given.
        label_files: split -> the label file that was read.
        text_features: float32 (number of cities, 512): the mean of the text columns over the lines of a city, NaN for a
            city without a line; None where a label file has no text columns.

    Raises InputError for a missing folder, list or label file (both splits are needed), for a `frame_scenes.csv`
    without the column that `scene_classes` asks for, and for a line that makes no sense, naming file, line and remedy.
    No frame is looked for: a clip without frames is rejected when it is prepared.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        labels: str | os.PathLike[str] | None = None,
        scene_classes: int = len(SCENES),
    ) -> None:
        check_scene_classes(scene_classes)
        self.scene_classes = scene_classes
        root = Path(root).resolve()
        if not root.is_dir():
            raise InputError(f"{root}: no such folder; give the folder of a release, with {LABELS_LIST} in it")
        if labels is None and not (root / LABELS_LIST).is_file() and (root / "release" / LABELS_LIST).is_file():
            root = root / "release"
        self.root = root
        self._labels = root if labels is None else Path(labels).resolve()
        if not (self._labels / LABELS_LIST).is_file():
            raise InputError(f"{self._labels}: no {LABELS_LIST}; give the folder of a release that has it")
        world = read_json(root / "world.json") if (root / "world.json").is_file() else {}
        self.name = world.get("name") or (root.parent.name if root.name == "release" else root.name)
        self.taxonomy = Taxonomy.from_labels_list(self._labels / LABELS_LIST)
        self.synthetic = bool(world.get("synthetic"))
        self.label_files = {split: self._label_file(split) for split in SPLITS}
        lines = [line for split in SPLITS for line in self._lines(split)]
        for split, file in self.label_files.items():
            if not any(line.split == split for line in lines):
                raise InputError(f"{file}: lists no clip; both splits are needed, with one line per clip")
        self._refs = self._clips(lines)
        self.text_features = self._mean_text(lines)

    def clips(self) -> list[ClipRef]:
        """Every listed clip: those of train, then those of val, in the order of their files."""
        return list(self._refs)

    def _label_file(self, split: str) -> Path:
        files = sorted(self._labels.glob(f"{split}_labels*.txt"))
        if not files:
            raise InputError(
                f"{self._labels}: no {split}_labels*.txt; both splits are needed, put the release's label files there"
            )
        widths = []
        for file in files:
            with open_text(file) as lines:
                widths.append(max((line.count(",") for line in itertools.islice(lines, 1)), default=-1))
        return files[widths.index(max(widths))]

    def _clips(self, lines: Sequence[_Line]) -> list[ClipRef]:
        """A clip for every line, with what the further files say of it."""
        splits: dict[str, set[str]] = {}
        for line in lines:
            splits.setdefault(line.clip_id, set()).add(line.split)
        videos, scenes, gps = self._videos(), self._frame_scenes(splits), self._gps(splits)
        clips = []
        for line in lines:
            # the two splits may number their clips apart from one another
            unique = line.clip_id if len(splits[line.clip_id]) == 1 else f"{line.split}/{line.clip_id}"
            clips.append(
                ClipRef(
                    clip_id=unique,
                    video_id=videos.get((line.split, line.clip_id), unique),
                    split=line.split,
                    labels=line.labels,
                    path=str(line.folder),
                    clip_scenes=line.scenes if self.scene_classes == len(SCENES) else None,
                    frame_scenes=None if scenes is None else scenes.get(line.clip_id, np.full(1, -1, np.int8)),
                    gps=gps.get(line.clip_id),
                )
            )
        return clips

    def _mean_text(self, lines: Sequence[_Line]) -> np.ndarray | None:
        """The mean text features of each city's lines; see the class."""
        sums, counts = np.zeros((self.taxonomy.size("city"), N_TEXT)), np.zeros(self.taxonomy.size("city"), np.int64)
        for line in lines:
            if line.text is None:
                return None
            sums[line.labels[0]] += line.text
            counts[line.labels[0]] += 1
        with np.errstate(invalid="ignore"):
            return (sums / counts[:, None]).astype(np.float32)

    def _lines(self, split: str) -> Iterator[_Line]:
        """Every line of a split's label file that is not empty, checked."""
        file = self.label_files[split]
        width, numbers = 0, {}
        with open_text(file) as lines:
            for number, content in enumerate(lines, start=1):
                where = f"{file}, line {number}"
                fields = [field.strip() for field in content.rstrip("\r\n").rstrip(",").split(",")]
                if fields == [""]:
                    continue
                if len(fields) not in WIDTHS:
                    expected = ", ".join(map(str, WIDTHS[:-1])) + f" or {WIDTHS[-1]}"
                    raise InputError(f"{where}: {len(fields)} fields, where a line has {expected}; correct the line")
                width = width or len(fields)
                if len(fields) != width:
                    raise InputError(f"{where}: {len(fields)} fields, and {width} in the lines above; correct the line")
                line = self._parse(split, fields, where)
                first = numbers.setdefault(line.clip_id, number)
                if first != number:
                    raise InputError(f"{where}: {line.clip_id} stands in line {first} already; keep one of them")
                yield line

    def _parse(self, split: str, fields: Sequence[str], where: str) -> _Line:
        """One line of a label file from its fields."""
        clip = fields[0].rstrip("/")
        clip_id = clip.rsplit("/", 1)[-1]
        if not clip_id:
            raise InputError(f"{where}: the clip has no name; write its id or the path of its folder first")
        labels = self._check_ids(fields[1:_IDS], where)
        numbers = self._check_numbers(fields[_IDS:], where)
        scenes = numbers[-len(SCENES) :] if len(numbers) else None
        if scenes is not None and ((scenes < 0).any() or scenes.sum() <= 0):
            raise InputError(f"{where}: scene shares are negative or all zero; correct the line")
        text = numbers[:N_TEXT] if len(numbers) > len(SCENES) else None
        return _Line(split, clip_id, self._folder(split, clip, clip_id), labels, scenes, text)

    def _folder(self, split: str, clip: str, clip_id: str) -> Path:
        """Where a clip's frames are: at its place in the layout, or else where the path in the line points."""
        place = self.root / split / clip_id.rsplit("_", 1)[0] / clip_id
        if "/" in clip and not place.is_dir() and (self.root / clip).is_dir():
            return self.root / clip
        return place

    def _check_ids(self, fields: Sequence[str], where: str) -> tuple[int, int, int, int]:
        ids = []
        for level, field in zip(LEVELS, fields, strict=True):
            size = self.taxonomy.size(level)
            if not field.isdecimal() or int(field) >= size:
                raise InputError(
                    f"{where}: the {level} id {field!r} is not one of 0..{size - 1} as in {LABELS_LIST}; correct the "
                    f"line, or give the {LABELS_LIST} that belongs to it"
                )
            ids.append(int(field))
        for level, above, low, high in zip(LEVELS, LEVELS[1:], ids, ids[1:], strict=False):
            right = int(self.taxonomy.parent[level][low])
            if high != right:
                raise InputError(
                    f"{where}: {level} {low} ({self.taxonomy.names[level][low]}) lies in {above} {right} "
                    f"({self.taxonomy.names[above][right]}) and the line says {high}; correct the line or {LABELS_LIST}"
                )
        city, state, country, continent = ids
        return city, state, country, continent

    @staticmethod
    def _check_numbers(fields: Sequence[str], where: str) -> np.ndarray:
        try:
            numbers = np.array(list(map(float, fields)), dtype=np.float32)
        except ValueError as error:
            raise InputError(f"{where}: {error}; text and scene columns are numbers, correct the line") from None
        if not np.isfinite(numbers).all():
            raise InputError(f"{where}: a text or scene column is not finite; correct the line")
        return numbers

    def _videos(self) -> dict[tuple[str, str], str]:
        """(split, clip) -> the long video it was cut from, from `clips.csv` where there is one."""
        path = self.root / "clips.csv"
        if not path.is_file():
            return {}
        return {(row["split"], row["clip"]): row["video"] for _, row in read_rows(path, ("clip", "video", "split"))}

    def _frame_scenes(self, clips: Iterable[str]) -> dict[str, np.ndarray] | None:
        """Clip -> scene (or category) id by frame number, from `frame_scenes.csv`; None where there is no such file."""
        path = self.root / "frame_scenes.csv"
        if not path.is_file():
            return None
        listed: dict[str, dict[int, int]] = {}
        for line, row, scene in read_scenes(path, ("clip", "frame"), self.scene_classes):
            listed.setdefault(row["clip"], {})[_number(row["frame"], path, line)] = scene
        by_number, kind = {}, np.int8 if self.scene_classes == len(SCENES) else np.int16
        for clip in listed.keys() & clips:
            by_number[clip] = np.full(max(listed[clip]) + 1, -1, kind)
            by_number[clip][list(listed[clip])] = list(listed[clip].values())
        return by_number

    def _gps(self, clips: Iterable[str]) -> dict[str, np.ndarray]:
        """Clip -> latitude and longitude by frame number, from `gps.csv` where there is one."""
        path = self.root / "gps.csv"
        if not path.is_file():
            return {}
        listed: dict[str, dict[int, tuple[float, float]]] = {}
        for line, row in read_rows(path, ("clip", "frame", "lat", "lon")):
            place = check_place(row["lat"], row["lon"], f"{path}, line {line}")
            listed.setdefault(row["clip"], {})[_number(row["frame"], path, line)] = place
        by_number = {}
        for clip in listed.keys() & clips:
            by_number[clip] = np.full((max(max(listed[clip]) + 1, 2), 2), np.nan)
            by_number[clip][list(listed[clip])] = list(listed[clip].values())
        return by_number


def read_scenes(path: Path, columns: tuple[str, ...], scene_classes: int) -> Iterator[tuple[int, dict[str, str], int]]:
    """The rows of a table of scenes with their line numbers and scenes; the column is `category` where these are 365.

    Raises InputError, naming file and line, where one of `columns` is missing or a scene is not of so many classes.
    """
    column = "category" if scene_classes == CATEGORIES else "scene"
    for line, row in read_rows(path, (*columns, column)):
        if not row[column].isdecimal() or int(row[column]) >= scene_classes:
            raise InputError(f"{path}, line {line}: {column} {row[column]!r} is not one of 0..{scene_classes - 1}")
        yield line, row, int(row[column])


def _number(field: str, path: Path, line: int) -> int:
    if not field.isdecimal():
        raise InputError(f"{path}, line {line}: the frame number {field!r} is not a whole number; correct the line")
    return int(field)
