"""Recipes: the paper's is what it was, each switch of a tuned one does what it says, and resuming changes nothing."""

import dataclasses
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from test_loop import CONFIG, PROFILE, Clips, Stop, run, same_weights, timeless
from test_step import batch_of, step_of
from torch import Tensor

from cityguessr.base.errors import InputError
from cityguessr.model import normalised
from cityguessr.taxonomy import LEVELS, Taxonomy
from cityguessr.training import experiments, profiles
from cityguessr.training.augment import augmented
from cityguessr.training.execution import Execution, Switches
from cityguessr.training.recipe import Recipe, learning_rate, parameter_groups

PAPER = Recipe()
TUNED = Recipe(
    optimizer="adamw",
    batch_size=8,
    learning_rate=1e-3,
    weight_decay=0.05,
    layer_decay=0.8,
    schedule="cosine",
    warmup_epochs=1,
    scene_weight=0.5,
    text_weight=2.0,
    label_smoothing=0.1,
    clip_gradients=1.0,
    average=0.9,
    crop=0.3,
    colour=0.3,
    flip=True,
)


@pytest.fixture(scope="module")
def taxonomy() -> Taxonomy:
    return Taxonomy.cityguessr68k().subset(["London", "Liverpool", "Manchester", "Tokyo", "Osaka", "Lima"])


# --- the paper's ------------------------------------------------------------------------------------------------------


def test_the_paper_s_recipe_is_adam_on_three_losses_bit_for_bit(taxonomy: Taxonomy) -> None:
    """Three steps, beside a loop written out from sections 4.5 and 5.2."""
    plain = Switches.plain()
    step, other = step_of(taxonomy, switches=plain), step_of(taxonomy, switches=plain)
    frames, labels, scenes = batch_of(taxonomy)
    model = other.model
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, foreach=False)
    for _ in range(3):
        step(frames, labels, scenes, learning_rate(PAPER, 0, 10, 10))
        optimizer.zero_grad()
        output = model(frames)
        geo = sum(F.cross_entropy(output.logits[level], labels[:, i]) for i, level in enumerate(LEVELS))
        scene = F.cross_entropy(output.scene, scenes)
        text = -F.cosine_similarity(output.text, other.text[labels[:, 0]], dim=-1).mean()
        (geo + scene + text).backward()
        optimizer.step()
    for got, expected in zip(step.model.parameters(), model.parameters(), strict=True):
        assert torch.equal(got, expected)


def test_the_paper_s_recipe_changes_no_frame_and_keeps_no_average(taxonomy: Taxonomy) -> None:
    frames = batch_of(taxonomy)[0]
    assert augmented(frames, PAPER, 0, 0, 0) is frames
    step = step_of(taxonomy)
    assert step.average == []
    assert set(step.state()) == {"optimizer"}
    groups = parameter_groups(step.model, PAPER, CONFIG.depth)
    assert [(group["scale"], group["weight_decay"]) for group in groups] == [(1.0, 0.0)]
    assert groups[0]["params"] == list(step.model.parameters())


def test_experiments_are_trained_by_the_paper_s_recipe_unless_they_are_called_tuned() -> None:
    tuned = {name for name, experiment in experiments.EXPERIMENTS.items() if experiment.recipe != "paper"}
    assert tuned == {"cityguessr_tuned", "videomae_tuned"}
    for profile in profiles.PROFILES.values():
        assert profile.using("paper") is profile
        assert profile.using("tuned").recipe == profile.tuned
        assert profile.using("tuned").training() != profile.training()
        # the same compute
        assert profile.tuned.batch_size == profile.recipe.batch_size
        for name in tuned:
            assert experiments.canonical(name, profile).name == name
            assert experiments.get(name).config(profile) == experiments.get(name.removesuffix("_tuned")).config(profile)
    with pytest.raises(InputError, match="no recipe 'best'; it is one of paper, tuned"):
        profiles.MINI.using("best")


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Recipe)])
def test_every_field_is_part_of_a_run_s_identity(field: str) -> None:
    one = TUNED.replace(weight_decay=0.0 if field == "optimizer" else 0.05, learning_rate=2e-3)
    other = one.replace(**{field: getattr(PAPER, field)})
    recorded = [dataclasses.replace(PROFILE, recipe=recipe).training() for recipe in (one, other)]
    assert {name for name in recorded[0] if recorded[0][name] != recorded[1][name]} == {field}


