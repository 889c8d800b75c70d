"""Features of names from BERT, GPT-2 and OPT, the other text encoders of the supplement's Table S2.

The paper does not say what it takes from them. Here the feature of a name is the mean of the last hidden state over the
name's own tokens, by one rule for the three, so that rows of the table differ by the model alone. What stands around
the name is left out of the mean: BERT's [CLS] and [SEP], which are no sentence vector before fine-tuning, and the token
that begins a text for GPT-2 and OPT. OPT's tokenizer puts that token there and GPT-2's does not; GPT-2 gets it all the
same, since a causal model treats whatever stands first as the beginning of the text, and the name `Lima`, a single
token, would have the feature of any other first token.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from cityguessr.base import weights
from cityguessr.base.errors import InputError

_BATCH = 64  # names at a time


def encode(names: Sequence[str], encoder: str, model: str, allow_downloads: bool = False) -> Tensor:
    """The features of names: float32 (n, width of the model), on the CPU; those of a name do not depend on the others.

    Args:
        names: as people write them (`Ho Chi Minh City`).
        encoder: what the project calls the encoder, for messages.
        model: its name on the hub; `data/weights/<last part of the name>/` is looked at first, then the hub's cache.
        allow_downloads: whether the hub may be asked for what is not on this machine.

    Raises MissingWeights where the model is not on this machine, with the command that brings it, and InputError where
    its files are damaged, incomplete or do not belong together. Weights are read from `model.safetensors` only: no
    pickle is opened.
    """
    tokenizer, network = _load(model, encoder, allow_downloads)
    head = tokenizer.bos_token_id if tokenizer.cls_token_id is None else tokenizer.cls_token_id
    tail = [] if tokenizer.cls_token_id is None else [tokenizer.sep_token_id]
    tokens = [tokenizer(name, add_special_tokens=False)["input_ids"] for name in names]
    if head is None or not all(tokens) or max(map(max, tokens)) >= network.config.vocab_size:
        raise InputError(
            f"{tokenizer.name_or_path}: the tokenizer is not that of this model; bring all files again from {model}"
        )
    features = []
    with torch.inference_mode():
        for first in range(0, len(tokens), _BATCH):
            rows = tokens[first : first + _BATCH]
            longest = max(map(len, rows))
            ids = torch.zeros(len(rows), 1 + longest + len(tail), dtype=torch.long)
            present, inside = torch.zeros_like(ids), torch.zeros_like(ids, dtype=torch.float32)
            for i, row in enumerate(rows):  # padded on the right, where no token before can see it
                whole = [head, *row, *tail]
                ids[i, : len(whole)], present[i, : len(whole)] = torch.tensor(whole), 1
                inside[i, 1 : 1 + len(row)] = 1 / len(row)
            hidden = network(input_ids=ids, attention_mask=present).last_hidden_state  # (n, tokens, width)
            features.append(torch.einsum("nt,ntd->nd", inside, hidden))
    return torch.cat(features).clone()


def _load(model: str, encoder: str, allow_downloads: bool) -> tuple[Any, Any]:
    """Tokenizer and network; only BERT's pooler, which the features do not need, may be missing."""
    from transformers import AutoModel, AutoTokenizer

    options = {"local_files_only": not allow_downloads}
    with weights.reading(model, allow_downloads, f"text encoder {encoder!r}", pickles=False) as source:
        network = weights.load(
            AutoModel, source, model, spare="pooler.", use_safetensors=True, dtype=torch.float32, **options
        )
        return AutoTokenizer.from_pretrained(source, **options), network.eval()
