"""What a training takes of a GPU's memory: computed anywhere, held against what an H100 measured."""

from pathlib import Path

import pytest
import torch

from cityguessr.config import ModelConfig
from cityguessr.speed import memory, records
from cityguessr.systems import build
from cityguessr.taxonomy import Taxonomy
from cityguessr.training import experiments
from cityguessr.training.execution import Switches
from cityguessr.training.profiles import PAPER

CITYGUESSR, TIMESFORMER = (experiments.get(name).config(PAPER) for name in ("cityguessr", "timesformer"))
SMALL = ModelConfig(pretrained=None, frames=4, size=128, width=96, depth=6, heads=3)
ISNS = {"system": "isns", "backbone": "mae", "frame": "random", "scene_labels": None, "text_labels": None}


TRANSFORMERS = {"folded": False}  # the forward that transformers writes, in bfloat16
KEPT = records.load(Path(__file__).parents[2] / "figures" / "gpu")


@pytest.mark.parametrize("results", KEPT, ids=lambda results: results.name)
def test_no_gpu_took_more_than_the_margin_allows(results: records.GpuResults) -> None:
    frame = memory.beside_measured(results)
    assert {records.FAST, records.PLAIN} <= set(frame["label"])
    assert frame["ratio"].between(0.85, memory.MARGIN).all(), frame


@pytest.mark.parametrize(
    ("measured", "options"),
    [(4.344, TRANSFORMERS), (16.389, memory.WAYS[records.PLAIN])],
    ids=["bf16", "plain"],
)
def test_an_uncompiled_step_takes_what_is_computed_and_a_little_more(measured: float, options: dict[str, bool]) -> None:
    """GB at the height of a step of 12 clips on an NVIDIA H100 80GB HBM3, torch 2.11."""
    assert 1 <= measured / memory.needed(CITYGUESSR, **options) <= memory.MARGIN


@pytest.mark.parametrize(("measured", "batch"), [(3.372, 12), (12.315, 48)])
def test_compiled_the_same_forward_takes_less(measured: float, batch: int) -> None:
    """Measured on an NVIDIA H100 80GB HBM3."""
    assert 0.7 < measured / memory.needed(CITYGUESSR, batch, **TRANSFORMERS) < 0.85


def test_weights_gradients_and_moments_are_sixteen_bytes_a_weight() -> None:
    """Of a network so wide that its clips do not count, on one frame."""
    wide = ModelConfig(pretrained=None, **ISNS | {"system": "cityguessr"}, size=16, width=1024, depth=2, heads=2)
    with torch.device("meta"):
        weights = sum(p.numel() for p in build(wide, Taxonomy.cityguessr68k()).parameters())
    assert 16 * weights <= 1e9 * memory.needed(wide, 1, bf16=False) <= 1.05 * 16 * weights


def test_parts_recomputing_and_a_frozen_backbone_take_less() -> None:
    whole = memory.needed(SMALL)
    assert whole > memory.needed(SMALL, accumulate=2) > memory.needed(SMALL, accumulate=12)
    assert memory.needed(SMALL, accumulate=12) > memory.needed(SMALL, 1) > 0
    assert memory.needed(SMALL, recompute=True) < 0.8 * whole
    assert memory.needed(SMALL.replace(frozen_backbone=True)) < 0.8 * whole
    assert memory.needed(SMALL, accumulate=100) == memory.needed(SMALL, accumulate=12)


def test_two_parts_are_enough_to_know_any_number() -> None:
    """What is computed of two parts and the frames that wait is what four parts take."""
    computed = memory.needed(SMALL, accumulate=4)
    whole, switches = memory._step.__wrapped__, Switches(bf16=True, folded=True, fused_attention=True)
    assert computed == pytest.approx(whole(SMALL, 3, 4, switches, False)[2] / 1e9, rel=1e-4)


def test_isns_hold_three_networks_and_the_clips_of_one() -> None:
    one, three = (SMALL.replace(**ISNS | {"system": system}) for system in ("cityguessr", "isns"))
    with torch.device("meta"):
        parameters = list(build(one, Taxonomy.cityguessr68k()).parameters())
    bytes_of = sum(p.numel() * (16 if p.requires_grad else 4) for p in parameters)  # MAE's positions are not trained
    assert memory.needed(three) - memory.needed(one) == pytest.approx(2 * bytes_of / 1e9)


def test_a_card_gets_the_fewest_parts_that_fit() -> None:
    assert str(memory.fits(CITYGUESSR, 8)) == "as it is"
    small, large = memory.fits(TIMESFORMER, 8), memory.fits(TIMESFORMER, 80)
    assert (large.accumulate, large.recompute) == (1, False)
    assert small.accumulate > 1
    assert not small.recompute
    assert small.gigabytes * memory.MARGIN + memory.CONTEXT <= 8 < large.gigabytes
    fewer = [k for k in (1, 2, 3, 4, 6) if k < small.accumulate]
    assert memory.needed(TIMESFORMER, accumulate=fewer[-1]) * memory.MARGIN + memory.CONTEXT > 8
    assert str(small) == f"--accumulate {small.accumulate}"


def test_layers_are_recomputed_where_a_single_clip_is_too_much() -> None:
    single = memory.needed(TIMESFORMER, accumulate=12) * memory.MARGIN + memory.CONTEXT
    settings = memory.fits(TIMESFORMER, single - 0.01)
    assert settings.recompute
    assert "--recompute" in str(settings)
    assert memory.fits(TIMESFORMER, 1.5) is None
