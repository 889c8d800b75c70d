"""Rendered straight to prepared clips: all but the pixels is as over the files, and the pictures show the same."""

import os
import shutil
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from support import full_after, one_line

from cityguessr.base import files
from cityguessr.base.errors import InputError
from cityguessr.config import ClipFormat
from cityguessr.data.cityguessr68k import ReleaseSource
from cityguessr.data.clips import PreparedClips
from cityguessr.data.prepare import prepare
from cityguessr.miniworld import MiniWorld, MiniWorldConfig, write_cityguessr68k, write_prepared
from cityguessr.miniworld.write import prepared as writing
from cityguessr.taxonomy import Taxonomy
from cityguessr.training import datasets

CITIES = ("London", "Tokyo", "Lyon", "Marseille")
TINY = MiniWorldConfig(clips_per_city=6, clips_min=5, clip_source_frames=6, kept_frames=5, height=32, width=48)
FORMAT = ClipFormat(2, 32)
FORMATS = (FORMAT, ClipFormat(1, 24, "released"), ClipFormat(5, 16, "uniform", 365))


@pytest.fixture(scope="module")
def world() -> MiniWorld:
    return MiniWorld(TINY, Taxonomy.cityguessr68k().subset(CITIES))


@pytest.fixture(scope="module")
def direct(world: MiniWorld, tmp_path_factory: pytest.TempPathFactory) -> PreparedClips:
    return write_prepared(world, tmp_path_factory.mktemp("direct") / "set", FORMAT, workers=1)


