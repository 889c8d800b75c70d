"""The release layout of CityGuessr68k on disk, as a source of clips.

    labels_list.csv                       City, State, Country, Continent
    train_labels*.txt, val_labels*.txt    one line per clip, of 5, 21 or 533 fields (`label_files`)
    <split>/<City>/<City>_<idx>/<n>.jpg   frames, n from 1, not zero-padded

They may stand in one folder, or in several side by side, as the release's five archives do once they are mounted
(`release_layout`).

MiniWorld writes the same layout and, since it knows more than the real release says, four further files, which are read
where there are any: `clips.csv` (clip, video, first_frame, split), `frame_scenes.csv` (clip, frame, scene, category:
the number n of a frame, the id of its scene, and the id of its category among Places365's 365, a column that may be
absent), `gps.csv` (clip, frame, lat, lon) and `world.json` (name, and the mark of synthetic pictures).
The real release does not say which long video a clip was cut from: each clip then counts as one video, until
`recovery` finds the videos out (`ReleaseSource.with_videos`).
"""

from __future__ import annotations

import collections
import copy
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cityguessr.base.errors import InputError
from cityguessr.base.tables import read_json, read_rows
from cityguessr.data.leakage.recovery import with_videos
from cityguessr.data.release import frame_tables, label_files
from cityguessr.data.release import layout as release_layout
from cityguessr.data.release.label_files import LabelLines, city_folder, clip_name
from cityguessr.data.release.layout import LABELS_LIST, Places, Roots
from cityguessr.data.sources import SPLITS, ClipRef
from cityguessr.scenes import SCENES, check_scene_classes
from cityguessr.taxonomy import Taxonomy


