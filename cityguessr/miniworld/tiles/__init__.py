"""The textures of MiniWorld: facades, grounds and cut-outs, painted once for each city into an atlas."""
