"""The DDIM family against independent formulas, golden angles, its own recursion and the sampler of pictures."""

import math

import numpy as np
import pytest
import torch

from diffusion.derivation.c01_adding_noise import moment_scores
from diffusion.derivation.c03_walking_back import (
    eta_marginals,
    eta_parts,
    eta_runs,
    exact_eta_runs,
    oracle_moments,
    split_step,
)
from diffusion.exact import GaussianDenoiser
from diffusion.gaussian import Prediction, step_coefficients
from diffusion.samplers.ancestral import DDIM, DDPM
from diffusion.samplers.base import walk
from diffusion.sampling import image_generators, reverse_mean_and_std
from diffusion.schedule import NoiseSchedule
from diffusion.settings import SamplingSettings
from diffusion.trajectory import pairs, visited_timesteps
from tests.diffusion.conftest import make_pipeline
from tests.networks import make_unet

LINEAR = NoiseSchedule.named()
COSINE = NoiseSchedule.named("squaredcos_cap_v2", num_train_timesteps=200)
ROUGH = NoiseSchedule(torch.tensor([0.3, 1e-5, 0.8, 0.05, 0.6, 0.01]))
AB = np.append(np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)), 1.0)


def chain(S, T=1000):
    return pairs(visited_timesteps(S, T))


def parts_of(steps, eta, schedule=LINEAR):
    t, s = torch.tensor(steps).unbind(1)
    return eta_parts(t, s, eta, schedule)


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("S", [1, 7, 50, 1000])
def test_parts_are_the_papers(S, eta):
    """DDIM, eq. (7), and sigma = eta sqrt(beta tilde)."""
    t, s = np.array(chain(S)).T
    parts = parts_of(chain(S), eta)
    variance = eta**2 * (1 - AB[s]) / (1 - AB[t]) * (1 - AB[t] / AB[s])
    reused = np.sqrt(np.maximum(1 - AB[s] - variance, 0))
    np.testing.assert_allclose(parts.signal, np.sqrt(AB[s]), rtol=1e-12)
    np.testing.assert_allclose(parts.fresh, np.sqrt(variance), atol=1e-12)
    np.testing.assert_allclose(parts.reused, reused, atol=1e-10)
    np.testing.assert_allclose(parts.of_x_t, reused / np.sqrt(1 - AB[t]), atol=1e-10)
    np.testing.assert_allclose(parts.of_x_0, np.sqrt(AB[s]) - reused * np.sqrt(AB[t] / (1 - AB[t])), atol=1e-8)
    np.testing.assert_allclose(parts.reused**2 + parts.fresh**2, 1 - AB[s], atol=1e-12)
    np.testing.assert_allclose(parts.radius, np.sqrt(1 - AB[s]), atol=1e-12)
    sine = eta * np.sqrt((1 - AB[t] / AB[s]) / (1 - AB[t]))
    np.testing.assert_allclose(np.sin(np.radians(parts.angle_degrees)), np.minimum(sine, 1), atol=1e-9)


@pytest.mark.parametrize("schedule", [LINEAR, COSINE, ROUGH])
def test_eta_one_is_the_posterior_and_every_eta_the_samplers_step(schedule):
    T = len(schedule)
    for t, s in chain(T, T) + chain(3, T):
        c = step_coefficients(t, s, schedule)
        one = eta_parts(t, s, 1.0, schedule)
        assert one.of_x_0.item() == pytest.approx(c.c_0.item(), abs=1e-8)
        assert one.of_x_t.item() == pytest.approx(c.c_t.item(), abs=1e-10)
        assert one.fresh.item() ** 2 == pytest.approx(c.posterior_var.item(), rel=1e-10)
        ours = eta_parts(t, s, 0.4, schedule)
        prediction = Prediction(*torch.tensor([0.7, -1.3], dtype=torch.float64).reshape(2, 1, 1, 1, 1))
        mean, std = reverse_mean_and_std(prediction, c, 0.4)
        assert (ours.signal * 0.7 - ours.reused * 1.3).item() == pytest.approx(mean.item(), abs=1e-12)
        assert ours.fresh.item() == pytest.approx(std.item(), abs=1e-12)


