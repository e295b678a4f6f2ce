"""Chapter 11, the table of identities: every claim of the chapters, run on one checkpoint.

Kinds of row. A: algebra of the schedule alone. B: true for any denoiser, and evaluated on this one. C: true on
average, tested by sampling. D: how good this network is, against what was recorded of it. Noise on the weights moves
the values of B and C, and their agreement not at all: only D fails. Code index i is the paper's t = i + 1. Nats.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import cycle
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from diffusion.bound import InfiniteBound, StepError, mean_x_0_mse, measure, prior_nats, reverse_variances
from diffusion.bound_plan import BoundPlan, Stratum
from diffusion.denoisers import Denoiser
from diffusion.derivation.bayes import first_form_nats, witnesses
from diffusion.derivation.data_facts import DataFacts, measure_levels
from diffusion.derivation.data_limits import mmse_area
from diffusion.derivation.forms import gaussian_forms
from diffusion.derivation.goal import gaussian_toy
from diffusion.derivation.integral import gaussian_kl, three_forms
from diffusion.derivation.judging import (
    ROUNDING,
    SEED,
    Recorded,
    errors_at,
    evenly,
    layer_draws,
    quality,
    some_timesteps,
    squared_error,
    z_score,
)
from diffusion.derivation.kernels import (
    curvature_range,
    expected_kl_nats,
    forward_level,
    theorem_nats,
    tweedie,
)
from diffusion.derivation.line_mixture import LineMixture
from diffusion.derivation.noising import noise_shares, step_noises, two_ways
from diffusion.derivation.one_step import sampling_step
from diffusion.derivation.reversal import eta_parts
from diffusion.exact import DataDenoiser
from diffusion.gaussian import (
    Prediction,
    StepCoefficients,
    q_posterior,
    q_sample,
    signal_and_noise,
    step_coefficients,
)
from diffusion.likelihood import gaussian_nats, kl_gaussians
from diffusion.sampling import image_generators, noise_like, reverse_mean_and_std
from diffusion.schedule import NoiseSchedule
from diffusion.trajectory import pairs, visited_timesteps

Kind = Literal["A", "B", "C", "D"]
Measure = Literal["absolute", "relative", "standard_errors"]
Z = 4.5  # a hundred comparisons raise a false alarm with probability 7e-4
MOST_TIMESTEPS = 1000  # of which all pairs are formed
LEAST_NATS = 1e-3  # per dimension: a KL is a difference of numbers near 1
ETAS = (0.0, 0.3, 1.0)
TWO_HILLS = LineMixture.of([-1.0, 1.0], [0.4, 0.4])


@dataclass(frozen=True, eq=False)
class Subject:
    """What the rows run on.

    denoiser: of x_t alone (judging.without_class), for batches of any size. training, held_out: (N, C, H, W) in [-1, 1]
    on the 8-bit grid, of the checkpoint's reference/ as they stand there; the recorded values belong to these pictures.
    recorded: by name, see judging.quality; None where nothing is. seed: of the noise, but for that of row 17.
    """

    denoiser: Denoiser
    training: Tensor
    held_out: Tensor
    recorded: Mapping[str, Recorded] | None = None
    seed: int = SEED

    @property
    def schedule(self) -> NoiseSchedule:
        return self.denoiser.schedule

    @cached_property
    def exact(self) -> DataDenoiser:
        """Knows the training pictures."""
        return DataDenoiser(self.training, self.schedule)

    def generators(self, count: int) -> list[torch.Generator]:
        """One a picture."""
        return image_generators(self.seed, count)


class Found(NamedTuple):
    """Two sides of an identity at one place, and how far apart they are, in the row's measure."""

    left: float
    right: float
    difference: float


@dataclass(frozen=True)
class Row:
    """A claim. key: names it in texts. check: yields both sides at every place where it is looked at."""

    number: int
    kind: Kind
    key: str
    measure: Measure
    tolerance: float
    check: Callable[[Subject], Iterator[Found]]


@dataclass(frozen=True)
class RowResult:
    """A row that was run: the place where its sides are farthest apart. passed: None where nothing was recorded."""

    number: int
    kind: Kind
    key: str
    measure: Measure
    left: float
    right: float
    difference: float
    tolerance: float
    passed: bool | None
    seconds: float


