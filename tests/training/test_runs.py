"""Runs: trained once, found again, told apart by what changes a result, and with their provenance."""

import ast
import dataclasses
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from support import make_release, one_line

from cityguessr.base.errors import InputError
from cityguessr.taxonomy import LEVELS
from cityguessr.training import finished, profiles, provenance, runs
from cityguessr.training.execution import Execution
from cityguessr.training.predictions import Predictions
from cityguessr.training.recipe import Recipe

SIZES = {"pretrained": None, "frames": 4, "size": 32, "width": 24, "depth": 1, "heads": 2, "epochs": 2}
RANDOM = SIZES | {"text_encoder": "random"}
TINY = profiles.Profile("tiny", "a test", overrides=RANDOM, recipe=Recipe(batch_size=4), loader_workers=0)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    make_release(folder / "release", clips=3, frames=8)
    return folder


@pytest.fixture(autouse=True)
def in_root(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CITYGUESSR_ROOT", str(root))


def ensure(root: Path, seed: int = 0, profile: profiles.Profile = TINY, **options: object) -> runs.Run:
    defaults = {"data_root": root / "release", "execution": Execution("cpu"), "report": lambda line: None, "workers": 1}
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
        "clips": {"listed": 9, "prepared": 9, "rejected": 0},
    }
    assert {"python", "torch", "transformers"} <= set(provenance["versions"])
    assert {"git", "hardware", "seconds", "parameters"} <= set(provenance)
    assert run.config.frames == 4


def test_predictions_are_those_of_the_saved_model(root: Path) -> None:
    run = ensure(root)
    predictions, clips = run.predictions, run.clips().split("val")
    assert predictions.clip_ids == tuple(clips.clip_ids)
    assert torch.equal(predictions.labels["city"], clips.labels["city"])
    with torch.no_grad():
        output = run.model()(clips.frames_tensor())
    for level in LEVELS:
        assert torch.allclose(output.logits[level], predictions.logits[level], atol=1e-5)
    assert torch.allclose(output.scene, predictions.scene, atol=1e-5)


def test_predictions_know_their_tree_and_their_mode(root: Path) -> None:
    run = ensure(root)
    predictions = run.predictions
    assert predictions is run.predictions  # read once
    assert (predictions.taxonomy, predictions.mode) == (run.taxonomy, "codependent")
    right = {level: 100 * hits.double().mean().item() for level, hits in predictions.right("none").items()}
    assert right == predictions.accuracy("none")
    assert torch.equal(predictions.answers()["state"], predictions.answers("codependent")["state"])
    some = predictions.subset(torch.tensor([2, 0]))
    assert some.clip_ids == (predictions.clip_ids[2], predictions.clip_ids[0])
    assert torch.equal(some.answers()["city"], predictions.answers()["city"][[2, 0]])
    assert len(predictions.subset(torch.tensor([True, False, True]))) == 2
    with pytest.raises(InputError, match="no clip"):
        predictions.subset(torch.zeros(3).bool()).right()


def test_the_scenes_of_the_validation_clips_are_those_the_model_was_given(root: Path) -> None:
    scenes = ensure(root).frame_scenes()
    assert scenes.shape == (3, 16)
    torch.testing.assert_close(scenes.sum(dim=1), torch.ones(3))


def test_another_seed_or_configuration_is_another_run(root: Path) -> None:
    longer = dataclasses.replace(TINY, overrides=dict(TINY.overrides) | {"epochs": 1})
    folders = {ensure(root).folder, ensure(root, seed=1).folder, ensure(root, profile=longer).folder}
    assert len(folders) == 3


def test_an_interrupted_run_is_not_taken_for_whole(root: Path) -> None:
    run = ensure(root)
    before = run.predictions.logits["city"]
    (run.folder / "provenance.json").unlink()
    lines: list[str] = []
    again = ensure(root, report=lines.append)
    assert again.folder == run.folder
    assert lines[0].startswith("training cityguessr")  # the state of a finished run is not kept
    assert torch.equal(again.predictions.logits["city"], before)


AS_IT_IS = '''"""One."""
from torch import Tensor
from cityguessr.losses import scene

def f(x: Tensor) -> Tensor:
    """Doubles."""
    return 2 * x

class A:
    width: int = 3
'''


def version(monkeypatch: pytest.MonkeyPatch, folder: Path, **modules: str) -> str:
    (folder / "training").mkdir(parents=True)
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)
    monkeypatch.setattr(provenance, "CORE", tuple(f"{name}.py" for name in modules))
    monkeypatch.setattr(provenance, "__file__", str(folder / "training" / "provenance.py"))
    return provenance.code_version()


