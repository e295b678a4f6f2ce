"""Chapter 6, one term: what is a KL and never negative, what is not, and why terms may be minimised one by one.

Everything is in nats. Code index i holds the paper's L_i: t is the paper's t + 1, and the step t -> s = -1 is L_0.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from diffusion.bound import bits_per_dim, kl_nats_per_dim
from diffusion.gaussian import q_posterior, step_coefficients
from diffusion.likelihood import discretized_nats, gaussian_nats
from diffusion.sampling import ReverseVariance
from diffusion.schedule import NoiseSchedule

CHUNK_NUMBERS = 2_000_000  # random numbers drawn at once

TermKind = Literal["prior", "kl", "decoder"]


@dataclass(frozen=True, eq=False)
class LogRatio:
    """log q/p at draws of x_s ~ q(x_s | x_t, x_0), the term L being its mean: values (count,) in nats.

    kl_nats: that mean in closed form, kappa. std_nats: the standard deviation of log q/p, in closed form. For equal
    variances log q/p is exactly N(kappa, 2 kappa), and share_below_zero_exact is Phi(-sqrt(kappa / 2)), 0 where q = p;
    else None.
    """

    t: int
    s: int
    values: Tensor
    kl_nats: float
    std_nats: float
    share_below_zero_exact: float | None

    @property
    def mean_nats(self) -> float:
        """Of the draws."""
        return self.values.mean().item()

    @property
    def standard_error_nats(self) -> float:
        """Of mean_nats, from the closed form."""
        return self.std_nats / math.sqrt(len(self.values))

    @property
    def share_below_zero(self) -> float:
        """Of the draws: single ratios are often negative, their mean never is."""
        return (self.values < 0).double().mean().item()


def log_ratio(
    x_0: Tensor,
    x_0_hat: Tensor,
    x_t: Tensor,
    t: int,
    s: int,
    schedule: NoiseSchedule,
    generator: torch.Generator,
    scale: float = 1.0,
    variance: ReverseVariance = "posterior",
    count: int = 2000,
) -> LogRatio:
    """Draw x_s from the posterior and compare its log density with that of p(x_s | x_t), a Gaussian around x_0_hat.

    x_0, x_0_hat, x_t: (C, H, W). scale >= 0: the network's error is multiplied by it, x_0 + scale (x_0_hat - x_0); at 0
    with the posterior's variance q and p are equal. s >= 0, as the posterior of the last step is a point. Raises
    ValueError naming the argument.
    """
    if s < 0:
        raise ValueError(f"s: must be at least 0, got {s}: the step to the picture is no KL")
    if not 0 <= scale < math.inf:
        raise ValueError(f"scale: must be finite and not negative, got {scale}")
    if count < 2:
        raise ValueError(f"count: must be at least 2, got {count}")
    x_0, x_0_hat, x_t = (x.double().unsqueeze(0) for x in (x_0, x_0_hat, x_t))
    pair = torch.tensor(t), torch.tensor(s)
    c = step_coefficients(*pair, schedule)
    var_p = c.beta if variance == "beta" else c.posterior_var
    answer = x_0 + scale * (x_0_hat - x_0)
    mean_q, _ = q_posterior(x_0, x_t, pair[0], schedule, pair[1])
    mean_p, _ = q_posterior(answer, x_t, pair[0], schedule, pair[1])
    rows = max(1, CHUNK_NUMBERS // x_0.numel())
    parts = []
    for size in [rows] * (count // rows) + ([count % rows] if count % rows else []):
        z = torch.randn(size, *x_0.shape[1:], generator=generator, dtype=torch.float64)
        x_s = mean_q + c.posterior_var.sqrt() * z
        nats = gaussian_nats(x_s, mean_p, var_p) - gaussian_nats(x_s, mean_q, c.posterior_var)
        parts.append(nats.flatten(1).sum(1))
    dims, ratio = x_0.numel(), c.posterior_var / var_p
    u = c.delta * (x_0 - answer).square().mean()
    kl = (dims * kl_nats_per_dim(u, ratio)).item()
    # log q/p = const + (r - 1) |z|^2 / 2 + r z . d, with |d|^2 = dims u: two independent parts of variance
    var = dims * (0.5 * (ratio - 1) ** 2 + ratio**2 * u).item()
    below = None
    if variance == "posterior":
        below = torch.special.ndtr(torch.tensor(-math.sqrt(kl / 2), dtype=torch.float64)).item() if kl > 0 else 0.0
    return LogRatio(t, s, torch.cat(parts), kl, math.sqrt(var), below)


@dataclass(frozen=True, eq=False)
class KlPieces:
    """L_{t-1} per dimension in two pieces that are never negative, in nats; each of the inputs' shape.

    var: (r - 1 - ln r) / 2, 0 only at r = 1. mean: r u / 2, 0 only where x_0_hat = x_0.
    """

    var_nats: Tensor
    mean_nats: Tensor

    @property
    def total_nats(self) -> Tensor:
        """The KL: bound.kl_nats_per_dim."""
        return self.var_nats + self.mean_nats


def kl_pieces(u: Tensor | float, ratio: Tensor | float) -> KlPieces:
    """Gibbs without an integral: ln r <= r - 1 and a square. u, ratio: as in bound.kl_nats_per_dim, ratio > 0."""
    u, ratio = (torch.as_tensor(x, dtype=torch.float64) for x in (u, ratio))
    if not bool((ratio > 0).all()):
        raise ValueError(f"ratio: must be above 0, got {ratio.min().item()}")
    return KlPieces(kl_nats_per_dim(torch.zeros_like(u), ratio), 0.5 * ratio * u)


@dataclass(frozen=True)
class BoundTerm:
    """A term of the bound by the paper's name, and whether it is a KL, hence never negative.

    t, s: its step, or None for L_T, which belongs to none.
    """

    name: str
    kind: TermKind
    is_kl: bool
    t: int | None = None
    s: int | None = None


def bound_terms(pairs: list[tuple[int, int]]) -> list[BoundTerm]:
    """All S + 1 terms of the chain of these steps, L_T first: L_T and L_{t-1} are KLs; L_0 is none.

    L_0 is a negative log likelihood, and at least 0 only because the decoder gives probabilities (lowest_decoder).
    """
    return [
        BoundTerm("L_T", "prior", True),
        *(
            BoundTerm("L_0", "decoder", False, t, s) if s == -1 else BoundTerm(f"L_{t}", "kl", True, t, s)
            for t, s in pairs
        ),
    ]


@dataclass(frozen=True)
class LowestDecoder:
    """The least that L_0 can be, x_0_hat = x_0: of a density, which may be below 0, and of 8-bit grey levels."""

    density_bpd: float
    discrete_bpd: float


def lowest_decoder(var: float) -> LowestDecoder:
    """For the decoder variance var > 0, at a mid-grey pixel."""
    if not var > 0:
        raise ValueError(f"var: must be above 0, got {var}")
    x_0 = torch.tensor(127 / 127.5 - 1, dtype=torch.float64)
    density, discrete = gaussian_nats(x_0, x_0, var), discretized_nats(x_0, x_0, torch.tensor(var))
    return LowestDecoder(bits_per_dim(density.item(), 1), bits_per_dim(discrete.item(), 1))


@dataclass(frozen=True, eq=False)
class SharedParameter:
    """Terms L_k(theta) = floors_k + weights_k (theta - optima_k)^2 of one theta: (K,) each, weights > 0, floors any.

    What is best apart, optima_k each, is best together only where all optima are one; and then for all weights. The
    signs of the terms play no part: floors may be negative.
    """

    optima: Tensor
    weights: Tensor
    floors: Tensor

    @property
    def theta(self) -> float:
        """argmin of the sum: the weighted mean of the optima."""
        return ((self.weights * self.optima).sum() / self.weights.sum()).item()

    @property
    def apart(self) -> float:
        """Sum of the minima, reached where each term has a theta of its own."""
        return self.floors.sum().item()

    @property
    def together(self) -> float:
        """Minimum of the sum, at least `apart`."""
        return self.terms(self.theta).sum().item()

    def terms(self, theta: Tensor | float) -> Tensor:
        """Every term at theta, of any shape (...): (..., K)."""
        theta = torch.as_tensor(theta, dtype=torch.float64).unsqueeze(-1)
        return self.floors + self.weights * (theta - self.optima).square()


def shared_slope(std: float, steps: list[tuple[int, int]], schedule: NoiseSchedule) -> SharedParameter:
    """The smallest denoiser that can fail: x_0_hat = theta x_t with one theta for all steps, on x_0 ~ N(0, std^2).

    Its terms L_{t-1} for the posterior's variance, in nats: delta / 2 E (x_0 - theta x_t)^2. Told t, it would take
    theta_t = sqrt(alpha-bar_t) std^2 / Var[x_t], the optimum of each. steps: (t, s) with s >= 0.
    """
    if not 0 < std < math.inf:
        raise ValueError(f"std: must be finite and above 0, got {std}")
    t, s = torch.tensor(steps, dtype=torch.int64).reshape(-1, 2).T
    if len(t) == 0 or bool((s < 0).any()):
        raise ValueError(f"steps: needs steps (t, s) with s >= 0, got {steps}")
    c = step_coefficients(t, s, schedule)
    var_t = (c.signal_t * std) ** 2 + c.noise_t**2
    return SharedParameter(
        optima=c.signal_t * std**2 / var_t,
        weights=0.5 * c.delta * var_t,
        floors=0.5 * c.delta * (std * c.noise_t) ** 2 / var_t,
    )


def simple_slope(shared: SharedParameter, steps: list[tuple[int, int]], schedule: NoiseSchedule) -> SharedParameter:
    """The same denoiser under L_simple: each term divided by delta / (2 SNR_t), so that eps errors count alike.

    Another compromise, but the same optimum for each t, which is why a network that is told t may be trained so.
    """
    c = step_coefficients(*torch.tensor(steps, dtype=torch.int64).T, schedule)
    factor = 2 * (c.signal_t / c.noise_t) ** 2 / c.delta
    return SharedParameter(shared.optima, factor * shared.weights, factor * shared.floors)
