"""The exact reverse step x_t -> x_s, and the Gaussians that a model puts in its place.

The kernel q(x_s | x_t) = q(x_s) q(x_t | x_s) / q(x_t) is a mixture of Gaussians, known exactly, if q(x_s) is one. beta
is the variance of the forward step s -> t, alpha = 1 - beta. t and s are code indices; t is the paper's t + 1.
Everything is float64 and in nats.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from diffusion.derivation.line_mixture import REACH_STD, LineMixture
from diffusion.gaussian import Level, step_coefficients
from diffusion.likelihood import gaussian_nats
from diffusion.schedule import NoiseSchedule
from diffusion.trajectory import pairs

GaussianKind = Literal["best", "beta_over_alpha", "beta", "posterior", "theorem"]
KINDS: tuple[GaussianKind, ...] = get_args(GaussianKind)
KL_RESOLUTION_NATS = 1e-10  # a KL below it is its quadrature's rounding: show "< 1e-10"
FINE_NODES = 1201  # per component over x_t, where a mean follows a score that turns sharply
CURVATURE_GRID = 4001
LARGEST_BETA = math.nextafter(1.0, 0.0)  # of a step that forgets its start up to rounding
LEAST_HILL = 1e-3  # of the highest maximum: lower ones cannot be seen in a plot


def forward_level(beta: float) -> Level:
    """Return the amplitudes sqrt(1 - beta) and sqrt(beta) of one forward step. Raises ValueError outside (0, 1)."""
    if not 0 < beta < 1:
        raise ValueError(f"beta: must lie in (0, 1), got {beta}")
    return Level(torch.tensor(1 - beta, dtype=torch.float64).sqrt(), torch.tensor(beta, dtype=torch.float64).sqrt())


def reverse_kernel(q_s: LineMixture, x_t: Tensor, beta: float) -> LineMixture:
    """q(x_s | x_t), exact for every beta in (0, 1): a mixture for each x_t (n,), with arrays (n, K).

    Component k is N((m_k beta + sqrt(alpha) v_k x_t) / (alpha v_k + beta), v_k beta / (alpha v_k + beta)); its weight
    is the probability that x_t comes from it. Raises ValueError for another beta.
    """
    signal, noise = forward_level(beta)
    x_t = torch.as_tensor(x_t, dtype=torch.float64)
    q_t = q_s.noised(Level(signal, noise))
    means = (q_s.means * beta + signal * q_s.variances * x_t.unsqueeze(-1)) / q_t.variances
    return LineMixture(
        torch.log_softmax(q_t._log_parts(x_t), dim=-1), means, (q_s.variances * beta / q_t.variances).expand_as(means)
    )


def tweedie(q_t: LineMixture, x_t: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """Mean and variance of q(x_s | x_t) from the score of q(x_t) alone (Tweedie's formula); exact for any law.

    (x_t + beta f') / sqrt(alpha) and (beta / alpha)(1 + beta f''), with f = log q(x_t). x_t: (n,). Returns (n,) each.
    Raises ValueError for beta outside (0, 1).
    """
    signal, _ = forward_level(beta)
    x_t = torch.as_tensor(x_t, dtype=torch.float64)
    score, curvature = q_t.score_and_curvature(x_t)
    return (x_t + beta * score) / signal, beta / (1 - beta) * (1 + beta * curvature)


def curvature_range(q_s: LineMixture) -> tuple[float, float]:
    """Smallest and largest second derivative of log q(x_s), on a grid that extends 9 stds beyond the outer means."""
    reach = REACH_STD * q_s.variances.max().sqrt()
    grid = torch.linspace(
        (q_s.means.min() - reach).item(), (q_s.means.max() + reach).item(), CURVATURE_GRID, dtype=torch.float64
    )
    _, curvature = q_s.score_and_curvature(torch.cat([grid, q_s.means, q_s.mean.reshape(1)]))
    return curvature.min().item(), curvature.max().item()


def split_beta(q_s: LineMixture) -> float:
    """The beta above which the kernel of some x_t has two hills: 1 / (1 + max f''), f = log q(x_s); 1 if none does.

    The kernel's log density is f minus a parabola of curvature alpha / beta; it is concave while that is above max f''.
    For a symmetric law the two hills split at x_t = 0.
    """
    return 1 / (1 + max(curvature_range(q_s)[1], 0.0))


def theorem_nats(beta: Tensor | float, largest_curvature: float, dims: int = 1) -> Tensor | float:
    """Upper bound D/2 b^2 M^2 of E KL(q(x_s | x_t) || N(y + b f'(y), b I)); b = beta / alpha, y = x_t / sqrt(alpha).

    f = log q(x_s) and M = max |f''|. It follows from the log-Sobolev inequality of a Gaussian.
    """
    return dims / 2 * (beta / (1 - beta) * largest_curvature) ** 2


def gaussians(
    q_s: LineMixture, x_t: Tensor, beta: float, noise_var: float | None = None
) -> dict[GaussianKind, tuple[Tensor, Tensor]]:
    """Mean and variance, (n,) each, of the Gaussians that can replace q(x_s | x_t), for x_t (n,).

    "best": the kernel's own mean and variance, the argmin of KL(exact || Gaussian). With that mean and a fixed
    variance: "beta_over_alpha", "beta", and "posterior", which is beta tilde = beta noise_var / (alpha noise_var +
    beta). "theorem": N(y + b f'(y), b), see theorem_nats. noise_var: 1 - alpha-bar_s; by default the smallest variance
    in the mixture, as if its components were atoms with noise. Raises ValueError naming the argument.
    """
    signal, _ = forward_level(beta)
    x_t = torch.as_tensor(x_t, dtype=torch.float64)
    kernel = reverse_kernel(q_s, x_t, beta)
    mean = kernel.mean
    noise_var = q_s.variances.min().item() if noise_var is None else noise_var
    if not noise_var > 0:
        raise ValueError(f"noise_var: must be above 0, got {noise_var}")
    b = beta / (1 - beta)
    y = x_t / signal
    fixed = {"beta_over_alpha": b, "beta": beta, "posterior": beta * noise_var / ((1 - beta) * noise_var + beta)}
    return {
        "best": (mean, kernel.var),
        **{kind: (mean, torch.full_like(mean, var)) for kind, var in fixed.items()},
        "theorem": (y + b * q_s.score_and_curvature(y)[0], torch.full_like(mean, b)),
    }


def kernel_kl_nats(
    q_s: LineMixture, x_t: Tensor, beta: float, noise_var: float | None = None
) -> dict[GaussianKind, Tensor]:
    """KL(q(x_s | x_t) || Gaussian) for each kind at each x_t (n,): (n,) nats.

    The cross entropy with a Gaussian is in closed form; the kernel's entropy is a quadrature.
    """
    entropy = reverse_kernel(q_s, x_t, beta).entropy_nats()
    return {kind: cross - entropy for kind, cross in _cross_entropies_nats(q_s, x_t, beta, noise_var).items()}


def _cross_entropies_nats(
    q_s: LineMixture, x_t: Tensor, beta: float, noise_var: float | None
) -> dict[GaussianKind, Tensor]:
    kernel = reverse_kernel(q_s, x_t, beta)
    mean, var = kernel.mean, kernel.var
    return {
        kind: gaussian_nats(mean, own_mean, own_var) + 0.5 * var / own_var
        for kind, (own_mean, own_var) in gaussians(q_s, x_t, beta, noise_var).items()
    }


def expected_kl_nats(q_s: LineMixture, beta: float, noise_var: float | None = None) -> dict[GaussianKind, float]:
    """E KL over x_t ~ q(x_t) for each kind, in nats: the step's cost in the bound beyond what no model can save."""
    q_t = q_s.noised(forward_level(beta))
    entropy = q_t.expectation(lambda x_t: reverse_kernel(q_s, x_t, beta).entropy_nats())
    x_t, mass = q_t.nodes(FINE_NODES)
    crosses = _cross_entropies_nats(q_s, x_t, beta, noise_var)
    return {kind: (mass @ cross - entropy).item() for kind, cross in crosses.items()}


@dataclass(frozen=True, eq=False)
class KernelView:
    """One kernel, ready to plot: densities (n,) over x (n,); mean, variance and KL (nats) of each Gaussian."""

    beta: float
    x_t: float
    x: Tensor
    exact: Tensor
    densities: dict[GaussianKind, Tensor]
    means: dict[GaussianKind, float]
    variances: dict[GaussianKind, float]
    kl_nats: dict[GaussianKind, float]
    hills: int


def view_kernel(
    q_s: LineMixture, x_t: float, beta: float, noise_var: float | None = None, points: int = 801
) -> KernelView:
    """Evaluate the exact kernel at one x_t, and the Gaussians in its place, within 5 standard deviations of its mean.

    points: of the grid. Raises ValueError for fewer than 3.
    """
    if points < 3:
        raise ValueError(f"points: must be at least 3, got {points}")
    at = torch.tensor([x_t], dtype=torch.float64)
    kernel = reverse_kernel(q_s, at, beta)
    mean, std = kernel.mean.item(), kernel.var.sqrt().item()
    x = torch.linspace(mean - 5 * std, mean + 5 * std, points, dtype=torch.float64)
    exact = kernel.log_density(x.unsqueeze(0))[0].exp()
    stand_ins = gaussians(q_s, at, beta, noise_var)
    return KernelView(
        beta=beta,
        x_t=x_t,
        x=x,
        exact=exact,
        densities={kind: torch.exp(-gaussian_nats(x, m, v)) for kind, (m, v) in stand_ins.items()},
        means={kind: m.item() for kind, (m, _) in stand_ins.items()},
        variances={kind: v.item() for kind, (_, v) in stand_ins.items()},
        kl_nats={kind: kl.item() for kind, kl in kernel_kl_nats(q_s, at, beta, noise_var).items()},
        hills=count_hills(exact),
    )


def count_hills(density: Tensor) -> int:
    """Count the inner maxima of a row of values (n,) that exceed a thousandth of the highest value."""
    rises, inner = density[1:] > density[:-1], density[1:-1]
    return int((rises[:-1] & ~rises[1:] & (inner > LEAST_HILL * density.max())).sum())


@dataclass(frozen=True, eq=False)
class KlCurve:
    """KL(exact || Gaussian) of each kind against beta: (n,) nats; theorem_bound_nats bounds the average "theorem"."""

    beta: Tensor
    nats: dict[GaussianKind, Tensor]
    theorem_bound_nats: Tensor

    def slope(self, kind: GaussianKind) -> Tensor:
        """d log KL / d log beta between neighbours: (n - 1,). 3 for the best Gaussian, 2 for a fixed variance."""
        return torch.diff(self.nats[kind].log()) / torch.diff(self.beta.log())


def kl_against_beta(
    q_s: LineMixture, betas: Tensor, x_t: float | None = None, noise_var: float | None = None
) -> KlCurve:
    """Compute the curve over betas (n,), each in (0, 1): at one x_t, or averaged over q(x_t) if x_t is None."""
    betas = torch.as_tensor(betas, dtype=torch.float64)
    rows = []
    for beta in betas.tolist():
        if x_t is None:
            rows.append(expected_kl_nats(q_s, beta, noise_var))
        else:
            at = kernel_kl_nats(q_s, torch.tensor([x_t], dtype=torch.float64), beta, noise_var)
            rows.append({kind: kl.item() for kind, kl in at.items()})
    largest = max(abs(curvature) for curvature in curvature_range(q_s))
    nats = {kind: torch.tensor([row[kind] for row in rows], dtype=torch.float64) for kind in KINDS}
    return KlCurve(betas, nats, theorem_nats(betas, largest))


@dataclass(frozen=True, eq=False)
class ChainKl:
    """E KL(exact || Gaussian) of every step t -> s of a chain: (S,) nats, from noisy to clean.

    Their sum is what Gaussian steps add to KL(q(x_{0:T}) || p(x_{0:T})) if the means are exact.
    """

    t: Tensor
    s: Tensor
    nats: dict[GaussianKind, Tensor]

    @property
    def totals_nats(self) -> dict[GaussianKind, float]:
        """Sum over the steps, by kind of Gaussian."""
        return {kind: values.sum().item() for kind, values in self.nats.items()}


def chain_kl(q_0: LineMixture, schedule: NoiseSchedule, timesteps: list[int]) -> ChainKl:
    """Compute the KLs along a whole chain on data with density q_0, including the step to the data (s = -1).

    timesteps: falling, as from visited_timesteps. "posterior" uses the schedule's noise in its beta tilde, which is 0
    at s = -1: its KL there is infinite.
    """
    rows, steps = [], pairs(timesteps)
    for t, s in steps:
        c = step_coefficients(t, s, schedule)
        q_s = q_0.noised(Level(c.signal_s, c.noise_s))
        beta = min(c.beta.item(), LARGEST_BETA)
        row = expected_kl_nats(q_s, beta, (c.noise_s**2).item() if s >= 0 else None)
        rows.append(row if s >= 0 else row | {"posterior": math.inf})
    t, s = torch.tensor(steps).T
    return ChainKl(t, s, {kind: torch.tensor([row[kind] for row in rows], dtype=torch.float64) for kind in KINDS})
