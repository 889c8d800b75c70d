"""Loaders are timed in turns, and only once they run."""

from pathlib import Path

import pytest
from support import noisy_clips

from cityguessr.data.clips import ClipDataset
from cityguessr.speed import loaders


@pytest.fixture
def train(tmp_path: Path) -> ClipDataset:
    return noisy_clips(tmp_path)


def test_both_loaders_are_timed_in_turns(train: ClipDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    speeds = iter([300.0, 100.0, 500.0, 90.0, 400.0, 80.0])
    asked, lines = [], []

    def measured(*arguments: object, usual: bool = False) -> float:
        asked.append(usual)
        return next(speeds)

    with monkeypatch.context() as patch:
        patch.setattr(loaders, "clips_per_second", measured)
        result = loaders.compare(train, 2, report=lines.append)
    assert asked == [False, True] * 3
    assert result == {"clips_per_second": 400.0, "usual": 90.0, "ratio": 400 / 90}
    assert lines[-1] == "2 workers, 4 frames of 16 px per clip: 400 clips/s, the usual loader 90, ratio 4.44"


@pytest.mark.parametrize("usual", [False, True])
def test_only_the_batches_after_the_start_are_timed(
    train: ClipDataset, monkeypatch: pytest.MonkeyPatch, usual: bool
) -> None:
    clock = iter([10.0, 14.0])  # it is looked at twice
    monkeypatch.setattr(loaders.time, "perf_counter", lambda: next(clock))
    assert loaders.clips_per_second(train, 1, batch_size=3, batches=8, usual=usual) == 8 * 3 / 4
