"""Running the notebooks with parameters, strictly; no part of the method is in this folder."""

from cityguessr.notebooks.checking import check_parameters

__all__ = ["check_parameters"]
