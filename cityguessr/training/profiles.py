"""The scales at which the same code runs: which data, how large a model, how long a training."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

from cityguessr.base.errors import one_of
from cityguessr.training.recipe import Recipe

# The tuned recipe of the small world: trial 14 of the search that figures/search/mini.csv records (`training.search`).
# Compute is that of the paper's recipe: the same epochs and batches.
_TUNED_MINI = Recipe(
    optimizer="adamw",
    batch_size=32,
    learning_rate=3.9e-3,
    layer_decay=0.75,
    schedule="cosine",
    warmup_epochs=1,
    crop=0.15,
    flip=True,
)
# Of pretrained weights a small world can say nothing: 5e-5 is a public follow-up's, the rest as VideoMAE is finetuned.
_TUNED_FULL = Recipe(
    optimizer="adamw",
    learning_rate=5e-5,
    weight_decay=0.05,
    layer_decay=0.75,
    schedule="cosine",
    warmup_epochs=1,
    clip_gradients=1.0,
    average=0.999,
    crop=0.2,
    colour=0.2,
)

RECIPES = ("paper", "tuned")
"""The two recipes that a profile has: the paper's, at its scale, and the tuned one."""


@dataclasses.dataclass(frozen=True)
class Profile:
    """One scale. Everything in it that changes a result is part of a run's identity.

    Attributes:
        name: as given to the notebooks (`profile: str = "mini"`).
        note: what a caption says of the profile.
        world: how large the MiniWorld is that its clips are rendered from on the spot, a key of `datasets.WORLDS`;
            None: they are real, and read.
        datasets: which of `datasets.DATASETS` it has.
        overrides: fields of `ModelConfig` that differ from the experiment's at this scale.
        starts: backbone -> the pretrained weights that systems start from at this scale, where not the published ones.
        dataset_overrides: data set -> those that differ besides on it.
        recipe: how its models are trained: the paper's recipe, with what this scale needs, or after `using("tuned")`
            the tuned one.
        tuned: the recipe of the experiments that are called tuned.
        loader_workers: processes that decode frames during training, at most; 0 keeps all frames in memory instead.
        threads: of the processor in a training, so that a run does not depend on the machine's; None: torch's choice.
    """

    name: str
    note: str
    world: Literal["mini", "midi", "paper"] | None = None
    datasets: tuple[str, ...] = ("cityguessr68k",)
    overrides: Mapping[str, object] = dataclasses.field(default_factory=dict)
    starts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    dataset_overrides: Mapping[str, Mapping[str, object]] = dataclasses.field(default_factory=dict)
    recipe: Recipe = Recipe()  # noqa: RUF009 - frozen
    tuned: Recipe = _TUNED_FULL
    loader_workers: int = 15
    threads: int | None = None

    @property
    def synthetic(self) -> bool:
        """Whether its numbers say nothing about the real world."""
        return self.world is not None

    def using(self, recipe: str) -> Profile:
        """This profile with one of its two recipes in force, by its name in `RECIPES`."""
        if recipe not in RECIPES:
            raise one_of("recipe", recipe, RECIPES)
        return dataclasses.replace(self, recipe=self.tuned) if recipe == "tuned" else self

    def training(self) -> dict[str, object]:
        """The settings that change a result, as they are recorded with a run."""
        return dataclasses.asdict(self.recipe) | ({} if self.threads is None else {"threads": self.threads})


MINI = Profile(
    name="mini",
    note="MiniWorld: synthetic, not comparable with the paper",
    world="mini",
    datasets=("cityguessr68k", "msls"),
    # Transformers small enough to train in half a minute on one core
    overrides={
        "frames": 8,
        "size": 64,
        "width": 96,
        "depth": 3,
        "heads": 3,
        "decoder_layers": 2,
        "epochs": 4,
        "sampling": "uniform",
        "text_encoder": "minilm",
        "text_dim": None,
    },
    starts={backbone: f"miniworld/{backbone}" for backbone in ("videomae", "mae", "timesformer")},
    dataset_overrides={"msls": {"epochs": 12}},  # it has few sequences, so that an epoch is few steps
    # a small transformer bears, and in so few steps needs, a larger one
    recipe=Recipe(batch_size=32, learning_rate=3e-3, schedule="cosine", warmup_epochs=1),
    tuned=_TUNED_MINI,
    loader_workers=0,
    threads=1,  # a second one gains nothing on arrays this small; a second training beside it does
)
MIDI = dataclasses.replace(
    MINI,
    name="midi",
    note="MiniWorld, three times as large: synthetic, not comparable with the paper",
    world="midi",
)
WORLD68K = Profile(
    name="world68k",
    note="MiniWorld at the paper's size: synthetic, not comparable with the paper",
    world="paper",
    datasets=("cityguessr68k", "msls"),
    overrides={"pretrained": None, "text_encoder": "minilm", "text_dim": None},
    tuned=_TUNED_FULL.replace(learning_rate=5e-4, layer_decay=1.0),  # from random weights
)
CITYGUESSR68K = Profile(
    name="cityguessr68k",
    note="CityGuessr68k, the real data set",
    overrides={"text_encoder": "release"},  # the authors' own features of the names stand in their label files
)
OWN = Profile(name="own", note="videos of one's own, compiled into the layout of CityGuessr68k")
GAMA = Profile(name="gama", note="GAMa, the real data set, for VidTAG's coordinates alone", datasets=())
MSLS = Profile(name="msls", note="Mapillary Street-Level Sequences, the real data set", datasets=("msls",))

PAPER = CITYGUESSR68K
"""The paper's own protocol: nothing in it differs from the experiments as described, and the text is the authors'."""

PROFILES = {profile.name: profile for profile in (MINI, MIDI, WORLD68K, CITYGUESSR68K, OWN, MSLS, GAMA)}


def get(profile: str | Profile) -> Profile:
    """The profile of that name; a profile is given back. Raises InputError, listing the names there are."""
    if isinstance(profile, Profile):
        return profile
    if profile not in PROFILES:
        raise one_of("profile", profile, PROFILES)
    return PROFILES[profile]
