"""Names that settings choose from, except the samplers' (see diffusion/samplers/registry.py).

Imports no torch: the page is laid out before torch is loaded.
"""

from typing import Literal

BetaScheduleName = Literal["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"]
Conditioning = Literal["matched", "naive"]
ReverseVariance = Literal["posterior", "beta"]
Start = Literal["noise", "gaussian"]

CHECKPOINT_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"  # a pattern: names of folders, here and on the Hub
COSINE = "squaredcos_cap_v2"
ONE_BY_ONE = "trained"  # the name of betas that were given one by one


def has_range(beta_schedule) -> bool:
    """Whether a schedule of this name has a first and a last beta. True for None (as trained), which can have them."""
    return beta_schedule not in (COSINE, ONE_BY_ONE)