def run_identities(subject: Subject, rows: Sequence[Row] | None = None) -> Iterator[RowResult]:
    """The results, row by row as they come; all of ROWS by default. A side that is not a number fails its row."""
    for row in ROWS if rows is None else rows:
        began = time.perf_counter()
        try:
            found = list(row.check(subject))
        except InfiniteBound:  # where a denoiser answers with no numbers, the best variance is none
            found = [Found(math.nan, math.nan, math.nan)]
        worst = max(found, key=lambda f: math.inf if math.isnan(f.difference) else f.difference, default=None)
        left, right, difference = worst or (math.nan,) * 3
        yield RowResult(
            number=row.number,
            kind=row.kind,
            key=row.key,
            measure=row.measure,
            left=left,
            right=right,
            difference=difference,
            tolerance=row.tolerance,
            passed=None if worst is None else difference <= row.tolerance,
            seconds=time.perf_counter() - began,
        )


def all_pairs(schedule: NoiseSchedule) -> tuple[Tensor, Tensor]:
    """All t, s with -1 <= s < t among all timesteps, or among 1,000 evenly spread ones. (P,) int64 each."""
    visited = torch.tensor([-1, *some_timesteps(schedule, MOST_TIMESTEPS, first=0)])
    later, earlier = torch.tril_indices(len(visited), len(visited), offset=-1)
    return visited[later], visited[earlier]


def _absolute(left: Tensor | float, right: Tensor | float) -> Found:
    left, right = torch.broadcast_tensors(*(torch.as_tensor(x, dtype=torch.float64) for x in (left, right)))
    return _worst(left, right, (left - right).abs())


def _relative(left: Tensor | float, right: Tensor | float, least: float = 1e-300) -> Found:
    """least: numbers below it are compared as if they were of that size, which is where rounding has the word."""
    left, right = torch.broadcast_tensors(*(torch.as_tensor(x, dtype=torch.float64) for x in (left, right)))
    size = torch.maximum(left.abs(), right.abs()).clamp(min=least)
    return _worst(left, right, (left - right).abs() / size)


def _worst(left: Tensor, right: Tensor, difference: Tensor) -> Found:
    k = difference.flatten().argmax()
    return Found(*(x.flatten()[k].item() for x in (left, right, difference)))


def _in_errors(left: Tensor, right: Tensor) -> Found:
    """Means of paired draws (n,) that should be equal, in standard errors of their difference."""
    rounding = ROUNDING * max(left.abs().mean().item(), right.abs().mean().item())
    return Found(left.mean().item(), right.mean().item(), abs(z_score(left - right, rounding)))


# A: the schedule


def _amplitudes(subject: Subject) -> Iterator[Found]:
    c = step_coefficients(*all_pairs(subject.schedule), subject.schedule)
    yield _absolute(next_var(c), c.noise_t**2)
    yield _absolute(c.c_0 + c.c_t * c.signal_t, c.signal_s)
    yield _absolute(c.c_t**2 * c.noise_t**2 + c.posterior_var, c.noise_s**2)


def next_var(c: StepCoefficients) -> Tensor:
    """The noise in x_t: what was in x_s, shrunk, and the step's own. alpha (1 - alpha-bar_s) + beta."""
    return (1 - c.beta) * c.noise_s**2 + c.beta


