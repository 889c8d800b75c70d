"""Tasks spread over processes of this machine or over the workers of a Dask cluster, with one message per trouble.

A task is a name and a function without arguments. Both kinds of pool yield names and results as tasks finish, and end
what is still running when a task raises or the caller stops.
"""

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import pickle
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from cityguessr.base.errors import InputError

T = TypeVar("T")

_SECOND = 1.0  # between two ticks
_PATIENCE = 5.0  # seconds that a process has to end when it is asked to, before it is killed


def cores() -> int:
    """How many cores this process may use: what taskset, SLURM or a container leaves of the machine."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def in_processes(
    tasks: Iterable[tuple[str, Callable[[], T]]],
    slots: int | Sequence[Mapping[str, str]],
    kept: str,
    preload: str | None = None,
    tick: Callable[[], None] | None = None,
) -> Iterator[tuple[str, T]]:
    """The name and the result of each task as they finish, from several processes of this machine.

    The processes leave interrupts to this one, and end with it.

    Args:
        tasks: names, and functions that can be pickled (`functools.partial` of a module's function). They are taken
            one by one, each when a process is free, so that a generator can decide late.
        slots: the number of processes, or the environment variables of each, which hold from its first import on.
        kept: what is kept where a process is ended by force, for the end of the message.
        preload: a module that all tasks need, imported once for all processes.
        tick: called every second while tasks run.

    Raises what a task raises, and InputError where the process of a task was ended.
    """
    slots = [{}] * slots if isinstance(slots, int) else slots
    # A forked process inherits locks of the threads of torch and decord, one from a fork server does not. But the
    # server keeps its environment, and an import may have touched the GPU there: with variables, start from nothing.
    method = "spawn" if any(slots) or "forkserver" not in multiprocessing.get_all_start_methods() else "forkserver"
    context: Any = multiprocessing.get_context(method)
    if preload and method == "forkserver":
        context.set_forkserver_preload([preload])
    processes: dict[Any, Any] = {}  # by the pipe to each
    try:
        for variables in slots:
            pipe, other = context.Pipe()
            process = context.Process(target=_serve, args=(other,))
            with _undisturbed(), _environment(variables):  # a process that has started is known
                process.start()
                processes[pipe] = process
            other.close()
        waiting, idle, running = iter(tasks), list(processes), {}
        while True:
            while idle and (task := next(waiting, None)):
                pipe = idle.pop(0)
                running[pipe] = task[0]
                with contextlib.suppress(OSError):  # the process has died, which its answer shows
                    pipe.send(task[1])
            if not running:
                return
            ready = multiprocessing.connection.wait(list(running), _SECOND if tick else None)
            if tick:
                tick()
            for pipe in ready:
                name = running.pop(pipe)
                result = _answer(pipe, processes[pipe], name, kept)
                idle.append(pipe)
                yield name, result
    finally:
        with _undisturbed():
            for process in processes.values():
                process.terminate()
            for pipe, process in processes.items():
                process.join(_PATIENCE)
                if process.is_alive():
                    process.kill()
                    process.join()
                pipe.close()


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Interrupts wait until the block is left: a second Ctrl-C must not keep processes from being ended."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread is interrupted
        return
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before if before is not None else signal.SIG_DFL)
    if came:
        signal.raise_signal(signal.SIGINT)


def _answer(pipe: Any, process: Any, name: str, kept: str) -> Any:
    """The result of a task, from the process that did it."""
    try:
        result, error = pipe.recv()
    except (EOFError, ConnectionError):
        process.join()
        code = process.exitcode or 0
        how = f"was ended by force ({signal.Signals(-code).name})" if code < 0 else f"ended with exit code {code}"
        raise InputError(
            f"the process of {name} {how}, as it happens where memory runs out, or where a script has no "
            f"`if __name__ == '__main__':`; run again with fewer processes at a time: {kept}"
        ) from None
    if error is not None:
        raise error
    return result


def _serve(pipe: Any) -> None:
    """Does the tasks that come, in a process that is gone when the one that started it is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is for the parent, which ends this process
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError, ConnectionError):  # the pipe closes when the parent is gone: nothing to report
        while True:
            pipe.send(_attempt(pipe.recv()))


def _leave_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


def _attempt(work: Callable[[], T]) -> tuple[T | None, Exception | None]:
    """The result of a task, or its error in a form that can be sent, which not every exception can."""
    try:
        return work(), None
    except Exception as error:
        if not (isinstance(error, InputError) or error.__suppress_context__):  # "from None": the message is enough
            error.add_note(f"In the worker:\n{traceback.format_exc()}")
        try:
            return None, pickle.loads(pickle.dumps(error))
        except Exception:
            return None, RuntimeError(f"{type(error).__name__}: {error}")


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Environment variables within the block, for processes that are started there."""
    before = {name: os.environ[name] for name in variables if name in os.environ}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            del os.environ[name]
        os.environ.update(before)


def on_cluster(
    tasks: Iterable[tuple[str, Callable[[], T]]], address: str, kept: str, tick: Callable[[], None] | None = None
) -> Iterator[tuple[str, T]]:
    """The name and the result of each task as they finish, from the workers of a Dask scheduler.

    `tasks`, `kept` and `tick` are those of `in_processes`. The workers must see the same folders and have this package.

    Raises what a task raises, and InputError where there is no scheduler, where it goes away, and where workers die.
    """
    try:
        import distributed
    except ImportError:
        raise InputError("a cluster needs the package distributed; install it, or leave `cluster` out") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of package versions, on standard error; a run's provenance has them
            client = distributed.Client(address)  # waits as long as Dask's own configuration says
    except (OSError, ValueError) as error:
        raise InputError(f"no Dask scheduler at {address!r} ({error}); give its address, tcp://host:port") from None
    with client:
        names = {client.submit(_attempt, work, pure=False): name for name, work in tasks}
        name, error = "", None
        try:
            finished = distributed.as_completed(list(names))
            while not finished.is_empty():
                while tick and not finished.has_ready():
                    tick()
                    time.sleep(_SECOND)
                future = next(finished)
                name = names[future]
                result, error = future.result()
                if error is not None:
                    break
                yield name, result
        except distributed.KilledWorker:
            raise InputError(
                f"the Dask workers of {name} died, as they do where memory runs out; give them more (--memory-limit), "
                f"or start fewer on a machine: {kept}"
            ) from None
        except (distributed.client.FutureCancelledError, OSError) as lost:
            raise InputError(
                f"the Dask cluster at {address!r} went away ({lost}); start it and run again: {kept}"
            ) from None
        finally:
            with contextlib.suppress(Exception):
                client.cancel(list(names))
    if error is not None:
        raise error
