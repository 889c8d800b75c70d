"""What every other room stands on and what knows nothing of cities: files, paths, errors, progress, weights, pools."""
