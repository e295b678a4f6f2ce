"""The words that settings are made of, but for the samplers' names: diffusion/samplers/registry.py has those.

No torch here: what lays out a page needs them before it is there.
"""

from typing import Literal

BetaScheduleName = Literal["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"]
Conditioning = Literal["matched", "naive"]
ReverseVariance = Literal["posterior", "beta"]
