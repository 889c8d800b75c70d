"""Pictures: the very frame that the clip has there, at reading size."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support import make_release, picture

from cityguessr.base.errors import InputError
from cityguessr.config import ClipFormat
from cityguessr.data.cityguessr68k import ReleaseSource
from cityguessr.data.clips import PreparedClips
from cityguessr.data.prepare import prepare
from cityguessr.data.sampling import frame_indices
from cityguessr.figures import pictures
from cityguessr.miniworld import MapillaryConfig, MiniWorld, MiniWorldConfig, write_cityguessr68k
from cityguessr.taxonomy import Taxonomy
from cityguessr.training import datasets

CITIES = ("London", "Tokyo")
TINY = MiniWorldConfig(clips_per_city=5, clips_min=5, clip_source_frames=12, kept_frames=8, height=64, width=96)
FRAMES = 4


@pytest.fixture(scope="module")
def world() -> MiniWorld:
    return MiniWorld(TINY, Taxonomy.cityguessr68k().subset(CITIES))


@pytest.fixture(scope="module")
def synthetic(world: MiniWorld, tmp_path_factory: pytest.TempPathFactory) -> PreparedClips:
    root = tmp_path_factory.mktemp("world")
    return prepare(
        ReleaseSource(write_cityguessr68k(world, root)), root / "prepared", ClipFormat(FRAMES, 64), workers=1
    )


@pytest.fixture
def this_world(world: MiniWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "_world", lambda profile: world)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> tuple[PreparedClips, Path]:
    """A release whose frame n is an even grey of 2 n; 20 frames of 64 x 48 a clip."""
    root = tmp_path_factory.mktemp("real")
    release = make_release(root / "data", clips=3)
    return prepare(ReleaseSource(release), root / "prepared", ClipFormat(FRAMES, 32), workers=1), release


def apart(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(float) - b.astype(float)).mean())


@pytest.mark.usefixtures("this_world")
def test_a_rendered_picture_is_the_frame_that_the_model_saw(synthetic: PreparedClips) -> None:
    """Scaled down to the prepared frame's size it is that frame, nearer to it than to any other of the split."""
    train = synthetic.split("train")
    prepared = train.frames_tensor().permute(0, 1, 3, 4, 2).numpy()  # (N, T, 64, 64, 3)
    kept = TINY.kept_frames
    for t, index in enumerate(frame_indices(kept, FRAMES)):
        shown = pictures.of(train, range(len(train)), "mini", at=index / (kept - 1), width=192)
        assert all(image.shape == (128, 192, 3) and image.dtype == np.uint8 for image in shown)
        for i, image in enumerate(shown):
            small = np.asarray(Image.fromarray(image).resize((64, 64), Image.Resampling.BILINEAR))
            off = np.array([[apart(small, frame) for frame in clip] for clip in prepared])
            nearest, next_best = np.sort(off.ravel())[:2]
            assert off[i, t] == nearest < 0.65 * next_best  # other rays, H.264 and JPEG lie between the two


@pytest.mark.usefixtures("this_world")
def test_size_order_and_repeats_are_as_asked(synthetic: PreparedClips) -> None:
    val = synthetic.split("val")
    together = pictures.of(val, [1, 0, 1], "mini", width=60)
    assert [image.shape for image in together] == [(40, 60, 3)] * 3
    np.testing.assert_array_equal(together[0], together[2])
    np.testing.assert_array_equal(together[1], pictures.of(val, torch.tensor([0]), "mini", width=60)[0])
    assert apart(together[0], together[1]) > 5
    first, last = (pictures.of(val, [0], "mini", at=at, width=60)[0] for at in (0, 1))
    assert apart(first, last) > 1
    assert pictures.of(val, [], "mini") == []


@pytest.mark.usefixtures("this_world")
def test_rendering_leaves_the_number_of_threads_alone(synthetic: PreparedClips) -> None:
    before = torch.get_num_threads()
    pictures.of(synthetic.split("val"), [0], "mini", width=32)
    assert torch.get_num_threads() == before


def test_clips_of_another_world_are_not_rendered_by_this_one(
    synthetic: PreparedClips, monkeypatch: pytest.MonkeyPatch, world: MiniWorld
) -> None:
    """Another seed has clips of the same names, and other streets: the prepared frames stand in."""
    val = synthetic.split("val")
    other = MiniWorld(MiniWorldConfig(**{**vars(TINY), "seed": 1}), world.taxonomy)
    assert other.find(val.clip_ids[0]) is not None
    monkeypatch.setattr(pictures, "_world", lambda profile: other)
    (image,) = pictures.of(val, [0], "mini")
    np.testing.assert_array_equal(image, val[0]["frames"][2].permute(1, 2, 0).numpy())


