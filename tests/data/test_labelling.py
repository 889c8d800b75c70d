"""Scenes of prepared frames by a classifier: once per frame, however often it is stopped."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import SMALL, make_release

from cityguessr.base.errors import InputError
from cityguessr.data.cityguessr68k import ReleaseSource
from cityguessr.data.clips import PreparedClips
from cityguessr.data.labelling import label_scenes
from cityguessr.data.prepare import prepare

SHARD = {**SMALL, "shard_clips": 3}  # twelve clips in four shards


class Brightness:
    """A classifier of 365 categories: a grey of v is category v. It counts what it is shown, and may fail."""

    name, version = "Brightness of a frame", "0123abcd"

    def __init__(self, scene_classes: int = 365, batches: int | None = None) -> None:
        self.scene_classes, self.left, self.seen = scene_classes, batches, 0

    def categories(self, frames: np.ndarray) -> np.ndarray:
        assert frames.shape == (5, 16, 16, 3)  # the last batch, too, is full
        if self.left == 0:
            raise KeyboardInterrupt
        self.left = None if self.left is None else self.left - 1
        self.seen += int((frames.reshape(5, -1).max(axis=1) > 0).sum())  # what fills a batch up is black
        return np.eye(365, dtype=np.float32)[frames[:, 8, 8, 0]]

    def scenes(self, categories: np.ndarray) -> np.ndarray:
        if self.scene_classes == 365:
            return categories
        return np.stack([categories[:, k::16].sum(axis=1) for k in range(16)], axis=1)


@pytest.fixture(autouse=True)
def own_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CITYGUESSR_ROOT", str(tmp_path))


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A release without scenes, in which no two frames are the same."""
    root = make_release(tmp_path / "world", scenes=False)
    for grey, file in enumerate(sorted(root.rglob("*.jpg"))):
        Image.fromarray(np.full((16, 16, 3), 5 + grey, np.uint8)).save(file, quality=95)
    return root


@pytest.fixture
def clips(release: Path, tmp_path: Path) -> PreparedClips:
    return prepare(ReleaseSource(release), tmp_path / "set", **SHARD)


def label(clips: PreparedClips, classifier: Brightness) -> PreparedClips:
    return label_scenes(clips.with_scenes(classifier.scene_classes), classifier, batch=5, report=lambda _: None)


def greys(clips: PreparedClips) -> Iterator[tuple[int, int]]:
    """The category of every frame, and its grey."""
    for split in (clips.split("train"), clips.split("val")):
        for i in range(len(split)):
            scenes = split.frame_scenes(i)
            assert scenes is not None
            yield from zip(scenes.argmax(dim=1).tolist(), split[i]["frames"][:, 0, 8, 8].tolist(), strict=True)


def test_every_frame_gets_the_scene_that_the_classifier_sees_in_it(clips: PreparedClips) -> None:
    labelled = label(clips, Brightness())
    pairs = list(greys(labelled))
    assert len(pairs) == 12 * 4
    assert all(category == grey for category, grey in pairs)
    assert labelled.scenes is not None
    assert labelled.scenes.origin == "Brightness of a frame (0123abcd)"


def test_how_long_it_takes_is_said_before_it_starts(clips: PreparedClips) -> None:
    said = []
    label_scenes(clips.with_scenes(365), Brightness(), batch=5, report=said.append)
    assert len(said) == 1
    assert said[0].startswith("set: scenes of 48 frames to find, at ")
    assert "frames/s about" in said[0]


@pytest.mark.parametrize("batches", [3, 6, 12])
def test_a_labelling_that_was_stopped_goes_on_and_ends_with_the_same_table(clips: PreparedClips, batches: int) -> None:
    # two batches are looked at beforehand, for the forecast; a shard of three clips is three more
    with pytest.raises(KeyboardInterrupt):
        label(clips, Brightness(batches=batches))
    assert not PreparedClips.load(clips.folder, 365).labelled
    rest = Brightness()
    resumed = label(clips, rest)
    done = (batches - 2) // 3 * 12
    assert rest.seen == 48 - done + 10
    assert resumed.scenes is not None
    there = resumed.scenes.digest
    for file in (clips.folder.parent / "data" / "scenes").rglob("*.npz"):
        file.unlink()
    (clips.folder / "scenes" / f"{resumed.scenes.name}.parquet").unlink()
    again = prepare(ReleaseSource(clips.folder.parent / "world"), clips.folder, **SHARD)
    whole = label(again, Brightness())
    assert whole.scenes is not None
    assert whole.scenes.digest == there


def test_one_pass_gives_the_labels_of_sixteen_and_of_365_classes(clips: PreparedClips) -> None:
    label(clips, Brightness())
    coarse = Brightness(16)
    labelled = label(clips, coarse)
    assert coarse.seen == 0
    assert all(scene == grey % 16 for scene, grey in greys(labelled))


def test_only_the_frames_of_a_clip_that_was_mended_are_looked_at_again(clips: PreparedClips, release: Path) -> None:
    label(clips, Brightness())
    for file in (release / "train" / "Paris" / "Paris_0001").glob("*.jpg"):
        Image.fromarray(np.full((16, 16, 3), 250, np.uint8)).save(file, quality=95)
    mended = prepare(ReleaseSource(release), clips.folder, **SHARD)
    classifier = Brightness()
    labelled = label(mended, classifier)
    assert classifier.seen == 1 + 10  # four equal frames, and those of the forecast
    assert sum(category == 250 for category, _ in greys(labelled)) == 4


def test_what_was_kept_and_is_damaged_is_looked_at_again(clips: PreparedClips, tmp_path: Path) -> None:
    digest = label(clips, Brightness()).scenes.digest
    file = sorted((tmp_path / "data" / "scenes" / "0123abcd").glob("*.npz"))[0]
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    classifier = Brightness(16)
    label(clips, classifier)
    assert classifier.seen == 12 + 10
    assert label(clips, Brightness()).scenes.digest == digest


def test_a_classifier_of_another_number_of_scenes_is_refused(clips: PreparedClips) -> None:
    with pytest.raises(InputError, match="the classifier gives 365 scenes and the clip format wants 16"):
        label_scenes(clips.with_scenes(16), Brightness(365))
