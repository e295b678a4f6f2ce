"""Bayes against the paper's formulas and another quadrature; the bound's two forms against closed forms and draws."""

import math

import numpy as np
import pytest
import torch

from diffusion.derivation.c04_bringing_in_x0 import (
    Normal,
    first_form_nats,
    form_offset_nats,
    form_offsets,
    posterior_mean_from_eps,
    sign_criterion,
    witnesses,
)
from diffusion.gaussian import q_posterior
from diffusion.schedule import NoiseSchedule
from diffusion.trajectory import pairs, visited_timesteps

LINEAR = NoiseSchedule.named()
COSINE = NoiseSchedule.named("squaredcos_cap_v2", num_train_timesteps=200)
ROUGH = NoiseSchedule(torch.tensor([0.3, 1e-7, 0.8, 0.05, 0.6, 0.01]))
AB = np.append(np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)), 1.0)


def test_golden_witnesses():
    ours = witnesses(0.5, -0.3, 499, 498, LINEAR)  # the paper's 500 -> 499
    assert ours.posterior.var == pytest.approx(0.01003136, abs=5e-9)
    assert ours.posterior.mean == pytest.approx(-0.2966969655, abs=5e-11)
    assert ours.eps == pytest.approx(-0.4585539614, abs=5e-11)
    beta = 0.01004004
    assert ours.from_x_t.mean == pytest.approx(-0.3 / math.sqrt(1 - beta), abs=1e-8)
    assert ours.from_x_t.var == pytest.approx(beta / (1 - beta), abs=1e-8)
    assert ours.from_x_0.mean == pytest.approx(0.5 * math.sqrt(AB[498]), rel=1e-12)
    assert ours.from_x_0.var == pytest.approx(1 - AB[498], rel=1e-12)
    assert len(ours.grid.x) == 8001 and ours.grid.x[2000:6001:4000].tolist() == pytest.approx([-6, 6])
    assert ours.share_of_x_0 == pytest.approx(beta / (1 - AB[499]), rel=1e-6)
    assert witnesses(0.5, -0.3, 499, 249, LINEAR).share_of_x_0 > 50 * ours.share_of_x_0  # a longer step: x_0's voice


