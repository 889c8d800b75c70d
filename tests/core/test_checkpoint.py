"""The released checkpoint: same weights, same outputs as the authors' network computes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from cityguessr.base.errors import InputError
from cityguessr.checkpoint import load_released_checkpoint
from cityguessr.config import ModelConfig
from cityguessr.model import CityGuessr
from cityguessr.taxonomy import LEVELS, Taxonomy

HEADS, LAYERS, WIDTH = 6, 12, 384  # ViT-S


def authors_state(seed: int = 0, layers: int = LAYERS) -> dict[str, Tensor]:
    """Random tensors under the keys, and in the shapes, of a state dict that the authors' training script saves."""
    generator = torch.Generator().manual_seed(seed)

    def linear(name: str, n_in: int, n_out: int, bias: bool = True) -> dict[str, Tensor]:
        tensors = {f"{name}.weight": torch.randn(n_out, n_in, generator=generator) / n_in**0.5}
        return tensors | ({f"{name}.bias": 0.1 * torch.randn(n_out, generator=generator)} if bias else {})

    encoder = {
        "embeddings.patch_embeddings.projection.weight": 0.02 * torch.randn(WIDTH, 3, 2, 16, 16, generator=generator)
    }
    encoder["embeddings.patch_embeddings.projection.bias"] = 0.1 * torch.randn(WIDTH, generator=generator)
    for i in range(layers):
        layer = f"encoder.layer.{i}"
        for part in ("query", "key", "value"):
            encoder |= linear(f"{layer}.attention.attention.{part}", WIDTH, WIDTH, bias=False)
        for part in ("q_bias", "v_bias"):
            encoder[f"{layer}.attention.attention.{part}"] = 0.1 * torch.randn(WIDTH, generator=generator)
        encoder |= linear(f"{layer}.attention.output.dense", WIDTH, WIDTH)
        encoder |= linear(f"{layer}.intermediate.dense", WIDTH, 4 * WIDTH)
        encoder |= linear(f"{layer}.output.dense", 4 * WIDTH, WIDTH)
        for part in ("layernorm_before", "layernorm_after"):
            encoder[f"{layer}.{part}.weight"] = 1 + 0.1 * torch.randn(WIDTH, generator=generator)
            encoder[f"{layer}.{part}.bias"] = 0.1 * torch.randn(WIDTH, generator=generator)
    state = {f"backbone.backbone.{key}": value for key, value in encoder.items()}
    state |= {f"backbone.{key}": value for key, value in encoder.items()}
    for level, n in Taxonomy.cityguessr68k().sizes.items():
        state |= linear(f"classifier_{level}", WIDTH, n)
    for part in ("query", "key", "value"):
        state |= linear(f"{part}_projection", 1, 6)
    state |= linear("final_projection", 6, 1)
    state |= {"mha.in_proj_weight": 0.4 * torch.randn(18, 6, generator=generator), "mha.in_proj_bias": torch.zeros(18)}
    state |= linear("mha.out_proj", 6, 6)
    for i, (n_in, n_out) in enumerate([(420, 256), (256, 128), (128, 64), (64, 32), (32, 16), (16, 16)]):
        state |= linear(f"out_linear.{2 * i}", n_in, n_out)
    return state | linear("text_linear.0", 420, 466) | linear("text_linear.2", 466, 512)


def position_table(tokens: int, width: int) -> Tensor:
    """Sines and cosines of VideoMAE: column j has the angle position / 10000 ** (2 * (j // 2) / width)."""
    angle = np.arange(tokens)[:, None] / 10_000 ** (2 * (np.arange(width) // 2) / width)
    return torch.from_numpy(np.where(np.arange(width) % 2 == 0, np.sin(angle), np.cos(angle)))


def recompute(state: dict[str, Tensor], frames: Tensor, layers: int) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """The network from its tensors alone, in float64 and without a module: frames (B, 16, 3, 224, 224) in [0, 1]."""
    w = {key: value.double() for key, value in state.items()}
    mean = torch.tensor([0.485, 0.456, 0.406]).double()[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225]).double()[:, None, None]
    x = (frames.double() - mean) / std
    batch = len(x)

    def norm(x: Tensor, name: str) -> Tensor:
        x = x - x.mean(-1, keepdim=True)
        return x / (x.square().mean(-1, keepdim=True) + 1e-12).sqrt() * w[f"{name}.weight"] + w[f"{name}.bias"]

    def affine(x: Tensor, name: str) -> Tensor:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def attend(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
        q, k, v = (t.unflatten(2, (heads, -1)).transpose(1, 2) for t in (q, k, v))
        weights = (q @ k.transpose(2, 3) / q.shape[-1] ** 0.5).softmax(-1)
        return (weights @ v).transpose(1, 2).flatten(2)

    # Tubelets of 2 x 16 x 16 pixels, in the order time, row, column
    cubes = x.reshape(batch, 8, 2, 3, 14, 16, 14, 16).permute(0, 1, 4, 6, 3, 2, 5, 7).reshape(batch, 1568, -1)
    kernel = w["backbone.backbone.embeddings.patch_embeddings.projection.weight"].flatten(1)
    x = cubes @ kernel.T + w["backbone.backbone.embeddings.patch_embeddings.projection.bias"]
    x = x + position_table(1568, WIDTH)
    for i in range(layers):
        layer = f"backbone.backbone.encoder.layer.{i}"
        attention = f"{layer}.attention.attention"
        y = norm(x, f"{layer}.layernorm_before")
        q = y @ w[f"{attention}.query.weight"].T + w[f"{attention}.q_bias"]
        k = y @ w[f"{attention}.key.weight"].T
        v = y @ w[f"{attention}.value.weight"].T + w[f"{attention}.v_bias"]
        x = x + affine(attend(q, k, v, HEADS), f"{layer}.attention.output.dense")
        y = affine(norm(x, f"{layer}.layernorm_after"), f"{layer}.intermediate.dense")
        y = y * 0.5 * (1 + torch.erf(y / 2**0.5))
        x = x + affine(y, f"{layer}.output.dense")
    feature = x.mean(1)
    logits = {level: affine(feature, f"classifier_{level}") for level in LEVELS}
    tokens = torch.cat([logits[level] for level in LEVELS], 1)[:, :, None]
    q, k, v = (affine(tokens, f"{part}_projection") for part in ("query", "key", "value"))
    parts = zip((q, k, v), w["mha.in_proj_weight"].chunk(3), w["mha.in_proj_bias"].chunk(3), strict=True)
    attended = attend(*(t @ weight.T + bias for t, weight, bias in parts), heads=2)
    vector = affine(affine(attended, "mha.out_proj"), "final_projection")[:, :, 0]
    scene = vector
    for i in range(6):
        scene = affine(scene if i == 0 else scene.relu(), f"out_linear.{2 * i}")
    return logits, scene, affine(affine(vector, "text_linear.0").relu(), "text_linear.2")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Tensor]]:
    path = tmp_path_factory.mktemp("released") / "checkpoint.pth"
    state = authors_state()
    optimizer = torch.optim.Adam([torch.zeros(3, requires_grad=True)]).state_dict()
    torch.save({"epoch": 12, "state_dict": state, "best_acc1": torch.tensor(69.6), "optimizer": optimizer}, path)
    return path, state


