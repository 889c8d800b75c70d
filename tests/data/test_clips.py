"""What is in a prepared set, and how its clips are read."""

import itertools
import json
import pickle
import shutil
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


def test_a_batch_is_decoded_into_one_tensor(prepared: PreparedClips) -> None:
    train = prepared.split("train")
    chosen = [7, 0, 3, 7]
    frames = train.frames_of(chosen)
    assert frames.is_contiguous()
    assert torch.equal(frames, torch.stack([train[i]["frames"] for i in chosen]))
    out = torch.zeros(6, *train.shape, dtype=torch.uint8)
    assert torch.equal(train.frames_of(chosen, out[1:5]), frames)
    assert torch.equal(out[1:5], frames)
    assert out[[0, 5]].sum() == 0
    assert torch.equal(train.frame(3, 2), train[3]["frames"][2])
    for wrong in (out, out[:4].float(), out[:4].transpose(3, 4)):
        with pytest.raises(InputError, match=r"give a contiguous uint8 tensor \(4, 4, 3, 16, 16\)"):
            train.frames_of(chosen, wrong)


@pytest.mark.filterwarnings("error")
def test_encoded_frames_are_views_of_what_was_read(prepared: PreparedClips) -> None:
    train = prepared.split("train")
    files = train.jpeg_tensors(3)
    assert [bytes(file.tolist()) for file in files] == train.jpegs(3)
    steps = [after.data_ptr() - file.data_ptr() for file, after in itertools.pairwise(files)]
    assert steps == [len(file) for file in files[:-1]]  # one behind the other, none was copied


def test_a_damaged_frame_is_named_with_its_clip_and_shard(prepared: PreparedClips, tmp_path: Path) -> None:
    broken = shutil.copytree(prepared.folder, tmp_path / "broken")
    shard = broken / "clips-00000.parquet"
    content, frame = shard.read_bytes(), prepared.split("train").jpegs(3)[1]
    at = content.rindex(frame)  # greys are alike: the last of the shard is of the clip Paris_0001
    shard.write_bytes(content[:at] + frame[:-40] + bytes(40) + content[at + len(frame) :])
    whole = PreparedClips.load(broken).split("train")
    damaged = (
        r"clips-00000.parquet: a frame of the clip Paris_0001 is damaged, or not the one written; delete this file"
    )
    for read in (lambda: whole[4], lambda: whole.frame(4, 1), lambda: whole.frames_of([3, 4]), whole.frames_tensor):
        with pytest.raises(InputError, match=damaged):
            read()
    assert torch.equal(whole.frame(3, 0), prepared.split("train").frame(3, 0))
    shard.write_bytes(content[: len(content) // 3])
    with pytest.raises(InputError, match=r"clips-00000.parquet: cannot be read \(.*\); delete this file"):
        _ = PreparedClips(broken, prepared.taxonomy, prepared.meta, prepared._index).split("train")[3]


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
    assert pq.read_schema(path).names == ["clip_id", "frames", "numbers"]
    assert [row.numbers for row in read_shard(path).rows] == [(3, 8, 13, 18)] * 5
    index = pq.read_table(prepared.folder / "index.parquet")
    assert index.column_names == ["clip_id", "video_id", "split", *LEVELS, "gps"]
    assert pq.read_table(prepared.folder / "scenes" / "source-16.parquet").column_names == ["clip_id", "scenes"]
    meta = json.loads((prepared.folder / "meta.json").read_text())
    assert {"name", "source", "synthetic", "counts", "frames", "size", "sampling", "content", "digest"} <= set(meta)


def test_a_split_or_a_set_that_is_not_there_is_named(prepared: PreparedClips, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no split 'test'; it is one of train, val"):
        prepared.split("test")
    with pytest.raises(InputError, match="nowhere: no such folder"):
        PreparedClips.load(tmp_path / "nowhere")
