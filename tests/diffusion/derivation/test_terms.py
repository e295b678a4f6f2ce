"""log q/p against its closed law, the pieces of a KL against the whole, one theta for two terms against a search."""

import math

import numpy as np
import pytest
import torch

from diffusion.derivation.terms import (
    bound_terms,
    kl_pieces,
    log_ratio,
    lowest_decoder,
    shared_slope,
    simple_slope,
)
from diffusion.schedule import NoiseSchedule
from diffusion.trajectory import pairs

LINEAR = NoiseSchedule.named()
AB = np.append(np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)), 1.0)


def pictures(shape=(3, 8, 8)):
    generator = torch.Generator().manual_seed(3)
    x_0 = torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1
    return x_0, x_0 + 0.1 * torch.randn(shape, generator=generator, dtype=torch.float64), x_0


def draw(t=100, s=99, scale=1.0, variance="posterior", count=4000, schedule=LINEAR):
    return log_ratio(*pictures(), t, s, schedule, torch.Generator().manual_seed(0), scale, variance, count)


@pytest.mark.parametrize(("t", "s"), [(1, 0), (100, 99), (500, 499), (600, 300)])
@pytest.mark.parametrize("variance", ["posterior", "beta"])
def test_the_mean_of_log_ratios_is_the_kl(t, s, variance):
    """The KL of the two Gaussians typed anew; mean and spread of the draws by z-scores."""
    x_0, x_0_hat, _ = pictures()
    found = draw(t, s, 0.7, variance)
    beta = 1 - AB[t] / AB[s]
    btilde = beta * (1 - AB[s]) / (1 - AB[t])
    var, c_0 = (beta if variance == "beta" else btilde), math.sqrt(AB[s]) * beta / (1 - AB[t])
    r = btilde / var
    kl = 192 * 0.5 * (r - 1 - math.log(r)) + (c_0 * 0.7 * (x_0_hat - x_0)).square().sum().item() / (2 * var)
    assert found.kl_nats == pytest.approx(kl, rel=1e-9)
    assert abs(found.mean_nats - kl) < 4.5 * found.standard_error_nats
    spread = found.values.std().item() / found.std_nats
    assert abs(spread - 1) < 4.5 * (1 if variance == "posterior" else 2) / math.sqrt(2 * 4000)


@pytest.mark.parametrize("scale", [0.3, 1.0, 3.0])
def test_equal_variances_give_a_normal_law(scale):
    found = draw(300, 299, scale)
    kappa = found.kl_nats
    assert found.std_nats == pytest.approx(math.sqrt(2 * kappa), rel=1e-9)
    assert kappa == pytest.approx(scale**2 * draw(300, 299).kl_nats, rel=1e-9)
    z = np.sort((found.values.numpy() - kappa) / math.sqrt(2 * kappa))
    below = np.array([0.5 * math.erfc(-x / math.sqrt(2)) for x in z])
    distance = np.abs(below - (np.arange(4000) + 0.5) / 4000).max()
    assert distance < 2.2 / math.sqrt(4000)  # Kolmogorov: passed by chance with probability 1 - 1e-4
    share = 0.5 * math.erfc(math.sqrt(kappa / 2) / math.sqrt(2))
    assert found.share_below_zero_exact == pytest.approx(share, rel=1e-9)
    assert abs(found.share_below_zero - share) < 4.5 * math.sqrt(share * (1 - share) / 4000) + 1e-12


def test_the_equality_case():
    same = draw(scale=0.0)
    assert same.kl_nats == 0
    assert same.values.abs().max() == 0
    assert (same.share_below_zero, same.share_below_zero_exact) == (0, 0)
    other = draw(scale=0.0, variance="beta")
    assert other.kl_nats > 0  # with the variance beta no mean brings the term to 0
    assert other.share_below_zero_exact is None
    assert torch.equal(draw().values, draw().values)
    small = NoiseSchedule.named(num_train_timesteps=7)
    assert draw(6, 2, schedule=small).kl_nats > 0


@pytest.mark.parametrize(("wrong", "name"), [({"s": -1}, "s"), ({"scale": -1.0}, "scale"), ({"count": 1}, "count")])
def test_what_log_ratio_refuses(wrong, name):
    with pytest.raises(ValueError, match=f"^{name}:"):
        draw(**wrong)


