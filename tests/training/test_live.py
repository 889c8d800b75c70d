"""How running trainings get on: read from their lines, shown in one place or told now and then."""

import sys
from pathlib import Path

import pytest

from cityguessr.training import live


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands at its last number."""
    times = [1000.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: times[-1])
    return times


def epoch(number: int, city: float = 20.0) -> str:
    return f"epoch {number:>2}/20  loss  4.31  correct %: city {city:4.1f} state 22.0 country 30.0 continent 50.0"


def test_the_time_that_is_left_follows_from_the_epochs_that_are_done(clock: list[float]) -> None:
    standing = live.Standing("cityguessr, seed 0")
    assert str(standing) == "cityguessr, seed 0: preparing"
    standing.read("training cityguessr, profile mini, seed 0: 20 epochs")
    clock.append(1020.0)
    standing.read(epoch(5, 24.1))
    assert str(standing) == "cityguessr, seed 0: epoch 5 of 20, city 24.1 %, 1 min 00 s left"
    clock.append(1022.0)
    standing.read("epoch  6/20  step  1,000/4,000  loss  4.20  310 clips/s")
    assert "epoch 6 of 20, step 1,000 of 4,000, city 24.1 %, 1 min 02 s left" in str(standing)
    clock.append(1080.0)
    standing.read(epoch(20, 60.0))
    assert str(standing) == "cityguessr, seed 0: epoch 20 of 20, city 60.0 %"


def test_a_resumed_training_is_as_fast_as_it_is_now(clock: list[float]) -> None:
    standing = live.Standing("a")
    standing.read("resumed after epoch 10 of 20")
    clock.append(1010.0)
    standing.read(epoch(11))
    assert standing.seconds_left == pytest.approx(90)


def test_the_phases_of_vidtag_are_counted_apart(clock: list[float]) -> None:
    standing = live.Standing("vidtag, seed 1")
    clock.append(1010.0)
    standing.read("phase 1, epoch  10/100  loss 1.2345")
    assert str(standing) == "vidtag, seed 1: phase 1, epoch 10 of 100, 1 min 30 s left in this phase"
    clock.append(1100.0)
    standing.read("phase 1, epoch 100/100  loss 0.9")
    clock.append(1101.0)
    standing.read("phase 2, epoch   1/10  loss 0.5")
    clock.append(1103.0)
    standing.read("phase 2, epoch   2/10  loss 0.5")
    assert standing.seconds_left == pytest.approx(8)


def test_where_nothing_can_change_in_place_a_line_comes_now_and_then(tmp_path: Path, clock: list[float]) -> None:
    logs = {name: tmp_path / f"{name}.log" for name in ("a, seed 0", "b, seed 0", "c, seed 0")}
    logs["a, seed 0"].write_text(epoch(19) + "\n")  # of a session before
    said: list[str] = []
    shown = live.Live(logs, said.append)
    with logs["a, seed 0"].open("a") as log:
        log.write(epoch(1) + "\nepoch  2/")  # and a line that is being written
    logs["b, seed 0"].write_text(epoch(2) + "\n")
    shown.tick()
    assert said == []
    clock.append(1000.0 + live.SELDOM)
    shown.tick()
    shown.tick()
    assert [line.strip().split(", city")[0] for line in said] == [
        "a, seed 0: epoch 1 of 20",
        "b, seed 0: epoch 2 of 20",
    ]
    shown.finished("b, seed 0")
    with logs["a, seed 0"].open("a") as log:
        log.write(epoch(2).removeprefix("epoch  2/") + "\n")
    clock.append(clock[-1] + live.SELDOM)
    shown.tick()
    assert len(said) == 3
    assert said[-1].strip().startswith("a, seed 0: epoch 2 of 20, city 20.0 %")


def test_in_a_terminal_the_lines_stand_in_one_place(
    tmp_path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    logs = {name: tmp_path / f"{name}.log" for name in ("a, seed 0", "b, seed 0")}
    shown = live.Live(logs, print)
    for name, log in logs.items():
        log.write_text(epoch(2 + (name[0] == "b")) + "\n")
    clock.append(1010.0)
    shown.tick()
    first = capsys.readouterr().out
    assert [line.split(",")[0] for line in first.splitlines()] == ["0 of 2 trained", "  a", "  b"]
    clock.append(1020.0)
    shown.tick()
    up, _, rest = capsys.readouterr().out.partition("\x1b[J")
    assert up == "\x1b[3F"  # three lines up, and what stood there is gone
    assert len(rest.splitlines()) == 3
    shown.finished("a, seed 0")
    assert capsys.readouterr().out == "\x1b[3F\x1b[J"  # the place is free for the line on the finished one
    clock.append(1030.0)
    shown.tick()
    overall, other = capsys.readouterr().out.splitlines()
    assert overall == "1 of 2 trained, about 30 s left"
    assert other.startswith("  b, seed 0: epoch 3 of 20")


def test_one_training_in_this_process_reports_its_lines_with_the_time_left(
    clock: list[float], capsys: pytest.CaptureFixture
) -> None:
    take = live.one(print)
    take("training cityguessr, profile mini, seed 0: 20 epochs")
    clock.append(1010.0)
    take(epoch(1))
    assert capsys.readouterr().out.splitlines()[1] == epoch(1) + "  3 min 10 s left"
    lines: list[str] = []
    assert live.one(lines.append) == lines.append  # what somebody else does with them is theirs
