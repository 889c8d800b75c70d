"""Curves of errors in km show what was computed."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from cityguessr.base.errors import InputError
from cityguessr.evaluation.km_errors import KmErrors
from cityguessr.figures.error_curves import error_curves


def errors(systems: int = 2, seen: bool = True) -> KmErrors:
    km = {f"system {k}": np.array([[1.0, 20.0, 3000.0, 8000.0]]) * (1 + k) for k in range(systems)}
    return KmErrors(km, np.arange(4), np.array([seen, False, seen, False]))


def test_seen_and_unseen_videos_have_a_panel_each_and_every_system_a_line() -> None:
    curves = errors().curves()
    fig = error_curves(curves, "Two systems")
    assert [ax.get_title(loc="left") or ax.get_title() for ax in fig.axes] == [
        "Clips of seen videos", "Clips of unseen videos",
    ]  # fmt: skip
    for ax, part in zip(fig.axes, ("seen", "unseen"), strict=True):
        drawn = [line for line in ax.lines if str(line.get_label()).startswith("system")]
        assert len(drawn) == 2
        wanted = curves[(curves["system"] == "system 1") & (curves["clips_of"] == part) & (curves["km"] >= 0.3)]
        assert drawn[1].get_ydata().tolist() == wanted["share"].tolist()
    plt.close(fig)
    fig = error_curves(errors(seen=False).curves(), "One kind", {5: ""})
    assert len(fig.axes) == 1
    assert [text.get_text() for text in fig.axes[0].texts] == ["5 km"]
    plt.close(fig)


def test_more_systems_than_colours_are_refused() -> None:
    with pytest.raises(InputError, match="4 systems: draw at most 3"):
        error_curves(errors(4).curves(), "Too many")
    with pytest.raises(InputError, match="these have no share"):
        error_curves(errors().curves().drop(columns="share"), "None")
