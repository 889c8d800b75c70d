"""The label tree: the paper's counts, the released ids, subsets, and label lists of a release."""

from pathlib import Path

import pytest
import torch
from support import one_line

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


TREE = "city_id,city,display_name,state_id,state,country_id,country,iso2,continent_id,continent,lat,lon\n"
PARIS = "0,Paris,Paris,0,Ile-de-France,0,France,FR,0,Europe,48.8,2.3\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (PARIS.replace("48.8", "north"), "line 2: the latitude 'north' is not a number from -90 to 90"),
        (PARIS.replace("48.8", "999"), "line 2: the latitude '999'"),
        (PARIS.replace("2.3", "inf"), "line 2: the longitude 'inf'"),
        (PARIS.replace("48.8", ""), "line 2: the latitude ''"),
        (PARIS.replace("FR", "France"), "line 2: iso2 is 'France'"),
        (PARIS.replace("0,Paris", "9" * 5000 + ",Paris"), r"line 2: the city id '9+'\.\.\. \(5,000 characters\)"),
        (PARIS.replace("0,Paris", "-1,Paris"), "line 2: the city id '-1'"),
        (PARIS.replace("0,Paris", "1,Paris"), "city ids are not 0..0 without a gap"),
        (PARIS.replace("Paris,Paris", "../x,Paris"), r"line 2: '\.\./x' is no city's name that a folder can have"),
        (PARIS.replace("Paris,Paris", "Paris,"), "line 2: the field display_name is empty"),
        (PARIS.replace(",France,FR", ",,FR"), "line 2: the field country is empty"),
        (PARIS * 2, "line 3: the city 'Paris' is listed twice"),
        (PARIS + PARIS.replace("0,Paris", "1,paris"), "line 3: the city 'Paris' is listed twice"),
        (
            PARIS + PARIS.replace("0,Paris,Paris,0", "1,Lyon,Lyon,1"),
            "line 3: the state 'Ile-de-France' is listed twice",
        ),
        (PARIS + PARIS.replace("0,Paris,Paris", "1,Lyon,Lyon").replace("FR", "DE"), "line 3: country 'France' has two"),
    ],
)
def test_a_tree_that_contradicts_itself_is_refused_with_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "taxonomy.csv"
    path.write_text(TREE + text)
    with pytest.raises(InputError, match=rf"taxonomy\.csv.*{message}") as error:
        Taxonomy.from_csv(path)
    assert len(one_line(error)) < 300


def listed(path: Path, *lines: str) -> Taxonomy:
    """The tree of a label list of these lines."""
    path.write_text("\n".join(["City,State,Country,Continent", *lines]) + "\n", encoding="utf-8")
    return Taxonomy.from_labels_list(path)


def test_a_place_of_the_same_name_elsewhere_is_another_place(tmp_path: Path) -> None:
    """London in Ontario has neither the coordinates nor the country's code of London in England."""
    tree = listed(
        tmp_path / "labels_list.csv",
        "Montreal,Québec,Canada,North America",
        "London,Ontario,Canada,North America",
        "San_Jose,San Jose Province,Costa Rica,North America",
        "Athens,Georgia,United States,North America",
        "Abu_Dhabi,Abu Dhabi,United Arab Emirates,Asia",
        "Portland,Maine,United States,North America",
    )
    known = {row["city"]: row["lat"] != "" for row in tree.rows()}
    assert known == dict.fromkeys(known, False) | {"Montreal": True, "Abu_Dhabi": True}
    assert tree.iso2 == ("CA", "", "US", "AE")
    assert tree.names["city"][0] == "Montréal"


def test_spellings_of_one_name_are_one_class(tmp_path: Path) -> None:
    tree = listed(
        tmp_path / "labels_list.csv",
        "São_Paulo,Sa\u0303o Paulo,Brazil,South America",
        "Campinas,SÃO_PAULO,brazil,South_America",
        ",,,",
        "Lyon,Auvergne-Rhône-Alpes,France,Europe",
    )
    assert tree.sizes == {"city": 3, "state": 2, "country": 2, "continent": 2}
    assert tree.names["country"] == ("Brazil", "France")
    for name in ("São Paulo", "sa\u0303o_paulo", "Brazil/São Paulo", "São Paulo, São Paulo, Brazil"):
        assert tree.city_id(name) == 0
    with pytest.raises(InputError, match=r"no city 'Sao Paulo' .* did you mean São_Paulo"):
        tree.city_id("Sao Paulo")
    with pytest.raises(InputError, match=r"line 3: the city 'são_paulo' is listed twice"):
        listed(
            tmp_path / "labels_list.csv", "São Paulo,A,Brazil,South America", "sa\u0303o_paulo,B,Chile,South America"
        )
    with pytest.raises(InputError, match="line 2: the field city is empty"):
        listed(tmp_path / "labels_list.csv", ",A,Brazil,South America")


