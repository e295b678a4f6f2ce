"""Limits that the data alone set for any model, from the facts of data_facts.py.

Where a Gaussian step breaks, the information in x_t as the area under the mmse, the stairs of a chain over it, and the
layers of every L_{t-1}, the lowest of which no model can save. Code index t is the paper's t + 1. Nats, float64.
"""

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from diffusion.bound import BoundVariance, kl_nats_per_dim, reverse_variances
from diffusion.bound_plan import BoundPlan
from diffusion.derivation.data_facts import DataFacts
from diffusion.gaussian import StepCoefficients, step_coefficients
from diffusion.schedule import NoiseSchedule


@dataclass(frozen=True, eq=False)
class Breaks:
    """u_max = delta lambda_max(Cov[x_0 | x_t]) of the step from each t of the grid in a chain of S steps.

    t, s: (G,), s = t - T / S, at least 0. u_max: (G, C), one per draw. Far below 1 the reverse step is Gaussian (or the
    posterior is a single picture); near 1 it stops being so. t = 0 has no step: nan.
    """

    num_inference_steps: int
    t: Tensor
    s: Tensor
    u_max: Tensor

    def quantile(self, q: float) -> Tensor:
        """Return the quantile of u_max over the draws: (G,)."""
        return torch.quantile(self.u_max, q, dim=1)

    @property
    def median(self) -> Tensor:
        """Median of u_max over the draws: (G,)."""
        return self.quantile(0.5)


def breaks(facts: DataFacts, num_inference_steps: int) -> Breaks:
    """Compute one row of the break map, for S = num_inference_steps in [1, T]; all rows use the same facts.

    Raises ValueError for another S.
    """
    T = len(facts.betas)
    if not 1 <= num_inference_steps <= T:
        raise ValueError(f"num_inference_steps: must lie in [1, {T}], got {num_inference_steps}")
    s = (facts.t - round(T / num_inference_steps)).clamp(min=0)
    delta = torch.full(facts.t.shape, torch.nan, dtype=torch.float64)
    has_step = facts.t > 0
    delta[has_step] = step_coefficients(facts.t[has_step], s[has_step], facts.schedule).delta
    return Breaks(num_inference_steps, facts.t, s, delta.unsqueeze(1) * facts.top_variance)


def steps_needed(facts: DataFacts, most: float) -> Tensor:
    """Return the S >= 1 at which the step from each t has a median u_max of `most` > 0: (G,) float64.

    A chain of fewer steps has a larger u_max there. nan if even the longest step, to s = 0, does not exceed
    `most`, and at t = 0; infinite if even the step to s = t - 1 exceeds it. Raises ValueError for another `most`.
    """
    if not most > 0:
        raise ValueError(f"most: must be above 0, got {most}")
    T = len(facts.betas)
    needed = []
    for t, variance in zip(facts.t.tolist(), torch.quantile(facts.top_variance, 0.5, dim=1).tolist(), strict=True):
        s = torch.arange(t)
        far = step_coefficients(t, s, facts.schedule).delta * variance > most  # from the clean end on
        strides = t - s[~far]
        nearest = strides.max().item() if len(strides) else 0
        needed.append(math.nan if nearest == t else T / nearest if nearest else math.inf)
    return torch.tensor(needed, dtype=torch.float64)


@dataclass(frozen=True, eq=False)
class Area:
    """Information in x_t as an area (I-MMSE, Guo et al. 2005): half the mmse, integrated over SNR.

    log_snr, height: (G,) with rising t; height = SNR D mmse / 2, so that areas are right on a log SNR axis. area_nats:
    from SNR = 0 to that of the first t; entropy_side_nats: I(x_0; x_t) = ln N - E H(w) there. The standard errors are
    over draws; difference_se_nats is that of area - entropy side, which are measured on the same draws. log_pictures:
    ln N.
    """

    log_snr: Tensor
    height: Tensor
    area_nats: float
    area_se_nats: float
    entropy_side_nats: float
    difference_se_nats: float
    log_pictures: float


def mmse_area(facts: DataFacts) -> Area:
    """Compute both sides of the identity for the exact denoiser, with trapezoids between the grid's t."""
    log_snr = -2 * facts.schedule.log_sigma[facts.t]
    height = 0.5 * facts.dims * facts.schedule.snr[facts.t].unsqueeze(1) * facts.posterior_var  # (G, B)
    # below the smallest SNR, take the mmse of the last t: a rectangle of SNR mmse / 2
    area = torch.trapezoid(height.flip(0), log_snr.flip(0), dim=0) + height[-1]
    information = facts.information_nats[0]
    root = facts.posterior_var.shape[1] ** 0.5
    return Area(
        log_snr=log_snr,
        height=height.mean(1),
        area_nats=area.mean().item(),
        area_se_nats=area.std().item() / root,
        entropy_side_nats=information.mean().item(),
        difference_se_nats=(area - information).std().item() / root,
        log_pictures=facts.log_pictures,
    )


@dataclass(frozen=True, eq=False)
class Staircase:
    """The bound's steps as rectangles over the area, for the exact denoiser and the posterior's variance.

    t, s, nats: (S - 1,) from noisy to clean, the steps with s >= 0. nats: L_{t-1} = delta D mmse(t) / 2, a rectangle
    from SNR_t to SNR_s under the height of its noisy end. first_nats: the rectangle from SNR = 0 to the first SNR_t.
    information_nats: (S - 1,), the information over the same interval by the entropies: a lower limit for the step.
    """

    t: Tensor
    s: Tensor
    nats: Tensor
    first_nats: float
    information_nats: Tensor

    @property
    def total_nats(self) -> float:
        """The area of the stairs; it grows as the steps get fewer."""
        return self.first_nats + self.nats.sum().item()


