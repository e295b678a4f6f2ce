"""Kernels of mixtures against Bayes on a grid and quadrature; golden KLs; the theorem; two pictures on a line."""

import math

import numpy as np
import pytest
import torch

from diffusion.derivation.c07_why_gaussian import (
    KINDS,
    chain_kl,
    count_hills,
    expected_kl_nats,
    forward_level,
    gaussians,
    kernel_kl_nats,
    kl_against_beta,
    reverse_kernel,
    split_beta,
    tweedie,
    view_kernel,
)
from diffusion.derivation.line_mixture import LineMixture
from diffusion.derivation.projection import heaviest_line
from diffusion.exact import DataDenoiser
from diffusion.schedule import NoiseSchedule
from diffusion.trajectory import visited_timesteps

LINEAR = NoiseSchedule.named()
AB = np.append(np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)), 1.0)
TWO = LineMixture.of([-1, 1], [0.4, 0.4])
UNEVEN = LineMixture.of([-1.2, 0.1, 1.5], [0.3, 0.7, 0.2], [0.2, 0.5, 0.3])


def density(law, x):
    """Of a law without batch, typed anew in numpy."""
    w, m, v = (a.numpy() for a in (law.weights, law.means, law.variances))
    return (w * np.exp(-0.5 * (x[:, None] - m) ** 2 / v) / np.sqrt(2 * np.pi * v)).sum(1)


def grid_kernel(law, x_t, beta, grid):
    """q(x_s) q(x_t | x_s), normalised on a grid."""
    joint = density(law, grid) * np.exp(-0.5 * (x_t - math.sqrt(1 - beta) * grid) ** 2 / beta)
    return joint / np.trapezoid(joint, grid)


@pytest.mark.parametrize("law", [TWO, UNEVEN])
@pytest.mark.parametrize("beta", [0.01, 0.1, 0.7])
@pytest.mark.parametrize("x_t", [-1.7, 0.0, 0.4])
def test_the_kernel_is_bayes_on_a_grid(law, beta, x_t):
    grid = np.linspace(-6, 6, 40_001)
    truth = grid_kernel(law, x_t, beta, grid)
    at = torch.tensor([x_t], dtype=torch.float64)
    kernel = reverse_kernel(law, at, beta)
    ours = kernel.log_density(torch.from_numpy(grid).unsqueeze(0))[0].exp()
    np.testing.assert_allclose(ours, truth, atol=1e-10 * truth.max(), rtol=1e-8)
    mean = np.trapezoid(truth * grid, grid)
    var = np.trapezoid(truth * (grid - mean) ** 2, grid)
    assert kernel.mean.item() == pytest.approx(mean, abs=1e-9)
    assert kernel.var.item() == pytest.approx(var, rel=1e-8)
    by_score = tweedie(law.noised(forward_level(beta)), at, beta)
    assert by_score[0].item() == pytest.approx(mean, abs=1e-8)
    assert by_score[1].item() == pytest.approx(var, rel=1e-8)
    entropy = -np.trapezoid(truth * np.log(truth + 1e-300), grid)
    assert kernel.entropy_nats().item() == pytest.approx(entropy, abs=1e-8)
    for kind, (m, v) in gaussians(law, at, beta).items():
        log_g = -0.5 * (np.log(2 * np.pi * v.item()) + (grid - m.item()) ** 2 / v.item())
        integral = np.trapezoid(truth * (np.log(truth + 1e-300) - log_g), grid)
        assert kernel_kl_nats(law, at, beta)[kind].item() == pytest.approx(integral, abs=1e-8)


def test_derivatives_of_the_log_density_by_differences():
    x, h = torch.linspace(-3, 3, 61, dtype=torch.float64), 1e-4
    score, curvature = UNEVEN.score_and_curvature(x)
    left, mid, right = (np.log(density(UNEVEN, (x + k * h).numpy())) for k in (-1, 0, 1))
    np.testing.assert_allclose(score, (right - left) / (2 * h), atol=1e-5)
    np.testing.assert_allclose(curvature, (right - 2 * mid + left) / h**2, atol=1e-4)


GOLDEN = {  # beta: the best Gaussian, the fixed variance beta / alpha
    1e-3: (4.9e-8, 1.1e-5),
    0.01: (3.9e-5, 1.1e-3),
    0.02: (2.6e-4, 0.0041),
    0.1: (0.013, 0.066),
    0.5: (0.21, 0.37),
}


