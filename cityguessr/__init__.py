"""CityGuessr: city-level video geo-localization on a global scale (ECCV 2024), as an importable core."""
