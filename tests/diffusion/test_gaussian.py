"""The Gaussian pieces against independent formulas, numerical Bayes and quadrature."""

import math

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler

from diffusion.gaussian import (
    Prediction,
    eps_from_x_0,
    prediction_from_output,
    q_posterior,
    q_sample,
    signal_and_noise,
    step_coefficients,
    velocity,
    x_0_from_eps,
)
from diffusion.likelihood import discretized_nats, gaussian_nats, kl_gaussians
from diffusion.pixels import check_grid, to_pictures, to_uint8, to_unit_range
from diffusion.schedule import NoiseSchedule
from diffusion.trajectory import pairs, visited_timesteps

LINEAR = NoiseSchedule.named()
BETAS = np.linspace(1e-4, 0.02, 1000)
AB = np.append(np.cumprod(1 - BETAS), 1.0)  # AB[-1] is the picture's


def log_normal(x, mean, var):
    return -0.5 * (np.log(2 * np.pi * var) + (x - mean) ** 2 / var)


def batch(count=5):
    return torch.randn(count, 1, 4, 4, dtype=torch.float64)


def test_q_sample_is_diffusers_add_noise():
    x_0, eps, t = batch().float(), batch().float(), torch.tensor([0, 1, 250, 998, 999])
    theirs = DDPMScheduler().add_noise(x_0, eps, t)
    torch.testing.assert_close(q_sample(x_0, t, eps, LINEAR), theirs, atol=1e-5, rtol=0)


def test_one_jump_is_the_chain_with_the_compounded_noise():
    x, x_0 = batch(1), None
    x_0, compounded, t = x, torch.zeros_like(x), 300
    for k in range(t + 1):
        eps = torch.randn_like(x)
        x = math.sqrt(1 - BETAS[k]) * x + math.sqrt(BETAS[k]) * eps
        compounded += math.sqrt(BETAS[k] * AB[t] / AB[k] / (1 - AB[t])) * eps
    torch.testing.assert_close(q_sample(x_0, torch.tensor(t), compounded, LINEAR), x, atol=1e-12, rtol=0)


def test_posterior_is_the_papers_for_every_t():
    t = torch.arange(1000)
    x_0, x_t = torch.randn(2, 1000, 1, 1, 1, dtype=torch.float64)
    mean, var = q_posterior(x_0, x_t, t, LINEAR)
    ab, ab_before = AB[:1000], np.append(1.0, AB[:999])
    c_0 = np.sqrt(ab_before) * BETAS / (1 - ab)
    c_t = np.sqrt(1 - BETAS) * (1 - ab_before) / (1 - ab)
    np.testing.assert_allclose(mean.flatten(), c_0 * x_0.flatten().numpy() + c_t * x_t.flatten().numpy(), atol=1e-11)
    np.testing.assert_allclose(var.flatten(), (1 - ab_before) / (1 - ab) * BETAS, rtol=1e-10, atol=0)
    assert var[0] == 0
    assert mean[0] == x_0[0]


@pytest.mark.parametrize(("t", "s"), [(1, 0), (10, 4), (500, 499), (500, 100), (999, 0)])
def test_posterior_is_bayes_on_a_grid(t, s):
    x_0 = 0.5
    x_t = math.sqrt(AB[t]) * x_0 - 0.8 * math.sqrt(1 - AB[t])
    grid = np.linspace(-6, 6, 40001)
    forward = log_normal(x_t, math.sqrt(AB[t] / AB[s]) * grid, 1 - AB[t] / AB[s])
    weights = np.exp(forward + log_normal(grid, math.sqrt(AB[s]) * x_0, 1 - AB[s]))
    weights /= weights.sum()
    mean = (weights * grid).sum()
    ours = q_posterior(
        torch.full((1, 1, 1, 1), x_0, dtype=torch.float64),
        torch.full((1, 1, 1, 1), x_t, dtype=torch.float64),
        torch.tensor(t),
        LINEAR,
        torch.tensor(s),
    )
    assert ours[0].item() == pytest.approx(mean, rel=1e-8)
    assert ours[1].item() == pytest.approx((weights * (grid - mean) ** 2).sum(), rel=1e-8)


