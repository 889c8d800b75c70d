"""Which scene labels a system learns from, and where those of single frames come from."""

from pathlib import Path

import numpy as np
import pytest
from support import make_release, small

from cityguessr.base.errors import MissingWeights
from cityguessr.data.cityguessr68k import ReleaseSource
from cityguessr.data.clips import PreparedClips
from cityguessr.data.prepare import prepare
from cityguessr.training import experiments, finished, scene_labels


class Labeller:
    """Sees scene 3 in every frame."""

    name, version, scene_classes = "a classifier", "0a", 16

    def categories(self, frames: np.ndarray) -> np.ndarray:
        return np.tile(np.eye(16, dtype=np.float32)[3], (len(frames), 1))

    def scenes(self, categories: np.ndarray) -> np.ndarray:
        return categories


def no_weights() -> Labeller:
    raise MissingWeights("resnet50_places365.pth.tar is not on this machine")


@pytest.fixture
def clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PreparedClips:
    monkeypatch.setenv("CITYGUESSR_ROOT", str(tmp_path))
    return prepare(ReleaseSource(make_release(tmp_path / "release")), tmp_path / "prepared", **small())


def test_systems_that_see_single_frames_or_finer_scenes_need_labels_of_frames() -> None:
    """The release labels clips as a whole, which is all that the full model and the rows of Table 3 need."""
    found = {name: scene_labels.needed(e.config("cityguessr68k")) for name, e in experiments.EXPERIMENTS.items()}
    assert {name for name, scenes in found.items() if scenes == "frame"} == {"isns", "geodecoder", "scenes_365"}
    assert {"cityguessr", "scenes_soft", "scenes_majority", "no_tla"} <= {n for n, s in found.items() if s == "clip"}
    assert {"videomae", "mae_first", "planet", "timesformer"} <= {n for n, s in found.items() if s is None}
    first = experiments.get("scenes_soft").config("cityguessr68k").replace(scene_labels="first")
    assert scene_labels.needed(first) == "frame"


def test_a_classifier_labels_the_frames_of_clips_that_are_labelled_as_a_whole(clips: PreparedClips) -> None:
    assert not scene_labels.are_by_frame(clips)
    frames = scene_labels.by_frame(clips, Labeller)
    assert scene_labels.are_by_frame(frames)
    assert frames.split("train").frame_scenes(0).argmax(dim=1).tolist() == [3] * 4
    assert clips.split("train").frame_scenes(0).shape == (1, 16)  # the authors' labels are still there
    assert frames.fingerprint != clips.fingerprint
    again = scene_labels.by_frame(PreparedClips.load(clips.folder), no_weights)  # given once, they are kept
    assert again.fingerprint == frames.fingerprint
    for each in (clips, frames):  # a run finds the labels that it was trained with
        assert finished.clips_of(clips.folder, 16, each.fingerprint).fingerprint == each.fingerprint


def test_without_a_classifier_a_system_of_single_frames_cannot_be_trained(clips: PreparedClips) -> None:
    with pytest.raises(MissingWeights, match=r"prepared are those of clips as a whole, .*single frames; resnet50"):
        scene_labels.by_frame(clips, no_weights)
