"""The parts that samplers share: Step, its noise, and the mean of the family between DDIM and DDPM.

The samplers themselves are in diffusion/samplers/.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from diffusion.gaussian import Prediction, StepCoefficients
from diffusion.schedule import per_image
from diffusion.words import ReverseVariance


@dataclass(frozen=True)
class Step:
    """One reverse step t -> s: its start x_t, the denoiser's prediction there, its end x_s; all (B, C, H, W)."""

    t: int
    s: int
    x_t: Tensor
    x_0_hat: Tensor
    eps_hat: Tensor
    x_s: Tensor


def reverse_mean_and_std(
    prediction: Prediction, c: StepCoefficients, eta: float = 0.0, variance: ReverseVariance = "posterior"
) -> tuple[Tensor, Tensor]:
    """Mean (B, C, H, W) and standard deviation () of p(x_s | x_t): DDIM's eq. (12); see samplers/ancestral.py.

    At eta = 1 the mean is c_0 x_0_hat + c_t x_t. The step to the picture (s = -1) has no noise whatever the variance:
    Ho et al. 2020, Algorithm 2, line 3.
    """
    family_var = eta**2 * c.posterior_var
    reused = torch.sqrt((c.noise_s**2 - family_var).clamp(min=0))  # rounding can turn an exact 0 negative
    x_0_hat, eps_hat = prediction.x_0_hat, prediction.eps_hat
    mean = per_image(c.signal_s, x_0_hat) * x_0_hat + per_image(reused, eps_hat) * eps_hat
    is_last = c.noise_s == 0
    return mean, torch.sqrt(c.beta if variance == "beta" and not is_last else family_var)


def is_noisy(s: int, eta: float) -> bool:
    """Whether a step to s draws noise."""
    return eta > 0 and s >= 0


def check_family(eta: float, variance: ReverseVariance) -> None:
    """Raise ValueError for an eta outside [0, 1], an unknown variance, or "beta" with another eta than 1."""
    if not 0 <= eta <= 1:
        raise ValueError(f"eta: must lie in [0, 1], got {eta}")
    if variance not in ("posterior", "beta"):
        raise ValueError(f"reverse_variance: {variance!r} is unknown; known are posterior, beta")
    if variance == "beta" and eta != 1:
        raise ValueError(f"reverse_variance: beta belongs to DDPM (eta = 1), got eta = {eta}")


def noise_like(x: Tensor, generators: list[torch.Generator]) -> Tensor:
    """Draw N(0, I) noise of x's shape, image i from its own CPU generator: the same in any batch, on any device."""
    draws = [torch.randn(x.shape[1:], generator=generator, dtype=x.dtype) for generator in generators]
    return torch.stack(draws).to(x.device)


def image_generators(seed: int, count: int) -> list[torch.Generator]:
    """Return `count` CPU generators; generator i is seeded seed + i.

    torch's CPU generator uses only the low 32 bits of a seed.
    """
    return [torch.Generator().manual_seed(seed + i) for i in range(count)]