def test_golden_posterior():
    t = 499  # the paper's 500
    c = step_coefficients(t, t - 1, LINEAR)
    assert c.beta.item() == pytest.approx(0.01004004, abs=5e-9)
    assert c.posterior_var.item() == pytest.approx(0.01003136, abs=5e-9)
    assert (c.c_0 * 0.5 + c.c_t * -0.3).item() == pytest.approx(-0.2966969655, abs=5e-11)
    x_t, x_0 = torch.tensor([[[-0.3]], [[0.5]]], dtype=torch.float64)
    eps = eps_from_x_0(x_t, x_0, c.signal_t, c.noise_t)
    assert eps.item() == pytest.approx(-0.4585539614, abs=5e-11)
    assert step_coefficients(1, 0, LINEAR).posterior_var.item() == pytest.approx(5.4531876613e-5, rel=1e-10)


@pytest.mark.parametrize("spacing", ["even", "leading", "trailing"])
def test_coefficients_of_every_step_of_every_step_count(spacing):
    """500,500 pairs a spacing: each is typed anew, and satisfies the two identities that make it a posterior."""
    for S in range(1, 1001):
        t, s = np.array(pairs(visited_timesteps(S, 1000, spacing))).T
        c = step_coefficients(torch.from_numpy(t), torch.from_numpy(s), LINEAR)
        ab_t, ab_s = AB[t], AB[s]
        beta = 1 - ab_t / ab_s
        np.testing.assert_allclose(c.beta, beta, rtol=1e-10)
        np.testing.assert_allclose(c.posterior_var, beta * (1 - ab_s) / (1 - ab_t), rtol=1e-9, atol=0)
        np.testing.assert_allclose(c.c_0, np.sqrt(ab_s) * beta / (1 - ab_t), rtol=1e-9)
        np.testing.assert_allclose(c.c_0 + c.c_t * c.signal_t, c.signal_s, atol=1e-12)
        np.testing.assert_allclose(c.c_t**2 * c.noise_t**2 + c.posterior_var, c.noise_s**2, atol=1e-12)
        snr = ab_t / (1 - ab_t)
        np.testing.assert_allclose(c.delta[:-1], ab_s[:-1] / (1 - ab_s[:-1]) - snr[:-1], rtol=1e-7)
        assert (c.c_0[-1], c.c_t[-1], c.posterior_var[-1], c.delta[-1]) == (1, 0, 0, math.inf)


@pytest.mark.parametrize(("t", "s"), [(0, 0), (5, 6), (1000, 0), (0, -2), (-1, -1)])
def test_what_is_no_reverse_step_is_refused(t, s):
    with pytest.raises(ValueError, match=r"^t, s:"):
        step_coefficients(t, s, LINEAR)


@pytest.mark.parametrize("t", [0, 1, 500, 999])
def test_the_three_predictions_say_the_same(t):
    x_0, eps = batch(), batch()
    level = signal_and_noise(t, LINEAR)
    a, b = math.sqrt(AB[t]), math.sqrt(1 - AB[t])
    x_t = a * x_0 + b * eps
    for kind, output in {"epsilon": eps, "sample": x_0, "v_prediction": a * eps - b * x_0}.items():
        said = prediction_from_output(output, x_t, level, kind)
        torch.testing.assert_close(said.x_0_hat, x_0, atol=1e-9, rtol=0)
        torch.testing.assert_close(said.eps_hat, eps, atol=1e-9, rtol=0)
    torch.testing.assert_close(velocity(x_0, eps, *level), a * eps - b * x_0)
    torch.testing.assert_close(x_0_from_eps(x_t, eps_from_x_0(x_t, x_0, *level), *level), x_0)
    with pytest.raises(ValueError, match="prediction_type: 'x' is unknown"):
        prediction_from_output(eps, x_t, level, "x")


def test_clipping_keeps_picture_and_noise_consistent():
    x_t, level = 3 * batch(), signal_and_noise(300, LINEAR)
    raw = prediction_from_output(batch(), x_t, level, "epsilon")
    clipped = raw.clipped(x_t, level)
    assert raw.x_0_hat.abs().max() > 1
    assert isinstance(clipped, Prediction)
    torch.testing.assert_close(clipped.x_0_hat, raw.x_0_hat.clamp(-1, 1))
    torch.testing.assert_close(level.signal * clipped.x_0_hat + level.noise * clipped.eps_hat, x_t)


