"""Reads a checkpoint that the authors' own training script saves."""

import re
from pathlib import Path

import torch
from torch import Tensor

from cityguessr.base import tensors
from cityguessr.base.errors import InputError
from cityguessr.config import ModelConfig
from cityguessr.model import CityGuessr
from cityguessr.taxonomy import LEVELS, Taxonomy

# Their name for each part -> ours. `backbone.embeddings` and `backbone.encoder` repeat tensors of `backbone.backbone`.
_RENAMES = (
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
_REPEATED = re.compile(r"^backbone\.(embeddings|encoder)\.")
_WRAPPERS = {"module", "_orig_mod"}  # parts of a name that training on several GPUs and torch.compile put in
_HELD_AS = ("state_dict", "model_state_dict", "model")  # where a checkpoint file keeps its tensors
_AGAIN = "save it again from the authors' script with torch.save({'state_dict': model.state_dict()}, path)"

_LAYER = re.compile(r"^backbone\.encoder\.encoder\.layer\.(\d+)\.")
_LAYERS = 64  # at most; ViT-H has 32
_NUMBERS = 500_000_000  # of all weights, at most: 2 GB; ViT-L has 300 million
_PIXELS = 224  # height and width of a frame, as released
_HEAD, _WIDTH = 64, 2048  # width of a head of every ViT, and of the widest that is known
_PATCH = 8  # pixels, at least
_TEXT = 16_384  # width of text features, at most


def load_released_checkpoint(path: str | Path, taxonomy: Taxonomy | None = None) -> CityGuessr:
    """The model in a checkpoint of the authors' script, in evaluation mode, giving the same outputs.

    It takes pixels as the authors' training did, in [0, 1] and not normalised; the configuration says so.

    Args:
        path: a file with a dictionary `epoch, state_dict, best_acc1, optimizer`, a bare state dict, or the same tensors
            as safetensors. Only tensors and plain values are unpickled; a file that holds any other object is refused.
            Names may carry what several GPUs and torch.compile put before them. Half precision is converted.
        taxonomy: the label tree it was trained on; the paper's by default.

    Raises:
        InputError: for a file that is missing or no checkpoint, or whose tensors are missing, unknown or misshapen, of
            other types than floating point, or not finite. All shapes are checked before any memory is taken.
    """
    path = Path(path)
    taxonomy = taxonomy or Taxonomy.cityguessr68k()
    state, theirs, copies = _renamed(_read(path), path)
    for level in LEVELS:
        weight = state.get(f"classifiers.{level}.weight")
        if weight is None or weight.ndim != 2 or weight.shape[0] != taxonomy.size(level):
            got = "none" if weight is None else str(weight.shape[0] if weight.ndim == 2 else tuple(weight.shape))
            raise InputError(
                f"{path}: {got} {level} classes, the taxonomy has {taxonomy.size(level)}; is this a CityGuessr "
                "checkpoint, and was it trained on this label tree?"
            )
    config = _configuration(state, path)
    with torch.device("meta"):  # shapes without content
        model = CityGuessr(config, taxonomy)
    needed = {name: weight.shape for name, weight in model.state_dict().items()}
    if (count := sum(shape.numel() for shape in needed.values())) > _NUMBERS:
        raise InputError(f"{path}: a network of {count:,} weights, more than {_NUMBERS:,}; {_AGAIN}")
    for name, shape in needed.items():
        if name.endswith(".attention.attention.key.bias"):  # some versions of transformers have one: VideoMAE's is zero
            state.setdefault(name, torch.zeros(shape))
            theirs.setdefault(name, name)
    missing = [name for name in needed if name not in state]
    unknown = [theirs[name] for name in state if name not in needed]
    if missing or unknown:
        raise InputError(
            f"{path}: not the released architecture; "
            + "; ".join(
                f"{what}: {', '.join(keys[:3])}" for what, keys in (("missing", missing), ("unknown", unknown)) if keys
            )
        )
    shapes = {theirs[name]: shape for name, shape in needed.items()}
    checked = tensors.weights(path, {theirs[name]: tensor for name, tensor in state.items()}, _AGAIN, shapes)
    for name in state.keys() & copies.keys():
        copy = tensors.weights(path, {theirs[name]: copies[name]}, _AGAIN, shapes)
        if not copy[theirs[name]].equal(checked[theirs[name]]):
            raise InputError(f"{path}: {theirs[name]} is there a second time, with other numbers; {_AGAIN}")
    model.load_state_dict({name: checked[theirs[name]] for name in state}, assign=True)
    return model.eval()


def _read(path: Path) -> dict[str, Tensor]:
    """The tensors by the authors' names."""
    saved = tensors.read(path, _AGAIN, mapped=True)
    held = (saved[key] for key in _HELD_AS if isinstance(saved.get(key), dict)) if isinstance(saved, dict) else ()
    state = next(iter(held), saved)
    if not isinstance(state, dict) or not state:
        raise InputError(f"{path}: holds no state_dict of tensors; {_AGAIN}")
    for name, value in state.items():
        if not isinstance(name, str):
            raise InputError(f"{path}: a tensor is called {name!r}, where names are text; {_AGAIN}")
        if not isinstance(value, Tensor):
            raise InputError(f"{path}: holds no state_dict of tensors ({name} is none); {_AGAIN}")
    return state


def _renamed(state: dict[str, Tensor], path: Path) -> tuple[dict[str, Tensor], dict[str, str], dict[str, Tensor]]:
    """The tensors by our names, each once; our name -> theirs; and by our names what their network has twice."""
    renamed: dict[str, Tensor] = {}
    theirs: dict[str, str] = {}
    copies: dict[str, Tensor] = {}
    for key, tensor in state.items():
        plain = ".".join(part for part in key.split(".") if part not in _WRAPPERS).removeprefix("model.")
        repeated, name = bool(_REPEATED.match(plain)), plain
        if repeated:
            name = f"backbone.{plain}"
        for pattern, ours in _RENAMES:
            name = re.sub(pattern, ours, name)
        if name in (copies if repeated else renamed):
            raise InputError(f"{path}: two tensors are called {plain}; {_AGAIN}")
        (copies if repeated else renamed)[name] = tensor
        if not repeated:
            theirs[name] = key
    return renamed, theirs, copies


def _configuration(state: dict[str, Tensor], path: Path) -> ModelConfig:
    """`ModelConfig.as_released()` with the sizes of the tensors at hand (a full checkpoint gives 384, 12, 6, 512)."""
    projection = state.get("backbone.encoder.embeddings.patch_embeddings.projection.weight")
    text = state.get("ffn_t.2.weight")
    numbers = {m[1] for key in state if (m := _LAYER.match(key))}
    if projection is None or text is None or not numbers:
        raise InputError(f"{path}: no VideoMAE backbone or no text layers among its tensors; {_AGAIN}")
    if projection.ndim != 5 or text.ndim != 2:
        which, weight = ("text_linear.2.weight", text) if projection.ndim == 5 else ("the patch embedding", projection)
        wanted = 2 if projection.ndim == 5 else 5
        raise InputError(f"{path}: {which} has the shape {tuple(weight.shape)}, not {wanted} dimensions; {_AGAIN}")
    if len(numbers) > _LAYERS or numbers != {str(number) for number in range(len(numbers))}:
        found = sorted(numbers, key=lambda digits: (len(digits), digits))
        raise InputError(
            f"{path}: {len(numbers)} layers, numbered {found[0][:12]} to {found[-1][:12]}; they are numbered from 0 "
            f"without a gap, and are at most {_LAYERS}; {_AGAIN}"
        )
    width, patch = projection.shape[0], projection.shape[-1]
    if width not in range(_HEAD, _WIDTH + 1, _HEAD):
        raise InputError(
            f"{path}: features of {width} numbers; a ViT has a multiple of {_HEAD}, up to {_WIDTH}; {_AGAIN}"
        )
    if patch < _PATCH or _PIXELS % patch:
        raise InputError(
            f"{path}: patches of {patch} pixels; they are at least {_PATCH} wide and divide {_PIXELS}; {_AGAIN}"
        )
    if not 1 <= text.shape[0] <= _TEXT:
        raise InputError(f"{path}: text_linear.2.weight has the shape {tuple(text.shape)}; {_AGAIN}")
    return ModelConfig.as_released().replace(
        pretrained=None,
        width=width,
        patch=patch,
        depth=len(numbers),
        heads=width // _HEAD,
        text_dim=text.shape[0],
    )
