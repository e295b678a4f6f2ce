"""Chapter 2, the goal: the two directions of KL on a line, and a model whose likelihood, bound and gap are all exact.

Everything is in nats. Code index t is the paper's t + 1, s = -1 is x_0; a chain's steps (t, s) go from noisy to clean,
so the last one is the decoder.
"""

import math
from dataclasses import dataclass
from typing import Literal, Self, get_args

import torch
from torch import Tensor

from diffusion.bound import BoundVariance, default_decoder_var, kl_nats_per_dim, prior_nats
from diffusion.bound_plan import BoundPlan
from diffusion.gaussian import step_coefficients
from diffusion.likelihood import gaussian_nats, kl_gaussians
from diffusion.schedule import NoiseSchedule

GRID_STEP = 0.005
GRID_HALF_WIDTH = 15.0  # 6001 points
TAIL_STDS = 10  # reach of the grid around a wide density: KL(p || q) of a wide p comes from its tails
MIN_STD = 4 * GRID_STEP  # narrower densities would fall between the points

COMPASS = torch.cartesian_prod(*[torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)] * 2)
SMALLEST_REACH = 1e-8  # nearer neighbours of a minimum differ from it by less than rounding

Direction = Literal["forward", "reverse"]


@dataclass(frozen=True)
class Mixture:
    """The density sum_k weights_k N(means_k, stds_k^2) on the line; weights are scaled to sum 1, equal by default.

    stds: each at least MIN_STD. Raises ValueError naming the field.
    """

    means: tuple[float, ...]
    stds: tuple[float, ...]
    weights: tuple[float, ...] | None = None

    def __post_init__(self):
        weights = (1.0,) * len(self.means) if self.weights is None else self.weights
        if not len(self.means) == len(self.stds) == len(weights) > 0:
            raise ValueError(
                f"means, stds, weights: need one of each, got {len(self.means)}, {len(self.stds)}, {len(weights)}"
            )
        if not all(map(math.isfinite, self.means)):
            raise ValueError(f"means: must be finite, got {self.means}")
        if not all(MIN_STD <= std < math.inf for std in self.stds):
            raise ValueError(f"stds: must be finite and at least {MIN_STD}, got {self.stds}")
        if not all(0 < weight < math.inf for weight in weights):
            raise ValueError(f"weights: must be finite and positive, got {weights}")
        object.__setattr__(self, "weights", tuple(weight / sum(weights) for weight in weights))

    @classmethod
    def gaussian(cls, mean: float, std: float) -> Self:
        """Return the mixture with one component."""
        return cls((mean,), (std,))

    def log_density(self, x: Tensor) -> Tensor:
        """Log of the density at x: x's shape, float64; finite where x is."""
        means, stds, weights = (torch.tensor(v, dtype=torch.float64) for v in (self.means, self.stds, self.weights))
        return torch.logsumexp(weights.log() - gaussian_nats(x.unsqueeze(-1), means, stds**2), dim=-1)


TWO_HILLS = Mixture((-2.0, 2.0), (0.6, 0.6))  # the chapter's first example


@dataclass(frozen=True, eq=False)
class Divergence:
    """Two densities q and p on a grid, and both KLs between them.

    x, q, p: (N,) float64. forward_nats: KL(q || p), the direction data || model of maximum likelihood. reverse_nats:
    KL(p || q). forward_integrand: (N,), q log(q / p), negative where p > q; its integral forward_nats never is.
    entropy_nats: of q. cross_entropy_nats: -E_q log p = forward_nats + entropy_nats.
    """

    x: Tensor
    q: Tensor
    p: Tensor
    forward_integrand: Tensor
    forward_nats: float
    reverse_nats: float
    entropy_nats: float
    cross_entropy_nats: float


