"""The 16 scenes, the scene labels of a clip (paper, section 4.3), and the classifier that sees scenes in frames."""

from typing import TYPE_CHECKING, Literal

from cityguessr.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

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

SceneLabel = Literal["soft", "majority", "first"]


def scene_label(frame_scenes: "Tensor", kind: SceneLabel = "soft") -> "Tensor":
    """The scene label of a clip from the scenes of its frames (paper, section 4.3).

    A frame belongs to its most probable scene. `soft` is the share of frames that belong to each scene, `majority` the
    scene with most frames (of equals, the one that comes first), `first` the first frame's scene, both as one-hot
    vectors. A single row is the label of a clip as a whole: it is the soft label itself, and its most probable scene
    is the majority.

    Args:
        frame_scenes: float (n, 16), probabilities in [0, 1], one row a frame or one for the clip.
        kind: "soft", "majority" or "first".

    Returns float32 (16,), non-negative; NaN where the clip has no scenes (a row of NaN).
    Raises InputError for another shape or kind.
    """
    import torch

    if frame_scenes.ndim != 2 or frame_scenes.shape[0] == 0 or frame_scenes.shape[1] != len(SCENES):
        raise InputError(f"frame scenes are (n, {len(SCENES)}) with n of at least 1, not {tuple(frame_scenes.shape)}")
    if kind not in ("soft", "majority", "first"):
        raise InputError(f"unknown scene label {kind!r}; it is soft, majority or first")
    frame_scenes = frame_scenes.float()
    if frame_scenes.isnan().any():
        return torch.full((len(SCENES),), float("nan"))
    if kind == "soft" and len(frame_scenes) == 1:
        return frame_scenes[0].clone()
    one_hot = torch.nn.functional.one_hot(frame_scenes.argmax(dim=1), len(SCENES)).float()  # (n, 16)
    if kind == "soft":
        return one_hot.mean(dim=0)
    chosen = one_hot.sum(dim=0).argmax() if kind == "majority" else one_hot[0].argmax()
    return torch.nn.functional.one_hot(chosen, len(SCENES)).float()
