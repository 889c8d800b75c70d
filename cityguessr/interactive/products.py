"""Eq. 5 on a tree of six cities: what the four heads say, their products down the tree, and the three answers."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from cityguessr import hierarchy
from cityguessr.base.errors import InputError
from cityguessr.figures.style import LEVEL_COLOURS
from cityguessr.interactive import panels
from cityguessr.interactive.moving import Choice, Moving, Preset, Slider, Values
from cityguessr.interactive.panels import Panel
from cityguessr.model import probabilities
from cityguessr.taxonomy import LEVELS, Taxonomy

CITIES = ("Austin", "Dallas", "Calgary", "Liverpool", "Manchester", "London")
"""Of the paper's tree: four states or provinces, three countries, two continents."""

MODES = hierarchy.MODES[:3]
LOW, HIGH = -4.0, 6.0  # of a logit


def products() -> Products:
    """Eq. 5 on a tree of six cities, with a slider for every logit of the four heads.

    Example:
        >>> toy = interactive.products()
        >>> toy  # shows itself
        >>> toy.answers()["codependent"]["city"]
    """
    return Products()


class Products(Moving):
    """See `products`.

    Attributes:
        taxonomy: the tree of the six cities.
    """

    name, title, heights = "products", "Eq. 5 on a tree of six cities", (725, 1100, 1860)

    def __init__(self) -> None:
        self.taxonomy = subtree(Taxonomy.cityguessr68k(), CITIES)
        sliders = [
            Slider(f"{level}{i}", name, LOW, HIGH, 0.0, 0.1, f"{level.capitalize()} head: logits", LEVEL_COLOURS[level])
            for level in LEVELS
            for i, name in enumerate(self.taxonomy.names[level])
        ]
        truth = Choice("truth", "True city", ("not given", *CITIES))
        tree = {
            "levels": LEVELS,
            "modes": MODES,
            "names": self.taxonomy.names,
            "parent": {level: ids.tolist() for level, ids in self.taxonomy.parent.items()},
            "colours": LEVEL_COLOURS,
        }
        foot = "The six cities are in the paper's tree; the logits are made up. P is a head's own softmax, P′ is Eq. 5."
        super().__init__([truth, *sliders], _presets(), tree, foot=foot)

    def logits(self, values: Values | None = None) -> dict[str, Tensor]:
        """Where the sliders stand: level -> float64 (1, number of classes)."""
        values = self.values if values is None else values
        sizes = self.taxonomy.sizes
        return {
            level: torch.tensor([[values[f"{level}{i}"] for i in range(sizes[level])]], dtype=torch.float64)
            for level in LEVELS
        }

    def answers(self) -> dict[str, dict[str, str]]:
        """What each mode answers where the sliders stand: mode -> level -> name."""
        logits, names = self.logits(), self.taxonomy.names
        read = {mode: hierarchy.predict(logits, self.taxonomy, mode) for mode in MODES}
        return {mode: {level: names[level][int(ids[level])] for level in LEVELS} for mode, ids in read.items()}

    def panels(self, values: Values) -> list[Panel]:
        logits, tree = self.logits(values), self.taxonomy
        own = {level: shares[0].tolist() for level, shares in probabilities(logits).items()}
        refined = {level: shares[0].tolist() for level, shares in hierarchy.refine(logits, tree).items()}
        truth = None if not values["truth"] else tree.chain(torch.tensor(int(values["truth"]) - 1))
        best = int(hierarchy.predict(logits, tree, "codependent")["city"])
        modes = self._modes(logits, truth)
        return [
            panels.table("Three ways to read an answer", ["mode", *LEVELS, "fits together"], modes),
            panels.table(
                "Eq. 5, city by city", ["city", "P(city) × P(state) × P(country) × P(continent)", "product"],
                [self._product(city, own, refined["city"][city], city == best) for city in range(len(CITIES))],
            ),
            *(
                panels.bars(
                    level.capitalize(), LEVEL_COLOURS[level], ["P", "P′"],
                    [
                        {
                            "label": name,
                            "values": [own[level][i], refined[level][i]],
                            "texts": [panels.percent(own[level][i]), panels.percent(refined[level][i])],
                            "strong": truth is not None and int(truth[level]) == i,
                        }
                        for i, name in enumerate(tree.names[level])
                    ],
                )
                for level in LEVELS
            ),
        ]  # fmt: skip

    def _modes(self, logits: dict[str, Tensor], truth: dict[str, Tensor] | None) -> list[dict[str, object]]:
        """A row for each mode, and one for the truth where it is given."""
        rows = []
        for mode in MODES:
            ids = {level: int(i) for level, i in hierarchy.predict(logits, self.taxonomy, mode).items()}
            fits = not bool(hierarchy.conflicts(logits, self.taxonomy, mode))
            marks = ["" if truth is None else "right" if ids[x] == int(truth[x]) else "wrong" for x in LEVELS]
            cells = [mode, *(self.taxonomy.names[x][ids[x]] for x in LEVELS), "yes" if fits else "no"]
            rows.append({"cells": cells, "marks": ["", *marks, ""], "strong": mode == "codependent"})
        if truth is not None:
            names = [self.taxonomy.names[level][int(truth[level])] for level in LEVELS]
            rows.append({"cells": ["truth", *names, ""], "marks": [""] * 6, "strong": False})
        return rows

    def _product(self, city: int, own: dict[str, list[float]], product: float, best: bool) -> dict[str, object]:
        path = self.taxonomy.chain(torch.tensor(city))
        factors = " × ".join(panels.fixed(own[level][int(path[level])], 3) for level in LEVELS)
        return {"cells": [CITIES[city], factors, panels.percent(product)], "marks": ["", "", ""], "strong": best}


