"""The controls: what stands in the place of a part of the method, with everything else as it is."""

import pytest
import torch
from torch import nn

from cityguessr import CityGuessr, InputError, ModelConfig, Taxonomy
from cityguessr.model import SelfCrossAttention
from cityguessr.training import experiments

SMALL = ModelConfig(
    pretrained=None, frames=4, size=32, width=48, depth=2, heads=2, text_encoder="minilm", scene_widths=(64, 32)
)
FRAMES = torch.randint(256, (3, 4, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def taxonomy() -> Taxonomy:
    return Taxonomy.cityguessr68k()


def model(taxonomy: Taxonomy, **changes: object) -> CityGuessr:
    torch.manual_seed(0)
    return CityGuessr(SMALL.replace(**changes), taxonomy).eval()


def test_without_attention_scenes_and_text_are_read_from_the_logits_as_they_are(taxonomy: Taxonomy) -> None:
    plain = model(taxonomy, attention="identity")
    output = plain(FRAMES)
    vector = torch.cat([output.logits[level] for level in output.logits], dim=1)
    torch.testing.assert_close(output.scene, plain.ffn_s(vector))
    torch.testing.assert_close(output.text, plain.ffn_t(vector))


def test_one_linear_layer_takes_the_place_of_the_attention(taxonomy: Taxonomy) -> None:
    linear = model(taxonomy, attention="linear")
    assert isinstance(linear.attention, nn.Linear)
    assert linear.attention.weight.shape == (420, 420)
    assert isinstance(model(taxonomy).attention, SelfCrossAttention)


def test_scenes_from_the_feature_leave_the_location_out(taxonomy: Taxonomy) -> None:
    """The scene loss reaches the backbone, and none of the four heads."""
    direct = model(taxonomy, scene_from="feature", text_labels=None)
    assert direct.attention is None
    direct(FRAMES).scene.sum().backward()
    assert all(head.weight.grad is None for head in direct.classifiers.values())
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in direct.backbone.parameters())


def test_the_average_of_all_frames_is_the_mean_of_what_each_of_them_gives(taxonomy: Taxonomy) -> None:
    bare = {"backbone": "mae", "scene_labels": None, "text_labels": None}
    every, single = model(taxonomy, frame="all", **bare), model(taxonomy, frame="first", **bare)
    single.load_state_dict(every.state_dict())
    alone = torch.stack([single.backbone(FRAMES[:, t : t + 1]) for t in range(4)])
    torch.testing.assert_close(every.backbone(FRAMES), alone.mean(dim=0), atol=1e-5, rtol=1e-4)
    every.backbone.use(folded=False)
    torch.testing.assert_close(every.backbone(FRAMES), alone.mean(dim=0), atol=1e-5, rtol=1e-4)


def test_a_system_of_one_frame_cannot_average(taxonomy: Taxonomy) -> None:
    with pytest.raises(InputError, match="sees one frame of a clip"):
        ModelConfig(backbone="mae", system="isns", frame="all", scene_labels=None, text_labels=None)


@pytest.mark.parametrize("name", list(experiments.TABLES["controls"]))
def test_a_control_differs_from_the_method_in_at_most_a_field_or_two(name: str) -> None:
    """From its neighbour in the table, the one that it is a control of."""
    neighbour = {
        "mae_average": "mae_random",
        "videomae_from_random": "videomae",
        "scene_from_feature": "scenes_soft",
        "scenes_shuffled": "scenes_soft",
        "scenes_random": "scenes_soft",
    }.get(name, "cityguessr")
    own, other = (vars(experiments.get(x).config("mini")) for x in (name, neighbour))
    changed = {field for field in own if own[field] != other[field]}
    weights = experiments.get(name).weights
    if name in ("mae_random", "videomae", "scenes_soft", "cityguessr"):
        return  # not a control
    assert len(changed) + len(weights) in (1, 2)
