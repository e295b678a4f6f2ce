"""What depends on the data alone: how much of a picture is left in x_t, and how far a reverse step is from Gaussian.

One pass with the exact denoiser over a grid of t gives, at x_t = signal x_0 + noise eps with x_0 uniform over the
pictures, the entropy H(w) of the posterior weights, the posterior variance (its mean is the mmse), and the largest
variance of x_0 in any direction. From these follow the information in x_t, the area under the mmse, the floor of every
L_{t-1}, and where a Gaussian step breaks. t is a code index, the paper's t + 1. Nats, float64.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from diffusion.bound import BoundVariance, kl_nats_per_dim, reverse_variances
from diffusion.bound_plan import BoundPlan, Pair
from diffusion.denoisers import Denoiser
from diffusion.derivation.ledger import fitted_errors
from diffusion.exact import DataDenoiser
from diffusion.gaussian import StepCoefficients, level_at, q_sample, step_coefficients
from diffusion.schedule import NoiseSchedule

SEEN = 1e-6  # of a draw's heaviest weight: lighter pictures do not move the largest variance
FLOAT64_NUMBERS = 2_000_000  # larger sets of pictures are iterated in float32, see largest_variance
NO_WEIGHT = 1e-20  # times 60,000 pictures is still below rounding
POWER_STEPS = 100
POWER_TOLERANCE = 3e-4


@dataclass(frozen=True, eq=False)
class LevelFacts:
    """One t: (B,) each, one a draw of x_t. top_variance: (C,), C of the draws.

    entropy_nats: H(w). posterior_var: tr Cov[x_0 | x_t] / D, whose mean is the mmse per dimension. effective: 1 / sum
    w^2, the effective number of pictures. top_variance: the largest eigenvalue of Cov[x_0 | x_t]. network_gap: mean
    over dimensions of (x_0_hat - E[x_0 | x_t])^2, unclipped; network_mse: of (x_0 - x_0_hat)^2, clipped as in sampling;
    None without a network.
    """

    t: int
    entropy_nats: Tensor
    posterior_var: Tensor
    effective: Tensor
    top_variance: Tensor
    network_gap: Tensor | None = None
    network_mse: Tensor | None = None


def measure_levels(
    pictures: Tensor,
    schedule: NoiseSchedule,
    timesteps: list[int],
    draws: int = 64,
    seed: int = 0,
    network: Denoiser | None = None,
    cov_draws: int = 16,
    chunk: int = 8192,
) -> Iterator[LevelFacts]:
    """One LevelFacts for each of timesteps, as they are measured.

    pictures: (N, C, H, W) in [-1, 1]. Every t has the same `draws` pictures and the same noise, as one seed draws them:
    differences between two t, which is what the floors are, have far less noise than the values. network: answers
    batches of `draws` pictures; one with classes must be asked without a class, as the exact denoiser knows none.
    cov_draws: for how many of the draws, at most, the largest variance is found: it takes the most time.
    chunk: pictures compared at once. Raises ValueError naming the argument, before the first t.
    """
    if len(pictures) < 2:
        raise ValueError(f"pictures: needs at least 2, got {len(pictures)}")
    if draws < 2:
        raise ValueError(f"draws: must be at least 2 for a standard error, got {draws}")
    if cov_draws < 1:
        raise ValueError(f"cov_draws: must be at least 1, got {cov_draws}")
    if not timesteps or not 0 <= min(timesteps) <= max(timesteps) < len(schedule):
        raise ValueError(f"timesteps: each must lie in [0, {len(schedule)}), got {timesteps}")
    return _measure_levels(pictures, schedule, timesteps, draws, seed, network, cov_draws, chunk)


def _measure_levels(pictures, schedule, timesteps, draws, seed, network, cov_draws, chunk) -> Iterator[LevelFacts]:
    generator = torch.Generator().manual_seed(seed)
    x_0 = pictures[torch.randint(len(pictures), (draws,), generator=generator)].double()
    eps = torch.randn(x_0.shape, generator=generator, dtype=torch.float64).to(x_0.device)
    exact = DataDenoiser(pictures, schedule, chunk=chunk)
    for t in timesteps:
        x_t = q_sample(x_0, torch.tensor(t), eps, schedule)
        weights = exact.log_weights(x_t, t).exp()
        mean, second_moment = _moments(pictures, weights, chunk)
        gap = mse = None
        if network is not None:
            said = network.predict(x_t, t)
            gap = (said.x_0_hat.flatten(1) - mean).square().mean(1).cpu()
            clipped = said.clipped(x_t, level_at(t, schedule))
            mse = (x_0 - clipped.x_0_hat).square().flatten(1).mean(1).cpu()
        yield LevelFacts(
            t=t,
            entropy_nats=torch.special.entr(weights).sum(1).cpu(),
            posterior_var=(second_moment - mean.square().sum(1)).clamp(min=0).cpu() / mean.shape[1],
            effective=(1 / weights.square().sum(1)).cpu(),
            top_variance=largest_variance(pictures, weights[:cov_draws]).cpu(),
            network_gap=gap,
            network_mse=mse,
        )


def _moments(pictures: Tensor, weights: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
    """sum_k w_k y_k (B, D) and sum_k w_k |y_k|^2 (B,) for weights (B, N), over the pictures that have any weight."""
    mean = second_moment = torch.zeros((), dtype=torch.float64, device=weights.device)
    for y, w in zip(pictures.split(chunk), weights.split(chunk, dim=1), strict=True):
        heavy = (w > NO_WEIGHT).any(0)
        y, w = y[heavy].double().flatten(1), w[:, heavy]
        mean = mean + w @ y
        second_moment = second_moment + w @ y.square().sum(1)
    return mean, second_moment


def largest_variance(pictures: Tensor, weights: Tensor) -> Tensor:
    """The largest eigenvalue of each draw's covariance sum_k w_k (y_k - mean)(y_k - mean)^T, within a percent: (B,).

    pictures: (N, C, H, W); weights: (B, N). By power iteration on the pictures that any draw gives a weight above 1e-6
    of its heaviest; the estimate never exceeds the truth but by rounding. Thousands of pictures are iterated in
    float32: their spread is of the size of the pictures themselves, so that nothing cancels.
    """
    keep = weights > SEEN * weights.amax(1, keepdim=True)
    seen = keep.any(0)
    y = pictures[seen].flatten(1)
    y = y.double() if y.numel() <= FLOAT64_NUMBERS else y.float()
    w = torch.where(keep, weights, 0)[:, seen]
    w = (w / w.sum(1, keepdim=True)).to(y)
    mean = w @ y  # (B, D)
    v = torch.randn(mean.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(mean)
    found = torch.zeros(len(w), dtype=torch.float64, device=y.device)
    for _ in range(POWER_STEPS):
        v = v / v.norm(dim=1, keepdim=True).clamp(min=torch.finfo(v.dtype).tiny)
        along = v @ y.T - (mean * v).sum(1, keepdim=True)  # (B, n), of y_k - mean
        before, found = found, (w * along.square()).sum(1).double()
        if bool((found - before <= POWER_TOLERANCE * found).all()):
            break
        shares = w * along
        v = shares @ y - shares.sum(1, keepdim=True) * mean
    return found


@dataclass(frozen=True, eq=False)
class DataFacts:
    """The facts of a data set under one schedule at G timesteps t (G,), rising: (G, B) each, as in LevelFacts.

    betas: (T,). pictures: N. dims: C H W. seed: of measure_levels, whose draws are the columns.
    """

    betas: Tensor
    pictures: int
    dims: int
    seed: int
    t: Tensor
    entropy_nats: Tensor
    posterior_var: Tensor
    effective: Tensor
    top_variance: Tensor
    network_gap: Tensor | None = None
    network_mse: Tensor | None = None

    @classmethod
    def gather(cls, levels: list[LevelFacts], pictures: Tensor, schedule: NoiseSchedule, seed: int) -> Self:
        """What measure_levels yielded for these pictures, schedule and seed, in any order of t."""
        levels = sorted(levels, key=lambda level: level.t)
        t = torch.tensor([level.t for level in levels])
        if len(t) < 2 or bool((t.diff() == 0).any()):
            raise ValueError(f"levels: needs at least two different t, got {t.tolist()}")
        rows = {}
        for name in ROWS:
            values = [getattr(level, name) for level in levels]
            rows[name] = None if values[0] is None else torch.stack(values)
        return cls(schedule.betas, len(pictures), pictures[0].numel(), seed, t, **rows)

    @cached_property
    def schedule(self) -> NoiseSchedule:
        """That of the betas."""
        return NoiseSchedule(self.betas)

    @property
    def log_pictures(self) -> float:
        """ln N: the information that tells one picture from all others, in nats."""
        return math.log(self.pictures)

    @property
    def information_nats(self) -> Tensor:
        """I(x_0; x_t) = ln N - H(w), draw by draw: (G, B)."""
        return self.log_pictures - self.entropy_nats

    def at(self, timesteps: list[int]) -> Self:
        """The facts at any t within the grid, in rising order: linear in log SNR between the grid's, its own at them.

        posterior_var, network_gap and network_mse are carried as SNR times themselves, top_variance likewise. Raises
        ValueError outside the grid.
        """
        wanted = torch.tensor(sorted(timesteps))
        if not self.t[0] <= wanted[0] or not wanted[-1] <= self.t[-1]:
            raise ValueError(f"timesteps: must lie in [{self.t[0]}, {self.t[-1]}], got {wanted[0]} to {wanted[-1]}")
        right = torch.searchsorted(self.t, wanted).clamp(1)
        log_sigma, snr = self.schedule.log_sigma, self.schedule.snr
        left_level = log_sigma[self.t[right - 1]]
        share = ((log_sigma[wanted] - left_level) / (log_sigma[self.t[right]] - left_level)).unsqueeze(1)

        def between(values: Tensor | None, factor: Tensor) -> Tensor | None:
            if values is None:
                return None
            values = factor[self.t].unsqueeze(1) * values
            return torch.lerp(values[right - 1], values[right], share) / factor[wanted].unsqueeze(1)

        one = torch.ones_like(snr)
        rows = {name: between(getattr(self, name), one if name in PLAIN_ROWS else snr) for name in ROWS}
        return type(self)(self.betas, self.pictures, self.dims, self.seed, wanted, **rows)

    def network_mse_at(self, pairs: Sequence[Pair]) -> dict[Pair, float]:
        """The network's mean error at the steps of any chain on these betas, as bound.reverse_variances takes it."""
        if self.network_mse is None:
            raise ValueError("network_mse: no network was measured")
        return fitted_errors(self.t, self.network_mse.mean(1), list(pairs), self.schedule)

    def save(self, path: str | Path) -> None:
        """Write one .npz, without pickles."""
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        np.savez_compressed(path, **{name: np.asarray(value) for name, value in arrays.items() if value is not None})

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote. Raises ValueError where the file is something else, OSError where there is none."""
        with np.load(path, allow_pickle=False) as stored:
            names = {field.name for field in fields(cls)}
            if not names - set(OPTIONAL_ROWS) <= set(stored.files) <= names:
                raise ValueError(f"path: {Path(path).name} holds {sorted(stored.files)}, no data facts")
            values = {name: torch.from_numpy(stored[name]) for name in stored.files}
        numbers = {name: int(values.pop(name)) for name in ("pictures", "dims", "seed")}
        return cls(**numbers, **values)


OPTIONAL_ROWS = ("network_gap", "network_mse")
ROWS = ("entropy_nats", "posterior_var", "effective", "top_variance", *OPTIONAL_ROWS)
PLAIN_ROWS = ("entropy_nats", "effective")


@dataclass(frozen=True, eq=False)
class Breaks:
    """u_max = delta lambda_max(Cov[x_0 | x_t]) of a step from each t of the grid, when a chain has S steps.

    t, s: (G,), s = t - T / S, but not below 0. u_max: (G, C), one a draw. Far below 1 the reverse step is Gaussian
    (or the posterior is one picture); near 1 it breaks. t = 0 has no step: nan.
    """

    num_inference_steps: int
    t: Tensor
    s: Tensor
    u_max: Tensor

    def quantile(self, q: float) -> Tensor:
        """Over draws: (G,)."""
        return torch.quantile(self.u_max, q, dim=1)

    @property
    def median(self) -> Tensor:
        """The map's colour: (G,)."""
        return self.quantile(0.5)


