"""Who trains: this process, several processes of this machine, or the workers of a Dask cluster.

Each takes the same list of planned trainings and yields (plan, outcome) as they finish. For what to train, see `jobs`.
"""

import collections
import contextlib
import dataclasses
import functools
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import Any

from cityguessr.base import paths
from cityguessr.base.errors import CannotRun, InputError
from cityguessr.base.files import make_folder
from cityguessr.data.clips import META, PreparedClips
from cityguessr.training import runs
from cityguessr.training.experiments import Experiment
from cityguessr.training.profiles import Profile
from cityguessr.training.runs import Plan


@dataclasses.dataclass(frozen=True)
class Job:
    """One training, as it is handed to a worker: small, and the same on every machine that sees the same folders."""

    experiment: Experiment
    profile: Profile
    seed: int
    clips: str  # folder of the prepared clips
    log: str  # file that gets a line an epoch
    root: str
    allow_downloads: bool
    device: str

    def __str__(self) -> str:
        return f"{self.experiment.name}, seed {self.seed}"


@dataclasses.dataclass(frozen=True)
class Done:
    """What a worker says of a training: the run's folder, and how long it took; 0 where it was there by then."""

    folder: str
    seconds: float


Outcome = Done | CannotRun


def log_file(folder: Path) -> Path:
    """Where a run's lines go while it is trained: `runs/<profile>/<experiment>/seed<k>-<hash>.log`."""
    return folder.with_name(f"{folder.name}.log")


def jobs_for(plans: Sequence[Plan], allow_downloads: bool, device: str) -> list[tuple[Plan, Job]]:
    """Each plan with the job that carries it out."""
    root = str(paths.root())
    pairs = []
    for plan in plans:
        log = log_file(plan.folder)
        make_folder(log.parent)
        clips = str(plan.clips.folder)
        pairs.append(
            (plan, Job(plan.experiment, plan.profile, plan.seed, clips, str(log), root, allow_downloads, device))
        )
    return pairs


@functools.lru_cache(maxsize=1)
def _clips(folder: str, written: int) -> PreparedClips:
    """The set that this process trained on last, with its decoded frames: those of one set are kept at a time."""
    return PreparedClips.load(folder)


def train(job: Job) -> Outcome:
    """Train in this process, its epochs' lines going to the log, which is removed when all is well."""
    start, lines = time.perf_counter(), 0

    def write(line: str) -> None:
        nonlocal lines
        lines += 1
        with open(job.log, "a", encoding="utf-8") as file:
            file.write(line + "\n")

    outcome: Outcome
    meta = Path(job.clips) / META
    try:
        run = runs.ensure(
            job.experiment,
            job.profile,
            job.seed,
            allow_downloads=job.allow_downloads,
            device=job.device,
            clips=_clips(job.clips, meta.stat().st_mtime_ns if meta.is_file() else 0),
            report=write,
        )
        outcome = Done(str(run.folder), time.perf_counter() - start if lines else 0.0)
    except CannotRun as error:
        outcome = error
    Path(job.log).unlink(missing_ok=True)
    return outcome


def here(pairs: Sequence[tuple[Plan, Job]], skip: Container[str]) -> Iterator[tuple[Plan, Outcome]]:
    """One after another, in this process. `skip` may grow meanwhile: experiments whose weights are missing."""
    for plan, job in pairs:
        if plan.experiment.name not in skip:
            yield plan, train(job)


# --- processes of this machine ----------------------------------------------------------------------------------------


