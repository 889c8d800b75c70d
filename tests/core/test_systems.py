"""The systems of Table 5 against their definitions: who answers, who learns, and what they cost."""

import pytest
import torch
from torch import Tensor

from cityguessr.base.errors import InputError
from cityguessr.config import ModelConfig
from cityguessr.model import CityGuessr
from cityguessr.scenes import SCENE_GROUPS, SCENES
from cityguessr.speed.cost import size_of, steps_per_second
from cityguessr.systems import SYSTEMS, DecoderLayer, GeoDecoder, ISNs, build, scene_groups
from cityguessr.taxonomy import LEVELS, Taxonomy
from cityguessr.training import profiles
from cityguessr.training.step import total_loss

IMAGE = {"backbone": "mae", "frame": "random", "text_labels": None}
TINY = {"pretrained": None, "frames": 4, "size": 32, "width": 24, "depth": 1, "heads": 2, "decoder_layers": 2}


def isns(taxonomy: Taxonomy) -> ISNs:
    torch.manual_seed(0)
    return build(ModelConfig(system="isns", scene_labels=None, **IMAGE, **TINY), taxonomy).eval()


def geodecoder(taxonomy: Taxonomy) -> GeoDecoder:
    torch.manual_seed(0)
    return build(ModelConfig(system="geodecoder", **IMAGE, **TINY), taxonomy).eval()


