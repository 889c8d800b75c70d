"""The label tree: the paper's counts, the released ids, subsets, and label lists of a release."""

from pathlib import Path

import pytest
import torch

from cityguessr.base.errors import InputError
from cityguessr.taxonomy import LEVELS, Taxonomy

MAPILLARY = [
    "London",
    "Boston",
    "Melbourne",
    "Amsterdam",
    "Helsinki",
    "Tokyo",
    "Moscow",
    "Bangkok",
    "Budapest",
    "Austin",
    "Berlin",
    "Amman",
    "Nairobi",
    "Manila",
    "Copenhagen",
    "Miami",
    "Athens",
    "Buenos_Aires",
    "Stockholm",
    "Banglore",
    "Kampala",
]


def test_the_papers_counts(taxonomy: Taxonomy) -> None:
    assert taxonomy.sizes == {"city": 166, "state": 157, "country": 91, "continent": 6}
    assert sum(taxonomy.sizes.values()) == 420


def test_cities_a_continent_as_in_figure_s3(taxonomy: Taxonomy) -> None:
    counts = torch.bincount(taxonomy.ancestors["continent"]).tolist()
    assert dict(zip(taxonomy.names["continent"], counts, strict=True)) == {
        "Asia": 61,
        "Africa": 15,
        "Oceania": 6,
        "Europe": 43,
        "North America": 34,
        "South America": 7,
    }


@pytest.mark.parametrize(
    ("city", "path"),
    [
        ("Banglore", ["Bengaluru", "Karnataka", "India", "Asia"]),
        ("Liverpool", ["Liverpool", "North West England", "England", "Europe"]),
        ("Manchester", ["Manchester", "North West England", "England", "Europe"]),
        ("Incheon", ["Incheon", "Seoul Capital Area", "South Korea", "Asia"]),
        ("San_Jose", ["San Jose", "California", "United States", "North America"]),
        ("Istanbul", ["Istanbul", "Istanbul Province", "Turkey", "Asia"]),
        ("Nicosia", ["Nicosia", "Nicosia District", "Cyprus", "Asia"]),
    ],
)
def test_chains(taxonomy: Taxonomy, city: str, path: list[str]) -> None:
    chain = taxonomy.chain(torch.tensor(taxonomy.city_id(city)))
    assert [taxonomy.names[level][chain[level]] for level in LEVELS] == path


def test_every_class_has_a_name_of_its_own_and_a_place(taxonomy: Taxonomy) -> None:
    for level in LEVELS:
        assert len(set(taxonomy.names[level])) == taxonomy.size(level)
        assert all(taxonomy.names[level])
    assert taxonomy.latlon.isfinite().all()
    assert taxonomy.latlon[:, 0].abs().max() < 90
    assert taxonomy.latlon[:, 1].abs().max() <= 180


def test_the_21_cities_shared_with_mapillary(taxonomy: Taxonomy) -> None:
    """Supplement, section 4: 21 cities, 21 states, 19 countries, 6 continents."""
    subset = taxonomy.subset(MAPILLARY)
    assert list(subset.sizes.values()) == [21, 21, 19, 6]
    for city in MAPILLARY:
        old = taxonomy.chain(torch.tensor(taxonomy.city_id(city)))
        new = subset.chain(torch.tensor(subset.city_id(city)))
        assert [taxonomy.names[v][old[v]] for v in LEVELS] == [subset.names[v][new[v]] for v in LEVELS]


def test_the_tree_from_a_releases_own_label_list(taxonomy: Taxonomy, tmp_path: Path) -> None:
    """Ids by first appearance give back the released numbering."""
    lines = ["City,State,Country,Continent"]
    for row in taxonomy.rows():
        lines.append(f"{row['city']},{row['state'].replace(' ', '_')},{row['country']},{row['continent']}")
    (tmp_path / "labels_list.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    read = Taxonomy.from_labels_list(tmp_path / "labels_list.csv")
    assert read == taxonomy


def test_a_new_city_has_no_coordinates(tmp_path: Path) -> None:
    path = tmp_path / "labels_list.csv"
    path.write_text("City,State,Country,Continent\nAtlantis,Deep,Sea,Ocean\nLondon,Greater London,England,Europe\n")
    taxonomy = Taxonomy.from_labels_list(path)
    assert taxonomy.latlon[0].isnan().all()
    assert taxonomy.latlon[1].isfinite().all()
    taxonomy.to_csv(tmp_path / "taxonomy.csv")
    assert Taxonomy.from_csv(tmp_path / "taxonomy.csv") == taxonomy


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("City,State,Country\nA,B,C\n", "line 1: no column continent"),
        ("City,State,Country,Continent\nA,B,C\n", "line 2: 3 fields, where the header has 4"),
        ("City,State,Country,Continent\nA,B,C,D\nA,B,C,D\n", "line 3: the city 'A' is listed twice"),
        ("City,State,Country,Continent\nA,B,C,D\nE,F,C,G\n", "line 3: country 'C' lies in two continents"),
        ("City,State,Country,Continent\n", "no rows below the header"),
    ],
)
def test_bad_label_lists_are_refused_with_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "labels_list.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=f"labels_list.csv.*{message}"):
        Taxonomy.from_labels_list(path)


def test_a_missing_label_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"labels_list\.csv: cannot be read"):
        Taxonomy.from_labels_list(tmp_path / "labels_list.csv")


def test_unknown_cities_are_refused(taxonomy: Taxonomy) -> None:
    with pytest.raises(InputError, match="no city 'Atlantis'"):
        taxonomy.subset(["London", "Atlantis"])
    with pytest.raises(InputError, match="city ids run from 0 to 165"):
        taxonomy.subset([166])
