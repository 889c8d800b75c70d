"""The scales at which the same code runs: which data, how large a model, how long a training."""

import dataclasses
from collections.abc import Mapping

from cityguessr.base.errors import InputError


@dataclasses.dataclass(frozen=True)
class Profile:
    """One scale. Everything in it that changes a result is part of a run's identity.

    Attributes:
        name: as given to the notebooks (`profile: str = "mini"`).
        source: where the clips come from: "miniworld" is generated on the spot, "release" reads a CityGuessr68k tree,
            "mapillary" an MSLS tree.
        synthetic: whether its numbers say nothing about the real world.
        overrides: fields of `ModelConfig` that differ from the experiment's at this scale.
        mapillary: those that differ besides on Mapillary's sequences.
        batch_size, learning_rate: Adam's; the paper's are 12 and 1e-3 (section 5.2).
        schedule: "constant" as in the paper, or "cosine" (with one epoch of linear warm-up).
        workers: processes that decode frames during training; 0 keeps all frames in memory instead.
        threads: of the processor in a training, so that a run does not depend on the machine's; None: torch's choice.
        note: what a caption says of the profile.
    """

    name: str
    source: str
    synthetic: bool
    note: str
    overrides: Mapping[str, object] = dataclasses.field(default_factory=dict)
    batch_size: int = 12
    learning_rate: float = 1e-3
    schedule: str = "constant"
    workers: int = 8
    threads: int | None = None
    mapillary: Mapping[str, object] = dataclasses.field(default_factory=dict)

    def training(self) -> dict[str, object]:
        """The settings that change a result, as they are recorded with a run."""
        settings = {"batch_size": self.batch_size, "learning_rate": self.learning_rate, "schedule": self.schedule}
        return settings | ({} if self.threads is None else {"threads": self.threads})


PROFILES = {
    profile.name: profile
    for profile in (
        Profile(
            name="mini",
            source="miniworld",
            synthetic=True,
            note="MiniWorld: synthetic, not comparable with the paper",
            # Transformers small enough to train from random weights in about a minute on one core
            overrides={
                "pretrained": None,
                "frames": 8,
                "size": 64,
                "width": 96,
                "depth": 3,
                "heads": 3,
                "decoder_layers": 2,
                "epochs": 8,
                "sampling": "uniform",
                "text_encoder": "minilm",
                "text_dim": 384,
            },
            mapillary={"epochs": 32},  # its 225 training sequences are eight steps an epoch
            batch_size=32,
            learning_rate=3e-3,  # a small transformer from random weights bears, and needs, a larger step
            schedule="cosine",
            workers=0,
            threads=1,  # a second one gains nothing on arrays this small; a second training beside it does
        ),
        Profile(
            name="world68k",
            source="miniworld",
            synthetic=True,
            note="MiniWorld at the paper's size: synthetic, not comparable with the paper",
            overrides={"pretrained": None, "text_encoder": "minilm", "text_dim": 384},
        ),
        Profile(
            name="cityguessr68k",
            source="release",
            synthetic=False,
            note="CityGuessr68k, the real data set",
        ),
        Profile(
            name="msls",
            source="mapillary",
            synthetic=False,
            note="Mapillary Street-Level Sequences, the real data set",
        ),
    )
}


def get(name: str) -> Profile:
    """The profile of that name. Raises InputError, listing the names there are."""
    if name not in PROFILES:
        raise InputError(f"no profile {name!r}; choose one of {', '.join(PROFILES)}")
    return PROFILES[name]
