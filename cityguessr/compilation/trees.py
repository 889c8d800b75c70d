"""The label tree of a compilation: one that is there, extended by the cities of a table."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from cityguessr.base.errors import InputError
from cityguessr.taxonomy import LEVELS, Taxonomy


@dataclasses.dataclass(frozen=True)
class Tree:
    """A tree, and which of its cities a table names.

    Attributes:
        taxonomy: all of it: the ids of the tree that it began with have not changed.
        used: the folder names of the table's cities.
        before: how many classes of each level there were before the table added any.
    """

    taxonomy: Taxonomy
    used: frozenset[str]
    before: Mapping[str, int]

    def added(self) -> list[str]:
        """The classes that the table added, as `level: name`, the continents first; a city as its folder is named."""
        names = self.taxonomy.names | {"city": self.taxonomy.folders}
        return [f"{level}: {name}" for level in reversed(LEVELS) for name in names[level][self.before[level] :]]

    def rows(self, listed: bool) -> list[list[str]]:
        """City, state, country and continent as `labels_list.csv` has them, for the cities of the table or for all."""
        return [
            [str(row[level]).replace(" ", "_") for level in LEVELS]
            for row in self.taxonomy.rows()
            if not listed or row["city"] in self.used
        ]


class Growing:
    """A tree that grows with the rows of a table."""

    def __init__(self, taxonomy: Taxonomy) -> None:
        self._first = self._taxonomy = taxonomy
        self._found: dict[tuple[str, ...], str] = {}

    def city(self, path: Mapping[str, str], where: str) -> str:
        """The folder name of the city of a path (level -> name, empty where not given), which is added if need be.

        Raises InputError, with `where`, for an empty city, and as `Taxonomy.extended` does.
        """
        if not path["city"]:
            raise InputError(f"{where}: the field city is empty; write where the video was filmed")
        names = tuple(path[level] for level in LEVELS)
        if names not in self._found:
            self._taxonomy = self._taxonomy.extended([(where, path)])
            above = {level: path[level] for level in LEVELS[1:]}
            try:
                city = self._taxonomy.city_id(path["city"], **above)
            except InputError as error:
                raise InputError(f"{where}: {error}") from None
            self._found[names] = self._taxonomy.folders[city]
        return self._found[names]

    def grown(self) -> Tree:
        """The tree as it is now."""
        return Tree(self._taxonomy, frozenset(self._found.values()), self._first.sizes)
