"""The 16 scenes, the 365 categories under them, a clip's scene label (paper, section 4.3), and their classifier."""

import csv
import os
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from cityguessr.base import paths
from cityguessr.base.errors import InputError, MissingWeights
from cityguessr.base.files import open_text

if TYPE_CHECKING:
    from torch import Tensor, nn

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

_WEIGHTS = "resnet50_places365.pth.tar"

SceneLabel = Literal["soft", "majority", "first"]


def scene_label(frame_scenes: "Tensor", kind: SceneLabel = "soft") -> "Tensor":
    """The scene label of a clip from the scenes of its frames (paper, section 4.3).

    A frame belongs to its most probable scene. `soft` is the share of frames that belong to each scene, `majority` the
    scene with most frames (of equals, the one that comes first), `first` the first frame's scene, both as one-hot
    vectors. A single row is the label of a clip as a whole: it is the soft label itself, and its most probable scene
    is the majority.

    Args:
        frame_scenes: float (n, 16), or (n, 365) by category (supplement, Table S1), probabilities in [0, 1], one row a
            frame or one for the clip.
        kind: "soft", "majority" or "first".

    Returns float32 (16,) or (365,), non-negative; NaN where the clip has no scenes (a row of NaN).
    Raises InputError for another shape or kind.
    """
    import torch

    if frame_scenes.ndim != 2 or len(frame_scenes) == 0 or frame_scenes.shape[1] not in (len(SCENES), CATEGORIES):
        raise InputError(
            f"frame scenes are (n, {len(SCENES)}) or (n, {CATEGORIES}) with n of at least 1, not "
            f"{tuple(frame_scenes.shape)}"
        )
    classes = frame_scenes.shape[1]
    if kind not in ("soft", "majority", "first"):
        raise InputError(f"unknown scene label {kind!r}; it is soft, majority or first")
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


class Places365Labeller:
    """Sees the scenes in frames: the ResNet-50 of Places365, and a table from its 365 categories to the 16 scenes.

    Call it with frames, uint8 (T, H, W, 3), for probabilities float32 (T, level); `prepare(..., scene_labeller=...)`
    takes it as it is. A category that belongs to several scenes is shared among them equally.

    Args:
        weights: `resnet50_places365.pth.tar`, by default in `data/weights/`.
        hierarchy_csv: the sheet of Places365's authors, saved as `scene_hierarchy_places365.csv`, which the paper
            used. Without it, a table of our own making is used instead: the same 16 scenes, the categories assigned by
            our own judgement, so that labels may differ from the paper's.
        device: where the network runs.

    Raises InputError, naming the file and what to do, where weights or sheet are missing or other than expected.
    """

    def __init__(
        self,
        weights: str | os.PathLike[str] | None = None,
        hierarchy_csv: str | os.PathLike[str] | None = None,
        device: str = "cpu",
        level: int = len(SCENES),
    ) -> None:
        check_level(level)
        self.level = level
        self.weights = Path(weights) if weights is not None else paths.data() / "weights" / _WEIGHTS
        self.device = device
        table = "own table" if hierarchy_csv is None else "official hierarchy"
        self.name = f"Places365 ResNet-50, {table if level == len(SCENES) else f'{CATEGORIES} categories'}"
        members = own_hierarchy() if hierarchy_csv is None else read_hierarchy(hierarchy_csv)  # (365, 16)
        self.hierarchy = members / members.sum(axis=1, keepdims=True)
        self._loaded: nn.Module | None = None
        self._network()  # a wrong file is said here, not clip by clip

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Frames uint8 (T, H, W, 3), RGB, of any size -> the probability of each class, float32 (T, level)."""
        probabilities = self.categories(frames)  # (T, 365)
        return probabilities if self.level == CATEGORIES else probabilities @ self.hierarchy

    def categories(self, frames: np.ndarray) -> np.ndarray:
        """Frames uint8 (T, H, W, 3) -> the probability of each of Places365's categories, float32 (T, 365)."""
        import torch

        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])  # as it was trained
        pixels = torch.from_numpy(np.array(frames)).to(self.device).permute(0, 3, 1, 2).float() / 255  # (T, 3, H, W)
        if pixels.shape[-2:] != (224, 224):
            pixels = torch.nn.functional.interpolate(pixels, (224, 224), mode="bilinear", antialias=True)
        pixels = (pixels - mean.to(pixels)[:, None, None]) / std.to(pixels)[:, None, None]
        with torch.inference_mode():
            return self._network()(pixels).softmax(dim=1).cpu().numpy()

    def _network(self) -> "nn.Module":
        """The network; the workers of the preparation load it anew rather than receive 97 MB each with every shard."""
        if self._loaded is None:
            self._loaded = _load_resnet(self.weights).eval().to(self.device)
        return self._loaded

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_loaded": None}


