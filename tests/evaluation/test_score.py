"""A checkpoint is scored in one command, beside what the paper prints."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from support import make_frames, make_release, one_line

from cityguessr.base.errors import InputError
from cityguessr.config import ModelConfig
from cityguessr.evaluation import score, scoring
from cityguessr.speed.reference import released_state
from cityguessr.taxonomy import LEVELS, Taxonomy
from cityguessr.training import profiles, runs
from cityguessr.training.execution import Execution
from cityguessr.training.recipe import Recipe

SIZES = {"pretrained": None, "frames": 4, "size": 32, "width": 24, "depth": 1, "heads": 2, "epochs": 1}
TINY = profiles.Profile(
    "tiny", "a test", overrides=SIZES | {"text_encoder": "random"}, recipe=Recipe(batch_size=4), loader_workers=0
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> runs.Run:
    root = tmp_path_factory.mktemp("project")
    make_release(root / "release", clips=3, frames=8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CITYGUESSR_ROOT", str(root))
        options = {"data_root": root / "release", "execution": Execution("cpu"), "report": print, "workers": 1}
        return runs.ensure("cityguessr", TINY, 0, **options)


@pytest.fixture(autouse=True)
def in_root(run: runs.Run, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = run.folder.parents[3]
    monkeypatch.setenv("CITYGUESSR_ROOT", str(root))
    return root


def whole_tree(root: Path) -> Path:
    """A release over the paper's 166 cities, with two clips of 80 frames to validate on and one to train on."""
    tree = Taxonomy.cityguessr68k()
    root.mkdir()
    lines = ["City,State,Country,Continent"]
    lines += [
        ",".join([row["city"], str(row["state"]).replace(",", ""), row["country"], row["continent"]])
        for row in tree.rows()
    ]
    (root / "labels_list.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for split, cities in (("val", (0, 7)), ("train", (3,))):
        ids = [[str(int(tree.ancestors[level][city])) for level in LEVELS] for city in cities]
        names = [f"{tree.folders[city]}_0000" for city in cities]
        (root / f"{split}_labels.txt").write_text(
            "".join(f"{n},{','.join(i)}\n" for n, i in zip(names, ids, strict=True))
        )
        for city, name in zip(cities, names, strict=True):
            make_frames(root / split / tree.folders[city] / name, 80)
    return root


def test_the_authors_checkpoint_is_scored_on_the_validation_split_alone(
    tmp_path: Path, in_root: Path, capsys: pytest.CaptureFixture
) -> None:
    release, path, table = whole_tree(tmp_path / "release"), tmp_path / "checkpoint.pth", tmp_path / "scores.csv"
    torch.save({"epoch": 12, "state_dict": released_state(layers=1)}, path)
    arguments = [str(path), "--profile", "cityguessr68k", "--data-root", str(release), "--protocol", "released"]
    arguments += ["--protocol", "described", "--device", "cpu", "--workers", "1", "--csv", str(table)]
    assert score.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "Table 5, CityGuessr" in printed
    assert "released protocol (no products)" in printed
    assert "described: 15 frames, where this model was trained on 16; the last one is repeated" in printed
    prepared = sorted(folder.name for folder in (in_root / "data" / "prepared").glob("cityguessr68k*val"))
    assert prepared == ["cityguessr68k-released-16x224-val", "cityguessr68k-uniform-15x224-val"]
    frame = pd.read_csv(table)
    assert set(frame["source"]) == {"paper", "measured"}
    measured = frame[frame["source"] == "measured"]
    assert set(measured["clips"]) == {2}  # the clip of the training split was not prepared
    assert measured["sha256"].nunique() == measured["commit"].nunique() == 1
    assert measured["fingerprint"].nunique() == 2
    model = score.load(path).model
    clips = score.validation("cityguessr68k", model.config.clip_format)
    with torch.no_grad():
        wanted = model(clips.frames_tensor().float() / 255).logits
    given = scoring.protocol("released", model.config)
    found = score.logits(model, clips, given, profiles.get("cityguessr68k"), device="cpu")
    assert all(torch.allclose(found[level], wanted[level], atol=1e-5) for level in LEVELS)


def test_a_run_is_scored_as_it_was_validated(run: runs.Run) -> None:
    for place in (run.folder, run.folder / "model.safetensors"):
        frame, notes = score.score(place, TINY, device="cpu")
        scores = frame[frame["source"] == "measured"].set_index(["mode", "level"])["top1"]
        for mode in ("none", "independent", "codependent", "traced"):
            for level, value in run.predictions.accuracy(mode).items():
                assert scores[mode, level] == pytest.approx(value)
        assert notes[0].endswith(run.provenance["files"]["model.safetensors"]["sha256"][:16])


def test_the_papers_rows_stand_as_printed() -> None:
    printed = scoring.printed().set_index(["row", "level"])["top1"]
    assert printed["Table 5, CityGuessr", "city"] == printed["Table 4, codependent", "city"] == 69.6


@pytest.mark.parametrize(
    ("name", "changes", "outcome"),
    [
        ("own", {"frames": 8, "size": 64}, 8),
        ("released", {"frames": 8}, "released: it takes 16 frames, and this model has positions for 8 alone"),
        ("released", {"size": 64}, "it takes frames of 224 pixels, and this model was trained on 64"),
        ("described", {"frames": 16}, 15),  # the last frame of an odd clip is repeated, so that it fills eight tubelets
        ("described", {"frames": 16, "backbone": "timesformer"}, "it takes 15 frames, and this model has positions"),
        ("released", {"frames": 15, "backbone": "mae", "frame": "random"}, 16),
    ],
)
def test_a_protocol_fits_a_model_or_says_why_not(name: str, changes: dict, outcome: int | str) -> None:
    found = scoring.protocol(name, ModelConfig().replace(**changes))
    if isinstance(outcome, str):
        assert outcome in found
    else:
        assert found.config.frames == outcome


def test_what_cannot_be_scored_is_said_in_one_line(
    run: runs.Run, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(InputError, match=r"no protocol can be run \(not run: released: it takes 16 frames") as error:
        score.score(run.folder, TINY, protocols=["released"], device="cpu")
    one_line(error)
    other = whole_tree(tmp_path / "other")
    with pytest.raises(InputError, match="the model was trained on another label tree") as error:
        score.score(run.folder, profiles.Profile("elsewhere", "", loader_workers=0), other, device="cpu", workers=1)
    one_line(error)
    spoilt = Path(shutil.copytree(run.folder, tmp_path / "run"))
    (spoilt / "model.safetensors").write_bytes(b"{}")
    assert score.main([str(spoilt), "--profile", "mini"]) == 1
    assert "model.safetensors: 2 bytes, where" in capsys.readouterr().err
