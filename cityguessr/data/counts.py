"""How many samples each class of a data set has: counted in labels and lists, without opening a frame."""

import dataclasses
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cityguessr.base.errors import InputError
from cityguessr.data import mapillary
from cityguessr.data.sources import SPLITS
from cityguessr.taxonomy import LEVELS, Taxonomy

if TYPE_CHECKING:
    from cityguessr.data.clips import PreparedClips
    from cityguessr.data.mapillary import MapillarySource
    from cityguessr.data.sources import ClipRef


CITYGUESSR68K, MAPILLARY = "CityGuessr68k", "Mapillary (MSLS)"
"""What the two data sets are called in a title."""

STAND_INS = {CITYGUESSR68K: "MiniWorld for CityGuessr68k", MAPILLARY: "MiniWorld for Mapillary"}
"""What stands in their place in a synthetic world: no title says that it shows the real ones."""


@dataclasses.dataclass(frozen=True, eq=False)
class Spread:
    """The samples of a data set, by city.

    Attributes:
        name: what the data set is called in a title.
        unit: what a sample is, in the plural: "clips" or "sequences".
        taxonomy: its label tree.
        cities: int64 (number of cities,), the samples of each city by id; 0 for a city without any.
        synthetic: whether its pictures are rendered.
    """

    name: str
    unit: str
    taxonomy: Taxonomy
    cities: NDArray
    synthetic: bool

    def __post_init__(self) -> None:
        shape, classes = np.shape(self.cities), self.taxonomy.size("city")
        if shape != (classes,) or np.any(np.asarray(self.cities) < 0) or not np.sum(self.cities):
            raise InputError(
                f"{self.name}: {self.unit} are one number for each of {classes} cities, not all 0; got shape {shape}"
            )

    @property
    def total(self) -> int:
        """All samples."""
        return int(self.cities.sum())

    @cached_property
    def counts(self) -> dict[str, NDArray]:
        """Level -> int64 (number of classes,): samples by class id. Every level adds up to `total`."""
        ancestors = self.taxonomy.ancestors
        sums = {lv: np.bincount(ancestors[lv].numpy(), self.cities, self.taxonomy.size(lv)) for lv in LEVELS}
        return {level: values.astype(np.int64) for level, values in sums.items()}

    def present(self, level: str) -> int:
        """How many classes of a level have a sample at all."""
        return int((self.counts[level] > 0).sum())


def of_clips(clips: "PreparedClips") -> Spread:
    """The prepared clips of both splits, counted in their index."""
    cities = np.concatenate([clips.split(split).labels["city"].numpy() for split in SPLITS])
    return _of_cities(cities, clips.taxonomy, clips.synthetic)


def of_listed(clips: "Iterable[ClipRef]", taxonomy: Taxonomy, synthetic: bool) -> Spread:
    """The clips that a source lists, such as a release's label files; their frames need not be there."""
    return _of_cities([clip.labels[0] for clip in clips], taxonomy, synthetic)


def of_sequences(sequences: "MapillarySource") -> Spread:
    """Mapillary's sequences of 15 frames or more in all of its cities, CityGuessr68k's or not (paper, Table 1)."""
    rows, tree = mapillary.cities(), mapillary.tree()
    long = {rows[folder]["city"]: n for folder, n in sequences.counts.long.items() if n and folder in rows}
    if not long:
        raise InputError("Mapillary: no known city has a sequence of 15 frames or more; check the folder (msls_root)")
    part = tree.subset(long)
    counts = np.array([long[city] for city in part.folders])
    return Spread(_named(MAPILLARY, sequences.synthetic), "sequences", part, counts, sequences.synthetic)


def _of_cities(cities: ArrayLike, taxonomy: Taxonomy, synthetic: bool) -> Spread:
    """Clips by the ids of their cities, one a clip."""
    counts = np.bincount(np.asarray(cities, dtype=np.int64), minlength=taxonomy.size("city"))
    return Spread(_named(CITYGUESSR68K, synthetic), "clips", taxonomy, counts, synthetic)


def _named(name: str, synthetic: bool) -> str:
    return STAND_INS[name] if synthetic else name
