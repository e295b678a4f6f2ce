"""Chapter 4, bringing in x_0: Bayes on one pixel, and how the bound's first form differs from its KL form.

Code index t is the paper's t + 1; a step goes from t to s < t, s = -1 is x_0 itself. A step can span any number of
forward steps: beta is the variance of all of them together.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diffusion.bound import bits_per_dim, kl_nats_per_dim
from diffusion.gaussian import eps_from_x_0, q_posterior, step_coefficients
from diffusion.likelihood import gaussian_nats
from diffusion.schedule import NoiseSchedule, per_image

GRID_STEP = 0.003
GRID_HALF_WIDTH = 12.0  # 4001 points on [-6, 6] and as many outside, for a posterior that is wide and off the middle
LARGEST_X_T = 6.0  # no forward process of a pixel goes there
MAX_POINTS = 2_000_001


@dataclass(frozen=True)
class Normal:
    """N(mean, var) on the line; var = 0 is a point."""

    mean: float
    var: float

    def density(self, x: Tensor) -> Tensor:
        """Return the density at x: x's shape, float64; for var = 0 it is infinite at the mean and 0 elsewhere."""
        x = torch.as_tensor(x, dtype=torch.float64)
        if self.var == 0:
            return torch.where(x == self.mean, torch.inf, 0.0).double()
        return torch.exp(-gaussian_nats(x, self.mean, self.var))


@dataclass(frozen=True, eq=False)
class GridBayes:
    """Bayes' rule on a grid, with sums for integrals: x (N,), the normalised density (N,), its mean and variance."""

    x: Tensor
    density: Tensor
    mean: float
    var: float


@dataclass(frozen=True, eq=False)
class Witnesses:
    """Two witnesses of a pixel x_s: what x_t says about it, what x_0 says, and the posterior given both.

    from_x_t: q(x_t | x_s) as a function of x_s, N(x_t / sqrt(alpha), beta / alpha). from_x_0: q(x_s | x_0).
    posterior: q(x_s | x_t, x_0), in closed form. grid: the same by sums; None at s = -1, where x_s is x_0 and the grid
    would have 0 / 0. eps: the whole noise between x_0 and x_t.
    """

    t: int
    s: int
    x_0: float
    x_t: float
    from_x_t: Normal
    from_x_0: Normal
    posterior: Normal
    grid: GridBayes | None
    eps: float

    @property
    def share_of_x_0(self) -> float:
        """Weight of from_x_0 in the posterior mean: its precision over the sum of both, in (0, 1]; x_t has the rest."""
        return 1.0 if self.from_x_0.var == 0 else self.posterior.var / self.from_x_0.var


def witnesses(x_0: float, x_t: float, t: int, s: int, schedule: NoiseSchedule) -> Witnesses:
    """Compute both witnesses and the posterior, by formula and on a grid; see Witnesses.

    x_0 in [-1, 1], x_t in [-6, 6]; -1 <= s < t < T. The grid is centred at 0, independently of the closed form, and as
    fine as the narrower witness needs. Raises ValueError naming the argument.
    """
    if not -1 <= x_0 <= 1:
        raise ValueError(f"x_0: must lie in [-1, 1], got {x_0}")
    if not -LARGEST_X_T <= x_t <= LARGEST_X_T:
        raise ValueError(f"x_t: must lie in [{-LARGEST_X_T:g}, {LARGEST_X_T:g}], got {x_t}")
    c = step_coefficients(t, s, schedule)
    pixel_0, pixel_t = torch.tensor([[x_0], [x_t]], dtype=torch.float64)
    mean, var = q_posterior(pixel_0, pixel_t, torch.tensor(t), schedule, torch.tensor(s))
    root_alpha = (c.signal_t / c.signal_s).item()
    from_x_t = Normal(x_t / root_alpha, c.beta.item() / root_alpha**2)
    from_x_0 = Normal(c.signal_s.item() * x_0, c.noise_s.item() ** 2)
    return Witnesses(
        t=t,
        s=s,
        x_0=x_0,
        x_t=x_t,
        from_x_t=from_x_t,
        from_x_0=from_x_0,
        posterior=Normal(mean.item(), var.item()),
        grid=None if s == -1 else grid_bayes(x_t, root_alpha, c.beta.item(), from_x_0),
        eps=eps_from_x_0(pixel_t, pixel_0, *c.level_t).item(),
    )