def subtree(taxonomy: Taxonomy, cities: Sequence[str]) -> Taxonomy:
    """The part of a tree above some of its cities; ids follow the order in which they come.

    Raises InputError for a city that is not in the tree, or given twice.
    """
    if len(set(cities)) != len(cities):
        raise InputError(f"cities={list(cities)}: give each city once")
    path = taxonomy.chain(torch.tensor([taxonomy.city_id(city) for city in cities]))
    kept = {level: list(dict.fromkeys(path[level].tolist())) for level in LEVELS}
    above = dict(itertools.pairwise(LEVELS))
    return Taxonomy(
        names={level: tuple(taxonomy.names[level][i] for i in kept[level]) for level in LEVELS},
        parent={
            level: torch.tensor([kept[above[level]].index(int(taxonomy.parent[level][i])) for i in kept[level]])
            for level in above
        },
        latlon=taxonomy.latlon[kept["city"]],
        folders=tuple(taxonomy.folders[i] for i in kept["city"]),
        iso2=tuple(taxonomy.iso2[i] for i in kept["country"]),
    )


def _presets() -> list[Preset]:
    def values(truth: str | None, **logits: Sequence[float]) -> Values:
        placed = {f"{level}{i}": float(x) for level, row in logits.items() for i, x in enumerate(row)}
        return {"truth": 0 if truth is None else CITIES.index(truth) + 1} | placed

    return [
        Preset(
            "The country repairs the city",
            "The city head prefers Dallas by a little. The country head is sure of England, and the product with it "
            "lifts Manchester above Dallas.",
            values("Manchester", city=(0, 2.2, 0, 0.5, 1.9, 0.2), state=(1, 0, 1.1, 0.6), country=(0.5, 0, 2.5),
                   continent=(0.4, 1)),
        ),
        Preset(
            "One wrong continent drags a right city along",
            "City, state and country are right by themselves. The continent head is sure and wrong, and its one factor "
            "is enough to move the product to London.",
            values("Calgary", city=(0, 0, 2, 0, 0.2, 1.4), state=(0.2, 1.2, 0, 0.9), country=(0, 1, 0.6),
                   continent=(-2, 2)),
        ),
        Preset(
            "The heads contradict each other",
            "Read level by level, the four answers do not fit together, with or without products. The codependent "
            "answer always fits: only the city is chosen, and the rest is read off the tree.",
            values(None, city=(1.6, 2.4, 0, 0, 0, 0.4), state=(1, 0, 0.2, 1.2), country=(0.6, 1.5, 0.8),
                   continent=(0, 0.9)),
        ),
        Preset(
            "The heads know nothing",
            "All logits are equal, so every softmax is flat and all six cities have the same product. The answer is "
            "then only the first of the list. Move one slider and watch.",
            values(None, city=[0] * 6, state=[0] * 4, country=[0] * 3, continent=[0] * 2),
        ),
    ]  # fmt: skip
