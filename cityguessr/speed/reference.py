"""The released network a second time, from its checkpoint's tensors alone, to compare the loaded model with."""

import numpy as np
import torch
from torch import Tensor

from cityguessr.taxonomy import LEVELS, Taxonomy

HEADS, LAYERS, WIDTH = 6, 12, 384  # ViT-S


def released_state(seed: int = 0, layers: int = LAYERS) -> dict[str, Tensor]:
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
    w = {key: value.to(frames.device, torch.float64) for key, value in state.items()}
    x, batch = frames.double(), len(frames)  # the released code takes pixels as they are

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
    x = x + position_table(1568, WIDTH).to(x)
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
