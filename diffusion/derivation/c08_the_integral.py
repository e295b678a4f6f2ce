"""Chapter 8, the integral of one term in closed form: Ho et al. 2020, eqs. (8)-(12).

The KL of two Gaussians, in closed form and by quadrature; L_{t-1} written with means, pictures or noises; and the
weight of each t. Code index i is the paper's t = i + 1, and the step i -> i - 1 holds the paper's L_i. Nats, float64.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from diffusion.denoisers import Denoiser
from diffusion.gaussian import Prediction, eps_from_x_0, q_posterior, q_sample, signal_and_noise, step_coefficients
from diffusion.likelihood import gaussian_nats, kl_gaussians
from diffusion.sampling import ReverseVariance, reverse_mean_and_std
from diffusion.schedule import NoiseSchedule

STDS = 12.0  # beyond 12 standard deviations a Gaussian holds 4e-33
POINTS = 4001


@dataclass(frozen=True, eq=False)
class GaussianKl:
    """KL(q || p) of q = N(mean_1, var_1) and p = N(mean_2, var_2) in one dimension, as a whole and in two parts.

    mean_nats = (mean_1 - mean_2)^2 / (2 var_2): the part that depends on the means, and the whole KL for equal
    variances. var_nats = (r - ln r - 1) / 2 >= 0, r = var_1 / var_2. quadrature_nats: the integral by the trapezoid
    rule over x. x, q, p, integrand: (points,) each; integrand = q log(q / p), which is negative in places.
    """

    mean_nats: float
    var_nats: float
    quadrature_nats: float
    x: Tensor
    q: Tensor
    p: Tensor
    integrand: Tensor

    @property
    def closed_nats(self) -> float:
        """The KL in closed form."""
        return self.mean_nats + self.var_nats


def gaussian_kl(mean_1: float, var_1: float, mean_2: float, var_2: float, points: int = POINTS) -> GaussianKl:
    """Compute the KL by formula and by quadrature over mean_1 +- 12 standard deviations of q.

    Raises ValueError for a variance that is not positive.
    """
    for name, var in (("var_1", var_1), ("var_2", var_2)):
        if not var > 0:
            raise ValueError(f"{name}: must be positive, got {var}")
    x = mean_1 + var_1**0.5 * torch.linspace(-STDS, STDS, points, dtype=torch.float64)
    q_nats, p_nats = gaussian_nats(x, mean_1, var_1), gaussian_nats(x, mean_2, var_2)
    q = torch.exp(-q_nats)
    integrand = q * (p_nats - q_nats)
    var_nats = kl_gaussians(0.0, var_1, 0.0, var_2).item()
    return GaussianKl(
        mean_nats=(mean_1 - mean_2) ** 2 / (2 * var_2),
        var_nats=var_nats,
        quadrature_nats=torch.trapezoid(integrand, x).item(),
        x=x,
        q=q,
        p=torch.exp(-p_nats),
        integrand=integrand,
    )


@dataclass(frozen=True, eq=False)
class ThreeForms:
    """The part of L_{t-1} that depends on the network, from one of its answers, in three forms: (B,) nats per picture.

    by_means: ||mu~ - mu_theta||^2 / (2 sigma^2), eq. (8). by_pictures: c_0^2 ||x_0 - x_0_hat||^2 / (2 sigma^2).
    by_noises: weight ||eps - eps_hat||^2, eq. (12). constant: the rest of the KL, D (r - ln r - 1) / 2, which is 0 for
    sigma^2 = beta tilde.
    """

    t: int
    clip: bool
    by_means: Tensor
    by_pictures: Tensor
    by_noises: Tensor
    constant: float

    @property
    def difference(self) -> float:
        """The largest difference between two forms for one picture, relative to by_pictures."""
        forms = torch.stack([self.by_means, self.by_pictures, self.by_noises])
        spread = forms.max(0).values - forms.min(0).values
        return (spread / self.by_pictures.clamp(min=torch.finfo(torch.float64).tiny)).max().item()

    @property
    def noises_over_pictures(self) -> Tensor:
        """by_noises / by_pictures, (B,): 1 without clipping; with it, the factor by which the eps form is too large."""
        return self.by_noises / self.by_pictures


def three_forms(
    denoiser: Denoiser,
    x_0: Tensor,
    eps: Tensor,
    t: int,
    clip: bool = False,
    variance: ReverseVariance = "posterior",
) -> ThreeForms:
    """Compute the three forms from one answer of the denoiser at x_t = q_sample(x_0, t, eps).

    x_0, eps: (B, C, H, W); t: in [1, T), because the step to the picture is not a KL. clip: clamps x_0_hat to [-1, 1]
    but leaves eps_hat as the network gave it, a common mistake: by_noises then differs. (Prediction.clipped derives
    eps_hat again and keeps the three equal.) Raises ValueError for another t.
    """
    schedule = denoiser.schedule
    if not 1 <= t < len(schedule):
        raise ValueError(f"t: must lie in [1, {len(schedule)}), got {t}")
    x_0, eps, at = x_0.double(), eps.double(), torch.tensor(t)
    x_t = q_sample(x_0, at, eps, schedule)
    answer = denoiser.predict(x_t, t)
    c = step_coefficients(t, t - 1, schedule)
    picture = answer.x_0_hat.clamp(-1, 1) if clip else answer.x_0_hat
    model = Prediction(picture, eps_from_x_0(x_t, picture, *c.level_t))
    mean, _ = reverse_mean_and_std(model, c, eta=1.0)
    target, _ = q_posterior(x_0, x_t, at, schedule)
    var = c.beta if variance == "beta" else c.posterior_var
    weight = eps_weights(schedule, variance)[t]
    return ThreeForms(
        t=t,
        clip=clip,
        by_means=_square(target - mean) / (2 * var),
        by_pictures=c.c_0**2 * _square(x_0 - picture) / (2 * var),
        by_noises=weight * _square(eps - answer.eps_hat),
        constant=x_0[0].numel() * kl_gaussians(0.0, c.posterior_var, 0.0, var).item(),
    )


def _square(x: Tensor) -> Tensor:
    """Return the squared norm of each picture: (B,)."""
    return x.flatten(1).square().sum(1)


def eps_weights(schedule: NoiseSchedule, variance: ReverseVariance = "posterior") -> Tensor:
    """Factor of ||eps - eps_hat||^2 in L_{t-1}: beta^2 / (2 sigma^2 alpha (1 - alpha-bar_t)), eq. (12); (T,) nats.

    sigma^2 = beta tilde ("posterior"): (SNR_s / SNR_t - 1) / 2, infinite at t = 0. "beta": beta / (2 alpha (1 -
    alpha-bar_t)).
    """
    t = torch.arange(len(schedule))
    var_of = t - 1 if variance == "posterior" else t
    return schedule.betas / (2 * (1 - schedule.betas) * signal_and_noise(var_of, schedule).noise ** 2)


@dataclass(frozen=True, eq=False)
class Weights:
    """Weights of three objectives over t as shares that sum to 1: (T,) each.

    posterior, beta: of the bound's terms; 0 at t = 0, where the bound has its decoder instead. simple: L_simple's
    weight of 1 (eq. 14), which includes t = 0 and no longer gives a bound.
    """

    posterior: Tensor
    beta: Tensor
    simple: Tensor


def weight_shares(schedule: NoiseSchedule) -> Weights:
    """Normalise the weights on ||eps - eps_hat||^2 over t, for each objective."""

    def of_bound(variance: ReverseVariance) -> Tensor:
        weights = eps_weights(schedule, variance)
        weights[0] = 0
        return weights / weights.sum()

    simple = torch.full((len(schedule),), 1 / len(schedule), dtype=torch.float64)
    return Weights(of_bound("posterior"), of_bound("beta"), simple)
