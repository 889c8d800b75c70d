"""A prepared set is whole or not at all, bad clips stop nothing, and the division of the work changes no clip."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support import SMALL, full_after, make_frames, make_release, one_line, renumber, small

from cityguessr.base import files
from cityguessr.base.errors import InputError
from cityguessr.config import ClipFormat
from cityguessr.data.cityguessr68k import ReleaseSource
from cityguessr.data.clips import PreparedClips
from cityguessr.data.labelling import label_scenes
from cityguessr.data.prepare import prepare, taken


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
    renumber(root)
    assert prepare(ReleaseSource(root), tmp_path / "label", **SMALL).fingerprint != other.fingerprint


def test_frames_already_at_the_training_size_are_not_encoded_twice(tmp_path: Path) -> None:
    root = make_release(tmp_path / "world")
    folder = make_frames(root / "train" / "Paris" / "Paris_0000", 20, (16, 16))
    train = prepare(ReleaseSource(root), tmp_path / "prepared", **SMALL).split("train")
    assert train.jpegs(3)[0] == (folder / "3.jpg").read_bytes()
    assert all(Image.open(io.BytesIO(frame)).size == (16, 16) for frame in train.jpegs(0))


def test_a_whole_set_is_not_prepared_twice(source: ReleaseSource, prepared: PreparedClips) -> None:
    before = {path: path.stat().st_mtime_ns for path in prepared.folder.rglob("*")}
    again = prepare(source, prepared.folder, shard_clips=100, **SMALL)
    assert again.fingerprint == prepared.fingerprint
    assert taken(source, prepared.folder, SMALL["clip_format"]).fingerprint == prepared.fingerprint
    assert {path: path.stat().st_mtime_ns for path in prepared.folder.rglob("*")} == before


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
    with pytest.raises(InputError, match=r"clips-00001\.parquet: not the shard that meta\.json names"):
        PreparedClips.load(out)
    assert prepare(source, out, shard_clips=5, **SMALL).fingerprint == prepared.fingerprint
    (out / "clips-00001.parquet").unlink()
    with pytest.raises(InputError, match=r"clips-00001\.parquet: missing"):
        PreparedClips.load(out)


def test_preparations_of_other_sources_or_settings_do_not_mix(source: ReleaseSource, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare(source, out, **SMALL)
    with pytest.raises(InputError, match=r"size 16, now 24.* another folder, or .* overwrite=True") as error:
        prepare(source, out, **small(size=24))
    one_line(error)
    assert prepare(source, out, overwrite=True, **small(size=24)).meta["size"] == 24
    other = ReleaseSource(make_release(tmp_path / source.root.name, clips=3))
    with pytest.raises(InputError, match="clips 12, now 9"):
        prepare(other, out, **small(size=24))


def test_a_folder_with_other_files_is_left_alone(source: ReleaseSource, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(InputError, match=r"holds other files \(thesis\.tex"):
            prepare(source, tmp_path, overwrite=overwrite, **SMALL)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_released_sampling_takes_the_released_frames(tmp_path: Path) -> None:
    root = make_release(tmp_path / "world", clips=2, frames=100)
    train = prepare(ReleaseSource(root), tmp_path / "prepared", ClipFormat(16, 48, "released"), workers=1).split(
        "train"
    )
    values = train[0]["frames"].float().mean(dim=(1, 2, 3))
    assert values[:5].tolist() == pytest.approx([2 * n for n in (1, 13, 18, 22, 27)], abs=1.5)


def test_scenes_that_a_classifier_gave_stay_when_the_set_is_prepared_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CITYGUESSR_ROOT", str(tmp_path))
    root = make_release(tmp_path / "world", scenes=False)

    class DarkOrBright:
        name, version, scene_classes = "dark or bright", "0a", 16

        def categories(self, frames: np.ndarray) -> np.ndarray:
            return np.eye(16, dtype=np.float32)[(frames[:, 0, 0, 0] > 20).astype(int)]

        def scenes(self, categories: np.ndarray) -> np.ndarray:
            return categories

    plain = prepare(ReleaseSource(root), tmp_path / "plain", **SMALL)
    assert plain.split("train").frame_scenes(0) is None
    assert plain.split("train")[0]["frame_scenes"].isnan().all()
    assert not plain.labelled
    labelled = label_scenes(plain, DarkOrBright())
    assert labelled.labelled
    assert (labelled.scenes.name, labelled.fingerprint != plain.fingerprint) == ("dark-or-bright-16", True)
    again = prepare(ReleaseSource(root), tmp_path / "plain", **SMALL)
    assert again.fingerprint == labelled.fingerprint
    assert labelled.split("train")[0]["frame_scenes"].argmax(dim=1).tolist() == [0, 0, 1, 1]  # greys 6, 16, 26, 36


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


def test_arguments_that_make_no_sense_are_named(source: ReleaseSource, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="frames is 0; it must be at least 1"):
        prepare(source, tmp_path / "out", **small(frames=0))
    with pytest.raises(InputError, match="no sampling 'random'; it is one of uniform, released"):
        prepare(source, tmp_path / "out", **small(sampling="random"))
    with pytest.raises(InputError, match=r"text features are \(number of cities = 3, d\), not \(2, 5\)"):
        prepare(source, tmp_path / "out", text=np.zeros((2, 5)), **SMALL)


def test_clips_that_cannot_be_read_are_rejected_with_their_reason_and_stop_nothing(tmp_path: Path) -> None:
    root = make_release(tmp_path / "release")
    make_frames(root / "train" / "Paris" / "Paris_0001").rename(root / "elsewhere")
    for file in list((root / "train" / "Lyon" / "Lyon_0000").iterdir())[3:]:
        file.unlink()
    broken = root / "val" / "Abu_Dhabi" / "Abu_Dhabi_0003"
    for file in broken.iterdir():
        file.write_bytes(file.read_bytes()[:200])
    prepared = prepare(ReleaseSource(root), tmp_path / "prepared", **SMALL)
    reasons = {row["clip_id"]: row["reason"] for row in prepared.rejected()}
    assert reasons.keys() == {"Paris_0001", "Lyon_0000", "Abu_Dhabi_0003"}
    assert "Paris_0001: cannot be read (No such file or directory)" in reasons["Paris_0001"]
    assert "Lyon_0000: 4 frames are needed and there are 3" in reasons["Lyon_0000"]
    assert "not a whole image (200 bytes)" in reasons["Abu_Dhabi_0003"]
    assert prepared.meta["clips"] == {"listed": 12, "prepared": 9, "rejected": 3}
    assert len(prepared.split("train")) + len(prepared.split("val")) == 9


def test_a_release_of_which_nothing_can_be_read_is_no_prepared_set(tmp_path: Path) -> None:
    source = ReleaseSource(make_release(tmp_path / "release", frames=3))
    with pytest.raises(InputError, match=r"none of the 12 clips .* 4 frames are needed and there are 3"):
        prepare(source, tmp_path / "prepared", **SMALL)
    with pytest.raises(InputError, match="did not finish"):
        PreparedClips.load(tmp_path / "prepared")


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    source = ReleaseSource(make_release(tmp_path / "release"))
    (tmp_path / "prepared").write_text("not a folder")
    with pytest.raises(InputError, match="prepared: cannot be written"):
        prepare(source, tmp_path / "prepared", **SMALL)


def test_a_full_disk_leaves_nothing_half_written_and_a_second_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = ReleaseSource(make_release(tmp_path / "release"))
    out = tmp_path / "prepared"
    whole = prepare(source, tmp_path / "undisturbed", **SMALL)
    monkeypatch.setattr(files.os, "fsync", full_after(2))  # the plan and the first shard fit
    with pytest.raises(InputError, match=r"clips-00001\.parquet: the disk is full; free some space") as error:
        prepare(source, out, shard_clips=4, **SMALL)
    one_line(error)
    assert sorted(path.name for path in out.iterdir()) == ["clips-00000.parquet", "plan.json"]
    with pytest.raises(InputError, match="did not finish; run it again"):
        PreparedClips.load(out)

    monkeypatch.undo()
    first = (out / "clips-00000.parquet").stat()
    continued = prepare(source, out, shard_clips=4, **SMALL)
    assert (out / "clips-00000.parquet").stat().st_mtime_ns == first.st_mtime_ns
    assert continued.fingerprint == whole.fingerprint
