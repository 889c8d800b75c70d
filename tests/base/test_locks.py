"""One process at a time where something may be written; nobody waits where nothing may."""

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


def test_where_nothing_can_be_written_nothing_is_waited_for() -> None:
    with readable_by_all() as folder:
        (folder / "set").mkdir()
        for lock in (None, folder / "set.lock"):  # of another user, as a teacher leaves it
            if lock:
                lock.touch(mode=0o644)
            with read_only(folder), locks.beside(folder / "set"):
                assert os.listdir(folder / "set") == []
        with read_only(folder), locks.beside(folder / "not" / "there" / "set"):
            pass
        assert sorted(os.listdir(folder)) == ["set", "set.lock"]


def test_another_trouble_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    with pytest.raises(InputError, match="data: cannot be written"), locks.beside(tmp_path / "data" / "set"):
        pass