def test_same_outputs_as_an_independent_computation(checkpoint: tuple[Path, dict[str, Tensor]]) -> None:
    path, state = checkpoint
    model = load_released_checkpoint(path)
    frames = torch.rand(1, 16, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        output = model(frames)
        logits, scene, text = recompute(state, frames, LAYERS)
    differences = [(output.logits[level] - logits[level]).abs().max().item() for level in LEVELS]
    differences += [(output.scene - scene).abs().max().item(), (output.text - text).abs().max().item()]
    print("largest difference:", max(differences))
    assert max(differences) < 1e-5
    assert output.scene.shape == (1, 16)
    assert output.text.shape == (1, 512)


def test_the_loaded_model_is_as_released(checkpoint: tuple[Path, dict[str, Tensor]]) -> None:
    model = load_released_checkpoint(checkpoint[0])
    released = ModelConfig.as_released()
    assert model.config == released.replace(pretrained=None, text_dim=512)
    assert not model.training


def test_a_checkpoint_from_several_gpus_loads(tmp_path: Path) -> None:
    state = {f"module.{key}": value for key, value in authors_state(layers=1).items()}
    torch.save(state, tmp_path / "bare.pth")
    assert load_released_checkpoint(tmp_path / "bare.pth").config.depth == 1


def test_query_and_value_biases_are_loaded(checkpoint: tuple[Path, dict[str, Tensor]]) -> None:
    path, state = checkpoint
    attention = load_released_checkpoint(path).backbone.encoder.encoder.layer[3].attention.attention
    key = "backbone.backbone.encoder.layer.3.attention.attention"
    assert torch.equal(attention.query.bias, state[f"{key}.q_bias"])
    assert torch.equal(attention.value.bias, state[f"{key}.v_bias"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("mha.in_proj_weight"), "not the released architecture; missing: attention.attention"),
        (lambda state: state.update(extra=torch.zeros(1)), "unknown: extra"),
        (lambda state: state.pop("classifier_city.weight"), "none city classes, the taxonomy has 166"),
        (lambda state: state.update({"classifier_city.weight": torch.zeros(21, WIDTH)}), "21 city classes"),
    ],
)
def test_another_architecture_is_refused(tmp_path: Path, change: object, message: str) -> None:
    state = authors_state(layers=1)
    change(state)
    torch.save({"state_dict": state}, tmp_path / "other.pth")
    with pytest.raises(InputError, match=message):
        load_released_checkpoint(tmp_path / "other.pth")


def test_nothing_but_tensors_is_unpickled(tmp_path: Path) -> None:
    class Stranger:
        pass

    globals()["Stranger"] = Stranger
    Stranger.__qualname__ = "Stranger"
    torch.save({"state_dict": authors_state(layers=1), "arguments": Stranger()}, tmp_path / "odd.pth")
    with pytest.raises(InputError, match="cannot be read as a checkpoint of tensors and plain values"):
        load_released_checkpoint(tmp_path / "odd.pth")


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.pth: no such file"):
        load_released_checkpoint(tmp_path / "nowhere.pth")


def test_as_released_is_the_same_class_as_described() -> None:
    """The released reading is a configuration, not another model: FFN_t of 420-466-512, FFN_s of six layers."""
    config = ModelConfig.as_released().replace(pretrained=None, width=24, depth=1, heads=2, size=32)
    model = CityGuessr(config, Taxonomy.cityguessr68k())
    assert [layer.out_features for layer in model.ffn_t if hasattr(layer, "out_features")] == [466, 512]
    assert [layer.out_features for layer in model.ffn_s if hasattr(layer, "out_features")] == [256, 128, 64, 32, 16, 16]
