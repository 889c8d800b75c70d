"""Tables with the paper's number beside the measured one, and the two summaries that draw on all of them."""

from cityguessr.tables.table import Table, beside_paper, build

__all__ = ["Table", "beside_paper", "build"]
