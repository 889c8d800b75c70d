"""Figures: what `save` writes, and colours that stay apart for a colour-blind reader."""

import os
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.backend_bases import FigureCanvasBase
from PIL import Image

from cityguessr import figures
from cityguessr.base.errors import InputError
from cityguessr.figures import saving
from cityguessr.figures.tracks import title_and_key
from cityguessr.taxonomy import LEVELS, Taxonomy

pytestmark = pytest.mark.usefixtures("fresh_style")


def _figure(title: str = "Accuracy rises") -> plt.Figure:
    fig, ax = plt.subplots(figsize=(3.5, 2))
    ax.plot([0, 1, 2], [1, 3, 2])
    ax.set_title(title)
    ax.set_xlabel("epoch")
    return fig


def test_a_figure_is_a_png_a_pdf_and_its_numbers(tmp_path: Path) -> None:
    data = pd.DataFrame({"epoch": [0, 1, 2], "accuracy": [1.0, 3.0, 2 / 3]})
    written = figures.save(_figure(), "fig9_try", data, synthetic=True, folder=tmp_path)
    assert [path.name for path in written] == ["fig9_try.png", "fig9_try.pdf", "fig9_try.csv"]
    assert sorted(os.listdir(tmp_path)) == sorted(path.name for path in written)  # and nothing temporary stays
    with Image.open(written[0]) as image:
        assert image.info["dpi"] == pytest.approx((200, 200), abs=0.1)
        assert image.width > 600
    assert written[1].read_bytes().startswith(b"%PDF")
    pd.testing.assert_frame_equal(pd.read_csv(written[2]), data, rtol=1e-5)


def test_the_same_figure_gives_the_same_bytes(tmp_path: Path) -> None:
    once = [p.read_bytes() for p in figures.save(_figure(), "a", None, synthetic=True, folder=tmp_path / "1")]
    again = [p.read_bytes() for p in figures.save(_figure(), "a", None, synthetic=True, folder=tmp_path / "2")]
    assert once == again
    assert b"CreationDate" not in once[1]


def test_synthetic_data_says_so_on_the_figure(tmp_path: Path) -> None:
    def words(fig: plt.Figure) -> list[str]:
        return [text.get_text() for text in fig.texts]

    fig = _figure()
    figures.save(fig, "a", None, synthetic=True, note="three seeds", folder=tmp_path)
    figures.save(fig, "a", None, synthetic=True, note="three seeds", folder=tmp_path)  # saving twice labels once
    assert words(fig) == ["MiniWorld: synthetic data · three seeds"]
    box = fig.texts[0].get_window_extent()
    assert box.y1 <= min(ax.get_tightbbox().y0 for ax in fig.axes)  # it covers nothing
    with Image.open(tmp_path / "a.png") as image:
        labelled = image.height
    figures.save(fig, "a", None, synthetic=False, folder=tmp_path)
    assert words(fig) == []
    with Image.open(tmp_path / "a.png") as image:
        assert image.height < labelled  # and it is not cut off either


def test_no_png_is_heavier_than_the_limit(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (900, 1400, 3), dtype=np.uint8)
    fig, ax = plt.subplots(figsize=(7.2, 5))
    ax.imshow(noise, interpolation="nearest")
    png, pdf = figures.save(fig, "noise", None, synthetic=False, folder=tmp_path)
    assert png.stat().st_size <= saving.MAX_BYTES
    assert pdf.stat().st_size <= 1_000_000


def test_paper_keeps_its_colour_where_colours_are_reduced(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 200, (900, 900, 3), dtype=np.uint8)
    fig = figures.frames_grid([noise] * 4, columns=2)
    image = Image.open(figures.save(fig, "a", None, synthetic=False, folder=tmp_path)[0])
    assert image.mode == "P"
    paper = tuple(round(255 * part) for part in mpl.colors.to_rgb(fig.get_facecolor()))
    corners = [(0, 0), (image.width - 1, 0), (0, image.height - 1)]
    assert {image.convert("RGB").getpixel(corner) for corner in corners} == {paper}