def staircase(facts: DataFacts, timesteps: list[int]) -> Staircase:
    """Compute the stairs of a chain over these timesteps, falling as from visited_timesteps, within the facts' grid."""
    at, t, s, c, of_t, of_s = _steps(facts, timesteps)
    mmse, entropy = at.posterior_var.mean(1), at.entropy_nats.mean(1)
    return Staircase(
        t=t,
        s=s,
        nats=0.5 * c.delta * facts.dims * mmse[of_t],
        first_nats=(0.5 * facts.schedule.snr[t[0]] * facts.dims * mmse[of_t[0]]).item(),
        information_nats=entropy[of_t] - entropy[of_s],
    )


def teeth(stairs: Staircase, schedule: NoiseSchedule, points: int) -> tuple[Tensor, Tensor]:
    """Return the stairs on a log SNR axis, where each step is a tooth from SNR_t to SNR_s of height SNR nats / delta.

    points: per tooth, at least 2. Returns log_snr, rising, and height: ((S - 1) points,) each. The area below a tooth
    is its step's nats. Raises ValueError for fewer points.
    """
    if points < 2:
        raise ValueError(f"points: must be at least 2, got {points}")
    left, right = -2 * schedule.log_sigma[stairs.t], -2 * schedule.log_sigma[stairs.s]
    share = torch.linspace(0, 1, points, dtype=torch.float64)
    log_snr = torch.lerp(left.unsqueeze(1), right.unsqueeze(1), share)
    flat = stairs.nats / step_coefficients(stairs.t, stairs.s, schedule).delta
    return log_snr.flatten(), (log_snr.exp() * flat.unsqueeze(1)).flatten()


@dataclass(frozen=True, eq=False)
class Layers:
    """L_{t-1} of each step with s >= 0, in three layers that sum to it; nats per picture, (S - 1,) each.

    information_nats: E H(w_t) - E H(w_s), which no model can save. gaussian_nats: E KL(q(x_s | x_t) || N(mu*, sigma^2
    I)), the price of a Gaussian step. It is computed as a difference and can fall below 0 by its standard error over
    draws, gaussian_se_nats; gaussian_total_se_nats is that of the sum over all steps. network_nats: c_0^2 / (2 sigma^2)
    E |x_0_hat - E[x_0 | x_t]|^2, the network's own error; None without a network.
    """

    t: Tensor
    s: Tensor
    information_nats: Tensor
    gaussian_nats: Tensor
    network_nats: Tensor | None
    gaussian_se_nats: Tensor
    gaussian_total_se_nats: float


def split_step(
    c: StepCoefficients, var: Tensor, entropy_t: Tensor, entropy_s: Tensor, mmse: Tensor, dims: int
) -> tuple[Tensor, Tensor]:
    """Return (information, price of the Gaussian) in nats for an exact denoiser and reverse variance var.

    entropy_t, entropy_s: E H(x_0 | x_t) and E H(x_0 | x_s). mmse: per dimension, at t. Shapes broadcast.
    """
    information = entropy_t - entropy_s
    return information, dims * kl_nats_per_dim(c.delta * mmse, c.posterior_var / var) - information


def three_layers(facts: DataFacts, timesteps: list[int], variance: BoundVariance) -> Layers:
    """Compute the three layers of the chain over these timesteps, as in staircase.

    variance: "analytic" is the best constant for the network, or for the exact denoiser if no network was measured.
    """
    at, t, s, c, of_t, of_s = _steps(facts, timesteps)
    mmse = at.posterior_var.mean(1)
    gap = None if at.network_gap is None else at.network_gap.mean(1)
    plan = BoundPlan.all_steps(facts.schedule, timesteps)
    fitted = None
    if variance == "analytic":
        error = mmse if gap is None else mmse + gap
        fitted = {(a, b): error[i].item() for a, b, i in zip(t.tolist(), s.tolist(), of_t.tolist(), strict=True)}
        fitted[plan.chain[-1]] = 1.0  # for the decoder, which has no layers
    variances = reverse_variances(plan, variance, fitted)
    var = torch.tensor([variances[pair] for pair in plan.chain[:-1]], dtype=torch.float64)
    as_column = StepCoefficients(*(getattr(c, field.name).unsqueeze(1) for field in fields(c)))
    information, price = split_step(
        as_column,
        var.unsqueeze(1),
        at.entropy_nats[of_t],
        at.entropy_nats[of_s],
        at.posterior_var[of_t],
        facts.dims,
    )
    return Layers(
        t=t,
        s=s,
        information_nats=information.mean(1),
        gaussian_nats=price.mean(1),
        network_nats=None if gap is None else facts.dims * c.c_0**2 / (2 * var) * gap[of_t],
        gaussian_se_nats=price.std(1) / price.shape[1] ** 0.5,
        gaussian_total_se_nats=price.sum(0).std().item() / price.shape[1] ** 0.5,
    )


def _steps(facts: DataFacts, timesteps: list[int]):
    """Return the facts at the chain's t, its steps t -> s >= 0, their coefficients, and the facts' rows of t and s."""
    if len(timesteps) < 2:
        raise ValueError(f"timesteps: needs at least 2, got {timesteps}")
    at = facts.at(timesteps)
    falling = torch.arange(len(timesteps) - 1, -1, -1)
    t, s = at.t[falling[:-1]], at.t[falling[1:]]
    return at, t, s, step_coefficients(t, s, facts.schedule), falling[:-1], falling[1:]
