"""Who trains: this process, several processes of this machine, or the workers of a Dask cluster.

Each takes the same tasks and yields names and results as they finish. What a task is: see `jobs`.
"""

import functools
import multiprocessing
import os
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import torch

from cityguessr.base import paths, pools, threads
from cityguessr.base.errors import InputError
from cityguessr.base.files import make_folder

_ONE_AT_A_TIME = threading.Lock()  # torch's random numbers belong to a whole process


class Task(NamedTuple):
    """One training, as an executor takes it.

    Attributes:
        work: what to do; it can be pickled.
        log: the file for what it prints in a process of `in_processes`.
    """

    name: str
    work: Callable[[], Any]
    log: str


def gpus(device: str) -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them; none where `device` is "cpu"."""
    if device == "cpu" or not torch.cuda.is_available():
        return []
    count = torch.cuda.device_count()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return visible.split(",")[:count] if visible else [str(number) for number in range(count)]


def at_a_time(each: int | None, device: str) -> int:
    """How many trainings fit on this machine at a time: one per GPU, or what the processors have threads for.

    Args:
        each: threads of a training; None: all that there are.
    """
    if visible := gpus(device):
        return len(visible)
    cores = threads.cores()
    return max(1, cores // (each or cores))


def asked(processes: int | None, each: Iterable[int | None], device: str) -> int:
    """How many trainings to run at a time: as many as are asked for, or as fit by the neediest kind of them.

    Args:
        processes: what is asked for; None: nothing.
        each: threads of a training, kind by kind.

    Raises InputError for less than one.
    """
    if processes is not None and processes < 1:
        raise InputError(f"processes is {processes}; it must be at least 1")
    return processes or min((at_a_time(threads, device) for threads in each), default=1)


def in_this_process(tasks: Iterable[Task]) -> Iterator[tuple[str, Any]]:
    """The name and the result of each task, one after another."""
    for task in tasks:
        yield task.name, task.work()


def in_processes(
    tasks: Iterable[Task], count: int, device: str, kept: str, tick: Callable[[], None] | None = None
) -> Iterator[tuple[str, Any]]:
    """The name and the result of each task as they finish, `count` at a time, each in a process that sees one GPU.

    `tick` is called every second meanwhile.

    Raises InputError for what a task raises as such, and where a process was ended by force; RuntimeError for any other
    error. Tasks that are under way are ended then.
    """
    visible = gpus(device)
    slots = [{"CUDA_VISIBLE_DEVICES": visible[slot % len(visible)]} for slot in range(count)] if visible else count
    root = str(paths.root())
    works = ((task.name, functools.partial(_logged, task, root)) for task in tasks)
    return pools.in_processes(works, slots, kept, tick=tick)


def on_cluster(
    tasks: Iterable[Task], address: str, kept: str, tick: Callable[[], None] | None = None
) -> Iterator[tuple[str, Any]]:
    """As `in_processes`, on the workers of a Dask scheduler, one task per worker at a time."""
    root = str(paths.root())
    works = ((task.name, functools.partial(_alone, task, root)) for task in tasks)
    return pools.on_cluster(works, address, kept, tick)


def _logged(task: Task, root: str) -> Any:
    """The result of a task whose prints go to its log: a notebook would show those of several tasks intermingled."""
    make_folder(os.path.dirname(task.log))
    with open(task.log, "a", encoding="utf-8") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    return _result(task, root)


def _alone(task: Task, root: str) -> Any:
    """The result of a task in a Dask worker."""
    with _ONE_AT_A_TIME:
        # A nanny's worker is a daemon, and a daemon may start no process, as torch's DataLoader does to decode frames.
        multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]
        return _result(task, root)


def _result(task: Task, root: str) -> Any:
    os.environ["CITYGUESSR_ROOT"] = root
    try:
        return task.work()
    except InputError:
        raise
    except Exception as error:
        traceback.print_exc()
        raise RuntimeError(
            f"the training of {task.name} stopped: {type(error).__name__}: {error} (more in {task.log})"
        ) from None
