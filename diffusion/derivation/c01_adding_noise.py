"""Chapter 1, adding noise: chain and jump give the same x_t, and each step's share of the noise in it.

Code index t is the paper's t + 1: a state at t has gone through the steps k = 0..t; t = -1 is x_0.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diffusion.gaussian import eps_from_x_0, one_minus_exp, q_sample, signal_and_noise
from diffusion.pixels import HALF_BIN
from diffusion.schedule import NoiseSchedule


def step_noises(shape: Sequence[int], count: int, generator: torch.Generator) -> Tensor:
    """Draw the fresh noise of `count` steps: (count, *shape) float64. The first rows do not depend on `count`."""
    return torch.stack([torch.randn(*shape, generator=generator, dtype=torch.float64) for _ in range(count)])


def forward_steps(x_0: Tensor, noises: Iterable[Tensor], schedule: NoiseSchedule) -> Iterator[Tensor]:
    """Walk the forward chain x_t = sqrt(1 - beta_t) x_{t-1} + sqrt(beta_t) eps_t: Ho et al. 2020, eq. (2).

    x_0: any shape; noises: eps_t of x_0's shape, one per step, at most T. Yields the state after each step, from t = 0
    on, as float64.
    """
    x = x_0.double()
    betas = schedule.betas.tolist()
    for t, eps in enumerate(noises):
        x = math.sqrt(1 - betas[t]) * x + math.sqrt(betas[t]) * eps
        yield x


def noise_shares(t: int, schedule: NoiseSchedule) -> Tensor:
    """Share of each step k = 0..t in the variance of the whole noise in x_t.

    beta_k alpha-bar_t / (alpha-bar_k (1 - alpha-bar_t)): (t + 1,) float64, sum 1. Raises ValueError for t outside
    [0, T).
    """
    _check_t(t, schedule)
    log = schedule.log_alphas_cumprod[: t + 1]
    return schedule.betas[: t + 1] * torch.exp(log[-1] - log) / one_minus_exp(log[-1])


def last_step_correlation(schedule: NoiseSchedule) -> Tensor:
    """Correlation of step t's own noise with the whole noise in x_t, which a network predicts: (T,) float64.

    sqrt(beta_t / (1 - alpha-bar_t)), the root of the last of noise_shares; 1 at t = 0.
    """
    return (schedule.betas / one_minus_exp(schedule.log_alphas_cumprod)).sqrt()


@dataclass(frozen=True, eq=False)
class TwoWays:
    """x_t made from the same noises step by step and in one jump; each has x_0's shape, float64."""

    t: int
    chain: Tensor
    jump: Tensor

    @property
    def difference(self) -> Tensor:
        """chain - jump, which is rounding only."""
        return self.chain - self.jump


def two_ways(x_0: Tensor, t: int, noises: Tensor, schedule: NoiseSchedule) -> TwoWays:
    """Make x_t by the chain and by the jump of Ho et al. 2020, eq. (4): equal in every pixel, not only in law.

    The jump's noise is the sum of the steps' noises, weighted by the roots of their shares.
    x_0: any shape; noises: (n, *x_0.shape) with n > t, of which the first t + 1 are used; t in [0, T). Raises
    ValueError for another t, and for noises of another shape or too few.
    """
    _check_t(t, schedule)
    if len(noises) <= t or noises.shape[1:] != x_0.shape:
        raise ValueError(f"noises: must be at least {t + 1} of shape {tuple(x_0.shape)}, got {tuple(noises.shape)}")
    used = noises[: t + 1].double()
    *_, chain = forward_steps(x_0, used, schedule)
    compounded = torch.tensordot(noise_shares(t, schedule).sqrt(), used, dims=1)
    return TwoWays(t, chain, q_sample(x_0.double(), torch.tensor(t), compounded, schedule))


@dataclass(frozen=True, eq=False)
class MomentScores:
    """z-scores of the first two moments of numbers that should be standard normal, at K values of t.

    t: (K,) int64; mean, var: (K,) float64. mean: sqrt(n) times the numbers' mean. var: (their mean square - 1)
    sqrt(n / 2). If the claim holds, each score has mean 0 and variance 1 and is normal for large n. count: n, the
    numbers behind each score.
    """

    t: Tensor
    mean: Tensor
    var: Tensor
    count: int

    @property
    def worst(self) -> float:
        """The largest absolute score."""
        return torch.cat([self.mean, self.var]).abs().max().item()


def moment_scores(t: Sequence[int], standardised: Iterable[Tensor]) -> MomentScores:
    """Score K tensors of equal size, one per t, which should hold independent standard normal numbers."""
    means, squares = [], []
    for z in standardised:
        means.append(z.mean())
        squares.append(z.square().mean())
    n = z.numel()
    mean, var = math.sqrt(n) * torch.stack(means), math.sqrt(n / 2) * (torch.stack(squares) - 1)
    return MomentScores(torch.tensor(t), mean, var, n)


def chain_moments(
    x_0: Tensor, timesteps: Iterable[int], replicas: int, generator: torch.Generator, schedule: NoiseSchedule
) -> MomentScores:
    """Test the chain's moments against the closed form's, on `replicas` copies of x_0 with noises of their own.

    Scores (x_t - sqrt(alpha-bar) x_0) / sqrt(1 - alpha-bar) at each of the timesteps, in [0, T). All come from one
    walk, so scores at neighbouring t are correlated. x_0: any shape. Raises ValueError naming the argument.
    """
    marks = sorted(set(timesteps))
    if not marks:
        raise ValueError("timesteps: needs at least one")
    for t in marks:
        _check_t(t, schedule)
    if replicas < 1:
        raise ValueError(f"replicas: must be at least 1, got {replicas}")
    copies = x_0.double().expand(replicas, *x_0.shape)
    # Drawn one at a time, because all of them would fill the memory; in float32, which is four times as fast
    noises = (torch.randn(*copies.shape, generator=generator).double() for _ in range(marks[-1] + 1))
    wanted = set(marks)
    states = ((t, x) for t, x in enumerate(forward_steps(copies, noises, schedule)) if t in wanted)
    return moment_scores(marks, (eps_from_x_0(x, copies, *signal_and_noise(t, schedule)) for t, x in states))


@dataclass(frozen=True)
class ScheduleSize:
    """How much noise a schedule adds.

    first_std_grey, last_std_grey: sqrt(beta) of the first and the last step, in grey levels of 255. total: -ln
    alpha-bar at the end; sum_of_betas: its value to first order. signal_left: sqrt(alpha-bar) at the end, the
    picture's amplitude still left in "pure noise".
    """

    first_std_grey: float
    last_std_grey: float
    total: float
    sum_of_betas: float
    signal_left: float


def schedule_size(schedule: NoiseSchedule) -> ScheduleSize:
    """Measure how much noise a schedule adds; see ScheduleSize."""
    first, last = (schedule.betas[[0, -1]].sqrt() / (2 * HALF_BIN)).tolist()
    return ScheduleSize(
        first_std_grey=first,
        last_std_grey=last,
        total=-schedule.log_alphas_cumprod[-1].item(),
        sum_of_betas=schedule.betas.sum().item(),
        signal_left=signal_and_noise(len(schedule) - 1, schedule).signal.item(),
    )


def _check_t(t: int, schedule: NoiseSchedule) -> None:
    if not 0 <= t < len(schedule):
        raise ValueError(f"t: must lie in [0, {len(schedule)}), got {t}")