def grid_bayes(x_t: float, root_alpha: float, beta: float, prior: Normal) -> GridBayes:
    """Compute the density of x_s proportional to N(x_t; root_alpha x_s, beta) prior(x_s), by trapezoids on [-12, 12].

    Raises ValueError if a witness is so narrow that the grid would need more than MAX_POINTS points.
    """
    # The trapezoid rule errs by exp(-2 pi^2 std^2 / step^2) on a Gaussian. The product's std is at least the narrower
    # witness's over sqrt(2), so half of that is a small enough step.
    narrower_std = min(math.sqrt(prior.var), math.sqrt(beta) / root_alpha)
    points = math.ceil(GRID_HALF_WIDTH / min(GRID_STEP, narrower_std / math.sqrt(8)))
    if 2 * points + 1 > MAX_POINTS:
        raise ValueError(f"t, s: a witness of standard deviation {narrower_std:.1e} is too narrow for a grid")
    x = GRID_HALF_WIDTH / points * torch.arange(-points, points + 1, dtype=torch.float64)
    log = -gaussian_nats(x_t, root_alpha * x, beta) - gaussian_nats(x, prior.mean, prior.var)
    weights = torch.softmax(log, dim=0)
    mean = (weights * x).sum()
    var = (weights * (x - mean) ** 2).sum()
    return GridBayes(x, weights * (points / GRID_HALF_WIDTH), mean.item(), var.item())


def posterior_mean_from_eps(x_t: Tensor, eps: Tensor, t: int, s: int, schedule: NoiseSchedule) -> Tensor:
    """Posterior mean without x_0: (x_t - beta / sqrt(1 - alpha-bar_t) eps) / sqrt(alpha); Ho et al. 2020, eq. (10).

    x_t, eps: of one shape, which is returned; eps: the whole noise of x_t.
    """
    c = step_coefficients(t, s, schedule)
    return (x_t - per_image(c.beta / c.noise_t, x_t) * eps) / per_image(c.signal_t / c.signal_s, x_t)


@dataclass(frozen=True, eq=False)
class FormOffsets:
    """First form minus KL form of the bound, term by term, in bits per dimension.

    First form: Ho et al. 2020, eq. (3), E[-log p(x_T)] + sum of E log q(x_t | x_s) / p(x_s | x_t); its terms are not
    KLs. t, s, steps_bpd: (S - 1,), for the steps between noisy states; each offset is below 0, and their sum
    telescopes. prior_bpd: E[-log p(x_T)] minus L_T. decoder_bpd: the first form's last term minus L_0. All offsets sum
    to 0: both forms are the same bound.
    """

    t: Tensor
    s: Tensor
    steps_bpd: Tensor
    prior_bpd: float
    decoder_bpd: float


def form_offsets(pairs: Sequence[tuple[int, int]], schedule: NoiseSchedule) -> FormOffsets:
    """Compute the offsets for the chain of these pairs (t, s), the last of which ends in s = -1."""
    t, s = torch.tensor(pairs, dtype=torch.int64).unbind(1)
    c = step_coefficients(t, s, schedule)
    entropy = gaussian_nats(c.noise_t, 0.0, c.noise_t**2)  # of q(x_t | x_0), per dimension
    return FormOffsets(
        t=t[:-1],
        s=s[:-1],
        steps_bpd=bits_per_dim(form_offset_nats(t[:-1], s[:-1], schedule), 1),
        prior_bpd=bits_per_dim(entropy[0].item(), 1),
        decoder_bpd=bits_per_dim(-entropy[-1].item(), 1),
    )


def form_offset_nats(t: Tensor | int, s: Tensor | int, schedule: NoiseSchedule) -> Tensor:
    """First-form term minus KL term: -ln((1 - alpha-bar_t) / (1 - alpha-bar_s)) / 2 nats per dimension; s >= 0.

    The first-form term is E log q(x_t | x_s) / p(x_s | x_t). Returns float64 of t's shape.
    """
    c = step_coefficients(t, s, schedule)
    return -0.5 * torch.log1p((c.signal_s / c.noise_s) ** 2 * c.beta)  # 1 - alpha-bar_t = 1 - alpha-bar_s (1 - beta)


def first_form_nats(
    x_0_mse: Tensor | float, t: Tensor | int, s: Tensor | int, schedule: NoiseSchedule, var: Tensor | None = None
) -> Tensor:
    """Term of the first form in nats per dimension, for a denoiser with mean (x_0 - x_0_hat)^2 = x_0_mse; s >= 0.

    var: the reverse variance, by default the posterior's. The KL form's term is this minus form_offset_nats.
    """
    c = step_coefficients(t, s, schedule)
    ratio = torch.ones_like(c.beta) if var is None else c.posterior_var / var
    return kl_nats_per_dim(c.delta * x_0_mse, ratio) + form_offset_nats(t, s, schedule)


def sign_criterion(t: Tensor | int, s: Tensor | int, schedule: NoiseSchedule) -> Tensor:
    """The x_0_mse below which a term of the first form (posterior variance) is negative; 0 <= s < t.

    Slightly below 1 - alpha-bar_t, its value to first order in beta. Returns float64 of t's shape.
    """
    c = step_coefficients(t, s, schedule)
    return -2 * form_offset_nats(t, s, schedule) / c.delta
