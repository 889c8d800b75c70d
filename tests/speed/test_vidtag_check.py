"""VidTAG's part of the command for a GPU, tiny: what it compares, and the hours that follow from its rates."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cityguessr.speed import records, vidtag_agreement, vidtag_hours
from cityguessr.vidtag.location import RandomFourierFeatures

GUIDE = Path(__file__).parents[2] / "notebooks" / "guide" / "gpu.md"
CPU = torch.device("cpu")
ROWS = [
    {"what": "phase I", "value": 10.0, "phase": 1},
    {"what": "phase II", "value": 20.0, "phase": 2},
    {"what": "clip", "value": 1000.0, "encoder": "clip", "from_host": False},
    {"what": "clip", "value": 2000.0, "encoder": "clip", "from_host": False},
    {"what": "clip", "value": 4000.0, "encoder": "clip", "from_host": True},  # its pictures come from elsewhere
    {"what": "dinov2", "value": 2000.0, "encoder": "dinov2", "from_host": False},
]


def compared() -> dict[str, dict]:
    """All checks, the processor standing in for the GPU that it is compared with."""
    return {row["check"]: row for row in vidtag_agreement.checks(vidtag_agreement.TINY, CPU, True, 400)}


def test_float32_agrees_with_float64_in_loss_gradient_and_retrieval() -> None:
    rows = compared()
    assert [row["held"] for row in rows.values()] == [True] * 7, rows
    assert rows["VidTAG, phase I, GPU against processor: losses"]["value"] == 0
    assert rows["VidTAG, retrieval, GPU against processor: other answers"]["value"] == 0
    assert 0 < rows["VidTAG, phase I, against float64: gradient, frames"]["value"] < 1e-3


def test_angles_of_ten_bits_as_in_tf32_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """256 turns over the map: coordinates rounded as TF32 rounds what it multiplies come out elsewhere."""
    exact = RandomFourierFeatures.forward

    def rounded(features: RandomFourierFeatures, plane: Tensor) -> Tensor:
        if plane.dtype == torch.float32:
            plane = plane.detach().half().float()
        return exact(features, plane)

    monkeypatch.setattr(RandomFourierFeatures, "forward", rounded)
    rows = compared()
    assert rows["VidTAG, coordinates' embeddings, against float64"]["held"] is False
    assert rows["VidTAG, phase I, against float64: loss"]["held"] is False


def test_a_check_that_fails_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(vidtag_agreement.phases, "train", broken)
    rows = compared()
    assert rows["VidTAG, training"] == {
        "check": "VidTAG, training", "state": "failed: RuntimeError: no such kernel", "held": False,
    }  # fmt: skip
    assert sum(row["held"] for row in rows.values()) == 6


def test_hours_on_mapillary_follow_from_the_rates() -> None:
    """16,588 sequences are 130 batches of 128; 600 epochs of phase I and 100 of phase II; five crops a frame."""
    hours = vidtag_hours.hours(ROWS)
    assert hours["phase I"] == pytest.approx(600 * 130 / 10 / 3600)
    assert hours["phase II"] == pytest.approx(100 * 130 / 20 / 3600)
    once = (5 * 1_245_000 + 140_000) * (1 / 2000 + 1 / 2000) / 3600
    assert hours["features of both encoders, once"] == pytest.approx(once)
    shown = 600 * 16_588 * 16 / 1000 / 3600
    assert hours["phase I, nothing kept"] == pytest.approx(hours["phase I"] + shown)
    assert vidtag_hours.hours([*ROWS[1:3], {"what": "a gallery", "value": 1.0}]).keys() == {"phase II"}
    assert vidtag_hours.hours([]) == {}


def test_without_a_gpu_the_table_says_so_and_keeps_the_published_hours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CITYGUESSR_ROOT", str(tmp_path))
    lines = vidtag_hours.markdown().splitlines()
    assert lines[3] == "| phase I | not measured yet | 2.75 |"
    assert lines[5] == "| phase I, nothing kept | not measured yet | 68 |"
    machine = {"gpu": "NVIDIA Test", "torch": "2.11.0", "date": "2026-01-02"}
    folder = tmp_path / "figures" / "gpu"
    folder.mkdir(parents=True)
    for name, rows in (("a", ROWS), ("b", [])):  # a later check without VidTAG hides nothing
        content = {"machine": machine, "smallest": False, "vidtag": rows}
        (folder / f"{name}.json").write_text(json.dumps(content))
    assert len(records.load()) == 2
    assert vidtag_hours.markdown().splitlines()[3] == "| phase I | 2.17 | 2.75 |"
    assert "hours, NVIDIA Test" in vidtag_hours.markdown()


def test_the_guide_prints_the_hours() -> None:
    """`python -c "from cityguessr.speed import vidtag_hours; print(vidtag_hours.markdown())"` prints what belongs."""
    assert vidtag_hours.markdown() in GUIDE.read_text(encoding="utf-8")
