"""How much of a split's accuracy may be recognising the same drive: source videos recovered, near-duplicates found."""
