"""Clips on disk: readers of each source's layout, and the prepared format that training reads."""
