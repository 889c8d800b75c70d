"""One training step: what each switch may change, which is rounding, and what must be named."""

import pytest
import torch
from test_loop import CONFIG, Clips
from torch import Tensor

from cityguessr.base import threads
from cityguessr.base.errors import InputError
from cityguessr.config import ModelConfig
from cityguessr.systems import build
from cityguessr.taxonomy import Taxonomy
from cityguessr.training.batches import ClipTensors
from cityguessr.training.execution import Execution, Switches
from cityguessr.training.recipe import Recipe
from cityguessr.training.step import TrainingStep


@pytest.fixture(scope="module")
def taxonomy() -> Taxonomy:
    return Taxonomy.cityguessr68k().subset(["London", "Liverpool", "Manchester", "Tokyo", "Osaka", "Lima"])


RECIPE = Recipe()
FAST = Switches()  # what of the fast path pays on a processor


def step_of(
    taxonomy: Taxonomy,
    config: ModelConfig = CONFIG,
    switches: Switches = FAST,
    recipe: Recipe = RECIPE,
    **options: object,
) -> TrainingStep:
    torch.manual_seed(0)
    model = build(config, taxonomy).train()
    text = torch.randn(taxonomy.size("city"), 32, generator=torch.Generator().manual_seed(4))
    return TrainingStep(model, text, recipe, switches, **options)


def batch_of(taxonomy: Taxonomy, config: ModelConfig = CONFIG, size: int = 12) -> tuple[Tensor, Tensor, Tensor]:
    return ClipTensors(Clips(taxonomy, size, 1), config, in_memory=True)[range(size)]


def gradients(step: TrainingStep, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """The gradients that a batch gives, in float64."""
    step.model.double()
    step.text = step.text.double()
    frames, labels, scenes = batch
    step(frames.double() / 255, labels, scenes.double(), 0.0)
    return {name: p.grad for name, p in step.model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("options", [{"accumulate": 4}, {"accumulate": 5}, {"recompute": True}])
def test_parts_of_a_batch_and_recomputed_layers_give_the_same_gradients(
    taxonomy: Taxonomy, options: dict[str, object], reduction: str
) -> None:
    config = CONFIG.replace(text_reduction=reduction)
    whole, other = step_of(taxonomy, config), step_of(taxonomy, config, **options)
    expected, got = (gradients(step, batch_of(taxonomy, config)) for step in (whole, other))
    assert expected.keys() == got.keys()
    assert sum(float(gradient.abs().sum()) for gradient in expected.values()) > 1
    for name, gradient in expected.items():
        torch.testing.assert_close(got[name], gradient, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(other.totals, whole.totals)


@pytest.mark.parametrize("switch", ["folded", "fused_attention", "fused_adam"])
def test_each_switch_of_the_processor_changes_rounding_alone(taxonomy: Taxonomy, switch: str) -> None:
    with_it = gradients(step_of(taxonomy), batch_of(taxonomy))
    without = gradients(step_of(taxonomy, switches=Switches().replace(**{switch: False})), batch_of(taxonomy))
    for name, gradient in with_it.items():
        torch.testing.assert_close(without[name], gradient, rtol=1e-8, atol=1e-12)


def test_the_plain_path_and_the_fast_one_learn_alike(taxonomy: Taxonomy) -> None:
    """The loss curves of 200 steps on the processor, where both compute in float32."""
    curves, batch = [], batch_of(taxonomy)
    with threads.limited(1):
        for switches in (Switches.plain(), Switches()):
            step, curve = step_of(taxonomy, switches=switches), []
            for _ in range(200):
                step.start()
                step(*batch, 3e-4)
                curve.append(float(step.totals[0]))
            curves.append(torch.tensor(curve))
    assert curves[0][-1] < 0.5 * curves[0][0]
    # single steps drift apart as rounding grows; what is learnt in twenty does not
    plain, fast = (curve.reshape(10, 20).mean(dim=1) for curve in curves)
    torch.testing.assert_close(fast, plain, rtol=0.01, atol=0.01)


def test_bfloat16_stays_near_float32(taxonomy: Taxonomy) -> None:
    """Weights, losses and gradients stay in float32; what the backbone computes is good to about 1 %."""
    exact = step_of(taxonomy)
    rough = step_of(taxonomy, switches=Switches().replace(bf16=True))
    for step in (exact, rough):
        step(*batch_of(taxonomy), 0.0)
    assert {p.dtype for p in rough.model.parameters()} == {torch.float32}
    torch.testing.assert_close(rough.totals, exact.totals, rtol=0.01, atol=0.01)
    a, b = (
        torch.cat([p.grad.flatten() for p in step.model.parameters() if p.grad is not None]) for step in (exact, rough)
    )
    assert float((a - b).norm() / a.norm()) < 0.05
    assert not torch.equal(a, b)


def test_the_first_loss_that_is_not_finite_is_named(taxonomy: Taxonomy) -> None:
    step = step_of(taxonomy)
    batch = batch_of(taxonomy)
    step(*batch, 1e-3)
    with torch.no_grad():
        next(step.model.parameters()).fill_(torch.nan)
    step(*batch, 1e-3)
    step(*batch, 1e-3)
    assert (int(step.count), int(step.failed)) == (3, 2)
    step.start()
    assert (int(step.count), int(step.failed)) == (0, 0)


def test_a_frozen_backbone_keeps_its_weights_and_what_follows_learns(taxonomy: Taxonomy) -> None:
    step = step_of(taxonomy, CONFIG.replace(frozen_backbone=True))
    before = {name: p.clone() for name, p in step.model.named_parameters()}
    for _ in range(2):
        step(*batch_of(taxonomy), 1e-3)
    moved = {name for name, p in step.model.named_parameters() if not torch.equal(p, before[name])}
    assert moved
    assert all(not name.startswith("backbone.") for name in moved)
    # a key's offset cancels in the softmax, so nothing can be learnt of it
    assert moved == {n for n in before if not n.startswith("backbone.")} - {"attention.key.bias"}


def test_a_gpu_that_is_too_small_is_told_what_to_change(taxonomy: Taxonomy, monkeypatch: pytest.MonkeyPatch) -> None:
    step = step_of(taxonomy, accumulate=2)

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    class Card:
        total_memory = 8e9

    monkeypatch.setattr(step, "_train", full)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda _: Card)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda _: "a small card")
    with pytest.raises(InputError, match=r"a small card \(8 GB\): out of memory at 6 clips .*accumulate=4.*recompute"):
        step(*batch_of(taxonomy), 1e-3)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(InputError, match="accumulate is 0; it must be at least 1"):
        Execution(accumulate=0)
    with pytest.raises(InputError, match="no device 'tpu'; it is one of auto, cpu"):
        Execution("tpu")
