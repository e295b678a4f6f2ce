"""Mixtures of Gaussians on the line, with known densities, scores and expectations. float64, nats."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from diffusion.gaussian import Level
from diffusion.likelihood import gaussian_nats

REACH_STD = 9.0  # each component is integrated this far: the mass beyond is 2e-19
NODES = 121  # trapezoids 0.15 std wide: exact in float64 for a Gaussian, 1e-12 for the log of a mixture


@dataclass(frozen=True, eq=False)
class LineMixture:
    """Laws on the line, each a mixture of Gaussians: log_weights, means, variances are (..., K) float64."""

    log_weights: Tensor
    means: Tensor
    variances: Tensor

    @classmethod
    def of(cls, means: list[float], stds: list[float], weights: list[float] | None = None) -> Self:
        """Make one law from its numbers; equal weights by default. Raises ValueError naming the argument."""
        m, std = (torch.as_tensor(x, dtype=torch.float64) for x in (means, stds))
        w = torch.ones_like(m) if weights is None else torch.as_tensor(weights, dtype=torch.float64)
        if m.ndim != 1 or not len(m) or std.shape != m.shape or w.shape != m.shape:
            raise ValueError(f"means: needs as many as stds and weights, got {len(m)}, {len(std)}, {len(w)}")
        if not bool((std > 0).all() and std.isfinite().all() and m.isfinite().all()):
            raise ValueError(f"stds: each must be finite and above 0, got {std.tolist()}")
        if not bool((w > 0).all() and w.isfinite().all()):
            raise ValueError(f"weights: each must be finite and above 0, got {w.tolist()}")
        return cls(torch.log(w / w.sum()), m, std**2)

    @property
    def weights(self) -> Tensor:
        """Weights of the components: (..., K), sum 1."""
        return self.log_weights.exp()

    @property
    def mean(self) -> Tensor:
        """Mean of each law: (...,)."""
        return (self.weights * self.means).sum(-1)

    @property
    def var(self) -> Tensor:
        """Variance of each law, (...,): the components' mean variance plus the variance of their means."""
        return (self.weights * (self.variances + (self.means - self.mean.unsqueeze(-1)).square())).sum(-1)

    def log_density(self, x: Tensor) -> Tensor:
        """log q(x) at x (..., n), whose leading shape is that of the laws. Returns x's shape."""
        # torch reduces an outer dimension three times as fast as an inner one of a few components
        return torch.logsumexp(self._log_parts(x).movedim(-1, 0).contiguous(), dim=0)

    def score_and_curvature(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """First and second derivative of log q at x (..., n): x's shape each."""
        share = torch.softmax(self._log_parts(x), dim=-1)
        pull = (self.means.unsqueeze(-2) - x.unsqueeze(-1)) / self.variances.unsqueeze(-2)
        score = (share * pull).sum(-1)
        spread = (share * (pull - score.unsqueeze(-1)).square()).sum(-1)
        return score, spread - (share / self.variances.unsqueeze(-2)).sum(-1)

    def _log_parts(self, x: Tensor) -> Tensor:
        means, variances = self.means.unsqueeze(-2), self.variances.unsqueeze(-2)
        return self.log_weights.unsqueeze(-2) - gaussian_nats(x.unsqueeze(-1), means, variances)  # (..., n, K)

    def noised(self, level: Level) -> Self:
        """Law of signal x + noise eps: after a forward step for (sqrt(alpha), sqrt(beta)), or of x_t given x = x_0."""
        return type(self)(
            self.log_weights, level.signal * self.means, level.signal**2 * self.variances + level.noise**2
        )

    def expectation(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        """E f(x), by trapezoids within 9 standard deviations of each component: (...,).

        function: (..., K * NODES) -> the same shape.
        """
        x, mass = self.nodes(NODES)
        return (mass * function(x)).sum(-1)

    def entropy_nats(self) -> Tensor:
        """Entropy -E log q(x), in nats: (...,)."""
        return self.expectation(lambda x: -self.log_density(x))

    def nodes(self, count: int) -> tuple[Tensor, Tensor]:
        """Return the points x and the masses of the trapezoid rule for expectations: (..., K * count) each."""
        z = torch.linspace(-REACH_STD, REACH_STD, count, dtype=torch.float64)
        mass = torch.exp(-gaussian_nats(z, 0.0, 1.0)) * (z[1] - z[0])
        x = self.means.unsqueeze(-1) + self.variances.sqrt().unsqueeze(-1) * z
        return x.flatten(-2), (self.weights.unsqueeze(-1) * mass).flatten(-2)
