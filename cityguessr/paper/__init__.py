"""What was printed: every number of the paper, and where paper, slides and released code disagree."""

from cityguessr.paper.numbers import NO_SWITCH, TITLES, dataset, disagreements, results, rows, value

__all__ = ["NO_SWITCH", "TITLES", "dataset", "disagreements", "results", "rows", "value"]
