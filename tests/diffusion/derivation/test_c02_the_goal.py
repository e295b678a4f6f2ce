"""KL in one dimension against closed forms and another quadrature; the Gaussian toy against dense joint Gaussians."""

import math

import numpy as np
import pytest
import torch

from diffusion.bound import reverse_variances
from diffusion.bound_plan import BoundPlan
from diffusion.derivation.c02_the_goal import TWO_HILLS, Mixture, closest_gaussian, divergence, gaussian_toy
from diffusion.schedule import NoiseSchedule
from diffusion.trajectory import visited_timesteps

LINEAR = NoiseSchedule.named()
COSINE = NoiseSchedule.named("squaredcos_cap_v2", num_train_timesteps=60)
ROUGH = NoiseSchedule(torch.tensor([0.3, 1e-5, 0.8, 0.05, 0.6, 0.01]))
KINDS = ["beta", "posterior", "analytic"]


def density(mixture, x):
    terms = zip(mixture.weights, mixture.means, mixture.stds, strict=True)
    return sum(w * np.exp(-0.5 * ((x - m) / s) ** 2) / (s * math.sqrt(2 * math.pi)) for w, m, s in terms)


def kl(first, second):
    """On another grid, with logs of the densities as they are."""
    x = np.linspace(-11, 11, 40_001)
    p, q = density(first, x), density(second, x)
    used = (p > 1e-250) & (q > 1e-250)
    return np.trapezoid(np.where(used, p * np.log(np.where(used, p, 1) / np.where(used, q, 1)), 0), x)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (4.0, 4.0), (-4.0, 0.2), (30.0, 2.0)])
def test_divergence_of_gaussians_is_the_closed_form(mean, std):
    ours = divergence(Mixture.gaussian(0.5, 0.7), Mixture.gaussian(mean, std))
    d2 = (mean - 0.5) ** 2
    assert ours.forward_nats == pytest.approx(math.log(std / 0.7) + (0.49 + d2) / (2 * std**2) - 0.5, rel=1e-9)
    assert ours.reverse_nats == pytest.approx(math.log(0.7 / std) + (std**2 + d2) / (2 * 0.49) - 0.5, rel=1e-9)
    assert ours.entropy_nats == pytest.approx(0.5 * math.log(2 * math.pi * math.e * 0.49), rel=1e-9)
    assert ours.cross_entropy_nats == pytest.approx(ours.forward_nats + ours.entropy_nats, rel=1e-9)


def test_the_integrand_dips_below_zero_and_its_integral_does_not():
    for mean in np.linspace(-4, 4, 5):
        for std in (0.2, 0.7, 4.0):
            ours = divergence(TWO_HILLS, Mixture.gaussian(float(mean), std))
            assert ours.forward_integrand.min() < 0 < min(ours.forward_nats, ours.reverse_nats)
            assert ours.forward_integrand.isfinite().all()
            assert np.trapezoid(ours.forward_integrand, ours.x) == pytest.approx(ours.forward_nats)
    assert (ours.x[0], ours.x[-1], len(divergence(TWO_HILLS, TWO_HILLS).x)) == (-ours.x[-1], ours.x[-1], 6001)


def test_golden_minimisers():
    covers, chooses = closest_gaussian(TWO_HILLS, "forward"), closest_gaussian(TWO_HILLS, "reverse")
    assert covers.means[0] == pytest.approx(0, abs=1e-6)
    assert covers.stds[0] == pytest.approx(math.sqrt(4 + 0.36), abs=1e-6)  # moments: 2.088
    assert (round(chooses.means[0], 3), round(chooses.stds[0], 3)) == (1.997, 0.605)
    first, second = divergence(TWO_HILLS, covers), divergence(TWO_HILLS, chooses)
    assert (round(first.forward_nats, 3), round(first.reverse_nats, 3)) == (0.555, 1.273)
    assert (round(second.reverse_nats, 3), round(second.forward_nats, 2)) == (0.692, 10.23)
    assert kl(TWO_HILLS, covers) == pytest.approx(first.forward_nats, rel=1e-8)
    assert kl(chooses, TWO_HILLS) == pytest.approx(second.reverse_nats, rel=1e-8)


