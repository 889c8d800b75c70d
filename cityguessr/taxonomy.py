"""The label tree: city -> state/province -> country -> continent (paper, section 3)."""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import math
from collections.abc import Iterable, Mapping
from functools import cached_property
from importlib import resources
from pathlib import Path

import torch
from torch import Tensor

from cityguessr.base.errors import InputError
from cityguessr.base.tables import read_rows

LEVELS = ("city", "state", "country", "continent")

# The columns of a tree on disk, by level.
_NAME = {"city": "display_name", "state": "state", "country": "country", "continent": "continent"}
_ID = {"city": "city_id", "state": "state_id", "country": "country_id", "continent": "continent_id"}


@dataclasses.dataclass(frozen=True, eq=False)
class Taxonomy:
    """A tree of four levels, its names, its coordinates and the index tensors that walk it.

    Attributes:
        names: level -> names as people write them, indexed by class id.
        parent: level -> LongTensor (number of classes,) with the id of each class's parent one level up, for every
            level but `continent`.
        latlon: float64 tensor (number of cities, 2): latitude and longitude of each city's centre in degrees
            (GeoNames, CC BY 4.0); NaN where the source gives none.
        folders: the city names as the data set spells its folders (`Banglore`, `Malm`, `Talinn`), by city id.
        iso2: two-letter country codes by country id, empty where the source gives none.
    """

    names: Mapping[str, tuple[str, ...]]
    parent: Mapping[str, Tensor]
    latlon: Tensor
    folders: tuple[str, ...]
    iso2: tuple[str, ...]

    @classmethod
    def cityguessr68k(cls) -> Taxonomy:
        """The 166 cities, 157 states, 91 countries and 6 continents of the paper, ids as in the released mapping."""
        with resources.as_file(resources.files("cityguessr") / "taxonomy.csv") as path:
            return cls.from_csv(path)

    @classmethod
    def from_csv(cls, path: str | Path) -> Taxonomy:
        """The tree in a file that `to_csv` wrote: one row per city, with every id and name.

        Raises InputError where a column is missing, ids are not 0..n-1, or a class has two parents.
        """
        rows = _read_rows(Path(path), ("city", *_ID.values(), *_NAME.values()))
        return cls._build(rows, Path(path))

    @classmethod
    def from_labels_list(cls, path: str | Path) -> Taxonomy:
        """The tree of the `labels_list.csv` of a data set (columns City, State, Country, Continent).

        Ids follow the order of first appearance, which is how the released mapping numbers its classes. A state is
        known by its name and country, so two countries may have states of the same name. Coordinates, display names and
        codes come from the built-in table, for cities whose folder name it has.

        Raises InputError where the file is no such table, or a class has two parents.
        """
        path = Path(path)
        raw = _read_rows(path, LEVELS)
        known = {row["city"]: row for row in _builtin_rows()}
        ids: dict[str, dict[tuple[str, ...], int]] = {level: {} for level in LEVELS}
        rows = []
        for line, row in raw:
            folder = row["city"].replace(" ", "_")
            keys = {
                "city": (folder,),
                "state": (row["country"], row["state"]),
                "country": (row["country"],),
                "continent": (row["continent"],),
            }
            if keys["city"] in ids["city"]:
                raise InputError(f"{path}, line {line}: the city {folder!r} is listed twice; keep one line per city")
            full = {"city": folder, "display_name": folder.replace("_", " "), "iso2": "", "lat": "", "lon": ""}
            full |= {k: known[folder][k] for k in ("display_name", "iso2", "lat", "lon") if folder in known}
            for level in LEVELS:
                full[_ID[level]] = str(ids[level].setdefault(keys[level], len(ids[level])))
                if level != "city":
                    full[level] = keys[level][-1].replace("_", " ")
            rows.append((line, full))
        return cls._build(rows, path)

    @classmethod
    def _build(cls, rows: list[tuple[int, dict[str, str]]], path: Path) -> Taxonomy:
        names: dict[str, dict[int, str]] = {level: {} for level in LEVELS}
        parent: dict[str, dict[int, int]] = {level: {} for level in LEVELS[:-1]}
        cities: dict[int, dict[str, str]] = {}
        iso2: dict[int, str] = {}
        for line, row in rows:
            try:
                ids = {level: int(row[_ID[level]]) for level in LEVELS}
            except ValueError as error:
                raise InputError(f"{path}, line {line}: a class id is not a whole number ({error})") from None
            for level, above in zip(LEVELS, (*LEVELS[1:], None), strict=True):
                if names[level].setdefault(ids[level], row[_NAME[level]]) != row[_NAME[level]]:
                    raise InputError(f"{path}, line {line}: {level} {ids[level]} has two names")
                if above and parent[level].setdefault(ids[level], ids[above]) != ids[above]:
                    raise InputError(f"{path}, line {line}: {level} {row[_NAME[level]]!r} lies in two {above}s")
            cities[ids["city"]] = row
            iso2[ids["country"]] = row.get("iso2", "")
        for level in LEVELS:
            if sorted(names[level]) != list(range(len(names[level]))):
                raise InputError(f"{path}: {level} ids are not 0..{len(names[level]) - 1} without a gap")
        ordered = [cities[i] for i in range(len(cities))]
        return cls(
            names={level: tuple(names[level][i] for i in range(len(names[level]))) for level in LEVELS},
            parent={k: torch.tensor([v[i] for i in range(len(v))]) for k, v in parent.items()},
            latlon=torch.tensor(
                [[float(r.get("lat") or "nan"), float(r.get("lon") or "nan")] for r in ordered], dtype=torch.float64
            ),
            folders=tuple(r["city"] for r in ordered),
            iso2=tuple(iso2[i] for i in range(len(iso2))),
        )

    def size(self, level: str) -> int:
        """How many classes a level has (166, 157, 91, 6 for the paper's tree)."""
        return len(self.names[level])

    @property
    def sizes(self) -> dict[str, int]:
        """The number of classes of every level, in the order of `LEVELS`."""
        return {level: self.size(level) for level in LEVELS}

    @cached_property
    def ancestors(self) -> dict[str, Tensor]:
        """level -> LongTensor (number of cities,): the id at that level of each city's ancestor (itself for `city`)."""
        ids = {"city": torch.arange(self.size("city"))}
        for below, level in itertools.pairwise(LEVELS):
            ids[level] = self.parent[below][ids[below]]
        return ids

    def chain(self, city_ids: Tensor) -> dict[str, Tensor]:
        """Trace cities up the tree: LongTensor of any shape -> the ids at every level, each of that shape."""
        return {level: self.ancestors[level].to(city_ids.device)[city_ids] for level in LEVELS}

    def city_id(self, name: str) -> int:
        """The id of a city by its folder name or its display name. Raises InputError for an unknown name."""
        for names in (self.folders, self.names["city"]):
            if name in names:
                return names.index(name)
        raise InputError(
            f"no city {name!r} in this taxonomy of {self.size('city')}; see taxonomy.folders for the names"
        )

    def subset(self, cities: Iterable[str | int]) -> Taxonomy:
        """The tree over some of the cities (names or ids), numbered anew in the order of the full tree.

        The 21 cities that CityGuessr68k and Mapillary share give 21 / 21 / 19 / 6 classes (supplement, section 4).
        Raises InputError for an unknown city, and where there is none.
        """
        keep = sorted({c if isinstance(c, int) else self.city_id(c) for c in cities})
        if not keep:
            raise InputError("a taxonomy needs at least one city")
        if keep[0] < 0 or keep[-1] >= self.size("city"):
            raise InputError(f"city ids run from 0 to {self.size('city') - 1}; got {keep[0]}..{keep[-1]}")
        ids = self.chain(torch.tensor(keep))
        old = {level: list(dict.fromkeys(ids[level].tolist())) for level in LEVELS}
        new = {level: {o: n for n, o in enumerate(old[level])} for level in LEVELS}
        return Taxonomy(
            names={level: tuple(self.names[level][o] for o in old[level]) for level in LEVELS},
            parent={
                below: torch.tensor([new[above][int(self.parent[below][o])] for o in old[below]])
                for below, above in itertools.pairwise(LEVELS)
            },
            latlon=self.latlon[keep],
            folders=tuple(self.folders[o] for o in old["city"]),
            iso2=tuple(self.iso2[o] for o in old["country"]),
        )

    def rows(self) -> list[dict[str, str | int | float]]:
        """One dictionary per city with every id and name, as `to_csv` writes them."""
        rows = []
        for city in range(self.size("city")):
            ids = {level: int(self.ancestors[level][city]) for level in LEVELS}
            lat, lon = ("" if math.isnan(degrees) else degrees for degrees in self.latlon[city].tolist())
            rows.append(
                {"city_id": city, "city": self.folders[city]}
                | {_NAME[level]: self.names[level][ids[level]] for level in LEVELS}
                | {_ID[level]: ids[level] for level in LEVELS[1:]}
                | {"iso2": self.iso2[ids["country"]], "lat": lat, "lon": lon}
            )
        return rows

    def csv(self) -> str:
        """The tree as the text of a CSV file that `from_csv` reads back."""
        rows, text = self.rows(), io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()

    def to_csv(self, path: str | Path) -> None:
        """Write `csv()` to a file."""
        Path(path).write_text(self.csv(), encoding="utf-8")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Taxonomy) and self.rows() == other.rows()

    def __repr__(self) -> str:
        return "Taxonomy(" + ", ".join(f"{n} {level}" for level, n in self.sizes.items()) + ")"


def _read_rows(path: Path, columns: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """The rows of a label table with their line numbers. Raises InputError where there are none."""
    rows = list(read_rows(path, columns))
    if not rows:
        raise InputError(f"{path}: no rows below the header")
    return rows


def _builtin_rows() -> list[dict[str, str]]:
    with resources.as_file(resources.files("cityguessr") / "taxonomy.csv") as path:
        return [row for _, row in _read_rows(path, ("city",))]
