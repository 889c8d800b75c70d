"""One process at a time where something may be written; nobody waits where nothing may."""

import multiprocessing
import os
import threading
import time
from pathlib import Path

import pytest
from support import read_only, readable_by_all

from cityguessr.base import locks
from cityguessr.base.errors import InputError


def test_two_that_want_the_same_take_turns(tmp_path: Path) -> None:
    inside, most = [0], [0]

    def work() -> None:
        with locks.beside(tmp_path / "deep" / "set"):
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            time.sleep(0.005)
            inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    assert list((tmp_path / "deep").iterdir()) == []  # nothing is left of it


def test_processes_take_turns_though_each_removes_the_lock(tmp_path: Path) -> None:
    """None may hold a file that is gone while another one holds its successor."""
    counter = tmp_path / "set" / "counter"
    counter.parent.mkdir()
    counter.write_text("0")
    processes = [multiprocessing.get_context("fork").Process(target=count, args=(counter,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert counter.read_text() == "100"
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def count(file: Path) -> None:
    for _ in range(25):
        with locks.beside(file.parent):
            number = int(file.read_text())
            time.sleep(0.001)
            file.write_text(str(number + 1))


def test_what_was_not_made_keeps_its_lock_out_of_sight(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locks.beside(tmp_path / "set"):
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.iterdir()] == [".set.lock"]
    with locks.beside(tmp_path / "set"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_can_be_written_nothing_is_waited_for() -> None:
    with readable_by_all() as folder:
        (folder / "set").mkdir()
        for lock in (None, folder / ".set.lock"):  # of another user, as a teacher leaves it
            if lock:
                lock.touch(mode=0o644)
            with read_only(folder), locks.beside(folder / "set"):
                assert os.listdir(folder / "set") == []
        with read_only(folder), locks.beside(folder / "not" / "there" / "set"):
            pass
        assert sorted(os.listdir(folder)) == [".set.lock", "set"]


def test_another_trouble_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    with pytest.raises(InputError, match="data: cannot be written"), locks.beside(tmp_path / "data" / "set"):
        pass
