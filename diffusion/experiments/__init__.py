"""Experiments of several runs: comparisons, grids and frontiers."""