@pytest.mark.parametrize("q", [Mixture((-2.0, 0.5, 3.0), (0.3, 1.0, 0.5), (1, 2, 4)), Mixture((0.0, 0.1), (0.1, 2.0))])
def test_minimisers_of_other_densities(q):
    w, m, s = (np.array(v) for v in (q.weights, q.means, q.stds))
    covers = closest_gaussian(q, "forward")
    mean = (w * m).sum()
    assert covers.means[0] == pytest.approx(mean, abs=1e-6)
    assert covers.stds[0] == pytest.approx(math.sqrt((w * (s**2 + m**2)).sum() - mean**2), abs=1e-6)
    chooses = closest_gaussian(q, "reverse")
    least = kl(chooses, q)
    for mean in np.linspace(-4, 4, 33):  # the best of the whole half-plane, not of its own neighbourhood
        for std in np.geomspace(0.08, 3, 12):
            assert kl(Mixture.gaussian(mean, std), q) > least - 1e-9


def test_what_is_no_density_is_named():
    for field, arguments in {
        "means, stds, weights": ((0.0, 1.0), (1.0,)),
        "means": ((math.inf,), (1.0,)),
        "stds": ((0.0,), (0.01,)),
        "weights": ((0.0,), (1.0,), (0.0,)),
    }.items():
        with pytest.raises(ValueError, match=f"^{field}: "):
            Mixture(*arguments)
    with pytest.raises(ValueError, match=r"^direction: 'up' is unknown"):
        closest_gaussian(TWO_HILLS, "up")


