"""A trained run is opened by its folder, from anywhere on the disk, or by its name; nothing is trained for it."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import make_release, one_line, read_only, readable_by_all
from test_runs import TINY, ensure

import cityguessr
from cityguessr.base.errors import CannotRun, InputError
from cityguessr.evaluation import results
from cityguessr.training import experiments, finished, jobs, opening, profiles, runs
from cityguessr.training.execution import Execution
from cityguessr.training.runs import Run


@pytest.fixture(scope="module")
def house() -> Iterator[Path]:
    """A project with a tiny run of "cityguessr" with seed 1, which every user of the machine may read."""
    with readable_by_all() as root, pytest.MonkeyPatch.context() as patch:
        patch.setenv("CITYGUESSR_ROOT", str(root))
        patch.setitem(profiles.PROFILES, "tiny", TINY)
        make_release(root / "release", clips=3, frames=8)
        ensure(root, seed=1)
        yield root


@pytest.fixture
def run(house: Path) -> Run:
    return cityguessr.load("cityguessr", profile="tiny")


@pytest.fixture
def elsewhere(run: Run, tmp_path: Path) -> Path:
    """The run's folder as a colleague sends it."""
    return shutil.copytree(run.folder, tmp_path / "sent" / run.folder.name)


def reseal(folder: Path, change: Callable[[dict], object]) -> None:
    """Change what the record of a run says, as its own training might have written it."""
    record = json.loads((folder / "provenance.json").read_text())
    change(record)
    finished.seal(folder, {key: value for key, value in record.items() if key not in ("files", "digest")})