def divergence(q: Mixture, p: Mixture) -> Divergence:
    """Integrate both KLs by trapezoids on [-15, 15] with 6001 points, or wider if a density reaches farther."""
    x = _grid(q, p)
    log_q, log_p = q.log_density(x), p.log_density(x)
    density_q, density_p = log_q.exp(), log_p.exp()
    forward, reverse = density_q * (log_q - log_p), density_p * (log_p - log_q)  # 0 log 0 is 0: the logs are finite
    return Divergence(
        x=x,
        q=density_q,
        p=density_p,
        forward_integrand=forward,
        forward_nats=_integral(forward).item(),
        reverse_nats=_integral(reverse).item(),
        entropy_nats=-_integral(density_q * log_q).item(),
        cross_entropy_nats=-_integral(density_q * log_p).item(),
    )


def closest_gaussian(q: Mixture, direction: Direction) -> Mixture:
    """Find the Gaussian p of least KL(q || p) ("forward") or KL(p || q) ("reverse") by descent on the integral.

    The forward optimum has q's mean and variance: it covers q. The reverse optimum sits on one hill; of equally good
    ones, the rightmost is returned. Raises ValueError for another direction.
    """
    if direction not in get_args(Direction):
        raise ValueError(f"direction: {direction!r} is unknown; known are {', '.join(get_args(Direction))}")
    x = _grid(q)
    log_q = q.log_density(x)
    found = [_descend(x, log_q, direction, *start) for start in zip(q.means, q.stds, strict=True)]
    _, mean, std = min(found, key=lambda one: (round(one[0], 9), -one[1]))
    return Mixture.gaussian(mean, std)


def _descend(x: Tensor, log_q: Tensor, direction: Direction, mean: float, std: float) -> tuple[float, float, float]:
    """Return (nats, mean, std) of the nearest minimum: step to the best of eight neighbours, or halve the reach."""

    def nats(points: Tensor) -> Tensor:
        log_p = -gaussian_nats(x, points[:, :1], torch.exp(2 * points[:, 1:]))
        return _integral(log_q.exp() * (log_q - log_p) if direction == "forward" else log_p.exp() * (log_p - log_q))

    point = torch.tensor([[mean, math.log(std)]], dtype=torch.float64)  # (1, 2)
    least = nats(point).item()
    reach = 0.5
    while reach > SMALLEST_REACH:
        around = point + reach * COMPASS
        around[:, 1].clamp_(min=math.log(MIN_STD))
        values = nats(around)
        best = values.argmin().item()
        if values[best] < least:
            point, least = around[best : best + 1], values[best].item()
        else:
            reach /= 2
    return least, point[0, 0].item(), point[0, 1].exp().item()


def _grid(*densities: Mixture) -> Tensor:
    reach = [abs(mean) + TAIL_STDS * std for d in densities for mean, std in zip(d.means, d.stds, strict=True)]
    points = math.ceil(max(GRID_HALF_WIDTH, *reach) / GRID_STEP)
    return GRID_STEP * torch.arange(-points, points + 1, dtype=torch.float64)


def _integral(y: Tensor) -> Tensor:
    return torch.trapezoid(y, dx=GRID_STEP)


@dataclass(frozen=True, eq=False)
class GaussianToy:
    """x_0 ~ N(0, std^2) in one dimension, the exact denoiser and a density as decoder: all in closed form, in nats.

    t, s: (S,) int64, the chain's steps. x_0_mse: (S,), the denoiser's error Var[x_0 | x_t]. reverse_var: (S,), the
    variance of p(x_s | x_t). model_var: (S + 1,), the variances of the model's own marginals p(x_t) = N(0, .), from 1
    at x_T to that of p(x_0). entropy_nats: H(q), the least possible -log likelihood. nll_nats: the model's -log
    likelihood E_q[-log p(x_0)].

    The bound is prior_nats (L_T) + the sum of steps_nats (S - 1,) + decoder_nats. path_nats: (S + 1,), KL(q(x_T) ||
    p(x_T)), then E KL(q(x_s | x_t) || p(x_s | x_t)); by the chain rule they sum to the KL of whole paths, KL(q(x_{0:T})
    || p(x_{0:T})) = model_kl_nats + gap_nats. posterior_nats: (S,), E KL(q(x_t | x_s) || p(x_t | x_s)); they sum to
    E KL(q(x_{1:T} | x_0) || p(x_{1:T} | x_0)), the gap.
    """

    variance: BoundVariance
    t: Tensor
    s: Tensor
    x_0_mse: Tensor
    reverse_var: Tensor
    model_var: Tensor
    entropy_nats: float
    nll_nats: float
    prior_nats: float
    steps_nats: Tensor
    decoder_nats: float
    path_nats: Tensor
    posterior_nats: Tensor

    @property
    def bound_nats(self) -> float:
        """The bound L_T + all L_{t-1} + L_0, at least nll_nats."""
        return self.prior_nats + self.steps_nats.sum().item() + self.decoder_nats

    @property
    def gap_nats(self) -> float:
        """Bound minus exact -log likelihood: the loss by Jensen's inequality."""
        return self.bound_nats - self.nll_nats

    @property
    def model_kl_nats(self) -> float:
        """KL(q(x_0) || p(x_0)): the loss by the model itself."""
        return self.nll_nats - self.entropy_nats


