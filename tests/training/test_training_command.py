"""One command line for both kinds of training: whose a name is, what is listed, and what is refused."""

import dataclasses
import re
from pathlib import Path

import pytest

from cityguessr.base.errors import CannotRun, InputError
from cityguessr.training import command, experiments, track_experiments
from cityguessr.training.command import CITYGUESSR, KINDS, VIDTAG
from cityguessr.training.finished import Finished


def names(*asked: str, profile: str = "mini") -> dict[str, list[str]]:
    return {part.kind.whose: list(part.names) for part in command.chosen(asked, profile, [0])}


def test_tables_and_experiments_by_name() -> None:
    assert names("table3") == {"CityGuessr": list(dict.fromkeys(experiments.TABLES["table3"].values()))}
    assert names("planet", "table_s3", "planet") == {"CityGuessr": ["planet", "cityguessr"]}
    rows = [name for name, _ in track_experiments.TABLES["vidtag_msls"].values()]
    assert names("vidtag_msls", "alpha_001", "vidtag") == {
        "VidTAG": list(dict.fromkeys([*rows, "alpha_001", "vidtag"]))
    }
    assert names("vidtag", "planet") == {"CityGuessr": ["planet"], "VidTAG": ["vidtag"]}
    with pytest.raises(InputError, match=r"'table7'; it is one of \d+, such as table6, .*`cityguessr train --help`"):
        names("table7")


