"""What a run answers on the validation split, with the tree and the mode that its answers are read in."""

from __future__ import annotations

import dataclasses
import io
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cityguessr import hierarchy
from cityguessr.base.digests import regular
from cityguessr.base.errors import InputError, one_of
from cityguessr.taxonomy import LEVELS, Taxonomy
from cityguessr.training.auxiliary import Auxiliary

PARTS = ("seen", "unseen", "all")
"""Validation clips whose source video has clips in training, those of videos held out whole, and both together."""

_AUXILIARY = tuple(field.name for field in dataclasses.fields(Auxiliary))
_LARGEST = 1024**3  # bytes of all arrays; 13,642 clips of 420 classes have 25 MB


@dataclasses.dataclass(frozen=True)
class Predictions:
    """The validation clips of a run: their logits, their labels, and how answers follow from the logits.

    Attributes:
        taxonomy: the label tree.
        mode: how the final answer is read, `ModelConfig.evaluation`: "codependent", or "traced" as released.
        logits: level -> float32 (N, number of classes).
        labels: level -> LongTensor (N,).
        scene: float32 (N, scenes) logits, or None for a system without scene recognition.
        clip_ids, video_ids: of the N clips; several clips may come from one video.
        places: float64 (N, 2), latitude and longitude in degrees of the clip's middle frame, NaN where not known.
        seen: bool (N,), whether the clip's source video has clips in training, as nearly all of the paper's do.
        auxiliary: how good the scene and the text head are on each clip, beside the best constant answer.
    """

    taxonomy: Taxonomy
    mode: str
    logits: dict[str, Tensor]
    labels: dict[str, Tensor]
    scene: Tensor | None
    clip_ids: tuple[str, ...]
    video_ids: tuple[str, ...]
    places: Tensor
    seen: Tensor
    auxiliary: Auxiliary = Auxiliary()  # noqa: RUF009 - frozen

    @classmethod
    def load(
        cls,
        path: Path,
        taxonomy: Taxonomy,
        mode: str,
        content: bytes | None = None,
        remedy: str = "run the experiment again",
    ) -> Predictions:
        """Read the `predictions.npz` of a run.

        Args:
            content: of the file, where it was read already.
            remedy: what to do about a file that cannot be used, as the end of a sentence.

        Raises InputError, naming the file, where it is damaged, lacks an array, or where arrays do not belong together:
            other numbers of clips, labels and logits of another tree, numbers that are not finite.
        """
        if content is None:
            regular(path, remedy)
            content = path.read_bytes()
        arrays = _arrays(path, content, remedy)
        if wrong := _wrong(arrays, taxonomy):
            raise InputError(f"{path}: {wrong}; {remedy}")
        return cls(
            taxonomy,
            mode,
            logits={level: torch.from_numpy(arrays[f"logits_{level}"]) for level in LEVELS},
            labels={level: torch.from_numpy(arrays[f"labels_{level}"]) for level in LEVELS},
            scene=torch.from_numpy(arrays["scene"]) if "scene" in arrays else None,
            clip_ids=tuple(arrays["clip_ids"].tolist()),
            video_ids=tuple(arrays["video_ids"].tolist()),
            places=torch.from_numpy(arrays["places"]),
            seen=torch.from_numpy(arrays["seen"]),
            auxiliary=Auxiliary(**{name: torch.from_numpy(arrays[name]) for name in _AUXILIARY if name in arrays}),
        )

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that the clips fall into: ("seen", "unseen"), or ("all",) where all are of one kind.

        Where a source does not say which clips were cut from one video, every clip counts as a video of its own.
        """
        return ("seen", "unseen") if 0 < int(self.seen.sum()) < len(self) else ("all",)

    def part(self, name: str) -> Predictions:
        """The clips whose source video is "seen" in training, those whose is "unseen", or "all" of them."""
        if name not in PARTS:
            raise one_of("part of the validation clips", name, PARTS)
        return self if name == "all" else self.subset(self.seen if name == "seen" else ~self.seen)

    def __len__(self) -> int:
        return len(self.clip_ids)

    def answers(self, mode: str | None = None) -> dict[str, Tensor]:
        """The answered class of every clip: level -> LongTensor (N,), in the run's mode or another one."""
        return hierarchy.predict(self.logits, self.taxonomy, mode or self.mode)

    def right(self, mode: str | None = None) -> dict[str, Tensor]:
        """Whether each clip's answer is right: level -> bool (N,). Raises InputError where there are no clips."""
        if not len(self):
            raise InputError("these predictions hold no clip; nothing can be counted")
        answers = self.answers(mode)
        return {level: answers[level] == self.labels[level] for level in LEVELS}

    def accuracy(self, mode: str | None = None, k: int = 1) -> dict[str, float]:
        """The top-k accuracy, as `hierarchy.accuracy`: level -> percent."""
        return hierarchy.accuracy(self.logits, self.labels, self.taxonomy, mode or self.mode, k)

    def with_videos(self, videos: Mapping[str, str], training: Iterable[str]) -> Predictions:
        """The same predictions with other source videos, clip -> video: recovered ones, where a release has none.

        Args:
            training: the videos of the training clips, which say which validation clips are of a seen one.

        Raises InputError for a clip that `videos` lacks.
        """
        if missing := [clip for clip in self.clip_ids if clip not in videos]:
            raise InputError(
                f"{len(missing):,} of {len(self):,} clips have no video, the first {missing[0]}; recover the videos of "
                "the clips that this run was validated on"
            )
        names, known = tuple(videos[clip] for clip in self.clip_ids), set(training)
        seen = torch.tensor([name in known for name in names], dtype=torch.bool)
        return dataclasses.replace(self, video_ids=names, seen=seen)

    def subset(self, clips: Tensor) -> Predictions:
        """The predictions of some clips, by a LongTensor of their numbers or a bool (N,)."""
        numbers = torch.arange(len(self))[clips].tolist()
        return dataclasses.replace(
            self,
            logits={level: values[clips] for level, values in self.logits.items()},
            labels={level: values[clips] for level, values in self.labels.items()},
            scene=None if self.scene is None else self.scene[clips],
            clip_ids=tuple(self.clip_ids[i] for i in numbers),
            video_ids=tuple(self.video_ids[i] for i in numbers),
            places=self.places[clips],
            seen=self.seen[clips],
            auxiliary=Auxiliary(
                **{name: None if part is None else part[clips] for name, part in vars(self.auxiliary).items()}
            ),
        )


