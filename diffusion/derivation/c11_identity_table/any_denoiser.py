"""Rows of kind B: true for any denoiser, evaluated on this one."""

from collections.abc import Iterator
from itertools import cycle

import torch
from torch import Tensor

from diffusion.bound import StepError, mean_x_0_mse, measure, prior_nats, reverse_variances
from diffusion.bound_plan import BoundPlan, Stratum
from diffusion.derivation.c08_the_integral import three_forms
from diffusion.derivation.c09_two_algorithms import sampling_step
from diffusion.derivation.c10_how_good import pick_evenly, some_timesteps, squared_error
from diffusion.derivation.c11_identity_table.table import LEAST_NATS, Found, Row, Subject, absolute, relative
from diffusion.gaussian import q_posterior, q_sample, signal_and_noise, step_coefficients
from diffusion.likelihood import kl_gaussians
from diffusion.sampling import image_generators, noise_like
from diffusion.schedule import NoiseSchedule
from diffusion.trajectory import pairs, visited_timesteps


def _three_forms(subject: Subject, three_forms=three_forms) -> Iterator[Found]:
    x_0 = pick_evenly(subject.held_out, 4)
    for t, variance in zip(some_timesteps(subject.schedule, 6), cycle(("posterior", "beta")), strict=False):
        eps = noise_like(x_0.double(), subject.generators(4))
        forms = three_forms(subject.denoiser, x_0, eps, t, variance=variance)
        yield relative(forms.by_means, forms.by_pictures)
        yield relative(forms.by_noises, forms.by_pictures)


def _errors(subject: Subject, measure=measure) -> Iterator[Found]:
    """The error in eps is SNR times the error in x_0."""
    for error in _measured(subject, pick_evenly(subject.held_out, 4), _every_eighth(subject.schedule), measure):
        signal, noise = signal_and_noise(error.t, subject.schedule)
        yield relative(error.eps_mse, (signal / noise) ** 2 * error.x_0_mse)


def _every_eighth(schedule: NoiseSchedule) -> BoundPlan:
    """Plan unit steps from t = 0 to T - 1, of which eight are evaluated."""
    chain = tuple(pairs(visited_timesteps(len(schedule), len(schedule))))
    strata = tuple(Stratum(1, ((t, t - 1),)) for t in some_timesteps(schedule, 8, first=0))
    return BoundPlan(schedule, chain, strata)


def _measured(subject: Subject, x_0: Tensor, plan: BoundPlan, measure=measure) -> list[StepError]:
    return list(measure(subject.denoiser, x_0, plan, subject.generators(len(x_0)), clip=False))


def _term(subject: Subject, posterior=q_posterior) -> Iterator[Found]:
    """A term of the ledger is the KL of the posterior and the model's Gaussian, for every model variance."""
    schedule, x_0 = subject.schedule, pick_evenly(subject.held_out, 4).double()
    for t in some_timesteps(schedule, 6):
        c = step_coefficients(t, t - 1, schedule)
        x_t = q_sample(x_0, torch.tensor(t), noise_like(x_0, subject.generators(4)), schedule)
        answer = subject.denoiser.predict(x_t, t)
        mean_q, var_q = posterior(x_0, x_t, torch.tensor(t), schedule)
        mean_p = c.c_0 * answer.x_0_hat + c.c_t * x_t
        mse = squared_error(x_0, answer.x_0_hat)
        error = StepError(t, t - 1, mse, mse, x_0[0].numel())
        for var in (c.posterior_var, c.beta, c.posterior_var + c.c_0**2 * mse.mean()):
            direct = kl_gaussians(mean_q, var_q, mean_p, var).flatten(1).mean(1)
            yield relative(direct, error.nats(var.item(), schedule) / error.dims, LEAST_NATS)


def _algorithm_2(subject: Subject, sampling_step=sampling_step) -> Iterator[Found]:
    for t in some_timesteps(subject.schedule, 5, first=0):
        x_t = q_sample(pick_evenly(subject.held_out, 2), torch.tensor(t), _float32_noise(subject, 2), subject.schedule)
        found = sampling_step(subject.denoiser, x_t, t, subject.generators(2))
        size = max(1.0, found.step.x_s.abs().max().item())  # float32's error is relative
        yield absolute(found.step.x_s / size, found.by_pictures / size)
        yield absolute(found.step.x_s / size, found.by_noises / size)


def _float32_noise(subject: Subject, count: int) -> Tensor:
    return noise_like(subject.held_out[:1].expand(count, -1, -1, -1), image_generators(subject.seed + 1, count))


def _signs(subject: Subject, reverse_variances=reverse_variances) -> Iterator[Found]:
    """No picture has a term below 0; the analytic variance costs no more than the others where it was fitted."""
    plan, x_0 = _every_eighth(subject.schedule), pick_evenly(subject.training, 4)
    errors = _measured(subject, x_0, plan)
    fitted = mean_x_0_mse(errors)
    terms = {}
    for kind in ("posterior", "beta", "analytic"):
        variances = reverse_variances(plan, kind, fitted if kind == "analytic" else None)
        terms[kind] = torch.stack([error.nats(variances[error.t, error.s], plan.schedule) for error in errors])
    prior = prior_nats(x_0, len(plan.schedule) - 1, plan.schedule)
    least = min(prior.min().item(), *(values.min().item() for values in terms.values()))
    yield Found(least, 0.0, max(0.0, -least), "≥")
    for kind in ("posterior", "beta"):
        for error, best, other in zip(errors, terms["analytic"].mean(1), terms[kind].mean(1), strict=True):
            if error.s >= 0:  # for the decoder it is optimal for a density, not for grey levels
                excess = (best - other).item() / max(other.item(), LEAST_NATS * error.dims)
                yield Found(best.item(), other.item(), max(0.0, excess), "≤")


ANY_DENOISER = (
    Row(8, "B", "three-forms", "relative", 1e-10, _three_forms),
    Row(9, "B", "errors", "relative", 1e-10, _errors),
    Row(10, "B", "term", "relative", 1e-10, _term),
    Row(11, "B", "algorithm-2", "absolute", 1e-5, _algorithm_2),
    Row(12, "B", "signs", "absolute", 1e-12, _signs),
)
