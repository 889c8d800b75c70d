"""Features of the place names, the target of the TextLabel Alignment (paper, section 4.4; supplement, section 2).

Each label of a city's chain is passed through a pretrained text encoder on its own and the target is the mean of the
four features (`which="all"`), or the feature of the city's name alone (`which="city"`); Table 3 compares the two.

The paper does not say whether features are normalised before the mean. Here they are not: the mean is taken over what
each encoder returns (CLIP: the projected text embedding as it comes; MiniLM: of unit length, since normalising is the
last layer of its published pipeline; BERT, GPT-2 and OPT: see `language_models`). The loss is a cosine, so the length
of the mean itself has no effect.

An encoder is one entry of `ENCODERS`, a function from names to features, and one of `config.TEXT_WIDTHS`. For Table S2
the paper names the families and not their sizes; here each is of the size that is 768 wide: BERT base, GPT-2 small, OPT
125M.
"""

import contextlib
import hashlib
import json
import logging
import unicodedata
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from cityguessr.base import weights
from cityguessr.base.errors import InputError, MissingWeights, one_of
from cityguessr.base.tensors import finite
from cityguessr.config import TEXT_WIDTHS
from cityguessr.taxonomy import LEVELS, Taxonomy
from cityguessr.text import language_models


def text_features(
    taxonomy: Taxonomy, encoder: str = "minilm", which: str = "all", *, allow_downloads: bool = False, **options: object
) -> Tensor:
    """The text target of every city: float32 tensor (number of cities, width of the encoder), on the CPU.

    Args:
        taxonomy: the tree whose names are encoded, in the readable form (`Ho Chi Minh City`).
        encoder: `minilm` (384, shipped, offline), `clip` (512, the paper's), `bert`, `gpt2` or `opt` (768, Table S2),
            which need weights, or `random` (unit vectors, the control for whether the words matter).
        which: `all`, the mean over the names of city, state, country and continent, or `city`, the city's name alone.
        allow_downloads: whether an encoder without weights on this machine may fetch them.
        options: for `clip`: `model` and `pretrained` as open_clip names them; for `bert`, `gpt2` and `opt`: `model`, a
            name on the hub; for `random`: `seed` and `dimension`.

    Raises InputError for an unknown encoder, option, or value of `which`, for a name that a table of features lacks,
    and MissingWeights for weights that are not on the machine, with the way to get them.
    """
    if encoder not in ENCODERS:
        raise one_of("text encoder", encoder, ENCODERS)
    if which not in ("all", "city"):
        raise InputError(f"which={which!r}: give 'all' (mean over the four names) or 'city' (the city's name alone)")
    levels = LEVELS if which == "all" else LEVELS[:1]
    names = [[taxonomy.names[v][i] for i in taxonomy.ancestors[v].tolist()] for v in levels]  # levels x cities
    unique = sorted({name for level in names for name in level})
    try:
        features = ENCODERS[encoder](unique, allow_downloads=allow_downloads, **options)
    except TypeError as error:
        if "unexpected keyword" not in str(error):
            raise
        raise InputError(f"text encoder {encoder!r}: {str(error).split(') ')[-1]}") from None
    row = {name: i for i, name in enumerate(unique)}
    stacked = torch.stack([features[[row[name] for name in level]] for level in names])  # (levels, cities, width)
    if not finite(stacked):
        raise InputError(
            f"text encoder {encoder!r}: it gives features that are not finite (NaN or infinity); its weights are "
            "damaged, bring them again"
        )
    return stacked.mean(0).float()


# --- MiniLM: a table of features that ships with the package ----------------------------------------------------------


def _minilm(names: Sequence[str], allow_downloads: bool = False) -> Tensor:
    del allow_downloads  # there is nothing to fetch
    with resources.as_file(resources.files("cityguessr.text") / "minilm.safetensors") as path:
        table = _feature_table(path)
    additions = weights.place("text_minilm.safetensors")
    if additions.is_file():
        table |= _feature_table(additions)
    missing = [name for name in names if _key(name) not in table]
    if missing:
        raise InputError(
            f"text encoder 'minilm': no features for {len(missing)} of {len(names)} names ({', '.join(missing[:4])}"
            f"{', ...' if len(missing) > 4 else ''}); make them with env/resources/make_text_features.py "
            f"--labels <labels_list.csv> --out {additions}, or choose another encoder"
        )
    return torch.stack([table[_key(name)] for name in names])


def _feature_table(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            names = json.loads(file.metadata()["about"])["names"]
            features = file.get_tensor("features").float()
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: not a table of text features ({error}); make it again with env/resources/make_text_features.py"
        ) from None
    return dict(zip(map(_key, names), features, strict=True))


def _key(name: str) -> str:
    """`Ho_Chi_Minh_City`, `ho chi minh city` and, for accents, `Malmo` and `Malmö` are one name."""
    plain = unicodedata.normalize("NFKD", name.replace("_", " ").strip().casefold())
    return "".join(c for c in plain if not unicodedata.combining(c))


