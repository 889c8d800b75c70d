"""Running the notebooks with parameters, strictly; nothing here is the method."""

from cityguessr.notebooks.parameters import check_parameters

__all__ = ["check_parameters"]
