"""The Compare tab: two runs side by side from the same initial noise."""