@pytest.mark.parametrize(
    ("now", "then"),
    [
        ('"""One."""', '"""Two."""'),
        ('    """Doubles."""\n', "    # twice as much\n"),
        ("return 2 * x", "return (2*x)"),
        ("from cityguessr.losses import scene", "from cityguessr.core.losses import scene"),
        (
            "from torch import Tensor",
            "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from torch import Tensor",
        ),
        ("(x: Tensor) -> Tensor", '(x: "Tensor") -> "Tensor"'),
    ],
)
def test_code_that_moves_or_is_described_anew_trains_nothing_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, now: str, then: str
) -> None:
    assert now in AS_IT_IS
    before = version(monkeypatch, tmp_path / "before", model=AS_IT_IS)
    assert version(monkeypatch, tmp_path / "after", model=AS_IT_IS.replace(now, then)) == before


def test_a_function_in_another_file_is_the_same_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    start = AS_IT_IS.index("class A")
    before = version(monkeypatch, tmp_path / "before", model=AS_IT_IS)
    assert version(monkeypatch, tmp_path / "after", a=AS_IT_IS[start:], b=AS_IT_IS[:start]) == before


@pytest.mark.parametrize(
    ("now", "then"), [("2 * x", "3 * x"), ("width: int = 3", "width: int = 4"), ("(x: Tensor)", "(x: Tensor = 1)")]
)
def test_code_that_computes_something_else_is_another_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, now: str, then: str
) -> None:
    assert now in AS_IT_IS
    before = version(monkeypatch, tmp_path / "before", model=AS_IT_IS)
    assert version(monkeypatch, tmp_path / "after", model=AS_IT_IS.replace(now, then)) != before


