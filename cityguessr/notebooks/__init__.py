"""Running the notebooks with parameters, strictly; no part of the method is in this folder."""

from cityguessr.notebooks.numbered import check_number
from cityguessr.notebooks.parameters import check_parameters

__all__ = ["check_number", "check_parameters"]
