"""The 16 scenes, the 365 categories under them, and a clip's scene label (paper, section 4.3)."""

import csv
from importlib import resources
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from cityguessr.base.errors import InputError, one_of

SCENE_GROUPS: dict[str, tuple[str, ...]] = {
    "indoor": (
        "shopping and dining",
        "workplace",
        "home or hotel",
        "transportation (vehicle interiors, stations)",
        "sports and leisure",
        "cultural",
    ),
    "natural": (
        "water, ice, snow",
        "mountains, hills, desert, sky",
        "forest, field, jungle",
        "man-made elements",
    ),
    "urban": (
        "transportation (roads, parking, bridges, boats, airports)",
        "cultural or historical building/place",
        "sports fields, parks, leisure spaces",
        "industrial and construction",
        "houses, cabins, gardens, and farms",
        "commercial buildings, shops, markets, cities, and towns",
    ),
}
"""The level above the 16: 6 indoor, 4 natural and 6 man-made ("urban") scenes, the three that ISNs tell apart."""

SCENES: tuple[str, ...] = tuple(name for group in SCENE_GROUPS.values() for name in group)
"""The 16 scenes of Places365's hierarchy, by the column they have in the released label files."""

CATEGORIES = 365
"""How many finer categories of Places365 lie under the 16 scenes (supplement, section 1); their names: `categories`."""

SceneLabel = Literal["soft", "majority", "first"]


def scene_label(frame_scenes: Tensor, kind: SceneLabel = "soft") -> Tensor:
    """The scene label of a clip from the scenes of its frames (paper, section 4.3).

    A frame belongs to its most probable scene. `soft` is the share of frames that belong to each scene, `majority` the
    scene with most frames (of equals, the one that comes first), `first` the first frame's scene, both as one-hot
    vectors. A single row is the label of a clip as a whole: it is the soft label itself, and its most probable scene
    is the majority.

    Args:
        frame_scenes: float (n, 16), or (n, 365) by category (supplement, Table S1), probabilities in [0, 1], one row
            per frame or one for the clip.

    Returns float32 (16,) or (365,), non-negative; NaN where the clip has no scenes (a row of NaN).
    Raises InputError for another shape or kind.
    """
    if frame_scenes.ndim != 2 or len(frame_scenes) == 0 or frame_scenes.shape[1] not in (len(SCENES), CATEGORIES):
        raise InputError(
            f"frame scenes are (n, {len(SCENES)}) or (n, {CATEGORIES}) with n of at least 1, not "
            f"{tuple(frame_scenes.shape)}"
        )
    classes = frame_scenes.shape[1]
    if kind not in get_args(SceneLabel):
        raise one_of("scene label", kind, get_args(SceneLabel))
    frame_scenes = frame_scenes.float()
    if frame_scenes.isnan().any():
        return torch.full((classes,), float("nan"))
    if kind == "soft" and len(frame_scenes) == 1:
        return frame_scenes[0] / frame_scenes[0].sum()
    if kind == "first" and len(frame_scenes) == 1:
        raise InputError(
            "the scene of the first frame is not known where a clip is labelled as a whole; prepare with a labeller"
        )
    one_hot = torch.nn.functional.one_hot(frame_scenes.argmax(dim=1), classes).float()  # (n, classes)
    if kind == "soft":
        return one_hot.mean(dim=0)
    chosen = one_hot.sum(dim=0).argmax() if kind == "majority" else one_hot[0].argmax()
    return torch.nn.functional.one_hot(chosen, classes).float()


def check_scene_classes(scene_classes: int) -> None:
    """Refuse a number of scene classes other than 16 and 365. Raises InputError for any other."""
    if scene_classes not in (len(SCENES), CATEGORIES):
        raise InputError(
            f"scene_classes={scene_classes!r}: there are {len(SCENES)} scenes, and {CATEGORIES} categories under them"
        )


def categories() -> tuple[str, ...]:
    """The 365 categories of Places365 (`/a/airfield`, ...), in the order of the classifier's outputs."""
    return tuple(row[0] for row in _own_rows())


def own_hierarchy() -> np.ndarray:
    """Our own table from the 365 categories to the 16 scenes: float32 (365, 16), 1 where a category belongs."""
    return np.array([row[1:] for row in _own_rows()], dtype=np.float32)


def _own_rows() -> list[list[str]]:
    table = resources.files("cityguessr") / "places365_to_16.csv"
    return list(csv.reader(table.read_text(encoding="utf-8").splitlines()))[1:]
