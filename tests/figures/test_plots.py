"""Plots of the method: what they draw is what was computed."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from cityguessr.figures import plots
from cityguessr.taxonomy import LEVELS

SIZES = dict(zip(LEVELS, (4, 3, 2, 1), strict=True))


def test_even_attention_gives_each_level_its_share_of_the_tokens() -> None:
    means = plots.block_means(np.full((10, 10), 0.1), SIZES)
    assert means == pytest.approx(np.tile([0.4, 0.3, 0.2, 0.1], (4, 1)))


def test_self_attention_stands_on_the_diagonal_blocks() -> None:
    """Fig. 5: tokens that attend to themselves alone fill the four diagonal blocks."""
    assert plots.block_means(np.eye(10), SIZES) == pytest.approx(np.eye(4))


def test_blocks_show_their_shares() -> None:
    fig, ax = plt.subplots()
    plots.attention_blocks(ax, np.eye(10), SIZES)
    assert [text.get_text() for text in ax.texts][:5] == ["100.0%", "0.0%", "0.0%", "0.0%", "0.0%"]
    plt.close(fig)


def test_training_curves_draw_every_loss_and_level_of_every_seed() -> None:
    log = pd.DataFrame({"epoch": [1, 2], "loss": [3.0, 2.0], "geolocalization": [2.0, 1.5], "scene": [1.0, 0.5]})
    for level in LEVELS:
        log[f"val_{level}"] = [10.0, 20.0]
    fig = plots.training_curves({"seed 0": log, "seed 1": log})
    left, right = fig.axes
    assert len(left.lines) == 2 * 2
    assert len(right.lines) == 2 * 4
    assert list(right.lines[0].get_ydata()) == [10.0, 20.0]
    plt.close(fig)


def test_a_reliability_diagram_has_a_line_for_each_way_to_read_a_probability() -> None:
    table = pd.DataFrame({"probability": [40.0, 95.0], "right": [45.0, 70.0], "clips": [1, 3]})
    fig = plots.reliability({"own softmax": table, "products": table}, "Products are too sure")
    diagonal, own, products = fig.axes[0].lines
    assert list(diagonal.get_xdata()) == list(diagonal.get_ydata()) == [0, 100]
    assert list(own.get_ydata()) == list(products.get_ydata()) == [45, 70]
    words = [text.get_text() for text in fig.axes[0].get_legend().get_texts()]
    assert words == ["own softmax", "products", "as sure as right"]
    plt.close(fig)
