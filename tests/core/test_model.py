"""The method: the sizes of section 5.2, the three losses, and each switch between paper and released code."""

import math

import pytest
import torch
import torch.nn.functional as F

from cityguessr import losses
from cityguessr.base.errors import InputError
from cityguessr.config import ModelConfig
from cityguessr.folded.blocks import normalised
from cityguessr.model import CityGuessr, SelfCrossAttention, evenly
from cityguessr.taxonomy import LEVELS, Taxonomy

TINY = {"pretrained": None, "frames": 4, "size": 32, "width": 24, "depth": 1, "heads": 2}


def tiny(taxonomy: Taxonomy, **changes: object) -> CityGuessr:
    torch.manual_seed(0)
    return CityGuessr(ModelConfig.as_described().replace(**(TINY | changes)), taxonomy).eval()


def test_the_paper_s_sizes(taxonomy: Taxonomy) -> None:
    """384-d features, 2 heads, embedding dimension 6, an FFN of 6 layers, FFN_t of 3 layers to 512 (section 5.2)."""
    config = ModelConfig.as_described()
    assert (config.width, config.frames, config.size, config.epochs) == (384, 15, 224, 10)
    model = CityGuessr(config.replace(pretrained=None, depth=1), taxonomy)
    assert model.backbone.width == 384
    assert model.attention.attention.num_heads == 2
    assert model.attention.attention.embed_dim == 6
    linear = {name: [m for m in getattr(model, name) if isinstance(m, torch.nn.Linear)] for name in ("ffn_s", "ffn_t")}
    assert [layer.out_features for layer in linear["ffn_s"]] == [256, 128, 64, 32, 16, 16]
    assert [layer.in_features for layer in linear["ffn_t"]] == [420, 451, 481]
    assert linear["ffn_t"][-1].out_features == 512


def test_released_ffn_t_is_the_two_layer_case_of_the_same_rule() -> None:
    assert evenly(420, 512, 2) == [420, 466, 512]


def test_shapes(taxonomy: Taxonomy) -> None:
    output = tiny(taxonomy)(torch.rand(2, 4, 3, 32, 32), need_weights=True)
    assert {level: tuple(v.shape) for level, v in output.logits.items()} == {
        level: (2, n) for level, n in taxonomy.sizes.items()
    }
    assert output.scene.shape == (2, 16)
    assert output.text.shape == (2, 512)
    assert output.attention.shape == (2, 2, 420, 420)
    assert torch.allclose(output.attention.sum(-1), torch.ones(2, 2, 420), atol=1e-5)


def test_asking_for_the_weights_changes_no_output(taxonomy: Taxonomy) -> None:
    model, frames = tiny(taxonomy), torch.rand(2, 4, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(model(frames).text, model(frames, need_weights=True).text, atol=1e-5)


def test_self_cross_attention_by_hand() -> None:
    """softmax(q k' / sqrt(d_q)) v over tokens of width 1, each head on its half of the 6 columns."""
    torch.manual_seed(0)
    module = SelfCrossAttention(6, 2)
    vector = torch.randn(1, 5)
    q, k, v = (layer(vector[:, :, None])[0] for layer in (module.query, module.key, module.value))
    weight, bias = module.attention.in_proj_weight, module.attention.in_proj_bias
    q, k, v = (F.linear(t, w, b) for t, w, b in zip((q, k, v), weight.chunk(3), bias.chunk(3), strict=True))
    heads = [((q[:, s] @ k[:, s].T) / math.sqrt(3)).softmax(1) @ v[:, s] for s in (slice(0, 3), slice(3, 6))]
    expected = module.project(module.attention.out_proj(torch.cat(heads, 1)))[:, 0]
    assert torch.allclose(module(vector)[0][0], expected, atol=1e-6)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize(("width", "heads"), [(6, 2), (8, 1), (6, 3)])
def test_attention_through_means_is_multi_head_attention(
    dtype: torch.dtype, tolerance: float, width: int, heads: int
) -> None:
    """The fast path against nn.MultiheadAttention: PV', and the gradient of the input and of every parameter."""
    torch.manual_seed(0)
    module = SelfCrossAttention(width, heads).to(dtype)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn_like(parameter))  # PyTorch starts its attention biases at zero
    vector = 2 * torch.randn(4, 420, dtype=dtype)
    cotangent = torch.randn(4, 420, dtype=dtype) / 420
    results = []
    for definition in (lambda vector: module(vector)[0], module.fast):
        leaf = vector.clone().requires_grad_()
        module.zero_grad()
        output = definition(leaf)
        output.backward(cotangent)
        gradients = {
            name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.clone()
            for name, parameter in module.named_parameters()
        }
        results.append({"output": output.detach(), "input": leaf.grad} | gradients)
    defined, fast = results
    for name, value in defined.items():
        scale = max(1, value.abs().max().item())
        assert torch.allclose(fast[name], value, rtol=0, atol=tolerance * scale), name


