"""Faces are detected, inspected and blurred before a data set is published (supplement, section 5)."""