def breaks(facts: DataFacts, num_inference_steps: int) -> Breaks:
    """One row of the break map, S from 1 to T; the rows of any S come from one pass."""
    T = len(facts.betas)
    if not 1 <= num_inference_steps <= T:
        raise ValueError(f"num_inference_steps: must lie in [1, {T}], got {num_inference_steps}")
    s = (facts.t - round(T / num_inference_steps)).clamp(min=0)
    delta = torch.full(facts.t.shape, torch.nan, dtype=torch.float64)
    has_step = facts.t > 0
    delta[has_step] = step_coefficients(facts.t[has_step], s[has_step], facts.schedule).delta
    return Breaks(num_inference_steps, facts.t, s, delta.unsqueeze(1) * facts.top_variance)


def steps_needed(facts: DataFacts, most: float) -> Tensor:
    """The S of a chain whose step from each t has a median u_max of `most`, a float >= 1: (G,).

    A chain of fewer steps has a larger u_max there. nan where no step that ends at s >= 0 is so long, infinite where
    even s = t - 1 is too far. most > 0.
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
    """Bits are an area (I-MMSE, Guo et al. 2005): half the mmse, integrated over SNR, is the information in x_t.

    log_snr, height: (G,) with rising t; height = SNR D mmse / 2, so that the area is true on a log SNR axis.
    area_nats: from SNR = 0 to that of the first t; entropy_side_nats: I(x_0; x_t) = ln N - E H(w) there. The standard
    errors are over draws; difference_se_nats is that of area - entropy side, which are measured on the same draws.
    """

    log_snr: Tensor
    height: Tensor
    area_nats: float
    area_se_nats: float
    entropy_side_nats: float
    entropy_side_se_nats: float
    difference_se_nats: float
    log_pictures: float


def mmse_area(facts: DataFacts) -> Area:
    """Both sides of the identity for the exact denoiser; trapezoids between the grid's t."""
    log_snr = -2 * facts.schedule.log_sigma[facts.t]
    height = 0.5 * facts.dims * facts.schedule.snr[facts.t].unsqueeze(1) * facts.posterior_var  # (G, B)
    # below the last SNR the mmse is that of the last t: a rectangle of SNR mmse / 2
    area = torch.trapezoid(height.flip(0), log_snr.flip(0), dim=0) + height[-1]
    information = facts.information_nats[0]
    root = facts.posterior_var.shape[1] ** 0.5
    return Area(
        log_snr=log_snr,
        height=height.mean(1),
        area_nats=area.mean().item(),
        area_se_nats=area.std().item() / root,
        entropy_side_nats=information.mean().item(),
        entropy_side_se_nats=information.std().item() / root,
        difference_se_nats=(area - information).std().item() / root,
        log_pictures=facts.log_pictures,
    )


