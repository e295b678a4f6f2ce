"""Rows of kinds C and D: true on average, tested by sampling; and the quality of this network."""

from collections.abc import Iterator

import torch

from diffusion.derivation.c04_bringing_in_x0 import first_form_nats
from diffusion.derivation.c10_how_good import (
    SEED,
    errors_at,
    layer_draws,
    pick_evenly,
    quality,
    some_timesteps,
    squared_error,
)
from diffusion.derivation.c11_identity_table.table import Found, Row, Subject, in_errors
from diffusion.derivation.data_facts import DataFacts, measure_levels
from diffusion.derivation.data_limits import mmse_area
from diffusion.gaussian import q_posterior, q_sample, step_coefficients
from diffusion.likelihood import gaussian_nats
from diffusion.sampling import noise_like, reverse_mean_and_std
from diffusion.trajectory import visited_timesteps

Z = 4.5  # a hundred comparisons raise a false alarm with probability 7e-4


def _first_form(subject: Subject, draws: int = 8, first_form_nats=first_form_nats) -> Iterator[Found]:
    schedule, x_0 = subject.schedule, pick_evenly(subject.held_out, 16).double()
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
        yield in_errors(
            ratio.flatten(2).mean((0, 2)), first_form_nats(squared_error(x_0, answer.x_0_hat), t, t - 1, schedule)
        )


def _errors_apart(subject: Subject, layer_draws=layer_draws) -> Iterator[Found]:
    """Pythagoras for the errors in eps; then L_{t-1} in three layers, each measured independently."""
    x_0, shares = pick_evenly(subject.training, 24), (0.6, 0.75, 0.9)
    timesteps = sorted({max(1, round(share * (len(subject.schedule) - 1))) for share in shares})
    for t in timesteps:
        errors = errors_at(subject.denoiser, subject.exact, x_0, t, subject.generators(len(x_0)))
        yield in_errors(errors.network, errors.exact + errors.between)
    for t in timesteps:
        layers = layer_draws(subject.denoiser, x_0, t, subject.generators(len(x_0)))
        yield in_errors(layers.term, layers.information + layers.gaussian + layers.network)


def _area(subject: Subject, mmse_area=mmse_area) -> Iterator[Found]:
    """I-MMSE: half the area under the mmse is the information in x_t, ln N - E H(w_t); on 64 of the pictures."""
    few, T = pick_evenly(subject.training, 64), len(subject.schedule)
    timesteps = visited_timesteps(min(T, 100), T)
    levels = list(measure_levels(few, subject.schedule, timesteps, draws=64, seed=subject.seed))
    facts = DataFacts.gather(levels, few, subject.schedule, subject.seed)
    area, mmse = mmse_area(facts), facts.posterior_var.mean(1).flip(0)  # in the order of the falling timesteps
    delta = step_coefficients(torch.tensor(timesteps[:-1]), torch.tensor(timesteps[1:]), subject.schedule).delta
    # The truth lies between the stairs above the curve and those below it
    half_width = 0.25 * facts.dims * (delta * (mmse[:-1] - mmse[1:])).sum().abs().item()
    off = max(0.0, abs(area.area_nats - area.entropy_side_nats) - half_width)
    sides, error = (area.area_nats, area.entropy_side_nats), area.difference_se_nats
    yield Found(*sides, off / error, standard_error=error, width=half_width)


def _quality(subject: Subject, quality=quality) -> Iterator[Found]:
    if subject.recorded is None:
        return
    for name, value in quality(subject.denoiser, subject.exact, subject.held_out, SEED).items():
        recorded = subject.recorded[name]
        off, error = abs(value - recorded.value), recorded.standard_error
        yield Found(value, recorded.value, off / error, standard_error=error)


ON_AVERAGE = (
    Row(13, "C", "first-form", "standard_errors", Z, _first_form),
    Row(14, "C", "layers", "standard_errors", Z, _errors_apart),
    Row(15, "C", "area", "standard_errors", Z, _area),
    Row(17, "D", "quality", "standard_errors", 3.0, _quality),
)
