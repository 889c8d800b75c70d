"""The executed notebooks as a book of web pages and as slides for a lecture; nothing is run, nothing is fetched."""
