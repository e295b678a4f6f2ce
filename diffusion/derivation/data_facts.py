"""Facts of the data alone: how much of a picture is left in x_t, and how far a reverse step is from Gaussian.

One pass with the exact denoiser over a grid of t, at x_t = signal x_0 + noise eps with x_0 uniform over the pictures,
gives the entropy H(w) of the posterior weights, the posterior variance (its mean is the mmse), and the largest
variance of x_0 in any direction. data_limits.py draws the conclusions. Code index t is the paper's t + 1. Nats,
float64.
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

from diffusion.bound_plan import Pair
from diffusion.denoisers import Denoiser
from diffusion.derivation.c06_every_term import fitted_errors
from diffusion.exact import DataDenoiser
from diffusion.gaussian import level_at, q_sample
from diffusion.schedule import NoiseSchedule

SEEN = 1e-6  # of a draw's heaviest weight: lighter pictures do not change the largest variance
FLOAT64_NUMBERS = 2_000_000  # larger sets of pictures are iterated in float32, see largest_variance
NO_WEIGHT = 1e-20  # times 60,000 pictures is still below rounding
POWER_STEPS = 100
POWER_TOLERANCE = 3e-4


@dataclass(frozen=True, eq=False)
class LevelFacts:
    """The facts at one t, one per draw of x_t: (B,) each, but top_variance (C,) for the first C draws.

    entropy_nats: H(w). posterior_var: tr Cov[x_0 | x_t] / D, whose mean is the mmse per dimension. effective: 1 / sum
    w^2, the effective number of pictures. top_variance: the largest eigenvalue of Cov[x_0 | x_t]. network_gap: mean
    over dimensions of (x_0_hat - E[x_0 | x_t])^2, unclipped. network_mse: mean of (x_0 - x_0_hat)^2, clipped as in
    sampling. Both are None without a network.
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
    """Measure the facts at each of the timesteps, yielding one LevelFacts after another.

    pictures: (N, C, H, W) in [-1, 1]. Every t uses the same `draws` pictures and the same noise from one seed, so that
    differences between two t, such as the floors, have far less noise than the values. network: takes batches of
    `draws` pictures; a network with classes must be conditioned on no class, because the exact denoiser knows none.
    cov_draws: the number of draws, at most, whose largest variance is computed; it takes the most time. chunk: pictures
    compared at once. Raises ValueError naming the argument, before the first t.
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
    """Return sum_k w_k y_k (B, D) and sum_k w_k |y_k|^2 (B,) for weights (B, N), skipping negligible weights."""
    mean = second_moment = torch.zeros((), dtype=torch.float64, device=weights.device)
    for y, w in zip(pictures.split(chunk), weights.split(chunk, dim=1), strict=True):
        heavy = (w > NO_WEIGHT).any(0)
        y, w = y[heavy].double().flatten(1), w[:, heavy]
        mean = mean + w @ y
        second_moment = second_moment + w @ y.square().sum(1)
    return mean, second_moment


def largest_variance(pictures: Tensor, weights: Tensor) -> Tensor:
    """Largest eigenvalue of each draw's covariance sum_k w_k (y_k - mean)(y_k - mean)^T, within a percent: (B,).

    pictures: (N, C, H, W); weights: (B, N). Runs power iteration on the pictures whose weight in any draw is above 1e-6
    of its heaviest; the estimate exceeds the truth only by rounding. Thousands of pictures are iterated in float32:
    their spread is as large as the pictures themselves, so nothing cancels.
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
    """The facts of a data set under one schedule, at G rising timesteps t (G,): (G, B) each, as in LevelFacts.

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
        """Gather the levels that measure_levels yielded for these pictures, schedule and seed, in any order of t."""
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
        """The noise schedule of the betas."""
        return NoiseSchedule(self.betas)

    @property
    def log_pictures(self) -> float:
        """ln N: the information that tells one picture from all others, in nats."""
        return math.log(self.pictures)

    @property
    def information_nats(self) -> Tensor:
        """I(x_0; x_t) = ln N - H(w) for each draw: (G, B)."""
        return self.log_pictures - self.entropy_nats

    def at(self, timesteps: list[int]) -> Self:
        """Interpolate the facts to any t within the grid, in rising order: linear in log SNR, exact at the grid's t.

        posterior_var, top_variance, network_gap and network_mse are interpolated as SNR times their value. Raises
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
        """Return the network's mean error at the steps of any chain on these betas, for bound.reverse_variances.

        Raises ValueError without a network's record, and for a step outside the grid.
        """
        if self.network_mse is None:
            raise ValueError("network_mse: no network was measured")
        return fitted_errors(self.t, self.network_mse.mean(1), list(pairs), self.schedule)

    def save(self, path: str | Path) -> None:
        """Write one .npz, without pickles."""
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        np.savez_compressed(path, **{name: np.asarray(value) for name, value in arrays.items() if value is not None})

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a file that `save` wrote. Raises ValueError for other content, and OSError if there is no file."""
        with np.load(path, allow_pickle=False) as stored:
            names = {field.name for field in fields(cls)}
            if not names - set(OPTIONAL_ROWS) <= set(stored.files) <= names:
                raise ValueError(f"path: {Path(path).name} holds {sorted(stored.files)}, which are not data facts")
            values = {name: torch.from_numpy(stored[name]) for name in stored.files}
        numbers = {name: int(values.pop(name)) for name in ("pictures", "dims", "seed")}
        return cls(**numbers, **values)


OPTIONAL_ROWS = ("network_gap", "network_mse")
ROWS = ("entropy_nats", "posterior_var", "effective", "top_variance", *OPTIONAL_ROWS)
PLAIN_ROWS = ("entropy_nats", "effective")