def test_golden_angles():
    """At eta = 1, in degrees: the fewer the steps, the more is new."""
    whole = parts_of(chain(1000), 1.0).angle_degrees[:-1]
    assert whole[-1].item() == pytest.approx(48, abs=0.5)  # the paper's t = 2
    assert whole[:900].min() > 5.5 and whole[:900].max() < 8.5
    fifty = parts_of(chain(50), 1.0).angle_degrees[:-1]
    assert [round(fifty[k].item()) for k in (0, -1)] == [35, 83]
    assert round(fifty[24].item()) == 27  # at t = 510
    ten = parts_of(chain(10), 1.0).angle_degrees[:-1]
    assert (round(ten.min().item()), round(ten[4].item()), round(ten.max().item())) == (55, 57, 88)
    t, s = np.array(chain(10)[:-1]).T
    np.testing.assert_allclose(ten, np.degrees(np.arcsin(np.sqrt((1 - AB[t] / AB[s]) / (1 - AB[t])))), rtol=1e-7)


def test_a_row_of_eta_walks_the_quarter_circle():
    eta = torch.linspace(0, 1, 11, dtype=torch.float64)
    parts = eta_parts(999, 499, eta, LINEAR)
    assert parts.reused.shape == parts.radius.shape == parts.signal.shape == (11,)
    angles = torch.deg2rad(parts.angle_degrees)
    torch.testing.assert_close(
        torch.stack([parts.reused, parts.fresh]), parts.radius * torch.stack([angles.cos(), angles.sin()])
    )
    assert (parts.fresh[0], parts.angle_degrees[0]) == (0, 0) and bool((parts.angle_degrees.diff() > 0).all())


def test_golden_weights_at_eta_one():
    """Those of Ho et al. 2020, eq. (12), with the posterior variance: SNR ratios, and their digits by the paper's t."""
    golden = {2: 0.600, 10: 0.0864, 100: 0.0103, 500: 0.0055, 1000: 0.0102, 350: 0.00498}
    for t, value in golden.items():
        weight = eta_parts(t - 1, t - 2, 1.0, LINEAR).weight_nats.item()
        assert weight == pytest.approx(value, rel=1e-2)
        snr = AB / np.append(1 - AB[:-1], 1)
        assert weight == pytest.approx(0.5 * (snr[t - 2] / snr[t - 1] - 1), rel=1e-8)


@pytest.mark.parametrize("eta", [1e-3, 0.2, 0.5, 1.0])
@pytest.mark.parametrize(("t", "s"), [(1, 0), (100, 99), (500, 20), (999, 998)])
def test_the_weight_is_that_of_the_kl(t, s, eta):
    """KL between q_eta given x_0 and the step with x_0_hat in its place, for a known error of eps."""
    x_0, eps, eps_hat = 0.4, 0.3, -0.5
    variance = eta**2 * (1 - AB[s]) / (1 - AB[t]) * (1 - AB[t] / AB[s])
    x_t = math.sqrt(AB[t]) * x_0 + math.sqrt(1 - AB[t]) * eps
    x_0_hat = (x_t - math.sqrt(1 - AB[t]) * eps_hat) / math.sqrt(AB[t])
    keeps = math.sqrt(1 - AB[s] - variance)
    apart = math.sqrt(AB[s]) * (x_0 - x_0_hat) + keeps * (eps - eps_hat)
    weight = eta_parts(t, s, eta, LINEAR).weight_nats.item()
    assert weight * (eps - eps_hat) ** 2 == pytest.approx(apart**2 / (2 * variance), rel=1e-6)


