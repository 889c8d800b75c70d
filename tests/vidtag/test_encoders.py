"""Frozen frame encoders: shapes and layers of the real ones on random weights, and what the stand-ins see."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from cityguessr.base import paths
from cityguessr.base.errors import InputError, MissingWeights
from cityguessr.vidtag import encoders


def pictures(count: int, size: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(
        0, 256, (count, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )


@pytest.mark.parametrize("name", ["semantic", "appearance"])
def test_stand_ins_are_there_offline_and_are_called_so(name: str) -> None:
    encoder = encoders.load(name)
    features = encoder(pictures(3, 64))
    assert features.shape == (3, encoders.ENCODERS[name].width)
    assert features.dtype == torch.float32
    assert encoders.ENCODERS[name].stand_in
    assert torch.equal(features, encoders.load(name)(pictures(3, 64)))  # nothing about them is drawn anew


def test_an_encoder_stays_frozen_in_training_mode() -> None:
    encoder = encoders.load("semantic").train()
    assert not encoder.network.training
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


@pytest.mark.parametrize(("name", "millions"), [("clip", 304), ("dinov2", 304), ("siglip", 93)])
def test_the_real_encoders_have_the_published_sizes(name: str, millions: int) -> None:
    with torch.device("meta"):
        encoder = encoders.load(name, random=True)
    assert sum(p.numel() for p in encoder.network.parameters()) / 1e6 == pytest.approx(millions, abs=1)
    assert not encoders.ENCODERS[name].stand_in
    assert sum(encoders.ENCODERS[each].width for each in ("clip", "dinov2")) == 1792


def test_the_real_encoders_give_the_field_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """CLIP's feature is projected already; DINOv2's is the class token after the last LayerNorm."""
    from transformers import (
        CLIPVisionConfig,
        CLIPVisionModelWithProjection,
        Dinov2WithRegistersConfig,
        Dinov2WithRegistersModel,
    )

    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    clip = CLIPVisionModelWithProjection(
        CLIPVisionConfig(**small, intermediate_size=64, image_size=28, patch_size=14, projection_dim=24)
    ).eval()
    dino = Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**small, image_size=28, patch_size=14)).eval()
    pixels = torch.randn(2, 3, 28, 28)
    with torch.no_grad():
        projected = clip.visual_projection(clip.vision_model(pixels).pooler_output)
        token = dino(pixels).last_hidden_state[:, 0]
        monkeypatch.setattr(encoders, "_transformers", lambda kind, *_: clip if "CLIP" in kind.__name__ else dino)
        assert torch.allclose(encoders._clip(None, False)(pixels), projected)
        assert torch.allclose(encoders._dinov2(None, False)(pixels), token)
    assert projected.shape == (2, 24)


def test_dinov2_is_normalised_as_published_unless_its_own_colours_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(encoders, "_dinov2", None)
    kind = encoders.ENCODERS["dinov2"]
    monkeypatch.setitem(
        encoders.ENCODERS, "dinov2", encoders.dataclasses.replace(kind, make=lambda *_: torch.nn.Identity())
    )
    black = torch.zeros(1, 3, 2, 2, dtype=torch.uint8)
    published, own = (encoders.load("dinov2", colours=colours)(black)[0, 0, 0, 0] for colours in ("published", "own"))
    assert published.item() == pytest.approx(-0.48145466 / 0.26862954)
    assert own.item() == pytest.approx(-0.485 / 0.229)


def test_pictures_that_look_alike_have_features_alike() -> None:
    encoder = encoders.load("appearance")
    red, darker, noise = torch.zeros(3, 1, 3, 64, 64, dtype=torch.uint8)
    red[:, 0], darker[:, 0] = 200, 196
    noise.copy_(pictures(1, 64))
    one, near, far = (encoder(each)[0] for each in (red, darker, noise))
    assert (one - near).norm() < 0.2 * (one - far).norm()


def test_missing_weights_are_named_with_the_command_that_brings_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(paths, "data", lambda: tmp_path)
    with pytest.raises(MissingWeights, match="openai/clip-vit-large-patch14"):
        encoders.load("clip")
    folder = tmp_path / "weights" / "clip-vit-large-patch14"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(
        '{"model_type": "clip_vision_model", "hidden_size": 32, "num_hidden_layers": 1, '
        '"num_attention_heads": 2, "intermediate_size": 64, "image_size": 28, "patch_size": 14, "projection_dim": 24}'
    )
    save_file({"nothing": torch.zeros(1)}, folder / "model.safetensors")
    with pytest.raises(InputError, match="not in the checkpoint"):
        encoders.load("clip")


def test_another_name_is_refused() -> None:
    with pytest.raises(InputError, match="no frame encoder 'resnet'; it is one of clip, dinov2"):
        encoders.load("resnet")
