"""What a page prints for readers to copy runs as it stands, as a script."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
from support import make_video, write_csv

ROOT = Path(__file__).resolve().parents[2]


def snippet(page: str, first: str) -> str:
    """The block of Python in a page's prose that begins with a line."""
    cells = nbformat.read(ROOT / "notebooks" / f"{page}.ipynb", as_version=4).cells
    blocks = [block for cell in cells for block in re.findall(r"```python\n(.*?)```", cell.source, re.DOTALL)]
    (found,) = [block for block in blocks if block.startswith(first)]
    return found


def test_a_folder_of_clips_of_ones_own_is_prepared_and_trained_on(tmp_path: Path) -> None:
    for city in ("Lyon", "Adelaide"):
        for number in (1, 2):
            make_video(tmp_path / "my_videos" / f"{city}{number}.mp4", 16)
    rows = [(path.name, path.stem[:-1]) for path in sorted((tmp_path / "my_videos").iterdir())]
    write_csv(tmp_path / "my_labels.csv", ("video", "city"), rows)
    (tmp_path / "script.py").write_text(snippet("10_prepare_data", "from cityguessr.base import paths"))
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "CITYGUESSR_ROOT": str(tmp_path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "trained in" in done.stdout
    assert [path.name for path in (tmp_path / "data" / "prepared").iterdir() if path.is_dir()] == ["mine"]
    (run,) = tmp_path.glob("runs/mini/videomae/seed0-*/provenance.json")
    assert json.loads(run.read_text())["data"]["clips"] == {"listed": 4, "prepared": 4, "rejected": 0}
    assert "[4 rows x" in done.stdout  # its log, epoch by epoch