def test_a_world_finds_its_clips(world: MiniWorld) -> None:
    for video in world.videos:
        for clip in video.clips:
            assert world.find(clip.clip_id) == (video, clip)
    assert world.find("London_9999") is None


def test_the_profiles_world_is_the_one_that_preparation_writes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    written = []
    monkeypatch.setattr(datasets, "write_cityguessr68k", lambda world, *_, **__: written.append(world.config))
    monkeypatch.setitem(datasets.WORLDS, "paper", (MiniWorldConfig.mini(seed=9), MapillaryConfig.mini()))
    for name, seed in (("mini", 0), ("world68k", 9)):
        datasets.root(name, tmp_path / name)
        assert written[-1] == MiniWorldConfig.mini(seed=seed) == pictures._world.__wrapped__(name).config


def test_a_real_clip_shows_the_file_nearest_by_number(real: tuple[PreparedClips, Path]) -> None:
    val = real[0].split("val")
    for at, n in ((0.0, 1), (0.5, 11), (0.24, 6), (1.0, 20)):
        (image,) = pictures.of(val, [1], "cityguessr68k", real[1], at=at, width=40)
        assert image.shape == (30, 40, 3)
        assert apart(image, picture(2 * n, 40, 30)) < 1.5
    assert pictures.of(val, [1], "cityguessr68k", real[1])[0].shape == (48, 64, 3)  # never enlarged


def test_the_folder_above_a_release_will_do(real: tuple[PreparedClips, Path], tmp_path: Path) -> None:
    (tmp_path / "release").symlink_to(real[1])
    assert pictures.of(real[0].split("val"), [0], "cityguessr68k", tmp_path)[0].shape == (48, 64, 3)


def test_a_split_by_video_finds_clips_of_both_folders(real: tuple[PreparedClips, Path]) -> None:
    val = real[0].split("val")
    val.name = "train"  # a clip of the held-out videos that stands in the other folder
    assert pictures.of(val, [0], "cityguessr68k", real[1])[0].shape == (48, 64, 3)


def test_missing_and_damaged_frames_are_replaced_and_said(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    release = make_release(tmp_path / "data", clips=2)
    val = prepare(ReleaseSource(release), tmp_path / "prepared", ClipFormat(FRAMES, 32), workers=1).split("val")
    capsys.readouterr()
    whole, cut, gone = val.clip_ids
    folder = release / "val"
    (folder / cut.rsplit("_", 1)[0] / cut / "11.jpg").write_bytes(b"\xff\xd8 not a picture")
    for file in (folder / gone.rsplit("_", 1)[0] / gone).iterdir():
        file.unlink()
    shown = pictures.of(val, [0, 1, 2], "cityguessr68k", release)
    assert [image.shape for image in shown] == [(48, 64, 3), (32, 32, 3), (32, 32, 3)]
    said = capsys.readouterr().out
    assert said.startswith("pictures: 2 of 3 come from the prepared clips, the first because ")
    assert "11.jpg: not a whole image" in said
    assert whole not in said


def test_without_the_files_the_prepared_frame_is_shown(real: tuple[PreparedClips, Path]) -> None:
    val = real[0].split("val")
    (image,) = pictures.of(val, [0], "cityguessr68k")
    np.testing.assert_array_equal(image, val[0]["frames"][2].permute(1, 2, 0).numpy())
    (image,) = pictures.of(val, [0], "msls", at=0, width=16)
    assert image.shape == (16, 16, 3)
    assert apart(image, val[0]["frames"][0, :, :16, :16].permute(1, 2, 0).numpy()) < 2


@pytest.mark.usefixtures("this_world")
def test_real_clips_are_never_rendered(real: tuple[PreparedClips, Path]) -> None:
    val = real[0].split("val")
    assert pictures.of(val, [0], "mini")[0].shape == (32, 32, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"which": [3]}, "clip 3: the split has clips 0 to 2"),
        ({"which": [-1]}, "clip -1"),
        ({"which": [0.5]}, "whole numbers"),
        ({"at": 1.2}, "at=1.2"),
        ({"at": float("nan")}, "at=nan"),
        ({"width": 4}, "width=4"),
        ({"profile": "minni"}, "no profile 'minni'"),
        ({"data_root": "nowhere/at/all"}, "nowhere/at/all.*no such folder"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(
    real: tuple[PreparedClips, Path], change: dict[str, object], message: str
) -> None:
    given = {"which": [0], "profile": "cityguessr68k", "data_root": real[1]} | change
    with pytest.raises(InputError, match=message):
        pictures.of(real[0].split("val"), **given)
