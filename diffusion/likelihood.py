"""KL divergence, log density and the discretised likelihood of 8-bit pictures, all for Gaussians. In nats, float64."""

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from diffusion.pixels import HALF_BIN

NormalCdf = Literal["erf", "tanh"]
EDGE = 0.999  # Ho et al.'s code: values beyond +-0.999 are grey level 0 or 255


def kl_gaussians(mean_1: Tensor, var_1: Tensor, mean_2: Tensor, var_2: Tensor) -> Tensor:
    """KL(N(mean_1, var_1) || N(mean_2, var_2)) for each element, in nats. Shapes broadcast; variances > 0."""
    mean_1, var_1, mean_2, var_2 = (torch.as_tensor(x, dtype=torch.float64) for x in (mean_1, var_1, mean_2, var_2))
    ratio = var_1 / var_2
    return 0.5 * (ratio - 1 - torch.log(ratio) + (mean_1 - mean_2).square() / var_2)


def gaussian_nats(x: Tensor, mean: Tensor, var: Tensor) -> Tensor:
    """-log N(x; mean, var) for each element, in nats: of a density, so negative where var is small.

    Shapes broadcast; var > 0.
    """
    x, mean, var = (torch.as_tensor(value, dtype=torch.float64) for value in (x, mean, var))
    return 0.5 * (torch.log(2 * math.pi * var) + (x - mean).square() / var)


def discretized_nats(x_0: Tensor, mean: Tensor, var: Tensor, cdf: NormalCdf = "erf") -> Tensor:
    """-log P(x_0) for each element, in nats, where P(x_0) is the mass of N(mean, var) on the bin of x_0's grey level.

    Ho et al. 2020, eq. (13). x_0: values k / 127.5 - 1; the bins of 0 and 255 extend to infinity. Shapes broadcast.
    "erf" is the normal distribution function, exact in the tails; "tanh" is the approximation of Ho et al.'s code (off
    by up to 1.8e-4), with its floor of 1e-12, for comparison with published numbers. Always >= 0. Raises ValueError for
    another cdf.
    """
    x_0, mean, var = (torch.as_tensor(value, dtype=torch.float64) for value in (x_0, mean, var))
    std = var.sqrt()
    upper, lower = (x_0 - mean + HALF_BIN) / std, (x_0 - mean - HALF_BIN) / std
    if cdf == "erf":
        upper = torch.where(x_0 > EDGE, torch.inf, upper)
        lower = torch.where(x_0 < -EDGE, -torch.inf, lower)
        return -_log_mass(lower, upper)
    if cdf != "tanh":
        raise ValueError(f"cdf: {cdf!r} is unknown; known are {', '.join(get_args(NormalCdf))}")
    below_upper, below_lower = _tanh_cdf(upper), _tanh_cdf(lower)
    mass = torch.where(x_0 < -EDGE, below_upper, torch.where(x_0 > EDGE, 1 - below_lower, below_upper - below_lower))
    return -torch.log(mass.clamp(min=1e-12))


def _log_mass(lower: Tensor, upper: Tensor) -> Tensor:
    """log(Phi(upper) - Phi(lower)), lower < upper; mirrored into the left tail, where log Phi is precise."""
    mirrored = lower + upper > 0
    lower, upper = torch.where(mirrored, -upper, lower), torch.where(mirrored, -lower, upper)
    log_upper = torch.special.log_ndtr(upper)
    return log_upper + torch.log(-torch.expm1(torch.special.log_ndtr(lower) - log_upper))


def _tanh_cdf(x: Tensor) -> Tensor:
    return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
