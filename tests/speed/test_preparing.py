"""Preparation is measured beside the released loader on the same files, and what is measured does the work."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from support import make_frames

from cityguessr.config import ClipFormat
from cityguessr.data import pictures
from cityguessr.faces import crowd
from cityguessr.speed import preparing


def test_all_four_ways_are_timed_in_turns_on_one_thread_each(tmp_path: Path) -> None:
    folders = [make_frames(tmp_path / "train" / f"a_{k}", 8) for k in range(2)]
    threads, lines = (torch.get_num_threads(), cv2.getNumThreads()), []
    result = preparing.compare(folders, ClipFormat(4, 16), tmp_path / "out", rounds=2, report=lines.append)
    assert (torch.get_num_threads(), cv2.getNumThreads()) == threads
    assert all(result[way] > 0 for way in preparing.WAYS)
    assert len(lines) == 5
    assert lines[-1].startswith("the floor")
    assert "2 clips of 4 frames" in lines[-1]


def test_the_released_way_gives_the_frames_that_ours_gives_but_for_the_scale(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (18, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((640, 360), Image.Resampling.BICUBIC).save(tmp_path / "1.jpg", quality=95)
    released = preparing._as_released(tmp_path / "1.jpg", 64)
    ours = np.asarray(pictures.decode_image("1.jpg", preparing._prepared(tmp_path / "1.jpg", 64)))
    assert released.shape == (3, 64, 64)
    assert (
        released.permute(1, 2, 0) * 255 - torch.tensor(ours)
    ).abs().mean() < 4  # of noise; another picture differs by 60


def test_the_command_renders_its_own_clips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(crowd, "street", lambda *_, width: np.full((1, 720, width, 3), 99, np.uint8))
    preparing.main(["--clips", "2", "--frames", "2", "--size", "16", "--rounds", "1"])
    assert "2 clips of 2 frames" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="no such folder"):
        preparing.main(["--release", str(tmp_path / "nowhere")])
