"""The table of places: cities known by their whole path, cities that are added, and rows that make no sense."""

import unicodedata
from pathlib import Path

import pytest
from filming import table
from support import one_line

from cityguessr.base.errors import InputError
from cityguessr.compilation.table import read_places, unlisted
from cityguessr.compilation.trees import Tree
from cityguessr.taxonomy import LEVELS, Taxonomy

SINTRA = "walk.mp4,Sintra,Lisbon District,Portugal,Europe"


def tree_of(tree: Tree, path: Path, listed: bool = False) -> Taxonomy:
    """The tree that readers of its `labels_list.csv` see."""
    rows = [",".join(row) for row in tree.rows(listed)]
    path.write_text("\n".join([",".join(level.capitalize() for level in LEVELS), *rows]) + "\n", encoding="utf-8")
    return Taxonomy.from_labels_list(path)


def test_a_city_that_the_tree_lacks_is_added_behind_the_papers_166(tmp_path: Path, taxonomy: Taxonomy) -> None:
    rows = (SINTRA, "b.mp4,lyon,,FRANCE,", "c.mp4,Reykjavik,Capital Region,Iceland,Europe")
    places, tree = read_places(tmp_path, table(tmp_path / "places.csv", *rows))
    assert [place.city for place in places] == ["Sintra", "Lyon", "Reykjavik"]
    assert tree.added() == ["country: Iceland", "state: Capital Region", "city: Sintra", "city: Reykjavik"]
    grown = tree_of(tree, tmp_path / "labels_list.csv")
    assert list(grown.sizes.values()) == [168, 158, 92, 6]
    assert grown.folders[:166] == taxonomy.folders
    for level in LEVELS[1:]:
        assert grown.ancestors[level][:166].equal(taxonomy.ancestors[level])
    assert grown.ancestors["state"][166] == taxonomy.ancestors["state"][taxonomy.city_id("Lisbon")]
    alone = tree_of(tree, tmp_path / "labels_list.csv", listed=True)
    assert alone.folders == ("Lyon", "Sintra", "Reykjavik")


@pytest.mark.parametrize("name", ["Malmö", "Malm", "malmö", unicodedata.normalize("NFD", "Malmö")])
def test_a_known_city_is_found_by_either_of_its_names(tmp_path: Path, name: str) -> None:
    places, tree = read_places(tmp_path, table(tmp_path / "places.csv", f"a.mp4,{name},,,"))
    assert (places[0].city, tree.added()) == ("Malm", [])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.mp4,Sintra,,Portugal,Europe", "no city .Sintra. .* needs its state, country and continent"),
        ("a.mp4,Lyon,,Canada,", "no city .Lyon. in Canada: this taxonomy has"),
        (
            "a.mp4,Sintra,Lisbon District,Portugal,Asia",
            "Portugal lies in Europe .* the row says Asia",
        ),
        ("a.mp4,,,,", "city is empty"),
        (",Lyon,,,", "video is empty"),
        ("../a.mp4,Lyon,,,", "leads outside"),
        ("/a.mp4,Lyon,,,", "leads outside"),
        ("a.mp4,a/b,x,Portugal,Europe", "that a folder can have"),
        ("a.mp4,..,x,Portugal,Europe", "that a folder can have"),
    ],
)
def test_a_row_that_makes_no_sense_is_refused_with_its_line(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(InputError, match=f"places\\.csv, line 2: .*{message}") as error:
        read_places(tmp_path, table(tmp_path / "places.csv", row))
    one_line(error)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("5,4,,,", "start 5 is not before end 4"),
        ("-1,,,,", "start, in seconds, .-1. is not a number"),
        ("nan,,,,", "start, in seconds, .nan. is not a number"),
        (",inf,,,", "end, in seconds, .inf. is not a number"),
        (",,test,,", "split 'test' is not train, val"),
        (",,,91,0", "latitude .91. is not a number from -90"),
        (",,,4,", "longitude .. is not a number"),
    ],
)
def test_times_splits_and_coordinates_are_checked(tmp_path: Path, fields: str, message: str) -> None:
    columns = "video,city,start,end,split,lat,lon"
    with pytest.raises(InputError, match=f"line 2: .*{message}"):
        read_places(tmp_path, table(tmp_path / "places.csv", f"a.mp4,Lyon,{fields}", columns=columns))


def test_one_video_may_have_several_stretches_that_do_not_overlap(tmp_path: Path) -> None:
    columns = "video,city,start,end"
    rows = ["drive.mp4,Lyon,,60", "drive.mp4,Vienna,60,"]
    places, _ = read_places(tmp_path, table(tmp_path / "places.csv", *rows, columns=columns))
    assert [(place.city, place.start, place.end) for place in places] == [("Lyon", 0, 60), ("Vienna", 60, float("inf"))]
    rows[1] = "drive.mp4,Vienna,59,"
    with pytest.raises(InputError, match=r"line 3: drive\.mp4 stands in line 2 already"):
        read_places(tmp_path, table(tmp_path / "places.csv", *rows, columns=columns))


def test_a_file_is_found_in_either_form_of_unicode_and_what_no_row_names_is_told(tmp_path: Path) -> None:
    (tmp_path / unicodedata.normalize("NFD", "Málaga.mp4")).touch()
    (tmp_path / "other.mp4").touch()
    (tmp_path / "again").symlink_to(tmp_path)  # a link that leads round in a circle
    file = table(tmp_path / "places.csv", "Málaga.mp4,Lyon,,,", "gone.mp4,Lyon,,,")
    places, _ = read_places(tmp_path, file)
    assert [place.path is not None for place in places] == [True, False]
    assert unlisted(tmp_path, places, file) == ["other.mp4"]