# --- each switch ------------------------------------------------------------------------------------------------------


def test_layers_learn_the_slower_the_further_down_they_are(taxonomy: Taxonomy) -> None:
    config = CONFIG.replace(depth=3)
    step = step_of(taxonomy, config, recipe=TUNED.replace(batch_size=12))
    names = {parameter: name for name, parameter in step.model.named_parameters()}
    scales, decays = {}, {}
    for group in step.optimizer.param_groups:
        for parameter in group["params"]:
            scales[names[parameter]], decays[names[parameter]] = group["scale"], group["weight_decay"]
    assert set(scales) == set(names.values())
    expected = {"embeddings": 0.8**4, "layer.0": 0.8**3, "layer.1": 0.8**2, "layer.2": 0.8}
    for part, scale in expected.items():
        inside = {value for name, value in scales.items() if name.startswith("backbone.") and f".{part}." in name}
        assert len(inside) == 1
        assert inside.pop() == pytest.approx(scale)
    assert {value for name, value in scales.items() if not name.startswith("backbone.")} == {1.0}
    assert decays["classifiers.city.weight"] == 0.05
    assert decays["classifiers.city.bias"] == 0.0
    # and that is how far a first step goes, whose size Adam makes the learning rate
    before = {name: parameter.detach().clone() for name, parameter in step.model.named_parameters()}
    step(*batch_of(taxonomy, config), 1e-4)
    moved = {name: float((p.detach() - before[name]).abs().max()) for name, p in step.model.named_parameters()}
    low, high = "backbone.encoder.embeddings.patch_embeddings.projection.bias", "classifiers.city.bias"
    assert moved[low] / moved[high] == pytest.approx(0.8**4, rel=0.05)


@pytest.mark.parametrize("backbone", ["videomae", "timesformer", "mae"])
def test_every_backbone_has_all_its_levels(taxonomy: Taxonomy, backbone: str) -> None:
    config = CONFIG.replace(backbone=backbone, frame="first" if backbone == "mae" else None, depth=2)
    groups = parameter_groups(step_of(taxonomy, config).model, Recipe(layer_decay=0.5), config.depth)
    assert sorted(group["scale"] for group in groups) == [0.125, 0.25, 0.5, 1.0]


def test_weight_decay_is_adamw_s(taxonomy: Taxonomy) -> None:
    """With a gradient of zero, a matrix shrinks by rate times decay, and a bias stays."""
    step = step_of(taxonomy, recipe=Recipe("adamw", weight_decay=0.5))
    head = step.model.classifiers["city"]
    weight, bias = head.weight.detach().clone(), head.bias.detach().clone()
    for parameter in step.model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    step.optimizer.step()
    torch.testing.assert_close(head.weight.detach(), weight * (1 - 1e-3 * 0.5))
    assert torch.equal(head.bias, bias)


def test_losses_count_by_their_weights_and_are_logged_without(taxonomy: Taxonomy) -> None:
    recipe = PAPER.replace(scene_weight=0.25, text_weight=3.0)
    for accumulate in (1, 3):
        step = step_of(taxonomy, recipe=recipe, accumulate=accumulate)
        step(*batch_of(taxonomy), 0.0)
        paper = step_of(taxonomy, accumulate=accumulate)
        paper(*batch_of(taxonomy), 0.0)
        loss, geo, scene, text = step.totals.tolist()
        assert loss == pytest.approx(geo + 0.25 * scene + 3.0 * text)
        torch.testing.assert_close(step.totals[1:], paper.totals[1:])


def test_smoothed_labels_are_those_of_torch(taxonomy: Taxonomy) -> None:
    step = step_of(taxonomy, recipe=PAPER.replace(label_smoothing=0.2))
    frames, labels, scenes = batch_of(taxonomy)
    with torch.no_grad():
        logits = step.model(frames).logits
    expected = sum(F.cross_entropy(logits[n], labels[:, i], label_smoothing=0.2) for i, n in enumerate(LEVELS))
    step(frames, labels, scenes, 0.0)
    assert float(step.totals[1]) == pytest.approx(float(expected), rel=1e-5)


