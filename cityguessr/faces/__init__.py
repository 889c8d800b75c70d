"""Faces found, inspected and blurred before a data set is published (supplement, section 5)."""
