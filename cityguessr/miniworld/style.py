"""The look of cities as random effects down the tree: every trait of a city is a sum of draws for its four ancestors.

    trait(city) = sum over levels of  sqrt(share[level]) * N(0, 1; keyed by seed, level and the class's name)

The shares of a trait add up to one, so a trait is standard normal over cities, two cities of one country agree on
the continent's and the country's part of it, and near places look alike. What is a plain fact about a country (the
side it drives on, its script, a dry climate) is taken as it is, from `country_facts`.
"""

import dataclasses
import math
from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from cityguessr.miniworld import country_facts, noise
from cityguessr.taxonomy import LEVELS, Taxonomy

# Shares of the variance by level, in the order of LEVELS: city, state, country, continent.
_FACADE = (0.45, 0.15, 0.25, 0.15)
_PALETTE = (0.20, 0.12, 0.40, 0.28)
_STREET = (0.20, 0.12, 0.43, 0.25)
_LAND = (0.10, 0.45, 0.20, 0.25)

TRAITS: dict[str, tuple[float, float, float, float]] = (
    dict.fromkeys(
        ("material", "columns", "window_width", "window_height", "storeys", "arches", "shutters", "balconies",
         "awnings", "height", "height_spread", "plot", "gable", "glass", "ornament", "landmark", "landmark_height"),
        _FACADE,
    )
    | dict.fromkeys(
        ("wall_hue", "wall_chroma", "wall_light", "wall_spread", "trim", "roof_hue", "roof_light", "accent",
         "paving_hue", "paving_light", "paving_pattern"),
        _PALETTE,
    )
    | dict.fromkeys(
        ("road_width", "sidewalk", "asphalt", "asphalt_warm", "dashes", "edge_line", "lamp", "sign", "traffic",
         "poles", "cars"),
        _STREET,
    )
    | dict.fromkeys(
        ("relief", "rough", "soil_hue", "soil_light", "green", "green_hue", "trees", "tree_shape", "haze", "sky",
         "water", "skyline"),
        _LAND,
    )
)  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class Style:
    """How one city looks.

    Attributes:
        city: the city's id in the taxonomy.
        traits: trait name -> standard normal value.
        key: a 32-bit number for further draws that belong to the city.
        drives_left, yellow_centre, arid, script, warmth: facts of its country and latitude, see `country_facts`.
    """

    city: int
    traits: dict[str, float]
    key: int
    drives_left: bool
    yellow_centre: bool
    arid: bool
    script: str
    warmth: float

    @property
    def road_half(self) -> float:
        """Metres from the middle of the road to the kerb."""
        return self.u("road_width", 3.1, 6.6)

    @property
    def street_half(self) -> float:
        """Metres from the middle of the road to the fronts."""
        return self.road_half + self.u("sidewalk", 1.8, 4.2)

    @property
    def plot_width(self) -> float:
        """Metres of street that one building takes."""
        return self.u("plot", 7.0, 17.0)

    def u(self, trait: str, low: float = 0.0, high: float = 1.0) -> float:
        """A trait mapped to a uniform value in [low, high] (by the normal distribution function)."""
        return low + (high - low) * 0.5 * (1 + math.erf(self.traits[trait] / math.sqrt(2)))

    def pick(self, trait: str, choices: Sequence) -> object:
        """A trait mapped to one of several equally likely choices."""
        return choices[min(int(self.u(trait, 0, len(choices))), len(choices) - 1)]


class Effects:
    """The random effects of a whole tree: `effects.vectors` (number of cities, number of traits), `effects.style(i)`.

    Effects are keyed by names and not by ids: a city looks the same in any subset of the tree.
    """

    def __init__(self, taxonomy: Taxonomy, seed: int) -> None:
        self.taxonomy, self.seed = taxonomy, seed

    @cached_property
    def vectors(self) -> Tensor:
        """Float32 tensor (number of cities, len(TRAITS)): every trait of every city, standard normal."""
        shares = torch.tensor(list(TRAITS.values()))  # (traits, levels)
        total = torch.zeros(self.taxonomy.size("city"), len(TRAITS))
        for column, level in enumerate(LEVELS):
            draws = torch.stack(
                [noise.normal(noise.key(self.seed, level, name), len(TRAITS)) for name in self._keys(level)]
            )
            total += shares[:, column].sqrt() * draws[self.taxonomy.ancestors[level]]
        return total

    def _keys(self, level: str) -> list[str]:
        """The name of each class with its ancestors' names: two states of one name in two countries differ."""
        names = list(self.taxonomy.names[level])
        above = LEVELS[LEVELS.index(level) + 1 :]
        ids = torch.arange(len(names))
        for below, upper in zip((level, *above), above, strict=False):
            ids = self.taxonomy.parent[below][ids]
            names = [f"{name}/{self.taxonomy.names[upper][i]}" for name, i in zip(names, ids.tolist(), strict=True)]
        return names

    def style(self, city: int) -> Style:
        """The look of a city by its id."""
        iso2 = self.taxonomy.iso2[int(self.taxonomy.ancestors["country"][city])]
        return Style(
            city=city,
            traits=dict(zip(TRAITS, self.vectors[city].tolist(), strict=True)),
            key=noise.key(self.seed, "look", self.taxonomy.folders[city]),
            drives_left=iso2 in country_facts.DRIVES_LEFT,
            yellow_centre=iso2 in country_facts.YELLOW_CENTRE,
            arid=iso2 in country_facts.ARID,
            script=country_facts.script(iso2),
            warmth=country_facts.warmth(float(self.taxonomy.latlon[city, 0])),
        )