class ReleaseSource:
    """The clips that a release lists, in both splits.

    Args:
        root: the folder with `labels_list.csv`, the label files and the two splits; or several folders that make up a
            release, as a list or as one text with commas; or one that holds such folders, as a MiniWorld's does under
            the name `release`, or the folder in which all five archives are mounted.
        labels: the folder of `labels_list.csv` and the label files, where they are in none of these.
        scene_classes: 16, or 365 for the finer labels of the supplement's Table S1. With 365 the scenes of frames come
            from the column `category` of `frame_scenes.csv`, and where there is no such file a labeller of 365
            categories can give them when the clips are prepared; the 16 scene columns of label files are not used.

    A split with several label files (`train_labels.txt`, `train_labels_text.txt`) is read from the one with the most
    fields in its first line, and of equals from the first by name.

    Attributes:
        name: from `world.json`, or the name of the folder (of the one above it where that is `release`, or one of
            several in it).
        roots: the folders that make up the release.
        root: the one of them that has the label files, or the first where these are elsewhere.
        taxonomy: built from `labels_list.csv`.
        synthetic: whether `world.json` marks the pictures as rendered.
        world: the fingerprint of the world that they are of, from there; empty for real ones.
        compiled: whether it was compiled from somebody's own videos (`cityguessr.compilation`), so that its counts are
            not the paper's.
        has_scenes: whether its label files, or a `frame_scenes.csv`, say which scenes its clips show.
        scene_classes: as given.
        label_files: split -> the label file that was read.
        text_features: float32 (number of cities, 512): the mean of the text columns over the lines of a city, NaN for a
            city without a line; None where a label file has no text columns.

    Raises InputError for a missing folder, list or label file (both splits are needed), for a `frame_scenes.csv`
    without the column that `scene_classes` asks for, and for a line that makes no sense, naming the file, the
    line and the way to fix it.
    No frame is looked for: a clip without frames is rejected when it is prepared.
    """

    def __init__(
        self, root: Roots, labels: str | os.PathLike[str] | None = None, scene_classes: int = len(SCENES)
    ) -> None:
        check_scene_classes(scene_classes)
        self.scene_classes = scene_classes
        self.roots = release_layout.find_parts(root)
        self._labels = release_layout.labels_folder(self.roots) if labels is None else Path(labels).resolve()
        if not (self._labels / LABELS_LIST).is_file():
            raise InputError(f"{self._labels}: no {LABELS_LIST}; give the folder of a release that has it")
        self.root = self._labels if self._labels in self.roots else self.roots[0]
        world_file = self._file("world.json")
        world = read_json(world_file) if world_file else {}
        self.name = str(world.get("name") or self._name())
        self.taxonomy = Taxonomy.from_labels_list(self._labels / LABELS_LIST)
        self.synthetic = bool(world.get("synthetic"))
        self.world = str(world.get("fingerprint") or "")
        self.compiled = self._file("compilation.json") is not None
        self.label_files = {split: self._label_file(split) for split in SPLITS}
        lines = {split: label_files.read(file, self.taxonomy) for split, file in self.label_files.items()}
        for file in (part.file for part in lines.values() if not part.clips):
            raise InputError(f"{file}: lists no clip; both splits are needed, with one line per clip")
        self.text_features = _mean_text(list(lines.values()))
        self.places = Places(self.roots)
        self._refs = self._clips(lines)
        self.has_scenes = any(clip.clip_scenes is not None or clip.frame_scenes is not None for clip in self._refs)

    def clips(self) -> list[ClipRef]:
        """Every listed clip: those of train, then those of val, in the order of their files."""
        return list(self._refs)

    def with_videos(self, videos: Mapping[str, str]) -> ReleaseSource:
        """The same release with other source videos, clip -> video: recovered ones, where it does not know them.

        Raises InputError for a clip that `videos` lacks.
        """
        other = copy.copy(self)
        other._refs = with_videos(self._refs, videos)
        return other

    def _name(self) -> str:
        inner = self.root.name == "release" or len(self.roots) > 1
        return (self.root.parent.name if inner else self.root.name) or "CityGuessr68k"

    def _file(self, name: str) -> Path | None:
        """A further file, where there is one."""
        return next((folder / name for folder in (self.root, *self.roots) if (folder / name).exists()), None)

    def _label_file(self, split: str) -> Path:
        files = sorted(self._labels.glob(f"{split}_labels*.txt"))
        if not files:
            raise InputError(
                f"{self._labels}: no {split}_labels*.txt; both splits are needed, put the release's label files there"
            )
        return label_files.widest(files)

    def _clips(self, lines: dict[str, LabelLines]) -> list[ClipRef]:
        """A clip for every line, with what the further files say of it."""
        listed = collections.Counter(clip_name(clip) for part in lines.values() for clip in part.clips)

        def unique(split: str, clip_id: str) -> str:  # the two splits may number their clips apart from one another
            return clip_id if listed[clip_id] == 1 else f"{split}/{clip_id}"

        known = {unique(split, clip_name(clip)) for split, part in lines.items() for clip in part.clips}

        def resolve(clip: str, where: str) -> str | None:
            if listed[clip] > 1:
                raise InputError(f"{where}: both splits have a clip {clip}; write train/{clip} or val/{clip}")
            return clip if clip in known else None

        videos = self._videos()
        scenes_file, gps_file = self._file("frame_scenes.csv"), self._file("gps.csv")
        scenes = frame_tables.read_frame_scenes(scenes_file, self.scene_classes, resolve) if scenes_file else None
        gps = frame_tables.read_gps(gps_file, resolve) if gps_file else {}
        none = np.full(1, -1, np.int8)
        refs = []
        for split, part in lines.items():
            shares = part.scenes if self.scene_classes == len(SCENES) else None
            for row, (clip, labels) in enumerate(zip(part.clips, part.labels, strict=True)):
                name = clip_name(clip)
                clip_id, path = unique(split, name), clip if clip != name else ""
                refs.append(
                    ClipRef(
                        clip_id=clip_id,
                        video_id=videos.get((split, name), clip_id),
                        split=split,
                        labels=labels,
                        path=self.places.of_clip(split, city_folder(name), name, path),
                        clip_scenes=None if shares is None else shares[row],
                        frame_scenes=None if scenes is None else scenes.get(clip_id, none),
                        gps=gps.get(clip_id),
                    )
                )
        return refs

    def _videos(self) -> dict[tuple[str, str], str]:
        """(split, clip) -> the long video it was cut from, from `clips.csv` where there is one."""
        path = self._file("clips.csv")
        if path is None:
            return {}
        videos: dict[tuple[str, str], str] = {}
        for line, row in read_rows(path, ("clip", "video", "split")):
            video = videos.setdefault((row["split"], row["clip"]), row["video"])
            if not row["video"] or video != row["video"]:
                reason = f"comes from {video} in a line above" if row["video"] else "has no video"
                raise InputError(f"{path}, line {line}: {row['clip']} {reason}; correct the line")
        return videos


def _mean_text(files: list[LabelLines]) -> np.ndarray | None:
    """The mean text features of each city's lines; see `ReleaseSource`."""
    sums = [file.text_sums for file in files]
    if any(part is None for part in sums):
        return None
    counts = sum(file.text_lines for file in files)
    with np.errstate(invalid="ignore"):
        return (sum(sums) / counts[:, None]).astype(np.float32)