def test_the_help_lists_every_table_and_experiment(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--help"])
    listed = re.findall(r"\w+", capsys.readouterr().out)
    for kind in KINDS:
        assert [name for name in (*kind.tables, *kind.experiments) if name not in listed] == []


def test_a_name_says_whose_it_is() -> None:
    """No experiment of one kind is called like one of the other, or like a table."""
    assert not experiments.EXPERIMENTS.keys() & track_experiments.EXPERIMENTS.keys()
    for kind in KINDS:
        for other in KINDS:
            assert not kind.experiments.keys() & other.tables.keys()
        assert command.ALL not in {*kind.experiments, *kind.tables}


def test_a_table_with_rows_of_both_kinds_is_trained_whole() -> None:
    """VidTAG's table on CityGuessr68k has this paper's systems beside its own."""
    both = names("vidtag_cityguessr68k", profile="cityguessr68k")
    assert {"planet", "cityguessr"} <= set(both["CityGuessr"])
    assert "vidtag" in both["VidTAG"]
    assert names("vidtag_cityguessr68k", profile="midi").keys() == {"CityGuessr"}  # which has no tracks


def test_all_is_what_a_profile_has_data_for() -> None:
    ours = set(experiments.EXPERIMENTS) - {"videomae_by_video", "cityguessr_by_video"}  # MiniWorld needs no such split
    every = names("all")
    assert set(every["CityGuessr"]) == ours
    # SigLIP has no stand-in, and where all location encoders start from random weights VidTAG's does, too
    assert set(track_experiments.EXPERIMENTS) - set(every["VidTAG"]) == {
        *("clip_siglip", "random_start", "geoclip_zeroshot", "geoclip_zeroshot_100k")
    }
    assert set(names("all", profile="msls")["CityGuessr"]) == {"videomae_msls", "cityguessr_msls"}
    every_but = set(track_experiments.EXPERIMENTS) - {"published_scales"}  # they are VidTAG's own there
    assert set(names("all", profile="msls")["VidTAG"]) == every_but
    assert ours - set(names("all", profile="cityguessr68k")["CityGuessr"]) == {"videomae_msls", "cityguessr_msls"}
    assert names("all", profile="gama").keys() == {"VidTAG"}
    assert names("all", profile="midi").keys() == {"CityGuessr"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("vidtag --profile midi", "the profile 'midi' has no data for VidTAG's vidtag; give mini, msls, gama, city"),
        ("planet vidtag --profile gama", "the profile 'gama' has no data for CityGuessr's planet; give mini"),
        ("vidtag --profile huge", "no profile 'huge'; it is one of mini, midi"),
        ("vidtag --profile msls --list", "reads a real data set: give its folder"),
        ("vidtag --accumulate 4", "--plain, --accumulate and --recompute are of CityGuessr's trainings"),
        ("vidtag --task 1", "--task 1: the tasks are 0 to 0 (see --list)"),
        ("vidtag --seeds one", "--seeds one: give whole numbers"),
        ("vidtag planet --processes 0", "processes is 0; it must be at least 1"),
    ],
)
def test_what_is_refused(
    arguments: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("CITYGUESSR_ROOT", str(tmp_path))
    assert command.main(arguments.split()) == 1
    assert message in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.json")), "nothing is trained"


@dataclasses.dataclass(frozen=True)
class Training:
    """A training that takes no time, in the place of both kinds'."""

    name: str
    seed: int
    root: Path

    @property
    def folder(self) -> Path:
        return self.root / "runs" / self.name / f"seed{self.seed}-0"

    @property
    def done(self) -> bool:
        return (self.folder / "provenance.json").is_file()

    def carry_out(self, report: object) -> Finished:
        self.folder.mkdir(parents=True)
        (self.folder / "provenance.json").write_text("{}")
        return Finished(self.folder)


def test_both_kinds_are_listed_and_trained_in_one_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("CITYGUESSR_ROOT", str(tmp_path))
    given: list[dict] = []

    def plan(todo: list, profile: str, *options: object, **more: object) -> tuple[dict, dict]:
        given.append({"options": options, **more})
        lacking = {e.name: CannotRun("no weights") for e, _ in todo if e.name == "clip_siglip"}
        plans = {(e.name, seed): Training(e.name, seed, tmp_path) for e, seed in todo if e.name not in lacking}
        return plans, lacking

    for kind in KINDS:
        monkeypatch.setattr(kind.jobs, "plan_all", plan)
        monkeypatch.setattr(kind.jobs, "check_weights", lambda *_: None)
    arguments = ["planet", "clip_siglip", "vidtag", "--seeds", "0,1", "--processes", "1", "--device", "cpu"]
    wanted = ["planet 0", "planet 1", "clip_siglip 0", "vidtag 0", "clip_siglip 1", "vidtag 1"]
    assert command.main([*arguments, "--list"]) == 0
    listed = [line.split() for line in capsys.readouterr().out.splitlines()]
    trained = experiments.canonical("planet", "mini").name
    assert [f"{line[0]} {line[1]} {line[3]}" for line in listed] == [
        f"{number} {training.replace('planet', trained)}" for number, training in enumerate(wanted)
    ]
    assert [" ".join(line[4:]) for line in listed if line[1] == "clip_siglip"] == ["not possible here: no weights"] * 2

    given.clear()
    assert command.main([*arguments, "--plain"]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("4 of 4 trainings to do, 1 at a time")
    assert said[-2:] == [
        "clip_siglip: not trained: no weights", "2 of 3 experiments have all their runs, with seeds 0,1",
    ]  # fmt: skip
    assert [part["options"][2].plain for part in given] == [True, False]  # which VidTAG's trainings do not know
    assert command.main([*arguments, "--list"]) == 0
    done = [line.endswith("done") for line in capsys.readouterr().out.splitlines()]
    assert done == [True, True, False, True, False, True]


def test_an_experiment_at_two_profiles_is_two_trainings_and_one_without_a_seed_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CITYGUESSR_ROOT", str(tmp_path))

    def plan(todo: list, profile: str, *_: object, **__: object) -> tuple[dict, dict]:
        """Nothing is trained for the zero-shot row: the run of seed 0 is that of all seeds."""
        root = tmp_path / profile
        lacking = {e.name: CannotRun("no weights") for e, _ in todo if (e.name, profile) == ("dinov2", "msls")}
        return {
            (e.name, seed): Training(e.name, seed if e.trained else 0, root)
            for e, seed in todo
            if e.name not in lacking
        }, lacking

    monkeypatch.setattr(VIDTAG.jobs, "plan_all", plan)
    asked = ["vidtag", "dinov2", "geoclip_zeroshot"]
    parts = [part for profile in ("mini", "msls") for part in command.chosen(asked, profile, [0, 1])]
    lines: list[str] = []
    found = command.ensure_all(parts, processes=1, report=lines.append)
    assert lines[0].startswith("8 of 8 trainings to do, 1 at a time")
    assert lines[-1].startswith("vidtag at msls seed 1 ")
    assert str(found.pop("dinov2 at msls")) == "no weights"
    assert {name: [str(folder.relative_to(tmp_path)) for folder in folders] for name, folders in found.items()} == {
        f"{name}{more}": [f"{profile}/runs/{name}/seed{seed}-0" for seed in seeds]
        for profile, more in (("mini", ""), ("msls", " at msls"))
        for name, seeds in (("vidtag", (0, 1)), ("dinov2", (0, 1)), ("geoclip_zeroshot", (0, 0)))
        if (name, profile) != ("dinov2", "msls")
    }


def test_a_training_of_vidtag_by_its_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("CITYGUESSR_ROOT", str(tmp_path))
    asked: list[tuple] = []

    def ensure(experiment: object, profile: str, seed: int, **options: object) -> Training:
        asked.append((experiment.name, profile, seed, options["execution"].device))
        return Training(experiment.name, seed, tmp_path)

    kind = dataclasses.replace(VIDTAG, ensure=ensure)
    monkeypatch.setattr(command, "KINDS", (CITYGUESSR, kind))
    monkeypatch.setattr(command.chosen, "__defaults__", ((CITYGUESSR, kind),))
    assert command.main(["vidtag", "dinov2", "--seeds", "0,3", "--task", "3", "--device", "cpu"]) == 0
    assert asked == [("dinov2", "mini", 3, "cpu")]
    assert capsys.readouterr().out == "dinov2 seed 3: runs/dinov2/seed3-0\n"