# --- CLIP: open_clip's text tower ------------------------------------------------------------------------------------


def _clip(
    names: Sequence[str], model: str = "ViT-B-32", pretrained: str = "openai", allow_downloads: bool = False
) -> Tensor:
    import open_clip

    config = open_clip.get_model_config(model)
    if config is None:
        raise InputError(f"text encoder 'clip': open_clip has no model {model!r}; see open_clip.list_models()")
    text = config["text_cfg"]
    if not allow_downloads and (text.get("hf_tokenizer_name") or text.get("hf_model_name")):
        raise MissingWeights(f"text encoder 'clip': {model}'s tokenizer must be fetched; set allow_downloads=True")
    published = open_clip.get_pretrained_cfg(model, pretrained)
    file = _clip_file(model, pretrained, published, allow_downloads)
    try:
        network = open_clip.create_model(
            model,
            pretrained=str(file),
            # Not in the file, but in the published configuration: OpenAI's weights want QuickGELU.
            force_quick_gelu=bool(published.get("quick_gelu", False)),
        ).eval()
    except Exception as error:  # whatever a damaged file makes torch or open_clip raise
        raise InputError(
            f"{file}: cannot be loaded as {model} ({type(error).__name__}: {str(error).splitlines()[0]}); "
            "delete the file and fetch it again"
        ) from None
    with torch.inference_mode():
        tokens = open_clip.get_tokenizer(model)(list(names))  # (n, 77)
        features = torch.cat([network.encode_text(part) for part in tokens.split(64)])
    return features.float().clone()


def _clip_file(model: str, pretrained: str, published: dict[str, object], allow_downloads: bool) -> Path:
    """The file of weights: `data/weights/<model>-<pretrained>.<ending>`, else the hub's cache, else fetched."""
    import open_clip
    from huggingface_hub import try_to_load_from_cache

    user = "text encoder 'clip'"
    files = [weights.place(f"{model}-{pretrained}.{ending}") for ending in ("safetensors", "bin", "pt")]
    if present := [file for file in files if file.is_file()]:
        return present[0]
    repository = str(published.get("hf_hub", "")).strip("/")
    for file in ("open_clip_model.safetensors", "open_clip_pytorch_model.bin"):
        if repository and isinstance(cached := try_to_load_from_cache(repository, file), str):
            return Path(cached)
    if not published:
        known = ", ".join(open_clip.list_pretrained_tags_by_model(model)) or "none"
        raise InputError(
            f"{user}: open_clip publishes no weights {pretrained!r} for {model} (it has: {known}); "
            f"choose one of these or put your own file at {files[0]}"
        )
    if allow_downloads:
        with contextlib.suppress(Exception):  # the hub's client raises many kinds when there is no network
            return Path(open_clip.download_pretrained(published))
    how = f"hf download {repository} open_clip_model.safetensors"
    raise weights.missing(files[0].name, user, allow_downloads, how=how, megabytes=_megabytes(model))


def _megabytes(model: str) -> int:
    """The size of a model's weights in float32, counted without allocating them."""
    import open_clip

    log = logging.getLogger()
    before = log.level
    log.setLevel(logging.ERROR)  # it warns that these weights are random, which is the point here
    try:
        with torch.device("meta"):
            network = open_clip.create_model(model, load_weights=False, device="meta")
    finally:
        log.setLevel(before)
    return round(sum(p.numel() for p in network.parameters()) * 4 / 1e6)


# --- the control ------------------------------------------------------------------------------------------------------


def _random(
    names: Sequence[str], seed: int = 0, dimension: int = TEXT_WIDTHS["random"], allow_downloads: bool = False
) -> Tensor:
    """One unit vector per name, drawn from the seed and the name alone, so that a subset keeps its vectors."""
    del allow_downloads
    rows = []
    for name in names:
        digest = hashlib.sha256(f"{seed}/{_key(name)}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big", signed=True))
        rows.append(torch.nn.functional.normalize(torch.randn(dimension, generator=generator), dim=0))
    return torch.stack(rows)


def _language_model(encoder: str, published: str) -> Callable[..., Tensor]:
    def encode(names: Sequence[str], model: str = published, allow_downloads: bool = False) -> Tensor:
        return language_models.encode(names, encoder, model, allow_downloads)

    return encode


ENCODERS: dict[str, Callable[..., Tensor]] = {
    "minilm": _minilm,
    "clip": _clip,
    "bert": _language_model("bert", "google-bert/bert-base-uncased"),
    "gpt2": _language_model("gpt2", "openai-community/gpt2"),
    "opt": _language_model("opt", "facebook/opt-125m"),
    "random": _random,
}
"""Name -> text encoder: names to float32 features (n, width), of the width in `config.TEXT_WIDTHS` by default."""
