"""The words that settings are made of, but for the samplers' names: diffusion/samplers/registry.py has those.

No torch here: what lays out a page needs them before it is there.
"""

from typing import Literal

BetaScheduleName = Literal["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"]
Conditioning = Literal["matched", "naive"]
ReverseVariance = Literal["posterior", "beta"]

CHECKPOINT_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"  # a pattern: names of folders, here and on the Hub
COSINE = "squaredcos_cap_v2"
ONE_BY_ONE = "trained"  # what stands for betas that were given one by one, where a name is wanted


def has_range(beta_schedule) -> bool:
    """Whether a schedule of this name goes from a first to a last beta. None, as trained, may."""
    return beta_schedule not in (COSINE, ONE_BY_ONE)