def test_gradients_are_held_to_a_norm(taxonomy: Taxonomy) -> None:
    norms = []
    for limit in (0.0, 0.1):
        step = step_of(taxonomy, recipe=PAPER.replace(clip_gradients=limit))
        step(*batch_of(taxonomy), 0.0)
        norms.append(float(torch.stack([p.grad.norm() for p in step.trained() if p.grad is not None]).norm()))
    assert norms[0] > 1
    assert norms[1] == pytest.approx(0.1, rel=1e-3)


def test_the_average_follows_the_weights_and_stands_in_for_them(taxonomy: Taxonomy) -> None:
    step = step_of(taxonomy, recipe=PAPER.replace(average=0.25))
    expected = [weight.detach().clone() for weight in step.trained()]
    for number in range(1, 5):
        step(*batch_of(taxonomy), 1e-2)
        decay = min(0.25, (1 + number) / (10 + number))
        expected = [decay * a + (1 - decay) * w.detach() for a, w in zip(expected, step.trained(), strict=True)]
    for average, value in zip(step.average, expected, strict=True):
        torch.testing.assert_close(average, value)
    trained = [weight.detach().clone() for weight in step.trained()]
    with step.averaged():
        for weight, value in zip(step.trained(), expected, strict=True):
            torch.testing.assert_close(weight.detach(), value)
    assert all(torch.equal(a, b) for a, b in zip(step.trained(), trained, strict=True))


@pytest.mark.parametrize("selection", ["last", "best_on_validation"])
def test_what_was_evaluated_is_what_is_kept(taxonomy: Taxonomy, selection: str) -> None:
    config = CONFIG.replace(selection=selection, epochs=2)
    trained = run(taxonomy, config, profile=dataclasses.replace(PROFILE, recipe=TUNED))
    with torch.no_grad():
        logits = trained.model(Clips(taxonomy, 24, 2).frames).logits
    torch.testing.assert_close(logits["city"], trained.answers.logits["city"])
    plain = run(taxonomy, config, profile=dataclasses.replace(PROFILE, recipe=TUNED.replace(average=0.0)))
    assert not same_weights(trained, plain)


# --- augmentation -----------------------------------------------------------------------------------------------------


def clips(count: int = 64, frames: int = 2, size: int = 16) -> Tensor:
    """Clips whose frames are alike: what happens to one must happen to the others."""
    generator = torch.Generator().manual_seed(3)
    one = torch.randint(60, 196, (count, 1, 3, size, size), generator=generator, dtype=torch.uint8)
    return one.expand(-1, frames, -1, -1, -1).contiguous()


def test_all_frames_of_a_clip_are_changed_alike_and_every_clip_otherwise() -> None:
    given = clips()
    changed = augmented(given, TUNED, 0, 0, 0)
    assert (changed.dtype, changed.shape) == (given.dtype, given.shape)
    assert torch.equal(changed[:, 0], changed[:, 1])
    assert (changed != given).flatten(1).any(dim=1).all()
    same = augmented(given[:1].expand(8, -1, -1, -1, -1), TUNED, 0, 0, 0)
    assert len({tuple(clip.flatten().tolist()) for clip in same}) == 8


def test_what_is_drawn_depends_on_seed_epoch_and_step_alone() -> None:
    given = clips()
    changed = [augmented(given, TUNED, *key) for key in ((0, 1, 2), (0, 1, 3), (0, 2, 2), (1, 1, 2))]
    torch.rand(5)
    assert torch.equal(changed[0], augmented(given, TUNED, 0, 1, 2))
    for other in changed[1:]:
        assert not torch.equal(changed[0], other)


def test_a_flip_mirrors_half_the_clips_and_nothing_else() -> None:
    given = clips(200)
    changed = augmented(given, Recipe(flip=True), 0, 0, 0)
    mirrored = (changed == given.flip(-1)).flatten(1).all(dim=1)
    kept = (changed == given).flatten(1).all(dim=1)
    assert (mirrored ^ kept).all()
    assert 70 < int(mirrored.sum()) < 130
    assert not augmented(given, TUNED.replace(flip=False), 0, 0, 0).equal(augmented(given, TUNED, 0, 0, 0))


