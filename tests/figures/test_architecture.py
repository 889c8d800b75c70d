"""Fig. 5 says what the model's modules are: sizes, parts that are there or not, and nothing that cannot be read."""

import re
import warnings
from functools import cache
from itertools import combinations
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

from cityguessr import figures
from cityguessr.base.errors import InputError
from cityguessr.config import ModelConfig
from cityguessr.figures import architecture
from cityguessr.model import CityGuessr, feed_forward
from cityguessr.taxonomy import LEVELS, Taxonomy

pytestmark = pytest.mark.usefixtures("fresh_style")

TREE = Taxonomy.cityguessr68k()
FEW = TREE.subset(["London", "Berlin", "Tokyo"])
FULL = ModelConfig.as_described()
SMALL = FULL.replace(pretrained=None, frames=4, size=32, width=24, depth=2, heads=2, text_dim=40)
VARIANTS = {
    "described": FULL,
    "released": ModelConfig.as_released(),
    "scenes_365": FULL.replace(scene_classes=365),
    "no_text": FULL.replace(text_labels=None),
    "city_names_only": FULL.replace(text_labels="city", text_encoder="random"),
    "no_scenes": FULL.replace(scene_labels=None),
    "bare": FULL.replace(scene_labels=None, text_labels=None),
    "timesformer": FULL.replace(backbone="timesformer", width=768, heads=12, attention_heads=3),
    "image": FULL.replace(backbone="mae", frame="mid", scene_labels="majority"),
    "small": SMALL,
}


@cache
def model(variant: str) -> CityGuessr:
    """A model of that configuration over the paper's tree, without weights, built once for all tests."""
    return architecture.parts.build(VARIANTS[variant], TREE)


def words(fig: plt.Figure) -> list[str]:
    return [text.get_text() for text in fig.findobj(mpl.text.Text) if text.get_text()]


def test_the_paper_s_sizes_are_those_of_the_model() -> None:
    """Sections 4.3 and 5.2: 15 frames of 224 pixels, ViT-S, d = 420, two heads of width 6 together, 16 scenes, 512."""
    table = architecture.sizes(model("described")).set_index("part")["shape"]
    sizes = {"clip": "15 x 3 x 224 x 224", "tubelets": "8 x 14 x 14", "feature": "384", "PV": "420", "q": "420 x 6"}
    sizes |= {"PV_H1": "166", "PV_H2": "157", "PV_H3": "91", "PV_H4": "6", "w": "2 x 420 x 420", "PV'_s": "16"}
    sizes |= {"FFN_s": "420-256-128-64-32-16-16", "FFN_t": "420-451-481-512", "F_t": "512"}
    assert table[list(sizes)].to_dict() == sizes
    shown = " ".join(words(architecture.draw(model("described"))))
    for number in (
        "8 × 14 × 14",
        "12 layers, 6 heads",
        "feature 384",
        "166 cities",
        "6 continents",
        "$d$ = 420",
        "1→6",
    ):
        assert number in shown, number


@pytest.mark.parametrize("variant", VARIANTS)
def test_parameters_are_counted_once_and_all(variant: str) -> None:
    total = architecture.sizes(model(variant))["parameters"].sum()
    assert total == sum(p.numel() for p in model(variant).parameters())


@pytest.mark.parametrize(
    ("variant", "absent"),
    [
        ("no_text", r"FFN.*_t|L_\{?TLA|F_t|text encoder|PV\}?'_t|continent$"),
        ("no_scenes", r"FFN.*_s|L_\{?scene|PV\}?'_s|scene"),
        ("bare", r"FFN|L_\{?scene|L_\{?TLA|PV\}?'|softmax|Attention|attention|token"),
    ],
)
def test_what_a_model_lacks_is_not_there(variant: str, absent: str) -> None:
    fig = architecture.draw(model(variant))
    assert [text for text in words(fig) if re.search(absent, text)] == []
    assert any(re.search(absent, text) for text in words(architecture.draw(model("described"))))
    parts = " ".join(architecture.sizes(model(variant))["part"])
    assert re.search(absent, parts) is None


def test_another_tree_has_other_sizes() -> None:
    table = architecture.sizes(SMALL, FEW).set_index("part")["shape"]
    assert [table[f"PV_H{i}"] for i in (1, 2, 3, 4)] == ["3", "3", "3", "2"]
    assert table["PV"] == "11"
    shown = words(architecture.draw(SMALL, FEW))
    assert "3 cities" in shown
    assert "166 cities" not in shown
    assert shown.count("$d$ = 11") == 2


