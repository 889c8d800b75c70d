"""The parts that read or write one thing on disk: releases, prepared clips, MiniWorld, scenes, text."""
