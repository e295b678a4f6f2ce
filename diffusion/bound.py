"""The terms of the variational bound on -log p(x_0): Ho et al. 2020, eq. (5), for any chain of reverse steps.

-log p(x_0) <= L_T + sum of L_{t-1} + L_0. Lower is better. All terms are closed forms in float64, one number per
picture of a batch, in nats summed over C, H and W; only `bits_per_dim` converts to bits per dimension.
Code index i holds the paper's L_i: step 0 -> -1 is L_0, the decoder, the LAST step of sampling; step t -> s with t >= 1
is the KL term L_t in the paper's numbering; L_T, the prior term, says how far x_T is from N(0, I).

One measurement per step, the error of x_0_hat, gives the term for any reverse variance without another network call.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from diffusion.bound_plan import BoundPlan, Pair
from diffusion.denoisers import Denoiser
from diffusion.errors import FieldError
from diffusion.gaussian import q_sample, step_coefficients
from diffusion.likelihood import NormalCdf, discretized_nats
from diffusion.pixels import check_grid
from diffusion.sampling import noise_like
from diffusion.schedule import NoiseSchedule

BoundVariance = Literal["posterior", "beta", "analytic"]


class InfiniteBound(FieldError):
    """A bound term has no finite value: its reverse variance is 0, negative or NaN."""

    def __init__(self, var: float):
        super().__init__("var", "infinite_bound", got=var)


def bits_per_dim(nats: Tensor | float, dims: int) -> Tensor | float:
    """Convert nats per picture of `dims` = C H W numbers to bits per dimension; no other code changes the unit."""
    return nats / (dims * math.log(2))


def prior_nats(x_0: Tensor, t: int, schedule: NoiseSchedule) -> Tensor:
    """L_T = KL(q(x_t | x_0) || N(0, I)) at the t where the chain starts, t in [0, T), for x_0: (B, C, H, W).

    Returns (B,) float64, in nats.
    """
    alpha_bar = torch.exp(schedule.log_alpha_bar(t)).to(x_0.device)
    second_moment = x_0.double().square().flatten(1).mean(1)
    return 0.5 * x_0[0].numel() * (alpha_bar * second_moment - alpha_bar - torch.log1p(-alpha_bar))


def kl_nats_per_dim(u: Tensor, ratio: Tensor) -> Tensor:
    """L_{t-1} / D = (r (1 + u) - ln r - 1) / 2 in nats, with u = (SNR_s - SNR_t) mean (x_0 - x_0_hat)^2.

    ratio: r = posterior variance / reverse variance, > 0. r = 1 gives u / 2; the best constant, r = 1 / (1 + mean u),
    gives ln(1 + mean u) / 2 on average.
    """
    return 0.5 * (ratio * (1 + u) - torch.log(ratio) - 1)


@dataclass(frozen=True)
class StepError:
    """Squared errors of the denoiser at one step t -> s, one per picture: (B,) float64 means over C, H and W.

    x_0_mse, eps_mse: errors of x_0_hat (clipped if `measure` clips) and of the eps_hat that belongs to it. dims: C H W.
    x_0, x_0_hat: (B, C, H, W), kept only at s = -1, where the term needs them.
    """

    t: int
    s: int
    x_0_mse: Tensor
    eps_mse: Tensor
    dims: int
    x_0: Tensor | None = None
    x_0_hat: Tensor | None = None

    def nats(self, var: float, schedule: NoiseSchedule, cdf: NormalCdf = "erf") -> Tensor:
        """Return the term of this step at the reverse variance `var`: (B,) float64, in nats.

        Raises InfiniteBound unless var > 0, and at s = -1 ValueError for data off the 8-bit grid. cdf: see
        discretized_nats.
        """
        if not var > 0:
            raise InfiniteBound(var)
        if self.s == -1:
            check_grid(self.x_0)
            return discretized_nats(self.x_0, self.x_0_hat, torch.tensor(var), cdf).flatten(1).sum(1)
        c = step_coefficients(self.t, self.s, schedule)
        u = c.delta.to(self.x_0_mse.device) * self.x_0_mse
        return self.dims * kl_nats_per_dim(u, (c.posterior_var / var).to(u))


def measure(
    denoiser: Denoiser, x_0: Tensor, plan: BoundPlan, generators: list[torch.Generator], clip: bool = True
) -> Iterator[StepError]:
    """Yield one StepError per evaluation of the plan, in order; each draws a fresh x_t ~ q(x_t | x_0).

    x_0: (B, C, H, W) in [-1, 1]; generators: one per picture. clip: clamp x_0_hat to [-1, 1], as in sampling. Raises
    ValueError for a guided denoiser (not a likelihood model), a denoiser whose betas are not the plan's, and a wrong
    number of generators.
    """
    if denoiser.description.guided:
        raise ValueError("guidance_scale: a guided denoiser is not a likelihood model and has no bound")
    if not torch.equal(denoiser.schedule.betas, plan.schedule.betas):
        raise ValueError("denoiser: its schedule is not the plan's")
    if len(generators) != len(x_0):
        raise ValueError(f"generators: needs one for each of the {len(x_0)} pictures")
    return _measure(denoiser, x_0, plan, generators, clip)


def _measure(denoiser, x_0, plan, generators, clip) -> Iterator[StepError]:
    exact = x_0.double()
    for t, s in plan.evaluations:
        eps = noise_like(x_0, generators).double()
        x_t = q_sample(exact, torch.tensor(t), eps, plan.schedule)
        prediction = denoiser.predict(x_t, t)
        if clip:
            prediction = prediction.clipped(x_t, step_coefficients(t, s, plan.schedule).level_t)
        yield StepError(
            t=t,
            s=s,
            x_0_mse=(exact - prediction.x_0_hat).square().flatten(1).mean(1),
            eps_mse=(eps - prediction.eps_hat).square().flatten(1).mean(1),
            dims=x_0[0].numel(),
            x_0=exact if s == -1 else None,
            x_0_hat=prediction.x_0_hat if s == -1 else None,
        )


def join(batches: Iterable[Iterable[StepError]]) -> list[StepError]:
    """Concatenate the errors of several batches under one plan, as one large batch. Raises ValueError for two plans."""
    joined = []
    for errors in zip(*batches, strict=True):
        first = errors[0]
        if any((e.t, e.s, e.dims) != (first.t, first.s, first.dims) for e in errors):
            raise ValueError("batches: were not measured under one plan")

        def together(name: str, errors=errors) -> Tensor | None:
            values = [getattr(e, name) for e in errors]
            return None if values[0] is None else torch.cat(values)

        joined.append(
            StepError(
                first.t,
                first.s,
                together("x_0_mse"),
                together("eps_mse"),
                first.dims,
                together("x_0"),
                together("x_0_hat"),
            )
        )
    return joined


def mean_x_0_mse(errors: Iterable[StepError]) -> dict[Pair, float]:
    """Return the measured error of each step, averaged over pictures and draws, to fit the analytic variances to.

    Fit on training pictures, never on the picture whose bound is shown: the result would not be a bound.
    """
    values: dict[Pair, list[Tensor]] = {}
    for error in errors:
        values.setdefault((error.t, error.s), []).append(error.x_0_mse)
    return {pair: torch.cat(parts).mean().item() for pair, parts in values.items()}


def reverse_variances(
    plan: BoundPlan,
    kind: BoundVariance,
    fitted_mse: Mapping[Pair, float] | None = None,
    decoder_var: float | None = None,
) -> dict[Pair, float]:
    """Return the reverse variance of every step that the plan evaluates.

    "posterior": beta tilde. "beta": 1 - alpha-bar_t / alpha-bar_s. "analytic": posterior_var + c_0^2 m, the best
    constant for a measured error m = fitted_mse[t, s]: the optimum of Bao et al. 2022 (Analytic-DPM) if the denoiser is
    exact.
    decoder_var: variance of the last step. Default for "posterior" and "beta", as in Ho et al.'s code: the posterior
    variance of the step before it in THIS chain (its own posterior variance is 0), or beta in a chain of one step.
    Default for "analytic": m itself, the optimum for a density, and slightly above that for 8-bit bins if m is under a
    bin's width.
    Raises ValueError for an unknown kind, for fitted_mse without "analytic" or the reverse, and for a step missing
    in fitted_mse, which it names.
    """
    if kind not in get_args(BoundVariance):
        raise ValueError(f"variance: {kind!r} is unknown; known are {', '.join(get_args(BoundVariance))}")
    if (kind == "analytic") != (fitted_mse is not None):
        raise ValueError("fitted_mse: required for analytic variances only")
    variances = {}
    for pair in dict.fromkeys(plan.evaluations):
        c = step_coefficients(*pair, plan.schedule)
        if fitted_mse is not None:
            if pair not in fitted_mse:
                raise ValueError(f"fitted_mse: lacks the step {pair[0]} -> {pair[1]}")
            variances[pair] = (c.posterior_var + c.c_0**2 * fitted_mse[pair]).item()
        elif pair[1] == -1:
            variances[pair] = default_decoder_var(plan)
        else:
            variances[pair] = (c.beta if kind == "beta" else c.posterior_var).item()
        if pair[1] == -1 and decoder_var is not None:
            variances[pair] = decoder_var
    return variances


def default_decoder_var(plan: BoundPlan) -> float:
    """Return the default of decoder_var for posterior and beta: see reverse_variances."""
    if len(plan.chain) == 1:
        return step_coefficients(*plan.chain[0], plan.schedule).beta.item()
    return step_coefficients(*plan.chain[-2], plan.schedule).posterior_var.item()


@dataclass(frozen=True)
class BoundEstimate:
    """The bound of each picture, (B,) nats, split into its three kinds of term, with errors of its mean over pictures.

    subset_se_nats: standard error from the choice of evaluated steps; 0 if all are evaluated. picture_se_nats: standard
    error from pictures and noise together; for a single picture, from the repeated draws of L_0 alone. An estimate of
    an upper bound is not itself an upper bound: show "<= value +- standard error".
    """

    prior: Tensor
    steps: Tensor
    decoder: Tensor
    subset_se_nats: float
    picture_se_nats: float
    dims: int

    @property
    def nats(self) -> Tensor:
        """L_T + all L_{t-1} + L_0: (B,)."""
        return self.prior + self.steps + self.decoder

    @property
    def standard_error_nats(self) -> float:
        """Standard error of the mean over pictures; errs on the large side, since both parts count the noise."""
        return math.hypot(self.subset_se_nats, self.picture_se_nats)

    @property
    def bpd(self) -> float:
        """Mean over pictures, in bits per dimension. Lower is better."""
        return bits_per_dim(self.nats.mean().item(), self.dims)

    @property
    def standard_error_bpd(self) -> float:
        """Standard error of bpd."""
        return bits_per_dim(self.standard_error_nats, self.dims)


def estimate(
    plan: BoundPlan,
    prior: Tensor,
    errors: Iterable[StepError],
    variances: Mapping[Pair, float],
    cdf: NormalCdf = "erf",
) -> BoundEstimate:
    """Combine measured errors into the bound: each stratum adds its size times the mean of its evaluated terms.

    prior: (B,), prior_nats at the chain's first t. errors: all that `measure` yields, in order (ValueError otherwise).
    variances: see reverse_variances. Each stratum adds size^2 (1 - draws / size) s^2 / draws to the variance, for draws
    without replacement (Cochran 1977, ch. 5).
    """
    errors = list(errors)
    if [(e.t, e.s) for e in errors] != list(plan.evaluations):
        raise ValueError("errors: do not match the plan's evaluations in order")
    terms = [e.nats(variances[e.t, e.s], plan.schedule, cdf).cpu() for e in errors]
    steps, decoder = torch.zeros(len(prior), dtype=torch.float64), torch.zeros(len(prior), dtype=torch.float64)
    subset_var = redraw_var = 0.0
    for stratum in plan.strata:
        drawn, terms = torch.stack(terms[: len(stratum.drawn)]), terms[len(stratum.drawn) :]
        total = stratum.size * drawn.mean(0)
        if stratum.drawn[0][1] == -1:
            decoder = decoder + total
        else:
            steps = steps + total
        if len(drawn) > 1:
            spread = drawn.mean(1).var().item() / len(drawn)
            if stratum.size > 1:
                subset_var += stratum.size**2 * (1 - len(drawn) / stratum.size) * spread
            else:
                redraw_var += spread
    whole = prior.cpu() + steps + decoder
    picture_var = whole.var().item() / len(whole) if len(whole) > 1 else redraw_var
    return BoundEstimate(
        prior=prior.cpu(),
        steps=steps,
        decoder=decoder,
        subset_se_nats=math.sqrt(subset_var),
        picture_se_nats=math.sqrt(picture_var),
        dims=errors[0].dims,
    )
