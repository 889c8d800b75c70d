"""Runs: trained once, found again, told apart by what changes a result, and with their provenance."""

import json
from pathlib import Path

import pytest
import torch
from making import make_release, make_video

from cityguessr import profiles, runs
from cityguessr.errors import InputError
from cityguessr.guess import guess
from cityguessr.taxonomy import LEVELS

SIZES = {"pretrained": None, "frames": 4, "size": 32, "width": 24, "depth": 1, "heads": 2, "epochs": 2}
TINY = profiles.Profile("tiny", "release", False, "a test", SIZES | {"text_encoder": "random"}, 4, workers=0)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    make_release(folder / "release", clips=3, frames=8)
    return folder


@pytest.fixture(autouse=True)
def in_root(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CITYGUESSR_ROOT", str(root))


def ensure(root: Path, seed: int = 0, profile: profiles.Profile = TINY, **options: object) -> runs.Run:
    defaults = {"data_root": root / "release", "device": "cpu", "report": lambda line: None, "workers": 1}
    return runs.ensure("cityguessr", profile, seed, **(defaults | options))


def test_a_run_is_trained_once(root: Path) -> None:
    lines: list[str] = []
    run = ensure(root, report=lines.append)
    assert len(lines) == 4  # what is trained, a line an epoch, and where it is
    again = ensure(root, report=lines.append)
    assert again.folder == run.folder
    assert len(lines) == 4


def test_what_a_run_holds(root: Path) -> None:
    run = ensure(root)
    assert run.folder.parent == root / "runs" / "tiny" / "cityguessr"
    assert run.folder.name.startswith("seed0-")
    names = {path.name for path in run.folder.iterdir()}
    assert names == {
        "config.json",
        "provenance.json",
        "log.csv",
        "model.safetensors",
        "state.pt",
        "predictions.npz",
        "taxonomy.csv",
    }
    assert list(run.log["epoch"]) == [1, 2]
    provenance = run.provenance
    assert provenance["seed"] == 0
    assert provenance["data"] == {
        "folder": "data/prepared/tiny-uniform-4x32",
        "fingerprint": run.clips().fingerprint,
        "synthetic": False,
    }
    assert {"python", "torch", "transformers"} <= set(provenance["versions"])
    assert {"git", "hardware", "seconds", "parameters"} <= set(provenance)
    assert run.config.frames == 4


def test_predictions_are_those_of_the_saved_model(root: Path) -> None:
    run = ensure(root)
    predictions, clips = run.predictions(), run.clips().split("val")
    assert predictions.clip_ids == tuple(clips.clip_ids)
    assert torch.equal(predictions.labels["city"], clips.labels["city"])
    with torch.no_grad():
        output = run.model()(clips.frames_tensor())
    for level in LEVELS:
        assert torch.allclose(output.logits[level], predictions.logits[level], atol=1e-5)
    assert torch.allclose(output.scene, predictions.scene, atol=1e-5)


def test_another_seed_or_configuration_is_another_run(root: Path) -> None:
    longer = profiles.Profile("tiny", "release", False, "a test", dict(TINY.overrides) | {"epochs": 1}, 4, workers=0)
    folders = {ensure(root).folder, ensure(root, seed=1).folder, ensure(root, profile=longer).folder}
    assert len(folders) == 3


def test_an_interrupted_run_is_not_taken_for_whole(root: Path) -> None:
    run = ensure(root)
    before = run.predictions().logits["city"]
    (run.folder / "provenance.json").unlink()
    lines: list[str] = []
    again = ensure(root, report=lines.append)
    assert again.folder == run.folder
    assert lines[1] == "resumed after epoch 2 of 2"
    assert torch.equal(again.predictions().logits["city"], before)


def test_the_code_version_ignores_comments_and_docstrings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    versions = []
    for number, text in enumerate(
        ('"""One."""\nx = 1\n', '"""Two."""\n# why\nx  =  1\n', '"""One."""\nx = 2\n'), start=1
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "model.py").write_text(text)
        monkeypatch.setattr(runs, "_CORE", ("model.py",))
        monkeypatch.setattr(runs, "__file__", str(folder / "runs.py"))
        versions.append(runs.code_version())
    assert versions[0] == versions[1] != versions[2]


def test_changed_clips_are_noticed(root: Path) -> None:
    run = ensure(root)
    path = run.folder / "provenance.json"
    content = path.read_text()
    changed = json.loads(content)
    changed["data"]["fingerprint"] = "another"
    path.write_text(json.dumps(changed))
    try:
        with pytest.raises(InputError, match=r"not the clips that .* was trained on"):
            runs.Run(run.folder).clips()
    finally:
        path.write_text(content)


def test_unknown_names_are_refused(root: Path) -> None:
    with pytest.raises(InputError, match="no profile 'huge'; choose one of mini"):
        runs.ensure("cityguessr", "huge")
    with pytest.raises(InputError, match="no experiment 'citygesser'; choose one of cityguessr"):
        runs.ensure("citygesser", TINY)
    with pytest.raises(InputError, match="the profile 'fresh' reads the real data set; give its folder as data_root"):
        runs.ensure("cityguessr", profiles.Profile("fresh", "release", False, "", SIZES))


def test_guess_a_video_of_ones_own(root: Path, tmp_path: Path) -> None:
    """Top-5 a level with probabilities, and a codependent path that is one in the tree."""
    run = ensure(root)
    path = make_video(tmp_path / "walk.mp4")
    answer = guess(path, run)
    assert len(answer.table()) == 3  # the tree has three cities
    for level in LEVELS:
        assert answer.probabilities[level].sum().item() == pytest.approx(1, abs=1e-5)
        assert list(answer.probabilities[level]) == sorted(answer.probabilities[level], reverse=True)
    chain = run.taxonomy.chain(answer.ids["city"][0])
    assert answer.chain == {level: int(chain[level]) for level in LEVELS}
    assert str(answer).startswith("walk.mp4: ")
    assert "MiniWorld" not in str(answer)  # the guess of a model of synthetic data says so; this one is not


def test_a_guess_of_a_text_file_is_refused(root: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("not a video")
    with pytest.raises(InputError, match=r"notes\.mp4"):
        guess(tmp_path / "notes.mp4", ensure(root))
