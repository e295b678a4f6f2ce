"""Fits, measures and publishes checkpoints. Knows diffusion/ and accelerate; never app/."""
