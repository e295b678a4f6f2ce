"""The reverse process as a generator of steps: DDPM and DDIM are one family in eta.

Song et al. 2021 (DDIM), eq. (12), with sigma = eta sqrt(posterior variance); eta = 1 is Ho et al. 2020, Algorithm 2,
with the posterior variance. Its other variance, beta, is not in the family (it widens the marginals) and goes with
the mean of eta = 1.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from diffusion.denoisers import Denoiser
from diffusion.gaussian import Prediction, StepCoefficients, step_coefficients
from diffusion.schedule import per_image
from diffusion.words import ReverseVariance


@dataclass(frozen=True)
class Step:
    """One reverse step t -> s: where it started, what the denoiser said there, where it ended; all (B, C, H, W)."""

    t: int
    s: int
    x_t: Tensor
    x_0_hat: Tensor
    eps_hat: Tensor
    x_s: Tensor


def reverse_steps(
    denoiser: Denoiser,
    x_T: Tensor,
    pairs: list[tuple[int, int]],
    eta: float = 0.0,
    clip: bool = True,
    generators: list[torch.Generator] | None = None,
    variance: ReverseVariance = "posterior",
) -> Iterator[Step]:
    """Walk x_T down the pairs (t, s), one Step at a time.

    x_T: (B, C, H, W), the state at the first pair's t. eta in [0, 1]: 0 is DDIM, 1 is DDPM. variance: "beta" only with
    eta = 1. clip: see Prediction.clipped. generators: one an image, so that image i does not depend on its batch;
    needed where eta > 0. Raises ValueError, naming the argument, before the first step.
    """
    check_family(eta, variance)
    if eta > 0 and (generators is None or len(generators) != len(x_T)):
        raise ValueError(f"generators: needs one for each of the {len(x_T)} images where eta > 0")
    t, s = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).unbind(1)
    return _walk(denoiser, x_T, pairs, step_coefficients(t, s, denoiser.schedule), eta, clip, generators, variance)


def _walk(denoiser, x_t, pairs, coefficients, eta, clip, generators, variance) -> Iterator[Step]:
    for k, (t, s) in enumerate(pairs):
        c = coefficients[k]
        prediction = denoiser.predict(x_t, t)
        if clip:
            prediction = prediction.clipped(x_t, c.level_t)
        x_s, std = reverse_mean_and_std(prediction, c, eta, variance)
        if std > 0:
            x_s = x_s + per_image(std, x_s) * noise_like(x_s, generators)
        yield Step(t=t, s=s, x_t=x_t, x_0_hat=prediction.x_0_hat, eps_hat=prediction.eps_hat, x_s=x_s)
        x_t = x_s


def reverse_mean_and_std(
    prediction: Prediction, c: StepCoefficients, eta: float = 0.0, variance: ReverseVariance = "posterior"
) -> tuple[Tensor, Tensor]:
    """Mean (B, C, H, W) and standard deviation () of p(x_s | x_t): DDIM's eq. (12); see the head of this file.

    At eta = 1 the mean is c_0 x_0_hat + c_t x_t. The step to the picture (s = -1) has no noise whatever the variance:
    Ho et al. 2020, Algorithm 2, line 3.
    """
    family_var = eta**2 * c.posterior_var
    reused = torch.sqrt((c.noise_s**2 - family_var).clamp(min=0))  # rounding may take it below 0 where it is 0
    x_0_hat, eps_hat = prediction.x_0_hat, prediction.eps_hat
    mean = per_image(c.signal_s, x_0_hat) * x_0_hat + per_image(reused, eps_hat) * eps_hat
    is_last = c.noise_s == 0
    return mean, torch.sqrt(c.beta if variance == "beta" and not is_last else family_var)


def is_noisy(s: int, eta: float) -> bool:
    """Whether a step to s draws noise."""
    return eta > 0 and s >= 0


def check_family(eta: float, variance: ReverseVariance) -> None:
    """Raises ValueError for an eta outside [0, 1], and for the variance beta with another eta than 1."""
    if not 0 <= eta <= 1:
        raise ValueError(f"eta: must lie in [0, 1], got {eta}")
    if variance not in ("posterior", "beta"):
        raise ValueError(f"reverse_variance: {variance!r} is unknown; known are posterior, beta")
    if variance == "beta" and eta != 1:
        raise ValueError(f"reverse_variance: beta belongs to DDPM (eta = 1), got eta = {eta}")


def noise_like(x: Tensor, generators: list[torch.Generator]) -> Tensor:
    """Standard normal noise of x's shape, image i from its own CPU generator: the same in any batch, on any device."""
    draws = [torch.randn(x.shape[1:], generator=generator, dtype=x.dtype) for generator in generators]
    return torch.stack(draws).to(x.device)


def image_generators(seed: int, count: int) -> list[torch.Generator]:
    """Generator i is seeded seed + i. torch's CPU generator uses the low 32 bits of a seed, and no more."""
    return [torch.Generator().manual_seed(seed + i) for i in range(count)]
