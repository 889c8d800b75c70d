"""Tiny videos, frame folders and releases, made in code for the tests, and a disk that fills up."""

import contextlib
import csv
import errno
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from cityguessr.config import ClipFormat
from cityguessr.data.cityguessr68k import ReleaseSource
from cityguessr.data.clips import ClipDataset
from cityguessr.data.prepare import prepare

CITIES = {"Abu_Dhabi": 0, "Paris": 1, "Lyon": 2}
LABELS_LIST = """City,State,Country,Continent
Abu_Dhabi,Abu Dhabi Emirate,United Arab Emirates,Asia
Paris,Ile-de-France,France,Europe
Lyon,Auvergne-Rhone-Alpes,France,Europe
"""
IDS = {"Abu_Dhabi": (0, 0, 0, 0), "Paris": (1, 1, 1, 1), "Lyon": (2, 2, 1, 1)}


def small(**changes: object) -> dict[str, object]:
    """Arguments of `prepare` for four frames of 16 pixels a clip, but for some changes of the format."""
    return {"clip_format": ClipFormat(**{"frames": 4, "size": 16, **changes}), "workers": 1}


SMALL = small()

"""Arguments of `prepare` that are enough for a test."""


def picture(value: int, width: int = 64, height: int = 48) -> np.ndarray:
    """One even grey, uint8 (height, width, 3)."""
    return np.full((height, width, 3), value, np.uint8)


def make_video(path: Path, frames: int = 40, width: int = 64, height: int = 48, index_first: bool = False) -> Path:
    """An H.264 file whose k-th frame is an even grey of 5 k + 20."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options={"movflags": "faststart"} if index_first else {}) as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "1", "g": "12"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for k in range(frames):
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(picture((5 * k + 20) % 256, width, height), "rgb24"))
            )
        container.mux(stream.encode())
    return path


def make_frames(folder: Path, frames: int = 100, size: tuple[int, int] = (64, 48)) -> Path:
    """A folder of `<n>.jpg`, n from 1, not zero-padded; frame n is an even grey of 2 n."""
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(1, frames + 1):
        Image.fromarray(picture(2 * n % 256, *size)).save(folder / f"{n}.jpg", quality=95)
    return folder


def label_line(clip: str, ids: Sequence[int], scenes: Sequence[float] = (), text: Sequence[float] = ()) -> str:
    """A line of a released label file: 5, 21 or 533 fields."""
    return ",".join(map(str, [clip, *ids, *text, *scenes]))


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> Path:
    """A CSV file."""
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def make_release(root: Path, clips: int = 4, frames: int = 20, scenes: bool = True) -> Path:
    """A release of three cities with `clips` clips each, the last of each for validation, every frame there."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "labels_list.csv").write_text(LABELS_LIST)
    lines: dict[str, list[str]] = {"train": [], "val": []}
    for city in CITIES:
        for k in range(clips):
            split = "val" if k == clips - 1 else "train"
            clip = f"{city}_{k:04d}"
            soft = [0.0] * 16
            soft[10], soft[k % 10] = 0.75, 0.25
            lines[split].append(label_line(clip, IDS[city], soft if scenes else ()))
            make_frames(root / split / city / clip, frames)
    for split, content in lines.items():
        (root / f"{split}_labels.txt").write_text("\n".join(content) + "\n")
    return root


def renumber(root: Path) -> None:
    """Exchange the ids of Paris and Lyon in a release, in its list and its label files."""
    head, abu_dhabi, paris, lyon = (root / "labels_list.csv").read_text().splitlines()
    (root / "labels_list.csv").write_text("\n".join([head, abu_dhabi, lyon, paris]) + "\n")
    for file in root.glob("*_labels.txt"):
        text = file.read_text().replace(",1,1,1,1", ",?").replace(",2,2,1,1", ",1,1,1,1").replace(",?", ",2,2,1,1")
        file.write_text(text)


def noisy_clips(folder: Path) -> ClipDataset:
    """Nine prepared clips of four frames, every frame another noise; the set stands in `folder/prepared`."""
    root, random = make_release(folder / "world"), np.random.default_rng(0)
    for file in sorted(root.rglob("*.jpg")):
        Image.fromarray(random.integers(0, 256, (16, 16, 3)).astype(np.uint8)).save(file)
    return prepare(ReleaseSource(root), folder / "prepared", **SMALL).split("train")


def full_after(calls: int, function: Callable = lambda *_: None) -> Callable:
    """The function on a disk that is full once it has been called so many times."""
    made = 0

    def call(*arguments: object) -> object:
        nonlocal made
        made += 1
        if made > calls:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return function(*arguments)

    return call


def one_line(error: pytest.ExceptionInfo) -> str:
    """The message of an error, which has no second line."""
    assert "\n" not in str(error.value)
    return str(error.value)


@contextlib.contextmanager
def readable_by_all() -> Iterator[Path]:
    """A folder that every user of this machine may read: pytest's own folders are closed to others."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nothing may be written in a folder and below, whoever runs the tests: root acts as another user."""
    user = os.geteuid()
    places = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    if user == 0:
        os.seteuid(65534)
    for place in places if user else ():
        place.chmod(0o555)
    try:
        yield
    finally:
        if user == 0:
            os.seteuid(user)
        for place in places if user else ():
            place.chmod(0o755)
