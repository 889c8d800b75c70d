"""How many samples each class of a data set has: counted in labels and lists, without opening a frame."""

import dataclasses
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cityguessr.base.errors import InputError
from cityguessr.data import mapillary
from cityguessr.data.clips import PreparedClips
from cityguessr.data.mapillary import MapillarySource
from cityguessr.data.sources import SPLITS
from cityguessr.measures.inequality import gini, hoover
from cityguessr.taxonomy import LEVELS, Taxonomy

TITLES = {"cityguessr68k": "CityGuessr68k", "msls": "Mapillary (MSLS)"}
"""Data set, by the name that experiments, profiles and the paper's numbers give it -> what a title calls it."""

STAND_INS = {"cityguessr68k": "MiniWorld for CityGuessr68k", "msls": "MiniWorld for Mapillary"}
"""What stands in their place in a synthetic world: no title says that it shows the real ones."""

NO_SEQUENCES = "not run, because the folder of Mapillary's sequences was not given (msls_root)"
"""What stands in Mapillary's place where a real CityGuessr68k is explored alone."""

PLURALS = dict(zip(LEVELS, ("cities", "states", "countries", "continents"), strict=True))
"""Level -> its plural, which is also the name of its number of classes in `paper.dataset`."""


@dataclasses.dataclass(frozen=True, eq=False)
class ClassCounts:
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
        sums = {x: np.bincount(ancestors[x].numpy(), self.cities, self.taxonomy.size(x)) for x in LEVELS}
        return {level: values.astype(np.int64) for level, values in sums.items()}

    def present(self, level: str) -> int:
        """How many classes of a level have a sample at all."""
        return int((self.counts[level] > 0).sum())


def samples(clips: PreparedClips, sequences: MapillarySource | None) -> dict[str, ClassCounts | None]:
    """The samples of each city of the two data sets, by the names that `paper.dataset` gives these."""
    return {"cityguessr68k": of_clips(clips), "msls": sequences and of_sequences(sequences)}


def of_clips(clips: PreparedClips) -> ClassCounts:
    """The prepared clips of both splits, counted in their index."""
    cities = np.concatenate([clips.split(split).labels["city"].numpy() for split in SPLITS])
    counts = np.bincount(cities, minlength=clips.taxonomy.size("city"))
    return ClassCounts(_title("cityguessr68k", clips.synthetic), "clips", clips.taxonomy, counts, clips.synthetic)


def of_sequences(sequences: MapillarySource) -> ClassCounts:
    """Mapillary's sequences of 15 frames or more in all of its cities, CityGuessr68k's or not (paper, Table 1)."""
    rows, tree = mapillary.cities(), mapillary.tree()
    long = {rows[folder]["city"]: n for folder, n in sequences.counts.long.items() if n and folder in rows}
    if not long:
        raise InputError("Mapillary: no known city has a sequence of 15 frames or more; check the folder (msls_root)")
    part = tree.subset(long)
    counts = np.array([long[city] for city in part.folders])
    return ClassCounts(_title("msls", sequences.synthetic), "sequences", part, counts, sequences.synthetic)


def count_mapillary(sequences: MapillarySource) -> dict[tuple[str, str], float]:
    """What `paper.dataset` says of Mapillary, counted in a tree on disk: (data set, quantity) -> number.

    `msls` is the whole tree (Table 1, where sequences of 15 frames or more are samples; Fig. S4), `msls_filtered` the
    sequences of the 21 shared cities (section 6).
    """
    counts, rows = sequences.counts, mapillary.cities()
    known = [rows[folder] for folder, count in counts.long.items() if count and folder in rows]
    long = [count for count in counts.long.values() if count]
    return {
        ("msls", "samples"): sum(long),
        ("msls", "cities"): len(long),
        ("msls", "states"): len({(row["state"], row["country"]) for row in known}),
        ("msls", "countries"): len({row["country"] for row in known}),
        ("msls", "continents"): len({row["continent"] for row in known}),
        ("msls", "gini"): round(gini(long), 2),
        ("msls", "hoover"): round(hoover(long), 2),
        ("msls_filtered", "samples"): counts.kept,
        ("msls_filtered", "train"): counts.train,
        ("msls_filtered", "val"): counts.val,
        **{("msls_filtered", PLURALS[level]): sequences.taxonomy.size(level) for level in LEVELS},
    }


def _title(dataset: str, synthetic: bool) -> str:
    return (STAND_INS if synthetic else TITLES)[dataset]
