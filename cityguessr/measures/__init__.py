"""Pure numbers: accuracy's company (calibration, intervals, error in km), distances on the sphere, inequality."""
