"""The slides of a lecture: each has a sentence, something to look at, and a note that names the page it is from."""

from pathlib import Path

import pytest

from cityguessr.base.errors import InputError
from cityguessr.book.check import check
from cityguessr.book.deck import build_deck, read_deck
from cityguessr.notebooks.quotes import quotes

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "notebooks" / "guide"


def test_the_deck_fills_ninety_minutes() -> None:
    slides = read_deck(GUIDE / "slides.md")  # which refuses a slide without a sentence, a picture or a note
    assert 42 <= len(slides) <= 50
    assert len({slide.chapter for slide in slides}) >= 6
    assert len({slide.title for slide in slides}) == len(slides)


def test_a_slide_is_read_in_a_glance() -> None:
    for slide in read_deck(GUIDE / "slides.md"):
        assert len(slide.title) <= 60, slide.title
        assert len(slide.words.split()) <= 45, slide.title


def test_the_slides_take_something_of_most_pages() -> None:
    sources = {page for slide in read_deck(GUIDE / "slides.md") for page in slide.sources}
    assert {page[:1] for page in sources} == set("0123459")
    assert len(sources) >= 18


@pytest.mark.parametrize("page", sorted(GUIDE.glob("*.md")), ids=lambda page: page.stem)
def test_every_number_quoted_in_the_guide_is_the_one_in_its_table(page: Path) -> None:
    wrong = [quote for quote in quotes(page.read_text(encoding="utf-8"), GUIDE) if not quote.holds]
    assert not wrong, "\n".join(f"{quote.text} is {quote.actual}: {quote.link}" for quote in wrong)


def test_the_built_deck_asks_nobody_for_anything(tmp_path: Path) -> None:
    page, count = build_deck(ROOT, tmp_path / "slides")
    assert check(page.parent) == 2  # to show, and to print
    assert page.read_text(encoding="utf-8").count("<section ") == count


SLIDE = "# Start\n## Where is it?\nA sentence.\n\n$$x$$\n\n> Say it. From `20_model_step_by_step`.\n"


@pytest.mark.parametrize(
    ("found", "instead", "message"),
    [
        ("A sentence.", "", "no sentence"),
        ("$$x$$", "", "no picture, formula or table"),
        ("> Say it. From `20_model_step_by_step`.", "", "no note"),
        ("`20_model_step_by_step`", "page 20", "no page in its note"),
        ("20_model_step_by_step", "20_gone", "there is no page 20_gone"),
        ("$$x$$", "![a map](gone.png)", "there is no gone.png"),
        ("$$x$$", "![](gone.png)", "a picture has no words"),
        ("$$x$$", "![it](../20_model_step_by_step.ipynb#gone)", "shows no picture 1 in #gone"),
        ("## Where", "Where", "no slide"),
    ],
)
def test_a_slide_that_lacks_something_is_refused(tmp_path: Path, found: str, instead: str, message: str) -> None:
    (tmp_path / "guide").mkdir()
    (tmp_path / "20_model_step_by_step.ipynb").write_bytes((GUIDE.parent / "20_model_step_by_step.ipynb").read_bytes())
    file = tmp_path / "guide" / "slides.md"
    file.write_text(SLIDE)
    assert [slide.title for slide in read_deck(file)] == ["Where is it?"]
    file.write_text(SLIDE.replace("$$x$$", "![Fig. 5](../20_model_step_by_step.ipynb#architecture.draw)"))
    assert [words for _, _, words in read_deck(file)[0].shown] == ["Fig. 5"]
    file.write_text(SLIDE.replace(found, instead))
    with pytest.raises(InputError, match=message):
        read_deck(file)
