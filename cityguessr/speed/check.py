"""`make gpu-check`: how this project does on a GPU, in a few minutes, written to one JSON file whatever happens.

Correctness comes first, then speed; `sections.SECTIONS` says what is done. The file is written after every row. A
section that fails says so in it, and the next one goes on; one for which the time is too short says that.
"""

from __future__ import annotations

import argparse
import datetime
import gc
import importlib.metadata
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from cityguessr.base import threads
from cityguessr.base.errors import InputError, one_of
from cityguessr.base.files import write_bytes
from cityguessr.speed import cost, rates
from cityguessr.speed.bench import PAPER, TAXONOMY, TINY, Bench, Section
from cityguessr.speed.sections import SECTIONS
from cityguessr.speed.vidtag_hours import hours
from cityguessr.training import provenance

NOT_YET = "not run, because the command was stopped before"
NOT_ASKED = "not run, because it was not asked for"
GRACE = 5  # seconds kept for the end of the command


class Stopped(BaseException):
    """The command was asked to stop; no section may catch it."""


class Record:
    """The JSON file as it grows: it is whole at any time.

    Sections that are not asked for stay as an earlier file of the same machine and day has them.

    Attributes:
        data: its content.
    """

    def __init__(self, path: Path, machine: dict[str, object], chosen: Sequence[str], smallest: bool) -> None:
        self.path, self._lock = path, threading.RLock()
        earlier = self._earlier(machine)
        self.data: dict[str, Any] = {"machine": machine, "smallest": smallest, "sections": {}}
        for name, section in SECTIONS.items():
            state = {"state": NOT_YET if name in chosen else NOT_ASKED, "seconds": 0.0}
            kept = name not in chosen and name in earlier.get("sections", {})
            self.data["sections"][name] = earlier["sections"][name] if kept else state
            for key in section.keys:
                rows = [row for row in earlier.get(key, []) if row["section"] == name] if kept else []
                self.data[key] = self.data.get(key, []) + rows
        self.write()

    def _earlier(self, machine: dict[str, object]) -> dict[str, Any]:
        """The content of the file where it is of the same machine and versions, whatever the code was; or nothing."""
        try:
            earlier = json.loads(self.path.read_text(encoding="utf-8"))
            same = all(earlier["machine"][key] == value for key, value in machine.items() if key not in ("git", "date"))
        except (OSError, ValueError, KeyError):
            return {}
        return earlier if same else {}

    def put(self, key: str, *rows: dict[str, object]) -> None:
        """Add rows to a part of the file."""
        with self._lock:
            self.data[key] += rows
        self.write()

    def state(self, section: str, state: str, seconds: float) -> None:
        """Say how a section went."""
        with self._lock:
            about = {"state": state, "seconds": round(seconds, 1), "code": provenance.code_version()}
            self.data["sections"][section] = about
        self.write()

    def write(self) -> None:
        """Write the file, or leave the one before."""
        with self._lock:
            write_bytes(self.path, (json.dumps(_finite(self.data), indent=1) + "\n").encode())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Returns 0 where everything that was compared agreed, 1 otherwise, 2 for bad arguments."""
    parser = argparse.ArgumentParser(prog="python -m cityguessr.speed.check", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("figures/gpu"), help="the folder of the JSON file")
    parser.add_argument("--minutes", type=float, default=8.0, help="how long it may take")
    parser.add_argument("--only", type=lambda text: text.split(","), help=f"of {', '.join(SECTIONS)}")
    parser.add_argument("--smallest", action="store_true", help="a tiny model: tries the command itself, even on a CPU")
    given = parser.parse_args(arguments)
    try:
        return _run(given.out, given.minutes, given.only or list(SECTIONS), given.smallest)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2


def machine() -> dict[str, object]:
    """The machine and the versions that a result comes from."""
    on_gpu = torch.cuda.is_available()
    return {
        "gpu": torch.cuda.get_device_name() if on_gpu else None,
        "gpu_memory_gb": round(torch.cuda.get_device_properties(0).total_memory / 1e9, 1) if on_gpu else None,
        "driver": _driver() if on_gpu else None,
        "cuda": torch.version.cuda,
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": importlib.metadata.version("torchvision"),
        "transformers": importlib.metadata.version("transformers"),
        "tf32_products": torch.backends.cuda.matmul.allow_tf32,
        "tf32_convolutions": torch.backends.cudnn.allow_tf32,
        "git": provenance.git_state(),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
    }


def held(data: dict[str, Any]) -> bool:
    """Whether everything that was compared agrees, and correctness was finished if it was asked for."""
    state = data["sections"]["correctness"]["state"]
    return state in ("done", NOT_ASKED) and all(row["held"] is not False for row in data["correctness"])


def summary(data: dict[str, Any]) -> str:
    """A file in a few lines, the verdict last."""
    of = data["machine"]
    lines = ["", f"{of['gpu'] or 'no GPU'}, torch {of['torch']}, {of['date']}{', smallest' * data['smallest']}"]
    for name, entry in data["sections"].items():
        lines.append(f"  {name:<16} {entry['seconds']:>6.1f} s  {entry['state']}")
    lines.append("")
    for row in data["correctness"]:
        verdict = {True: "held", False: "NOT HELD", None: "-"}[row["held"]]
        numbers = f"{row['value']:.2e} (at most {row['tolerance']:.2e})" if "value" in row else row["state"]
        lines.append(f"  {verdict:<9} {row['check']:<52} {numbers}")
    if data["throughput"]:
        lines += ["", f"  {'training':<36} batch  ms/step  clips/s  of peak   GB  schedule, min"]
    for row in data["throughput"]:
        if row["state"] != "done":
            lines.append(f"  {row['label']:<36} {row['state']}")
            continue
        share, memory = row["share_of_measured_peak"], row["peak_memory_gb"]
        minutes = row["minutes_for_the_papers_schedule"]
        lines.append(
            f"  {row['label']:<36} {row['batch']:>5} {row['ms_per_step']:>8.2f} {row['clips_per_second']:>8.1f} "
            f"{'' if share is None else format(share, '.0%'):>8} {'' if memory is None else format(memory, '.1f'):>4} "
            f"{'' if minutes is None else format(minutes, '.1f'):>9}"
        )
    for key in ("ceilings", "loader", "rendering", "training_summary", "vidtag"):
        lines += [f"  {row['what']:<60} {row['value']:,} {row['unit']}" for row in data.get(key, ()) if "value" in row]
    if not data["smallest"]:
        lines += [
            f"  VidTAG on Mapillary, {part:<39} {took:.2f} hours"
            for part, took in hours(data.get("vidtag", ())).items()
        ]
    return "\n".join([*lines, "", "everything compared agrees" if held(data) else "CORRECTNESS DID NOT HOLD"])


def _run(out: Path, minutes: float, chosen: list[str], smallest: bool) -> int:
    if unknown := [name for name in chosen if name not in SECTIONS]:
        raise one_of("section", unknown[0], SECTIONS)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu" and not smallest:
        raise InputError(_refusal())
    start = time.monotonic()
    about = machine()
    record = Record(_path(out, about, smallest), about, chosen, smallest)
    folder = Path(tempfile.mkdtemp(prefix="gpu-check-"))
    bench = Bench(device, smallest, folder, record.put, start)
    main_process = os.getpid()

    def stop(number: int, frame: object) -> None:
        if os.getpid() != main_process:  # a loader's worker, which inherits this
            os._exit(1)
        raise Stopped(signal.Signals(number).name)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    watchdog = threading.Timer(60 * minutes, _give_up, (record, bench, minutes, folder))
    watchdog.daemon = True
    watchdog.start()
    try:
        rates.new_model(PAPER.replace(**TINY), TAXONOMY, torch.device("cpu"))  # imports what the first model needs
        gc.collect()
        gc.freeze()  # collections look at what sections make, not at all that was imported
        with threads.limited(1 if smallest else None):
            for name in SECTIONS:
                if name in chosen:
                    _section(name, SECTIONS[name], bench, record, start + 60 * minutes - GRACE)
    except Stopped as error:
        print(f"stopped by {error}; {record.path} has what was done", flush=True)
        return 1
    finally:
        watchdog.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)
        gc.unfreeze()
        shutil.rmtree(folder, ignore_errors=True)
        print(summary(record.data), flush=True)
        print(f"{record.path}, {time.monotonic() - start:.0f} s", flush=True)
    return 0 if held(record.data) else 1


def _section(name: str, section: Section, bench: Bench, record: Record, end: float) -> None:
    """Run one section, if the time is enough, and record how it went."""
    begin, left = time.monotonic(), end - time.monotonic()
    if left < section.least and not bench.smallest:
        record.state(name, f"not run, because {max(0, left):.0f} s were left and it takes {section.least} s", 0.0)
        return
    bench.section, bench.until = name, min(end, begin + section.limit)
    bench.say("begins")
    try:
        record.state(name, "failed: it did not come to its end", 0.0)
        state = section.run(bench) or "done"
    except Stopped as error:
        record.state(name, f"failed: stopped by {error}", time.monotonic() - begin)
        raise
    except Exception as error:
        traceback.print_exc()
        state = f"failed: {type(error).__name__}: {error}".splitlines()[0]
    record.state(name, state, time.monotonic() - begin)
    bench.say(state)
    rates.tidy(bench.device)


def _give_up(record: Record, bench: Bench, minutes: float, folder: Path) -> None:
    """End the process where a section holds it up beyond the time; what was measured is in the file."""
    name = bench.section or next(iter(record.data["sections"]))
    record.state(name, f"failed: not done when the {minutes:g} minutes were over", 0.0)
    shutil.rmtree(folder, ignore_errors=True)
    print(summary(record.data), f"{record.path}: time is up in {name}", sep="\n", flush=True)
    os._exit(1)


def _path(out: Path, about: dict[str, object], smallest: bool) -> Path:
    slug = re.sub(r"[^a-z0-9]+", "-", str(about["gpu"] or "cpu").lower()).strip("-")
    return out / f"{slug}-{about['date']}{'-smallest' * smallest}.json"


def _refusal() -> str:
    """Why a processor is not enough, with the least time that it would take."""
    operations = rates.BACKWARD * cost.size_of(PAPER, TAXONOMY).flops
    seconds = 12 * 1000 * operations / 1e12 / rates.matrix_peak(torch.device("cpu"), 512, 0.3, torch.float32)
    return (
        "there is no GPU that torch can use; a thousand steps of the paper's model alone would take "
        f"{seconds / 3600:.1f} hours on this processor at the rate of its float32 matrix products. Run it where a GPU "
        "is, or try the command itself with --smallest"
    )


def _driver() -> str | None:
    try:
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()[0].strip()
    except (OSError, subprocess.CalledProcessError, IndexError):
        return None


def _finite(value: object) -> object:
    """The same content without NaN and infinity, which JSON does not have: they become text."""
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    if isinstance(value, float) and value not in (float("inf"), float("-inf")) and value == value:
        return value
    return str(value) if isinstance(value, float) else value


if __name__ == "__main__":
    sys.exit(main())