@dataclass(frozen=True, eq=False)
class Staircase:
    """The bound's steps as rectangles over the area, for the exact denoiser and the posterior's variance.

    t, s, nats: (S - 1,) from noisy to clean, the steps with s >= 0. nats: L_{t-1} = delta D mmse(t) / 2, a rectangle
    from SNR_t to SNR_s under the height of its noisy end. first_nats: the rectangle from SNR = 0 to the first SNR_t.
    information_nats: (S - 1,), what the entropy side says of the same interval, and no step can be below.
    """

    t: Tensor
    s: Tensor
    nats: Tensor
    first_nats: float
    information_nats: Tensor

    @property
    def total_nats(self) -> float:
        """The area of the stairs; with fewer steps it grows."""
        return self.first_nats + self.nats.sum().item()


def staircase(facts: DataFacts, timesteps: list[int]) -> Staircase:
    """The stairs of the chain over these timesteps, falling as of visited_timesteps, within the facts' grid."""
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
    """The stairs as a log SNR axis shows them: each step a tooth from SNR_t to SNR_s, as high as SNR nats / delta.

    points: of each tooth, at least 2. Returns log_snr, rising, and height, ((S - 1) points,) each; the area below a
    tooth is its step's nats.
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
    """L_{t-1} of each step with s >= 0, in three layers that sum to it; total nats per picture, (S - 1,) each.

    information: E H(w_t) - E H(w_s), which nobody can save. gaussian: E KL(q(x_s | x_t) || N(mu*, sigma^2 I)), the
    price of a Gaussian step; it is had by difference, and may fall below 0 by its standard error, gaussian_se_nats,
    over draws; gaussian_total_se_nats is that of the sum of all steps. network: c_0^2 / (2 sigma^2) E |x_0_hat - E[x_0
    | x_t]|^2, its own error; None without a network.
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
    """(information, price of the Gaussian) in nats, for an exact denoiser and reverse variance var; shapes broadcast.

    entropy_t, entropy_s: E H(x_0 | x_t) and E H(x_0 | x_s). mmse: per dimension, at t.
    """
    information = entropy_t - entropy_s
    return information, dims * kl_nats_per_dim(c.delta * mmse, c.posterior_var / var) - information


