"""Every system of the paper as a named experiment: the smallest difference from the full model."""

import dataclasses
from collections.abc import Mapping

from cityguessr.errors import InputError
from cityguessr.model import ModelConfig
from cityguessr.profiles import Profile


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One row of a table, under the id that the paper's numbers carry.

    Attributes:
        name: the row's id.
        label: as the table prints it.
        base: "described" or "released", which of the two readings of the method it starts from.
        changes: the fields of `ModelConfig` in which it differs.
    """

    name: str
    label: str
    base: str = "described"
    changes: Mapping[str, object] = dataclasses.field(default_factory=dict)

    def config(self, profile: Profile) -> ModelConfig:
        """The model at a profile's scale: the base, the profile's sizes, then what the experiment is about."""
        base = {"described": ModelConfig.as_described, "released": ModelConfig.as_released}[self.base]()
        return base.replace(**profile.overrides).replace(**self.changes)


EXPERIMENTS = {
    experiment.name: experiment
    for experiment in (
        Experiment("cityguessr", "CityGuessr (soft scenes, TLA with all hierarchies)"),
        Experiment(
            "cityguessr_as_released", "CityGuessr, as released (frames as the profile has them)", base="released"
        ),
    )
}


def get(name: str) -> Experiment:
    """The experiment of that name. Raises InputError, listing the names there are."""
    if name not in EXPERIMENTS:
        raise InputError(f"no experiment {name!r}; choose one of {', '.join(EXPERIMENTS)}")
    return EXPERIMENTS[name]
