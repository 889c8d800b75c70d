"""Features of names from BERT, GPT-2 and OPT, the other text encoders of the supplement's Table S2.

The paper does not say what it takes from them. Here the feature of a name is the mean of the last hidden state over the
name's own tokens, by one rule for the three, so that rows of the table differ by the model alone. What stands around
the name is left out of the mean: BERT's [CLS] and [SEP], which are no sentence vector before fine-tuning, and the token
that begins a text for GPT-2 and OPT. OPT's tokenizer puts that token there and GPT-2's does not; GPT-2 gets it all the
same, since a causal model treats whatever stands first as the beginning of the text, and the name `Lima`, a single
token, would have the feature of any other first token.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cityguessr.base import paths
from cityguessr.base.errors import InputError, MissingWeights

_BATCH = 64  # names at a time


def encode(
    names: Sequence[str], encoder: str, model: str, megabytes: int | None = None, allow_downloads: bool = False
) -> Tensor:
    """The features of names: float32 (n, width of the model), on the CPU; a name's own whatever stands beside it.

    Args:
        names: as people write them (`Ho Chi Minh City`).
        encoder: what the project calls the encoder, for messages.
        model: its name on the hub; `data/weights/<last part of the name>/` is looked at first, then the hub's cache.
        megabytes: about how large its weights are, for messages.
        allow_downloads: whether the hub may be asked for what is not on this machine.

    Raises MissingWeights where the model is not on this machine, with the command that brings it, and InputError where
    its files are damaged, incomplete or do not belong together. Weights are read from `model.safetensors` only: no
    pickle is opened.
    """
    folder = paths.data() / "weights" / model.rsplit("/", 1)[-1]
    lacking = [file for file in ("config.json", "model.safetensors") if not (folder / file).is_file()]
    source = model if lacking else str(folder)
    try:
        tokenizer, network = _load(source, _command(model, folder), allow_downloads)
    except OSError:
        size = f" (about {megabytes:,} MB)" if megabytes else ""
        state = "could not be fetched" if allow_downloads else "is not on this machine"
        if folder.is_dir():
            state += f" ({folder} lacks {' and '.join(lacking)})"
        raise MissingWeights(
            f"text encoder {encoder!r}: {model}{size} {state}; where there is a network, `{_command(model, folder)}` "
            f"brings it: copy that folder to this machine{'' if allow_downloads else ', or set allow_downloads=True'}"
        ) from None
    head = tokenizer.bos_token_id if tokenizer.cls_token_id is None else tokenizer.cls_token_id
    tail = [] if tokenizer.cls_token_id is None else [tokenizer.sep_token_id]
    own = [tokenizer(name, add_special_tokens=False)["input_ids"] for name in names]
    if head is None or not all(own) or max(map(max, own)) >= network.config.vocab_size:
        raise InputError(f"{source}: the tokenizer is not that of this model; bring its files anew, all from {model}")
    features = []
    with torch.inference_mode():
        for first in range(0, len(own), _BATCH):
            rows = own[first : first + _BATCH]
            longest = max(map(len, rows))
            ids = torch.zeros(len(rows), 1 + longest + len(tail), dtype=torch.long)
            there, inside = torch.zeros_like(ids), torch.zeros_like(ids, dtype=torch.float32)
            for i, row in enumerate(rows):  # padded on the right, where no token before can see it
                whole = [head, *row, *tail]
                ids[i, : len(whole)], there[i, : len(whole)] = torch.tensor(whole), 1
                inside[i, 1 : 1 + len(row)] = 1 / len(row)
            hidden = network(input_ids=ids, attention_mask=there).last_hidden_state  # (n, tokens, width)
            features.append(torch.einsum("nt,ntd->nd", inside, hidden))
    return torch.cat(features).clone()


def _load(source: str, command: str, allow_downloads: bool) -> tuple[Any, Any]:
    """Tokenizer and network. A network of which a single weight is missing is refused, except BERT's unused pooler.

    Raises OSError where the hub's cache lacks the model, InputError where its files cannot be used.
    """
    from safetensors import SafetensorError
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # heads that the features do not need are no news to the reader
    logging.disable_progress_bar()  # a second's work, and it would go to stderr
    try:
        network, report = AutoModel.from_pretrained(
            source,
            local_files_only=not allow_downloads,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
        tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=not allow_downloads)
    except (SafetensorError, EOFError) as error:
        raise InputError(f"{source}: the weights are damaged ({error}); bring model.safetensors anew") from None
    except (OSError, ValueError, KeyError) as error:
        if isinstance(error, OSError) and not Path(source).is_dir():
            raise
        raise InputError(
            f"{source}: cannot be loaded ({type(error).__name__}: {str(error).splitlines()[0]}); bring all of its "
            f"files anew with `{command}`"
        ) from None
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
    lost = [str(key) for key in [*report["missing_keys"], *report["mismatched_keys"]] if "pooler." not in str(key)]
    if lost:
        raise InputError(
            f"{source}: {len(lost)} weights are not in the checkpoint or have another shape, the first being "
            f"{min(lost)}; bring it anew with `{command}`"
        )
    return tokenizer, network.eval()


def _command(model: str, folder: Path) -> str:
    """What brings a model and its tokenizer in the form wanted here, whatever form the hub keeps them in."""
    return (
        'python -c "from transformers import AutoModel, AutoTokenizer; '
        f"[part.from_pretrained('{model}').save_pretrained('{folder}') for part in (AutoModel, AutoTokenizer)]\""
    )