@pytest.fixture(scope="module")
def release(world: MiniWorld, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cityguessr68k(world, tmp_path_factory.mktemp("world"), workers=2)


def rows(prepared: PreparedClips, frames: bool = False) -> list[dict]:
    """Every row of a set, in order."""
    shards = [
        row for one in prepared.meta["shards"] for row in pq.read_table(prepared.folder / one["file"]).to_pylist()
    ]
    index, scenes = (pq.read_table(prepared.folder / name).to_pylist() for name in ("index.parquet", _table(prepared)))
    return [
        {name: value for name, value in (shard | known | labels).items() if frames or name != "frames"}
        for shard, known, labels in zip(shards, index, scenes, strict=True)
    ]


def _table(prepared: PreparedClips) -> str:
    return f"scenes/source-{prepared.scene_classes}.parquet"


@pytest.mark.parametrize("clip_format", FORMATS, ids=str)
def test_all_but_the_pixels_is_as_over_videos_and_files(
    world: MiniWorld, release: Path, tmp_path: Path, clip_format: ClipFormat
) -> None:
    straight = write_prepared(world, tmp_path / "set", clip_format, workers=1)
    source = ReleaseSource(release, scene_classes=clip_format.scene_classes)
    over_files = prepare(source, tmp_path / "files", clip_format, workers=1)
    assert rows(straight) == rows(over_files)
    for name in ("taxonomy.csv", "rejected.csv"):
        assert (straight.folder / name).read_bytes() == (over_files.folder / name).read_bytes()
    same = (
        "format",
        "frames",
        "size",
        "sampling",
        "quality",
        "synthetic",
        "clips",
        "counts",
    )
    assert {key: straight.meta[key] for key in same} == {key: over_files.meta[key] for key in same}
    assert straight.scenes.digest == over_files.scenes.digest
    assert straight.meta["content"]["labels"] == over_files.meta["content"]["labels"]
    assert straight.videos_digest == over_files.videos_digest
    assert straight.meta["source"] == "MiniWorld, rendered directly"
    assert straight.meta["world"] == world.fingerprint
    assert straight.fingerprint != over_files.fingerprint
    here, there = (prepared.split("val") for prepared in (straight, over_files))
    assert here[0].keys() == there[0].keys()
    assert here[0]["frames"].shape == there[0]["frames"].shape


def test_the_pictures_show_what_the_shrunk_ones_show(tmp_path: Path) -> None:
    size = ClipFormat(2, 32)
    change = {"height": 96, "width": 172, "samples": 2, "clips_per_city": 4, "clips_min": 4, "kept_frames": 2}
    large = MiniWorld(MiniWorldConfig(**(vars(TINY) | change)), Taxonomy.cityguessr68k().subset(CITIES[:2]))
    straight = write_prepared(large, tmp_path / "set", size, workers=1, samples=2).split("val")
    over_files = prepare(
        ReleaseSource(write_cityguessr68k(large, tmp_path / "files")), tmp_path / "prepared", size, workers=1
    ).split("val")
    here, there = (split.frames_tensor().float() for split in (straight, over_files))
    apart = (here - there).abs().mean()
    assert apart < 6
    assert apart < 0.2 * (here - there.roll(1, 0)).abs().mean()  # another clip is far away
    assert apart < 0.5 * (here - there.roll(2, -1)).abs().mean()  # and so is the same picture shifted by two pixels


@pytest.mark.parametrize("change", [{"workers": 2}, {"shard_clips": 5}, {"shard_clips": 5, "workers": 2}])
def test_the_division_of_the_work_changes_nothing(
    world: MiniWorld, direct: PreparedClips, tmp_path: Path, change: dict[str, int]
) -> None:
    other = write_prepared(world, tmp_path / "set", FORMAT, **({"workers": 1} | change))
    assert other.fingerprint == direct.fingerprint
    assert rows(other, frames=True) == rows(direct, frames=True)


def test_a_gpu_that_renders_video_by_video_in_one_process_writes_the_same_rows(
    world: MiniWorld, direct: PreparedClips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way of a GPU, with a processor in its place: threads, and the clips of a video at once."""
    start = writing.ClipRenderer.__init__

    def like_a_gpu(self: writing.ClipRenderer, *arguments: object) -> None:
        start(self, *arguments)
        self.on_gpu, self.encoders = True, 3

    monkeypatch.setattr(writing.ClipRenderer, "__init__", like_a_gpu)
    monkeypatch.setattr(writing.torch.cuda, "get_device_name", lambda _: "a card")
    other = write_prepared(world, tmp_path / "set", FORMAT, shard_clips=5)
    assert rows(other) == rows(direct)
    for split in ("train", "val"):
        here, there = (prepared.split(split).frames_tensor().int() for prepared in (other, direct))
        assert (here - there).abs().max() <= 4  # the last bit of a colour, before JPEG


def test_a_frame_rendered_apart_does_not_depend_on_the_others(world: MiniWorld) -> None:
    long = MiniWorld(MiniWorldConfig(**{**vars(TINY), "clip_source_frames": 200, "fps": 4}), world.taxonomy)
    differs = 0
    for video in long.videos:
        frames = list(range(0, video.frames, 40))
        together = long.render(video, 32, 32, frames=frames, apart=True).int()
        for picture, frame in zip(together, frames, strict=True):
            alone = long.render(video, 32, 32, frames=[frame], apart=True)[0].int()
            assert (picture - alone).abs().max() <= 1
            assert torch.equal(alone, long.render(video, 32, 32, frames=[frame])[0].int())
        differs += int((together - long.render(video, 32, 32, frames=frames).int()).abs().max() > 1)
    assert differs  # what is far away is drawn with frames that have it near, unless they are rendered apart


def test_a_field_of_view_is_squeezed_into_the_picture(world: MiniWorld) -> None:
    video = world.videos[2]
    wide = world.render(video, 72, 128, frames=[3], samples=4)
    shrunk = torch.nn.functional.adaptive_avg_pool2d(wide.permute(0, 3, 1, 2).float(), 36).permute(0, 2, 3, 1)
    squeezed, square = (
        world.render(video, 36, 36, frames=[3], samples=4, field=field).float() for field in ((72, 128), None)
    )
    assert (squeezed - shrunk).abs().mean() < 0.3 * (square - shrunk).abs().mean()
    assert torch.equal(world.render(video, 36, 36, field=(50, 50)), world.render(video, 36, 36))


# ---- before and while it is written


def test_a_set_that_was_killed_goes_on_and_ends_with_the_same_rows(
    world: MiniWorld, direct: PreparedClips, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder, listed = tmp_path / "set", direct.meta["clips"]["listed"]
    program = (
        "from test_prepared import *\n"
        f"world = MiniWorld(TINY, Taxonomy.cityguessr68k().subset(CITIES))\n"
        f"write_prepared(world, {str(folder)!r}, FORMAT, workers=1, shard_clips=1)"
    )
    paths = os.pathsep.join(map(str, (Path(__file__).parent, Path(__file__).parents[1], Path(__file__).parents[2])))
    process = subprocess.Popen([sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": paths})
    while len(list(folder.glob("clips-*.parquet"))) < 3 and process.poll() is None:
        time.sleep(0.005)
    process.kill()
    process.wait()
    with pytest.raises(InputError, match="did not finish; run it again"):
        PreparedClips.load(folder)
    kept = {path: path.stat().st_mtime_ns for path in folder.glob("clips-*.parquet")}
    assert 3 <= len(kept) < listed
    capsys.readouterr()
    again = write_prepared(world, folder, FORMAT, workers=1, shard_clips=1)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert again.fingerprint == direct.fingerprint
    printed = capsys.readouterr().out
    assert f"{len(kept)} of {listed} are there already" in printed
    assert f"set: {listed - len(kept)} more clips x 2 frames of 32 px" in printed


def test_how_long_and_how_large_is_printed_before_it_starts(
    world: MiniWorld, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    prepared = write_prepared(world, tmp_path / "set", FORMAT, workers=1)
    first, *others = capsys.readouterr().out.splitlines()
    listed = prepared.meta["clips"]["listed"]
    assert first.startswith(f"set: {listed} clips x 2 frames of 32 px, about 0.1 MB in ")
    assert first.endswith(" s on 1 process; it can be stopped and goes on where it stopped")
    assert others[0].startswith("preparing set")
    (shard,) = prepared.meta["shards"]
    size = (prepared.folder / shard["file"]).stat().st_size
    expected = sum(len(frame) for row in rows(prepared, frames=True) for frame in row["frames"])
    assert expected < size < expected + listed * 1500
    write_prepared(world, tmp_path / "set", FORMAT, workers=1)
    assert capsys.readouterr().out == ""  # a whole set needs no time


def test_a_disk_that_is_too_small_is_named_before_it_starts(
    world: MiniWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**6, 10**6 - 7000, 7000))
    with pytest.raises(InputError, match=r"set: the clips take about 0\.1 MB and 0\.0 MB are free; free some") as error:
        write_prepared(world, tmp_path / "set", FORMAT, workers=1)
    one_line(error)
    assert not list((tmp_path / "set").glob("clips-*"))


def test_a_disk_that_fills_up_leaves_finished_shards(
    world: MiniWorld, direct: PreparedClips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files.os, "fsync", full_after(3))  # the plan and two shards fit
    with pytest.raises(InputError, match="the disk is full; free some space"):
        write_prepared(world, tmp_path / "set", FORMAT, workers=1, shard_clips=5)
    assert len(list((tmp_path / "set").glob("clips-*.parquet"))) == 2
    monkeypatch.undo()
    again = write_prepared(world, tmp_path / "set", FORMAT, workers=1, shard_clips=5)
    assert again.fingerprint == direct.fingerprint


def test_what_cannot_be_rendered_is_named(world: MiniWorld, direct: PreparedClips, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="kept_frames=5: 9 frames are needed and there are 5"):
        write_prepared(world, tmp_path / "set", ClipFormat(9, 32))
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="no GPU for device='cuda' on this machine"):
            write_prepared(world, tmp_path / "set", FORMAT, device="cuda")
    with pytest.raises(InputError, match="no device 'graphics'"):
        write_prepared(world, tmp_path / "set", FORMAT, device="graphics")
    other = MiniWorld(MiniWorldConfig(**{**vars(TINY), "seed": 1}), world.taxonomy)
    with pytest.raises(InputError, match=f"world '{world.fingerprint}', now '{other.fingerprint}'"):
        write_prepared(other, direct.folder, FORMAT)


def test_a_failing_renderer_stops_the_preparation(
    world: MiniWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clip that cannot be read is left out; one that cannot be rendered is a fault of the program."""

    def fails(*_: object, **__: object) -> torch.Tensor:
        raise error

    monkeypatch.setattr(MiniWorld, "render", fails)
    error = RuntimeError("no picture today")
    with pytest.raises(RuntimeError, match="no picture today"):
        write_prepared(world, tmp_path / "set", FORMAT, workers=1)
    error = torch.OutOfMemoryError("tried to allocate")
    with pytest.raises(InputError, match="cpu: too little free memory to render; end what else uses it"):
        write_prepared(world, tmp_path / "set", FORMAT, workers=1)


def test_the_papers_size_is_rendered_directly_and_the_small_world_over_files(
    world: MiniWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CITYGUESSR_ROOT", str(tmp_path))
    small = MiniWorldConfig(**{**vars(TINY), "clips_per_city": 2, "clips_min": 2, "kept_frames": 2})
    monkeypatch.setattr(datasets, "MiniWorld", lambda config: MiniWorld(config, world.taxonomy))
    monkeypatch.setitem(datasets.WORLDS, "paper", (small, datasets.WORLDS["paper"][1]))
    monkeypatch.setattr(datasets, "write_cityguessr68k", lambda *_, **__: pytest.fail("files are written"))
    size = ClipFormat(1, 16)
    clips = datasets.prepared("world68k", size, workers=1)
    assert clips.folder == tmp_path / "data" / "prepared" / "world68k-uniform-1x16"
    assert clips.meta["source"] == "MiniWorld, rendered directly"
    assert clips.meta["clips"] == {"listed": 8, "prepared": 8, "rejected": 0}
    assert datasets.prepared("world68k", size).fingerprint == clips.fingerprint
    again = datasets.rendered(small, size, tmp_path / "elsewhere", device="cpu", workers=1)
    assert again.fingerprint == clips.fingerprint
    for profile, root in (("mini", None), ("world68k", tmp_path / "files")):
        with pytest.raises(pytest.fail.Exception, match="files are written"):
            datasets.prepared(profile, size, root)


def test_pictures_of_an_index_read_as_any_others(direct: PreparedClips) -> None:
    clip = PreparedClips.load(direct.folder).split("train")[0]
    assert clip["frames"].shape == (2, 3, 32, 32)
    assert clip["frames"].float().std() > 5
    assert clip["frame_scenes"].sum(1).tolist() == [1.0, 1.0]
    assert np.isfinite(direct.split("train").gps(0).numpy()).all()