def test_type_is_readable_at_the_printed_size(tmp_path: Path) -> None:
    fig = _figure()
    figures.save(fig, "a", None, synthetic=True, folder=tmp_path)
    sizes = [t.get_fontsize() for t in fig.findobj(mpl.text.Text) if t.get_text()]
    assert min(sizes) >= 7


def test_a_figure_that_its_notebook_cell_has_closed_is_saved_all_the_same(tmp_path: Path) -> None:
    fig = _figure()
    plt.close(fig)
    FigureCanvasBase(fig)  # what is left of its canvas then
    png = figures.save(fig, "a", None, synthetic=True, folder=tmp_path)[0]
    assert png.stat().st_size > 1000


@pytest.mark.parametrize(("profile", "labels"), [("mini", ["MiniWorld: synthetic data"]), ("cityguessr68k", [])])
def test_what_a_notebook_shows_says_that_it_is_synthetic(
    profile: str, labels: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plt, "show", lambda: None)
    fig = _figure()
    figures.show(profile)
    assert [text.get_text() for text in fig.texts if text.get_gid() == "foot"] == labels


def test_every_open_figure_is_labelled_and_none_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plt, "show", lambda: None)
    plt.close("all")
    figures.show("mini")
    assert plt.get_fignums() == []
    both = [_figure(), _figure()]
    figures.show("mini")
    assert [fig.texts[-1].get_text() for fig in both] == ["MiniWorld: synthetic data"] * 2


def test_what_was_saved_as_no_data_is_not_shown_as_synthetic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fig. 5 shows a model and none of MiniWorld."""
    monkeypatch.setattr(plt, "show", lambda: None)
    fig = _figure()
    figures.save(fig, "a", None, synthetic=False, folder=tmp_path)
    figures.show("mini")
    assert fig.texts == []


def test_a_shown_figure_has_its_titles_as_alternative_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody wrote one; a script outside a notebook shows nothing but the figure."""
    plt.close("all")
    fig, axes = plt.subplots(1, 2)
    fig.suptitle("How often each is right")
    axes[0].set(title="City", xlabel="epoch", ylabel="accuracy (%)")
    axes[1].set(title=r"Loss $L_{geo}$", xlabel="epoch")
    titles = "How often each is right. City. across: epoch, up: accuracy (%). Loss L_geo. across: epoch"
    assert saving.described(fig) == titles
    shown = []
    monkeypatch.setattr("IPython.get_ipython", lambda: "a kernel")
    monkeypatch.setattr("IPython.display.display", lambda fig, metadata: shown.append(metadata["image/png"]["alt"]))
    figures.show("mini")
    assert (shown, plt.get_fignums()) == ([titles], [])
    _figure()
    figures.show("mini", alt="A line that rises")
    assert shown[1:] == ["A line that rises"]


def test_a_title_and_a_key_above_all_panels_are_part_of_the_alternative_text() -> None:
    fig, axes = plt.subplots(1, 2, layout="constrained")
    for ax, label in zip(axes, ("frames within 1 km (%)", "median error (km)"), strict=True):
        (line,) = ax.plot([0, 1], label="measured, 95 % interval")
        ax.set_xlabel(label)
    title_and_key(fig, "Which is nearest?", [line])
    assert saving.described(fig) == (
        "Which is nearest? across: frames within 1 km (%). across: median error (km). Key: measured, 95 % interval"
    )
    plt.close(fig)