ELSEWHERE = [
    {"city": "London", "state": "Ontario", "country": "Canada", "continent": "North America"},
    {"city": "San Jose", "state": "San José", "country": "Costa Rica", "continent": "North America", "iso2": "CR"},
    {"city": "Paris", "state": "Île de France", "country": "France", "continent": "Europe"},
    {"city": "London", "state": "", "country": "England", "continent": ""},
    {
        "city": "Quito",
        "state": "Pichincha",
        "country": "Ecuador",
        "continent": "South America",
        "lat": "-0,2",
        "lon": "-78",
    },
]


def test_new_cities_are_appended_and_no_id_changes(taxonomy: Taxonomy, tmp_path: Path) -> None:
    tree = taxonomy.extended((f"places.csv, line {k}", row) for k, row in enumerate(ELSEWHERE, start=2))
    old = taxonomy.rows()
    assert tree.rows()[: len(old)] == old
    assert tree.folders[len(old) :] == ("London_Ontario", "San_Jose_San_José", "Paris", "Quito")
    assert tree.sizes == {"city": 170, "state": 161, "country": 93, "continent": 6}
    assert tree.latlon[-1].tolist() == [-0.2, -78]
    assert tree.latlon[166].isnan().all()
    assert tree.path(168) == "Paris, Île de France, France, Europe"
    assert tree.extended([("again", row) for row in ELSEWHERE]) == tree
    tree.to_csv(tmp_path / "taxonomy.csv")
    assert Taxonomy.from_csv(tmp_path / "taxonomy.csv") == tree
    assert taxonomy.subset(["Lyon"]).extended([("here", {"city": "Lyon"})]).size("city") == 1


def test_a_name_that_two_cities_have_needs_its_path(taxonomy: Taxonomy) -> None:
    tree = taxonomy.extended([("here", row) for row in ELSEWHERE])
    with pytest.raises(
        InputError, match=r"2 cities are called 'London' .London, Greater London, England, Europe; London, O"
    ):
        tree.city_id("London")
    assert tree.city_id("london, canada") == tree.city_id("London", country="Canada") == 166
    assert tree.city_id("England/London") == taxonomy.city_id("London") == taxonomy.city_id("London, Europe")
    with pytest.raises(InputError, match="no city 'London' in Canada: this taxonomy has London, Greater London"):
        taxonomy.city_id("London", country="Canada")
    with pytest.raises(InputError, match="no city 'London, Canada' in Canada"):
        taxonomy.city_id("London, Canada")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"continent": "Africa"}, "Ecuador|France lies in Europe in this taxonomy, and the row says Africa"),
        ({"continent": "Erope"}, "no continent 'Erope'; it is one of"),
        ({"continent": ""}, "no city 'Nantes' .* needs its state, country and continent"),
        ({"city": "../Nantes"}, "no city's name that a folder can have"),
        ({"lat": "91", "lon": "0"}, "the latitude '91'"),
        ({"lat": "47"}, "the longitude ''"),
        ({"iso2": "DE"}, "France has the code FR"),
    ],
)
def test_a_new_city_that_contradicts_the_tree_is_refused(
    taxonomy: Taxonomy, change: dict[str, str], message: str
) -> None:
    row = {"city": "Nantes", "state": "Pays de la Loire", "country": "France", "continent": "Europe", **change}
    with pytest.raises(InputError, match=f"places.csv, line 2: .*{message}"):
        taxonomy.extended([("places.csv, line 2", row)])


def test_a_missing_label_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"labels_list\.csv: cannot be read"):
        Taxonomy.from_labels_list(tmp_path / "labels_list.csv")


def test_unknown_cities_are_refused(taxonomy: Taxonomy) -> None:
    with pytest.raises(InputError, match="no city 'Atlantis'"):
        taxonomy.subset(["London", "Atlantis"])
    with pytest.raises(InputError, match="city ids run from 0 to 165"):
        taxonomy.subset([166])
