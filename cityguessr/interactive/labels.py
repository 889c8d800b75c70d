"""A clip's scene label, soft or by majority, as frames are left out, and what it costs (section 4.3, Eq. 2)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from cityguessr import losses
from cityguessr.base.errors import InputError
from cityguessr.data.sampling import frame_indices
from cityguessr.figures import offline_page
from cityguessr.figures.page import check_image
from cityguessr.figures.style import DOUBTFUL, MUTED, SERIES
from cityguessr.interactive import panels
from cityguessr.interactive.moving import Moving, Preset, Slider, Values
from cityguessr.interactive.panels import Panel
from cityguessr.scenes import SCENES, categories, scene_label

SHORT = (
    "shop or café",
    "workplace",
    "home or hotel",
    "in a vehicle",
    "sports hall",
    "museum",
    "water or snow",
    "hills or sky",
    "forest or field",
    "rural, man-made",
    "road",
    "old building",
    "park",
    "industry",
    "houses",
    "shops and towns",
)
"""A word or two for each of `SCENES`, to stand below a small picture."""

WALK = (14,) * 7 + (10,) * 9 + (15,) * 5 + (12,) * 3
"""Made up: 24 frames of houses, then a road, then shops, then a park, as numbers of `SCENES`."""
WALK_LOGITS = {10: 4.0, 14: 3.0, 15: 2.0, 12: 1.0}

MOST = 32  # frames that are shown; a longer clip is shown at as many, evenly spread
SHOWN = 4  # scenes that have a slider and a colour of their own: those with most frames
THUMBNAIL = 64  # pixels, the longer side
_BYTES = 36_000  # of all pictures together
_COLOURS = (*SERIES, DOUBTFUL)


def scene_labels(
    frame_scenes: Tensor | None = None,
    frames: Sequence[NDArray] | NDArray | Tensor | None = None,
    logits: Tensor | None = None,
) -> SceneLabels:
    """The soft and the majority label of a clip that ends earlier or is sampled more thinly, and the loss of each.

    Args:
        frame_scenes: float (n, scenes), as `ClipDataset.frame_scenes` gives them. Where they are left out, or label the
            clip as a whole with one row, a made-up walk stands in, and the view says so.
        frames: uint8 (n, H, W, 3) or (n, 3, H, W), the frames; blocks of colour stand in when left out.
        logits: (scenes,), a model's scene vector PV'_s, where the sliders start; 0 for every scene when left out.

    Raises InputError where these do not belong together, or the clip has no scene for every frame.

    Example:
        >>> interactive.scene_labels(clips.frame_scenes(0), clips[0]["frames"])
    """
    if frame_scenes is not None and len(frame_scenes) != 1:
        return SceneLabels(frame_scenes, frames, logits)
    logits = torch.tensor([WALK_LOGITS.get(scene, 0.0) for scene in range(len(SCENES))])
    return SceneLabels(
        F.one_hot(torch.tensor(WALK), len(SCENES)), None, logits, "This walk and this model are made up."
    )


class SceneLabels(Moving):
    """See `scene_labels`."""

    name, title = "labels", "One clip, several scenes: soft or majority label?"

    def __init__(
        self,
        frame_scenes: Tensor,
        frames: Sequence[NDArray] | NDArray | Tensor | None,
        logits: Tensor | None,
        foot: str = "",
    ) -> None:
        scene_label(frame_scenes)  # its shape
        if frame_scenes.float().isnan().any():
            raise InputError("this clip has no scene for every frame; choose another, or leave frame_scenes out")
        count, classes = frame_scenes.shape
        if logits is not None and logits.shape != (classes,):
            raise InputError(f"logits {tuple(logits.shape)} for {classes} scenes; give one of each")
        if frames is not None and len(frames) != count:
            raise InputError(f"{len(frames)} frames and the scenes of {count}; give one of each")
        kept = frame_indices(count, min(count, MOST))
        self.kinds = frame_scenes[kept].argmax(dim=1)  # (n,): the scene of each frame that is shown
        counts = torch.bincount(self.kinds, minlength=classes)
        # Of scenes with as many frames the first comes first, as in `scene_label`.
        present = sorted(counts.nonzero()[:, 0].tolist(), key=lambda scene: (-int(counts[scene]), scene))
        self.shown = present[:SHOWN]
        start = torch.zeros(classes) if logits is None else logits.detach()
        self._logits = start.double().clamp(-10, 10).mul(100).round().div(100)
        names = SHORT if classes == len(SCENES) else [name.strip("/").split("/")[-1] for name in categories()]
        self.names = {scene: names[scene].replace("_", " ") for scene in present}
        n, clip, model = len(kept), "The clip", "The model's scene vector"
        controls = [
            Slider("end", "clip ends after frame", 1, n, n, 1, clip),
            Slider("sampled", "frames sampled", 1, n, n, 1, clip),
            *(
                Slider(f"scene{i}", self.names[scene], -10, 10, float(self._logits[scene]), 0.05, model, _COLOURS[i])
                for i, scene in enumerate(self.shown)
            ),
        ]
        data = {
            "kinds": self.kinds.tolist(),
            "shown": self.shown,
            "names": self.names,
            "logits": self._logits.tolist(),
            "colours": [*_COLOURS, MUTED],
        }
        pictures = [] if frames is None else _pictures([_image(frames[i], i) for i in kept])
        foot = foot or ("" if count == n else f"{n} of the clip's {count} frames, evenly spread.")
        rows = [math.ceil(n / wide) for wide in (9, 10, 5)]  # of frames on the page
        self.heights = tuple(rest + 72 * row for rest, row in zip((440, 690, 1000), rows, strict=True))
        super().__init__(controls, self._presets(n), data, pictures, foot)

    def _presets(self, count: int) -> list[Preset]:
        start = {f"scene{i}": float(self._logits[scene]) for i, scene in enumerate(self.shown)}
        whole = {"end": count, "sampled": count} | start
        shares = [float((self.kinds == scene).float().mean()) for scene in self.shown]
        even = {f"scene{i}": round(10 + math.log(share), 2) for i, share in enumerate(shares)}
        return [
            Preset(
                "The whole clip",
                "Move the end of the clip: the soft label changes a little with every frame, the majority label not at "
                "all or all at once.",
                whole,
            ),
            Preset(
                "Its first half",
                "The same walk, stopped half way. Which scene does the majority name now, and what became of the rest?",
                whole | {"end": max(1, count // 2)},
            ),
            Preset(
                "Three frames of it",
                "Few frames make a rough soft label. The model sees the frames that are sampled, and no others.",
                whole | {"sampled": min(3, count)},
            ),
            Preset(
                "A model that answers with the shares",
                "Its softmax is the soft label. By the soft label it cannot do better; by the majority label it should "
                "forget the other scenes.",
                whole | even,
            ),
            Preset(
                "A model that is sure of one scene",
                "By the majority label it is nearly perfect. By the soft label it pays for every frame of another "
                "scene.",
                whole | {name: 10.0 if name == "scene0" else 0.0 for name in start},
            ),
        ]

    def sampled(self, values: Values | None = None) -> list[int]:
        """Numbers of the frames that the label is made of."""
        values = self.values if values is None else values
        return frame_indices(int(values["end"]), int(min(values["sampled"], values["end"])))

    def label(self, kind: str, values: Values | None = None) -> Tensor:
        """The clip's label, "soft" or "majority": float64 (scenes,)."""
        scenes = F.one_hot(self.kinds[self.sampled(values)], len(self._logits)).double()
        return scene_label(scenes, kind).double()

    def logits(self, values: Values | None = None) -> Tensor:
        """The model's scene vector as the sliders stand: float64 (scenes,)."""
        values, moved = (self.values if values is None else values), self._logits.clone()
        for i, scene in enumerate(self.shown):
            moved[scene] = values[f"scene{i}"]
        return moved

    def panels(self, values: Values) -> list[Panel]:
        picked, logits = self.sampled(values), self.logits(values)
        model = logits.softmax(dim=0)
        labels = {kind: self.label(kind, values) for kind in ("soft", "majority")}
        costs = {kind: float(losses.scene(logits[None], label[None])) for kind, label in labels.items()}
        least = {kind: float(torch.special.entr(label).sum()) for kind, label in labels.items()}
        most = int(labels["majority"].argmax())
        share = float(labels["soft"][most])
        rows = []
        for scene in self.shown:
            own = [float(labels["soft"][scene]), float(labels["majority"][scene]), float(model[scene])]
            rows.append((self.names[scene], own))
        others = len(logits) - len(self.shown)
        rest = [max(0.0, 1 - sum(own[n] for _, own in rows)) for n in range(3)]
        rows.append((f"{others} other scenes", rest))
        titles = ("Soft label", "Majority label", "The model's softmax")
        return [
            panels.table(
                "What the same model pays (Eq. 2)", ["label", "cross-entropy", "lowest possible", "above the lowest"],
                [
                    {
                        "cells": [kind, *(panels.fixed(x, 3) for x in (cost, least[kind], cost - least[kind]))],
                        "marks": [""] * 4,
                        "strong": kind == "soft",
                    }
                    for kind, cost in costs.items()
                ],
            ),
            panels.strip("The clip's frames and their scenes", self._strip(picked, int(values["end"]))),
            panels.note(
                f"{len(picked)} of {int(values['end'])} frames are sampled. The majority label is "
                f"“{self.names[most]}”; it says nothing of the other {panels.percent(1 - share, 0)} of these frames."
            ),
            *(
                panels.bars(
                    title, _COLOURS[0] if n < 2 else MUTED, [""],
                    [
                        {"label": name, "values": [own[n]], "texts": [panels.percent(own[n], 0)], "strong": False}
                        for name, own in rows
                    ],
                )
                for n, title in enumerate(titles)
            ),
        ]  # fmt: skip

    def _strip(self, picked: Sequence[int], end: int) -> list[dict[str, object]]:
        frames = []
        for i, kind in enumerate(self.kinds.tolist()):
            state = "cut off" if i >= end else "sampled" if i in picked else "left out"
            colour = _COLOURS[self.shown.index(kind)] if kind in self.shown else MUTED
            frames.append({"frame": i, "label": self.names[kind], "colour": colour, "state": state})
        return frames


def _image(frame: NDArray | Tensor, number: int) -> Image.Image:
    array = np.asarray(frame)
    if array.ndim == 3 and array.shape[0] == 3 != array.shape[2]:
        array = array.transpose(1, 2, 0)
    image = Image.fromarray(check_image(array, f"frame {number}"))
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    return image


def _pictures(images: Sequence[Image.Image]) -> list[str]:
    """JPEG in base64, of a quality that keeps them all within `_BYTES`."""
    for quality in (80, 65, 50, 35, 20):
        texts = [offline_page.jpeg_text(image, quality) for image in images]
        if sum(map(len, texts)) <= _BYTES:
            break
    return texts
