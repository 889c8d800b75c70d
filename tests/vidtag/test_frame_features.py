"""Features of frozen encoders: computed once, kept by their content, and gone on with."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from cityguessr.base import paths
from cityguessr.base.errors import InputError
from cityguessr.data.pictures import shorten
from cityguessr.tracks import Track, Tracks, read_frames
from cityguessr.vidtag import encoders, features, views


def tracks(folder: Path, lengths: dict[str, int]) -> Tracks:
    rng = np.random.default_rng(0)
    made = []
    for name, length in lengths.items():
        files = tuple(folder / f"{name}-{frame}.png" for frame in range(length))
        for file in files:
            Image.fromarray(rng.integers(0, 128, (72, 96, 3), np.uint8)).save(file)
        split = "val" if name.startswith("v") else "train"
        made.append(Track(name, "lyon", split, np.full((length, 2), 45.0), files))
    return Tracks("toy", tuple(made), pd.DataFrame(columns=["where", "what", "reason", "count", "kept", "example"]))


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tracks:
    monkeypatch.setattr(paths, "data", lambda: tmp_path / "data")
    return tracks(tmp_path, {"a": 3, "b": 2, "v": 4})


def test_a_training_frame_has_five_views_and_a_validation_frame_one(toy: Tracks) -> None:
    kept = features.compute(toy, "appearance")
    a, b, v = (kept.of(track) for track in toy.tracks)
    assert (a.shape, b.shape, v.shape) == ((3, 5, 128), (2, 5, 128), (4, 1, 128))
    assert a.dtype == torch.float16
    shown = torch.from_numpy(read_frames(toy.tracks[2], 64)).permute(0, 3, 1, 2)
    assert torch.allclose(v[:, 0].float(), encoders.load("appearance")(shown), rtol=1e-3, atol=1e-3)  # float16
    joined = features.joined([kept, features.compute(toy, "semantic")], toy.tracks[0])
    assert joined.shape == (3, 5, 128 + 96)
    assert torch.equal(joined[..., :128], a)


def test_what_is_there_is_not_computed_again_and_what_is_missing_is(toy: Tracks) -> None:
    loads: list[str] = []

    def load(name: str, **options: object) -> encoders.FrameEncoder:
        loads.append(name)
        return encoders.load(name)

    kept = features.compute(toy, "appearance", load=load)
    before = [kept.of(track) for track in toy.tracks]
    features.compute(toy, "appearance", load=load)
    assert loads == ["appearance"]
    kept.file(toy.tracks[1]).unlink()
    again = features.compute(toy, "appearance", load=load, batch=3)
    assert loads == ["appearance"] * 2
    for track, array in zip(toy.tracks, before, strict=True):
        assert torch.allclose(again.of(track).float(), array.float(), atol=1e-2)


def test_other_tracks_another_encoder_and_other_crops_have_a_folder_of_their_own(toy: Tracks, tmp_path: Path) -> None:
    folders = {
        features.compute(toy, "appearance").folder,
        features.compute(toy, "semantic").folder,
        features.compute(toy, "appearance", seed=1).folder,
        features.compute(tracks(tmp_path, {"a": 3, "c": 2}), "appearance").folder,
    }
    assert len(folders) == 4


def test_a_damaged_file_is_named(toy: Tracks) -> None:
    kept = features.compute(toy, "appearance")
    kept.file(toy.tracks[0]).write_bytes(b"half")
    with pytest.raises(InputError, match=r"\.npy: no features of a .*compute again"):
        kept.of(toy.tracks[0])
    np.save(kept.file(toy.tracks[1]), np.zeros((2, 5, 7), np.float16))
    with pytest.raises(InputError, match=r"\(2, 5, 7\) numbers for 2 frames of b"):
        kept.of(toy.tracks[1])


def test_crops_keep_at_least_sixty_percent_and_are_the_same_in_every_process() -> None:
    ramp = torch.arange(100, dtype=torch.uint8).expand(1, 3, 100, 100)  # a pixel is its column
    crops = views.cropped(ramp, 50, views.seeded("a"), views=200)
    assert torch.equal(crops, views.cropped(ramp, 50, views.seeded("a"), views=200))
    assert not torch.equal(crops, views.cropped(ramp, 50, views.seeded("b"), views=200))
    first, last = crops[0, :, 0, 0, 0].int(), crops[0, :, 0, 0, -1].int()
    widths = (last - first).abs()
    assert widths.min() >= 100 * 0.6**0.5 - 5
    assert widths.max() <= 99
    assert 0.4 < (last < first).float().mean() < 0.6  # turned left to right


def test_ten_crops_are_four_corners_and_the_middle_and_the_same_mirrored() -> None:
    down, across = torch.meshgrid(torch.arange(4), torch.arange(7), indexing="ij")
    picture = torch.stack([down, across, torch.zeros_like(down)]).byte()  # a pixel says where it is
    crops = views.ten_crops(picture, 4)
    assert crops.shape == (10, 3, 4, 4)
    assert crops[:5, 1, 0, 0].tolist() == [0, 3, 0, 3, 2]  # 1.5 is rounded to the even number, as torchvision does
    assert crops[:5, 0, 0, 0].tolist() == [0] * 5
    tall = views.ten_crops(picture.mT, 4)
    assert tall[:5, 0, 0, 0].tolist() == [0, 0, 0, 0, 0]
    assert tall[:5, 1, 0, 0].tolist() == [0, 0, 3, 3, 2]
    mirrored = views.ten_crops(picture.flip(-1), 4)
    assert torch.equal(crops[5:], mirrored[:5])
    assert torch.equal(crops[:5], mirrored[5:])


def test_ten_crops_are_those_of_torchvision() -> None:
    transforms = pytest.importorskip("torchvision.transforms")
    image = Image.fromarray(np.random.default_rng(0).integers(0, 128, (61, 97, 3), np.uint8))
    theirs = transforms.TenCrop(32)(transforms.Resize(32)(image))
    ours = views.ten_crops(torch.from_numpy(np.array(shorten(image, 32))).permute(2, 0, 1), 32)
    for one, other in zip(theirs, ours, strict=True):
        assert np.array_equal(np.asarray(one), other.permute(1, 2, 0).numpy())


def test_ten_crops_of_validation_stand_beside_the_whole_and_training_is_shared(toy: Tracks) -> None:
    whole = features.compute(toy, "appearance")
    names = sorted(path.name for path in whole.folder.rglob("*.npy"))
    written = {path: path.stat().st_mtime_ns for path in whole.folder.rglob("*.npy")}
    crops = features.compute(toy, "appearance", validation="ten_crops", batch=20)  # two frames at a time
    assert crops.folder == whole.folder
    assert {path: path.stat().st_mtime_ns for path in written} == written  # nothing was computed again
    added = {path.name for path in whole.folder.rglob("*.npy")} - set(names)
    assert added == {whole.file(toy.tracks[2]).name.replace(".npy", "-ten_crops.npy")}
    assert crops.of(toy.tracks[2]).shape == (4, 10, 128)
    assert whole.of(toy.tracks[2]).shape == (4, 1, 128)
    assert torch.equal(crops.of(toy.tracks[0]), whole.of(toy.tracks[0]))
    # Crops (T, 10) stand frame by frame: the third frame's are its own.
    picture = Image.open(toy.tracks[2].pictures[2]).resize((85, 64), Image.Resampling.BILINEAR)  # of 96 x 72
    shown = views.ten_crops(torch.from_numpy(np.array(picture)).permute(2, 0, 1), 64)
    expected = encoders.load("appearance")(shown)
    assert torch.allclose(crops.of(toy.tracks[2])[2].float(), expected, rtol=2e-3, atol=2e-3)  # float16
    with pytest.raises(InputError, match="no validation_views 'five'; it is one of whole, ten_crops"):
        features.compute(toy, "appearance", validation="five")


def test_one_split_alone_can_be_computed(toy: Tracks) -> None:
    kept = features.compute(toy, "appearance", split="val")
    assert kept.of(toy.tracks[2]).shape == (4, 1, 128)
    assert [track.name for track in toy.tracks if kept.file(track).is_file()] == ["v"]