def test_a_run_is_opened_from_any_folder(
    run: Run, elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    inside = str(run.folder.relative_to(run.folder.parents[3]))  # in the project's root
    for path in (elsewhere, str(elsewhere), f"sent/{elsewhere.name}", f"~/sent/{elsewhere.name}", inside):
        opened = cityguessr.load(path)
        assert opened.provenance == run.provenance
        assert opened.taxonomy == run.taxonomy
    assert cityguessr.load(elsewhere / "model.safetensors").folder == elsewhere
    assert len(opened.predictions) == 3
    assert Run(str(elsewhere)).config == Run(elsewhere).config == run.config


def test_a_run_is_opened_by_the_name_of_its_experiment(
    house: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The present code's come first, then the lowest seed, then the newest; those of clips of one's own come last."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cityguessr").mkdir()  # as in a clone: the name of an experiment is not taken for this folder
    assert run.provenance["seed"] == 1

    def another(name: str, **changes: object) -> Path:
        place = shutil.copytree(run.folder, run.folder.with_name(name))
        reseal(place, lambda record: record.update(changes))
        return place

    ours = run.provenance["data"]
    made = [
        another("seed0-old", seed=0, code="an older one"),
        another("seed0-mine", seed=0, data=ours | {"folder": "data/prepared/mine"}),
        another("seed2-new", seed=2),
        another("seed1-newer", finished="2999-01-01T00:00:00Z"),
    ]
    try:
        order = [run.folder.name for run in opening.finished("cityguessr", "tiny")]
        assert order == ["seed1-newer", run.folder.name, "seed2-new", "seed0-old", "seed0-mine"]
        assert cityguessr.load("cityguessr", profile="tiny", seed=2).folder == made[2]
        (made[3] / "provenance.json").write_text("{}")  # broken: passed over
        assert cityguessr.load("cityguessr", profile="tiny").folder == run.folder
        assert [name for _, name, _ in opening.everything()] == ["cityguessr"] * 4
    finally:
        for place in made:
            shutil.rmtree(place)


def test_a_name_without_a_run_says_what_trains_one(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "ensure", pytest.fail)
    with pytest.raises(CannotRun, match=r"no trained run of planet at the profile mini is on this machine") as error:
        cityguessr.load("planet")
    assert "python -m cityguessr.training mae_random --profile mini" in one_line(error)
    with pytest.raises(CannotRun, match=r"there are some at the profile tiny.*--profile mini --seeds 3"):
        cityguessr.load("cityguessr", seed=3)
    with pytest.raises(
        InputError, match=r"no such folder, and no experiment has this name.*trained here \(cityguessr\)"
    ):
        cityguessr.load("citygesser")
    crowd = [*experiments.EXPERIMENTS]
    monkeypatch.setattr(opening, "everything", lambda: (("mini", name, None) for name in crowd))
    for given in ("runs/mini/videomea/seed0-1a2b3c4d", "videomea"):
        with pytest.raises(InputError, match=r"an experiment that is trained here \(videomae") as error:
            cityguessr.load(given)
        message = one_line(error)
        assert message.endswith(f"; `cityguessr runs` lists all {len(crowd)} that are trained here")
        assert sum(f"{name}," in message or f"{name})" in message for name in crowd) <= 4
    with pytest.raises(InputError, match=r"the folder of a run, or an experiment; `cityguessr runs` lists all"):
        cityguessr.load("nothing/like/it")
    with pytest.raises(InputError, match="no profile 'huge'"):
        cityguessr.load("cityguessr", profile="huge")


def test_what_is_no_run_is_told_apart(house: Path, elsewhere: Path, tmp_path: Path) -> None:
    def refused(path: Path) -> str:
        with pytest.raises(InputError) as error:
            cityguessr.load(path)
        return one_line(error)

    (tmp_path / "empty").mkdir()
    (tmp_path / "released.pth").touch()
    assert "no run is in this folder" in refused(tmp_path / "empty")
    assert "load_released_checkpoint" in refused(tmp_path / "released.pth")
    assert f"holds 1 runs; give one of them: {elsewhere}" in refused(tmp_path)
    reseal(elsewhere, lambda record: record.update(tracks="of frames"))
    assert "a run of VidTAG" in refused(elsewhere)
    (elsewhere / "model.safetensors").unlink()
    (elsewhere / "provenance.json").unlink()
    half = refused(elsewhere)
    assert "did not finish" in half
    assert "python -m cityguessr.training cityguessr --profile tiny --seeds 1" in half


def test_a_run_of_another_version_is_not_read_as_ours(elsewhere: Path) -> None:
    config = json.loads((elsewhere / "config.json").read_text())
    config["model"]["wings"] = 2
    (elsewhere / "config.json").write_text(json.dumps(config))
    reseal(elsewhere, lambda record: record["versions"].update(cityguessr="9.1"))
    with pytest.raises(InputError, match=r"with other settings \(wings unknown here\): open it with version 9\.1"):
        cityguessr.load(elsewhere)


def test_a_run_finds_its_clips_in_its_own_project(house: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    fingerprint = run.clips().fingerprint
    monkeypatch.setenv("CITYGUESSR_ROOT", str(house / "another"))
    assert cityguessr.load(run.folder).clips().fingerprint == fingerprint
    with pytest.raises(InputError, match="not on this machine"):
        Run(shutil.copytree(run.folder, house / "copied")).clips()


def test_a_read_only_copy_serves_a_class_room(house: Path, run: Run, tmp_path: Path) -> None:
    """Finished runs are found, opened, tabulated and asked, and no file is written: not even a lock."""
    for lock in house.rglob("*.lock"):
        lock.unlink()
    before = {path: path.stat().st_mtime_ns for path in house.rglob("*")}
    options = {"data_root": house / "release", "execution": Execution("cpu"), "report": pytest.fail}
    with read_only(house):
        assert runs.ensure("cityguessr", TINY, 1, **options).folder == run.folder
        assert jobs.ensure_all(["cityguessr"], TINY, [1], **options)["cityguessr"][0].folder == run.folder
        opened = cityguessr.load("cityguessr", profile="tiny")
        assert len(opened.clips().split("val")[0]["frames"]) == 4
        collected = results.collect("table_s3", "tiny", [1], data_root=house / "release")
        assert collected.top_k(1)["cityguessr"]["top1", "city"] == [opened.predictions.accuracy("none")["city"]]
        answer = cityguessr.guess(house / "release" / "val" / "Paris" / "Paris_0002", opened)
        assert set(answer.names.values()) <= {name for names in run.taxonomy.names.values() for name in names}
        with pytest.raises(InputError, match=r"no permission to write here.*CITYGUESSR_ROOT"):
            runs.ensure("cityguessr", TINY, 2, **options | {"report": lambda line: None})
    assert {path: path.stat().st_mtime_ns for path in house.rglob("*")} == before


def test_clips_of_ones_own_that_do_not_fit_are_refused_before_anything_is_written(house: Path, run: Run) -> None:
    def refused(experiment: str, change: Callable[[dict], object]) -> str:
        clips = run.clips()
        clips.meta = json.loads(json.dumps(clips.meta))
        change(clips.meta)
        with pytest.raises(InputError) as error:
            runs.plan(experiment, TINY, clips=clips)
        return one_line(error)

    assert "its clips are 9 frames of 32 pixels, and cityguessr at the profile tiny takes 4 of 32" in refused(
        "cityguessr", lambda meta: meta.update(frames=9)
    )
    assert "its 6 clips are all in the split 'train', none in 'val'" in refused(
        "cityguessr", lambda meta: meta["counts"]["val"].update(clips=0)
    )
    bare = run.clips()
    bare.scenes = None
    with pytest.raises(CannotRun, match=r"no scene labels, which cityguessr needs; .* such as videomae"):
        runs.plan("cityguessr", TINY, clips=bare)
    assert runs.plan("videomae", TINY, clips=bare).name == experiments.canonical("videomae", TINY).name


def test_a_seed_that_is_none_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CITYGUESSR_ROOT", str(tmp_path))
    for seed in (-1, 2**32):
        with pytest.raises(InputError, match="a seed is a whole number from 0 to"):
            runs.ensure("cityguessr", "mini", seed)
        with pytest.raises(InputError, match="a seed is a whole number from 0 to"):
            jobs.ensure_all(["cityguessr"], "mini", [seed])
    assert list(tmp_path.iterdir()) == []
