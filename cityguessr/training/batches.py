"""What a training draws its batches from: frames, labels and scene labels of a split, in an order set by a seed."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from cityguessr.base.errors import InputError
from cityguessr.config import ModelConfig
from cityguessr.data.clips import ClipDataset
from cityguessr.scenes import scene_label
from cityguessr.taxonomy import LEVELS

IN_MEMORY = 2 * 1024**3  # bytes of decoded frames that a training without workers may keep


class ClipTensors(Dataset):
    """A split of prepared clips as the loop wants it: frames uint8 (T, 3, H, W), labels (4,), scenes (scene classes,).

    A video system gets all frames of a clip and the clip's scene label. An image system gets one frame, T = 1, and
    that frame's scenes: the first, the middle, the last, or a random one, which in training is drawn anew every epoch
    and for evaluation once, from the seed and the clip's place in the split.

    Args:
        training: whether random frames change with the epoch (`epoch`, set by the loop).
    """

    def __init__(
        self, clips: ClipDataset, config: ModelConfig, in_memory: bool, seed: int = 0, training: bool = False
    ) -> None:
        self.clips, self.frame = clips, config.frame
        self.labels = torch.stack([clips.labels[level] for level in LEVELS], dim=1)
        self.seed, self.training, self.epoch = seed, training, 0
        self.positions = torch.tensor([(config.frames - 1) // 2 if config.frame == "mid" else 0]).repeat(len(clips))
        if config.frame == "last":
            self.positions += config.frames - 1
        self.frames_a_clip = config.frames
        self.scenes = torch.zeros(len(clips), config.frames if config.frame else 1, config.scene_classes)
        if config.scene_labels or config.system == "isns":
            for index in range(len(clips)):
                self.scenes[index] = self._scenes(index, config)
        size = len(clips) * config.frames * 3 * config.size**2
        if in_memory and size > IN_MEMORY:
            raise InputError(f"{size / 1e9:.1f} GB of frames do not fit in memory; give the profile loader_workers > 0")
        self.frames = clips.frames_tensor() if in_memory else None
        self.start_epoch(0)

    def start_epoch(self, epoch: int) -> None:
        """Draw the random frames of an epoch; without effect on any other choice of frames."""
        if self.frame == "random":
            draw = self.seed * 1_000_003 + (epoch if self.training else 999_983)
            generator = torch.Generator().manual_seed(draw)
            self.positions = torch.randint(self.frames_a_clip, (len(self),), generator=generator)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        if self.frame is None:
            frames = self.clips[index]["frames"] if self.frames is None else self.frames[index]
            return frames, self.labels[index], self.scenes[index, 0]
        at = int(self.positions[index])
        frames = self.clips.frame(index, at) if self.frames is None else self.frames[index, at]
        return frames[None], self.labels[index], self.scenes[index, at]

    def _scenes(self, index: int, config: ModelConfig) -> Tensor:
        """The clip's scene label (1, scene classes), or for an image system those of each frame (T, scene classes)."""
        scenes = self.clips.frame_scenes(index)
        if scenes is None or scenes.isnan().any():
            raise InputError(
                f"clip {self.clips.clip_ids[index]}: no scene labels, which this system needs; prepare the data with a "
                "scene labeller (see cityguessr.data.places365), or train a system without scenes"
            )
        if scenes.shape[1] != config.scene_classes:
            raise InputError(
                f"clip {self.clips.clip_ids[index]}: labelled with {scenes.shape[1]} scenes, the model has "
                f"{config.scene_classes}; prepare the data for that number"
            )
        if config.frame is None:
            return scene_label(scenes, config.scene_labels)[None]
        return scenes / scenes.sum(dim=1, keepdim=True)  # one row stands for every frame of a clip labelled as a whole


class EpochSampler(Sampler[int]):
    """A permutation that depends on the seed and the epoch alone, so that a resumed epoch draws the same batches."""

    def __init__(self, length: int, seed: int) -> None:
        self.length, self.seed, self.epoch = length, seed, 0

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        yield from torch.randperm(self.length, generator=generator).tolist()
