"""TempGeo, the head and GeoRefiner: printed numbers of weights, videos of any length, what phase II leaves alone."""

import math

import pytest
import torch

from cityguessr.base.errors import InputError
from cityguessr.vidtag.config import VidTAGConfig
from cityguessr.vidtag.model import VidTAG
from cityguessr.vidtag.temporal import positions

SMALL = VidTAGConfig(
    features=16, bottleneck=8, temporal_heads=2, head=(12,), width=8, fourier=4, location_width=8,
    refiner_heads=2, refiner_feed_forward=16,
)  # fmt: skip


def weights(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def test_the_paper_s_56_3_million_weights() -> None:
    with torch.device("meta"):
        model = VidTAG(VidTAGConfig())
        shallow = VidTAG(VidTAGConfig(head=(1024,)))
        learned = VidTAG(VidTAGConfig(temporal="learned"))
    assert weights(model.temporal) == 43_886_080
    assert weights(model.head) == 3_016_960
    assert weights(model.location) == 9_447_936
    assert weights(model.refiner) == 11_560_448
    millions = [(weights(each) - weights(each.refiner)) / 1e6 for each in (model, shallow)]
    assert millions == pytest.approx([56.3, 55.7], abs=0.06)  # Table 8: a head of three layers, and of two
    assert round(weights(learned.temporal) / 1e6, 2) == 43.85


def test_geoclip_has_its_own_head() -> None:
    with torch.device("meta"):
        model = VidTAG(VidTAGConfig.geoclip())
    assert weights(model.head) == 984_320
    assert weights(model.temporal) == 0
    assert model.refiner is None


def test_positions_of_any_number_of_frames_end_at_31() -> None:
    table = positions(16, 6)
    place = 31 / 15  # of the second of 16 frames: 2.07
    expected = [(math.sin, math.cos)[i % 2](place / 10000 ** (i / 6)) for i in range(6)]
    assert table[1].tolist() == pytest.approx(expected, abs=1e-6)
    assert torch.allclose(table[-1], positions(1093, 6)[-1])
    assert torch.allclose(positions(1, 6), positions(16, 6)[:1])


@pytest.mark.parametrize("frames", [1, 16, 17, 1093])
def test_a_video_of_any_length_has_an_answer_for_every_frame(frames: int) -> None:
    model = VidTAG(SMALL).eval()
    embeddings = model.frames(torch.randn(2, frames, 16))
    assert embeddings.shape == (2, frames, 8)
    assert torch.allclose(embeddings.norm(dim=-1), torch.ones(2, frames), atol=1e-5)
    assert model.refined(torch.zeros(2, frames, 2), embeddings).shape == (2, frames, 8)


def test_learned_positions_end() -> None:
    model = VidTAG(SMALL.replace(temporal="learned")).eval()
    with pytest.raises(InputError, match="a video of 513 frames: learned positions end at 512"):
        model.frames(torch.randn(1, 513, 16))


def test_a_frame_s_answer_depends_on_the_other_frames_of_its_video_alone() -> None:
    model = VidTAG(SMALL).eval()
    features = torch.randn(2, 5, 16)
    changed = features.clone()
    changed[0, 4] += 1
    before, after = model.frames(features), model.frames(changed)
    assert not torch.allclose(before[0, 0], after[0, 0])
    assert torch.allclose(before[1], after[1], atol=1e-6)
    alone = VidTAG(SMALL.replace(temporal="none")).eval()
    assert torch.allclose(alone.frames(features)[0, 0], alone.frames(changed)[0, 0])


def test_phase_two_leaves_every_tensor_and_buffer_of_phase_one_as_it_was() -> None:
    model = VidTAG(SMALL)
    model.frames(torch.randn(4, 5, 16))  # BatchNorm has seen something
    model.train_refiner()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=0.1)
    for _ in range(2):
        frames = model.frames(torch.randn(4, 5, 16))
        model.refined(torch.rand(4, 5, 2), frames).sum().backward()
        optimizer.step()
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved
    assert all(name.startswith("refiner.") for name in moved)
    assert model.refiner.training


def test_frozen_answers_do_not_vary_in_phase_two() -> None:
    model = VidTAG(SMALL)
    model.train_refiner()
    features = torch.randn(1, 5, 16)
    assert torch.equal(model.frames(features), model.frames(features))  # no dropout


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temporal": "lstm"}, "no temporal 'lstm'"),
        ({"features": 15}, "2 heads do not divide 15 features"),
        ({"width": 9}, "2 refiner heads do not divide a width of 9"),
        ({"queue": -1}, "give 0 for none"),
        ({"head_activation": "gelu"}, "no head_activation 'gelu'"),
    ],
)
def test_a_configuration_that_fits_nothing_is_refused(changes: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        SMALL.replace(**changes)


def test_features_of_another_width_are_refused() -> None:
    with pytest.raises(InputError, match=r"features are \(videos, frames, 16\); got shape \(2, 3, 15\)"):
        VidTAG(SMALL).frames(torch.zeros(2, 3, 15))
    with pytest.raises(InputError, match="has no GeoRefiner"):
        VidTAG(SMALL.replace(refiner=False)).train_refiner()
