"""The encoders through transformers: everything loads, VideoMAE's query and value biases above all."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import (
    TimesformerConfig,
    TimesformerForVideoClassification,
    TimesformerModel,
    VideoMAEConfig,
    VideoMAEForVideoClassification,
    ViTMAEConfig,
    ViTMAEForPreTraining,
    ViTMAEModel,
)

from cityguessr.backbones import MAE, Encoder, TimeSformer, VideoMAE
from cityguessr.base import weights
from cityguessr.base.errors import InputError, MissingWeights
from cityguessr.config import ModelConfig
from cityguessr.folded.blocks import normalised

SMALL = {"frames": 4, "size": 32, "patch": 16, "width": 24, "depth": 2, "heads": 2, "pretrained": None}
KINDS = {VideoMAE: "videomae", TimeSformer: "timesformer", MAE: "mae"}


def small(kind: type[Encoder], **changes: object) -> Encoder:
    """A small encoder of that kind; of the images, the first frame."""
    one_frame = {"frame": "first"} if kind is MAE else {}
    return kind(ModelConfig(**{"backbone": KINDS[kind], **SMALL, **one_frame, **changes}))


TRANSFORMER = {
    "image_size": 32,
    "patch_size": 16,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 96,
}


@pytest.fixture
def published(tmp_path: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    """A finetuned checkpoint as the hub holds it: `videomae.` names, q_bias and v_bias, a classifier on top."""
    config = VideoMAEConfig(
        image_size=32,
        patch_size=16,
        num_frames=4,
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=96,
        num_labels=400,
    )
    torch.manual_seed(0)
    state = {}
    for key, value in VideoMAEForVideoClassification(config).state_dict().items():
        key = key.replace("query.bias", "q_bias").replace("value.bias", "v_bias")
        state[key] = torch.randn_like(value)
    folder = tmp_path / "videomae-tiny"
    folder.mkdir()
    config.save_pretrained(folder)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    return folder, state


def test_nothing_is_missing_after_loading(published: tuple[Path, dict[str, torch.Tensor]]) -> None:
    folder, state = published
    backbone = small(VideoMAE, pretrained=str(folder))
    loaded = backbone.encoder.state_dict()
    for key, value in loaded.items():
        key = "videomae." + key.replace("query.bias", "q_bias").replace("value.bias", "v_bias")
        assert torch.equal(value, state[key]), key
    assert sum("query.bias" in key or "value.bias" in key for key in loaded) == 4


def test_a_checkpoint_without_the_biases_is_refused(published: tuple[Path, dict[str, torch.Tensor]]) -> None:
    folder, state = published
    kept = {key: value for key, value in state.items() if not key.endswith("q_bias")}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"2 encoder weights are not in the checkpoint.*query\.bias"):
        small(VideoMAE, pretrained=str(folder))


def test_a_checkpoint_of_another_width_is_refused(published: tuple[Path, dict[str, torch.Tensor]]) -> None:
    with pytest.raises(InputError, match="encoder weights are not in the checkpoint or have another shape"):
        small(VideoMAE, width=48, pretrained=str(published[0]))


def test_a_damaged_checkpoint_is_named(published: tuple[Path, dict[str, torch.Tensor]]) -> None:
    file = published[0] / "model.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(InputError, match=r"videomae-tiny: the weights are damaged .*fetch the file again"):
        small(VideoMAE, pretrained=str(published[0]))


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(
    published: tuple[Path, dict[str, torch.Tensor]], number: float
) -> None:
    folder, state = published
    next(value for key, value in state.items() if key.endswith("layer.1.output.dense.bias"))[3] = number
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"layer\.1\.output\.dense\.bias holds numbers that are not finite"):
        small(VideoMAE, pretrained=str(folder))


def test_another_checkpoint_under_the_same_name_is_another_version(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CITYGUESSR_ROOT", str(tmp_path))
    assert weights.version("MCG-NJU/videomae") == "MCG-NJU/videomae"
    folder = weights.place("MCG-NJU/videomae")
    folder.mkdir(parents=True)
    versions = []
    for content in (b"one", b"two"):
        (folder / "model.safetensors").write_bytes(content)
        versions.append(weights.version("MCG-NJU/videomae"))
    assert len({"MCG-NJU/videomae", *versions}) == 3


def test_absent_weights_are_named_with_size_and_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("CITYGUESSR_ROOT", str(tmp_path))
    name = "MCG-NJU/videomae-small-finetuned-kinetics"
    with pytest.raises(InputError, match=rf"'{name}' are not on this machine.*model\.safetensors.*about 90 MB"):
        small(VideoMAE, pretrained=name)
    for backbone, name, size in (
        (TimeSformer, "facebook/timesformer-base-finetuned-k400", 490),
        (MAE, "facebook/vit-mae-base", 450),
    ):
        with pytest.raises(MissingWeights, match=rf"'{name}' are not on this machine.*about {size} MB"):
            small(backbone, pretrained=name)


def test_the_feature_is_the_mean_of_the_tokens_without_a_final_norm() -> None:
    torch.manual_seed(0)
    backbone = small(VideoMAE).eval()
    frames = torch.rand(2, 4, 3, 32, 32)
    with torch.no_grad():
        tokens = backbone.encoder(frames).last_hidden_state
        assert tokens.shape == (2, 2 * 2 * 2, 24)  # 2 tubelets of 2 frames, 2 x 2 patches
        assert torch.allclose(backbone(frames), tokens.mean(1), atol=1e-6)
    assert backbone.encoder.layernorm is None


# TimeSformer and MAE: a checkpoint as the hub holds it, in the folder of that name


def save(folder: Path, config: object, state: dict[str, torch.Tensor], file: str = "model.safetensors") -> Path:
    folder.mkdir(exist_ok=True)
    config.save_pretrained(folder)
    if file.endswith(".bin"):
        torch.save(state, folder / file)
    else:
        save_file({key: value.contiguous() for key, value in state.items()}, folder / file, metadata={"format": "pt"})
    return folder


def timesformer(folder: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    """Finetuned on 8 frames: `timesformer.` names and a classifier on top."""
    config = TimesformerConfig(**TRANSFORMER, num_frames=8, num_labels=400)
    torch.manual_seed(0)
    network = TimesformerForVideoClassification(config)
    state = {key: torch.randn_like(value) for key, value in network.state_dict().items()}
    return save(folder, config, state, "pytorch_model.bin"), state


def mae(folder: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    """Pretrained with masking: `vit.` names as they were when it was published, and a decoder beside them."""
    config = ViTMAEConfig(
        **TRANSFORMER,
        decoder_hidden_size=16,
        decoder_num_hidden_layers=1,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=32,
    )
    torch.manual_seed(0)
    network = ViTMAEForPreTraining(config)
    state = {}
    for key, value in network.state_dict().items():
        key = key.replace("vit.layers.", "vit.encoder.layer.").replace("mlp.fc1", "intermediate.dense")
        key = key.replace("mlp.fc2", "output.dense").replace("attention.o_proj", "attention.output.dense")
        for letter, part in (("q", "query"), ("k", "key"), ("v", "value")):
            key = key.replace(f"attention.{letter}_proj", f"attention.attention.{part}")
        state[key] = torch.randn_like(value)
    return save(folder, config, state), state


@pytest.mark.parametrize("frames", [4, 8, 15])
def test_timesformer_takes_any_number_of_frames_and_sees_each(frames: int) -> None:
    torch.manual_seed(0)
    backbone = small(TimeSformer, frames=frames).eval()
    clip = torch.rand(1, frames, 3, 32, 32)
    with torch.no_grad():
        feature = backbone(clip)
        assert feature.shape == (1, 24)
        for frame in range(frames):
            changed = clip.clone()
            changed[:, frame] = 0
            assert not torch.allclose(backbone(changed), feature, atol=1e-6), frame


def test_timesformer_s_feature_is_what_its_own_classifier_takes(tmp_path: Path) -> None:
    folder, _ = timesformer(tmp_path / "timesformer")
    backbone = small(TimeSformer, frames=8, pretrained=str(folder)).eval()
    theirs = TimesformerForVideoClassification.from_pretrained(folder).eval()
    clip = torch.rand(2, 8, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(theirs.classifier(backbone(clip)), theirs(clip).logits, atol=1e-5)


def test_eight_pretrained_frames_serve_fifteen(tmp_path: Path) -> None:
    """Each of the 15 frames starts from the nearest of the 8 time embeddings, as transformers would read them."""
    folder, state = timesformer(tmp_path / "timesformer")
    backbone = small(TimeSformer, frames=15, pretrained=str(folder)).eval()
    loaded = backbone.encoder.state_dict()
    nearest = [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7]
    for key, value in loaded.items():
        published = state[f"timesformer.{key}"]
        assert torch.equal(value, published[:, nearest] if key.endswith("time_embeddings") else published), key
    theirs = TimesformerModel.from_pretrained(folder).eval()
    theirs.config.num_frames = 15  # its time embeddings stay 8
    clip = torch.rand(1, 15, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(backbone(clip), theirs(clip).last_hidden_state[:, 0], atol=1e-6)
    bare = small(TimeSformer, frames=15)
    bare.load_state_dict(backbone.state_dict())  # a run's weights fit a model made without the checkpoint
    assert bare.encoder.embeddings.time_embeddings.requires_grad


def test_mae_loads_every_weight_of_its_encoder(tmp_path: Path) -> None:
    folder, state = mae(tmp_path / "vit-mae")
    loaded = small(MAE, pretrained=str(folder)).encoder.state_dict()
    query = state["vit.encoder.layer.1.attention.attention.query.weight"]
    assert torch.equal(loaded["layers.1.attention.q_proj.weight"], query)
    assert torch.equal(loaded["embeddings.position_embeddings"], state["vit.embeddings.position_embeddings"])
    assert torch.equal(loaded["layernorm.weight"], state["vit.layernorm.weight"])
    values = {tuple(value.flatten().tolist()) for key, value in state.items() if key.startswith("vit.")}
    assert {tuple(value.flatten().tolist()) for value in loaded.values()} == values


@pytest.mark.parametrize(
    ("publish", "backbone", "part"),
    [(timesformer, TimeSformer, "temporal_dense.bias"), (mae, MAE, "attention.attention.query.bias")],
)
def test_a_checkpoint_with_missing_tensors_is_refused(
    tmp_path: Path, publish: Callable, backbone: type, part: str
) -> None:
    folder, state = publish(tmp_path / "weights")
    for file in folder.glob("*.bin"):
        file.unlink()
    config = {timesformer: TimesformerConfig, mae: ViTMAEConfig}[publish].from_pretrained(folder)
    save(folder, config, {key: value for key, value in state.items() if not key.endswith(part)})
    with pytest.raises(InputError, match="2 encoder weights are not in the checkpoint or have another shape"):
        small(backbone, pretrained=str(folder))
    save(folder, config, state)
    with pytest.raises(InputError, match="encoder weights are not in the checkpoint or have another shape"):
        small(backbone, size=64, pretrained=str(folder))


def test_a_checkpoint_in_the_older_format_has_a_version_and_can_be_damaged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CITYGUESSR_ROOT", str(tmp_path))
    folder = weights.place("facebook/timesformer")
    folder.parent.mkdir(parents=True)
    timesformer(folder)
    assert len(weights.version("facebook/timesformer")) == 64
    file = folder / "pytorch_model.bin"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"timesformer: the weights are damaged .*fetch .*again"):
        small(TimeSformer, frames=8, pretrained="facebook/timesformer")


def test_masking_is_off_in_mae() -> None:
    """Every patch reaches the feature, and two calls agree to the last bit, in training too."""
    torch.manual_seed(0)
    backbone = small(MAE, size=64).train()  # 4 x 4 patches
    frame = torch.rand(2, 1, 3, 64, 64)
    with torch.no_grad():
        feature = backbone(frame)
        assert torch.equal(backbone(frame), feature)
        for row in range(4):
            for column in range(4):
                changed = frame.clone()
                changed[..., 16 * row : 16 * row + 16, 16 * column : 16 * column + 16] = 0
                assert not torch.allclose(backbone(changed), feature, atol=1e-6), (row, column)


def test_mae_is_a_vision_transformer_over_all_patches_in_order() -> None:
    """Patch embedding, positions, class token, blocks, final norm; the feature is the mean over the patches."""
    torch.manual_seed(0)
    backbone = small(MAE, size=64).eval()
    encoder: ViTMAEModel = backbone.encoder
    frame = torch.rand(2, 1, 3, 64, 64)
    with torch.no_grad():
        embeddings = encoder.embeddings
        positions = embeddings.position_embeddings
        patches = embeddings.patch_embeddings.projection(frame[:, 0]).flatten(2).transpose(1, 2) + positions[:, 1:]
        tokens = torch.cat(((embeddings.cls_token + positions[:, :1]).expand(2, -1, -1), patches), dim=1)
        for layer in encoder.layers:
            tokens = layer(tokens, None)
        tokens = encoder.layernorm(tokens)[:, 1:]
        assert torch.allclose(backbone.tokens(frame), tokens, atol=1e-6)
        assert torch.allclose(backbone(frame), tokens.mean(1), atol=1e-6)


# What the encoders compute, against transformers' own forward pass


@pytest.mark.parametrize("colours", ["imagenet", "none"])
@pytest.mark.parametrize("given", ["bytes", "fractions"])
@pytest.mark.parametrize(
    ("kind", "changes"),
    [(VideoMAE, {}), (VideoMAE, {"frames": 5}), (TimeSformer, {}), (TimeSformer, {"depth": 1}), (MAE, {"size": 64})],
)
def test_few_operations_compute_what_transformers_computes(
    kind: type[Encoder], changes: dict[str, int], given: str, colours: str
) -> None:
    """In float64 to 1e-10, and the gradient of every weight as well; an odd clip repeats its last frame in both."""
    torch.manual_seed(0)
    backbone = small(kind, **changes).double().train()
    with torch.no_grad():
        for parameter in backbone.parameters():  # no bias is zero, no LayerNorm the identity
            parameter.add_(0.3 * torch.randn_like(parameter))
    size, count = changes.get("size", 32), 1 if kind is MAE else changes.get("frames", 4)
    frames = torch.randint(256, (3, count, 3, size, size), dtype=torch.uint8)
    floats = normalised(frames.double() / 255, colours)
    cotangent = torch.randn(3, 24, dtype=torch.float64)
    results = []
    for backbone.plain in (False, True):
        backbone.zero_grad()
        if backbone.plain:
            features = backbone(floats)
        else:
            features = backbone(frames if given == "bytes" else frames.double() / 255, colours)
        features.backward(cotangent)
        gradients = {name: part.grad for name, part in backbone.named_parameters() if part.requires_grad}
        results.append({"features": features.detach()} | gradients)
    fast, plain = results
    for name, value in plain.items():
        value = torch.zeros_like(fast[name]) if value is None else value
        assert value.abs().max() > 0 or "key" in name, name
        assert (fast[name] - value).abs().max() < 1e-10 * max(1, value.abs().max().item()), name


@pytest.mark.parametrize("kind", KINDS)
def test_an_encoder_is_one_graph(kind: type[Encoder]) -> None:
    """`torch.compile` finds no reason to return to Python in between, in bfloat16 as without."""
    torch.manual_seed(0)
    backbone = small(kind)
    frames = torch.randint(256, (2, 1 if kind is MAE else 4, 3, 32, 32), dtype=torch.uint8)
    compiled = torch.compile(backbone, fullgraph=True, backend="aot_eager")
    for dtype in (None, torch.bfloat16):
        with torch.autocast("cpu", dtype, enabled=dtype is not None):
            assert torch.allclose(compiled(frames, "imagenet"), backbone(frames, "imagenet"), atol=1e-6), dtype


def test_bfloat16_is_as_near_as_transformers_brings_it() -> None:
    """Under autocast the features stray from float32 no further than those of the plain forward pass do."""
    torch.manual_seed(0)
    backbone = small(VideoMAE, size=64, width=96, heads=3)
    frames = torch.randint(256, (8, 4, 3, 64, 64), dtype=torch.uint8)
    errors = []
    with torch.no_grad():
        exact = backbone(frames, "imagenet")
        for backbone.plain in (False, True):
            with torch.autocast("cpu", torch.bfloat16):
                errors.append((backbone(frames, "imagenet") - exact).square().mean().item())
    assert 0 < errors[0] < 1.5 * errors[1]
