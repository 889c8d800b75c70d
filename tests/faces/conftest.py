"""A small data set with faces, its scan and its inspection, for the tests of faces."""

from pathlib import Path

import pytest
from PIL import Image
from portraits import street

from cityguessr.faces import inspection, scan
from cityguessr.faces.detectors import YuNet
from cityguessr.faces.scan import Scan
from cityguessr.miniworld import MiniWorld


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """Three clips: faces from the second frame on, faces from the first frame on, and none."""
    root = tmp_path / "release"
    frames = {
        "train/Lyon/Lyon_0000": [street(), street((20, 100, 40)), street((24, 100, 40), (300, 120, 30))],
        "val/Lyon/Lyon_0001": [street((200, 60, 50)), street()],
        "val/Oslo/Oslo_0000": [street(), street()],
    }
    for clip, pictures in frames.items():
        (root / clip).mkdir(parents=True)
        for n, picture in enumerate(pictures, start=1):
            Image.fromarray(picture).save(root / clip / f"{n}.jpg", quality=92)
    (root / "labels_list.csv").write_text("City,State,Country,Continent\n")
    return root


@pytest.fixture
def scanned(release: Path, tmp_path: Path) -> Scan:
    """The scan of `release`."""
    return scan.find_faces(release, YuNet(), tmp_path / "scan")


@pytest.fixture
def marks_file(scanned: Scan, tmp_path: Path) -> Path:
    """The table of `scanned` for a person to mark, beside its sheets."""
    return inspection.write_inspection(scanned, tmp_path / "scan")[-1]


@pytest.fixture(scope="session")
def world() -> MiniWorld:
    """The small world, whose streets the crowds stand in."""
    return MiniWorld()
