"""The prepared format: what is in it, that it is whole or not at all, and that nothing else changes a clip."""

import io
import json
import os
import pickle
import weakref
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from support import IDS, make_frames, make_release

from cityguessr.base.errors import InputError
from cityguessr.data.cityguessr68k import ReleaseSource
from cityguessr.data.clips import PreparedClips
from cityguessr.data.prepare import prepare
from cityguessr.data.shards import read_shard
from cityguessr.data.video import read_frames
from cityguessr.taxonomy import LEVELS

SMALL = {"frames": 4, "size": 16, "workers": 1}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> ReleaseSource:
    return ReleaseSource(make_release(tmp_path_factory.mktemp("world")))


@pytest.fixture(scope="module")
def prepared(source: ReleaseSource, tmp_path_factory: pytest.TempPathFactory) -> PreparedClips:
    return prepare(source, tmp_path_factory.mktemp("prepared") / "tiny", shard_clips=5, **SMALL)


def one_line(error: pytest.ExceptionInfo[InputError]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


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


@pytest.mark.parametrize("change", [{"workers": 2}, {"shard_clips": 1}, {"shard_clips": 100}])
def test_the_same_clips_come_out_however_the_work_is_divided(
    source: ReleaseSource, prepared: PreparedClips, tmp_path: Path, change: dict[str, int]
) -> None:
    other = prepare(source, tmp_path / "other", **(SMALL | change))
    assert other.fingerprint == prepared.fingerprint
    assert torch.equal(other.split("train").frames_tensor(), prepared.split("train").frames_tensor())


def test_the_fingerprint_changes_with_a_frame_or_a_label(prepared: PreparedClips, tmp_path: Path) -> None:
    root = make_release(tmp_path / "world")
    assert prepare(ReleaseSource(root), tmp_path / "same", **SMALL).fingerprint == prepared.fingerprint
    frame = root / "val" / "Lyon" / "Lyon_0003" / "8.jpg"
    Image.fromarray(np.full((48, 64, 3), 99, np.uint8)).save(frame)
    other = prepare(ReleaseSource(root), tmp_path / "frame", **SMALL)
    assert other.fingerprint != prepared.fingerprint
    labels = root / "val_labels.txt"
    labels.write_text(labels.read_text().replace("Lyon_0003,2,2,1,1", "Lyon_0003,1,1,1,1"))
    assert prepare(ReleaseSource(root), tmp_path / "label", **SMALL).fingerprint != other.fingerprint


def test_frames_already_at_the_training_size_are_not_encoded_twice(tmp_path: Path) -> None:
    root = make_release(tmp_path / "world")
    folder = make_frames(root / "train" / "Paris" / "Paris_0000", 20, (16, 16))
    train = prepare(ReleaseSource(root), tmp_path / "prepared", **SMALL).split("train")
    assert train.jpegs(3)[0] == (folder / "3.jpg").read_bytes()
    assert all(Image.open(io.BytesIO(frame)).size == (16, 16) for frame in train.jpegs(0))


def test_a_whole_set_is_not_prepared_twice(source: ReleaseSource, prepared: PreparedClips) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in prepared.folder.iterdir()}
    again = prepare(source, prepared.folder, shard_clips=100, **SMALL)
    assert again.fingerprint == prepared.fingerprint
    assert {path.name: path.stat().st_mtime_ns for path in prepared.folder.iterdir()} == before