def test_the_weight_is_infinite_where_nothing_is_drawn():
    assert eta_parts(500, 499, 0.0, LINEAR).weight_nats == math.inf
    assert eta_parts(0, -1, 1.0, LINEAR).weight_nats == math.inf


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("schedule", [LINEAR, COSINE, ROUGH])
def test_marginals_given_x_0_are_the_forward_ones_for_every_eta(schedule, eta):
    T = len(schedule)
    for S in {1, 2, 5, T // 2, T}:
        ours = eta_marginals(chain(S, T), eta, schedule)
        assert ours.max_difference < 1e-12
        ab = np.append(np.cumprod(1 - schedule.betas.numpy()), 1.0)[[s for _, s in chain(S, T)]]
        np.testing.assert_allclose(ours.true_signal, np.sqrt(ab), atol=1e-12)
        np.testing.assert_allclose(ours.true_var, 1 - ab, atol=1e-12)
    t = torch.arange(1, T)  # all pairs of one step
    for s in (torch.zeros_like(t), t - 1, t // 2):
        parts = eta_parts(t, s, eta, schedule)
        ab_t, ab_s = schedule.alphas_cumprod[t], schedule.alphas_cumprod[s]
        torch.testing.assert_close(parts.of_x_0 + parts.of_x_t * ab_t.sqrt(), ab_s.sqrt(), atol=1e-12, rtol=0)
        torch.testing.assert_close(parts.of_x_t**2 * (1 - ab_t) + parts.fresh**2, 1 - ab_s, atol=1e-12, rtol=0)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(("schedule", "S"), [(LINEAR, 8), (ROUGH, 6)])
def test_the_sampler_with_an_oracle_has_these_marginals(schedule, S, eta):
    x_0 = torch.rand(1, 6, 6, generator=torch.Generator().manual_seed(1)) * 2 - 1
    steps = chain(S, len(schedule))
    scores = oracle_moments(x_0, steps, eta, 60, 0, schedule)
    assert (scores.t.tolist(), scores.count) == ([s for _, s in steps[:-1]], 60 * 36)
    assert scores.worst < 4.5
    assert oracle_moments(x_0, steps, eta, 60, 0, schedule).worst == scores.worst


def test_hos_other_variance_is_not_in_the_family():
    """The check can fail: with variance beta the sampler's marginals are too wide."""
    x_0 = torch.zeros(1, 20, 20, dtype=torch.float64)
    copies = x_0.expand(40, 1, 20, 20)
    steps = [(900, 500), (500, 100)]
    x_T = math.sqrt(1 - AB[900]) * torch.randn(copies.shape, dtype=torch.float64)
    denoiser = GaussianDenoiser(x_0, 0.0, LINEAR)
    walked = walk(DDPM, denoiser, x_T, steps, False, image_generators(0, 40), reverse_variance="beta")
    assert moment_scores([500, 100], [step.x_s / math.sqrt(1 - AB[step.s]) for step in walked]).worst > 10


@pytest.mark.parametrize("schedule", [LINEAR, ROUGH])
def test_hos_other_variance_has_wider_marginals(schedule):
    """By the recursion of Ho et al.'s Algorithm 2 on a known x_0, typed anew; the mean stays right."""
    steps = chain(6, len(schedule))
    ours = eta_marginals(steps, 1.0, schedule, "beta")
    ab = np.append(np.cumprod(1 - schedule.betas.numpy()), 1.0)
    var = 1 - ab[steps[0][0]]
    for k, (t, s) in enumerate(steps[:-1]):
        beta = 1 - ab[t] / ab[s]
        var = (ab[t] / ab[s]) * ((1 - ab[s]) / (1 - ab[t])) ** 2 * var + beta
        assert ours.var[k].item() == pytest.approx(var, rel=1e-10)
        assert ours.var[k] > ours.true_var[k]
    assert ours.var[-1].item() == pytest.approx(0, abs=1e-20)
    torch.testing.assert_close(ours.signal, ours.true_signal, atol=1e-12, rtol=0)
    with pytest.raises(ValueError, match="reverse_variance: "):
        eta_marginals(steps, 0.5, schedule, "beta")


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_a_step_is_the_sum_of_its_parts(eta):
    denoiser = GaussianDenoiser(torch.zeros(1, 4, 4), 0.5, LINEAR)
    x_T = torch.randn(3, 1, 4, 4)
    draws = image_generators(5, 3)
    for step in walk(DDIM, denoiser, x_T, chain(6), True, image_generators(5, 3), eta=eta):
        parts = split_step(step, eta, LINEAR)
        torch.testing.assert_close(parts.signal + parts.reused + parts.fresh, step.x_s, atol=1e-6, rtol=0)
        torch.testing.assert_close(parts.signal, math.sqrt(AB[step.s]) * step.x_0_hat)
        sigma = eta * math.sqrt((1 - AB[step.s]) / (1 - AB[step.t]) * (1 - AB[step.t] / AB[step.s]))
        if sigma > 0:
            z = torch.stack([torch.randn(1, 4, 4, generator=g) for g in draws])
            torch.testing.assert_close(parts.fresh, sigma * z, atol=2e-6, rtol=0)
        else:
            assert not parts.fresh.any()
        keeps = math.sqrt(max(1 - AB[step.s] - sigma**2, 0))
        norms = [math.sqrt((keeps * step.eps_hat[b].numpy().astype(float) ** 2 * keeps).mean()) for b in range(3)]
        assert parts.norms.shape == (3, 3)
        np.testing.assert_allclose(parts.norms[1], norms, atol=1e-6)


@pytest.mark.parametrize("fields", [{}, {"sampler": "ddpm", "reverse_variance": "beta"}, {"beta_end": 0.03}])
def test_live_rows_are_the_runs_alone_from_one_first_noise(fields):
    pipeline = make_pipeline(make_unet())
    settings = SamplingSettings(seed=3, num_images=2, num_inference_steps=9, **fields)
    own_betas = {"beta_end": 0.03} if "beta_end" in fields else {}
    seen = list(eta_runs(pipeline, settings, etas=(1, 0.5, 0.0), snapshots=5))
    assert [(one.number, one.eta) for one in seen] == [(n, e) for n in (0, 2, 4, 6, 8) for e in (1.0, 0.5, 0.0)]
    assert torch.equal(seen[0].step.x_t, seen[1].step.x_t) and torch.equal(seen[0].step.x_t, seen[2].step.x_t)
    for eta in (1.0, 0.5, 0.0):
        alone = list(pipeline.steps(seed=3, num_images=2, num_inference_steps=9, eta=eta, **own_betas))
        for one in seen:
            if one.eta == eta:
                assert torch.equal(one.step.x_s, alone[one.number].x_s)
                parts = one.parts
                torch.testing.assert_close(parts.signal + parts.reused + parts.fresh, one.step.x_s)
                schedule = pipeline.plan(settings).schedule
                level = schedule.alphas_cumprod[one.step.s] if one.step.s >= 0 else torch.tensor(1.0)
                torch.testing.assert_close(parts.signal, level.sqrt().float() * one.step.x_0_hat)


def test_rows_of_the_exact_denoiser_begin_as_the_networks_and_end_in_a_picture():
    pictures = torch.rand(7, 1, 8, 8, generator=torch.Generator().manual_seed(2)) * 2 - 1
    seen = list(exact_eta_runs(pictures, chain(9), 3, LINEAR))
    assert [(one.number, one.eta) for one in seen] == [(n, e) for n in (0, 2, 4, 6, 8) for e in (1.0, 0.5, 0.0)]
    x_T = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    for one in seen[:3]:
        assert torch.equal(one.step.x_t, x_T)
        first = one.parts
        torch.testing.assert_close(first.signal + first.reused + first.fresh, one.step.x_s)
    for one in seen[-3:]:
        assert (one.step.x_s - pictures).flatten(1).abs().amax(1).min() < 1e-4


def test_snapshots_of_short_runs_and_of_one():
    pipeline = make_pipeline(make_unet())
    settings = SamplingSettings(num_inference_steps=3, start_step=1)
    assert [one.number for one in eta_runs(pipeline, settings, (0.0,), 5)] == [0, 1]
    assert [one.number for one in eta_runs(pipeline, settings, (0.0,), 1)] == [1]


def test_what_does_not_fit_is_named_before_the_first_step():
    pipeline, settings = make_pipeline(make_unet()), SamplingSettings()
    for call, name in [
        (lambda: eta_runs(pipeline, settings, ()), "etas"),
        (lambda: eta_runs(pipeline, settings, (1.5,)), "eta"),
        (lambda: eta_runs(pipeline, settings, snapshots=0), "snapshots"),
        (lambda: exact_eta_runs(torch.zeros(2, 1, 2, 2), chain(3), 0, LINEAR, (1.5,)), "eta"),
        (lambda: eta_parts(5, 4, 1.1, LINEAR), "eta"),
        (lambda: eta_parts(4, 5, 1.0, LINEAR), "t, s"),
        (lambda: oracle_moments(torch.zeros(1, 2, 2), [(5, 4), (4, -1)], 0.0, 0, 0, LINEAR), "replicas"),
        (lambda: oracle_moments(torch.zeros(1, 2, 2), [(5, -1)], 0.0, 2, 0, LINEAR), "pairs"),
    ]:
        with pytest.raises(ValueError, match=f"^{name}: "):
            call()