@pytest.mark.parametrize(("m1", "v1", "m2", "v2"), [(0, 1, 0, 1), (0.3, 0.04, -0.2, 0.09), (2, 3, 0, 0.5)])
def test_kl_is_its_integral(m1, v1, m2, v2):
    x = np.linspace(m1 - 12 * v1**0.5, m1 + 12 * v1**0.5, 4001)  # trapezoids are exact to all digits on a Gaussian
    log_p, log_q = log_normal(x, m1, v1), log_normal(x, m2, v2)
    integral = np.trapezoid(np.exp(log_p) * (log_p - log_q), x)
    assert kl_gaussians(m1, v1, m2, v2).item() == pytest.approx(integral, abs=1e-9)
    assert gaussian_nats(0.1, m1, v1).item() == pytest.approx(-log_normal(0.1, m1, v1), rel=1e-12)


@pytest.mark.parametrize(
    (
        "var",
        "cdf",
        "interior",
        "edge",
    ),  # bits, of Ho et al. 2020, eq. (13); "tanh" is the approximation of the normal law in their code
    [
        (5.4531876613e-5, "erf", 1.30538, 0.50983),
        (5.4531876613e-5, "tanh", 1.30567, 0.50991),
        (1e-4, "erf", 1.71285, 0.61589),
        (9.545e-5, "tanh", 1.68116, None),
        (9.841e-5, "tanh", 1.70207, None),
        (9.993e-5, "tanh", 1.71254, None),
    ],
)
def test_golden_decoder(var, cdf, interior, edge):
    x = torch.tensor([100 / 127.5 - 1, -1.0, 1.0], dtype=torch.float64)
    bits = discretized_nats(x, x, var, cdf) / math.log(2)
    assert bits[0].item() == pytest.approx(interior, abs=4e-5 if edge is None else 5e-6)
    if edge is not None:
        assert bits[1:].tolist() == pytest.approx([edge, edge], abs=5e-6)


@pytest.mark.parametrize("var", [1e-6, 5e-5, 1e-2, 4.0])
@pytest.mark.parametrize("mean", [-1.3, -1.0, 0.1234, 0.999, 2.0])
def test_grey_levels_share_all_of_the_mass(mean, var):
    x = torch.arange(256, dtype=torch.float64) / 127.5 - 1
    nats = discretized_nats(x, torch.tensor(mean), var)
    assert bool((nats >= 0).all())
    assert torch.exp(-nats).sum().item() == pytest.approx(1, abs=1e-12)
    assert torch.exp(-discretized_nats(x, torch.tensor(mean), var, "tanh")).sum().item() == pytest.approx(1, abs=1e-9)


def test_the_decoder_is_exact_far_out_in_the_tail():
    """-log P of a bin 100 standard deviations away, by quadrature relative to the density at its near edge."""
    x, mean, std = 100 / 127.5 - 1, 0.79, 0.01
    near = x + 1 / 255
    y = np.linspace(x - 1 / 255, near, 200_001)
    inside = np.trapezoid(np.exp(-((y - mean) ** 2 - (near - mean) ** 2) / (2 * std**2)), y)
    truth = -log_normal(near, mean, std**2) - math.log(inside)
    assert truth > 4000
    nats = discretized_nats(torch.tensor(x, dtype=torch.float64), mean, std**2)
    assert nats.item() == pytest.approx(truth, rel=1e-9)
    with pytest.raises(ValueError, match="cdf: 'x' is unknown"):
        discretized_nats(torch.tensor(x), mean, std**2, "x")


def test_pixels_go_and_come_back():
    images = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    x = to_unit_range(images)
    assert (x.min(), x.max(), x.shape) == (-1, 1, (1, 1, 16, 16))
    np.testing.assert_array_equal(to_uint8(x), images)
    np.testing.assert_array_equal(np.asarray(to_pictures(x)[0]), images[0, :, :, 0])
    assert to_pictures(x.repeat(1, 3, 1, 1))[0].mode == "RGB"
    check_grid(x)
    for wrong in (x + 0.2 / 127.5, x + 1, torch.full_like(x, float("nan"))):
        with pytest.raises(ValueError, match="8-bit grid"):
            check_grid(wrong)
