"""How a thing to move shows itself: as widgets while somebody works with it in Jupyter, else as a page of HTML.

The page works wherever the notebook is opened, with or without a kernel. Widgets live and die with their kernel, so a
notebook that is run without a reader, by papermill say, keeps the page alone.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cityguessr.figures.offline_page import OfflinePage

if TYPE_CHECKING:  # a machine that only computes may lack it
    from ipywidgets import Widget

_VIEW = "application/vnd.jupyter.widget-view+json"


class Shown:
    """Something that shows itself as the last line of a notebook's cell."""

    def page(self) -> OfflinePage:
        """It as one page of HTML that needs no kernel and no network."""
        raise NotImplementedError

    def widget(self) -> Widget:
        """It as widgets of ipywidgets, which compute with the package itself."""
        raise NotImplementedError

    def save(self, folder: str | Path) -> Path:
        """Write the page to a folder. Returns its path."""
        return self.page().save(folder=Path(folder))

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        bundle: dict[str, Any] = dict(self.page()._repr_mimebundle_())
        if live():  # beside the page: a front end without widgets shows that
            bundle[_VIEW] = self.widget()._repr_mimebundle_()[_VIEW]
        return bundle


def live() -> bool:
    """Whether this cell was run by somebody at a notebook in Jupyter, where widgets work, and not by a program.

    Jupyter names the session of a kernel that it starts for a notebook, and names the cell with every request;
    papermill and nbconvert do neither.
    """
    from IPython import get_ipython

    shell = get_ipython()
    if "JPY_SESSION_NAME" not in os.environ or not hasattr(shell, "get_parent"):
        return False
    return "cellId" in shell.get_parent().get("metadata", {})
