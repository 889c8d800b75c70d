"""Work in another process: a hang, a crash and a lack of memory cost one call."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from errands import crash, hang, number, refuse, take_all_memory, tens

from cityguessr.base import apart
from cityguessr.base.errors import InputError


@pytest.mark.parametrize(
    ("work", "said"), [(hang, "within 0.5 s"), (crash, "SIGSEGV"), (take_all_memory, "2.1 GB of memory")]
)
def test_a_hang_a_crash_and_a_lack_of_memory_cost_one_call(work: Callable[[], None], said: str) -> None:
    with pytest.raises(InputError, match=rf"walk\.mp4: .*{said}") as error:
        apart.call(work, what="walk.mp4", limit_s=0.5 if work is hang else 60)
    assert "\n" not in str(error.value)
    assert number() != os.getpid()


def test_bad_input_is_raised_as_it_is_and_one_process_serves_all_calls() -> None:
    first = number()
    with pytest.raises(InputError, match=r"^walk\.mp4: wrong$"):
        apart.call(refuse, what="walk.mp4", limit_s=60)
    assert number() == first


def test_items_come_one_by_one_and_a_caller_may_stop() -> None:
    assert list(apart.stream(tens, 3, what="walk.mp4", limit_s=60)) == [0, 10, 20]
    assert next(apart.stream(tens, 10**9, what="walk.mp4", limit_s=60)) == 0
    assert number() > 0


def test_threads_and_forked_workers_have_processes_of_their_own() -> None:
    together = threading.Barrier(2)

    def one(_: int) -> int:
        items = apart.stream(tens, 3, what="walk.mp4", limit_s=60)
        next(items)
        together.wait(60)
        return sum(items)

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(one, range(2))) == [30, 30]
    mine = number()
    if (child := os.fork()) == 0:
        os._exit(number() == mine)
    assert os.waitpid(child, 0)[1] == 0
    assert number() == mine


def test_the_process_ends_with_the_one_that_started_it_even_by_force(tmp_path: Path) -> None:
    program = "import errands, os; print(errands.number(), flush=True); os.kill(os.getpid(), 9)"
    path = os.pathsep.join([*sys.path, str(Path(__file__).parent)])
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    pid = int(done.stdout)
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        if Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] == "Z":
            return
        time.sleep(0.05)
    pytest.fail("it is still there")
