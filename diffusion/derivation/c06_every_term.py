"""Chapter 6, the ledger: the cost of every term of the bound, in bits per dimension, as it is measured.

diffusion.bound measures: one number per step, the error of x_0_hat, gives the term for every reverse variance. A
subset of steps (bound_plan) stands for the whole chain. Code index i holds the paper's L_i; the tutorial labels the
paper's L_{t-1} with t. Show "<= total +- standard error": an estimate of an upper bound is not itself one.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from diffusion.bound import (
    BoundEstimate,
    BoundVariance,
    StepError,
    bits_per_dim,
    estimate,
    kl_nats_per_dim,
    measure,
    prior_nats,
    reverse_variances,
)
from diffusion.bound_plan import BoundPlan, Pair
from diffusion.denoisers import Denoiser
from diffusion.gaussian import step_coefficients
from diffusion.schedule import NoiseSchedule


@dataclass(frozen=True)
class Bar:
    """One evaluated step t -> s, averaged over pictures: its term for each variance, in bits per dimension.

    counts: the number of chain terms that it stands for, size / draws of its stratum; the sum of counts times bpd is
    the total. eps_mse: its term of L_simple, whose weight is 1 everywhere.
    """

    t: int
    s: int
    counts: float
    x_0_mse: float
    eps_mse: float
    bpd: dict[BoundVariance, float]


@dataclass(frozen=True, eq=False)
class Ledger:
    """The bars measured so far, and the totals once all are measured, for one picture or the mean of a batch.

    planned: the number of evaluations in the plan. prior_bpd: L_T. totals: by variance; None until all are measured.
    """

    prior_bpd: float
    bars: tuple[Bar, ...]
    planned: int
    totals: dict[BoundVariance, BoundEstimate] | None = None

    @property
    def is_complete(self) -> bool:
        """Whether all evaluations are measured, so that the totals exist."""
        return self.totals is not None

    def steps_bpd(self, variance: BoundVariance) -> float:
        """Sum of L_{t-1} over the steps measured so far, without L_T and L_0."""
        return sum(bar.counts * bar.bpd[variance] for bar in self.bars if bar.s >= 0)

    def decoder_bpd(self, variance: BoundVariance) -> float:
        """L_0 from the draws measured so far."""
        return sum(bar.counts * bar.bpd[variance] for bar in self.bars if bar.s == -1)

    @property
    def variances(self) -> tuple[BoundVariance, ...]:
        """The reverse variances of the bars."""
        return tuple(self.bars[0].bpd)

    def running_bpd(self, variance: BoundVariance) -> tuple[Tensor, Tensor, Tensor]:
        """Return t rising, the term at each t, and the running sum, without L_T: (steps,) each.

        A step with several draws, as L_0 has, counts as one term: their mean.
        """
        steps: dict[int, list[Bar]] = {}
        for bar in sorted(self.bars, key=lambda bar: bar.t):
            steps.setdefault(bar.t, []).append(bar)
        terms = [sum(bar.bpd[variance] for bar in bars) / len(bars) for bars in steps.values()]
        counted = [sum(bar.counts * bar.bpd[variance] for bar in bars) for bars in steps.values()]
        of_steps, of_all = (torch.tensor(one, dtype=torch.float64) for one in (terms, counted))
        return torch.tensor(list(steps)), of_steps, of_all.cumsum(0)

    @property
    def simple(self) -> float:
        """L_simple so far: the mean of eps_mse over the measured steps, each weighted with its counts."""
        return sum(bar.counts * bar.eps_mse for bar in self.bars) / sum(bar.counts for bar in self.bars)


def ledger(
    denoiser: Denoiser,
    x_0: Tensor,
    plan: BoundPlan,
    generators: list[torch.Generator],
    fitted_mse: Mapping[Pair, float] | None = None,
    clip: bool = True,
) -> Iterator[Ledger]:
    """Yield the ledger after each evaluation of the plan; the last one has the totals. The caller can stop iterating.

    x_0: (B, C, H, W) on the 8-bit grid; the bars are means over it. generators: one per picture; the same noise serves
    all variances. fitted_mse: for "analytic" variances, as returned by fitted_errors, from training pictures and never
    from x_0; without it the variances are "posterior" and "beta" only. Raises ValueError as diffusion.bound.measure
    does, before the first step.
    """
    variances: dict[BoundVariance, dict[Pair, float]] = {
        "posterior": reverse_variances(plan, "posterior"),
        "beta": reverse_variances(plan, "beta"),
    }
    if fitted_mse is not None:
        variances["analytic"] = reverse_variances(plan, "analytic", fitted_mse)
    prior = prior_nats(x_0, plan.chain[0][0], plan.schedule).cpu()
    return _stream(measure(denoiser, x_0, plan, generators, clip), plan, prior, variances, x_0[0].numel())


def _stream(errors: Iterator[StepError], plan: BoundPlan, prior: Tensor, variances, dims: int) -> Iterator[Ledger]:
    counts = [stratum.size / len(stratum.drawn) for stratum in plan.strata for _ in stratum.drawn]
    measured: list[StepError] = []
    bars: list[Bar] = []
    prior_bpd = bits_per_dim(prior.mean().item(), dims)
    for error, count in zip(errors, counts, strict=True):
        measured.append(error)
        bars.append(_bar(error, count, variances, plan.schedule))
        totals = None
        if len(bars) == len(counts):
            totals = {kind: estimate(plan, prior, measured, own) for kind, own in variances.items()}
        yield Ledger(prior_bpd, tuple(bars), len(counts), totals)


def _bar(error: StepError, count: float, variances, schedule: NoiseSchedule) -> Bar:
    pair = (error.t, error.s)
    return Bar(
        t=error.t,
        s=error.s,
        counts=count,
        x_0_mse=error.x_0_mse.mean().item(),
        eps_mse=error.eps_mse.mean().item(),
        bpd={
            kind: bits_per_dim(error.nats(own[pair], schedule).mean().item(), error.dims)
            for kind, own in variances.items()
        },
    )


def gaussian_errors(var: float, pairs: list[Pair], schedule: NoiseSchedule) -> dict[Pair, float]:
    """Error of a denoiser that knows only the mean and variance of every pixel; use it where no error was recorded.

    This is Var[x_0 | x_t] of Gaussian pixels, the least error of an estimate linear in x_t. var: the pixels' mean
    variance. Returns the error at each pair. Raises ValueError unless var is finite and above 0.
    """
    if not 0 < var < math.inf:
        raise ValueError(f"var: must be finite and above 0, got {var}")
    c = step_coefficients(*torch.tensor(pairs).T, schedule)
    values = var * c.noise_t**2 / (c.signal_t**2 * var + c.noise_t**2)
    return {tuple(pair): value for pair, value in zip(pairs, values.tolist(), strict=True)}


def recorded_ledger(x_0_mse: Mapping[Pair, float], plan: BoundPlan, prior_bpd: float) -> Ledger:
    """Compute the bars of a recorded error for every step of the plan's chain except the last.

    The last step, L_0, needs the pictures: the ledger lacks it and the totals. x_0_mse: as returned by fitted_errors;
    the "analytic" variances are fitted to it.
    """
    t, s = torch.tensor(plan.chain[:-1]).T
    c = step_coefficients(t, s, plan.schedule)
    mse = torch.tensor([x_0_mse[pair] for pair in plan.chain[:-1]], dtype=torch.float64)
    terms = {}
    for kind in ("posterior", "beta", "analytic"):
        own = reverse_variances(plan, kind, x_0_mse if kind == "analytic" else None)
        var = torch.tensor([own[pair] for pair in plan.chain[:-1]], dtype=torch.float64)
        terms[kind] = bits_per_dim(kl_nats_per_dim(c.delta * mse, c.posterior_var / var), 1).tolist()
    eps_mse = ((c.signal_t / c.noise_t).square() * mse).tolist()
    bars = (
        Bar(*pair, 1.0, mse[k].item(), eps_mse[k], {kind: terms[kind][k] for kind in terms})
        for k, pair in enumerate(plan.chain[:-1])
    )
    return Ledger(prior_bpd, tuple(bars), len(plan.chain))


def fitted_errors(t: Tensor, x_0_mse: Tensor, pairs: list[Pair], schedule: NoiseSchedule) -> dict[Pair, float]:
    """Interpolate errors recorded at some t to the steps of any chain: the fitted_mse of reverse_variances.

    t: (G,) rising; x_0_mse: (G,), the denoiser's error there on training pictures, each above 0. The log error is
    linear in log SNR between the recorded t, and the record itself at them. Any positive variance gives a valid bound,
    so an interpolated value only makes it slightly less tight. Raises ValueError for a step outside the record, and for
    a record that is not as described.
    """
    t, mse = torch.as_tensor(t).cpu(), torch.as_tensor(x_0_mse, dtype=torch.float64).cpu()
    if t.ndim != 1 or t.shape != mse.shape or not len(t) or bool((t.diff() <= 0).any()):
        raise ValueError(f"t: must be a rising row with one x_0_mse each, got {tuple(t.shape)} and {tuple(mse.shape)}")
    if not bool((mse > 0).all()):
        raise ValueError(f"x_0_mse: each must be above 0, got {mse.min().item()}")
    wanted = torch.tensor([pair[0] for pair in pairs])
    if bool((wanted < t[0]).any() or (wanted > t[-1]).any()):
        raise ValueError(f"pairs: t must lie in the record's [{t[0]}, {t[-1]}], got {wanted.min()} to {wanted.max()}")
    level = schedule.log_sigma.numpy()  # -log SNR / 2, rising with t
    values = np.exp(np.interp(level[wanted.numpy()], level[t.numpy()], mse.log().numpy()))
    return {tuple(pair): float(value) for pair, value in zip(pairs, values, strict=True)}


def eps_weights(pairs: list[Pair], schedule: NoiseSchedule, variances: Mapping[Pair, float]) -> Tensor:
    """Factor of ||eps - eps_hat||^2 in each step's term, in nats: c_0^2 / (2 sigma^2 SNR_t), (S,).

    L_simple has 1 instead. For unit steps and fixed variances these are c08_the_integral.eps_weights. At s = -1, where
    the bound has the decoder, it is the weight in the term of a Gaussian density.
    """
    c = step_coefficients(*torch.tensor(pairs).T, schedule)
    var = torch.tensor([variances[pair] for pair in pairs], dtype=torch.float64)
    return (c.c_0 * c.noise_t / c.signal_t).square() / (2 * var)