def test_a_key_s_offset_cancels_in_the_softmax() -> None:
    """Nothing that it is can change PV'; the fast path does not even read it."""
    module, vector = SelfCrossAttention(6, 2), torch.randn(2, 420)
    with torch.no_grad():
        before = module(vector)[0]
        module.key.bias += 3
        assert torch.allclose(module(vector)[0], before, atol=1e-5)
    module.fast(vector).sum().backward()
    assert module.key.bias.grad is None


def test_odd_clips_repeat_their_last_frame(taxonomy: Taxonomy) -> None:
    """The paper's 15 frames do not fill tubelets of two; no frame may be dropped."""
    model = tiny(taxonomy, frames=3)
    frames = torch.rand(1, 3, 3, 32, 32)
    even = tiny(taxonomy, frames=4)
    even.load_state_dict(model.state_dict())
    with torch.no_grad():
        repeated = even(torch.cat((frames, frames[:, -1:]), 1)).logits["city"]
        assert torch.allclose(model(frames).logits["city"], repeated)
        changed = frames.clone()
        changed[:, 2] = 0
        assert not torch.allclose(model(changed).logits["city"], repeated)


def test_bytes_and_fractions_are_the_same_frames(taxonomy: Taxonomy) -> None:
    model, frames = tiny(taxonomy), torch.randint(256, (1, 4, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.allclose(model(frames).logits["city"], model(frames / 255).logits["city"], atol=1e-5)


@pytest.mark.parametrize("colours", ["imagenet", "none"])
def test_colours_to_float_rounding(colours: str) -> None:
    """(x / 255 - mean) / std for every byte and channel; the frames themselves stay as they are."""
    frames = torch.arange(256, dtype=torch.uint8).view(1, 1, 1, 16, 16).repeat(1, 1, 3, 1, 1)
    mean = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64)[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64)[:, None, None]
    exact = frames.double() / 255
    exact = (exact - mean) / std if colours == "imagenet" else exact
    for given in (frames, frames.float() / 255, frames.double() / 255):
        before = given.clone()
        assert (normalised(given, colours).double() - exact).abs().max() < 1e-6
        assert torch.equal(given, before)


def test_normalisation_as_released(taxonomy: Taxonomy) -> None:
    """None, in training as in evaluation: a checkpoint of the authors wants pixels in [0, 1]."""
    config = ModelConfig.as_released()
    model = tiny(taxonomy, normalise_train=config.normalise_train, normalise_eval=config.normalise_eval)
    white = torch.ones(1, 4, 3, 32, 32)
    assert torch.equal(model.train().prepare_frames(white), white)
    assert torch.equal(model.eval().prepare_frames(white), white)


def test_without_scenes_and_text_there_is_no_attention(taxonomy: Taxonomy) -> None:
    """Table 3, first row: the VideoMAE baseline with four heads."""
    model = tiny(taxonomy, scene_labels=None, text_labels=None)
    output = model(torch.rand(1, 4, 3, 32, 32))
    assert model.attention is None
    assert output.scene is None
    assert output.text is None


def test_eq1_sums_the_four_cross_entropies() -> None:
    logits = {level: torch.zeros(3, n) for level, n in zip(LEVELS, (8, 4, 2, 1), strict=True)}
    labels = {level: torch.zeros(3, dtype=torch.long) for level in LEVELS}
    assert losses.geolocalization(logits, labels).item() == pytest.approx(math.log(8 * 4 * 2 * 1))


def test_eq2_with_a_soft_label_is_a_weighted_cross_entropy() -> None:
    logits = torch.tensor([[1.0, 2.0, 0.5]])
    logs = logits.log_softmax(1)[0]
    soft = torch.tensor([[0.25, 0.75, 0.0]])
    assert losses.scene(logits, soft).item() == pytest.approx(-(0.25 * logs[0] + 0.75 * logs[1]).item())
    assert losses.scene(logits, torch.tensor([[0.0, 1.0, 0.0]])).item() == pytest.approx(-logs[1].item())


def test_eq3_is_minus_one_when_aligned_and_released_sums_over_the_batch() -> None:
    text = torch.randn(12, 512)
    assert losses.text_alignment(3 * text, text).item() == pytest.approx(-1, abs=1e-6)
    assert losses.text_alignment(-text, text).item() == pytest.approx(1, abs=1e-6)
    assert losses.text_alignment(text, text, "sum").item() == pytest.approx(-12, abs=1e-5)


def test_every_loss_reaches_the_backbone(taxonomy: Taxonomy) -> None:
    model = tiny(taxonomy).train()
    labels = {level: torch.zeros(2, dtype=torch.long) for level in LEVELS}
    for name in ("geolocalization", "scene", "text"):
        output = model(torch.rand(2, 4, 3, 32, 32))
        loss = {
            "geolocalization": lambda output: losses.geolocalization(output.logits, labels),
            "scene": lambda output: losses.scene(output.scene, torch.full((2, 16), 1 / 16)),
            "text": lambda output: losses.text_alignment(output.text, torch.randn(2, 512)),
        }[name](output)
        model.zero_grad()
        loss.backward()
        projection = model.backbone.encoder.embeddings.patch_embeddings.projection.weight
        assert projection.grad.abs().sum() > 0, name


def test_unknown_switches_and_shapes_are_refused(taxonomy: Taxonomy) -> None:
    with pytest.raises(InputError, match="ModelConfig has no field framez"):
        ModelConfig().replace(framez=3)
    with pytest.raises(InputError, match="text_reduction = 'max'; it is one of 'mean', 'sum'"):
        ModelConfig(text_reduction="max")
    with pytest.raises(
        InputError, match=r"frames have shape \(1, 5, 3, 32, 32\); this model takes \(B, 4, 3, 32, 32\)"
    ):
        tiny(taxonomy)(torch.rand(1, 5, 3, 32, 32))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"system": "planet"}, "system = 'planet'; it is one of 'cityguessr', 'isns', 'geodecoder'"),
        ({"scene_classes": 17}, "scene_classes = 17; it is one of 16, 365"),
        ({"split": "frame"}, "split = 'frame'; it is one of 'clip', 'video'"),
        ({"backbone": "mae"}, "'mae' and frame None do not go together; 'mae' sees single frames"),
        ({"frame": "mid"}, "'videomae' and frame 'mid' do not go together"),
        ({"backbone": "timesformer", "frame": "first"}, "'timesformer' and frame 'first' do not go together"),
        ({"system": "isns"}, "backbone = 'videomae'; system 'isns' wants 'mae'"),
        (
            {"system": "isns", "backbone": "mae", "frame": "random", "scene_classes": 365},
            "scene_classes = 365; system 'isns' wants 16",
        ),
        (
            {"system": "geodecoder", "backbone": "mae", "frame": "random"},
            "text_labels = 'all'; system 'geodecoder' wants None",
        ),
        (
            {
                "system": "geodecoder",
                "backbone": "mae",
                "frame": "random",
                "text_labels": None,
                "scene_labels": None,
            },
            "system 'geodecoder' learns scenes",
        ),
    ],
)
def test_a_configuration_that_no_system_has_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ModelConfig().replace(**changes)


