"""The integral of a term: golden numbers, scipy's quadrature, and independent formulas."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from diffusion.denoisers import NetworkDenoiser
from diffusion.derivation.c08_the_integral import eps_weights, gaussian_kl, three_forms, weight_shares
from diffusion.exact import DataDenoiser, GaussianDenoiser
from diffusion.schedule import NoiseSchedule

LINEAR = NoiseSchedule.named()
SHORT = NoiseSchedule.named("squaredcos_cap_v2", num_train_timesteps=12)
BETAS = np.linspace(1e-4, 0.02, 1000)
AB = np.cumprod(1 - BETAS)
TILDE = BETAS[1:] * (1 - AB[:-1]) / (1 - AB[1:])


@pytest.mark.parametrize("parameters", [(0.3, 0.04, -0.2, 0.04), (0.0, 0.01, 0.05, 0.02), (1.0, 4.0, -1.0, 0.5)])
def test_kl_is_what_scipy_integrates(parameters):
    mean_1, var_1, mean_2, var_2 = parameters
    q, p = stats.norm(mean_1, math.sqrt(var_1)), stats.norm(mean_2, math.sqrt(var_2))
    ends = mean_1 + np.array([-10, 10]) * math.sqrt(var_1)
    expected, _ = integrate.quad(
        lambda x: q.pdf(x) * (q.logpdf(x) - p.logpdf(x)), *ends, epsabs=1e-13, epsrel=1e-12, limit=200
    )
    found = gaussian_kl(*parameters)
    assert found.closed_nats == pytest.approx(expected, abs=1e-10)
    assert found.quadrature_nats == pytest.approx(found.closed_nats, abs=1e-11)
    assert found.var_nats >= 0 and found.integrand.min() < 0
    np.testing.assert_allclose(found.q, q.pdf(found.x), rtol=1e-9)
    np.testing.assert_allclose(found.p, p.pdf(found.x), rtol=1e-9)


def test_equal_variances_leave_the_square_alone():
    found = gaussian_kl(0.5, 0.09, 0.2, 0.09)
    assert found.var_nats == 0 and found.closed_nats == pytest.approx(0.09 / 0.18)
    for name, parameters in (("var_1", (0, 0, 0, 1)), ("var_2", (0, 1, 0, -1))):
        with pytest.raises(ValueError, match=f"^{name}: must be positive"):
            gaussian_kl(*parameters)


def answers(kind="epsilon", schedule=LINEAR):
    """A network's denoiser on a random, wrong network, and pictures with noise."""
    from tests.networks import make_unet

    generator = torch.Generator().manual_seed(3)
    x_0, eps = torch.randn(2, 3, 1, 8, 8, generator=generator)
    return NetworkDenoiser(make_unet(), schedule, kind), x_0.clamp(-1, 1), eps


@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize("variance", ["posterior", "beta"])
@pytest.mark.parametrize("t", [1, 2, 9, 250, 999])
def test_three_forms_of_one_answer_are_equal(kind, variance, t):
    denoiser, x_0, eps = answers(kind)
    found = three_forms(denoiser, x_0, eps, t, variance=variance)
    assert found.difference < 1e-10
    # by hand, in numpy, from the same answer
    x_0, eps = x_0.double(), eps.double()
    x_t = math.sqrt(AB[t]) * x_0 + math.sqrt(1 - AB[t]) * eps
    x_0_hat = denoiser.predict(x_t, t).x_0_hat
    var = TILDE[t - 1] if variance == "posterior" else BETAS[t]
    c_0 = math.sqrt(AB[t - 1]) * BETAS[t] / (1 - AB[t])
    expected = c_0**2 * (x_0 - x_0_hat).square().sum((1, 2, 3)) / (2 * var)
    torch.testing.assert_close(found.by_noises, expected, rtol=1e-9, atol=0)
    r = TILDE[t - 1] / var
    assert found.constant == pytest.approx(64 / 2 * (r - math.log(r) - 1), abs=1e-10)


def test_forms_on_another_schedule_and_of_an_exact_denoiser():
    denoiser, x_0, eps = answers(schedule=SHORT)
    assert all(three_forms(denoiser, x_0, eps, t).difference < 1e-10 for t in range(1, 12))
    gaussian = GaussianDenoiser(torch.zeros(1, 8, 8), 0.5, LINEAR)
    assert three_forms(gaussian, x_0, eps, 400).difference < 1e-10


def test_clipping_makes_the_noise_form_too_large_and_only_where_it_clips():
    denoiser, x_0, eps = answers()
    clipped = three_forms(denoiser, x_0, eps, 900, clip=True)
    torch.testing.assert_close(clipped.by_means, clipped.by_pictures, rtol=1e-10, atol=0)
    assert clipped.noises_over_pictures.min() > 2  # the random network is far beyond [-1, 1] there
    torch.testing.assert_close(clipped.by_noises, three_forms(denoiser, x_0, eps, 900).by_noises, rtol=0, atol=0)
    inside = DataDenoiser(x_0, LINEAR)  # answers with pictures in [-1, 1]
    assert three_forms(inside, x_0, eps, 900, clip=True).difference < 1e-10


@pytest.mark.parametrize("t", [0, -1, 1000])
def test_the_step_to_the_picture_is_no_kl(t):
    denoiser, x_0, eps = answers()
    with pytest.raises(ValueError, match=r"^t: must lie in \[1, 1000\)"):
        three_forms(denoiser, x_0, eps, t)


def test_golden_weights():
    """The weights of Ho et al. 2020, eq. (12), to the digits shown; t is the paper's."""
    posterior, beta = eps_weights(LINEAR), eps_weights(LINEAR, "beta")
    for t, value in ((2, 0.600), (10, 0.0864), (100, 0.0103), (500, 0.0055), (1000, 0.0102)):
        assert posterior[t - 1].item() == pytest.approx(value, rel=5e-3)
    for t, value in ((1, 0.500), (2, 0.273), (10, 0.0737)):
        assert beta[t - 1].item() == pytest.approx(value, rel=2e-3)
    assert posterior[0] == torch.inf
    assert posterior.argmin().item() + 1 == 350 and posterior.min().item() == pytest.approx(0.00498, rel=1e-3)
    np.testing.assert_allclose(posterior[1:], BETAS[1:] ** 2 / (2 * TILDE * (1 - BETAS[1:]) * (1 - AB[1:])), rtol=1e-9)
    np.testing.assert_allclose(beta, BETAS / (2 * (1 - BETAS) * (1 - AB)), rtol=1e-9)


@pytest.mark.parametrize("schedule", [LINEAR, SHORT])
def test_shares_and_where_l_simple_moves_effort(schedule):
    shares = weight_shares(schedule)
    for share in (shares.posterior, shares.beta, shares.simple):
        assert share.shape == (len(schedule),) and share.sum().item() == pytest.approx(1, abs=1e-12)
    assert shares.posterior[0] == shares.beta[0] == 0 and shares.simple[0] > 0
    if schedule is LINEAR:  # the cosine's last betas, near 1, weigh more than all others
        assert shares.simple[:20].sum() < shares.beta[:20].sum() < shares.posterior[:20].sum()
