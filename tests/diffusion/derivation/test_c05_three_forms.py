"""Three forms with one total, against closed forms and draws of the chain; the golden table of the first beta."""

import math

import numpy as np
import pytest
import torch

from diffusion.derivation.c02_the_goal import gaussian_toy
from diffusion.derivation.c05_three_forms import BoundForm, first_beta, first_from_second, gaussian_forms, prior_bpd
from diffusion.schedule import NoiseSchedule
from diffusion.trajectory import pairs, visited_timesteps

LINEAR = NoiseSchedule.named()
BETAS = np.linspace(1e-4, 0.02, 1000)
AB = np.append(np.cumprod(1 - BETAS), 1.0)
LN2 = math.log(2)


@pytest.mark.parametrize("variance", ["posterior", "beta", "analytic"])
@pytest.mark.parametrize(("T", "S", "std"), [(1000, 1000, 0.5), (1000, 20, 0.5), (1000, 7, 1.7), (30, 30, 0.2)])
def test_the_three_totals_are_one(T, S, std, variance):
    schedule = NoiseSchedule.named(num_train_timesteps=T)
    toy = gaussian_toy(std, visited_timesteps(S, T), variance, schedule)
    forms = gaussian_forms(toy, std, schedule)
    assert forms.first.total == pytest.approx(forms.second.total, rel=1e-10)
    assert forms.third.total == pytest.approx(forms.second.total, rel=1e-10)
    assert forms.second.total == pytest.approx(toy.bound_nats, rel=1e-14)
    snr = np.append(schedule.snr.numpy(), np.inf)
    t, s = forms.t.numpy()[:-1], forms.s.numpy()[:-1]
    information = 0.5 * np.log((1 + std**2 * snr[s]) / (1 + std**2 * snr[t]))  # of a Gaussian channel
    np.testing.assert_allclose(forms.information_nats[:-1], information, rtol=1e-7, atol=1e-12)
    left = 0.5 * math.log(2 * math.pi * math.e * std**2 / (1 + std**2 * snr[forms.t[-1]]))
    assert forms.information_nats[-1].item() == pytest.approx(left, rel=1e-9)


def test_terms_of_the_first_form_by_drawing_the_chain():
    """E log q(x_t | x_s) / p(x_s | x_t) over 200,000 draws of (x_s, x_t), densities typed anew."""
    std, rng = 0.5, np.random.default_rng(0)
    toy = gaussian_toy(std, visited_timesteps(12, 1000), "beta", LINEAR)
    forms = gaussian_forms(toy, std, LINEAR)
    assert (forms.first.steps[:-1] < 0).any()
    for t, s, var, ours in zip(
        toy.t.tolist(), toy.s.tolist(), toy.reverse_var.tolist(), forms.first.steps, strict=True
    ):
        alpha, var_s, var_t = AB[t] / AB[s], AB[s] * std**2 + 1 - AB[s], AB[t] * std**2 + 1 - AB[t]
        x_s = math.sqrt(var_s) * rng.standard_normal(200_000)
        x_t = math.sqrt(alpha) * x_s + math.sqrt(1 - alpha) * rng.standard_normal(200_000)
        x_0_hat = math.sqrt(AB[t]) * std**2 / var_t * x_t
        mean = (math.sqrt(AB[s]) * (1 - alpha) * x_0_hat + math.sqrt(alpha) * (1 - AB[s]) * x_t) / (1 - AB[t])
        log_q = -0.5 * (np.log(2 * math.pi * (1 - alpha)) + (x_t - math.sqrt(alpha) * x_s) ** 2 / (1 - alpha))
        values = log_q + 0.5 * (np.log(2 * math.pi * var) + (x_s - mean) ** 2 / var)
        assert abs(values.mean() - ours) < 4.5 * values.std() / math.sqrt(len(values))


def test_first_form_from_measured_terms():
    chain = pairs(visited_timesteps(1000, 1000))
    zero = first_from_second(BoundForm(0.0, torch.zeros(1000, dtype=torch.float64)), chain, LINEAR)
    assert zero.total == pytest.approx(0, abs=1e-10)
    for t, bits in ((1, -0.568), (2, -0.355), (9, -0.115), (99, -0.0132), (499, -0.00062)):
        assert zero.steps[999 - t].item() == pytest.approx(bits, rel=2e-2 if t == 499 else 5e-3)
    assert zero.steps[:-1].sum().item() == pytest.approx(-6.64, abs=5e-3)
    toy = gaussian_toy(0.5, visited_timesteps(1000, 1000), "posterior", LINEAR)
    forms = gaussian_forms(toy, 0.5, LINEAR)
    second = BoundForm(forms.second.start / LN2, forms.second.steps / LN2)
    first = first_from_second(second, chain, LINEAR)
    torch.testing.assert_close(first.steps * LN2, forms.first.steps, rtol=1e-8, atol=1e-10)
    assert first.start * LN2 == pytest.approx(forms.first.start, rel=1e-10)
    with pytest.raises(ValueError, match=r"^second_bpd:"):
        first_from_second(second, chain[1:], LINEAR)