def test_the_pieces_are_the_kl_and_never_negative():
    ratio = torch.linspace(0.01, 5, 500, dtype=torch.float64)
    found = kl_pieces(torch.tensor(0.3), ratio)
    typed = 0.5 * (ratio * 1.3 - ratio.log() - 1)
    torch.testing.assert_close(found.total_nats, typed)
    assert bool((found.var_nats >= 0).all() and (found.mean_nats > 0).all())
    equal = kl_pieces(0.0, 1.0)
    assert (equal.var_nats.item(), equal.mean_nats.item()) == (0, 0)
    with pytest.raises(ValueError, match=r"^ratio:"):
        kl_pieces(0.0, 0.0)


def test_which_terms_are_kls():
    terms = bound_terms(pairs([999, 500, 0]))
    assert [(term.name, term.is_kl) for term in terms] == [
        ("L_T", True),
        ("L_999", True),
        ("L_500", True),
        ("L_0", False),
    ]
    assert (terms[0].t, terms[1].t, terms[1].s, terms[-1].s) == (None, 999, 500, -1)


def test_a_density_decoder_goes_below_zero_and_grey_levels_do_not():
    found = lowest_decoder(5.4531876613e-5)
    assert found.density_bpd == pytest.approx(-5.76, abs=5e-3)
    assert found.discrete_bpd == pytest.approx(1.30538, abs=5e-6)
    for var in (1e-12, 1e-3, 10.0):
        assert lowest_decoder(var).discrete_bpd >= 0
    with pytest.raises(ValueError, match=r"^var:"):
        lowest_decoder(0.0)


def test_one_theta_for_two_terms():
    steps, std = [(100, 99), (600, 599)], 0.5
    shared = shared_slope(std, steps, LINEAR)
    theta = torch.linspace(0, 1, 100_001, dtype=torch.float64)
    terms = shared.terms(theta)
    for k, (t, s) in enumerate(steps):  # delta / 2 E (x_0 - theta x_t)^2, typed anew
        a, v = math.sqrt(AB[t]), AB[t] * std**2 + 1 - AB[t]
        delta = AB[s] / (1 - AB[s]) - AB[t] / (1 - AB[t])
        typed = delta / 2 * (std**2 - 2 * theta * a * std**2 + theta**2 * v)
        torch.testing.assert_close(terms[:, k], typed, rtol=1e-8, atol=1e-12)
    total = terms.sum(1)
    assert theta[total.argmin()].item() == pytest.approx(shared.theta, abs=1e-5)
    assert total.min().item() == pytest.approx(shared.together, rel=1e-8)
    assert terms.min(0).values.sum().item() == pytest.approx(shared.apart, rel=1e-8)
    assert shared.together > 1.01 * shared.apart
    simple = simple_slope(shared, steps, LINEAR)
    assert torch.equal(simple.optima, shared.optima)
    assert abs(simple.theta - shared.theta) > 1e-3  # weights choose another compromise
    snr = torch.tensor([AB[t] / (1 - AB[t]) for t, _ in steps])
    a, v = (
        torch.tensor(x, dtype=torch.float64)
        for x in zip(*[(math.sqrt(AB[t]), AB[t] / 4 + 1 - AB[t]) for t, _ in steps], strict=True)
    )
    torch.testing.assert_close(simple.terms(0.3), snr * (0.25 - 2 * 0.3 * a * 0.25 + 0.09 * v), rtol=1e-9, atol=0)


def test_alone_nothing_is_lost():
    alone = shared_slope(0.5, [(300, 299)], LINEAR)
    assert alone.together == pytest.approx(alone.apart, rel=1e-12)
    assert simple_slope(alone, [(300, 299)], LINEAR).theta == pytest.approx(alone.theta, rel=1e-12)
    for steps in ([], [(0, -1)]):
        with pytest.raises(ValueError, match=r"^steps:"):
            shared_slope(0.5, steps, LINEAR)
    with pytest.raises(ValueError, match=r"^std:"):
        shared_slope(0.0, [(1, 0)], LINEAR)
