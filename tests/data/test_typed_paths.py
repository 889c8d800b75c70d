"""Paths as people type them: `~`, and relative to the folder of the notebook or to the project's root."""

from pathlib import Path

import pytest
from support import make_frames, make_release, make_video, one_line, write_csv

from cityguessr.base.errors import InputError
from cityguessr.data import video
from cityguessr.data.cityguessr68k import ReleaseSource
from cityguessr.data.folder import FolderSource
from cityguessr.training import datasets


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's root; one works in its `notebooks/`, as JupyterLab does."""
    (tmp_path / "project" / "notebooks").mkdir(parents=True)
    monkeypatch.setenv("CITYGUESSR_ROOT", str(tmp_path / "project"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path / "project" / "notebooks")
    return tmp_path / "project"


def test_a_video_is_found_from_a_notebook(root: Path) -> None:
    make_video(root / "walk.mp4", 16)
    make_frames(root.parent / "clip", 16)
    for path in ("walk.mp4", Path("walk.mp4"), "../walk.mp4", "~/project/walk.mp4", "~/clip"):
        assert video.read_frames(path, 4, 16).shape == (4, 16, 16, 3)
    assert video.video_info("walk.mp4").frames == 16
    with pytest.raises(InputError) as error:
        video.read_frames("talk.mp4")
    assert f"{root / 'notebooks' / 'talk.mp4'} and {root / 'talk.mp4'}: no such file" in one_line(error)


def test_a_data_set_is_found_from_a_notebook(root: Path) -> None:
    make_release(root / "mine", clips=3, frames=1)
    make_release(root / "mine, too", clips=3, frames=1)  # a comma in a name parts nothing
    for data_root in ("mine", "~/project/mine", "mine, too", root / "mine"):
        folder = datasets.root("cityguessr68k", data_root)
        assert isinstance(folder, Path)
        assert folder.parent == root
        assert len(ReleaseSource(data_root).clips()) == 9
    (root / "notebooks" / "more").mkdir()
    assert datasets.root("cityguessr68k", "mine,more") == (root / "mine", root / "notebooks" / "more")
    with pytest.raises(InputError) as error:
        datasets.root("cityguessr68k", "yours")
    assert f"{root / 'notebooks' / 'yours'} and {root / 'yours'}: no such folder" in one_line(error)


def test_a_folder_of_videos_and_its_table_are_found_from_a_notebook(root: Path) -> None:
    make_video(root / "my_videos" / "a.mp4", 4)
    write_csv(root / "my_labels.csv", ("video", "city"), [("a.mp4", "Lyon")])
    (clip,) = FolderSource("my_videos", "~/project/my_labels.csv").clips()
    assert clip.path == str(root / "my_videos" / "a.mp4")
    with pytest.raises(InputError) as error:
        FolderSource("your_videos", "my_labels.csv")
    assert f"{root / 'notebooks' / 'your_videos'} and {root / 'your_videos'}: no such folder" in one_line(error)
