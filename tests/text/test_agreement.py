"""Features of unknown origin are told by the prompt that they were made from."""

import hashlib
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from cityguessr.base.errors import InputError
from cityguessr.taxonomy import Taxonomy
from cityguessr.text import agreement


def encode(texts: Sequence[str]) -> Tensor:
    """Another direction for every text."""
    seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big") for text in texts]
    return torch.stack([torch.randn(32, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


@pytest.fixture(scope="module")
def tree() -> Taxonomy:
    return Taxonomy.cityguessr68k().subset(["Banglore", "London", "Malm", "Tokyo"])


def test_the_prompt_that_was_used_comes_first(tree: Taxonomy) -> None:
    places = [
        [tree.names[level][i] for level, i in zip(tree.names, row, strict=True)]
        for row in torch.stack([tree.ancestors[level] for level in tree.names], dim=1).tolist()
    ]
    of_all = torch.stack([encode([f"a photo of {name}" for name in names]).mean(0) for names in places])
    best = agreement.prompts(of_all * 3, tree, encode).iloc[0]
    assert (best.prompt, best.names, best.which) == ("a photo of {}", "display", "all")
    assert best.least == pytest.approx(1, abs=1e-6)  # whatever the length of the vectors

    folders = encode(tree.folders)
    folders[1] = float("nan")  # a city without a line
    found = agreement.prompts(folders, tree, encode)
    assert found.iloc[0][["prompt", "names", "which"]].tolist() == ["{}", "folder", "city"]
    assert found.iloc[0].cosine == pytest.approx(1, abs=1e-6)
    assert found.cosine.is_monotonic_decreasing
    chains = agreement.prompts(encode([", ".join(names) for names in places]), tree, encode)
    assert chains.iloc[0][["names", "which"]].tolist() == ["display", "chain"]


def test_features_that_no_encoder_of_this_width_made_are_refused(tree: Taxonomy) -> None:
    for features, complaint in (
        (torch.ones(3, 32), "number of cities = 4"),
        (torch.full((4, 32), float("nan")), "number of cities = 4"),
        (torch.ones(4, 16), "16 wide and the encoder's are 32"),
    ):
        with pytest.raises(InputError, match=complaint):
            agreement.prompts(features, tree, encode)
