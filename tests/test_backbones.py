"""VideoMAE through transformers: everything loads, the query and value biases above all."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import VideoMAEConfig, VideoMAEForVideoClassification

from cityguessr.backbones import VideoMAE, local_weights, weights_version
from cityguessr.errors import InputError

SIZES = {"frames": 4, "size": 32, "patch": 16, "width": 24, "depth": 2, "heads": 2}


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
    backbone = VideoMAE(**SIZES, pretrained=str(folder))
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
        VideoMAE(**SIZES, pretrained=str(folder))


def test_a_checkpoint_of_another_width_is_refused(published: tuple[Path, dict[str, torch.Tensor]]) -> None:
    with pytest.raises(InputError, match="encoder weights are not in the checkpoint or have another shape"):
        VideoMAE(**(SIZES | {"width": 48}), pretrained=str(published[0]))


def test_a_damaged_checkpoint_is_named(published: tuple[Path, dict[str, torch.Tensor]]) -> None:
    file = published[0] / "model.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(InputError, match=r"videomae-tiny: the weights are damaged .*fetch model\.safetensors again"):
        VideoMAE(**SIZES, pretrained=str(published[0]))


def test_another_checkpoint_under_the_same_name_is_another_version(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CITYGUESSR_ROOT", str(tmp_path))
    assert weights_version("MCG-NJU/videomae") == "MCG-NJU/videomae"
    folder = local_weights("MCG-NJU/videomae")
    folder.mkdir(parents=True)
    versions = []
    for content in (b"one", b"two"):
        (folder / "model.safetensors").write_bytes(content)
        versions.append(weights_version("MCG-NJU/videomae"))
    assert len({"MCG-NJU/videomae", *versions}) == 3


def test_absent_weights_are_named_with_size_and_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("CITYGUESSR_ROOT", str(tmp_path))
    name = "MCG-NJU/videomae-small-finetuned-kinetics"
    with pytest.raises(InputError, match=rf"'{name}' are not on this machine.*model\.safetensors.*about 90 MB"):
        VideoMAE(**SIZES, pretrained=name)


def test_the_feature_is_the_mean_of_the_tokens_without_a_final_norm() -> None:
    torch.manual_seed(0)
    backbone = VideoMAE(**SIZES).eval()
    frames = torch.rand(2, 4, 3, 32, 32)
    with torch.no_grad():
        tokens = backbone.encoder(frames).last_hidden_state
        assert tokens.shape == (2, 2 * 2 * 2, 24)  # 2 tubelets of 2 frames, 2 x 2 patches
        assert torch.equal(backbone(frames), tokens.mean(1))
    assert backbone.encoder.layernorm is None
