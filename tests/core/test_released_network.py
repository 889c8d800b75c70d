"""The authors' network, written out here from what is known of it, against what `load_released_checkpoint` makes of it.

Nothing of the package takes part on the authors' side: neither its model nor its own second computation
(`speed.reference`), which is held against this one as well. The facts: the keys of the released state dict; VideoMAE
ViT-S without a final LayerNorm, the mean over its tokens; 420 logits as tokens of width 1; FFN_s of
420-256-128-64-32-16-16 and FFN_t of 420-466-512; and pixels as `ToTensor` gives them, in [0, 1], in training as in
evaluation.
"""

import itertools
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from cityguessr.checkpoint import load_released_checkpoint
from cityguessr.config import IMAGENET
from cityguessr.model import CityGuessr
from cityguessr.speed.reference import recompute

WIDTH, HEADS, LAYERS, TOKENS = 384, 6, 12, 8 * 14 * 14
CLASSES = {"city": 166, "state": 157, "country": 91, "continent": 6}


class TheirAttention(nn.Module):
    """Query and value have a bias, the key has none; scores are scaled by the root of a head's 64 numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(3))
        self.q_bias, self.v_bias = nn.Parameter(torch.zeros(WIDTH)), nn.Parameter(torch.zeros(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.query(x) + self.q_bias, self.key(x), self.value(x) + self.v_bias
        q, k, v = (t.unflatten(2, (HEADS, 64)).transpose(1, 2) for t in (q, k, v))
        return nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def their_layer() -> nn.ModuleDict:
    return nn.ModuleDict(
        {
            "layernorm_before": nn.LayerNorm(WIDTH, eps=1e-12),
            "attention": nn.ModuleDict({"attention": TheirAttention(), "output": dense(WIDTH, WIDTH)}),
            "layernorm_after": nn.LayerNorm(WIDTH, eps=1e-12),
            "intermediate": dense(WIDTH, 4 * WIDTH),
            "output": dense(4 * WIDTH, WIDTH),
        }
    )


def dense(wide: int, narrow: int) -> nn.ModuleDict:
    return nn.ModuleDict({"dense": nn.Linear(wide, narrow)})


class TheirNetwork(nn.Module):
    """Its state dict has the released keys: parts of the backbone stand in it twice, by either of their names."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        patches = nn.ModuleDict({"projection": nn.Conv3d(3, WIDTH, (2, 16, 16), stride=(2, 16, 16))})
        self.backbone = nn.ModuleDict(
            {
                "embeddings": nn.ModuleDict({"patch_embeddings": patches}),
                "encoder": nn.ModuleDict({"layer": nn.ModuleList(their_layer() for _ in range(layers))}),
            }
        )
        self.backbone["backbone"] = nn.ModuleDict(dict(self.backbone.items()))
        for level, classes in CLASSES.items():
            setattr(self, f"classifier_{level}", nn.Linear(WIDTH, classes))
        self.query_projection, self.key_projection, self.value_projection = (nn.Linear(1, 6) for _ in range(3))
        self.mha = nn.MultiheadAttention(6, 2, batch_first=True)
        self.final_projection = nn.Linear(6, 1)
        widths = [420, 256, 128, 64, 32, 16, 16]
        narrowing = [part for pair in itertools.pairwise(widths) for part in (nn.ReLU(), nn.Linear(*pair))]
        self.out_linear = nn.Sequential(*narrowing[1:])
        self.text_linear = nn.Sequential(nn.Linear(420, 466), nn.ReLU(), nn.Linear(466, 512))

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Pixels (B, 16, 3, 224, 224) in [0, 1] -> logits of city, state, country, continent; scenes; text."""
        cubes = self.backbone["embeddings"]["patch_embeddings"]["projection"](pixels.transpose(1, 2))
        x = cubes.flatten(2).transpose(1, 2) + places().to(pixels)  # (B, 1568, 384)
        for layer in self.backbone["encoder"]["layer"]:
            y = layer["attention"]["attention"](layer["layernorm_before"](x))
            x = x + layer["attention"]["output"]["dense"](y)
            y = nn.functional.gelu(layer["intermediate"]["dense"](layer["layernorm_after"](x)))
            x = x + layer["output"]["dense"](y)
        logits = [getattr(self, f"classifier_{level}")(x.mean(1)) for level in CLASSES]
        tokens = torch.cat(logits, 1).unsqueeze(-1)  # (B, 420, 1)
        parts = self.query_projection(tokens), self.key_projection(tokens), self.value_projection(tokens)
        vector = self.final_projection(self.mha(*parts)[0]).squeeze(-1)
        return [*logits, self.out_linear(vector), self.text_linear(vector)]


def places() -> Tensor:
    """The fixed table of positions: sines in even columns, cosines in odd ones."""
    rate = 10_000 ** (-torch.arange(0, WIDTH, 2, dtype=torch.float64) / WIDTH)
    angle = torch.arange(TOKENS, dtype=torch.float64)[:, None] * rate
    return torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)


def theirs(layers: int) -> TheirNetwork:
    torch.manual_seed(0)
    network = TheirNetwork(layers)
    with torch.no_grad():  # larger than torch's own start, so that every part shows in what comes out
        for weight in network.parameters():
            if weight.ndim > 1:
                weight.normal_(std=0.7 / weight[0].numel() ** 0.5)
            else:
                weight.add_(0.1 * torch.randn_like(weight))
    return network.eval()


@pytest.fixture(scope="module")
def frames() -> Tensor:
    return torch.randint(256, (1, 16, 3, 224, 224), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def loaded(network: TheirNetwork, folder: Path) -> CityGuessr:
    """Ours, from a file as their script saves it."""
    saved = {"epoch": 12, "state_dict": network.state_dict(), "best_acc1": 69.6, "optimizer": {}}
    torch.save(saved, folder / "checkpoint.pth")
    return load_released_checkpoint(folder / "checkpoint.pth")


def outputs(model: CityGuessr, frames: Tensor) -> list[Tensor]:
    output = model(frames)
    return [*output.logits.values(), output.scene, output.text]


def difference(some: list[Tensor], others: list[Tensor]) -> float:
    return max((a - b).abs().max().item() for a, b in zip(some, others, strict=True))


@torch.no_grad()
def test_the_authors_network_given_pixels_in_0_1_gives_our_outputs(frames: Tensor, tmp_path: Path) -> None:
    network = theirs(LAYERS)
    ours = outputs(loaded(network, tmp_path), frames)
    wanted = network.double()(frames.double() / 255)  # what ToTensor does
    assert [tuple(values.shape) for values in ours] == [(1, n) for n in (*CLASSES.values(), 16, 512)]
    assert difference(ours, wanted) < 1e-5
    assert all(values.std() > 0.1 for values in wanted)


@torch.no_grad()
def test_normalised_pixels_give_others_and_the_second_computation_the_same(frames: Tensor, tmp_path: Path) -> None:
    """The reading that is ruled out, and the second computation of the package, which agrees with this one."""
    network = theirs(2)
    ours, state = outputs(loaded(network, tmp_path), frames), {k: v.clone() for k, v in network.state_dict().items()}
    pixels, (mean, std) = frames.double() / 255, (torch.tensor(part)[:, None, None] for part in IMAGENET)
    wanted = network.double()(pixels)
    assert difference(ours, wanted) < 1e-5
    assert difference(ours, network((pixels - mean) / std)) > 0.1
    logits, scene, text = recompute(state, pixels, layers=2)
    assert difference([*logits.values(), scene, text], wanted) < 1e-9
