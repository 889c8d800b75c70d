"""Batches that workers decode ahead are those of the data set, and a damaged frame stops them with a clear message."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from support import noisy_clips

from cityguessr.base.errors import InputError
from cityguessr.config import ModelConfig
from cityguessr.data.clips import ClipDataset, PreparedClips
from cityguessr.speed.loaders import AllFrames
from cityguessr.training import loading
from cityguessr.training.batches import Batches, ClipTensors, EpochOrder

CPU = torch.device("cpu")
BATCHES = [[4, 0, 7], [1, 2, 3], [8, 6, 5], [0, 0, 1], [2]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def train(home: Path) -> ClipDataset:
    return noisy_clips(home)


def batches_of(clips: ClipDataset, **options: int) -> loading.FrameBatches:
    return loading.FrameBatches(AllFrames(clips), clips.shape, lambda: ((b,) for b in BATCHES), 3, **options)


def test_every_batch_holds_its_clips_while_it_is_in_use(train: ClipDataset) -> None:
    loader = batches_of(train, workers=2, kept=2)
    before: list[tuple[list[int], torch.Tensor]] = []
    taken = 0
    for _ in range(4):  # epochs: 20 batches through memory for 6
        for (indices,), frames in loader:
            assert indices == BATCHES[taken % len(BATCHES)]
            for chosen, kept in [*before, (indices, frames)]:
                assert torch.equal(kept, train.frames_of(chosen))
            before, taken = [(indices, frames)], taken + 1
    assert taken == 20
    assert len(loader.memory) == 6


def test_a_damaged_frame_stops_a_loader_with_one_clear_message(train: ClipDataset, home: Path, tmp_path: Path) -> None:
    shard = shutil.copytree(home / "prepared", tmp_path / "prepared") / "clips-00000.parquet"
    content, frame = shard.read_bytes(), train.jpegs(6)[2]
    shard.write_bytes(content.replace(frame, frame[:-40] + bytes(40)))
    clips = PreparedClips.load(tmp_path / "prepared").split("train")
    taken = []
    with pytest.raises(InputError) as caught:
        taken.extend(indices for (indices,), _ in batches_of(clips, workers=1))
    assert taken == BATCHES[:2]
    message = str(caught.value)
    assert message.startswith(f"{shard}: a frame of the clip {clips.clip_ids[6]} is damaged, or not the one written")
    assert "\n" not in message


@pytest.mark.parametrize("frame", [None, "random"])
@pytest.mark.parametrize("encoded", [False, True])
@pytest.mark.filterwarnings("error")  # in the workers too, whose error then ends the test
def test_workers_write_nothing_to_standard_error(
    train: ClipDataset, frame: str | None, encoded: bool, capfd: pytest.CaptureFixture
) -> None:
    """A warning there would come once from every worker, epoch after epoch."""
    image = {} if frame is None else {"backbone": "mae", "frame": frame, "text_labels": None}
    config = ModelConfig(pretrained=None, frames=4, size=16, width=24, heads=2, **image)
    data = ClipTensors(train, config, in_memory=False, encoded=encoded, training=True)
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)  # torch says most things once a process, and the first may have been another test's
    try:
        taken = sum(len(batch[1]) for batch in Batches(data, EpochOrder(len(train), 4, seed=0), 4, 2, CPU)._read())
    finally:
        torch.set_warn_always(before)
    assert taken == len(train)
    assert capfd.readouterr().err == ""


def test_too_little_shared_memory_is_said_before_a_worker_dies_of_it(
    train: ClipDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading.shutil, "disk_usage", lambda _: SimpleNamespace(free=10_000))
    message = r"/dev/shm: 0 MB of frames are read ahead by 1 processes, and 0 MB are free; .*--shm-size"
    with pytest.raises(InputError, match=message):
        batches_of(train, workers=1)


@pytest.mark.parametrize("frame", [None, "last", "random"])
def test_batches_from_the_disk_are_those_from_memory(train: ClipDataset, frame: str | None) -> None:
    image = {} if frame is None else {"backbone": "mae", "frame": frame, "text_labels": None}
    config = ModelConfig(pretrained=None, frames=4, size=16, width=24, heads=2, **image)
    found = []
    for in_memory in (True, False):
        data = ClipTensors(train, config, in_memory=in_memory, training=True)
        batches = Batches(data, EpochOrder(len(train), 4, seed=0), 4, 0 if in_memory else 2, torch.device("cpu"))
        epochs = []
        for epoch in range(2):
            batches.order.epoch = epoch
            data.start_epoch(epoch)
            epochs += [tuple(part.clone() for part in batch) for batch in batches]
        found.append(epochs)
    assert len(found[0]) == 6
    for wanted, got in zip(*found, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(wanted, got, strict=True))
