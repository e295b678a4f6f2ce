"""Explore: grids of runs over up to three settings, and quality against network calls."""
