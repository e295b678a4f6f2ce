"""log q/p against its closed law, the pieces of a KL against the whole."""

import math

import numpy as np
import pytest
import torch

from diffusion.derivation.terms import kl_pieces, log_ratio
from diffusion.schedule import NoiseSchedule

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