def gpus(device: str) -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them; none where `device` is "cpu"."""
    import torch

    if device == "cpu" or not torch.cuda.is_available():
        return []
    count = torch.cuda.device_count()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return visible.split(",")[:count] if visible else [str(number) for number in range(count)]


def at_a_time(profile: Profile, device: str) -> int:
    """How many trainings this machine takes side by side: one a GPU, or as the threads of each share its processors."""
    if found := gpus(device):
        return len(found)
    allowed = getattr(os, "sched_getaffinity", None)  # what taskset, SLURM or a container leaves of the machine
    cores = len(allowed(0)) if allowed else os.cpu_count() or 1
    return max(1, cores // (profile.threads or cores))


def in_processes(
    pairs: Sequence[tuple[Plan, Job]], count: int, skip: Container[str], device: str
) -> Iterator[tuple[Plan, Outcome]]:
    """`count` at a time, in processes of their own.

    Raises InputError for what a training raises as such, and where one was killed; RuntimeError for any other error.
    Trainings that are under way are ended then; they go on after their last whole epoch another time.
    """
    visible = gpus(device)
    # A forked process inherits locks of torch's threads. A fork server starts clean; but it must not have touched CUDA,
    # which imports may do: with GPUs, each process starts from nothing.
    method = "spawn" if visible or "forkserver" not in multiprocessing.get_all_start_methods() else "forkserver"
    context: Any = multiprocessing.get_context(method)
    processes: dict[Any, Any] = {}  # by the pipe to each
    waiting, running = collections.deque(pairs), {}
    try:
        for slot in range(count):
            mine, its = context.Pipe()
            processes[mine] = context.Process(target=_work, args=(its,))
            with _seeing(visible[slot % len(visible)] if visible else None):
                processes[mine].start()
            its.close()
        idle = list(processes)
        while waiting or running:
            while waiting and idle:
                plan, job = waiting.popleft()
                if plan.experiment.name not in skip:
                    running[idle[0]] = plan, job
                    with contextlib.suppress(OSError):  # it has died: what became of it is read below
                        idle[0].send(job)
                    del idle[0]
            # what was waiting may all have been skipped, and a wait for nobody never ends
            for pipe in multiprocessing.connection.wait(list(running)) if running else ():
                plan, job = running.pop(pipe)
                outcome = _answer(pipe, processes[pipe], job)
                idle.append(pipe)
                yield plan, outcome
    finally:
        for process in processes.values():
            process.terminate()
        for pipe, process in processes.items():
            process.join()
            pipe.close()


def _answer(pipe: Any, process: Any, job: Job) -> Outcome:
    """What a process says of a job. Raises what it raised, and InputError where it ended without a word."""
    try:
        return _checked(pipe.recv(), job)
    except (EOFError, ConnectionError):
        process.join()
    code = process.exitcode or 0
    how = f"was ended by force ({signal.Signals(-code).name})" if code < 0 else f"ended with exit code {code}"
    raise InputError(
        f"the training of {job} {how}, as it happens where memory runs out, or where a script has no "
        "`if __name__ == '__main__':`; run again with fewer processes at a time: finished runs are kept, and this one "
        f"goes on after its last epoch (its lines are in {job.log})"
    )


def _checked(outcome: object, job: Job) -> Outcome:
    """The outcome, unless it is an error that stops everything: that is raised."""
    if isinstance(outcome, InputError) and not isinstance(outcome, CannotRun):
        raise outcome from None
    if isinstance(outcome, BaseException) and not isinstance(outcome, CannotRun):
        raise RuntimeError(f"the training of {job} stopped: {outcome} (more in {job.log})") from outcome
    return outcome


@contextlib.contextmanager
def _seeing(gpu: str | None) -> Iterator[None]:
    """Processes started now see one GPU alone, from their first import on; None changes nothing."""
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    try:
        yield
    finally:
        if gpu is not None:
            os.environ.pop("CUDA_VISIBLE_DEVICES")
            if before is not None:
                os.environ["CUDA_VISIBLE_DEVICES"] = before


def _work(pipe: Any) -> None:
    """Train what comes: silent, and gone when the process that started this one is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is for the parent, which ends this process
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    while True:
        job = pipe.recv()
        os.environ["CITYGUESSR_ROOT"] = job.root
        with open(job.log, "a", encoding="utf-8") as file:
            for stream in (1, 2):  # a notebook shows what its children print, in whatever order it comes
                os.dup2(file.fileno(), stream)
        outcome: object
        try:
            outcome = train(job)
        except InputError as error:
            outcome = error
        except Exception as error:
            traceback.print_exc()
            outcome = RuntimeError(f"{type(error).__name__}: {error}")  # not every exception can be sent
        pipe.send(outcome)


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


# --- a Dask cluster ---------------------------------------------------------------------------------------------------

_ONE_AT_A_TIME = threading.Lock()  # torch's random numbers belong to a whole process


def on_cluster(pairs: Sequence[tuple[Plan, Job]], address: str) -> Iterator[tuple[Plan, Outcome]]:
    """On the workers of a Dask scheduler, one training a worker at a time; errors as for `in_processes`."""
    try:
        import distributed
    except ImportError:
        raise InputError("a cluster needs the package distributed; install it, or leave `cluster` out") from None
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # on standard error, of package versions; those of a run stand in its provenance
        try:
            client = distributed.Client(address)  # waits as long as Dask's own configuration says
        except (OSError, ValueError) as error:
            raise InputError(f"no Dask scheduler at {address!r} ({error}); give its address, tcp://host:port") from None
    with client:
        futures = {client.submit(_train_there, job, pure=False): (plan, job) for plan, job in pairs}
        try:
            for future in distributed.as_completed(list(futures)):
                plan, job = futures[future]
                outcome = future.exception() if future.status == "error" else future.result()
                if isinstance(outcome, distributed.KilledWorker):
                    raise InputError(
                        f"the Dask workers that trained {job} died, as they do where memory runs out; give them more "
                        "(--memory-limit), or start fewer on a machine; finished runs are kept"
                    )
                yield plan, _checked(outcome, job)
        except (distributed.client.FutureCancelledError, OSError) as error:
            raise InputError(
                f"the Dask cluster at {address!r} went away ({error}); start it and run again, finished runs are kept"
            ) from None
        finally:
            with contextlib.suppress(Exception):
                client.cancel(list(futures))


def _train_there(job: Job) -> Outcome:
    """Train in a Dask worker."""
    with _ONE_AT_A_TIME:
        os.environ["CITYGUESSR_ROOT"] = job.root
        # A nanny's worker is a daemon, and a daemon may start no process, as torch's DataLoader does to decode frames.
        multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]
        return train(job)
