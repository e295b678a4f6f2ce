"""Judging a network: two atoms in closed form, Pythagoras, and neighbours computed with numpy."""

import numpy as np
import pytest
import torch

from diffusion.derivation.c10_how_good import errors_at, four_curves, mean_and_error, neighbours, without_class, z_score
from diffusion.exact import DataDenoiser, GaussianDenoiser
from diffusion.sampling import image_generators
from diffusion.schedule import NoiseSchedule
from tests.networks import make_unet

LINEAR = NoiseSchedule.named()
BETAS = np.linspace(1e-4, 0.02, 1000)
AB = np.cumprod(1 - BETAS)


def two_atoms(count):
    """x_0 = +1 or -1 (one number a picture), as often as each other."""
    return torch.tensor([1.0, -1.0]).repeat(count // 2).reshape(-1, 1, 1, 1)


def test_the_exact_denoisers_error_is_the_quadrature_of_two_atoms():
    """mmse of x_0 = +-1 is 1 - E tanh(signal x_t / noise^2)^2; the eps error is SNR times that."""
    t, x_0 = 400, two_atoms(4000)
    exact = DataDenoiser(two_atoms(2), LINEAR)
    found = errors_at(GaussianDenoiser(torch.zeros(1, 1, 1), 1.0, LINEAR), exact, x_0, t, image_generators(0, 4000))
    a, v = np.sqrt(AB[t]), 1 - AB[t]
    z = np.linspace(-10, 10, 4001)
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    mmse = 1 - np.trapezoid(density * np.tanh(a * (a + np.sqrt(v) * z) / v) ** 2, z)
    for values, expected in (
        (found.x_0_exact, mmse),
        (found.exact, AB[t] / v * mmse),
        # the Gaussian's linear answer: x_0_hat = a x_t, error v^2 + a^2 v on average
        (found.x_0_network, v**2 + a**2 * v),
    ):
        mean, error = mean_and_error(values)
        assert abs(mean - expected) < 4.5 * error
    assert abs(found.pythagoras_z) < 4.5
    torch.testing.assert_close(found.network, AB[t] / v * found.x_0_network, rtol=1e-9, atol=1e-12)


def test_pythagoras_fails_off_the_set():
    """Held-out pictures are not what the exact denoiser knows: there the identity is false, and z says so."""
    exact = DataDenoiser(two_atoms(2), LINEAR)
    linear = GaussianDenoiser(torch.zeros(1, 1, 1), 1.0, LINEAR)
    generators = image_generators(1, 1000)
    on = errors_at(linear, exact, two_atoms(1000), 300, generators)
    off = errors_at(linear, exact, torch.full((1000, 1, 1, 1), 0.3), 300, generators)
    assert abs(on.pythagoras_z) < 4.5 < abs(off.pythagoras_z)


@pytest.mark.parametrize("classes", [0, 3])
def test_pythagoras_of_a_network_on_a_data_set(classes):
    schedule = NoiseSchedule.named(num_train_timesteps=1000)
    generator = torch.Generator().manual_seed(2)
    data = torch.rand(12, 1, 8, 8, generator=generator) * 0.4  # close pictures: ambiguous at middle t
    network = without_class(make_unet(classes=classes), schedule)
    training, exact = data.repeat(8, 1, 1, 1), DataDenoiser(data, schedule)
    points = list(four_curves(network, exact, training, data[:4] + 0.1, [300, 600, 900], image_generators(0, 96)))
    assert [point.t for point in points] == [300, 600, 900]
    for point in points:
        assert abs(point.training.pythagoras_z) < 4.5
        assert point.training.exact.mean() < point.training.network.mean()
        assert point.training.network.shape == (96,) and point.held_out.network.shape == (4,)


def test_four_curves_tell_one_who_knows_the_data_by_heart():
    """The exact denoiser in the network's place: equal on training pictures, hopeless on others at small t."""
    generator = torch.Generator().manual_seed(0)
    training, held_out = torch.rand(2, 20, 1, 4, 4, generator=generator)
    exact = DataDenoiser(training, LINEAR)
    (point,) = four_curves(exact, exact, training, held_out, [20], image_generators(0, 20))
    assert torch.equal(point.training.network, point.training.exact) and point.training.between.max() == 0
    assert point.held_out.network.mean() > 1 > point.training.network.mean()


def test_generators_decide_alone():
    exact = DataDenoiser(torch.rand(4, 1, 2, 2), LINEAR)
    a, b = (errors_at(exact, exact, torch.zeros(3, 1, 2, 2), 500, image_generators(k, 3)) for k in (0, 0))
    assert torch.equal(a.exact, b.exact)


@pytest.mark.parametrize("name", ["training", "held_out"])
def test_too_few_pictures_or_generators_are_refused_at_once(name):
    exact = DataDenoiser(torch.rand(4, 1, 2, 2), LINEAR)
    for count in (1, 5):
        sets = {"training": torch.rand(3, 1, 2, 2), "held_out": torch.rand(3, 1, 2, 2)}
        sets[name] = torch.rand(count, 1, 2, 2)
        with pytest.raises(ValueError, match=f"^{name}: must be 2 to 4 pictures, one per generator, got {count}"):
            four_curves(exact, exact, **sets, timesteps=[1], generators=image_generators(0, 4))


def test_z_scores():
    values = torch.tensor([1.0, 2.0, 3.0, 6.0], dtype=torch.float64)
    assert mean_and_error(values) == pytest.approx((3.0, np.std([1, 2, 3, 6], ddof=1) / 2))
    assert z_score(values) == pytest.approx(3.0 / (np.std([1, 2, 3, 6], ddof=1) / 2))
    assert z_score(torch.zeros(3)) == 0
    rounding = torch.full((5,), 1e-17, dtype=torch.float64)
    assert abs(z_score(rounding)) > 4.5 > abs(z_score(rounding, rounding=1e-12))


def test_neighbours_are_numpys_and_find_copies():
    generator = torch.Generator().manual_seed(0)
    training, held_out = torch.rand(30, 3, 4, 4, generator=generator), torch.rand(9, 3, 4, 4, generator=generator)
    samples = torch.cat([training[[7, 2]], torch.rand(8, 3, 4, 4, generator=generator)])
    found = neighbours(samples, held_out, training, bins=10)
    distances = np.sqrt(((samples.double().numpy()[:, None] - training.double().numpy()[None]) ** 2).mean((2, 3, 4)))
    np.testing.assert_allclose(found.samples, distances.min(1), atol=1e-7)
    assert found.index.tolist() == distances.argmin(1).tolist() and found.index[:2].tolist() == [7, 2]
    assert (
        found.copies == pytest.approx((distances.min(1) < found.held_out.min().item()).mean()) and found.copies >= 0.2
    )
    for values, share in ((found.samples, found.samples_share), (found.held_out, found.held_out_share)):
        counts, _ = np.histogram(values, found.edges)
        np.testing.assert_allclose(share, counts / len(values), atol=1e-12)
    with pytest.raises(ValueError, match=r"^bins: must be at least 1"):
        neighbours(samples, held_out, training, bins=0)
