"""What was printed: every number of the paper, and where the paper, the slides and the released code disagree."""

from cityguessr.paper.numbers import NO_SWITCH, TITLES, dataset, disagreements, results, rows, value

__all__ = ["NO_SWITCH", "TITLES", "dataset", "disagreements", "results", "rows", "value"]
