"""The search for a recipe: every trial recorded, none done twice, and the validation split left alone."""

import csv
import pickle
from pathlib import Path

import pytest
from support import CITIES, make_release, write_csv

from cityguessr.base.errors import InputError
from cityguessr.taxonomy import LEVELS
from cityguessr.training import profiles, runs
from cityguessr.training.execution import Execution
from cityguessr.training.recipe import Recipe
from cityguessr.training.search import SPACE, Record, Trial, drawn, held_out, search

SIZES = {"pretrained": None, "frames": 4, "size": 32, "width": 24, "depth": 1, "heads": 2, "epochs": 2}
SIZES |= {"text_encoder": "random"}
PAPER = Recipe(batch_size=4, learning_rate=3e-3)
TINY = profiles.Profile("tiny", "a test", overrides=SIZES, recipe=PAPER, loader_workers=0, threads=1)
CPU = Execution("cpu")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three cities with five clips each: two long videos of two clips for training, a clip of the first to validate."""
    folder = tmp_path_factory.mktemp("project")
    make_release(folder / "release", clips=5, frames=8)
    rows = [
        ("val" if k == 4 else "train", f"{city}_{k:04d}", f"{city}-{k // 2 % 2}") for city in CITIES for k in range(5)
    ]
    write_csv(folder / "release" / "clips.csv", ("split", "clip", "video"), rows)
    return folder


@pytest.fixture(autouse=True)
def in_root(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CITYGUESSR_ROOT", str(root))


def find(root: Path, out: Path, trials: int = 3, **options: object) -> tuple[Recipe, list[str]]:
    """The best recipe, and the lines that were reported."""
    lines: list[str] = []
    defaults = {"data_root": root / "release", "finalists": 1, "seeds": (0, 1), "execution": CPU}
    best = search("cityguessr", TINY, trials, out, report=lines.append, **(defaults | options))
    return best, lines


def rows_of(path: Path) -> dict[tuple[int, int], dict[str, str]]:
    with open(path, newline="") as file:
        return {(int(row["trial"]), int(row["seed"])): row for row in csv.DictReader(file)}


def test_every_trial_is_recorded_and_none_is_done_twice(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "search" / "tiny.csv"
    best, lines = find(root, out)
    rows = rows_of(out)
    first = {key for key in rows if key[1] == 0}
    again = {trial for trial, seed in rows if seed == 1}
    assert first == {(0, 0), (1, 0), (2, 0)}
    scores = {trial: float(row["mean"]) for (trial, seed), row in rows.items() if seed == 0}
    assert again == {0, max(scores, key=lambda trial: (scores[trial], -trial))}
    for (trial, _), row in rows.items():
        assert float(row["mean"]) == pytest.approx(sum(float(row[level]) for level in LEVELS) / 4, abs=1e-3)
        recipe = drawn(trial, PAPER)
        assert {name: row[name] for name in SPACE} == {name: str(getattr(recipe, name)) for name in SPACE}
        assert (row["clips_trained"], row["clips_held_out"]) == ("6", "6")
        assert row["code"] == runs.plan("cityguessr", TINY, data_root=root / "release").identity["code"]
        assert float(row["seconds"]) > 0
    means = {trial: (scores[trial] + float(rows[trial, 1]["mean"])) / 2 for trial in again}
    assert best == drawn(max(means, key=lambda trial: (means[trial], -trial)), PAPER)
    assert lines[-1] == f"best: trial {max(means, key=lambda trial: (means[trial], -trial))}, {best}"

    content = out.read_bytes()
    assert find(root, out)[0] == best
    assert out.read_bytes() == content

    kept = [line for line in content.decode().splitlines() if not line.startswith("1,0,")]
    out.write_text("\n".join(kept) + "\n")
    find(root, out)
    untimed = [{name: row[name] for name in row if name != "seconds"} for row in rows.values()]
    assert [{name: row[name] for name in row if name != "seconds"} for row in rows_of(out).values()] == untimed


def test_a_record_of_another_search_is_refused(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "tiny.csv"
    find(root, out, trials=2, seeds=(0,))
    with pytest.raises(InputError, match=r"tiny\.csv, line 2: search_seed is 0, and 1 now; .* as --out"):
        find(root, out, trials=2, seeds=(0,), search_seed=1)
    out.write_text("trial,seed\n0,0\n")
    with pytest.raises(InputError, match=r"tiny\.csv, line 1: no column mean"):
        find(root, out, trials=2, seeds=(0,))


def test_a_recipe_that_diverges_is_a_result(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = runs.plan("cityguessr", TINY, data_root=root / "release", execution=CPU)
    monkeypatch.setattr("cityguessr.training.loop.learning_rate", lambda *_: 1e30)
    row = Trial(7, 0, PAPER, plan).train()
    assert (row["trial"], row["city"], str(row["loss"])) == (7, 0.0, "nan")


def test_whole_videos_of_the_training_split_are_held_out(root: Path) -> None:
    clips = runs.plan("cityguessr", TINY, data_root=root / "release").clips
    prepared = runs.PreparedClips.load(clips)
    train, val = prepared.split("train"), prepared.split("val")
    kept, out = held_out(train)
    assert not set(kept.video_ids) & set(out.video_ids)
    single, others = held_out(train, "clip")
    assert sorted(single.clip_ids + others.clip_ids) == sorted(train.clip_ids)
    with pytest.raises(InputError, match="no way to hold out 'city'; it is one of video, clip"):
        held_out(train, "city")
    assert sorted(kept.clip_ids + out.clip_ids) == sorted(train.clip_ids)
    assert not (set(kept.clip_ids) | set(out.clip_ids)) & set(val.clip_ids)
    for part in (kept, out):  # each clip with its own frames and labels
        for i, name in enumerate(part.clip_ids):
            there = train.clip_ids.index(name)
            assert part[i]["frames"].equal(train[there]["frames"])
            assert part[i]["labels"].equal(train[there]["labels"])
            assert part.frame_scenes(i).equal(train.frame_scenes(there))
            assert part.frames_tensor()[i].equal(train[there]["frames"])


def test_a_trial_is_drawn_by_its_number_alone_at_the_paper_s_compute() -> None:
    recipes = [drawn(number, PAPER) for number in range(200)]
    assert recipes[0] == PAPER
    assert recipes[5] == drawn(5, PAPER)
    assert len(set(recipes)) == 200
    assert drawn(5, PAPER, seed=1) != recipes[5]
    assert {recipe.batch_size for recipe in recipes} == {4}
    for name in SPACE:
        assert len({getattr(recipe, name) for recipe in recipes}) > 1
    rates = [recipe.learning_rate / 3e-3 for recipe in recipes[1:]]
    assert 0.24 < min(rates) < 0.4
    assert 2.5 < max(rates) < 4.1


def test_a_trial_can_be_sent_to_another_process(root: Path) -> None:
    trial = Trial(1, 2, drawn(1, PAPER), runs.plan("cityguessr", TINY, data_root=root / "release"))
    sent = pickle.loads(pickle.dumps(trial.train)).__self__
    assert (sent.number, sent.seed, sent.recipe) == (1, 2, trial.recipe)


def test_the_mean_over_seeds_ranks(tmp_path: Path) -> None:
    record = Record(tmp_path / "none.csv", {})
    record.rows = {(0, 0): {"mean": "30"}, (1, 0): {"mean": "40"}, (1, 1): {"mean": "10"}, (2, 0): {"mean": "25"}}
    assert record.ranking() == [0, 1, 2]
    assert record.score(1) == (25.0, 2)


def test_too_little_to_compare_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="1 trials"):
        search("cityguessr", TINY, 1, tmp_path / "none.csv")


def test_the_tuned_recipe_is_the_one_that_the_kept_record_found_best() -> None:
    mini, path = profiles.get("mini"), Path(__file__).parents[2] / "figures" / "search" / "mini.csv"
    record = Record(path, {"search_seed": "0"})
    tried = {trial: record.score(trial) for trial in record.ranking()}
    most = max(seeds for _, seeds in tried.values())
    assert (len(tried), most) == (24, 3)
    best = next(trial for trial in record.ranking() if tried[trial][1] == most)
    assert drawn(best, mini.recipe) == mini.tuned
    assert drawn(0, mini.recipe) == mini.recipe
