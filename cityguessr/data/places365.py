"""Scenes of frames by the classifier of Places365, for sources that list none."""

import itertools
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from cityguessr.base.errors import InputError
from cityguessr.base.tables import split_rows
from cityguessr.base.weights import missing, place
from cityguessr.config import IMAGENET
from cityguessr.scenes import CATEGORIES, SCENES, categories, check_scene_classes, own_hierarchy

_WEIGHTS = "resnet50_places365.pth.tar"


class Places365Labeller:
    """Gives the scenes of frames, by the ResNet-50 of Places365 and a table from its 365 categories to the 16 scenes.

    Call it with frames, uint8 (T, H, W, 3), for probabilities float32 (T, scene_classes); `label_scenes`
    (`data.labelling`) takes it as it is. A category that belongs to several scenes is shared equally among them.

    Args:
        weights: `resnet50_places365.pth.tar`, by default in `data/weights/`.
        hierarchy_csv: the sheet of Places365's authors, saved as `scene_hierarchy_places365.csv`, which the paper
            used. Without it, a table of our own making is used instead: the same 16 scenes, the categories assigned by
            our own judgement, so that labels may differ from the paper's.
        device: where the network runs.
        scene_classes: 16, or 365 for the categories themselves.

    Raises InputError, naming the file and what to do, where weights or sheet are missing or other than expected.
    """

    def __init__(
        self,
        weights: str | os.PathLike[str] | None = None,
        hierarchy_csv: str | os.PathLike[str] | None = None,
        device: str = "cpu",
        scene_classes: int = len(SCENES),
    ) -> None:
        check_scene_classes(scene_classes)
        self.scene_classes = scene_classes
        self.weights = place(_WEIGHTS) if weights is None else Path(weights)
        self.device = device
        table = "own table" if hierarchy_csv is None else "official hierarchy"
        self.name = f"Places365 ResNet-50, {table if scene_classes == len(SCENES) else f'{CATEGORIES} categories'}"
        members = own_hierarchy() if hierarchy_csv is None else read_hierarchy(hierarchy_csv)  # (365, 16)
        self.hierarchy = members / members.sum(axis=1, keepdims=True)
        self._loaded: nn.Module | None = None
        self._network()  # a wrong file is an error here, not clip by clip

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Frames uint8 (T, H, W, 3), RGB, of any size -> the probability of each class, float32 (T, scene_classes)."""
        probabilities = self.categories(frames)  # (T, 365)
        return probabilities if self.scene_classes == CATEGORIES else probabilities @ self.hierarchy

    def categories(self, frames: np.ndarray) -> np.ndarray:
        """Frames uint8 (T, H, W, 3) -> the probability of each of Places365's categories, float32 (T, 365)."""
        mean, std = torch.tensor(IMAGENET)  # as it was trained
        pixels = torch.from_numpy(np.array(frames)).to(self.device).permute(0, 3, 1, 2).float() / 255  # (T, 3, H, W)
        if pixels.shape[-2:] != (224, 224):
            pixels = torch.nn.functional.interpolate(pixels, (224, 224), mode="bilinear", antialias=True)
        pixels = (pixels - mean.to(pixels)[:, None, None]) / std.to(pixels)[:, None, None]
        with torch.inference_mode():
            return self._network()(pixels).softmax(dim=1).cpu().numpy()

    def _network(self) -> nn.Module:
        """The network; the workers of a preparation load it themselves rather than receive 97 MB with every shard."""
        if self._loaded is None:
            self._loaded = _load_resnet(self.weights).eval().to(self.device)
        return self._loaded

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_loaded": None}


def _load_resnet(path: Path) -> nn.Module:
    if not path.is_file():
        raise missing(_WEIGHTS, "scenes of frames", path=path)
    from torchvision.models import resnet50

    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        state = {key.removeprefix("module."): value for key, value in checkpoint["state_dict"].items()}
        network = resnet50(weights=None, num_classes=CATEGORIES)
        network.load_state_dict(state)
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, TypeError, AttributeError, ValueError):
        raise InputError(
            f"{path}: not the ResNet-50 of Places365 ({path.stat().st_size:,} bytes); download it again"
        ) from None
    return network


def read_hierarchy(path: str | os.PathLike[str]) -> np.ndarray:
    """The sheet of Places365's authors: float32 (365, 16), 1 where a category belongs, in the classifier's order.

    The sheet has two header rows, then one row per category: its name, 3 columns of the upper level, 16 of the lower.

    Raises InputError for another layout and for a category listed twice, naming file and line.
    """
    table: dict[str, list[str]] = {}
    lines: dict[str, int] = {}
    for line, row in itertools.islice(split_rows(path), 2, None):
        cells = row[4 : 4 + len(SCENES)]
        if len(cells) != len(SCENES) or not set(cells) <= {"0", "1"} or "1" not in cells:
            raise InputError(
                f"{path}, line {line}: not a name, 3 and {len(SCENES)} columns of 0 and 1 with a 1 among the latter; "
                "save the sheet anew as CSV"
            )
        name = row[0].strip("'\"").strip()
        if name in table:
            raise InputError(f"{path}, line {line}: {name} stands in line {lines[name]} already; keep one of them")
        table[name], lines[name] = cells, line
    if absent := [name for name in categories() if name not in table]:
        raise InputError(f"{path}: {len(absent)} of the 365 categories are missing ({absent[0]}, ...); save it anew")
    return np.array([table[name] for name in categories()], dtype=np.float32)
