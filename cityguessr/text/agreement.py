"""Which words the authors gave their text encoder: features of unknown origin held against those of known prompts.

The released label files have 512 numbers per line, in effect one vector per city, and do not say what they were made
from. Where a prompt's features point the same way, the cosine is 1; the best prompt tells what was encoded.
"""

from collections.abc import Callable, Mapping, Sequence

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

from cityguessr.base.errors import InputError
from cityguessr.taxonomy import LEVELS, Taxonomy
from cityguessr.text.features import ENCODERS

PROMPTS = ("{}", "a photo of {}", "a photo of {}.", "a photo of a {}.", "a street in {}", "a video of {}")
"""What may stand around a name, `{}`."""

Encode = Callable[[Sequence[str]], Tensor]
"""Texts -> their features, float (n, width)."""


def clip(allow_downloads: bool = False) -> Encode:
    """CLIP's text encoder; see `text.features` for its weights. Raises MissingWeights when it is first called."""
    return lambda texts: ENCODERS["clip"](texts, allow_downloads=allow_downloads)


def prompts(features: Tensor, taxonomy: Taxonomy, encode: Encode, templates: Sequence[str] = PROMPTS) -> pd.DataFrame:
    """How alike features of the cities are to those of several prompts, the likest first.

    Args:
        features: float (number of cities, width); a city whose row is NaN is left out.
        taxonomy: the tree with the names of the cities.
        encode: the encoder that may have made them; its features are as wide.
        templates: prompts with `{}` in place of a name.

    Columns: prompt; names ("display", Bengaluru, or "folder", Banglore); which ("all", the mean over the four names,
    each in the prompt, "chain", the four in one text, or "city"); cosine (mean over the cities); least (of all cities).

    Raises InputError for features of another shape or of no city at all.
    """
    cities = taxonomy.size("city")
    if features.ndim != 2 or len(features) != cities or features.isnan().any(dim=1).all():
        got = tuple(features.shape)
        raise InputError(f"features are (number of cities = {cities}, width) and not all NaN; got {got}")
    known = ~features.isnan().any(dim=1)
    spellings = {"display": taxonomy.names["city"], "folder": taxonomy.folders}
    rows = []
    for spelling, spelled in spellings.items():
        chains = _chains(taxonomy, spelled)
        texts = sorted({name for chain in chains for name in (*chain, ", ".join(chain))})
        for template in templates:
            encoded = encode([template.format(text) for text in texts])
            if encoded.shape[1] != features.shape[1]:
                raise InputError(f"features are {features.shape[1]} wide and the encoder's are {encoded.shape[1]}")
            for which, made in _readings(dict(zip(texts, encoded, strict=True)), chains).items():
                cosine = functional.cosine_similarity(features[known].float(), made[known].float())
                rows.append((template, spelling, which, float(cosine.mean()), float(cosine.min())))
    frame = pd.DataFrame(rows, columns=["prompt", "names", "which", "cosine", "least"])
    return frame.sort_values("cosine", ascending=False, kind="stable", ignore_index=True)


def _chains(taxonomy: Taxonomy, cities: Sequence[str]) -> list[tuple[str, ...]]:
    """The four names of every city, its own as given."""
    ids = {level: taxonomy.ancestors[level].tolist() for level in LEVELS[1:]}
    return [
        (name, *(taxonomy.names[level][ids[level][city]] for level in LEVELS[1:])) for city, name in enumerate(cities)
    ]


def _readings(encoded: Mapping[str, Tensor], chains: Sequence[tuple[str, ...]]) -> dict[str, Tensor]:
    """Which names -> features (number of cities, width)."""
    return {
        "all": torch.stack([torch.stack([encoded[name] for name in chain]).mean(0) for chain in chains]),
        "chain": torch.stack([encoded[", ".join(chain)] for chain in chains]),
        "city": torch.stack([encoded[chain[0]] for chain in chains]),
    }
