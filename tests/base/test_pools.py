"""Processes that work side by side: what they give, and the one message where a process or its task goes wrong."""

import functools
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cityguessr.base import pools
from cityguessr.base.errors import InputError

KEPT = "what was finished is kept"


class Unsendable(Exception):
    """An error that cannot be made again from its arguments, as those of some C libraries."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


def square(number: int) -> int:
    return number * number


def fail(error: type[Exception], *arguments: str) -> None:
    raise error(*arguments)


def spread(*works: functools.partial, slots: object = 2) -> dict:
    tasks = ((f"task {number}", work) for number, work in enumerate(works))
    return dict(pools.in_processes(tasks, slots, KEPT))


def test_every_task_has_its_result() -> None:
    assert spread(*(functools.partial(square, n) for n in range(7))) == {f"task {n}": n * n for n in range(7)}
    assert spread() == {}
    assert multiprocessing.active_children() == []


def test_tasks_are_drawn_late() -> None:
    known: list[int] = []
    tasks = (("twice", functools.partial(square, 3)) for _ in range(9) if not known)
    results = []
    for _, result in pools.in_processes(tasks, 1, KEPT):
        known.append(result)
        results.append(result)
    assert results == [9]


def test_each_process_has_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    slots = [{"CUDA_VISIBLE_DEVICES": "5"}, {"CUDA_VISIBLE_DEVICES": "7"}]
    results = spread(*[functools.partial(os.getenv, "CUDA_VISIBLE_DEVICES")] * 4, slots=slots)
    assert [results["task 0"], results["task 1"]] == ["5", "7"]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "5,7"


def test_an_error_of_a_task_is_raised_and_stops_the_others() -> None:
    slow = functools.partial(time.sleep, 60)
    start = time.perf_counter()
    with pytest.raises(InputError, match=r"^a bad line$") as error:
        spread(slow, functools.partial(fail, InputError, "a bad line"))
    assert not hasattr(error.value, "__notes__")
    with pytest.raises(ZeroDivisionError, match=r"^a bug\b") as error:
        spread(slow, functools.partial(fail, ZeroDivisionError, "a bug"))
    assert "in fail" in error.value.__notes__[0]  # the traceback of the worker
    with pytest.raises(RuntimeError, match=r"^Unsendable: one two$"):
        spread(slow, functools.partial(fail, Unsendable, "one", "two"))
    assert time.perf_counter() - start < 30
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize(
    ("work", "how"),
    [
        (functools.partial(signal.raise_signal, signal.SIGKILL), r"was ended by force \(SIGKILL\)"),
        (functools.partial(os._exit, 3), "ended with exit code 3"),
    ],
)
def test_a_process_that_ends_is_named_by_its_task(work: functools.partial, how: str) -> None:
    with pytest.raises(InputError, match=rf"the process of task 1 {how}.*memory.*again with fewer.*{KEPT}") as error:
        spread(functools.partial(time.sleep, 60), work)
    assert "\n" not in str(error.value)
    assert multiprocessing.active_children() == []


# --- as a script: interrupts, and a script that cannot be imported anew -----------------------------------------------

SCRIPT = """
import functools, os, signal, sys, time
from cityguessr.base import pools

signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background inherits a deaf ear to Ctrl-C

def main():
    tasks = [(f"task {n}", functools.partial(time.sleep, 60)) for n in range(2)]
    tasks.insert(0, ("pid", os.getpid))
    for name, result in pools.in_processes(tasks, 2, "all"):
        print(name, result, flush=True)

"""


def start(folder: Path, ending: str) -> subprocess.Popen[str]:
    (folder / "script.py").write_text(SCRIPT + ending)
    root = str(Path(__file__).parents[2])
    return subprocess.Popen(
        [sys.executable, folder / "script.py"],
        env=os.environ | {"PYTHONPATH": root},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.parametrize(
    ("number", "times"), [(signal.SIGINT, 1), (signal.SIGINT, 3), (signal.SIGTERM, 1), (signal.SIGKILL, 1)]
)
def test_processes_end_with_the_one_that_started_them(number: signal.Signals, times: int, tmp_path: Path) -> None:
    process = start(tmp_path, 'if __name__ == "__main__":\n    main()\n')
    worker = int(process.stdout.readline().split()[1])
    for _ in range(times):  # a second Ctrl-C of the impatient must not leave a process behind
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # Ctrl-C reaches all of them
        else:
            process.send_signal(number)
        time.sleep(0.02)
    errors = process.communicate(timeout=30)[1]
    if times == 1:
        assert errors.count("Traceback") == (number == signal.SIGINT)  # the parent's own
    for _ in range(100):
        if not Path(f"/proc/{worker}").exists():
            break
        time.sleep(0.1)
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


def test_a_process_without_work_leaves_in_silence_when_the_other_end_is_gone(capfd: pytest.CaptureFixture) -> None:
    pipe, other = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=pools._serve, args=(other,))
    process.start()
    other.close()
    pipe.send(functools.partial(square, 3))
    assert pipe.recv() == (9, None)
    pipe.close()
    process.join(30)
    assert process.exitcode == 0
    assert capfd.readouterr().err == ""


def test_there_are_as_many_cores_as_this_process_may_use() -> None:
    assert 1 <= pools.cores() <= (os.cpu_count() or 1)


def test_a_script_without_a_main_guard_is_told_so(tmp_path: Path) -> None:
    errors = start(tmp_path, "main()\n").communicate(timeout=60)[1]
    assert "if __name__ == '__main__':" in errors.splitlines()[-1]
