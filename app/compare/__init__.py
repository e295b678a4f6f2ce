"""Compare: two runs side by side from the same first noise."""
