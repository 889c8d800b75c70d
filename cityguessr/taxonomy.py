"""The label tree: city -> state/province -> country -> continent (paper, section 3)."""

from __future__ import annotations

import csv
import dataclasses
import difflib
import io
import itertools
import math
from collections.abc import Iterable, Mapping
from functools import cache, cached_property
from pathlib import Path

import torch
from torch import Tensor

from cityguessr.base import names as spelling
from cityguessr.base.errors import InputError, one_of
from cityguessr.base.tables import place, read_rows, whole_number

LEVELS = ("city", "state", "country", "continent")

# The columns of a tree on disk, by level.
_NAME = {"city": "display_name", "state": "state", "country": "country", "continent": "continent"}
_ID = {"city": "city_id", "state": "state_id", "country": "country_id", "continent": "continent_id"}

_BUILTIN = Path(__file__).with_name("taxonomy.csv")
_CONTINENTS = ("Africa", "Antarctica", "Asia", "Europe", "North America", "Oceania", "South America")
_MOST_CITIES = 100_000


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
        return cls.from_csv(_BUILTIN)

    @classmethod
    def from_csv(cls, path: str | Path) -> Taxonomy:
        """The tree in a file that `to_csv` wrote: one row per city, with every id and name.

        Raises InputError where a column is missing, ids are not 0..n-1, a class has two parents or two names, two
        classes are one, a field is empty, or coordinates are no place on Earth.
        """
        rows = _read_rows(Path(path), ("city", *_ID.values(), *_NAME.values()))
        return cls._build(rows, Path(path))

    @classmethod
    def from_labels_list(cls, path: str | Path) -> Taxonomy:
        """The tree of the `labels_list.csv` of a data set (columns City, State, Country, Continent).

        Ids follow the order of first appearance, which is how the released mapping numbers its classes. A state is
        known by its name and country, so two countries may have states of the same name. Names that differ in case, in
        `_` for a blank or in how Unicode writes their accents are one. A city's name is that of its folder, so no two
        cities of a list have the same.

        Coordinates and display names come from the built-in table for the cities that are its own: those of the same
        name in the same state of the same country. London in Ontario has none. A country has its code by its own name.

        Raises InputError where the file is no such table, a field is empty, or a class has two parents.
        """
        path = Path(path)
        ids: dict[str, dict[tuple[str, ...], int]] = {level: {} for level in LEVELS}
        names: dict[tuple[str, ...], str] = {}
        rows = []
        for where, row in _read_rows(path, LEVELS):
            for level in LEVELS:
                if not row[level]:
                    raise InputError(f"{where}: the field {level} is empty; write the name of the city's {level}")
            folder = spelling.folder_name(row["city"], where)
            keys = {"city": (folder,), "state": (row["country"], row["state"])}
            keys |= {level: (row[level],) for level in ("country", "continent")}
            full = {"city": folder, "display_name": folder.replace("_", " "), "lat": "", "lon": ""}
            full |= _known(row["city"], row["state"], row["country"])
            full["iso2"] = _codes().get(spelling.key(row["country"]), "")
            for level in LEVELS:
                key = tuple(map(spelling.key, keys[level]))
                if level == "city" and key in ids[level]:
                    raise InputError(f"{where}: the city {folder!r} is listed twice; keep one line per city")
                full[_ID[level]] = str(ids[level].setdefault(key, len(ids[level])))
                if level != "city":  # as its first line spells it
                    full[level] = names.setdefault((level, *key), row[level].replace("_", " "))
            rows.append((where, full))
        return cls._build(rows, path)

    @classmethod
    def _build(cls, rows: list[tuple[str, dict[str, str]]], path: Path | str) -> Taxonomy:
        """The tree of rows that say where they stand and have the columns of `to_csv`."""
        names: dict[str, dict[int, str]] = {level: {} for level in LEVELS}
        parent: dict[str, dict[int, int]] = {level: {} for level in LEVELS[:-1]}
        known: dict[tuple[str, int, str], int] = {}  # (level, parent of a state, name) -> id
        cities: dict[int, dict[str, str]] = {}
        latlon: dict[int, tuple[float, float]] = {}
        iso2: dict[int, str] = {}
        for where, row in rows:
            ids = {level: whole_number(row[_ID[level]], where, what=f"the {level} id") for level in LEVELS}
            for level, above in zip(LEVELS, (*LEVELS[1:], None), strict=True):
                if not (name := row[_NAME[level]]):
                    raise InputError(f"{where}: the field {_NAME[level]} is empty; write the name of the {level}")
                if names[level].setdefault(ids[level], name) != name:
                    raise InputError(f"{where}: {level} {ids[level]} has two names; correct the line")
                if above and parent[level].setdefault(ids[level], ids[above]) != ids[above]:
                    raise InputError(f"{where}: {level} {name!r} lies in two {above}s; correct the line")
                within = ids["country"] if level == "state" else 0
                same = (level, within, spelling.key(row["city"] if level == "city" else name))
                if (level == "city" and ids["city"] in cities) or known.setdefault(same, ids[level]) != ids[level]:
                    raise InputError(f"{where}: the {level} {name!r} is listed twice; keep one of the two")
            cities[ids["city"]] = row | {"city": spelling.folder_name(row["city"], where)}
            lat, lon, code = (row.get(column, "") for column in ("lat", "lon", "iso2"))
            latlon[ids["city"]] = place(lat, lon, where) if lat or lon else (math.nan, math.nan)
            if code and not (len(code) == 2 and code.isascii() and code.isalpha()):
                raise InputError(f"{where}: iso2 is {code!r}; write the two letters of the country's code, or nothing")
            if iso2.setdefault(ids["country"], code) != code:
                raise InputError(f"{where}: country {row['country']!r} has two codes; correct the line")
        for level in LEVELS:
            if sorted(names[level]) != list(range(len(names[level]))):
                raise InputError(f"{path}: {level} ids are not 0..{len(names[level]) - 1} without a gap")
        return cls(
            names={level: tuple(names[level][i] for i in range(len(names[level]))) for level in LEVELS},
            parent={k: torch.tensor([v[i] for i in range(len(v))]) for k, v in parent.items()},
            latlon=torch.tensor([latlon[i] for i in range(len(latlon))], dtype=torch.float64),
            folders=tuple(cities[i]["city"] for i in range(len(cities))),
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

    def path(self, city: int) -> str:
        """Where a city is, as one writes it: `London, Greater London, England, Europe`."""
        return ", ".join(self.names[level][int(self.ancestors[level][city])] for level in LEVELS)

    def city_id(self, name: str, *, state: str = "", country: str = "", continent: str = "") -> int:
        """The id of a city by its folder name or its display name, and by as much of its path as tells it from others.

        Case, `_` for blanks and the way that Unicode writes accents make no difference. The path may stand in the
        name, `San Jose, Costa Rica` or `Costa Rica/San Jose`, or in the other arguments; either way it is checked.

        Raises InputError for an unknown name, for a city that lies elsewhere, and for a name that several cities have.
        """
        above: list[str] = []
        if not (named := self._by_name.get(spelling.key(name), [])):
            first, *above = spelling.parts_of_path(name)
            named = self._by_name.get(spelling.key(first), [])
        given = {level: value for level, value in zip(LEVELS[1:], (state, country, continent), strict=True) if value}
        found = [city for city in named if self._lies_in(city, above, given)]
        if len(found) == 1:
            return found[0]
        if found:
            paths = "; ".join(map(self.path, found[:5]))
            raise InputError(f"{len(found)} cities are called {name!r} ({paths}); write which, with state and country")
        if named:
            paths = "; ".join(map(self.path, named[:5]))
            elsewhere = ", ".join((*above, *given.values()))
            raise InputError(f"no city {name!r} in {elsewhere}: this taxonomy has {paths}; correct one of the two")
        close = difflib.get_close_matches(spelling.plain(name), {spelling.plain(known): 0 for known in self._by_name})
        spelled = [self.folders[self._by_name[k][0]] for k in self._by_name if spelling.plain(k) in close[:1]]
        meant = f"; did you mean {spelled[0]}?" if spelled else "; see taxonomy.folders for the names"
        raise InputError(f"no city {name[:100]!r} in this taxonomy of {self.size('city')}{meant}")

    @cached_property
    def _by_name(self) -> dict[str, list[int]]:
        """What is alike in the spellings of a name -> the cities whose folder or display name it is."""
        cities: dict[str, list[int]] = {}
        for city, both in enumerate(zip(self.folders, self.names["city"], strict=True)):
            for name in dict.fromkeys(map(spelling.key, both)):
                cities.setdefault(name, []).append(city)
        return cities

    def _lies_in(self, city: int, above: Iterable[str], given: Mapping[str, str]) -> bool:
        """Whether a city's ancestors have the names `above`, in this order, and those `given` by level."""
        own = {level: self.names[level][int(self.ancestors[level][city])] for level in LEVELS[1:]}
        rest = iter(own)
        ordered = all(any(spelling.same_place(level, own[level], name) for level in rest) for name in above)
        return ordered and all(spelling.same_place(level, own[level], name) for level, name in given.items())

    def extended(self, rows: Iterable[tuple[str, Mapping[str, str]]]) -> Taxonomy:
        """The tree with the cities of a table, those that it lacks appended: no id that a class has here changes.

        A city that the tree has, under the same state, country and continent, stays what it is; states, countries and
        continents that it has are used. A new city's folder is its name, or its name and state (`London_Ontario`) where
        another city's folder is called so. Its coordinates and its country's code are those of the built-in table where
        that has the place and the row does not.

        Args:
            rows: for each city, where its row stands (`places.csv, line 3`), and its fields: `city`; `state`, `country`
                and `continent`, which a new city needs; and where known `display_name`, `iso2`, `lat` and `lon`.

        Raises InputError, naming the row, where a new city lacks a level, a country is said to lie in two continents, a
        continent is none, or a field makes no sense.
        """
        tree = self
        for where, row in rows:
            tree = tree._with_city(where, {k: spelling.composed(v.strip()) for k, v in row.items()})
        return tree

    def _with_city(self, where: str, row: dict[str, str]) -> Taxonomy:
        given = {level: row.get(level, "") for level in LEVELS[1:]}
        named = self._by_name.get(spelling.key(row["city"]), [])
        if [c for c in named if self._lies_in(c, (), {k: v for k, v in given.items() if v})] or not all(given.values()):
            try:
                self.city_id(row["city"], **given)
            except InputError as error:
                raise InputError(
                    f"{where}: {error}; a city that the taxonomy lacks needs its state, country and continent"
                ) from None
            return self
        ids = {
            "city": self.size("city"),
            "continent": self._class("continent", given["continent"], where),
            "country": self._class("country", given["country"], where),
        }
        if (country := ids["country"]) < self.size("country"):
            right = int(self.parent["country"][country])
            if right != ids["continent"]:
                raise InputError(
                    f"{where}: {given['country']} lies in {self.names['continent'][right]} in this taxonomy, and the "
                    f"row says {given['continent']}; correct one of the two"
                )
        ids["state"] = self._class("state", given["state"], where, country)
        full = {"display_name": row["city"].replace("_", " "), "lat": "", "lon": ""}
        full |= _known(row["city"], row["state"], row["country"])
        full["iso2"] = _codes().get(spelling.key(row["country"]), "")
        full |= {column: row[column] for column in ("display_name", "iso2", "lat", "lon") if row.get(column)}
        if country < self.size("country"):
            if self.iso2[country] and row.get("iso2", self.iso2[country]) not in ("", self.iso2[country]):
                raise InputError(f"{where}: {given['country']} has the code {self.iso2[country]}; correct the line")
            full["iso2"] = self.iso2[country]
        full["city"] = self._new_folder(row, where)
        for level in LEVELS[1:]:
            new = ids[level] == self.size(level)
            full[level] = given[level].replace("_", " ") if new else self.names[level][ids[level]]
        full |= {_ID[level]: str(ids[level]) for level in LEVELS}
        own = [("the taxonomy", {k: str(v) for k, v in old.items()}) for old in self.rows()]
        return self._build([*own, (where, full)], "the taxonomy")

    def _class(self, level: str, name: str, where: str, country: int | None = None) -> int:
        """The id of a state (of a country), country or continent by name; the next free one where the tree lacks it."""
        alike = [i for i, known in enumerate(self.names[level]) if spelling.same_place(level, known, name)]
        if country is not None:
            alike = [i for i in alike if int(self.parent[level][i]) == country]
        exact = [i for i in alike if spelling.key(self.names[level][i]) == spelling.key(name)]
        if len(exact or alike) > 1:
            known = ", ".join(self.names[level][i] for i in alike)
            raise InputError(f"{where}: the {level} {name!r} may be {known}; write one of them")
        if (
            level == "continent"
            and not alike
            and not any(spelling.same_place(level, known, name) for known in _CONTINENTS)
        ):
            raise InputError(f"{where}: {one_of('continent', name, dict.fromkeys((*self.names[level], *_CONTINENTS)))}")
        return (exact or alike or [self.size(level)])[0]

    def _new_folder(self, row: Mapping[str, str], where: str) -> str:
        """The first of City, City_State and City_State_Country that no folder is called."""
        taken = {spelling.key(folder) for folder in self.folders}
        parts = [row["city"], row["state"], row["country"]]
        for length in range(1, 4):
            folder = spelling.folder_name("_".join(parts[:length]), where)
            if spelling.key(folder) not in taken:
                return folder
        raise InputError(f"{where}: the taxonomy has a folder {folder}, of another city; give this city another name")

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


def _read_rows(path: Path, columns: tuple[str, ...]) -> list[tuple[str, dict[str, str]]]:
    """The rows of a label table with where they stand. Raises InputError where there are none."""
    rows = [
        (f"{path}, line {line}", {name: spelling.composed(field) for name, field in row.items()})
        for line, row in read_rows(path, columns, most=_MOST_CITIES)
    ]
    if not rows:
        raise InputError(f"{path}: no rows below the header")
    return rows


@cache
def _builtin() -> dict[str, list[dict[str, str]]]:
    """What is alike in the spellings of a city's name -> the rows of the built-in cities that are called so."""
    cities: dict[str, list[dict[str, str]]] = {}
    for _, row in _read_rows(_BUILTIN, ("city",)):
        for name in {spelling.plain(row["city"]), spelling.plain(row["display_name"])}:
            cities.setdefault(name, []).append(row)
    return cities


@cache
def _codes() -> dict[str, str]:
    """What is alike in the spellings of a country's name -> its two-letter code, for the built-in countries."""
    return {spelling.key(row["country"]): row["iso2"] for rows in _builtin().values() for row in rows}


def _known(city: str, state: str, country: str) -> dict[str, str]:
    """Display name and coordinates of a built-in city that lies in this state of this country; empty for any other."""
    for row in _builtin().get(spelling.plain(city), ()):
        if spelling.same_place("state", row["state"], state) and spelling.same_place(
            "country", row["country"], country
        ):
            return {column: row[column] for column in ("display_name", "lat", "lon")}
    return {}