def test_an_interrupted_preparation_goes_on_after_its_finished_shards(
    source: ReleaseSource, prepared: PreparedClips, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = prepare(source, tmp_path / "out", shard_clips=5, **SMALL).folder
    kept = (out / "clips-00000.parquet").stat().st_mtime_ns
    (out / "meta.json").unlink()  # as if it had been stopped in the third shard
    (out / "clips-00001.parquet").unlink()
    (out / "clips-00002.parquet").write_bytes(b"PAR1 cut off")
    with pytest.raises(InputError, match="did not finish; run it again, it goes on") as error:
        PreparedClips.load(out)
    one_line(error)
    capsys.readouterr()
    again = prepare(source, out, shard_clips=5, **SMALL)
    assert "1 of 3 are there already" in capsys.readouterr().out
    assert (out / "clips-00000.parquet").stat().st_mtime_ns == kept
    assert again.fingerprint == prepared.fingerprint


def test_lost_shards_of_a_whole_set_are_noticed_and_made_again(
    source: ReleaseSource, prepared: PreparedClips, tmp_path: Path
) -> None:
    out = prepare(source, tmp_path / "out", shard_clips=5, **SMALL).folder
    os.replace(out / "clips-00002.parquet", out / "clips-00001.parquet")
    with pytest.raises(InputError, match=r"clips-00001\.parquet: 2 clips, meta\.json says 5"):
        PreparedClips.load(out)
    assert prepare(source, out, shard_clips=5, **SMALL).fingerprint == prepared.fingerprint
    (out / "clips-00001.parquet").unlink()
    with pytest.raises(InputError, match=r"clips-00001\.parquet: missing"):
        PreparedClips.load(out)


def test_preparations_of_other_sources_or_settings_do_not_mix(source: ReleaseSource, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare(source, out, **SMALL)
    with pytest.raises(InputError, match=r"size 16, now 24.* another folder, or .* overwrite=True") as error:
        prepare(source, out, **(SMALL | {"size": 24}))
    one_line(error)
    assert prepare(source, out, overwrite=True, **(SMALL | {"size": 24})).meta["size"] == 24
    other = ReleaseSource(make_release(tmp_path / source.root.name, clips=3))
    with pytest.raises(InputError, match="clips 12, now 9"):
        prepare(other, out, **(SMALL | {"size": 24}))


def test_a_folder_with_other_files_is_left_alone(source: ReleaseSource, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(InputError, match=r"holds other files \(thesis\.tex"):
            prepare(source, tmp_path, overwrite=overwrite, **SMALL)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_released_sampling_takes_the_released_frames(tmp_path: Path) -> None:
    root = make_release(tmp_path / "world", clips=2, frames=100)
    train = prepare(
        ReleaseSource(root), tmp_path / "prepared", frames=16, size=48, sampling="released", workers=1
    ).split("train")
    values = train[0]["frames"].float().mean(dim=(1, 2, 3))
    assert values[:5].tolist() == pytest.approx([2 * n for n in (1, 13, 18, 22, 27)], abs=1.5)


def test_a_scene_labeller_fills_in_where_the_source_has_none(tmp_path: Path) -> None:
    root = make_release(tmp_path / "world", scenes=False)

    def labeller(frames: np.ndarray) -> np.ndarray:
        assert frames.shape == (4, 16, 16, 3)
        return np.eye(16)[(frames[:, 0, 0, 0] > 20).astype(int)]  # scene 0 where it is dark, scene 1 where it is not

    plain = prepare(ReleaseSource(root), tmp_path / "plain", **SMALL)
    assert plain.split("train").frame_scenes(0) is None
    assert plain.split("train")[0]["frame_scenes"].isnan().all()
    labelled = prepare(ReleaseSource(root), tmp_path / "labelled", scene_labeller=labeller, **SMALL)
    assert labelled.split("train")[0]["frame_scenes"].argmax(dim=1).tolist() == [0, 0, 1, 1]  # greys 6, 16, 26, 36


def test_hugging_face_datasets_reads_the_shards(prepared: PreparedClips, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    files = [str(prepared.folder / shard["file"]) for shard in prepared.meta["shards"]]
    rows = datasets.Dataset.from_parquet(files, cache_dir=str(tmp_path))
    assert rows.num_rows == 12
    assert rows[3]["clip_id"] == "Paris_0000"
    assert rows[3]["frames"] == prepared.split("train").jpegs(3)


def test_shards_hold_the_columns_of_the_format(prepared: PreparedClips) -> None:
    path = prepared.folder / "clips-00000.parquet"
    assert pq.read_schema(path).names == ["clip_id", "video_id", "split", *LEVELS, "frames", "frame_scenes", "gps"]
    assert read_shard(path).rows == 5
    meta = json.loads((prepared.folder / "meta.json").read_text())
    assert {"name", "source", "synthetic", "counts", "frames", "size", "sampling", "fingerprint"} <= set(meta)


def test_a_dask_cluster_named_by_its_address_does_the_same_work(
    source: ReleaseSource, prepared: PreparedClips, tmp_path: Path
) -> None:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None, local_directory=str(tmp_path)
    ) as cluster:
        address = cluster.scheduler_address
        there = prepare(source, tmp_path / "there", cluster=address, shard_clips=5, **SMALL)
    assert there.fingerprint == prepared.fingerprint
    dask = pytest.importorskip("dask")
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "0.5s"}),
        pytest.raises(InputError, match=r"no Dask scheduler at 'tcp://127.0.0.1:9'"),
    ):
        prepare(source, tmp_path / "nowhere", cluster="tcp://127.0.0.1:9", **SMALL)


def test_arguments_that_make_no_sense_are_named(source: ReleaseSource, prepared: PreparedClips, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="frames is 0; it must be at least 1"):
        prepare(source, tmp_path / "out", **(SMALL | {"frames": 0}))
    with pytest.raises(InputError, match="no sampling 'random'; it is one of uniform, released"):
        prepare(source, tmp_path / "out", sampling="random", **SMALL)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"text features are \(number of cities = 3, d\), not \(2, 5\)"):
        prepare(source, tmp_path / "out", text=np.zeros((2, 5)), **SMALL)
    with pytest.raises(InputError, match="no split 'test'; it is one of train, val"):
        prepared.split("test")
    with pytest.raises(InputError, match="nowhere: no such folder"):
        PreparedClips.load(tmp_path / "nowhere")