def test_a_folder_that_cannot_be_written_and_a_name_that_is_a_path(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file, not a folder")
    with pytest.raises(InputError, match=r"cannot be written .*choose another folder"):
        figures.save(_figure(), "a", None, synthetic=False, folder=tmp_path / "taken")
    with pytest.raises(InputError, match="figure name"):
        figures.save(_figure(), "../a", None, synthetic=False, folder=tmp_path)


def test_a_contact_sheet_shows_every_frame() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (7, 36, 64, 3), dtype=np.uint8)
    fig = figures.frames_grid(frames, [f"city {i}" for i in range(7)], columns=4)
    shown = [ax for ax in fig.axes if ax.images]
    assert len(shown) == 7
    assert [ax.get_title(loc="left") for ax in shown] == [f"city {i}" for i in range(7)]
    np.testing.assert_array_equal(shown[6].images[0].get_array(), frames[6])
    with pytest.raises(InputError, match="2 titles for 7 frames"):
        figures.frames_grid(frames, ["a", "b"])
    with pytest.raises(InputError, match=r"frame 0: expected uint8"):
        figures.frames_grid(frames.astype(float))


def test_a_contact_sheet_takes_frames_as_a_clip_has_them() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (4, 3, 36, 64), dtype=np.uint8)
    for images in (frames, torch.from_numpy(frames), frames.transpose(0, 2, 3, 1), list(frames.transpose(0, 2, 3, 1))):
        fig = figures.frames_grid(images, columns=2)
        assert len(fig.axes) == 4
        np.testing.assert_array_equal(fig.axes[3].images[0].get_array(), frames[3].transpose(1, 2, 0))


def test_a_contact_sheet_says_what_its_rules_mean() -> None:
    frames = np.zeros((6, 40, 60, 3), np.uint8)
    key = figures.CONTINENT_COLOURS
    fig = figures.frames_grid(frames, list("abcdef"), colours=list(key.values()), key=key, suptitle="Six frames")
    fig.canvas.draw()
    (legend,) = fig.legends
    assert [text.get_text() for text in legend.get_texts()] == list(key)
    box = legend.get_window_extent()
    assert box.x1 <= fig.bbox.x1
    assert box.y1 <= fig._suptitle.get_window_extent().y0
    assert all(ax.get_tightbbox().y1 <= box.y0 for ax in fig.axes)


def test_colours_cover_the_levels_and_the_continents() -> None:
    assert tuple(figures.LEVEL_COLOURS) == LEVELS
    assert set(figures.CONTINENT_COLOURS) == set(Taxonomy.cityguessr68k().names["continent"])


def test_lines_without_a_colour_of_their_own_take_those_of_series() -> None:
    cycle = mpl.rcParams["axes.prop_cycle"].by_key()["color"]
    assert [mpl.colors.to_hex(colour) for colour in cycle] == [colour.lower() for colour in figures.SERIES]


# Full dichromacy in linear RGB: Machado, Oliveira and Fernandes (2009), severity 1.0.
_SIGHT = {
    "usual": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}


@pytest.mark.parametrize("sight", _SIGHT)
@pytest.mark.parametrize("palette", ["LEVEL_COLOURS", "CONTINENT_COLOURS", "SERIES"])
def test_colours_stay_apart_for_a_colour_blind_reader(palette: str, sight: str) -> None:
    colours = getattr(figures, palette)
    colours = colours if palette == "SERIES" else colours.values()
    seen = [_lab(colour, np.array(_SIGHT[sight])) for colour in colours]
    apart = min(np.linalg.norm(a - b) for i, a in enumerate(seen) for b in seen[:i])
    assert apart > 14, f"two colours of {palette} are {apart:.1f} apart in CIELAB with {sight}"


def test_the_sequential_map_darkens_evenly() -> None:
    lightness = np.array([_lab(c, np.eye(3))[0] for c in figures.sequential()(np.linspace(0, 1, 65))])
    steps = np.diff(lightness)
    assert (steps < 0).all()
    assert steps.min() > 2 * steps.mean()  # no step more than twice the mean: no false edges


def _lab(colour: object, sight: np.ndarray) -> np.ndarray:
    """CIELAB (D65) of a colour as a reader with that sight sees it."""
    rgb = np.array(mpl.colors.to_rgb(colour))
    linear = np.clip(sight @ np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4), 0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ linear / [0.9505, 1.0, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])
