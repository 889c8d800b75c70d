"""What is in a prepared set, and how its clips are read."""

import json
import pickle
import weakref
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from support import IDS

from cityguessr.base.errors import InputError
from cityguessr.data.cityguessr68k import ReleaseSource
from cityguessr.data.clips import PreparedClips
from cityguessr.data.shards import read_shard
from cityguessr.data.video import read_frames
from cityguessr.taxonomy import LEVELS


def test_a_clip_is_its_frames_its_four_labels_and_its_scenes(source: ReleaseSource, prepared: PreparedClips) -> None:
    train = prepared.split("train")
    clip = train[3]
    assert train.clip_ids[3] == "Paris_0000"
    assert clip["frames"].shape == (4, 3, 16, 16)
    assert clip["frames"].dtype == torch.uint8
    assert clip["labels"].tolist() == list(IDS["Paris"])
    assert clip["labels"].dtype == torch.int64
    assert clip["frame_scenes"].shape == (1, 16)
    assert clip["index"] == 3
    expected = read_frames(Path(source.clips()[3].path), 4, 16)
    assert np.abs(clip["frames"].permute(0, 2, 3, 1).numpy().astype(int) - expected).max() <= 2


def test_labels_are_paths_of_the_tree_and_counts_add_up(source: ReleaseSource, prepared: PreparedClips) -> None:
    assert prepared.taxonomy == source.taxonomy
    for name in ("train", "val"):
        split = prepared.split(name)
        counts = prepared.meta["counts"][name]
        chain = prepared.taxonomy.chain(split.labels["city"])
        for level in LEVELS:
            assert torch.equal(chain[level], split.labels[level])
            assert torch.bincount(split.labels[level]).tolist() == counts[level]
        assert counts["clips"] == len(split)
    clips = prepared.meta["clips"]
    assert clips["prepared"] + clips["rejected"] == clips["listed"] == len(source.clips())
    assert [shard["rows"] for shard in prepared.meta["shards"]] == [5, 5, 2]


def test_all_frames_at_once_are_the_frames_one_by_one(prepared: PreparedClips) -> None:
    train = prepared.split("train")
    frames = train.frames_tensor()
    assert frames.shape == (9, 4, 3, 16, 16)
    assert all(torch.equal(frames[i], train[i]["frames"]) for i in range(len(train)))


def test_frames_are_decoded_once_for_a_set_and_given_up_with_it(prepared: PreparedClips) -> None:
    mine = PreparedClips.load(prepared.folder)
    frames = mine.split("train").frames_tensor()
    assert mine.split("train").frames_tensor() is frames
    assert mine.split("val").frames_tensor().shape[0] == 3
    assert prepared.split("train").frames_tensor() is not frames
    gone = weakref.ref(frames)
    del mine, frames
    assert gone() is None


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_dataloader_workers_read_the_same_clips(prepared: PreparedClips, start: str) -> None:
    train = prepared.split("train")
    train[0]  # leaves a file open, which no worker may share
    loader = torch.utils.data.DataLoader(train, batch_size=4, num_workers=2, multiprocessing_context=start)
    batches = list(loader)
    assert torch.equal(torch.cat([batch["frames"] for batch in batches]), train.frames_tensor())
    assert torch.equal(torch.cat([batch["labels"][:, 0] for batch in batches]), train.labels["city"])
    assert pickle.loads(pickle.dumps(train))[0]["frames"].equal(train[0]["frames"])


def test_any_parquet_reader_reads_the_shards(prepared: PreparedClips) -> None:
    rows = pd.concat([pd.read_parquet(prepared.folder / shard["file"]) for shard in prepared.meta["shards"]])
    assert len(rows) == 12
    assert rows["clip_id"].iloc[3] == "Paris_0000"
    assert list(rows["frames"].iloc[3]) == prepared.split("train").jpegs(3)


def test_shards_hold_the_columns_of_the_format(prepared: PreparedClips) -> None:
    path = prepared.folder / "clips-00000.parquet"
    assert pq.read_schema(path).names == ["clip_id", "video_id", "split", *LEVELS, "frames", "frame_scenes", "gps"]
    assert read_shard(path).rows == 5
    meta = json.loads((prepared.folder / "meta.json").read_text())
    assert {"name", "source", "synthetic", "counts", "frames", "size", "sampling", "fingerprint"} <= set(meta)


def test_a_split_or_a_set_that_is_not_there_is_named(prepared: PreparedClips, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no split 'test'; it is one of train, val"):
        prepared.split("test")
    with pytest.raises(InputError, match="nowhere: no such folder"):
        PreparedClips.load(tmp_path / "nowhere")
