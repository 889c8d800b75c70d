"""The map and the track viewer in a real browser, where there is one: what they answer, and that nothing is cut off."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from small_world import made
from test_track_viewer import TRACKS

from cityguessr.evaluation import confusions
from cityguessr.figures import interactive_map, track_viewer

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")


def after(document: str, script: str, folder: Path, width: int = 1000) -> dict:
    """What a script finds once it has acted on a page of this width in pixels: it fills the object `seen`."""
    probe = f"<script>var seen = {{}}; {script}; parent.document.title = 'SEEN' + JSON.stringify(seen);</script></body>"
    page = html.escape(document.replace("</body>", probe))
    frame = f'<iframe srcdoc="{page}" style="width: {width}px; height: 900px"></iframe>'  # no window is so narrow
    (folder / "page.html").write_text(f"<!doctype html><title></title>{frame}", encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/browser", "--dump-dom"]
    command = [str(CHROMIUM), *flags, "--window-size=1500,1000", str(folder / "page.html")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return json.loads(html.unescape(re.search(r"<title>SEEN(.*?)</title>", done.stdout)[1]))


@pytest.fixture(scope="module")
def city_map() -> str:
    predictions = made(list(range(166)), [0] * 166)
    return interactive_map.draw(
        confusions.by_city(predictions), confusions.commonest(predictions, None), synthetic=True
    ).document


def test_the_search_answers_every_name(city_map: str, tmp_path: Path) -> None:
    """Without accents, for a part of a name, and for a city that is not on the map."""
    script = """
    var find = document.getElementById("find");
    ["Atlantis", "malaga", "ma", ""].forEach(function (name) {
      find.value = name;
      find.dispatchEvent(new Event("input"));
      var heading = document.querySelector("#card h2");
      seen[name] = [document.getElementById("reply").textContent, heading ? heading.textContent : ""];
    })"""
    seen = after(city_map, script, tmp_path)
    assert seen["Atlantis"] == ["no city of that name", ""]
    assert seen["malaga"] == ["", "Málaga, Spain: 1 clip"]
    assert re.fullmatch(r"\d+ cities fit", seen["ma"][0])
    assert seen[""][0] == ""


def test_zooming_to_europe_parts_its_cities(city_map: str, tmp_path: Path) -> None:
    script = """
    var cities = JSON.parse(document.getElementById("data").textContent).cities;
    function overlapping() {
      var shown = Array.prototype.filter.call(document.querySelectorAll("circle"), function (circle) {
        return cities[circle.dataset.city].names[3] === "Europe";
      }).map(function (circle) { return circle.getBoundingClientRect(); });
      var pairs = 0;
      shown.forEach(function (a, i) { shown.slice(i + 1).forEach(function (b) {
        if (Math.hypot(a.x - b.x, a.y - b.y) < (a.width + b.width) / 2) pairs++;
      }); });
      return [shown.length, pairs];
    }
    seen.world = overlapping();
    var part = document.getElementById("part");
    part.value = "Europe";
    part.dispatchEvent(new Event("change"));
    seen.europe = overlapping()"""
    seen = after(city_map, script, tmp_path)
    assert seen["world"][0] == seen["europe"][0] == 43
    assert seen["europe"][1] < seen["world"][1] / 4


@pytest.mark.parametrize("width", [390, 800, 1440])
def test_no_menu_of_the_viewer_is_cut_off(tmp_path: Path, width: int) -> None:
    page = track_viewer.draw(TRACKS, headings=["no. 10 of 10 by distance"] * len(TRACKS), synthetic=True).document
    script = """
    var root = document.documentElement, menu = document.getElementById("track");
    seen.width = window.innerWidth;
    seen.overflow = root.scrollWidth - root.clientWidth;
    var copy = menu.cloneNode(true);
    copy.style.width = "max-content";
    document.body.appendChild(copy);
    seen.room = menu.getBoundingClientRect().width - copy.getBoundingClientRect().width"""
    seen = after(page, script, tmp_path, width)
    assert seen["width"] == width
    assert seen["overflow"] <= 0
    assert seen["room"] >= -1
