"""From an experiment and a scale to a finished run: profiles, clips, the loop, runs on disk, many of them at once."""
