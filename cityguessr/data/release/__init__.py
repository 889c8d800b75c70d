"""The release of CityGuessr68k as it lies on disk: its roots, its label files and its tables by frame."""
