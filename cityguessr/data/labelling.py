"""Scene labels by a classifier, for sets whose source lists none: a second step, after the frames are there."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from cityguessr.base.errors import InputError
from cityguessr.data import scene_tables
from cityguessr.data.clips import PreparedClips
from cityguessr.data.scene_tables import Labeller, Scenes
from cityguessr.data.sources import SPLITS


def label_scenes(clips: PreparedClips, labeller: Labeller) -> PreparedClips:
    """The same clips with the scenes that a classifier sees in their frames, kept in a table beside them.

    A table that this labeller gave the same frames earlier is taken as it is.

    Args:
        labeller: such as a `Places365Labeller`. What its attribute `name` says is part of the table's name.

    Raises InputError where it gives another number of scenes than the clips have, or none for each frame.
    """
    classes = clips.scene_classes
    given = getattr(labeller, "scene_classes", None)
    if given and given != classes:
        raise InputError(f"the labeller gives {given} scenes and the clip format wants {classes}; make them agree")
    origin = getattr(labeller, "name", type(labeller).__name__)
    name = f"{re.sub(r'[^a-z0-9]+', '-', origin.lower()).strip('-')}-{classes}"
    if clips.meta["scenes"].get(name, {}).get("origin") != origin:
        scene_tables.write(clips.folder, name, _labels(clips, labeller), classes, origin)
    return PreparedClips.load(clips.folder, name)


def _labels(clips: PreparedClips, labeller: Labeller) -> Iterator[tuple[str, Scenes]]:
    """The rows of the table, in the order of the index."""
    places = {}
    for split in (clips.split(name) for name in SPLITS if clips.meta["counts"][name]["clips"]):
        places |= {clip_id: (split, i) for i, clip_id in enumerate(split.clip_ids)}
    for clip_id in clips.clip_ids:
        split, i = places[clip_id]
        frames = split.frames_of([i])[0].permute(0, 2, 3, 1).numpy()  # (T, H, W, 3)
        scenes = np.asarray(labeller(frames), dtype=np.float32)
        if scenes.shape != (len(frames), clips.scene_classes):
            raise InputError(
                f"the scene labeller gave {scenes.shape}, not ({len(frames)}, {clips.scene_classes}); correct it"
            )
        yield clip_id, scenes
