"""Tables with the paper's number beside the measured one, and the two pages that draw on all of them."""

from cityguessr.tables.tables import build, compare, show, write

__all__ = ["build", "compare", "show", "write"]