def _load_resnet(path: Path) -> "nn.Module":
    import pickle

    import torch

    if not path.is_file():
        raise MissingWeights(
            f"{path}: missing. Scenes of frames need this file (about 97 MB) from places2.csail.mit.edu/"
            f"models_places365/{_WEIGHTS}; put it there, or give its path as `weights`"
        )
    from torchvision.models import resnet50

    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        state = {key.removeprefix("module."): value for key, value in checkpoint["state_dict"].items()}
        network = resnet50(weights=None, num_classes=CATEGORIES)
        network.load_state_dict(state)
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, TypeError, AttributeError, ValueError):
        raise InputError(
            f"{path}: not the ResNet-50 of Places365 ({path.stat().st_size:,} bytes); download {_WEIGHTS} again"
        ) from None
    return network


def check_level(scenes: int) -> None:
    """Raise InputError for a number of scene classes other than 16 and 365."""
    if scenes not in (len(SCENES), CATEGORIES):
        raise InputError(f"scenes={scenes!r}: there are {len(SCENES)} scenes, and {CATEGORIES} categories under them")


def categories() -> tuple[str, ...]:
    """The 365 categories of Places365 (`/a/airfield`, ...), in the order of the classifier's outputs."""
    return tuple(row[0] for row in _own_rows())


def own_hierarchy() -> np.ndarray:
    """Our own table from the 365 categories to the 16 scenes: float32 (365, 16), 1 where a category belongs."""
    return np.array([row[1:] for row in _own_rows()], dtype=np.float32)


def read_hierarchy(path: str | os.PathLike[str]) -> np.ndarray:
    """The sheet of Places365's authors: float32 (365, 16), 1 where a category belongs, in the classifier's order.

    The sheet has two header rows, then a row a category: its name, 3 columns of the upper level, 16 of the lower.

    Raises InputError, naming file and line, for another layout.
    """
    with open_text(path) as file:
        rows = [(number, row) for number, row in enumerate(csv.reader(file), start=1) if any(row)][2:]
    found: dict[str, list[str]] = {}
    for line, row in rows:
        cells = [cell.strip() for cell in row[4 : 4 + len(SCENES)]]
        if len(cells) != len(SCENES) or not set(cells) <= {"0", "1"} or "1" not in cells:
            raise InputError(
                f"{path}, line {line}: not a name, 3 and {len(SCENES)} columns of 0 and 1 with a 1 among the latter; "
                "save the sheet anew as CSV"
            )
        found[row[0].strip().strip("'\"").strip()] = cells
    if missing := [name for name in categories() if name not in found]:
        raise InputError(f"{path}: {len(missing)} of the 365 categories are missing ({missing[0]}, ...); save it anew")
    return np.array([found[name] for name in categories()], dtype=np.float32)


def _own_rows() -> list[list[str]]:
    table = resources.files("cityguessr") / "places365_to_16.csv"
    return list(csv.reader(table.read_text(encoding="utf-8").splitlines()))[1:]
