"""Files are written whole or not at all, and what the disk refuses is explained."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import one_line

from cityguessr.base import files
from cityguessr.base.errors import InputError


@pytest.fixture
def no_rights(tmp_path: Path) -> Iterator[Path]:
    """A folder that this process may not write into, whoever runs the tests."""
    (tmp_path / "locked").mkdir(mode=0o500)
    user = os.geteuid()
    if user == 0:  # root may write anywhere
        os.seteuid(65534)
    try:
        yield tmp_path / "locked"
    finally:
        os.seteuid(user)


def test_no_write_permission_is_said_once_and_clearly(no_rights: Path) -> None:
    with pytest.raises(InputError, match="prepared: no permission to write here; change the folder's mode") as error:
        files.make_folder(no_rights / "prepared")
    one_line(error)
    with pytest.raises(InputError, match=r"meta\.json: no permission to write here"):
        files.write_atomically(no_rights / "meta.json", lambda file: file.write(b"{}"))


def test_in_a_project_of_somebody_else_a_folder_of_ones_own_is_proposed(
    no_rights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CITYGUESSR_ROOT", str(no_rights))
    for folder, variable in (("runs/mini", "CITYGUESSR_ROOT"), ("runs/figures/mini", "CITYGUESSR_FIGURES")):
        with pytest.raises(InputError, match=f"{folder}: no permission to write here.* variable {variable}"):
            files.make_folder(no_rights / folder)


def test_a_full_device_is_told_apart_from_other_faults() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with pytest.raises(OSError, match="No space left") as error, open("/dev/full", "wb", buffering=0) as device:
        device.write(b"x")
    assert "the disk is full" in files.explain(Path("clips-00000.parquet"), error.value)