def gaussian_toy(std: float, timesteps: list[int], variance: BoundVariance, schedule: NoiseSchedule) -> GaussianToy:
    """Compute the toy for one choice of reverse variance, on the chain over `timesteps` (see visited_timesteps).

    variance: as in bound.reverse_variances. For the last step, "posterior" takes the posterior variance of the step
    before it (its own is 0), and "beta" its own beta. std > 0. Raises ValueError naming the argument.
    """
    if not 0 < std < math.inf:
        raise ValueError(f"std: must be finite and above 0, got {std}")
    if variance not in get_args(BoundVariance):
        raise ValueError(f"variance: {variance!r} is unknown; known are {', '.join(get_args(BoundVariance))}")
    plan = BoundPlan.all_steps(schedule, timesteps)
    t, s = torch.tensor(plan.chain).unbind(1)
    c = step_coefficients(t, s, schedule)
    var_t, var_s = (
        (signal * std) ** 2 + noise**2 for signal, noise in ((c.signal_t, c.noise_t), (c.signal_s, c.noise_s))
    )
    mse = (std * c.noise_t) ** 2 / var_t
    slope = c.c_0 * c.signal_t * std**2 / var_t + c.c_t  # the mean of p(x_s | x_t), and of q(x_s | x_t), over x_t
    exact_var = c.posterior_var + c.c_0**2 * mse  # Var[x_s | x_t]
    reverse_var = {"analytic": exact_var, "beta": c.beta, "posterior": c.posterior_var}[variance].clone()
    if variance == "posterior":
        reverse_var[-1] = default_decoder_var(plan)

    model_var = [1.0]
    for a, v in zip(slope.tolist(), reverse_var.tolist(), strict=True):
        model_var.append(a**2 * model_var[-1] + v)
    model_var = torch.tensor(model_var, dtype=torch.float64)
    # p(x_t | x_s) by Bayes' rule: its mean is slope_up x_s
    slope_up, posterior_var = slope * model_var[:-1] / model_var[1:], reverse_var * model_var[:-1] / model_var[1:]
    forward_slope = c.signal_t / c.signal_s
    root_mean_square = torch.full((1, 1, 1, 1), std, dtype=torch.float64)
    return GaussianToy(
        variance=variance,
        t=t,
        s=s,
        x_0_mse=mse,
        reverse_var=reverse_var,
        model_var=model_var,
        entropy_nats=gaussian_nats(std, 0.0, std**2).item(),
        nll_nats=gaussian_nats(std, 0.0, model_var[-1]).item(),
        prior_nats=prior_nats(root_mean_square, timesteps[0], schedule).item(),
        steps_nats=kl_nats_per_dim((c.delta * mse)[:-1], (c.posterior_var / reverse_var)[:-1]),
        decoder_nats=gaussian_nats(mse[-1].sqrt(), 0.0, reverse_var[-1]).item(),
        path_nats=torch.cat([kl_gaussians(0.0, var_t[:1], 0.0, 1.0), kl_gaussians(0.0, exact_var, 0.0, reverse_var)]),
        posterior_nats=kl_gaussians(0.0, c.beta, (forward_slope - slope_up) * var_s.sqrt(), posterior_var),
    )