@pytest.mark.parametrize(
    ("S", "kind", "bound", "nll"),
    [
        (1000, "beta", 0.72688, None),
        (1000, "analytic", 0.72579, 0.72579),
        (1000, "posterior", 1.29572, None),
        (20, "beta", 0.77912, 0.73322),
        (20, "analytic", 0.72579, None),
        (20, "posterior", 149.48, None),
    ],
)
def test_golden_toy(S, kind, bound, nll):
    toy = gaussian_toy(0.5, visited_timesteps(S, 1000), kind, LINEAR)
    assert toy.bound_nats == pytest.approx(bound, abs=5.001e-6 if bound < 10 else 5.001e-3)
    assert toy.entropy_nats == pytest.approx(0.725791, abs=5e-7)
    if nll is not None:
        assert toy.nll_nats == pytest.approx(nll, abs=5.001e-6)
    if (S, kind) == (1000, "beta"):
        assert toy.gap_nats == pytest.approx(0.00109, abs=5e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("S", [1, 2, 30])
def test_variances_are_those_of_the_bound(S, kind):
    std = 0.8
    timesteps = visited_timesteps(S, 1000)
    toy = gaussian_toy(std, timesteps, kind, LINEAR)
    plan = BoundPlan.all_steps(LINEAR, timesteps)
    ab = LINEAR.alphas_cumprod.numpy()[timesteps]
    mse = dict(zip(plan.chain, std**2 * (1 - ab) / (ab * std**2 + 1 - ab), strict=True))
    first_beta = 1 - ab[-1] if kind == "beta" else None
    expected = reverse_variances(plan, kind, mse if kind == "analytic" else None, first_beta)
    np.testing.assert_allclose(toy.reverse_var, list(expected.values()), rtol=1e-10)
    np.testing.assert_allclose(toy.x_0_mse, list(mse.values()), rtol=1e-10)
    assert list(zip(toy.t.tolist(), toy.s.tolist(), strict=True)) == list(plan.chain)


def gaussian_kl(cov_q, cov_p):
    """KL(N(0, cov_q) || N(0, cov_p))."""
    solved = np.linalg.solve(cov_p, cov_q)
    return 0.5 * (np.trace(solved) - len(cov_q) - np.linalg.slogdet(solved)[1])


def given_first(cov):
    """Slope and covariance of the others given the first."""
    slope = cov[1:, 0] / cov[0, 0]
    return slope, cov[1:, 1:] - np.outer(slope, cov[0, 1:])


def joint(start_var, slopes, variances):
    """Covariance of a Gaussian Markov chain z_0 ~ N(0, start_var), z_k = slopes[k-1] z_{k-1} + noise."""
    n = len(slopes) + 1
    mixing = np.zeros((n, n))  # z = mixing @ independent noises
    mixing[0, 0] = 1
    for k, slope in enumerate(slopes, start=1):
        mixing[k] = slope * mixing[k - 1]
        mixing[k, k] = 1
    return mixing @ np.diag([start_var, *variances]) @ mixing.T


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("schedule", "timesteps"),
    [(LINEAR, [999, 700, 300, 100, 20, 0]), (LINEAR, [999]), (COSINE, [59, 40, 7, 6, 2]), (ROUGH, [5, 4, 3, 2, 1, 0])],
)
@pytest.mark.parametrize("std", [0.5, 1.7])
def test_the_toy_is_its_joint_gaussians(schedule, timesteps, std, kind):
    """Goal, bound, gap and paths from the covariances of q(x_{0:T}) and p(x_{0:T}), written down whole."""
    toy = gaussian_toy(std, timesteps, kind, schedule)
    ab = np.array([*schedule.alphas_cumprod.numpy()[timesteps], 1.0])
    alpha = ab[:-1] / ab[1:]  # of the steps s -> t, noisy first
    forward = joint(std**2, np.sqrt(alpha[::-1]), 1 - alpha[::-1])  # x_0 first
    slopes = np.sqrt(ab[1:]) * (1 - alpha) / (1 - ab[:-1]) * np.sqrt(ab[:-1]) * std**2 / (
        ab[:-1] * std**2 + 1 - ab[:-1]
    ) + np.sqrt(alpha) * (1 - ab[1:]) / (1 - ab[:-1])
    model = joint(1.0, slopes, toy.reverse_var.numpy())[::-1, ::-1]
    exact = dict(rel=1e-7, abs=1e-10)

    np.testing.assert_allclose(toy.model_var, np.diag(model)[::-1], rtol=1e-10)
    assert toy.nll_nats == pytest.approx(0.5 * (math.log(2 * math.pi * model[0, 0]) + std**2 / model[0, 0]), **exact)
    path_kl = toy.path_nats.sum().item()
    assert path_kl == pytest.approx(gaussian_kl(forward, model), **exact)
    assert toy.bound_nats == pytest.approx(gaussian_kl(forward, model) + toy.entropy_nats, **exact)
    assert toy.model_kl_nats == pytest.approx(gaussian_kl(forward[:1, :1], model[:1, :1]), **exact)
    (slope_q, cov_q), (slope_p, cov_p) = given_first(forward), given_first(model)
    apart = slope_q - slope_p
    gap = gaussian_kl(cov_q, cov_p) + 0.5 * std**2 * apart @ np.linalg.solve(cov_p, apart)
    assert toy.gap_nats == pytest.approx(gap, **exact)
    assert toy.posterior_nats.sum().item() == pytest.approx(gap, **exact)
    assert path_kl == pytest.approx(toy.model_kl_nats + toy.gap_nats, **exact)
    assert (
        min(toy.posterior_nats.min(), toy.path_nats.min(), toy.steps_nats.min() if len(timesteps) > 1 else 0) > -1e-12
    )


def test_toys_that_are_none_are_named():
    for std in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match=r"^std: must be finite and above 0"):
            gaussian_toy(std, [999, 0], "beta", LINEAR)
    with pytest.raises(ValueError, match=r"^variance: 'x' is unknown"):
        gaussian_toy(0.5, [999, 0], "x", LINEAR)
