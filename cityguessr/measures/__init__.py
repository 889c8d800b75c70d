"""Pure functions of numbers: calibration, intervals and errors in km, distances on the sphere, inequality."""