def _one_jump(subject: Subject) -> Iterator[Found]:
    x_0, T = evenly(subject.training, 1)[0], len(subject.schedule)
    noises = step_noises(x_0.shape, T, torch.Generator().manual_seed(subject.seed))
    for t in (0, T // 2, T - 1):
        ways = two_ways(x_0, t, noises, subject.schedule)
        yield _absolute(ways.chain, ways.jump)
        yield _absolute(noise_shares(t, subject.schedule).sum(), 1.0)


def _bayes(subject: Subject) -> Iterator[Found]:
    for t in some_timesteps(subject.schedule, 20):
        pixel = witnesses(0.5, 0.3, t, t - 1, subject.schedule)  # one sign, so that no mean is 0
        yield _relative(pixel.grid.mean, pixel.posterior.mean)
        yield _relative(pixel.grid.var, pixel.posterior.var)


def _eta_marginals(subject: Subject) -> Iterator[Found]:
    t, s = all_pairs(subject.schedule)
    c = step_coefficients(t, s, subject.schedule)
    zeros, ones = torch.zeros(len(t), 1, 1, 1).double(), torch.ones(len(t), 1, 1, 1).double()
    for eta in ETAS:
        parts = eta_parts(t, s, eta, subject.schedule)
        yield _absolute(parts.of_x_0 + parts.of_x_t * c.signal_t, c.signal_s)
        yield _absolute(parts.of_x_t**2 * c.noise_t**2 + parts.fresh**2, c.noise_s**2)
        reused, fresh = reverse_mean_and_std(Prediction(zeros, ones), c, eta)  # the sampler's own
        yield _absolute(parts.reused, reused.flatten())
        yield _absolute(parts.fresh, fresh)
    yield _absolute(parts.of_x_0, c.c_0)
    yield _absolute(parts.of_x_t, c.c_t)


def _snr(subject: Subject) -> Iterator[Found]:
    schedule = subject.schedule
    t, s = all_pairs(schedule)
    c = step_coefficients(t[s >= 0], s[s >= 0], schedule)
    yield _relative(c.c_0**2 / c.posterior_var, c.delta)
    unit = snr_drops(torch.arange(1, len(schedule)), torch.arange(len(schedule) - 1), schedule)
    for steps in (10, 50):
        for high, low in pairs(visited_timesteps(min(steps, len(schedule)), len(schedule)))[:-1]:
            yield _relative(step_coefficients(high, low, schedule).delta, unit[low:high].sum())


def snr_drops(t: Tensor, s: Tensor, schedule: NoiseSchedule) -> Tensor:
    """SNR_s - SNR_t of steps t -> s."""
    return step_coefficients(t, s, schedule).delta


def _toy(subject: Subject) -> Iterator[Found]:
    T = len(subject.schedule)
    for variance in ("posterior", "beta", "analytic"):
        toy = gaussian_toy(0.5, visited_timesteps(min(T, 100), T), variance, subject.schedule)
        forms = gaussian_forms(toy, 0.5, subject.schedule)
        yield _relative(forms.first.total, forms.second.total)
        yield _relative(toy.nll_nats + toy.posterior_nats.sum(), toy.bound_nats)


def _kl(subject: Subject) -> Iterator[Found]:
    schedule = subject.schedule
    for t in some_timesteps(schedule, 6):
        c = step_coefficients(t, t - 1, schedule)
        posterior, beta = c.posterior_var.item(), c.beta.item()
        for var in (posterior, beta):
            found = gaussian_kl(0.0, posterior, 0.5 * math.sqrt(posterior), var)
            yield _absolute(found.quadrature_nats, found.closed_nats)
    ratio = torch.logspace(-6, 6, 241, dtype=torch.float64)
    least = (ratio - 1 - ratio.log()).min().item()
    yield Found(least, 0.0, max(0.0, -least))
    x_0, last = evenly(subject.training, 4).double(), len(schedule) - 1
    signal, noise = signal_and_noise(last, schedule)
    direct = kl_gaussians(signal * x_0, noise**2, 0.0, 1.0).flatten(1).mean(1)
    yield _absolute(prior_nats(x_0, last, schedule) / x_0[0].numel(), direct)


def _tweedie(_: Subject) -> Iterator[Found]:
    """Mean and variance of q(x_s | x_t) of a mixture by Tweedie and by quadrature; the theorem's inequality."""
    x_t = torch.linspace(-2, 2, 9, dtype=torch.float64)
    x_s = torch.linspace(-8, 8, 16_001, dtype=torch.float64)
    largest = max(abs(curvature) for curvature in curvature_range(TWO_HILLS))
    for beta in torch.logspace(-3, -0.3, 10, dtype=torch.float64).tolist():
        level = forward_level(beta)
        mean, var = tweedie(TWO_HILLS.noised(level), x_t, beta)
        likelihood = gaussian_nats(x_t.unsqueeze(1), level.signal * x_s, beta)
        weights = torch.softmax(TWO_HILLS.log_density(x_s) - likelihood, dim=1)
        direct = weights @ x_s
        yield _absolute(mean, direct)
        yield _absolute(var, (weights * (x_s - direct.unsqueeze(1)) ** 2).sum(1))
        nats, most = expected_kl_nats(TWO_HILLS, beta)["theorem"], theorem_nats(beta, largest)
        yield Found(nats, most, max(0.0, nats - most))


# B: any denoiser


def _three_forms(subject: Subject) -> Iterator[Found]:
    x_0 = evenly(subject.held_out, 4)
    for t, variance in zip(some_timesteps(subject.schedule, 6), cycle(("posterior", "beta")), strict=False):
        eps = noise_like(x_0.double(), subject.generators(4))
        forms = three_forms(subject.denoiser, x_0, eps, t, variance=variance)
        yield _relative(forms.by_means, forms.by_pictures)
        yield _relative(forms.by_noises, forms.by_pictures)


def _errors(subject: Subject) -> Iterator[Found]:
    for error in _measured(subject, evenly(subject.held_out, 4), _every_eighth(subject.schedule)):
        yield _relative(error.eps_mse, snr_at(error.t, subject.schedule) * error.x_0_mse)


def snr_at(t: int, schedule: NoiseSchedule) -> Tensor:
    """alpha-bar / (1 - alpha-bar)."""
    signal, noise = signal_and_noise(t, schedule)
    return (signal / noise) ** 2


def _every_eighth(schedule: NoiseSchedule) -> BoundPlan:
    """Unit steps from t = 0 to T - 1, of which eight are evaluated."""
    chain = tuple(pairs(visited_timesteps(len(schedule), len(schedule))))
    strata = tuple(Stratum(1, ((t, t - 1),)) for t in some_timesteps(schedule, 8, first=0))
    return BoundPlan(schedule, chain, strata)


def _measured(subject: Subject, x_0: Tensor, plan: BoundPlan) -> list[StepError]:
    return list(measure(subject.denoiser, x_0, plan, subject.generators(len(x_0)), clip=False))


def _term(subject: Subject) -> Iterator[Found]:
    schedule, x_0 = subject.schedule, evenly(subject.held_out, 4).double()
    for t in some_timesteps(schedule, 6):
        c = step_coefficients(t, t - 1, schedule)
        x_t = q_sample(x_0, torch.tensor(t), noise_like(x_0, subject.generators(4)), schedule)
        answer = subject.denoiser.predict(x_t, t)
        mean_q, var_q = q_posterior(x_0, x_t, torch.tensor(t), schedule)
        mean_p = model_mean(answer, x_t, c)
        mse = squared_error(x_0, answer.x_0_hat)
        error = StepError(t, t - 1, mse, mse, x_0[0].numel())
        for var in (c.posterior_var, c.beta, c.posterior_var + c.c_0**2 * mse.mean()):
            direct = kl_gaussians(mean_q, var_q, mean_p, var).flatten(1).mean(1)
            yield _relative(direct, error.nats(var.item(), schedule) / error.dims, LEAST_NATS)


def model_mean(answer: Prediction, x_t: Tensor, c: StepCoefficients) -> Tensor:
    """mu_theta: c_0 x_0_hat + c_t x_t."""
    return c.c_0 * answer.x_0_hat + c.c_t * x_t


def _algorithm_2(subject: Subject) -> Iterator[Found]:
    for t in some_timesteps(subject.schedule, 5, first=0):
        x_t = q_sample(evenly(subject.held_out, 2), torch.tensor(t), *_float32_noise(subject, 2), subject.schedule)
        found = sampling_step(subject.denoiser, x_t, t, subject.generators(2))
        size = max(1.0, found.step.x_s.abs().max().item())  # float32 has so many digits, wherever the point is
        yield _absolute(found.step.x_s / size, found.by_pictures / size)
        yield _absolute(found.step.x_s / size, found.by_noises / size)


def _float32_noise(subject: Subject, count: int) -> tuple[Tensor]:
    return (noise_like(subject.held_out[:1].expand(count, -1, -1, -1), image_generators(subject.seed + 1, count)),)


def _signs(subject: Subject) -> Iterator[Found]:
    """The least term of any picture; and by how much the analytic variance costs more, where it was fitted."""
    plan, x_0 = _every_eighth(subject.schedule), evenly(subject.training, 4)
    errors = _measured(subject, x_0, plan)
    fitted = mean_x_0_mse(errors)
    terms = {}
    for kind in ("posterior", "beta", "analytic"):
        variances = reverse_variances(plan, kind, fitted if kind == "analytic" else None)
        terms[kind] = torch.stack([error.nats(variances[error.t, error.s], plan.schedule) for error in errors])
    prior = prior_nats(x_0, len(plan.schedule) - 1, plan.schedule)
    least = min(prior.min().item(), *(values.min().item() for values in terms.values()))
    yield Found(least, 0.0, max(0.0, -least))
    for kind in ("posterior", "beta"):
        for error, best, other in zip(errors, terms["analytic"].mean(1), terms[kind].mean(1), strict=True):
            if error.s >= 0:  # of the decoder it is the optimum of a density, not of grey levels
                excess = (best - other).item() / max(other.item(), LEAST_NATS * error.dims)
                yield Found(best.item(), other.item(), max(0.0, excess))


# C: on average


def _first_form(subject: Subject, draws: int = 8) -> Iterator[Found]:
    schedule, x_0 = subject.schedule, evenly(subject.held_out, 16).double()
    generator = torch.Generator().manual_seed(subject.seed)
    for t in some_timesteps(schedule, 3):
        c = step_coefficients(t, t - 1, schedule)
        x_t = q_sample(x_0, torch.tensor(t), noise_like(x_0, subject.generators(len(x_0))), schedule)
        answer = subject.denoiser.predict(x_t, t)
        mean_q, _ = q_posterior(x_0, x_t, torch.tensor(t), schedule)
        mean_p, _ = reverse_mean_and_std(answer, c, eta=1.0)
        z = torch.randn(draws, *x_0.shape, generator=generator, dtype=torch.float64)
        x_s = mean_q + c.posterior_var.sqrt() * z
        forward = gaussian_nats(x_t, c.signal_t / c.signal_s * x_s, c.beta)  # -log q(x_t | x_s)
        ratio = gaussian_nats(x_s, mean_p, c.posterior_var) - forward
        yield _in_errors(
            ratio.flatten(2).mean((0, 2)), first_form_nats(squared_error(x_0, answer.x_0_hat), t, t - 1, schedule)
        )


def _errors_apart(subject: Subject) -> Iterator[Found]:
    """Pythagoras for the errors in eps; then L_{t-1} in three layers, each measured for itself."""
    x_0, shares = evenly(subject.training, 24), (0.6, 0.75, 0.9)
    timesteps = sorted({max(1, round(share * (len(subject.schedule) - 1))) for share in shares})
    for t in timesteps:
        errors = errors_at(subject.denoiser, subject.exact, x_0, t, subject.generators(len(x_0)))
        yield _in_errors(errors.network, errors.exact + errors.between)
    few = x_0
    for t in timesteps:
        layers = layer_draws(subject.denoiser, few, t, subject.generators(len(few)))
        yield _in_errors(layers.term, layers.information + layers.gaussian + layers.network)


def _area(subject: Subject) -> Iterator[Found]:
    """I-MMSE: half the area under the mmse is the information in x_t, ln N - E H(w_t); a set of 64 of the pictures."""
    few, T = evenly(subject.training, 64), len(subject.schedule)
    timesteps = visited_timesteps(min(T, 100), T)
    levels = list(measure_levels(few, subject.schedule, timesteps, draws=64, seed=subject.seed))
    facts = DataFacts.gather(levels, few, subject.schedule, subject.seed)
    area, mmse = mmse_area(facts), facts.posterior_var.mean(1).flip(0)  # of the falling timesteps
    delta = step_coefficients(torch.tensor(timesteps[:-1]), torch.tensor(timesteps[1:]), subject.schedule).delta
    # The truth lies between the stairs above the curve and those below it
    half_width = 0.25 * facts.dims * (delta * (mmse[:-1] - mmse[1:])).sum().abs().item()
    off = max(0.0, abs(area.area_nats - area.entropy_side_nats) - half_width)
    yield Found(area.area_nats, area.entropy_side_nats, off / area.difference_se_nats)


# D: this network


def _quality(subject: Subject) -> Iterator[Found]:
    if subject.recorded is None:
        return
    for name, value in quality(subject.denoiser, subject.exact, subject.held_out, SEED).items():
        recorded = subject.recorded[name]
        yield Found(value, recorded.value, abs(value - recorded.value) / recorded.standard_error)


ROWS = (
    Row(1, "A", "amplitudes", "absolute", 1e-12, _amplitudes),
    Row(2, "A", "one-jump", "absolute", 1e-10, _one_jump),
    Row(3, "A", "bayes", "relative", 1e-8, _bayes),
    Row(4, "A", "eta-marginals", "absolute", 1e-12, _eta_marginals),
    Row(5, "A", "snr", "relative", 1e-10, _snr),
    Row(6, "A", "toy", "relative", 1e-10, _toy),
    Row(7, "A", "kl", "absolute", 1e-9, _kl),
    Row(8, "B", "three-forms", "relative", 1e-10, _three_forms),
    Row(9, "B", "errors", "relative", 1e-10, _errors),
    Row(10, "B", "term", "relative", 1e-10, _term),
    Row(11, "B", "algorithm-2", "absolute", 1e-5, _algorithm_2),
    Row(12, "B", "signs", "absolute", 1e-12, _signs),
    Row(13, "C", "first-form", "standard_errors", Z, _first_form),
    Row(14, "C", "layers", "standard_errors", Z, _errors_apart),
    Row(15, "C", "area", "standard_errors", Z, _area),
    Row(16, "A", "tweedie", "absolute", 1e-8, _tweedie),
    Row(17, "D", "quality", "standard_errors", 3.0, _quality),
)
