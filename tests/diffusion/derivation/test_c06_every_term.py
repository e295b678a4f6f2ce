"""The ledger against the bound behind it, the subset of steps against all steps, and the golden weights."""

import math

import numpy as np
import pytest
import torch

from diffusion.bound import estimate, mean_x_0_mse, measure, prior_nats, reverse_variances
from diffusion.bound_plan import BoundPlan
from diffusion.denoisers import NetworkDenoiser
from diffusion.derivation.c06_every_term import (
    eps_weights,
    fitted_errors,
    gaussian_errors,
    ledger,
    recorded_ledger,
)
from diffusion.exact import MixtureDenoiser
from diffusion.sampling import image_generators
from diffusion.schedule import NoiseSchedule
from diffusion.trajectory import pairs, visited_timesteps

LINEAR = NoiseSchedule.named()
SHORT = NoiseSchedule.named("squaredcos_cap_v2", num_train_timesteps=60)
KINDS = ("posterior", "beta", "analytic")


def pictures(count):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 1, 8, 8), generator=generator).float() / 127.5 - 1


@pytest.fixture(scope="module")
def fitted(unet):
    """The network's error at every t of SHORT on other pictures, recorded as a row over t."""
    plan = BoundPlan.all_steps(SHORT, visited_timesteps(60, 60))
    errors = measure(NetworkDenoiser(unet, SHORT), pictures(12)[6:], plan, image_generators(50, 6))
    by_t = {t: value for (t, _), value in mean_x_0_mse(errors).items()}
    t = torch.tensor(sorted(by_t))
    return t, torch.tensor([by_t[k] for k in t.tolist()], dtype=torch.float64)


@pytest.mark.parametrize("count", [1, 4])
def test_the_ledger_adds_up_to_the_bound(unet, fitted, count):
    x_0, plan = pictures(count), BoundPlan.all_steps(SHORT, visited_timesteps(60, 60), decoder_draws=2)
    denoiser, fit = NetworkDenoiser(unet, SHORT), fitted_errors(*fitted, plan.chain, SHORT)
    stages = list(ledger(denoiser, x_0, plan, image_generators(1, count), fit))
    assert [len(stage.bars) for stage in stages] == list(range(1, 62))
    assert [stage.is_complete for stage in stages] == [False] * 60 + [True]
    last = stages[-1]
    errors = list(measure(denoiser, x_0, plan, image_generators(1, count)))
    prior = prior_nats(x_0, 59, SHORT)
    for kind in KINDS:
        variances = reverse_variances(plan, kind, fit if kind == "analytic" else None)
        bound = estimate(plan, prior, errors, variances)
        total = last.totals[kind]
        assert torch.equal(total.nats, bound.nats)
        parts = last.prior_bpd + last.steps_bpd(kind) + last.decoder_bpd(kind)
        assert parts == pytest.approx(total.bpd, rel=1e-12)
        assert total.standard_error_bpd > 0
        assert all(bar.bpd[kind] >= 0 for bar in last.bars)
    by_t = {}
    for error in errors:
        by_t.setdefault(error.t, []).append(error.eps_mse.mean().item())
    assert last.simple == pytest.approx(np.mean([np.mean(values) for values in by_t.values()]), rel=1e-12)
    assert sum(bar.counts for bar in last.bars) == pytest.approx(60)


def test_analytic_variances_are_the_best_where_they_were_fitted(unet):
    x_0, plan = pictures(4), BoundPlan.all_steps(SHORT, visited_timesteps(60, 60))
    denoiser = NetworkDenoiser(unet, SHORT)
    fit = mean_x_0_mse(measure(denoiser, x_0, plan, image_generators(2, 4)))
    *_, last = ledger(denoiser, x_0, plan, image_generators(2, 4), fit)
    for bar in last.bars[:-1]:
        assert bar.bpd["analytic"] <= min(bar.bpd["posterior"], bar.bpd["beta"]) + 1e-12
    *_, without = ledger(denoiser, x_0, plan, image_generators(2, 4))
    assert set(without.totals) == {"posterior", "beta"}


def test_a_subset_estimates_the_whole_and_may_be_stopped(unet):
    x_0, denoiser = pictures(2), NetworkDenoiser(unet, LINEAR)
    timesteps = visited_timesteps(1000, 1000)
    subset = BoundPlan.stratified(LINEAR, timesteps, 64, decoder_draws=2)
    *_, found = ledger(denoiser, x_0, subset, image_generators(4, 2))
    assert found.planned == len(found.bars) == len(subset.evaluations) <= 64
    assert sum(bar.counts for bar in found.bars) == pytest.approx(1000)
    by_size = {bar.t: bar.counts for bar in found.bars}
    assert by_size[5] == 1
    assert by_size[max(by_size)] > 5
    steps = ledger(denoiser, x_0, subset, image_generators(4, 2))
    first = next(steps)
    assert (len(first.bars), first.is_complete) == (1, False)
    assert first.bars[0] == found.bars[0]
    steps.close()