def _arrays(path: Path, content: bytes, remedy: str) -> dict[str, np.ndarray]:
    """The arrays of the file; no pickle is read, and no archive that would fill the memory."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > _LARGEST:
            raise ValueError(f"{size:,} bytes unpacked")
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"{path}: no archive of arrays ({reason}); {remedy}") from None


def _wrong(arrays: dict[str, np.ndarray], taxonomy: Taxonomy) -> str | None:
    """Why arrays are no predictions over this tree."""
    names = [
        "clip_ids",
        "video_ids",
        "places",
        "seen",
        *(f"{part}_{level}" for part in ("logits", "labels") for level in LEVELS),
    ]
    if absent := [name for name in names if name not in arrays]:
        return f"no array {', '.join(absent)}"
    clips = len(arrays["clip_ids"]) if arrays["clip_ids"].ndim else 0
    wanted: dict[str, tuple[str, tuple[int, ...]]] = {"clip_ids": ("U", (clips,)), "video_ids": ("U", (clips,))}
    wanted |= {"places": ("float64", (clips, 2)), "seen": ("bool", (clips,))}
    wanted |= {name: ("float32", (clips,)) for name in _AUXILIARY if name in arrays}
    for level, size in taxonomy.sizes.items():
        wanted |= {f"logits_{level}": ("float32", (clips, size)), f"labels_{level}": ("int64", (clips,))}
    if "scene" in arrays:
        wanted["scene"] = ("float32", (clips, *arrays["scene"].shape[1:2]))
    for name, (kind, shape) in wanted.items():
        array = arrays[name]
        if array.shape != shape or kind not in (array.dtype.kind, array.dtype.name):
            return f"{name} is {array.dtype} {array.shape}, where {clips} clips of this tree have {kind} {shape}"
        if kind == "float32" and not np.isfinite(array).all():
            return f"{name} holds numbers that are not finite"
    for level, size in taxonomy.sizes.items():
        labels = arrays[f"labels_{level}"]
        if clips and not 0 <= labels.min() <= labels.max() < size:
            return f"labels_{level} run from {labels.min()} to {labels.max()}, the tree has 0 to {size - 1}"
    degrees = np.nan_to_num(np.abs(arrays["places"]), nan=0.0, posinf=np.inf)
    if (degrees > (90, 180)).any():
        return "places lie beyond 90 degrees of latitude or 180 of longitude"
    return None