def three_layers(facts: DataFacts, timesteps: list[int], variance: BoundVariance) -> Layers:
    """The three layers of the chain over these timesteps; see staircase. "analytic": the best constant for whoever
    answers, the network where there is one."""
    at, t, s, c, of_t, of_s = _steps(facts, timesteps)
    mmse = at.posterior_var.mean(1)
    gap = None if at.network_gap is None else at.network_gap.mean(1)
    plan = BoundPlan.all_steps(facts.schedule, timesteps)
    fitted = None
    if variance == "analytic":
        error = mmse if gap is None else mmse + gap
        fitted = {(a, b): error[i].item() for a, b, i in zip(t.tolist(), s.tolist(), of_t.tolist(), strict=True)}
        fitted[plan.chain[-1]] = 1.0  # of the decoder, which has no layers
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
    """Facts at the chain's t, its steps with s >= 0, their coefficients, and where their t and s are in those facts."""
    if len(timesteps) < 2:
        raise ValueError(f"timesteps: needs at least 2, got {timesteps}")
    at = facts.at(timesteps)
    falling = torch.arange(len(timesteps) - 1, -1, -1)
    t, s = at.t[falling[:-1]], at.t[falling[1:]]
    return at, t, s, step_coefficients(t, s, facts.schedule), falling[:-1], falling[1:]