def test_the_dropped_term_is_small():
    assert prior_bpd(0.25, LINEAR) == pytest.approx(7e-6, abs=5e-7)
    assert prior_bpd(1.0, LINEAR) == pytest.approx(2.9e-5, abs=5e-7)
    assert prior_bpd(0.25, LINEAR) == pytest.approx(0.5 * (-0.75 * AB[999] - math.log1p(-AB[999])) / LN2, rel=1e-9)
    with pytest.raises(ValueError, match=r"^second_moment:"):
        prior_bpd(-1.0, LINEAR)


GOLDEN = {  # beta_1: L_1, L_0, their sum, the floor; bits
    1e-2: (0.0086, 5.7268, 5.7354, 5.7354),  # L_0: log2(12.8142 sqrt(2 pi e))
    1e-3: (0.082, 4.059, 4.141, 4.141),
    1e-4: (0.569, 2.398, 2.966, 2.966),
    1e-5: (1.850, 0.739, 2.589, 2.587),
    1e-6: (3.459, 0.0004, 3.459, 2.535),
    1e-8: (6.775, 0.0, 6.775, 2.529),
}


def test_golden_table_of_the_first_beta():
    found = first_beta(torch.tensor(list(GOLDEN), dtype=torch.float64), LINEAR)
    for row, golden in enumerate(GOLDEN.values()):
        ours = [x[row].item() for x in (found.L_1_bpd, found.L_0_bpd, found.sum_bpd, found.floor_bpd)]
        assert ours == pytest.approx(golden, abs=5.5e-4)
    assert bool((found.sum_bpd >= found.floor_bpd - 1e-9).all())


def test_the_bits_move_and_do_not_vanish():
    found = first_beta(torch.tensor([0.0, 1e-10, 1e-9], dtype=torch.float64), LINEAR)
    assert (found.L_0_bpd[0].item(), found.L_1_bpd[0].item()) == (0.0, math.inf)
    assert found.floor_bpd[0].item() == pytest.approx(2.529, abs=1e-3)
    assert (found.L_1_bpd[1] - found.L_1_bpd[2]).item() == pytest.approx(0.5 * math.log2(10), abs=1e-3)
    for wrong in (-1e-3, 1.0, float("nan")):
        with pytest.raises(ValueError, match=r"^beta_1:"):
            first_beta(torch.tensor([wrong]), LINEAR)


@pytest.mark.parametrize("beta_1", [3e-6, 2e-5, 1e-4, 0.05])
@pytest.mark.parametrize("T", [1000, 20])
def test_one_pixel_by_differential_entropy_and_fisher_information(beta_1, T):
    """H(x_0 | y) = integral f log f + h(noise), mmse = v (1 - v J): f the density of y in a cell, J its information."""
    schedule = NoiseSchedule.named(num_train_timesteps=T)
    beta_2 = schedule.betas[1].item()
    ab_1, ab_2 = 1 - beta_1, (1 - beta_1) * (1 - beta_2)

    def entropy_and_mse(ab):
        std = math.sqrt((1 - ab) / ab) * 127.5  # in grey levels
        y, k = np.arange(20_000)[:, None] / 20_000, np.arange(-int(10 * std) - 2, int(10 * std) + 4)
        parts = np.exp(-0.5 * ((y - k) / std) ** 2) / (std * math.sqrt(2 * math.pi))
        f, slope = parts.sum(1), (-(y - k) / std**2 * parts).sum(1)
        entropy = (f * np.log(f)).mean() + 0.5 * math.log(2 * math.pi * math.e * std**2)
        return entropy / LN2, std**2 * (1 - std**2 * (slope**2 / f).mean()) / 127.5**2

    if beta_1 == 0.05 or T == 20:
        levels = 10 * math.sqrt((1 - ab_2) / ab_2) * 127.5
        assert levels < 1500  # the grid above stays small
    found = first_beta(torch.tensor([beta_1]), schedule)
    floor, mse = entropy_and_mse(ab_2)
    u = (ab_1 / (1 - ab_1) - ab_2 / (1 - ab_2)) * mse
    assert found.L_0_bpd.item() == pytest.approx(entropy_and_mse(ab_1)[0], abs=1e-6)
    assert found.floor_bpd.item() == pytest.approx(floor, abs=1e-6)
    assert found.L_1_bpd.item() == pytest.approx(0.5 * math.log2(1 + u), abs=1e-6)
