"""The same mathematics in fewer operations: what backbones and attention compute, folded together, up to rounding."""
