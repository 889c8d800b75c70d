"""Place names to feature vectors, the target of the TextLabel Alignment (paper, section 4.4)."""
