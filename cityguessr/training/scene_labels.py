"""Which scene labels a system learns from: those of clips as a whole, as the release has them, or those of frames."""

from collections.abc import Callable
from typing import Literal

from cityguessr.base.errors import MissingWeights
from cityguessr.config import ModelConfig
from cityguessr.data.clips import PreparedClips
from cityguessr.data.labelling import Classifier, label_scenes
from cityguessr.data.sources import SPLITS
from cityguessr.scenes import SCENES

Scenes = Literal["clip", "frame"]
"""Whether one label for a whole clip is enough, as the 16 columns of the release give it, or every frame needs one."""


def needed(config: ModelConfig) -> Scenes | None:
    """Which scene labels a system learns from, or is routed by; None for one that takes no notice of scenes.

    The release labels clips as a whole, over all of their frames (section 4.3). That is the soft label, and decides the
    majority. It says nothing of the first frame, of the one frame that an image system sees (ISNs are routed by its
    scene, GeoDecoder learns it), and of 365 categories: these take a label for each frame.
    """
    if config.scene_labels is None and config.system != "isns":
        return None
    by_frame = config.frame is not None or config.scene_labels == "first" or config.scene_classes != len(SCENES)
    return "frame" if by_frame else "clip"


def are_by_frame(clips: PreparedClips) -> bool:
    """Whether the scenes in use are those of single frames. False where there are none."""
    for split in (clips.split(name) for name in SPLITS if clips.meta["counts"][name]["clips"]):
        for i in range(len(split)):
            scenes = split.frame_scenes(i)
            if scenes is not None:
                return len(scenes) == clips.meta["frames"]
    return False


def by_frame(clips: PreparedClips, labeller: Callable[[], Classifier]) -> PreparedClips:
    """The same clips with the scenes of every frame in use: those they have, or those that a classifier sees.

    A table that a classifier gave earlier is taken as it is, also where its weights are gone.

    Args:
        labeller: makes the classifier; it is asked for only where it may be needed.

    Raises MissingWeights where its weights are not on this machine and no table is there.
    """
    if are_by_frame(clips):
        return clips
    try:
        return label_scenes(clips, labeller())
    except MissingWeights as error:
        for name, table in clips.meta["scenes"].items():
            other = clips.with_scenes(name) if table["classes"] == clips.scene_classes else clips
            if other.labelled and are_by_frame(other):
                return other
        raise MissingWeights(
            f"the scenes of {clips.name} are those of clips as a whole, and this system needs those of single frames; "
            f"{error}"
        ) from None