def test_it_is_read_off_the_modules_and_not_off_the_configuration() -> None:
    small = CityGuessr(SMALL, FEW)
    assert "7" not in words(architecture.draw(small))
    small.ffn_s = feed_forward([11, 7, 16])  # the configuration still says 256-128-64-32-16
    assert "7" in words(architecture.draw(small))
    assert architecture.read(small).ffn_s == (11, 7, 16)


def test_cells_and_bars_have_the_sizes_and_the_levels_colours() -> None:
    fig = architecture.draw(model("described"))
    boxes = [p for p in fig.axes[0].patches if isinstance(p, mpl.patches.FancyBboxPatch)]
    for level in LEVELS:
        colour = mpl.colors.to_rgba(figures.LEVEL_COLOURS[level])
        of_level = [box for box in boxes if box.get_facecolor() == colour]
        assert len(of_level) == 2 + 2 + 3  # head and vector, PV and PV', q, k and v
    full = architecture.PLACES["PV_H"]
    bars = [box for box in boxes if box.get_x() == full.x and box.get_height() == full.height]
    shares = [bar.get_width() / full.width for bar in bars]
    assert shares == pytest.approx([1, 157 / 166, 91 / 166, 6 / 166], abs=1e-3)


@pytest.mark.parametrize("variant", VARIANTS)
def test_nothing_overlaps_is_cut_off_or_too_small(variant: str) -> None:
    fig = architecture.draw(model(variant))
    fig.canvas.draw()
    texts = [text for text in fig.axes[0].texts if text.get_text()]
    boxes = {text.get_text() + f" at {text.get_position()}": text.get_window_extent().padded(-1) for text in texts}
    for (one, a), (other, b) in combinations(boxes.items(), 2):
        assert not a.overlaps(b), f"{one!r} covers {other!r}"
    for text, box in boxes.items():
        assert fig.bbox.x0 <= box.x0, f"{text} is cut off"
        assert box.x1 <= fig.bbox.x1, f"{text} is cut off"
        assert fig.bbox.y0 <= box.y0, f"{text} is cut off"
        assert box.y1 <= fig.bbox.y1, f"{text} is cut off"
    for text in texts:
        indexed = re.search(r"[_^]", text.get_text())
        assert text.get_fontsize() >= (10 if indexed else 7), text  # an index has 0.7 of the size


def test_the_frames_given_are_the_frames_shown() -> None:
    frames = list(np.random.default_rng(0).integers(0, 256, (5, 30, 50, 3), dtype=np.uint8))
    fig = architecture.draw(SMALL, FEW, frames)
    shown = [image.get_array() for image in fig.axes[0].images]
    assert any(np.array_equal(image, frames[0][:, 10:40]) for image in shown)  # cut square, as a model sees it
    with pytest.raises(InputError, match=r"frame 1: expected uint8"):
        architecture.draw(SMALL, FEW, [frames[0], frames[1].astype(float)])
    with pytest.raises(InputError, match="no frames to show"):
        architecture.draw(SMALL, FEW, [])


@pytest.mark.parametrize(
    ("given", "taxonomy", "message"),
    [
        (
            FULL.replace(system="isns", backbone="mae", frame="mid", scene_labels=None, text_labels=None),
            TREE,
            "'isns'",
        ),
        (plt, TREE, "not module"),
        (FULL, None, "give a taxonomy"),
        (CityGuessr(SMALL, FEW), TREE, "other classes"),
    ],
)
def test_what_it_cannot_draw_is_said_in_one_sentence(given: object, taxonomy: Taxonomy | None, message: str) -> None:
    for function in (architecture.draw, architecture.sizes):
        with pytest.raises(InputError, match=message):
            function(given, taxonomy)


def test_it_is_saved_at_full_text_width_without_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fig = architecture.draw(model("described"))
        png, pdf, csv = figures.save(
            fig, "fig5_a", architecture.sizes(model("described")), synthetic=False, note="sizes", folder=tmp_path
        )
        fig.canvas.draw()
    assert [record.message for record in caplog.records if record.levelname != "INFO"] == []
    assert plt.imread(png).shape[1] == pytest.approx(7.2 * 200, abs=40)
    assert png.stat().st_size < 300_000
    assert pdf.stat().st_size < 300_000
    assert csv.read_text().startswith("part,shape,parameters\nclip,15 x 3 x 224 x 224,0\n")