def test_recorded_errors_between_their_timesteps():
    t = torch.tensor([0, 10, 400, 999])
    mse = LINEAR.snr[t] ** -0.5  # a power of the SNR is a line in these axes
    chain = pairs(visited_timesteps(50, 1000))
    for (step, _), value in fitted_errors(t, mse, chain, LINEAR).items():
        assert value == pytest.approx(LINEAR.snr[step].item() ** -0.5, rel=1e-9)
    assert fitted_errors(t, mse, [(10, 9)], LINEAR)[10, 9] == pytest.approx(mse[1].item(), rel=1e-12)
    for wrong, name in (
        ((t[1:], mse[1:], chain), "pairs"),
        ((t.flip(0), mse, chain), "t"),
        ((t, mse[1:], chain), "t"),
        ((t, 0 * mse, chain), "x_0_mse"),
    ):
        with pytest.raises(ValueError, match=f"^{name}:"):
            fitted_errors(*wrong, LINEAR)


def test_golden_weights():
    plan = BoundPlan.all_steps(LINEAR, visited_timesteps(1000, 1000))
    of = {
        kind: eps_weights(plan.chain, LINEAR, reverse_variances(plan, kind)).flip(0) for kind in ("posterior", "beta")
    }
    for t, weight in ((2, 0.600), (10, 0.0864), (100, 0.0103), (500, 0.0055), (1000, 0.0102)):
        assert of["posterior"][t - 1].item() == pytest.approx(weight, abs=5.1e-4 if t == 2 else 5.1e-5)
    assert of["posterior"][1:].argmin().item() + 2 == pytest.approx(350, abs=5)
    assert of["posterior"][1:].min().item() == pytest.approx(0.00498, abs=6e-6)
    large = reverse_variances(plan, "beta", decoder_var=1e-4)  # the last step's own beta
    weights = eps_weights(plan.chain, LINEAR, large).flip(0)
    for t, weight in ((1, 0.500), (2, 0.273), (10, 0.0737)):
        assert weights[t - 1].item() == pytest.approx(weight, abs=5.1e-4 if t < 10 else 5.1e-5)


def test_weights_turn_noise_errors_into_terms_of_any_chain():
    """delta m / 2 = weight * eps error, with m = eps error / SNR; strided, typed anew."""
    ab = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
    plan = BoundPlan.all_steps(LINEAR, [999, 600, 50])
    weights = eps_weights(plan.chain, LINEAR, reverse_variances(plan, "posterior"))
    for weight, (t, s) in zip(weights[:2].tolist(), plan.chain[:2], strict=True):
        snr_s, snr_t = ab[s] / (1 - ab[s]), ab[t] / (1 - ab[t])
        assert weight == pytest.approx(0.5 * (snr_s / snr_t - 1), rel=1e-9)
    assert math.isfinite(weights[2])


def test_the_sum_so_far_ends_at_the_total(unet, fitted):
    plan = BoundPlan.stratified(SHORT, visited_timesteps(60, 60), evaluations=30, exact_until=8, decoder_draws=2)
    last = list(ledger(NetworkDenoiser(unet, SHORT), pictures(1), plan, image_generators(1, 1)))[-1]
    assert last.variances == ("posterior", "beta")
    t, terms, so_far = last.running_bpd("beta")
    assert bool((t.diff() > 0).all()) and len(t) == 29  # the two draws of L_0 are one term
    assert terms[0] == pytest.approx(last.decoder_bpd("beta"), rel=1e-12)
    assert so_far[0] == pytest.approx(last.decoder_bpd("beta"), rel=1e-12)
    assert so_far[-1] + last.prior_bpd == pytest.approx(last.totals["beta"].bpd, rel=1e-12)


def test_a_recorded_error_gives_the_bars(fitted):
    plan = BoundPlan.all_steps(SHORT, visited_timesteps(60, 60))
    fit = fitted_errors(*fitted, plan.chain, SHORT)
    book = recorded_ledger(fit, plan, prior_bpd=0.5)
    assert (len(book.bars), book.is_complete, book.prior_bpd) == (59, False, 0.5)
    bar = next(bar for bar in book.bars if bar.t == 30)
    ab_t, ab_s = SHORT.alphas_cumprod[30].item(), SHORT.alphas_cumprod[29].item()
    u = (ab_s / (1 - ab_s) - ab_t / (1 - ab_t)) * fit[30, 29]
    r = (1 - ab_s) / (1 - ab_t)
    expected = {"posterior": u, "beta": r * (1 + u) - math.log(r) - 1, "analytic": math.log1p(u)}
    assert bar.bpd == pytest.approx({kind: nats / (2 * math.log(2)) for kind, nats in expected.items()}, rel=1e-9)
    assert bar.eps_mse == pytest.approx(ab_t / (1 - ab_t) * fit[30, 29], rel=1e-12)


def test_errors_of_gaussian_pixels_are_those_of_their_exact_denoiser():
    x_0 = 0.5 * torch.randn(20_000, 1, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    plan = BoundPlan.all_steps(SHORT, [59, 30, 4])
    exact = MixtureDenoiser(torch.zeros(1, 1, 2, 2), torch.tensor([0.5]), SHORT)
    found = gaussian_errors(0.25, list(plan.chain), SHORT)
    assert list(found) == list(plan.chain)
    for error in measure(exact, x_0, plan, image_generators(0, len(x_0)), clip=False):
        mean, se = error.x_0_mse.mean().item(), error.x_0_mse.std().item() / len(x_0) ** 0.5
        assert abs(mean - found[error.t, error.s]) < 4.5 * se
    with pytest.raises(ValueError, match="var: must be finite"):
        gaussian_errors(0.0, list(plan.chain), SHORT)