@pytest.mark.parametrize("schedule", [LINEAR, COSINE, ROUGH])
def test_closed_form_is_the_grid_for_any_step(schedule):
    T = len(schedule)
    steps = [(1, 0), (T // 2, T // 2 - 1), (T - 1, T - 2), (T - 1, 0), (T - 1, T // 3), (2, 0)]
    for t, s in steps:
        for x_0, x_t in ((0.5, -0.3), (-1.0, 3.0), (0.0, 0.0)):
            ours = witnesses(x_0, x_t, t, s, schedule)
            # relative to the distance from 0, and to the width
            scale = max(abs(ours.posterior.mean), math.sqrt(ours.posterior.var))
            assert ours.grid.mean == pytest.approx(ours.posterior.mean, abs=1e-8 * scale)
            assert ours.grid.var == pytest.approx(ours.posterior.var, rel=1e-8)
            assert torch.trapezoid(ours.grid.density, ours.grid.x).item() == pytest.approx(1, abs=1e-9)
            near = (ours.grid.x - ours.posterior.mean).abs() < 3 * math.sqrt(ours.posterior.var)
            assert near.sum() > 3
            torch.testing.assert_close(
                ours.grid.density[near], ours.posterior.density(ours.grid.x[near]), rtol=1e-6, atol=0
            )
            precision = 1 / ours.from_x_t.var + 1 / ours.from_x_0.var
            assert 1 / ours.posterior.var == pytest.approx(precision, rel=1e-8)
            pull = ours.from_x_t.mean / ours.from_x_t.var + ours.from_x_0.mean / ours.from_x_0.var
            assert ours.posterior.mean == pytest.approx(pull / precision, abs=1e-8)
            voices = ours.share_of_x_0 * ours.from_x_0.mean + (1 - ours.share_of_x_0) * ours.from_x_t.mean
            assert ours.posterior.mean == pytest.approx(voices, abs=1e-8)


def test_the_grid_is_bayes_rule_itself():
    """The product of the two densities, normalised by another sum."""
    ours = witnesses(-0.2, 0.7, 300, 250, LINEAR)
    alpha = AB[300] / AB[250]
    x = np.linspace(-5, 5, 50_001)
    product = np.exp(-((0.7 - math.sqrt(alpha) * x) ** 2) / (2 * (1 - alpha)))
    product *= np.exp(-((x + 0.2 * math.sqrt(AB[250])) ** 2) / (2 * (1 - AB[250])))
    product /= np.trapezoid(product, x)
    assert ours.grid.mean == pytest.approx(np.trapezoid(product * x, x), rel=1e-9)
    np.testing.assert_allclose(np.interp(ours.grid.x, x, product), ours.grid.density, atol=1e-5)


def test_the_step_to_the_picture_leaves_nothing_to_doubt():
    for t in (0, 700):
        ours = witnesses(0.25, 1.0, t, -1, LINEAR)
        assert (ours.posterior, ours.from_x_0) == (Normal(0.25, 0.0), Normal(0.25, 0.0))
        assert (ours.grid, ours.share_of_x_0) == (None, 1.0)
        assert ours.posterior.density(torch.tensor([0.0, 0.25])).tolist() == [0, math.inf]


@pytest.mark.parametrize(("t", "s"), [(0, -1), (1, 0), (499, 498), (999, 300)])
def test_the_mean_without_x_0(t, s):
    x_0, eps = torch.randn(2, 5, 1, 3, 3, dtype=torch.float64)
    x_t = math.sqrt(AB[t]) * x_0 + math.sqrt(1 - AB[t]) * eps
    truth = q_posterior(x_0, x_t, torch.tensor(t), LINEAR, torch.tensor(s))[0]
    torch.testing.assert_close(posterior_mean_from_eps(x_t, eps, t, s, LINEAR), truth, atol=1e-10, rtol=0)
    if t == 499:
        pixel, noise = torch.tensor([[-0.3], [-0.4585539614]], dtype=torch.float64)
        golden = posterior_mean_from_eps(pixel, noise, t, s, LINEAR)
        assert golden.item() == pytest.approx(-0.2966969655, abs=1e-10)


def test_golden_offsets():
    ours = form_offsets(pairs(visited_timesteps(1000, 1000)), LINEAR)
    by_t = dict(zip(ours.t.tolist(), ours.steps_bpd.tolist(), strict=True))
    golden = {2: (-0.568, 5e-4), 3: (-0.355, 5e-4), 10: (-0.115, 5e-4), 100: (-0.0132, 5e-5), 500: (-0.00062, 5e-6)}
    for t, (bits, tolerance) in golden.items():
        assert by_t[t - 1] == pytest.approx(bits, abs=1.001 * tolerance)
        typed = -0.5 * math.log2((1 - AB[t - 1]) / (1 - AB[t - 2]))
        assert by_t[t - 1] == pytest.approx(typed, rel=1e-8)
    together = ours.steps_bpd.sum().item()
    assert together == pytest.approx(-6.64, abs=5e-3)
    assert together == pytest.approx(-0.5 * math.log2((1 - AB[999]) / (1 - AB[0])), rel=1e-10)


@pytest.mark.parametrize("schedule", [LINEAR, COSINE, ROUGH])
@pytest.mark.parametrize("S", [1, 2, 6])
def test_the_offsets_cancel_over_the_whole_bound(schedule, S):
    steps = pairs(visited_timesteps(S, len(schedule)))
    ours = form_offsets(steps, schedule)
    assert list(zip(ours.t.tolist(), ours.s.tolist(), strict=True)) == steps[:-1]
    assert bool((ours.steps_bpd < 0).all())
    assert ours.prior_bpd + ours.steps_bpd.sum().item() + ours.decoder_bpd == pytest.approx(0, abs=1e-12)
    # E[-log N(x_T; 0, 1)] - KL(N(m, v) || N(0, 1)), for any mean m
    v, m = 1 - schedule.alphas_cumprod[steps[0][0]].item(), 0.3
    first_form = 0.5 * (math.log(2 * math.pi) + m**2 + v)
    assert ours.prior_bpd * math.log(2) == pytest.approx(first_form - 0.5 * (v - 1 - math.log(v) + m**2), abs=1e-12)


@pytest.mark.parametrize("kind", ["posterior", "beta"])
@pytest.mark.parametrize(("t", "s"), [(1, 0), (9, 8), (99, 98), (600, 200)])
def test_the_first_form_by_definition_and_by_draws(t, s, kind):
    """E log q(x_t | x_s) / p(x_s | x_t) with everything typed anew, for a denoiser that is off by 0.1."""
    x_0, error, n = 0.4, 0.1, 200_000
    alpha, beta = AB[t] / AB[s], 1 - AB[t] / AB[s]
    btilde = beta * (1 - AB[s]) / (1 - AB[t])
    c_0, c_t = math.sqrt(AB[s]) * beta / (1 - AB[t]), math.sqrt(alpha) * (1 - AB[s]) / (1 - AB[t])
    var = btilde if kind == "posterior" else beta
    closed = -0.5 * math.log(2 * math.pi * math.e * beta)
    closed += 0.5 * math.log(2 * math.pi * var) + (btilde + (c_0 * error) ** 2) / (2 * var)
    option = None if kind == "posterior" else torch.tensor(var, dtype=torch.float64)
    ours = first_form_nats(error**2, t, s, LINEAR, option).item()
    assert ours == pytest.approx(closed, abs=1e-9)

    rng = np.random.default_rng(0)
    x_s = math.sqrt(AB[s]) * x_0 + math.sqrt(1 - AB[s]) * rng.standard_normal(n)
    x_t = math.sqrt(alpha) * x_s + math.sqrt(beta) * rng.standard_normal(n)
    log_q = -0.5 * (np.log(2 * np.pi * beta) + (x_t - math.sqrt(alpha) * x_s) ** 2 / beta)
    mean = c_0 * (x_0 + error) + c_t * x_t
    drawn = log_q + 0.5 * (np.log(2 * np.pi * var) + (x_s - mean) ** 2 / var)
    assert abs(drawn.mean() - ours) / (drawn.std() / math.sqrt(n)) < 4.5
    kl = 0.5 * (btilde / var - 1 - math.log(btilde / var) + (c_0 * error) ** 2 / var)
    assert ours - form_offset_nats(t, s, LINEAR).item() == pytest.approx(kl, rel=1e-7)


def test_a_term_is_negative_exactly_under_the_criterion():
    t = torch.arange(1, 1000)
    criterion = sign_criterion(t, t - 1, LINEAR)
    assert bool((first_form_nats(0.999 * criterion, t, t - 1, LINEAR) < 0).all())
    assert bool((first_form_nats(1.001 * criterion, t, t - 1, LINEAR) > 0).all())
    ratio = criterion / torch.from_numpy(1 - AB[1:1000])
    assert bool((ratio < 1).all()) and bool((ratio[99:] > 0.99).all())  # first order in beta / (1 - alpha-bar)
    y = AB[0] * (1 - AB[1] / AB[0]) / (1 - AB[0])
    assert ratio[0].item() == pytest.approx(math.log1p(y) / y, rel=1e-8)  # 0.66 at the paper's t = 2


def test_what_does_not_fit_is_named():
    narrow = NoiseSchedule(torch.tensor([1e-13, 1e-13]))
    for arguments, name in [
        ((1.1, 0.0, 5, 4, LINEAR), "x_0"),
        ((math.nan, 0.0, 5, 4, LINEAR), "x_0"),
        ((0.0, 6.1, 5, 4, LINEAR), "x_t"),
        ((0.0, 0.0, 5, 5, LINEAR), "t, s"),
        ((0.0, 0.0, 1, 0, narrow), "t, s"),
    ]:
        with pytest.raises(ValueError, match=f"^{name}: "):
            witnesses(*arguments)
