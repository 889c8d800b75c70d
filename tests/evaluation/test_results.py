"""A table's results: what a run is worth, differences clip by clip, and runs that do not belong together."""

from typing import Any

import pytest
from small_world import collect, trained

from cityguessr.base.errors import InputError, MissingWeights
from cityguessr.evaluation import results
from cityguessr.tables import claims
from cityguessr.training import experiments, jobs


def test_what_a_run_is_worth() -> None:
    """45 of 60 right, the others a world away, and always a path: nothing to conflict."""
    found = results.measure(trained(45).predictions)
    assert found["top1", "city"] == 75
    assert found["top1", "continent"] >= found["top1", "country"] >= 75
    assert found["conflict_rate", "all"] == 0
    assert found["median_km", "city"] == 0  # places are not known, so a right city is 0 km off
    assert 75 <= found["within_25km", "city"] <= found["within_2500km", "city"] <= 100
    assert 15 < found["ece", "city"] < 30  # almost sure of each answer, and a quarter of them wrong


def test_a_table_has_a_value_a_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {name: (trained(30), trained(36, 1)) for name in experiments.TABLES["table3"].values()}
    found = collect(monkeypatch, "table3", answers)
    assert found.measured()["scenes_soft"]["top1", "city"] == [50, 60]
    assert found.labels == {
        "cityguessr_as_released": "CityGuessr, as released (frames as the profile has them)",
        "videomae_by_video": "VideoMAE, split by source video",
        "cityguessr_by_video": "CityGuessr, split by source video",
    }


def test_differences_are_taken_clip_by_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"cityguessr": (trained(45),), "videomae": (trained(30),), "scenes_soft": (trained(45),)}
    answers |= {
        name: (trained(45, clips="other", split="video"),) for name in ("cityguessr_by_video", "videomae_by_video")
    }
    frame = collect(monkeypatch, "table3", answers).differences().set_index(["row", "level"])
    worse = frame.loc["videomae", "city"]
    assert worse["difference"] == pytest.approx(-25)
    assert worse["low"] < -25 < worse["high"] < 0
    assert frame.loc["scenes_soft", "city"][["difference", "low", "high"]].tolist() == [0, 0, 0]
    assert frame.loc["cityguessr_by_video", "city"][["difference", "low", "high"]].isna().all()  # other clips
    assert "cityguessr" not in frame.index.get_level_values("row")


def test_each_row_of_table_4_has_its_own_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    found = collect(monkeypatch, "table4", {"cityguessr": (trained(30),)})
    assert found.modes == {
        "none": "none",
        "independent": "independent",
        "codependent": "codependent",
        "released": "traced",  # a model of the released code, whose answers are read as it reads them
    }


def test_in_a_codependent_table_a_released_system_is_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its code leaves the products of Eq. 5 out; a table in another mode reads all rows alike."""
    answers = {"scenes_soft": (trained(30, evaluation="traced"),)}
    found = collect(monkeypatch, "table3", answers)
    assert (found.modes["scenes_soft"], found.modes["cityguessr"]) == ("traced", "codependent")
    assert set(collect(monkeypatch, "table3", answers, mode="independent").modes.values()) == {"independent"}


def test_missing_weights_are_the_row_s_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"tla_bert": MissingWeights("the weights of BERT are not on this machine")}
    found = collect(monkeypatch, "table_s2", answers)
    assert found.missing == {"tla_bert": "the weights of BERT are not on this machine"}
    assert "tla_bert" not in found.runs


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (trained(30, code="two"), "code"),
        (trained(30, clips="other"), "validation clips of cityguessr68k, split by clip"),
    ],
)
def test_runs_that_do_not_belong_together_make_no_table(monkeypatch: pytest.MonkeyPatch, other: Any, what: str) -> None:
    with pytest.raises(InputError, match=f"differ in their {what}"):
        collect(monkeypatch, "table3", {"scenes_soft": (other,)})


def executed(torch: str = "2.11.0+cu130", device: str = "cpu", precision: str = "fp32") -> dict[str, object]:
    """What a run records of how it was carried out."""
    return {"execution": {"torch": torch, "device": device, "precision": precision, "path": "fast"}}


def test_in_what_the_runs_of_a_table_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    def of(one: dict[str, object], *others: dict[str, object]) -> dict[str, tuple[str, ...]]:
        answers = {name: (trained(30, **one),) for name in experiments.TABLES["table_s1"].values()}
        answers["scenes_16"] = tuple(trained(30, seed, **other) for seed, other in enumerate((one, *others)))
        return collect(monkeypatch, "table_s1", answers).circumstances()

    assert of(executed(), executed(torch="2.11.0+cpu")) == {}  # one version, built for other devices
    assert of(executed(), executed("2.12.0"), executed("2.10.1")) == {"torch": ("2.10.1", "2.11.0", "2.12.0")}
    on_gpu = executed(device="NVIDIA H100", precision="bf16")
    assert of(executed(), on_gpu) == {"device": ("NVIDIA H100", "cpu"), "precision": ("bf16", "fp32")}
    before = {"versions": {"torch": "2.11.0"}, "hardware": {"gpu": None}}  # runs from when no execution was recorded
    assert of(executed(), before) == {}
    before["hardware"] = {"gpu": "NVIDIA A100"}  # which need not have been used
    assert of(executed(), before) == {"device": ("cpu", "not recorded"), "precision": ("fp32", "not recorded")}


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(InputError, match="no table 'table7'"):
        results.collect("table7")
    with pytest.raises(InputError, match="no evaluation mode 'dependent'"):
        results.collect("table3", mode="dependent")
    with pytest.raises(InputError, match="each once"):
        results.collect("table3", seeds=[0, 0])
    with pytest.raises(InputError, match="table3 has no row planet"):
        results.collect("table3", only=["planet"])


def test_claims_name_rows_that_exist_and_the_paper_supports_its_own() -> None:
    for claim in claims.CLAIMS:
        assert {claim.better, claim.worse} <= set(experiments.TABLES[claim.table])
        printed = claims._paper(claim)
        assert printed > 0 or claim.section == "ours", claim.text


def test_the_verdict_on_a_claim_follows_from_the_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    good = {"cityguessr": (trained(45),), "isns": (trained(20),), "mae_random": (trained(40),)}
    missing = {"tla_clip": MissingWeights("CLIP is not here")}
    monkeypatch.setattr(
        jobs, "ensure_all", lambda names, *_, **__: {n: (good | missing).get(n, (trained(30),)) for n in names}
    )
    frame = claims.check("mini", [0]).set_index("claim")["verdict"]
    assert frame["TextLabel Alignment helps"] == "holds"
    assert frame["Scene recognition helps"] == "undecided"
    assert frame["CLIP is better than no text"] == "not run"
    assert claims.verdict(-3, -5, -1) == "contradicted"
