"""Reads a checkpoint that the authors' own training script saves."""

import re
from pathlib import Path

import torch
from torch import Tensor

from cityguessr.base.errors import InputError
from cityguessr.config import ModelConfig
from cityguessr.model import CityGuessr
from cityguessr.taxonomy import LEVELS, Taxonomy

# Their name for each part -> ours. `backbone.embeddings` and `backbone.encoder` repeat tensors of `backbone.backbone`.
_RENAMES = (
    (r"^module\.", ""),  # saved from several GPUs
    (r"^backbone\.backbone\.", "backbone.encoder."),
    (r"^classifier_(\w+)\.", r"classifiers.\1."),
    (r"^(query|key|value)_projection\.", r"attention.\1."),
    (r"^final_projection\.", "attention.project."),
    (r"^mha\.", "attention.attention."),
    (r"^out_linear\.", "ffn_s."),
    (r"^text_linear\.", "ffn_t."),
    (r"\.attention\.attention\.q_bias$", ".attention.attention.query.bias"),  # transformers before 5.20
    (r"\.attention\.attention\.v_bias$", ".attention.attention.value.bias"),
)
_REPEATED = re.compile(r"^(module\.)?backbone\.(embeddings|encoder)\.")


def load_released_checkpoint(path: str | Path, taxonomy: Taxonomy | None = None) -> CityGuessr:
    """The model in a checkpoint of the authors' script, in evaluation mode, giving the same outputs.

    Args:
        path: a file with a dictionary `epoch, state_dict, best_acc1, optimizer`, or a bare state dict. Only tensors and
            plain values are unpickled; a file that holds any other object is refused.
        taxonomy: the label tree it was trained on; the paper's by default.

    Raises:
        InputError: for a file that is missing or no checkpoint, or whose tensors are missing, unknown or misshapen.
    """
    path = Path(path)
    taxonomy = taxonomy or Taxonomy.cityguessr68k()
    state = _read(path)
    renamed: dict[str, Tensor] = {}
    for key, tensor in state.items():
        if _REPEATED.match(key):
            continue
        for pattern, ours in _RENAMES:
            key = re.sub(pattern, ours, key)
        renamed[key] = tensor
    for level in LEVELS:
        weight = renamed.get(f"classifiers.{level}.weight")
        if weight is None or weight.shape[0] != taxonomy.size(level):
            got = "none" if weight is None else str(weight.shape[0])
            raise InputError(
                f"{path}: {got} {level} classes, the taxonomy has {taxonomy.size(level)}; is this a CityGuessr "
                "checkpoint, and was it trained on this label tree?"
            )
    model = CityGuessr(_configuration(renamed, path), taxonomy)
    for name, weight in model.state_dict().items():
        if name.endswith(".attention.attention.key.bias"):  # some versions of transformers have one: VideoMAE's is zero
            renamed.setdefault(name, torch.zeros_like(weight))
    missing, unexpected = model.load_state_dict(renamed, strict=False)
    if missing or unexpected:
        raise InputError(
            f"{path}: not the released architecture; "
            + "; ".join(
                f"{what}: {', '.join(keys[:3])}"
                for what, keys in (("missing", missing), ("unknown", unexpected))
                if keys
            )
        )
    return model.eval()


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise InputError(f"{path}: no such file; give the checkpoint that the authors' training script saved")
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{path}: cannot be read as a checkpoint of tensors and plain values ({reason}); save it again from the "
            "authors' script with torch.save({'state_dict': model.state_dict()}, path)"
        ) from None
    state = saved.get("state_dict", saved) if isinstance(saved, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path}: holds no state_dict of tensors")
    return state


def _configuration(state: dict[str, Tensor], path: Path) -> ModelConfig:
    """`ModelConfig.as_released()` with the sizes of the tensors at hand (a full checkpoint gives 384, 12, 6, 512)."""
    try:
        projection = state["backbone.encoder.embeddings.patch_embeddings.projection.weight"]
        width, patch = projection.shape[0], projection.shape[-1]
        depth = 1 + max(
            int(m[1]) for key in state if (m := re.match(r"backbone\.encoder\.encoder\.layer\.(\d+)\.", key))
        )
        text = state["ffn_t.2.weight"]
    except (KeyError, ValueError):
        raise InputError(f"{path}: no VideoMAE backbone or no text layers among its tensors") from None
    return ModelConfig.as_released().replace(
        pretrained=None, width=width, patch=patch, depth=depth, heads=max(1, width // 64), text_dim=text.shape[0]
    )
