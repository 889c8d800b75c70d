"""The released checkpoint: same weights, same outputs as the authors' network computes."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from cityguessr.base.errors import InputError
from cityguessr.checkpoint import load_released_checkpoint
from cityguessr.config import ModelConfig
from cityguessr.model import CityGuessr
from cityguessr.speed.reference import LAYERS, WIDTH, recompute, released_state
from cityguessr.taxonomy import LEVELS, Taxonomy


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Tensor]]:
    path = tmp_path_factory.mktemp("released") / "checkpoint.pth"
    state = released_state()
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
    state = {f"module.{key}": value for key, value in released_state(layers=1).items()}
    torch.save(state, tmp_path / "bare.pth")
    assert load_released_checkpoint(tmp_path / "bare.pth").config.depth == 1


def test_query_and_value_biases_are_loaded(checkpoint: tuple[Path, dict[str, Tensor]]) -> None:
    path, state = checkpoint
    attention = load_released_checkpoint(path).backbone.encoder.encoder.layer[3].attention.attention
    key = "backbone.backbone.encoder.layer.3.attention.attention"
    assert torch.equal(attention.query.bias, state[f"{key}.q_bias"])
    assert torch.equal(attention.value.bias, state[f"{key}.v_bias"])


def test_keys_have_no_bias_where_the_module_has_room_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class WithKeyBias(CityGuessr):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)
            self.key_bias.bias = torch.nn.Parameter(torch.ones(WIDTH))

        @property
        def key_bias(self) -> torch.nn.Linear:
            return self.backbone.encoder.encoder.layer[0].attention.attention.key

    monkeypatch.setattr("cityguessr.checkpoint.CityGuessr", WithKeyBias)
    torch.save(released_state(layers=1), tmp_path / "bare.pth")
    assert not load_released_checkpoint(tmp_path / "bare.pth").key_bias.bias.any()


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
    state = released_state(layers=1)
    change(state)
    torch.save({"state_dict": state}, tmp_path / "other.pth")
    with pytest.raises(InputError, match=message):
        load_released_checkpoint(tmp_path / "other.pth")


def test_nothing_but_tensors_is_unpickled(tmp_path: Path) -> None:
    class Stranger:
        pass

    globals()["Stranger"] = Stranger
    Stranger.__qualname__ = "Stranger"
    torch.save({"state_dict": released_state(layers=1), "arguments": Stranger()}, tmp_path / "odd.pth")
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
