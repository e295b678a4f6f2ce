"""Rows of kind A: algebra of the schedule alone."""

import math
from collections.abc import Iterator

import torch

from diffusion.bound import prior_nats
from diffusion.derivation.c01_adding_noise import noise_shares, step_noises, two_ways
from diffusion.derivation.c02_the_goal import gaussian_toy
from diffusion.derivation.c03_walking_back import eta_parts
from diffusion.derivation.c04_bringing_in_x0 import witnesses
from diffusion.derivation.c05_three_forms import gaussian_forms
from diffusion.derivation.c07_why_gaussian import (
    curvature_range,
    expected_kl_nats,
    forward_level,
    theorem_nats,
    tweedie,
)
from diffusion.derivation.c08_the_integral import gaussian_kl
from diffusion.derivation.c10_how_good import pick_evenly, some_timesteps
from diffusion.derivation.c11_identity_table.table import Found, Row, Subject, absolute, all_pairs, relative
from diffusion.derivation.line_mixture import LineMixture
from diffusion.gaussian import Prediction, signal_and_noise, step_coefficients
from diffusion.likelihood import gaussian_nats, kl_gaussians
from diffusion.sampling import reverse_mean_and_std
from diffusion.trajectory import pairs, visited_timesteps

ETAS = (0.0, 0.3, 1.0)
TWO_HILLS = LineMixture.of([-1.0, 1.0], [0.4, 0.4])


def _amplitudes(subject: Subject, coefficients=step_coefficients) -> Iterator[Found]:
    """The shrunk noise of x_s plus the step's own is the noise of x_t; the reverse step's parts add up likewise."""
    c = coefficients(*all_pairs(subject.schedule), subject.schedule)
    yield absolute((1 - c.beta) * c.noise_s**2 + c.beta, c.noise_t**2)
    yield absolute(c.c_0 + c.c_t * c.signal_t, c.signal_s)
    yield absolute(c.c_t**2 * c.noise_t**2 + c.posterior_var, c.noise_s**2)