def test_what_the_core_computes_with_is_core_itself() -> None:
    """The digest is blind to import lines; that is safe while no core module computes with code outside its reach."""
    package = Path(provenance.__file__).parents[1]
    # What a run's identity names by itself (the profile, the prepared data's fingerprint), or no arithmetic
    harmless = ("base.", "taxonomy", "hierarchy", "training.profiles", "data.shards", "data.sources")
    harmless += ("data.prepared", "data.scene_tables")  # whether a set is whole; its content has a fingerprint
    harmless += ("training.execution", "training.state")  # how a training is carried out, and how it is kept
    harmless += ("training.loading",)  # when frames are read, not what they are: test_loading holds them against memory
    for name in provenance.CORE:
        for node in ast.walk(ast.parse((package / name).read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cityguessr"):
                base = node.module.removeprefix("cityguessr").removeprefix(".")
                for alias in node.names:
                    whole = ".".join(filter(None, (base, alias.name)))
                    module = whole if (package / f"{whole.replace('.', '/')}.py").is_file() else base
                    inside = f"{module.replace('.', '/')}.py" in provenance.CORE
                    assert inside or module.startswith(harmless), f"{name} computes with {module}"


def copied(root: Path, folder: Path) -> runs.Run:
    """A copy of a finished run, to be spoilt."""
    return runs.Run(Path(shutil.copytree(ensure(root).folder, folder / "copy")))


def test_changed_clips_are_noticed(root: Path, tmp_path: Path) -> None:
    run = copied(root, tmp_path)
    changed = run.provenance | {"data": run.provenance["data"] | {"fingerprint": "another"}}
    finished.seal(run.folder, changed)
    with pytest.raises(InputError, match=r"not the clips that .* was trained on"):
        runs.Run(run.folder).clips()


READ = {
    "provenance.json": lambda run: run.provenance,
    "config.json": lambda run: run.config,
    "taxonomy.csv": lambda run: run.taxonomy,
    "log.csv": lambda run: run.log,
    "model.safetensors": lambda run: run.model(),
    "predictions.npz": lambda run: run.predictions,
}


@pytest.mark.parametrize("name", READ)
def test_a_file_of_a_run_that_was_lost_cut_or_edited_is_refused_by_name(root: Path, tmp_path: Path, name: str) -> None:
    run = copied(root, tmp_path)
    path, content = run.folder / name, (run.folder / name).read_bytes()
    READ[name](run)
    edited = (
        content.replace(b"0", b"1", 1) if name.endswith(("json", "csv")) else content[:-1] + bytes([content[-1] ^ 1])
    )
    for bad in (None, b"", content[: len(content) // 2], content + b"x", edited, b"[1, 2]", b"{}"):
        path.unlink()
        if bad is not None:
            path.write_bytes(bad)
        else:
            os.mkfifo(path)
        with pytest.raises(InputError, match=rf"{name}: .*; delete the folder .*copy and run the exp") as e:
            READ[name](runs.Run(run.folder))
        one_line(e)
    path.unlink()
    remedy = (
        "no such file, so this is no finished run" if name == "provenance.json" else "no such file; delete the folder"
    )
    with pytest.raises(InputError, match=rf"{name}: {remedy}"):
        READ[name](runs.Run(run.folder))


def test_files_of_another_run_are_refused(root: Path, tmp_path: Path) -> None:
    run, other = copied(root, tmp_path), ensure(root, seed=1)
    for name in ("model.safetensors", "predictions.npz"):
        shutil.copy(other.folder / name, run.folder / name)
        with pytest.raises(InputError, match=rf"{name}: (changed since it was written|[\d,]+ bytes, where)"):
            READ[name](runs.Run(run.folder))


def test_weights_that_do_not_fit_or_are_not_finite_are_refused_by_name(root: Path, tmp_path: Path) -> None:
    """Even where a digest was recorded of them."""
    run = copied(root, tmp_path)
    path = run.folder / "model.safetensors"
    good = load_file(path)
    for change, message in (
        (
            {"classifiers.city.bias": torch.full((3,), torch.nan)},
            "classifiers.city.bias holds numbers that are not",
        ),
        ({"classifiers.city.bias": torch.zeros(4)}, r"classifiers.city.bias has the shape \(4,\), \(3,\) is needed"),
        ({"stranger": torch.zeros(1)}, "has the unknown stranger"),
    ):
        save_file(good | change, path)
        finished.seal(run.folder, run.provenance)
        with pytest.raises(InputError, match=message):
            runs.Run(run.folder).model()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("logits_state"), "no array logits_state"),
        (lambda a: a.update(logits_city=a["logits_city"][:2]), "logits_city is float32"),
        (
            lambda a: a.update(logits_city=a["logits_city"] * np.float32(np.nan)),
            "logits_city holds numbers",
        ),
        (
            lambda a: a.update(labels_city=a["labels_city"] + 999),
            "labels_city run from 999 to 1001, the tree has 0",
        ),
        (lambda a: a.update(labels_country=-a["labels_country"] - 1), "labels_country run from -"),
        (lambda a: a.update(labels_city=a["labels_city"].astype(float)), "labels_city is float64"),
        (lambda a: a.update(clip_ids=a["clip_ids"].astype(object)), "no archive of arrays"),
        (lambda a: a.update(places=a["places"] * 0 + 181), "places lie beyond 90 degrees"),
        (lambda a: a.update(seen=a["seen"].astype(int)), "seen is int64"),
    ],
)
def test_predictions_that_do_not_belong_together_are_refused(
    root: Path, tmp_path: Path, change: Callable[[dict[str, np.ndarray]], object], message: str
) -> None:
    run = ensure(root)
    with np.load(run.folder / "predictions.npz") as file:
        arrays = {name: file[name] for name in file.files}
    arrays["places"] = np.zeros_like(arrays["places"])
    change(arrays)
    np.savez_compressed(tmp_path / "predictions.npz", **arrays)
    with pytest.raises(InputError, match=rf"predictions\.npz: .*{message}") as error:
        Predictions.load(tmp_path / "predictions.npz", run.taxonomy, "none")
    one_line(error)


def test_unknown_names_are_refused(root: Path) -> None:
    with pytest.raises(InputError, match="no profile 'huge'; it is one of mini"):
        runs.ensure("cityguessr", "huge")
    with pytest.raises(InputError, match=r"no experiment 'citygesser'; it is one of .*, such as cityguessr"):
        runs.ensure("citygesser", TINY)
    with pytest.raises(InputError, match="the profile 'fresh' reads the real data set; give its folder as data_root"):
        runs.ensure("cityguessr", profiles.Profile("fresh", "", overrides=SIZES))


def test_your_own_prepared_clips_can_be_trained_on(root: Path) -> None:
    first = ensure(root)
    assert ensure(root, data_root=None, clips=first.clips()).folder == first.folder


def test_a_prepared_set_is_held_against_its_source(root: Path, tmp_path: Path) -> None:
    ensure(root)
    with pytest.raises(InputError, match=r"labels_list|no such folder"):
        ensure(root, data_root=tmp_path / "mistyped")
    other = make_release(tmp_path / "other", clips=4, frames=8)
    with pytest.raises(InputError, match="holds a preparation of another source"):
        ensure(root, data_root=other)


def test_a_release_with_an_archive_missing_is_no_data_set(root: Path, tmp_path: Path) -> None:
    broken = make_release(tmp_path / "release", clips=3, frames=8)
    shutil.rmtree(broken / "train" / "Paris")
    partial = dataclasses.replace(TINY, name="partial")
    with pytest.raises(InputError, match=r"2 of 9 clips were rejected, the first because .*mend the source"):
        ensure(root, profile=partial, data_root=broken)


@pytest.mark.parametrize("seed", [-1, 2**32, pytest.param(10**5000, id="5001 digits"), 1.0, "1", True, None])
def test_a_seed_is_a_whole_number_of_32_bits(root: Path, seed: object) -> None:
    with pytest.raises(InputError, match=r"a seed is a whole number from 0 to 4,294,967,295, not"):
        ensure(root, seed)


def test_a_run_belongs_to_one_process(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="a run is trained by one process"):
        ensure(root)


@pytest.mark.parametrize("folder", ["data", "runs"])
def test_a_place_that_cannot_be_written_is_named(root: Path, tmp_path: Path, folder: str, monkeypatch: object) -> None:
    monkeypatch.setenv("CITYGUESSR_ROOT", str(tmp_path))
    (tmp_path / folder).write_text("a file where the folder should be")
    with pytest.raises(InputError, match=rf"{folder}.*(choose another folder|cannot be written)"):
        ensure(root)
