"""Many runs together: comparisons, grids and frontiers, and what they say."""