def _one_jump(subject: Subject, two_ways=two_ways) -> Iterator[Found]:
    x_0, T = pick_evenly(subject.training, 1)[0], len(subject.schedule)
    noises = step_noises(x_0.shape, T, torch.Generator().manual_seed(subject.seed))
    for t in (0, T // 2, T - 1):
        ways = two_ways(x_0, t, noises, subject.schedule)
        yield absolute(ways.chain, ways.jump)
        yield absolute(noise_shares(t, subject.schedule).sum(), 1.0)


def _bayes(subject: Subject, witnesses=witnesses) -> Iterator[Found]:
    for t in some_timesteps(subject.schedule, 20):
        pixel = witnesses(0.5, 0.3, t, t - 1, subject.schedule)  # of one sign, so that no mean is 0
        yield relative(pixel.grid.mean, pixel.posterior.mean)
        yield relative(pixel.grid.var, pixel.posterior.var)


def _eta_marginals(subject: Subject, eta_parts=eta_parts) -> Iterator[Found]:
    t, s = all_pairs(subject.schedule)
    c = step_coefficients(t, s, subject.schedule)
    zeros, ones = torch.zeros(len(t), 1, 1, 1).double(), torch.ones(len(t), 1, 1, 1).double()
    for eta in ETAS:
        parts = eta_parts(t, s, eta, subject.schedule)
        yield absolute(parts.of_x_0 + parts.of_x_t * c.signal_t, c.signal_s)
        yield absolute(parts.of_x_t**2 * c.noise_t**2 + parts.fresh**2, c.noise_s**2)
        reused, fresh = reverse_mean_and_std(Prediction(zeros, ones), c, eta)  # the sampler's own
        yield absolute(parts.reused, reused.flatten())
        yield absolute(parts.fresh, fresh)
    yield absolute(parts.of_x_0, c.c_0)
    yield absolute(parts.of_x_t, c.c_t)


def _snr(subject: Subject, coefficients=step_coefficients) -> Iterator[Found]:
    """c_0^2 / posterior variance is the drop in SNR over a step; a long step's drop is the sum of its unit steps'."""
    schedule = subject.schedule
    t, s = all_pairs(schedule)
    c = step_coefficients(t[s >= 0], s[s >= 0], schedule)
    yield relative(c.c_0**2 / c.posterior_var, coefficients(t[s >= 0], s[s >= 0], schedule).delta)
    unit = coefficients(torch.arange(1, len(schedule)), torch.arange(len(schedule) - 1), schedule).delta
    for steps in (10, 50):
        for high, low in pairs(visited_timesteps(min(steps, len(schedule)), len(schedule)))[:-1]:
            yield relative(step_coefficients(high, low, schedule).delta, unit[low:high].sum())


def _toy(subject: Subject, gaussian_toy=gaussian_toy) -> Iterator[Found]:
    T = len(subject.schedule)
    for variance in ("posterior", "beta", "analytic"):
        toy = gaussian_toy(0.5, visited_timesteps(min(T, 100), T), variance, subject.schedule)
        forms = gaussian_forms(toy, 0.5, subject.schedule)
        yield relative(forms.first.total, forms.second.total)
        yield relative(toy.nll_nats + toy.posterior_nats.sum(), toy.bound_nats)


def _kl(subject: Subject, gaussian_kl=gaussian_kl) -> Iterator[Found]:
    schedule = subject.schedule
    for t in some_timesteps(schedule, 6):
        c = step_coefficients(t, t - 1, schedule)
        posterior, beta = c.posterior_var.item(), c.beta.item()
        for var in (posterior, beta):
            found = gaussian_kl(0.0, posterior, 0.5 * math.sqrt(posterior), var)
            yield absolute(found.quadrature_nats, found.closed_nats)
    ratio = torch.logspace(-6, 6, 241, dtype=torch.float64)
    least = (ratio - 1 - ratio.log()).min().item()
    yield Found(least, 0.0, max(0.0, -least), "≥")
    x_0, last = pick_evenly(subject.training, 4).double(), len(schedule) - 1
    signal, noise = signal_and_noise(last, schedule)
    direct = kl_gaussians(signal * x_0, noise**2, 0.0, 1.0).flatten(1).mean(1)
    yield absolute(prior_nats(x_0, last, schedule) / x_0[0].numel(), direct)


def _tweedie(_: Subject, tweedie=tweedie) -> Iterator[Found]:
    """Mean and variance of a mixture's q(x_s | x_t) by Tweedie and by quadrature; the theorem's inequality."""
    x_t = torch.linspace(-2, 2, 9, dtype=torch.float64)
    x_s = torch.linspace(-8, 8, 16_001, dtype=torch.float64)
    largest = max(abs(curvature) for curvature in curvature_range(TWO_HILLS))
    for beta in torch.logspace(-3, -0.3, 10, dtype=torch.float64).tolist():
        level = forward_level(beta)
        mean, var = tweedie(TWO_HILLS.noised(level), x_t, beta)
        likelihood = gaussian_nats(x_t.unsqueeze(1), level.signal * x_s, beta)
        weights = torch.softmax(TWO_HILLS.log_density(x_s) - likelihood, dim=1)
        direct = weights @ x_s
        yield absolute(mean, direct)
        yield absolute(var, (weights * (x_s - direct.unsqueeze(1)) ** 2).sum(1))
        nats, most = expected_kl_nats(TWO_HILLS, beta)["theorem"], theorem_nats(beta, largest)
        yield Found(nats, most, max(0.0, nats - most), "≤")


ALGEBRA = (
    Row(1, "A", "amplitudes", "absolute", 1e-12, _amplitudes),
    Row(2, "A", "one-jump", "absolute", 1e-10, _one_jump),
    Row(3, "A", "bayes", "relative", 1e-8, _bayes),
    Row(4, "A", "eta-marginals", "absolute", 1e-12, _eta_marginals),
    Row(5, "A", "snr", "relative", 1e-10, _snr),
    Row(6, "A", "toy", "relative", 1e-10, _toy),
    Row(7, "A", "kl", "absolute", 1e-9, _kl),
    Row(16, "A", "tweedie", "absolute", 1e-8, _tweedie),
)
