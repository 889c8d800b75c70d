"""A function in another process, with a time limit and a bound on memory: for native code that may hang or crash.

One process is started at first use and kept for the next call. It imports neither the caller's main module nor torch,
so that a script needs no `if __name__ == "__main__":` and the start takes a third of a second. It ends with the
process that started it. Threads, forked workers and daemonic workers may all call: each has a process of its own.
"""

import atexit
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from cityguessr.base.errors import InputError

T = TypeVar("T")

MEMORY = 2 << 30  # bytes that a process may have of its own
START_S = 60.0  # for the first import on a busy machine

_SERVE = (
    "import json, sys; given = json.loads(sys.argv[1]); sys.path[:] = given['path']; "
    "from cityguessr.base import apart; apart._serve(**given['settings'])"
)


def call(function: Callable[..., T], *arguments: Any, what: str, limit_s: float) -> T:
    """What the function returns for the arguments, from another process.

    Args:
        function: a function of a module. Its arguments and its result must be picklable.
        what: what the call is about, such as a file, for the start of a message.
        limit_s: seconds after which the process is ended.

    Raises what the function raises, and InputError where it takes longer, runs out of memory or crashes.
    """
    return next(iter(_run(function, arguments, False, what, limit_s)))


def stream(function: Callable[..., Iterable[T]], *arguments: Any, what: str, limit_s: float) -> Iterator[T]:
    """What the function yields for the arguments, one by one, from another process; see `call`.

    `limit_s` is the longest wait for one item. The time that the caller takes between two of them does not count.
    """
    return _run(function, arguments, True, what, limit_s)


def _run(function: Callable, arguments: tuple[Any, ...], many: bool, what: str, limit_s: float) -> Iterator[Any]:
    if not 0 < limit_s < float("inf"):
        raise InputError(f"limit_s is {limit_s}; it is a number of seconds above 0, such as 600")
    worker = _Worker.take()
    finished = False
    try:
        worker.send((function, arguments, many, limit_s))
        while True:
            kind, value = worker.answer(what, limit_s)
            finished = kind != "item"
            if kind == "error":
                raise value
            if kind == "memory":
                raise InputError(
                    f"{what}: reading it takes more than {MEMORY / 1e9:.1f} GB of memory; encode it again at a smaller "
                    "size, or leave it out"
                )
            if kind == "item":
                yield value
            elif many:
                return
            else:
                worker.give_back()
                yield value
                return
    finally:
        if finished:
            worker.give_back()
        else:  # it hangs, has crashed, or is at work on something that nobody waits for
            worker.end()


class _Worker:
    """The process at the other end of a pipe."""

    idle: ClassVar[list["_Worker"]] = []  # those that wait for the next call
    started: ClassVar["weakref.WeakSet[_Worker]"] = weakref.WeakSet()
    lock: ClassVar[Any] = threading.Lock()

    def __init__(self) -> None:
        root = str(Path(__file__).parents[2])
        path = [root, *(entry for entry in sys.path if entry and entry != root)]
        self.pipe, other = Pipe()
        self.said = tempfile.TemporaryFile()  # noqa: SIM115  as long as the process
        settings = {"fd": other.fileno(), "parent": os.getpid(), "memory": MEMORY}
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", _SERVE, json.dumps({"path": path, "settings": settings})],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self.said,
                pass_fds=[other.fileno()],
                env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            )
        finally:
            other.close()
        self.started.add(self)
        self.answer("video", START_S)

    @classmethod
    def take(cls) -> "_Worker":
        with cls.lock:
            while cls.idle:
                worker = cls.idle.pop()
                if worker.process.poll() is None:
                    return worker
                worker.end()
        return cls()

    def give_back(self) -> None:
        with self.lock:
            if self not in self.idle:
                self.idle.append(self)

    def send(self, message: Any) -> None:
        with contextlib.suppress(OSError):  # it has died, which its answer shows
            self.pipe.send(message)

    def answer(self, what: str, limit_s: float) -> tuple[str, Any]:
        try:
            if not self.pipe.poll(limit_s):
                raise InputError(
                    f"{what}: not read within {limit_s:g} s; give a larger limit_s where the file is large or the "
                    "machine busy, otherwise encode it again as H.264 in MP4 or leave it out"
                )
            return self.pipe.recv()
        except (EOFError, ConnectionError):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
            raise InputError(f"{what}: {self._end()}") from None

    def _end(self) -> str:
        """How the process ended, and what it said last."""
        code = self.process.poll()
        how = "does not answer" if code is None else f"ended with exit code {code}"
        if code is not None and code < 0:
            how = f"was ended by {signal.Signals(-code).name}"
        with contextlib.suppress(OSError, ValueError):
            self.said.seek(max(0, self.said.seek(0, os.SEEK_END) - 2000))
            if said := self.said.read().decode(errors="replace").strip():
                how += f" ({said.splitlines()[-1]})"
        return (
            f"the process that read it {how}, as it happens with damaged files and where memory runs out; copy or "
            "download it again, encode it again as H.264 in MP4, or leave it out"
        )

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.close()

    def close(self) -> None:
        self.pipe.close()
        self.said.close()


def _forget() -> None:
    """In a forked process: the kept processes belong to the parent. Close its ends of their pipes, and start anew."""
    _Worker.lock = threading.Lock()
    for worker in list(_Worker.started):
        worker.process.returncode = 0  # not ours to wait for
        worker.close()
    _Worker.idle, _Worker.started = [], weakref.WeakSet()


@atexit.register
def _end_all() -> None:
    while _Worker.idle:
        _Worker.idle.pop().end()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _serve(fd: int, parent: int, memory: int) -> None:
    """Does what comes, in a process that is gone when the one that started it is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is for the parent, which ends this process
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()
    _bound(memory)
    pipe = Connection(fd)
    pipe.send(("ready", None))
    while True:
        try:
            function, arguments, many, limit_s = pipe.recv()
        except (EOFError, ConnectionError):
            return
        except Exception as error:  # a function that cannot be imported here
            pipe.send(("error", RuntimeError(f"{type(error).__name__}: {error}")))
            continue
        for message in _messages(function, arguments, many, limit_s):
            pipe.send(message)


def _messages(function: Callable, arguments: tuple[Any, ...], many: bool, limit_s: float) -> Iterator[tuple[str, Any]]:
    """The answers to one call. The alarm ends a process that hangs in native code and whose parent is gone."""
    try:
        signal.setitimer(signal.ITIMER_REAL, limit_s + 10)
        results = function(*arguments)
        if not many:
            signal.setitimer(signal.ITIMER_REAL, 0)
            yield "done", results
            return
        for item in results:
            signal.setitimer(signal.ITIMER_REAL, 0)
            yield "item", item
            signal.setitimer(signal.ITIMER_REAL, limit_s + 10)
        yield "done", None
    except InputError as error:
        yield "error", error
    except MemoryError:
        yield "memory", None
    except Exception as error:
        wrapped = RuntimeError(f"{type(error).__name__}: {error}")
        wrapped.add_note(f"In the process apart:\n{traceback.format_exc()}")
        yield "error", wrapped
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _bound(memory: int) -> None:
    """Of its own data: address space alone, of which libraries reserve much, costs nothing."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash leaves no file in the user's folder


def _leave_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