def test_a_window_is_part_of_the_picture() -> None:
    """On a picture whose red grows to the right and whose green grows downwards, a window shows where it was cut."""
    size = 64
    ramp = (torch.arange(size) * 4).to(torch.uint8)
    picture = torch.stack([ramp.expand(size, size), ramp[:, None].expand(size, size), torch.zeros(size, size)])
    given = picture.to(torch.uint8).expand(50, 1, 3, size, size)
    red, green, blue = augmented(given, Recipe(crop=0.5), 0, 0, 0)[:, 0].float().unbind(1)
    width, height = ((c[:, size // 2, size // 2 + 20] - c[:, size // 2, size // 2]) / 80 for c in (red, green.mT))
    torch.testing.assert_close(width, height, atol=0.04, rtol=0)  # nothing is stretched
    assert float(width.min()) > 0.45
    assert float(width.max()) < 1.02
    assert float(width.max() - width.min()) > 0.3  # windows of many sizes
    assert float(red[:, 0, 0].max()) > 40  # and places
    assert not blue.any()


def test_colours_change_by_no_more_than_the_recipe_says() -> None:
    grey = torch.full((100, 2, 3, 4, 4), 100, dtype=torch.uint8)
    changed = augmented(grey, Recipe(colour=0.2), 0, 0, 0).float()
    assert 79 < float(changed.min()) < 85
    assert 115 < float(changed.max()) < 121
    spread = normalised(augmented(clips(), Recipe(colour=0.5), 0, 0, 0), "none").flatten(1).std(dim=1)
    assert float(spread.max() / spread.min()) > 2


# --- a whole training -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", [2, 9])
def test_a_tuned_training_resumes_at_any_step_bit_for_bit(taxonomy: Taxonomy, tmp_path: Path, line: int) -> None:
    profile, lines = dataclasses.replace(PROFILE, recipe=TUNED), []

    def stop(text: str) -> None:
        lines.append(text)
        if len(lines) == line:
            raise Stop

    path, config = tmp_path / "state.pt", CONFIG.replace(epochs=2)
    whole = run(taxonomy, config, profile=profile)
    every_step = Execution("cpu", log_steps=1, checkpoint_minutes=0)
    with pytest.raises(Stop):
        run(taxonomy, config, profile=profile, checkpoint=path, execution=every_step, report=stop)
    resumed = run(taxonomy, config, profile=profile, checkpoint=path)
    assert same_weights(whole, resumed)
    assert timeless(whole.log) == timeless(resumed.log)
    assert torch.equal(whole.answers.logits["city"], resumed.answers.logits["city"])
    finished = run(taxonomy, config, profile=profile, checkpoint=path)
    assert torch.equal(whole.answers.logits["city"], finished.answers.logits["city"])
    assert same_weights(whole, finished)


def test_a_tuned_training_learns(taxonomy: Taxonomy) -> None:
    recipe = TUNED.replace(flip=False, learning_rate=3e-3, layer_decay=1.0)
    trained = run(taxonomy, CONFIG.replace(epochs=25), profile=dataclasses.replace(PROFILE, recipe=recipe))
    assert trained.log[-1]["val_city"] > 50  # six cities of six colours; chance is 17


def test_warm_up_and_cosine() -> None:
    rates = [learning_rate(TUNED.replace(warmup_epochs=0.5), step, 10, 4) for step in range(40)]
    assert rates[:5] == pytest.approx([1e-3 * (i + 1) / 5 for i in range(5)])
    assert rates[5] == pytest.approx(1e-3)
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert rates[-1] < 1e-5
    warm = [learning_rate(PAPER.replace(warmup_epochs=1), step, 10, 4) for step in range(40)]
    assert warm[0] == pytest.approx(1e-4)
    assert set(warm[9:]) == {1e-3}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"optimizer": "sgd"}, "no optimizer 'sgd'; it is one of adam, adamw"),
        ({"schedule": "linear"}, "no schedule 'linear'; it is one of constant, cosine"),
        ({"batch_size": 0}, "batch_size is 0; it must be more than 0"),
        ({"learning_rate": -1e-3}, "learning_rate is -0.001; it must be more than 0"),
        ({"scene_weight": -1}, "scene_weight is -1; it must not be negative"),
        ({"crop": 1.0}, "crop is 1.0; it must be at least 0 and less than 1"),
        ({"weight_decay": 0.1}, "weight_decay goes with the optimizer 'adamw'"),
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Recipe(**wrong)
