"""A table's results: what a run is worth, differences clip by clip, and runs that do not belong together."""

from typing import Any

import pytest
import torch
from small_world import collect, trained

from cityguessr.base.errors import InputError, MissingWeights
from cityguessr.evaluation import results
from cityguessr.tables import claims
from cityguessr.training import experiments, jobs
from cityguessr.training.auxiliary import Auxiliary


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
        "videomae_from_random": "VideoMAE, from random weights",
    }


def test_seen_and_unseen_clips_are_counted_apart() -> None:
    """The first 30 of 60 clips are of seen videos; the plain names are theirs, and so is everything beyond top-1."""
    predictions = trained(45, seen=30).predictions
    hits = predictions.right()["city"].double()
    found = results.measure(predictions)
    assert found["top1", "city"] == pytest.approx(100 * hits[:30].mean().item())
    assert found["top1_unseen", "city"] == pytest.approx(100 * hits[30:].mean().item())
    assert found["within_25km", "city"] == results.measure(predictions.part("seen"))["within_25km", "city"]
    assert ("top1_unseen", "city") not in results.measure(trained(45).predictions)


def test_differences_are_taken_clip_by_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"cityguessr": (trained(45),), "videomae": (trained(30),), "scenes_soft": (trained(45),)}
    frame = collect(monkeypatch, "table3", answers).differences().set_index(["row", "clips_of", "level"])
    worse = frame.loc["videomae", "all", "city"]
    assert worse["difference"] == pytest.approx(-25)
    assert worse["low"] < -25 < worse["high"] < 0
    assert worse["p"] < 0.001
    assert worse[["clips", "videos", "n_seeds"]].tolist() == [60, 20, 1]
    assert frame.loc["scenes_soft", "all", "city"][["difference", "low", "high", "p"]].tolist() == [0, 0, 0, 1]
    assert "cityguessr" not in frame.index.get_level_values("row")
    assert set(frame.index.get_level_values("clips_of")) == {"all"}


def test_a_difference_on_all_clips_lies_between_those_on_seen_and_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {name: (trained(45, seen=30),) for name in experiments.TABLES["table3"].values()}
    answers["videomae"] = (trained(20, seen=30),)
    frame = collect(monkeypatch, "table3", answers).differences().set_index(["row", "level", "clips_of"]).sort_index()
    parts = frame.loc["videomae", "city"]
    assert parts["clips"].to_dict() == {"seen": 30, "unseen": 30, "all": 60}
    assert parts.loc["all", "difference"] == pytest.approx(parts.loc[["seen", "unseen"], "difference"].mean())


def test_a_seed_is_paired_with_the_same_seed() -> None:
    """Five seeds against three, in another order: the three that both have, each with its own partner."""
    five = [trained(40 + seed, seed) for seed in range(5)], None
    three = [trained(30, seed) for seed in (3, 0, 1)], None
    found = results.compare(five, three)["city"]
    gains = 100 * torch.tensor([10.0, 11.0, 13.0], dtype=torch.float64) / 60
    assert (found.seeds, found.mean) == (3, pytest.approx(gains.mean().item()))
    assert found.seed_sd == pytest.approx(gains.std().item())
    assert results.gain(five, three)["city"] == (found.mean, found.low, found.high)
    other = [trained(30, 7)], None
    assert results.compare(five, other) == {}  # no seed in common
    assert results.compare(five, ([trained(30, clips="other")], None)) == {}
    assert all(value != value for value in results.gain(five, other)["city"])


def auxiliary(share: float, head: str = "scenes") -> Auxiliary:
    """A head that takes this share of the constant's loss away, more on some clips and less on others."""
    noise = torch.linspace(-0.1, 0.1, 60)
    if head == "text":
        constant = torch.full((60,), 0.75)
        return Auxiliary(text_cosine=constant + 0.25 * (share + noise), text_constant=constant)
    constant = torch.full((60,), 2.5)
    return Auxiliary(
        scene_loss=2.5 * (1 - share - noise), scene_constant=constant, scene_floor=torch.zeros_like(constant)
    )


def test_what_a_head_learned_is_the_share_of_the_constants_loss_that_is_gone() -> None:
    for head, better in (("scenes", 0.5), ("text", 0.05)):
        (line,) = results.learned([trained(30, auxiliary=auxiliary(0.2, head))]).to_dict("records")
        assert line["head"] == head
        assert line["skill"] == pytest.approx(20, abs=1e-4)
        assert line["better"] == pytest.approx(better, abs=1e-6)
        assert 10 < line["low"] < 20 < line["high"] < 30
    assert results.learned([trained(30)]).empty


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
    assert len(claims.CLAIMS) == 20
    for claim in (*claims.CLAIMS, *claims.CONTROLS):
        assert {claim.better, claim.worse} <= set(experiments.TABLES[claim.table])
        printed = claims._paper(claim)
        assert printed > 0 or claim.section == "ours", claim.text


def test_the_verdict_on_a_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decided after Holm's correction, and only where the head that it is about learned its task."""
    text, scenes = auxiliary(0.3, "text"), auxiliary(0.3)
    good = {"cityguessr": (trained(55, seen=30, auxiliary=text),), "isns": (trained(20, seen=30),)}
    good |= {"scenes_soft": (trained(28, seen=30, auxiliary=scenes),), "geodecoder": (trained(55, seen=30),)}
    good |= {"tla_minilm": (trained(50, seen=30, auxiliary=auxiliary(0.02, "text")),)}
    missing = {"tla_clip": MissingWeights("CLIP is not here")}
    monkeypatch.setattr(
        jobs,
        "ensure_all",
        lambda names, *_, **__: {n: (good | missing).get(n, (trained(30, seen=30),)) for n in names},
    )
    frame = claims.check("mini", [0]).set_index("claim")
    assert frame.loc["GeoDecoder is better than ISNs", "verdict"] == "holds"
    assert frame.loc["TextLabel Alignment helps", "verdict"] == "holds"
    assert frame.loc["Scene recognition helps", "verdict"] == "undecided"
    assert frame.loc["CLIP is better than no text", "verdict"] == "not run"
    words = frame.loc["Words are better than random vectors"]
    assert words["verdict"] == "not tested"
    assert words["learned"].startswith("text 2.0 % [")
    assert words["p_holm"] != words["p_holm"]  # and does not count in the correction
    line = frame.loc["TextLabel Alignment helps"]
    assert line["measured"] == pytest.approx((line["seen"] + line["unseen"]) / 2)
    assert line["note"] == "one seed: not the spread of trainings"
    assert line["p"] < line["p_holm"] <= 0.05
    assert 0 < line["detectable"] < line["measured"]


def test_a_small_adjusted_p_decides_for_or_against() -> None:
    assert claims.verdict(-3, 0.04) == "contradicted"
    assert claims.verdict(3, 0.04) == "holds"
    assert claims.verdict(3, 0.06) == "undecided"
    assert claims.verdict(3, 0.01, tested=False) == "not tested"
    assert claims.verdict(float("nan"), float("nan")) == "not run"


def test_a_tables_start_is_said_in_words() -> None:
    assert results.start(None) == "random weights"
    assert results.start("miniworld/videomae") == "pretrained on other MiniWorlds"
    assert results.start("facebook/vit-mae-base") == "facebook/vit-mae-base"
