"""Pretrained weights: the guide's table, and messages that name what is missing, its size, its place and the way."""

from pathlib import Path

import pytest

from cityguessr.base import weights

GUIDE = Path(__file__).parents[2] / "notebooks" / "guide" / "real_data.md"


def test_the_guide_prints_the_table_of_weights() -> None:
    """`python -c "from cityguessr.base import weights; print(weights.markdown())"` prints what belongs there."""
    assert weights.markdown() in GUIDE.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", weights.TABLE)
def test_missing_weights_are_named_with_size_place_and_command(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CITYGUESSR_ROOT", str(tmp_path))
    message = str(weights.missing(name, "a test", allow_downloads=False))
    assert message.startswith(f"a test: the weights {name!r} are not on this machine: {weights.place(name)}")
    assert f"(about {weights.TABLE[name].megabytes:,} MB)" in message
    assert f"`{weights.command(name)}` brings them, or set allow_downloads=True" in message
    assert str(tmp_path / "data" / "weights") in weights.command(name)
    assert "\n" not in message
    assert "{" not in message
    assert "could not be fetched" in str(weights.missing(name, allow_downloads=True))


def test_the_version_is_the_digest_of_the_file_or_the_bare_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CITYGUESSR_ROOT", str(tmp_path))
    assert weights.version(None) is None
    assert weights.version("a/model") == "a/model"
    folder = tmp_path / "data" / "weights" / "model"
    folder.mkdir(parents=True)
    (folder / "pytorch_model.bin").write_bytes(b"abc")
    assert weights.version("a/model") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    (folder / "model.safetensors").write_bytes(b"")  # the first of the two counts
    assert weights.version("a/model") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_transformers_is_quiet_within_and_as_before_afterwards() -> None:
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    with weights.quietly():
        assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == (logging.ERROR, False)
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