def test_golden_kls_and_slopes():
    for beta, (best, fixed) in GOLDEN.items():
        found = expected_kl_nats(TWO, beta)
        assert found["best"] == pytest.approx(best, rel=0.03)
        assert found["beta_over_alpha"] == pytest.approx(fixed, rel=0.05)
    small = torch.tensor([1e-3, 2e-3], dtype=torch.float64)
    averaged, at_zero = kl_against_beta(TWO, small), kl_against_beta(TWO, small / 4, x_t=0.0)
    assert averaged.slope("best").item() == pytest.approx(3, abs=0.1)
    assert averaged.slope("beta_over_alpha").item() == pytest.approx(2, abs=0.1)
    assert at_zero.slope("best").item() == pytest.approx(4, abs=0.15)  # f''' = 0 there
    # the leading terms: b^2 E f''^2 / 4 and b^3 E f'''^2 / 12, by quadrature and differences
    x = np.linspace(-4, 4, 80_001)
    f = np.log(density(TWO, x))
    second = np.gradient(np.gradient(f, x), x)
    third = np.gradient(second, x)
    b = 1e-3 / (1 - 1e-3)
    assert averaged.nats["beta_over_alpha"][0].item() == pytest.approx(
        b**2 / 4 * np.trapezoid(density(TWO, x) * second**2, x), rel=0.05
    )
    assert averaged.nats["best"][0].item() == pytest.approx(
        b**3 / 12 * np.trapezoid(density(TWO, x) * third**2, x), rel=0.1
    )


@pytest.mark.parametrize("law", [TWO, UNEVEN])
def test_the_theorem_and_the_best_gaussian(law):
    curve = kl_against_beta(law, torch.logspace(-3, math.log10(0.8), 10, dtype=torch.float64))
    grid = np.linspace(-6, 6, 60_001)
    largest = np.abs(np.gradient(np.gradient(np.log(density(law, grid)), grid), grid))[5:-5].max()
    assert curve.theorem_bound_nats.tolist() == pytest.approx(
        [0.5 * (beta / (1 - beta) * largest) ** 2 for beta in curve.beta.tolist()], rel=1e-3
    )
    assert bool((curve.nats["theorem"] <= curve.theorem_bound_nats).all())
    for kind in KINDS:
        assert bool((curve.nats[kind] >= curve.nats["best"] - 1e-12).all())
    assert bool((curve.nats["best"] >= 0).all())


def test_where_the_kernel_splits():
    beta = split_beta(TWO)
    assert beta == pytest.approx(0.0296, abs=5e-5)
    curvature = (1 / 0.16**2) - 1 / 0.16  # f''(0) of two hills at +-1
    assert beta == pytest.approx(1 / (1 + curvature), rel=1e-9)
    assert view_kernel(TWO, 0.0, 0.99 * beta).hills == 1
    assert view_kernel(TWO, 0.0, 1.02 * beta).hills == 2
    assert split_beta(LineMixture.of([0.3], [2.0])) == 1
    # no x_t splits an uneven law's kernel before its beta, and some does after
    beta = split_beta(UNEVEN)
    grid = np.linspace(-4, 4, 8001)
    hills = {
        factor: max(
            count_hills(torch.from_numpy(grid_kernel(UNEVEN, x_t, factor * beta, grid)))
            for x_t in np.linspace(-2, 2, 401)
        )
        for factor in (0.97, 1.1)
    }
    assert hills == {0.97: 1, 1.1: 2}


def test_laws_whose_kernels_are_gaussian_at_every_beta():
    for beta in (0.01, 0.5, 0.9):
        normal = expected_kl_nats(LineMixture.of([0.0], [1.0]), beta)
        assert abs(normal["beta"]) < 1e-12  # N(0, 1): the reverse variance is beta
        assert normal["beta_over_alpha"] > 1e-6
        picture = expected_kl_nats(LineMixture.of([0.7], [0.2]), beta, noise_var=0.04)
        assert abs(picture["posterior"]) < 1e-12  # one picture: beta tilde
        assert abs(picture["best"]) < 1e-12


def test_whole_chains():
    for S, best, fixed in ((10, 0.057, 2.3), (25, 0.015, 1.2), (100, 0.0013, 0.34)):
        found = chain_kl(TWO, LINEAR, visited_timesteps(S, 1000, "trailing"))
        assert found.totals_nats["best"] == pytest.approx(best, rel=0.03)
        assert found.totals_nats["beta_over_alpha"] == pytest.approx(fixed, rel=0.03)
        assert found.nats["posterior"][-1] == math.inf
        assert bool((found.nats["posterior"][:-1] >= found.nats["best"][:-1]).all())
    # its steps are those of the noised law: by hand, the first
    t, s = found.t[0].item(), found.s[0].item()
    by_hand = LineMixture.of([-math.sqrt(AB[s]), math.sqrt(AB[s])], [math.sqrt(AB[s] * 0.16 + 1 - AB[s])] * 2)
    assert found.nats["beta"][0].item() == pytest.approx(expected_kl_nats(by_hand, 1 - AB[t] / AB[s])["beta"], rel=1e-6)
    assert chain_kl(TWO, NoiseSchedule.named(num_train_timesteps=5), [4, 2, 0]).nats["best"].shape == (3,)


