"""The public endpoints, for programs."""
