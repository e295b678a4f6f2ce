"""Chapter 6, one term: the log ratios whose mean it is, and a KL as two pieces that are never negative. In nats."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from diffusion.bound import kl_nats_per_dim
from diffusion.gaussian import q_posterior, step_coefficients
from diffusion.likelihood import gaussian_nats
from diffusion.sampling import ReverseVariance
from diffusion.schedule import NoiseSchedule

CHUNK_NUMBERS = 2_000_000  # random numbers drawn at once


@dataclass(frozen=True, eq=False)
class LogRatio:
    """log q/p at draws of x_s ~ q(x_s | x_t, x_0), whose mean is the term L: values (count,) in nats.

    kl_nats: that mean in closed form, kappa. std_nats: the standard deviation of log q/p in closed form.
    share_below_zero_exact: Phi(-sqrt(kappa / 2)) for equal variances, where log q/p is exactly N(kappa, 2 kappa), and 0
    if q = p; None for unequal variances.
    """

    t: int
    s: int
    values: Tensor
    kl_nats: float
    std_nats: float
    share_below_zero_exact: float | None

    @property
    def mean_nats(self) -> float:
        """Mean of the draws."""
        return self.values.mean().item()

    @property
    def standard_error_nats(self) -> float:
        """Standard error of mean_nats, from the closed-form standard deviation."""
        return self.std_nats / math.sqrt(len(self.values))

    @property
    def share_below_zero(self) -> float:
        """Share of negative draws: single ratios are often negative, their expectation never is."""
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

    x_0, x_0_hat, x_t: (C, H, W). scale >= 0: multiplies the network's error, x_0 + scale (x_0_hat - x_0); at 0 with the
    posterior's variance, q and p are equal. s >= 0, because the posterior of the last step is a point. count: at least
    2 draws. Raises ValueError naming the argument.
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
    """L_{t-1} per dimension in two pieces that are never negative, in nats; each has the inputs' shape.

    var_nats: (r - 1 - ln r) / 2, 0 only at r = 1. mean_nats: r u / 2, 0 only if x_0_hat = x_0.
    """

    var_nats: Tensor
    mean_nats: Tensor

    @property
    def total_nats(self) -> Tensor:
        """The KL: bound.kl_nats_per_dim."""
        return self.var_nats + self.mean_nats


def kl_pieces(u: Tensor | float, ratio: Tensor | float) -> KlPieces:
    """Split a KL into its pieces: Gibbs' inequality without an integral, from ln r <= r - 1 and a square.

    u, ratio: as in bound.kl_nats_per_dim. Raises ValueError for a ratio that is not above 0.
    """
    u, ratio = (torch.as_tensor(x, dtype=torch.float64) for x in (u, ratio))
    if not bool((ratio > 0).all()):
        raise ValueError(f"ratio: must be above 0, got {ratio.min().item()}")
    return KlPieces(kl_nats_per_dim(torch.zeros_like(u), ratio), 0.5 * ratio * u)