def data(count=40):
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, 1, 4, 4, generator=generator) * 2 - 1


def test_the_line_through_the_two_heaviest_pictures():
    """Against draws of the kernel, by hand: a picture from the weights, its posterior, projected."""
    pictures, t, s = data(), 600, 400
    rng = np.random.default_rng(0)
    y = pictures.double().flatten(1).numpy()
    x_t = math.sqrt(AB[t]) * y[3] + math.sqrt(1 - AB[t]) * rng.standard_normal(16)
    line = heaviest_line(DataDenoiser(pictures, LINEAR), torch.from_numpy(x_t).reshape(1, 4, 4), t, s)
    logits = -((x_t - math.sqrt(AB[t]) * y) ** 2).sum(1) / (2 * (1 - AB[t]))
    w = np.exp(logits - logits.max())
    w /= w.sum()
    order = np.argsort(-w)
    assert line.pictures.tolist() == order[:12].tolist()
    np.testing.assert_allclose(line.weights, w[order[:12]], rtol=1e-9)
    beta = 1 - AB[t] / AB[s]
    btilde, c_0 = beta * (1 - AB[s]) / (1 - AB[t]), math.sqrt(AB[s]) * beta / (1 - AB[t])
    i, j = order[:2]
    distance = np.linalg.norm(y[j] - y[i])
    e = (y[j] - y[i]) / distance
    assert line.distance == pytest.approx(distance, rel=1e-6)
    assert line.split == pytest.approx(c_0 * distance / math.sqrt(btilde), rel=1e-6)
    assert line.positions[:2].tolist() == pytest.approx([0, c_0 * distance], rel=1e-6)
    drawn = c_0 * (y[rng.choice(40, 100_000, p=w)] - y[i]) @ e + math.sqrt(btilde) * rng.standard_normal(100_000)
    assert abs(drawn.mean() - line.law.mean.item()) < 4.5 * math.sqrt(line.law.var.item() / 100_000)
    assert drawn.var() == pytest.approx(line.law.var.item(), rel=0.05)
    below = (drawn < c_0 * distance / 2).mean()
    x, exact = line.x.numpy(), line.exact.numpy()
    assert np.trapezoid(exact, x) == pytest.approx(1, abs=1e-4)
    assert np.trapezoid(np.where(x < c_0 * distance / 2, exact, 0), x) == pytest.approx(below, abs=0.01)
    assert np.trapezoid(line.best.numpy(), x) == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(line.mean_picture.flatten(), w @ y, atol=1e-9)
    assert line.effective == pytest.approx(1 / (w**2).sum(), rel=1e-9)


def test_few_steps_part_two_pictures_and_many_do_not():
    pictures = data(2)
    x_t = math.sqrt(AB[500]) * pictures.double().mean(0)  # halfway: both weigh the same
    denoiser = DataDenoiser(pictures, LINEAR)
    many, few = (heaviest_line(denoiser, x_t, 500, s) for s in (499, 100))
    assert many.split < 2 < few.split
    assert (count_hills(many.exact), count_hills(few.exact)) == (1, 2)
    assert few.weights.tolist() == pytest.approx([0.5, 0.5], abs=1e-6)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: LineMixture.of([0, 1], [1]), "means"),
        (lambda: LineMixture.of([0], [0]), "stds"),
        (lambda: LineMixture.of([0], [1], [-1]), "weights"),
        (lambda: expected_kl_nats(TWO, 1.0), "beta"),
        (lambda: gaussians(TWO, torch.zeros(1), 0.1, 0.0), "noise_var"),
        (lambda: view_kernel(TWO, 0.0, 0.1, points=1), "points"),
        (lambda: heaviest_line(DataDenoiser(data(), LINEAR), data()[0], 0, -1), "s"),
        (lambda: heaviest_line(DataDenoiser(data(1), LINEAR), data()[0], 5, 4), "pictures"),
        (lambda: heaviest_line(DataDenoiser(data(1).repeat(2, 1, 1, 1), LINEAR), data()[0], 5, 4), "pictures"),
    ],
)
def test_what_is_refused(call, name):
    with pytest.raises(ValueError, match=f"^{name}:"):
        call()


def test_a_hill_that_nobody_sees_is_none():
    x = torch.linspace(-3, 3, 601, dtype=torch.float64)
    high = torch.exp(-((x + 1) ** 2) / 0.02)
    low = torch.exp(-((x - 1) ** 2) / 0.02)
    assert [count_hills(high + share * low) for share in (1.0, 0.01, 1e-4, 1e-15)] == [2, 2, 1, 1]
