"""Running the notebooks with parameters, strictly; no part of the method is in this folder."""

from cityguessr.notebooks.checking import check_parameters
from cityguessr.notebooks.numbered import check_number

__all__ = ["check_number", "check_parameters"]