def test_an_image_system_is_given_one_frame(taxonomy: Taxonomy) -> None:
    """Table 2: the backbone is replaced by its image counterpart, everything else kept."""
    assert ModelConfig().input_frames == 15
    model = tiny(taxonomy, backbone="mae", frame="mid")
    assert model.config.input_frames == 1
    output = model(torch.rand(2, 1, 3, 32, 32))
    assert output.scene.shape == (2, 16)
    with pytest.raises(InputError, match=r"\(1, 4, 3, 32, 32\); this model takes \(B, 1, 3, 32, 32\)"):
        model(torch.rand(1, 4, 3, 32, 32))


def test_365_scenes(taxonomy: Taxonomy) -> None:
    """Table S1: the scene vector is as long as there are scenes."""
    assert tiny(taxonomy, scene_classes=365)(torch.rand(1, 4, 3, 32, 32)).scene.shape == (1, 365)


def test_only_the_backbone_runs_in_bfloat16(taxonomy: Taxonomy) -> None:
    """bfloat16 has 8 bits of mantissa: logits of 8.01 and 8.03 would be one, and ties would decide the tables."""
    model, frames = tiny(taxonomy), torch.rand(1, 4, 3, 32, 32)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        output = model(frames)
    assert {output.scene.dtype, output.text.dtype, *(v.dtype for v in output.logits.values())} == {torch.float32}
    city = output.logits["city"]
    assert not torch.equal(city, city.bfloat16().float())


@pytest.mark.parametrize(("dtype", "tolerance"), [(None, 1e-4), (torch.bfloat16, 3e-2)])
def test_the_whole_model_is_one_graph(taxonomy: Taxonomy, dtype: torch.dtype | None, tolerance: float) -> None:
    """From the bytes of a clip to the logits, forward and backward, without a return to Python in between."""
    model = tiny(taxonomy).train()
    frames = torch.randint(256, (2, 4, 3, 32, 32), dtype=torch.uint8)
    gradients = []
    for forward in (model, torch.compile(model, fullgraph=True, backend="aot_eager")):
        model.zero_grad()
        with torch.autocast("cpu", dtype, enabled=dtype is not None):
            output = forward(frames)
        (output.logits["city"].square().mean() + output.text.mean() + output.scene.mean()).backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    plain, compiled = gradients
    assert torch.allclose(compiled, plain, rtol=0, atol=tolerance * plain.abs().max().item())
