"""A city to find one's way in: streets that turn, districts that change smoothly with the place, landmarks nearby."""