def frames(count: int) -> Tensor:
    return torch.rand(count, 1, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def one_hot(*names: str) -> Tensor:
    return torch.eye(16)[[SCENES.index(name) for name in names]]


INDOOR, NATURAL, URBAN = "workplace", "forest, field, jungle", "industrial and construction"


def test_each_system_is_built_from_its_configuration(taxonomy: Taxonomy) -> None:
    assert type(isns(taxonomy)) is ISNs
    assert type(geodecoder(taxonomy)) is GeoDecoder
    planet = build(ModelConfig(scene_labels=None, **IMAGE, **TINY), taxonomy)
    assert type(planet) is CityGuessr
    assert planet.attention is None
    assert {name for name, system in SYSTEMS.items() if system.routed} == {"isns"}


# ISNs


def test_a_frame_s_group_is_the_most_probable_of_the_three() -> None:
    """6 indoor, 4 natural, 6 man-made scenes: their probabilities add up."""
    assert scene_groups(torch.eye(16)).tolist() == [0] * 6 + [1] * 4 + [2] * 6
    assert list(SCENE_GROUPS) == ["indoor", "natural", "urban"]
    mixed = 0.4 * one_hot(NATURAL) + 0.3 * one_hot("commercial buildings, shops, markets, cities, and towns")
    mixed += 0.3 * one_hot(URBAN)  # the single most probable scene is natural, the group is not
    assert scene_groups(mixed).tolist() == [2]


@pytest.mark.parametrize(("scene", "group"), [(INDOOR, "indoor"), (NATURAL, "natural"), (URBAN, "urban")])
def test_the_isn_that_runs_is_the_one_that_the_scene_selects(taxonomy: Taxonomy, scene: str, group: str) -> None:
    model, image, scenes = isns(taxonomy), frames(2), one_hot(scene, scene)
    with torch.no_grad():
        before = model(image, scenes).logits
        for name, network in model.networks.items():
            kept = {key: value.clone() for key, value in network.state_dict().items()}
            for parameter in network.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
            after = model(image, scenes).logits
            for level in LEVELS:
                assert torch.equal(after[level], before[level]) == (name != group), (name, level)
            network.load_state_dict(kept)


def test_only_the_selected_network_learns(taxonomy: Taxonomy) -> None:
    model = isns(taxonomy).train()
    output = model(frames(3), one_hot(INDOOR, URBAN, INDOOR))
    sum(logits.sum() for logits in output.logits.values()).backward()
    assert all(parameter.grad is None for parameter in model.networks["natural"].parameters())
    for group in ("indoor", "urban"):
        parameters = {k: p for k, p in model.networks[group].named_parameters() if p.requires_grad}
        assert all(parameter.grad is not None for parameter in parameters.values())
        assert parameters["classifiers.city.weight"].grad.abs().sum() > 0


def test_a_frame_s_answer_does_not_depend_on_its_batch(taxonomy: Taxonomy) -> None:
    """Nor on the order: every row is the answer of the network of its own scene."""
    model, image = isns(taxonomy), frames(5)
    scenes = one_hot(URBAN, INDOOR, NATURAL, URBAN, INDOOR)
    groups = ["urban", "indoor", "natural", "urban", "indoor"]
    with torch.no_grad():
        together = model(image, scenes).logits
        for i, group in enumerate(groups):
            own = model.networks[group](model.prepare_frames(image[i : i + 1]))
            for level in LEVELS:
                assert torch.allclose(together[level][i], own[level][0], atol=1e-6)


def test_isns_refuse_scenes_that_they_cannot_use(taxonomy: Taxonomy) -> None:
    model = isns(taxonomy)
    with pytest.raises(InputError, match="2 frames, but the scenes of 3"):
        model(frames(2), one_hot(URBAN, URBAN, URBAN))
    with pytest.raises(InputError, match=r"the scenes of a batch are \(B, 16\), not \(2, 365\)"):
        model(frames(2), torch.zeros(2, 365))
    with pytest.raises(InputError, match="a frame without scene labels"):
        model(frames(1), torch.full((1, 16), float("nan")))


# GeoDecoder


def test_a_query_for_each_scene_and_level(taxonomy: Taxonomy) -> None:
    model = geodecoder(taxonomy)
    assert model.queries.shape == (16 * 4, 24)
    with torch.no_grad():
        assert model.decode(frames(2)).shape == (2, 16, 4, 24)
        output = model(frames(2))
    assert {level: tuple(v.shape) for level, v in output.logits.items()} == {
        level: (2, n) for level, n in taxonomy.sizes.items()
    }
    assert output.scene.shape == (2, 16)
    assert output.text is None


def test_the_predicted_scene_s_queries_answer(taxonomy: Taxonomy) -> None:
    """Channel 0 of a scene's four queries is its confidence; each head reads the query of its own level."""
    model = geodecoder(taxonomy)
    with torch.no_grad():
        model.queries.mul_(50)  # untrained queries are alike
        decoded, output = model.decode(frames(6)), model(frames(6))
    assert torch.allclose(output.scene, decoded[:, :, :, 0].mean(2))
    chosen = output.scene.argmax(1)
    for clip in range(6):
        for i, level in enumerate(LEVELS):
            answers = model.classifiers[level](decoded[clip, :, i])  # as every scene would answer
            same = [torch.allclose(output.logits[level][clip], answer, atol=1e-6) for answer in answers]
            assert same == [scene == chosen[clip] for scene in range(16)], (clip, level)


def test_another_scene_predicted_is_another_answer(taxonomy: Taxonomy, monkeypatch: pytest.MonkeyPatch) -> None:
    model = geodecoder(taxonomy)
    decoded = torch.randn(1, 16, 4, 24)
    monkeypatch.setattr(model, "decode", lambda _: decoded)
    for scene in range(16):
        decoded[..., 0] = 0
        decoded[0, scene, :, 0] = 1
        output = model(frames(1))
        assert output.scene.argmax(1).item() == scene
        for i, level in enumerate(LEVELS):
            assert torch.allclose(output.logits[level][0], model.classifiers[level](decoded[0, scene, i]), atol=1e-6)


def test_a_decoder_layer_looks_at_the_image_first_then_at_the_other_queries() -> None:
    """Cross-attention, self-attention, FFN, each added to what came in."""
    torch.manual_seed(0)
    layer = DecoderLayer(8, 2).eval()
    queries, tokens = torch.randn(1, 5, 8), torch.randn(1, 7, 8)
    with torch.no_grad():
        x = queries + layer.cross(layer.norms[0](queries), tokens, tokens)[0]
        y = layer.norms[1](x)
        x = x + layer.self_attention(y, y, y)[0]
        x = x + layer.ffn(layer.norms[2](x))
        assert torch.allclose(layer(queries, tokens), x, atol=1e-6)


def test_geodecoder_s_losses_are_the_levels_and_the_scene(taxonomy: Taxonomy) -> None:
    """The scene loss alone reaches every scene's queries and the encoder; the levels' heads learn from theirs."""
    model = geodecoder(taxonomy).train()
    labels, soft = torch.zeros(2, 4, dtype=torch.long), one_hot(URBAN, INDOOR)
    loss, parts = total_loss(model(frames(2)), labels, soft, None, model.config)
    assert set(parts) == {"geolocalization", "scene"}
    parts["scene"].backward(retain_graph=True)
    assert model.backbone.encoder.embeddings.patch_embeddings.projection.weight.grad.abs().sum() > 0
    assert (model.queries.grad.abs().sum(1) > 0).all()
    assert all(head.weight.grad is None for head in model.classifiers.values())
    loss.backward()
    assert all(head.weight.grad.abs().sum() > 0 for head in model.classifiers.values())


def test_logits_are_in_full_precision_under_bfloat16(taxonomy: Taxonomy) -> None:
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        outputs = [geodecoder(taxonomy)(frames(2)), isns(taxonomy)(frames(2), one_hot(URBAN, INDOOR))]
    assert {v.dtype for output in outputs for v in output.logits.values()} == {torch.float32}
    assert outputs[0].scene.dtype == torch.float32


# What they cost, at full size


def test_full_size_is_as_published(taxonomy: Taxonomy) -> None:
    """ViT-S of VideoMAE 22 M and 57 G multiply-adds on 16 frames, TimeSformer-B 121 M and 196 G on 8, ViT-B 86 M."""
    bare = {"scene_labels": None, "text_labels": None}
    base = {"width": 768, "heads": 12}
    expected = {
        "videomae": (ModelConfig(**bare, frames=16), 22.0, 57),
        "timesformer": (ModelConfig(backbone="timesformer", frames=8, **base, **bare), 121.5, 196),
        "mae": (ModelConfig(**IMAGE, **base, scene_labels=None), 86.1, 17.5),
    }
    for name, (config, millions, multiply_adds) in expected.items():
        cost = size_of(config, taxonomy)
        assert cost.parameters / 1e6 == pytest.approx(millions, rel=0.01), name
        assert cost.flops / 2e9 == pytest.approx(multiply_adds, rel=0.01), name


def test_isns_hold_three_networks_and_run_one(taxonomy: Taxonomy) -> None:
    one = size_of(ModelConfig(**IMAGE, **TINY, scene_labels=None), taxonomy)
    three = size_of(ModelConfig(system="isns", **IMAGE, **TINY, scene_labels=None), taxonomy)
    assert three.parameters == 3 * one.parameters
    assert three.flops == one.flops


def test_parameters_are_those_of_the_model_that_trains(taxonomy: Taxonomy) -> None:
    for model in (isns(taxonomy), geodecoder(taxonomy)):
        assert size_of(model.config, taxonomy).parameters == sum(p.numel() for p in model.parameters())


def test_training_rates_are_measured_for_every_system(taxonomy: Taxonomy) -> None:
    configs = {
        "full": ModelConfig(**TINY),
        "isns": ModelConfig(system="isns", scene_labels=None, **IMAGE, **TINY),
        "geodecoder": ModelConfig(system="geodecoder", **IMAGE, **TINY),
    }
    threads = torch.get_num_threads()
    rates = steps_per_second(configs, taxonomy, profiles.get("mini"), rounds=1)
    assert set(rates) == set(configs)
    assert all(rate > 0 for rate in rates.values())
    assert torch.get_num_threads() == threads
