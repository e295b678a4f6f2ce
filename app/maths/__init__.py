"""The mathematics, live: chapters of formulas, proofs and experiments on the checkpoint and schedule of the page."""
